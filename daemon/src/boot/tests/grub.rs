//! One environment file: RAUC's contract.

use switchback_boot_env::contract::{Applied, BootChange, ContractKind, SlotBoot};
use switchback_boot_env::grub;
use switchback_types::SlotName;

use super::{Device, Fate, chain, refuses_to_write, verbs};

const LINES: &[u8] = b"ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=1\nforeign=x\n";

fn block(lines: &[u8]) -> Vec<u8> {
    let mut block = [b"# GRUB Environment Block\n".as_slice(), lines].concat();
    block.resize(1024, b'#');
    block
}

fn device(bytes: &[u8]) -> Device {
    Device::new(ContractKind::RaucGrub, &[("grubenv", bytes)])
}

#[test]
fn each_verb_is_one_write_of_the_whole_block() {
    let device = device(&block(LINES));
    let control = device.control();
    control.verify_writable().unwrap();
    for verb in verbs() {
        let before = device.bytes("grubenv");
        let applied = control.apply(&verb, SlotName::A).unwrap();
        let writes = device.writes();
        if applied == Applied::Changed {
            assert_eq!(writes, [(device.path("grubenv"), 0, 1024)], "{verb:?}");
        } else {
            assert!(
                writes.is_empty() && device.bytes("grubenv") == before,
                "{verb:?}"
            );
        }
        assert_eq!(grub::problems(&device.bytes("grubenv")), []);
        assert_eq!(
            control.apply(&verb, SlotName::A).unwrap(),
            Applied::AlreadySo,
            "{verb:?}"
        );
        assert!(device.writes().is_empty(), "{verb:?}");
    }
    let vars = grub::parse(&device.bytes("grubenv")).unwrap();
    assert_eq!(vars.text("foreign"), Some("x"));
    assert_eq!(
        device.everything().len(),
        1,
        "nothing was created beside it"
    );
}

#[test]
fn reading_still_works_where_writing_is_refused() {
    let sound = block(LINES);
    let padding = sound.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let refill = |byte: u8| {
        let mut block = sound.clone();
        block[padding..].fill(byte);
        block
    };
    let long = [LINES, b"splash=", &[b'x'; 500], b"\n"].concat();
    let cases: [(Vec<u8>, &[&str]); 10] = [
        (sound[..1023].to_vec(), &["1023 bytes long", "grub-editenv"]),
        (
            [sound.as_slice(), b"#"].concat(),
            &["1025 bytes long", "create"],
        ),
        (sound[..padding].to_vec(), &["bytes long", "has 1024"]),
        (refill(b' '), &["not filled up with `#`", "'ORDER=A B'"]),
        (refill(0), &["not filled up with `#`"]),
        (
            block(&[LINES, b"x=1"].concat()),
            &["does not end with a line break"],
        ),
        (
            block(&[LINES, b"A_OK=1\n"].concat()),
            &["A_OK is there more than once"],
        ),
        (block(&[LINES, b"y=1\r\n"].concat()), &["carriage return"]),
        (
            block(&[LINES, b"env_block=512+1\n"].concat()),
            &["env_block=512+1", "raw block", "unset env_block"],
        ),
        (block(&long), &["can tear", "unset splash"]),
    ];
    for (bytes, expected) in cases {
        let device = device(&bytes);
        let view = device.control().observe().unwrap();
        assert_eq!(
            (view.a, view.b),
            (SlotBoot::Ready { left: 1 }, SlotBoot::Exhausted)
        );
        refuses_to_write(&device, expected);
    }
}

#[test]
fn unreadable_file_is_left_alone_and_the_command_that_makes_it_anew_is_named() {
    let create = "grub-editenv";
    let defaults = "set 'ORDER=A B' A_OK=1 A_TRY=0 B_OK=1 B_TRY=0";
    for (bytes, message) in [
        (Vec::new(), "0 bytes without any content"),
        (vec![0; 1024], "1024 bytes without any content"),
        (block(LINES)[1..].to_vec(), "the first line is not"),
        (
            b"# GRUB Environment Block\r\nA_OK=1\r\n".to_vec(),
            "the first line is not",
        ),
    ] {
        let device = device(&bytes);
        let error = device.control().observe().unwrap_err();
        assert!(chain(&error).contains(message), "{error}");
        refuses_to_write(&device, &[message, "grubenv", create, defaults]);
    }
    let absent = Device::new(ContractKind::RaucGrub, &[]);
    refuses_to_write(&absent, &["does not exist", create, defaults]);
}

#[test]
fn place_is_judged_before_anything_is_installed() {
    let device = device(&block(LINES));
    let check = |message: &str| {
        let error = device.control().verify_writable().unwrap_err();
        assert!(chain(&error).contains(message), "{error}");
    };
    device.set(|world| world.unsuitable_for_grub = Some("btrfs".into()));
    check("is on btrfs, where GRUB cannot write");
    device.set(|world| (world.unsuitable_for_grub, world.holes) = (None, true));
    check("has holes");
    device.set(|world| (world.holes, world.read_only) = (false, true));
    check("mount it writable");
    device.set(|world| (world.holes, world.unsuitable_for_grub) = (true, Some("XFS".into())));
    let lints = device.lints();
    assert_eq!(lints.len(), 3, "all at once: {lints:?}");
    std::fs::remove_file(device.path("grubenv")).unwrap();
    std::fs::create_dir(device.path("grubenv")).unwrap();
    assert!(device.control().verify_writable().is_err());
}

#[test]
fn write_that_did_not_arrive_is_noticed() {
    let device = device(&block(LINES));
    device.set(|world| world.fate = Fate::Lost);
    let error = device
        .control()
        .apply(&verbs()[0], SlotName::A)
        .unwrap_err();
    assert!(chain(&error).contains("read back differently"), "{error}");
}

#[test]
fn power_cut_inside_a_write_never_leaves_a_block_that_grub_cannot_use() {
    // The storage writes whole sectors: these are the cuts that exist.
    for sectors in 0..=2 {
        let device = device(&block(LINES));
        let arm = BootChange::Arm {
            slot: SlotName::B,
            tries: 3,
            contact_id: "0badcafe",
        };
        device.set(|world| world.fate = Fate::Torn(sectors * 512));
        let error = device.control().apply(&arm, SlotName::A).unwrap_err();
        assert!(chain(&error).contains("the power went"), "{error}");
        device.set(|world| world.fate = Fate::Good);
        let control = device.control();
        control.verify_writable().unwrap();
        let expected = if sectors == 0 {
            None
        } else {
            Some("0badcafe".to_owned())
        };
        assert_eq!(control.observe().unwrap().contact_id, expected, "{sectors}");
    }
}

#[test]
fn environment_with_no_room_for_an_arm_is_refused_before_an_install() {
    let length = 512
        - block(b"")
            .iter()
            .position(|byte| *byte == b'#')
            .map_or(0, |_| 25)
        - 68;
    let lines = [LINES, b"pad=", &vec![b'x'; length - 5], b"\n"].concat();
    let device = device(&block(&lines));
    assert_eq!(grub::problems(&device.bytes("grubenv")), []);
    let error = device.control().verify_writable().unwrap_err();
    assert!(chain(&error).contains("only the first 512"), "{error}");
}
