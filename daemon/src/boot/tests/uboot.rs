//! U-Boot's environment in files.

use switchback_boot_env::Vars;
use switchback_boot_env::contract::{Applied, BootChange, BootNames, ContractKind, SlotBoot};
use switchback_boot_env::uboot::{Environment, FlagScheme, encode_redundant, encode_single};
use switchback_types::SlotName;

use super::{Device, Fate, chain, refuses_to_write, verbs};
use crate::boot::Repaired;

const SIZE: usize = 0x1000;
/// The second copy is not right behind the first one.
const SECOND: usize = 0x2000;

const ARM: BootChange<'_> = BootChange::Arm {
    slot: SlotName::B,
    tries: 3,
    contact_id: "0badcafe",
};

fn vars() -> Vars {
    let pairs = [
        ("BOOT_A_LEFT", "2"),
        ("BOOT_B_LEFT", "0"),
        ("BOOT_ORDER", "A R B"),
        ("ethaddr", "00:11:22:33:44:55"),
        ("switchback_id", "old"),
    ];
    pairs.into_iter().collect()
}

fn device(copies: [&[u8]; 2]) -> Device {
    let mut disk = vec![0xee; SECOND + SIZE + 0x100];
    disk[..copies[0].len()].copy_from_slice(copies[0]);
    disk[SECOND..][..copies[1].len()].copy_from_slice(copies[1]);
    let device = Device::new(ContractKind::RaucUboot, &[("disk", &disk)]);
    configure(
        &device,
        &format!("DISK 0x0 {SIZE:#x}\n\nDISK {SECOND:#x} {SIZE:#x}"),
    );
    device
}

fn configure(device: &Device, text: &str) {
    let disk = device.path("disk");
    device.put(
        "fw_env.config",
        text.replace("DISK", disk.to_str().unwrap()).as_bytes(),
    );
}

/// The first copy is the newer one; the next write makes its flags 0.
fn sound() -> Device {
    let copy = |flags| encode_redundant(&vars(), flags, SIZE).unwrap();
    device([&copy(255), &copy(254)])
}

fn single(bytes: &[u8], size: usize) -> Device {
    let device = Device::new(ContractKind::RaucUboot, &[("disk", bytes)]);
    configure(&device, &format!("DISK 0 {size:#x}"));
    device
}

fn environment(device: &Device) -> Environment {
    let disk = device.bytes("disk");
    let (first, second) = (&disk[..SIZE], &disk[SECOND..][..SIZE]);
    Environment::redundant(first, second, FlagScheme::Incremental).unwrap()
}

#[test]
fn each_verb_is_one_write_of_the_older_copy_and_touches_nothing_else() {
    let device = sound();
    let control = device.control();
    control.verify_writable().unwrap();
    assert_eq!(control.repair().unwrap(), Repaired::Nothing);
    let mut older = [SECOND as u64, 0].into_iter().cycle();
    for verb in verbs() {
        if control.apply(&verb, SlotName::A).unwrap() == Applied::AlreadySo {
            assert!(device.writes().is_empty(), "{verb:?}");
            continue;
        }
        assert_eq!(
            device.writes(),
            [(device.path("disk"), older.next().unwrap(), SIZE)],
            "{verb:?}"
        );
        let repeatable = !matches!(verb, BootChange::GiveBackTry { .. });
        if repeatable {
            assert_eq!(
                control.apply(&verb, SlotName::A).unwrap(),
                Applied::AlreadySo
            );
            assert!(device.writes().is_empty(), "{verb:?}");
        }
    }
    let disk = device.bytes("disk");
    assert!(
        disk[SIZE..SECOND]
            .iter()
            .chain(&disk[SECOND + SIZE..])
            .all(|byte| *byte == 0xee)
    );
    assert_eq!(
        environment(&device).vars.text("ethaddr"),
        Some("00:11:22:33:44:55")
    );
}

#[test]
fn single_environment_is_written_in_place() {
    let device = single(&encode_single(&vars(), SIZE).unwrap(), SIZE);
    let control = device.control();
    control.verify_writable().unwrap();
    control.apply(&ARM, SlotName::A).unwrap();
    assert_eq!(device.writes(), [(device.path("disk"), 0, SIZE)]);
    let view = control.observe().unwrap();
    assert_eq!(
        (view.primary, view.b),
        (Some(SlotName::B), SlotBoot::Ready { left: 3 })
    );
}

#[test]
fn power_cut_anywhere_in_a_write_gives_old_or_new() {
    for length in (0..=SIZE).step_by(7).chain([1, 4, 5, 6, SIZE - 1, SIZE]) {
        let device = sound();
        device.set(|world| world.fate = Fate::Torn(length));
        device.control().apply(&ARM, SlotName::A).unwrap_err();
        device.set(|world| world.fate = Fate::Good);
        let control = device.control();
        let id = control.observe().unwrap().contact_id.unwrap();
        assert!(["old", "0badcafe"].contains(&id.as_str()), "{length}: {id}");
        control.repair().unwrap();
        assert_eq!(device.lints(), Vec::<String>::new());
        assert_eq!(
            control.observe().unwrap().contact_id.unwrap(),
            id,
            "{length}"
        );
    }
}

#[test]
fn wrong_size_is_explained_and_nothing_is_written() {
    for redundant in [false, true] {
        let copy = if redundant {
            encode_redundant(&vars(), 1, 0x4000).unwrap()
        } else {
            encode_single(&vars(), 0x4000).unwrap()
        };
        let header = if redundant { "header 5" } else { "header 4" };
        for wrong in [0x1000, 0x2000, 0x8000, 0x1_0000] {
            let device = single(&copy, wrong);
            let truth = format!("valid at offset 0x0, size 0x4000, {header}");
            let claim = match wrong {
                ..0x4000 => format!("size {wrong:#x}, header 4 (single)"),
                _ => format!("reaches to {wrong:#x}"),
            };
            let expected = ["fw_env.config", &truth, &claim, "Nothing was written"];
            refuses_to_write(&device, &expected);
            assert!(device.control().observe().is_err());
        }
    }
}

#[test]
fn wrong_header_and_wrong_offset_are_explained_too() {
    let copy = encode_redundant(&vars(), 1, SIZE).unwrap();
    let device = single(&copy, SIZE);
    refuses_to_write(
        &device,
        &["valid at offset 0x0, size 0x1000, header 5 (redundant)"],
    );
    for before in [0xff, 0x00, 0xee] {
        let single_copy = encode_single(&vars(), SIZE).unwrap();
        let disk = [vec![before; 0x3000], single_copy].concat();
        refuses_to_write(
            &single(&disk, SIZE),
            &["valid at offset 0x3000, size 0x1000, header 4"],
        );
    }
    let device = single(&vec![0xee; 0x4000], SIZE);
    refuses_to_write(
        &device,
        &["its checksum is", "no environment was found nearby"],
    );
}

#[test]
fn never_saved_is_a_state_of_its_own() {
    for byte in [0x00, 0xff] {
        let blank = vec![byte; SIZE];
        let device = device([&blank, &blank]);
        refuses_to_write(
            &device,
            &["is blank", "never saved", "saveenv", "fw_env.config"],
        );
    }
    // Saved, but without our variables: readable, and not the same as bad slots.
    let foreign = [("bootdelay", "2")].into_iter().collect();
    let device = single(&encode_single(&foreign, SIZE).unwrap(), SIZE);
    let control = device.control();
    assert!(control.observe().unwrap().unset);
    control.verify_writable().unwrap();
    control.apply(&ARM, SlotName::A).unwrap();
    assert_eq!(control.observe().unwrap().order, [SlotName::B, SlotName::A]);
}

#[test]
fn bad_copy_is_a_warning_and_is_repaired_from_the_good_one() {
    let good = encode_redundant(&vars(), 7, SIZE).unwrap();
    let bad: [&[u8]; 3] = [&[0xff; SIZE], &[0; SIZE], &[b'x'; SIZE]];
    for bad in bad {
        for (copies, offset) in [([bad, good.as_slice()], 0), ([&good, bad], SECOND as u64)] {
            let device = device(copies);
            let before = device.control().observe().unwrap();
            let lints = device.lints();
            assert_eq!(lints.len(), 1, "{lints:?}");
            assert!(
                lints[0].contains(&format!("the copy at {offset:#x} is not used")),
                "{lints:?}"
            );
            let repaired = device.control().repair().unwrap();
            assert_eq!(repaired, Repaired::Copies(vec![device.path("disk")]));
            assert_eq!(device.writes(), [(device.path("disk"), offset, SIZE)]);
            assert_eq!(device.lints(), Vec::<String>::new());
            assert_eq!(device.control().observe().unwrap(), before);
        }
    }
}

#[test]
fn write_never_makes_a_file_longer() {
    let copy = encode_redundant(&vars(), 7, SIZE).unwrap();
    let device = device([&copy, &copy]);
    let disk = device.bytes("disk");
    device.put("disk", &disk[..SECOND + SIZE - 1]);
    refuses_to_write(&device, &["ends at 0x2fff", "reaches to 0x3000"]);
}

#[test]
fn configuration_is_named_when_it_is_the_trouble() {
    let device = sound();
    for (text, message) in [
        ("", "no entry"),
        ("# nothing\n", "no entry"),
        ("DISK 0x0\n", "line 1"),
        ("/dev/null 0x0 0x1000\n", "a character device (raw flash)"),
        (
            "/nowhere/mmcblk0 0x0 0x1000\n",
            "/nowhere/mmcblk0: cannot be read",
        ),
    ] {
        configure(&device, text);
        refuses_to_write(&device, &[message]);
    }
    std::fs::remove_file(device.path("fw_env.config")).unwrap();
    refuses_to_write(&device, &["fw_env.config: cannot be read"]);
}

#[test]
fn read_only_device_and_full_environment_stop_an_install() {
    let device = sound();
    device.set(|world| world.read_only = true);
    let error = device.control().verify_writable().unwrap_err();
    assert!(chain(&error).contains("mount it writable"), "{error}");

    let mut full = vars();
    full.remove("switchback_id");
    full.set("pad", &"x".repeat(SIZE - 98));
    let device = single(&encode_single(&full, SIZE).unwrap(), SIZE);
    let error = device.control().verify_writable().unwrap_err();
    assert!(
        chain(&error).contains("make the environment larger"),
        "{error}"
    );
}

#[test]
fn write_that_did_not_arrive_is_noticed() {
    let device = sound();
    device.set(|world| world.fate = Fate::Lost);
    let error = device.control().apply(&ARM, SlotName::A).unwrap_err();
    assert!(chain(&error).contains("read back differently"), "{error}");
}

/// A board set up for Mender: one variable names the slot, and the inactive one is out already.
#[test]
fn boot_count_arms_and_commits_with_one_write_each() {
    let pairs = [
        ("mender_boot_part", "2"),
        ("mender_boot_part_hex", "2"),
        ("upgrade_available", "0"),
        ("bootcount", "0"),
        ("bootlimit", "1"),
    ];
    let bytes = encode_single(&pairs.into_iter().collect(), SIZE).unwrap();
    let mut device = Device::new(ContractKind::Bootcount, &[("disk", &bytes)]);
    device.settings.bootnames = BootNames::new("2", "3").unwrap();
    configure(&device, &format!("DISK 0 {SIZE:#x}"));
    let control = device.control();
    control.verify_writable().unwrap();
    let one = [(device.path("disk"), 0, SIZE)];
    let invalidate = BootChange::Invalidate(SlotName::B);
    assert_eq!(
        control.apply(&invalidate, SlotName::A).unwrap(),
        Applied::AlreadySo
    );
    assert!(device.writes().is_empty());
    control.apply(&ARM, SlotName::A).unwrap();
    assert_eq!(device.writes(), one);
    let view = control.observe().unwrap();
    assert_eq!(
        (view.primary, view.b, view.contact_id.as_deref()),
        (
            Some(SlotName::B),
            SlotBoot::Ready { left: 3 },
            Some("0badcafe")
        )
    );
    let good = BootChange::MarkGood {
        slot: SlotName::B,
        tries: 3,
    };
    control.apply(&good, SlotName::B).unwrap();
    assert_eq!(device.writes(), one);
    assert_eq!(control.observe().unwrap().b, SlotBoot::Uncounted);
}
