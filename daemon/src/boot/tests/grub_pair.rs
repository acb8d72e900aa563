//! Two environment files: our own contract.

use switchback_boot_env::contract::{Applied, BootChange, ContractKind, SlotBoot};
use switchback_boot_env::{Vars, grub, grub_pair};
use switchback_types::SlotName;

use super::{Device, Fate, chain, refuses_to_write, verbs};
use crate::boot::Repaired;

const ARM: BootChange<'_> = BootChange::Arm {
    slot: SlotName::B,
    tries: 3,
    contact_id: "0badcafe",
};

fn vars() -> Vars {
    let pairs = [
        ("order", "A B"),
        ("a_left", "2"),
        ("b_left", "3"),
        ("id", "old"),
        ("foreign", "x"),
    ];
    pairs.into_iter().collect()
}

/// A device whose second copy is the newer one.
fn device() -> Device {
    let [first, second] = grub_pair::new_pair(&vars()).unwrap();
    Device::new(
        ContractKind::SwitchbackGrub,
        &[("sb1.env", &first), ("sb2.env", &second)],
    )
}

#[test]
fn each_verb_is_one_write_of_the_older_copy() {
    let device = device();
    let control = device.control();
    control.verify_writable().unwrap();
    assert_eq!(control.repair().unwrap(), Repaired::Nothing);
    let mut older = ["sb1.env", "sb2.env"].into_iter().cycle();
    for verb in verbs() {
        if control.apply(&verb, SlotName::A).unwrap() == Applied::AlreadySo {
            assert!(device.writes().is_empty(), "{verb:?}");
            continue;
        }
        let path = device.path(older.next().unwrap());
        assert_eq!(device.writes(), [(path, 0, 1024)], "{verb:?}");
        if !matches!(verb, BootChange::GiveBackTry { .. }) {
            assert_eq!(
                control.apply(&verb, SlotName::A).unwrap(),
                Applied::AlreadySo
            );
            assert!(device.writes().is_empty(), "{verb:?}");
        }
    }
    assert_eq!(
        device.everything().len(),
        2,
        "nothing was created beside them"
    );
}

#[test]
fn power_cut_anywhere_in_a_write_gives_old_or_new() {
    // Every byte of the content, and then on to the end of the padding in larger steps.
    for length in (0..160).chain((160..=1024).step_by(16)) {
        let device = device();
        device.set(|world| world.fate = Fate::Torn(length));
        device.control().apply(&ARM, SlotName::A).unwrap_err();
        device.set(|world| world.fate = Fate::Good);
        let control = device.control();
        let id = control.observe().unwrap().contact_id.unwrap();
        assert!(["old", "0badcafe"].contains(&id.as_str()), "{length}: {id}");
        control.repair().unwrap();
        control.verify_writable().unwrap();
        assert_eq!(control.lint().len(), 0, "{length}");
        assert_eq!(
            control.observe().unwrap().contact_id.unwrap(),
            id,
            "{length}"
        );
        control.apply(&ARM, SlotName::A).unwrap();
    }
}

#[test]
fn damaged_copy_is_written_anew_from_the_other_one() {
    let sound = grub_pair::new_pair(&vars()).unwrap();
    let mixture = grub::encode(&[("seq", "1"), ("end", "2")].into_iter().collect()).unwrap();
    let bad: [&[u8]; 7] = [
        b"",
        &[0; 1024],
        &[0xff; 1024],
        &mixture,
        &sound[0][..600],
        &[b'#'; 2048],
        &sound[1][1..],
    ];
    for name in ["sb1.env", "sb2.env"] {
        for bad in bad {
            let device = device();
            device.put(name, bad);
            let control = device.control();
            let before = control.observe().unwrap();
            assert!(!control.lint().is_empty());
            let Repaired::Copies(copies) = control.repair().unwrap() else {
                panic!("{name} {}", bad.len());
            };
            // A copy that counts and has a wrong size takes two writes.
            assert!(copies.contains(&device.path(name)), "{copies:?}");
            assert_eq!(device.writes().len(), copies.len());
            assert_eq!(device.lints(), Vec::<String>::new());
            assert_eq!(control.observe().unwrap(), before);
            for name in ["sb1.env", "sb2.env"] {
                assert_eq!(grub::problems(&device.bytes(name)), []);
            }
            assert_eq!(control.repair().unwrap(), Repaired::Nothing);
        }
    }
}

#[test]
fn repair_that_is_cut_off_can_be_repeated() {
    for length in [0, 100, 512, 1000] {
        let device = device();
        device.put("sb1.env", &[0; 1024]);
        let before = device.control().observe().unwrap();
        device.set(|world| world.fate = Fate::Torn(length));
        device.control().repair().unwrap_err();
        device.set(|world| world.fate = Fate::Good);
        device.control().repair().unwrap();
        assert_eq!(device.control().observe().unwrap(), before);
        assert_eq!(device.lints(), Vec::<String>::new());
    }
}

#[test]
fn one_bad_copy_does_not_stop_an_update() {
    let device = device();
    device.put("sb1.env", &[0; 1024]);
    let lints = device.lints();
    assert_eq!(lints.len(), 1);
    assert!(
        lints[0].contains("sb1.env: this copy is not used"),
        "{lints:?}"
    );
    let control = device.control();
    control.verify_writable().unwrap();
    assert_eq!(control.apply(&ARM, SlotName::A).unwrap(), Applied::Changed);
    assert_eq!(device.writes(), [(device.path("sb1.env"), 0, 1024)]);
    assert_eq!(device.lints(), Vec::<String>::new());
}

#[test]
fn new_environment_starts_the_booted_slot_and_only_a_whole_other_one() {
    for (booted, whole) in [(SlotName::A, true), (SlotName::B, false)] {
        let device = device();
        device.put("sb1.env", b"");
        device.put("sb2.env", &[0; 2000]);
        let control = device.control();
        let Repaired::Copies(copies) = control.rebuild(booted, whole).unwrap() else {
            panic!("nothing was written");
        };
        assert_eq!(copies, [device.path("sb1.env"), device.path("sb2.env")]);
        assert_eq!(device.lints(), Vec::<String>::new());
        let view = control.observe().unwrap();
        let other = match whole {
            true => SlotBoot::Ready { left: 3 },
            false => SlotBoot::Bad,
        };
        assert_eq!(view.primary, Some(booted));
        assert_eq!(view.slot(booted), SlotBoot::Ready { left: 3 });
        assert_eq!(view.slot(booted.other()), other, "{whole}");
        assert_eq!(control.rebuild(booted, whole).unwrap(), Repaired::Nothing);
    }
}

#[test]
fn new_environment_is_not_made_in_place_of_a_sound_or_absent_one() {
    let sound = device();
    sound.put("sb1.env", b"");
    let before = sound.everything();
    assert_eq!(
        sound.control().rebuild(SlotName::A, true).unwrap(),
        Repaired::Nothing
    );
    assert_eq!(sound.everything(), before);

    let absent = device();
    for name in ["sb1.env", "sb2.env"] {
        std::fs::remove_file(absent.path(name)).unwrap();
    }
    absent.control().rebuild(SlotName::A, true).unwrap_err();
    assert_eq!(absent.everything(), []);
}

#[test]
fn nothing_is_made_out_of_nothing() {
    let device = device();
    device.put("sb1.env", b"");
    device.put("sb2.env", &[0; 1024]);
    let remedy = "sb1.env set seq=0 'order=A B' a_left=3 b_left=3 end=0";
    refuses_to_write(&device, &["neither copy", "sb1.env", "sb2.env", remedy]);
    let error = device.control().repair().unwrap_err();
    assert!(chain(&error).contains(remedy), "{error}");

    std::fs::remove_file(device.path("sb1.env")).unwrap();
    std::fs::remove_file(device.path("sb2.env")).unwrap();
    refuses_to_write(&device, &["neither copy", remedy]);
}

#[test]
fn missing_file_is_named_and_never_created() {
    let device = device();
    std::fs::remove_file(device.path("sb1.env")).unwrap();
    assert_eq!(
        device.control().observe().unwrap().contact_id.as_deref(),
        Some("old")
    );
    refuses_to_write(&device, &["sb1.env: does not exist", "grub-editenv"]);
    assert!(!device.path("sb1.env").exists());
}

#[test]
fn two_names_of_one_file_are_no_pair() {
    let device = device();
    std::fs::remove_file(device.path("sb2.env")).unwrap();
    std::fs::hard_link(device.path("sb1.env"), device.path("sb2.env")).unwrap();
    let error = device.control().verify_writable().unwrap_err();
    assert!(chain(&error).contains("are the same file"), "{error}");
}

#[test]
fn raw_block_elsewhere_is_refused_in_either_copy() {
    for name in ["sb1.env", "sb2.env"] {
        let device = device();
        let mut vars = grub::parse(&device.bytes(name)).unwrap();
        vars.set("env_block", "512+1");
        device.put(name, &grub::encode(&vars).unwrap());
        refuses_to_write(&device, &[name, "env_block=512+1"]);
    }
}

#[test]
fn duplicate_that_grub_would_count_in_vain_stops_an_update() {
    let device = device();
    let block = String::from_utf8(device.bytes("sb2.env")).unwrap();
    let twice = block.replacen("a_left=2\n", "a_left=2\na_left=2\n", 1);
    device.put("sb2.env", &twice.as_bytes()[..1024]);
    let error = device.control().verify_writable().unwrap_err();
    assert!(
        chain(&error).contains("a_left is there more than once"),
        "{error}"
    );
}

#[test]
fn files_are_named_for_people() {
    let device = device();
    let files = device.control().files();
    assert!(
        files.contains("sb1.env and ") && files.ends_with("sb2.env"),
        "{files}"
    );
    assert_eq!(device.control().max_tries(), 9);
}
