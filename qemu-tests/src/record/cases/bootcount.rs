//! For `boot/u-boot/bootcount.cmd`, under a U-Boot that counts boots in its redundant environment.

use super::random::Random;
use super::uboot::{BOOTCMD, BUILT_IN, blank, copy};
use super::{BOTH, NEITHER, ONLY_A, ONLY_B, slots_in_words};
use crate::record::rig::uboot_size;
use crate::record::{Case, Slot};

/// As the script stores it, and a board's flashing tool.
const ALTBOOTCMD: &str = "altbootcmd=setenv give_up yes; run bootcmd";

/// A copy with these variables behind the way to the script.
fn with(flags: u8, words: &[&str]) -> Vec<u8> {
    let mut strings = vec![BOOTCMD, ALTBOOTCMD];
    strings.extend(words);
    copy(flags, &strings, 0xff)
}

/// The contract's variables.
fn stored(flags: u8, part: &str, trial: &str, count: &str, limit: &str) -> Vec<u8> {
    let words = [
        format!("mender_boot_part={part}"),
        format!("mender_boot_part_hex={part}"),
        format!("upgrade_available={trial}"),
        format!("bootcount={count}"),
        format!("bootlimit={limit}"),
        "switchback_id=factory".to_owned(),
    ];
    with(flags, &words.each_ref().map(String::as_str))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, copies: [Vec<u8>; 2], slots: [Slot; 2]| {
        cases.push(Case {
            name,
            copies: copies.to_vec(),
            slots,
        });
    };
    for (first, second) in [
        (0, 1),
        (1, 0),
        (5, 5),
        (0, 255),
        (255, 0),
        (254, 255),
        (1, 255),
        (127, 128),
    ] {
        let copies = [
            stored(first, "3", "1", "0", "3"),
            stored(second, "2", "1", "2", "2"),
        ];
        add(format!("flags {first} and {second}"), copies, BOTH);
    }
    for (trial, count, limit) in [
        ("0", "0", "3"),
        ("0", "4", "3"),
        ("1", "0", "1"),
        ("1", "1", "1"),
        ("1", "1", "3"),
        ("1", "2", "3"),
        ("1", "3", "3"),
        ("1", "9", "3"),
        ("1", "7", "0"),
        ("2", "0", "3"),
        ("01", "0", "3"),
        ("1x", "1z", "3,"),
        ("x1", "9", "3"),
        ("yes", "9", "3"),
        (" 1", "0", "3"),
        ("-1", "9", "3"),
        ("0x1", "9", "3"),
        ("1", "0x2", "3"),
        ("1", "010", "9"),
        ("1", "-1", "3"),
        ("1", "many", "3"),
        ("1", "8", "0x9"),
        ("1", "4", "010"),
        ("1", "8", "9a"),
        ("1", "254", "255"),
        ("1", "255", "255"),
        ("1", "4294967294", "9"),
        ("1", "4294967295", "9"),
        ("1", "4294967297", "3"),
        ("1", "5", "4294967297"),
        ("4294967296", "5", "3"),
    ] {
        let copies = [stored(3, "3", trial, count, limit), blank()];
        let name = format!("on trial `{trial}`, count `{count}`, limit `{limit}`");
        add(name, copies, BOTH);
    }
    for (slots, trial, count) in [
        (ONLY_A, "0", "0"),
        (ONLY_A, "1", "0"),
        (ONLY_A, "1", "2"),
        (ONLY_B, "0", "0"),
        (ONLY_B, "1", "1"),
        (ONLY_B, "1", "2"),
        (NEITHER, "0", "0"),
        (NEITHER, "1", "2"),
    ] {
        for part in ["2", "3"] {
            let name = format!(
                "{}: part {part}, on trial {trial}, count {count} of 2",
                slots_in_words(slots)
            );
            let copies = [
                stored(7, part, trial, count, "2"),
                stored(6, "2", "0", "0", "2"),
            ];
            add(name, copies, slots);
        }
    }
    for part in ["2", "3", "1", "4", "02", "0x3", "3 ", " 2", "A", "2 3"] {
        let copies = [blank(), stored(9, part, "1", "1", "1")];
        add(format!("part `{part}`, the limit is reached"), copies, BOTH);
        let copies = [blank(), stored(9, part, "0", "0", "1")];
        add(format!("part `{part}`, no trial"), copies, BOTH);
    }
    for variable in ["name=x", "changed=yes", "part_a=3", "disk=none", "label=x"] {
        let words = [variable, "mender_boot_part=3", "upgrade_available=1"];
        add(
            format!("`{variable}`, the script's own, is stored"),
            [with(4, &words), blank()],
            BOTH,
        );
    }
    for (name, copies, slots) in damaged().into_iter().chain(odd_variables()) {
        add(name.to_owned(), copies, slots);
    }
    cases.extend(random());
    cases
}

type Odd = (&'static str, [Vec<u8>; 2], [Slot; 2]);

fn damaged() -> Vec<Odd> {
    let (old, new) = (stored(1, "3", "1", "1", "2"), stored(2, "3", "1", "2", "2"));
    let flipped = |copy: &[u8], at: usize| {
        let mut copy = copy.to_vec();
        copy.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
        copy
    };
    let torn = |sectors: usize| {
        let end = sectors * 512;
        let parts = [new.get(..end), old.get(end..)];
        parts.map(Option::unwrap_or_default).concat()
    };
    vec![
        ("copy 1 damaged", [flipped(&old, 20), new.clone()], BOTH),
        ("copy 2 damaged", [old.clone(), flipped(&new, 20)], BOTH),
        (
            "flags of copy 2 damaged",
            [old.clone(), flipped(&new, 4)],
            BOTH,
        ),
        ("copy 2 torn after one sector", [old.clone(), torn(1)], BOTH),
        (
            "both copies damaged",
            [flipped(&old, 20), flipped(&new, 20)],
            BOTH,
        ),
        ("both copies erased", [blank(), blank()], BOTH),
        (
            "both copies erased, only B loads",
            [blank(), blank()],
            ONLY_B,
        ),
        ("copy 1 zeros", [vec![0; uboot_size()], new], BOTH),
    ]
}

fn odd_variables() -> Vec<Odd> {
    let factory: Vec<&str> = BUILT_IN
        .lines()
        .chain([
            "mender_boot_part=2",
            "mender_boot_part_hex=2",
            "upgrade_available=0",
            "bootcount=0",
            "bootlimit=3",
            ALTBOOTCMD,
            "switchback_id=factory",
        ])
        .collect();
    let factory = copy(1, &factory, 0xff);
    let armed = ["mender_boot_part=3", "upgrade_available=1", "bootlimit=1"];
    let words = |more: &[&str]| [with(4, &[&armed, more].concat()), blank()];
    vec![
        (
            "the card as it leaves the factory",
            [factory, vec![0; uboot_size()]],
            BOTH,
        ),
        ("no variable of the contract", [with(4, &[]), blank()], BOTH),
        (
            "no altbootcmd, no trial",
            [copy(4, &[BOOTCMD, "mender_boot_part=3"], 0xff), blank()],
            BOTH,
        ),
        (
            "no altbootcmd, a trial",
            [
                copy(4, &[&[BOOTCMD], armed.as_slice()].concat(), 0xff),
                blank(),
            ],
            BOTH,
        ),
        (
            "no limit",
            [
                with(
                    4,
                    &["mender_boot_part=3", "upgrade_available=1", "bootcount=9"],
                ),
                blank(),
            ],
            BOTH,
        ),
        ("no count", words(&[]), BOTH),
        ("an empty count", words(&["bootcount="]), BOTH),
        (
            "an empty limit",
            words(&["bootcount=5", "bootlimit="]),
            BOTH,
        ),
        (
            "two variables that name different slots",
            words(&["mender_boot_part_hex=2"]),
            BOTH,
        ),
        (
            "two variables that name different slots, the limit is reached",
            words(&["mender_boot_part_hex=2", "bootcount=1"]),
            BOTH,
        ),
        (
            "give_up is stored, no trial",
            [with(4, &["give_up=yes", "mender_boot_part=3"]), blank()],
            BOTH,
        ),
        ("give_up is stored, a trial", words(&["give_up=yes"]), BOTH),
        (
            "an id of two words",
            words(&["switchback_id=one two"]),
            BOTH,
        ),
        (
            "foreign variables stay, sorted by name",
            words(&["zz=1", "mid=x y ", "aa=2", "Aa=3", "_a=4"]),
            BOTH,
        ),
        (
            "what the script and U-Boot use in passing is there before",
            words(&[
                "bootcount=1",
                "filesize=1",
                "bootargs=old",
                "fileaddr=1",
                "fdtcontroladdr=1",
            ]),
            BOTH,
        ),
    ]
}

fn random() -> Vec<Case> {
    let mut random = Random::new(0x5b04);
    (1..=24)
        .map(|number| {
            let mut copies: Vec<Vec<u8>> = (0..2)
                .map(|_| {
                    let flags = u8::try_from(random.below(256)).unwrap_or(0);
                    let part = random.of(&["2", "3", "3", "2", "3", "x"], "2");
                    let trial = random.of(&["0", "1", "1"], "1");
                    let digits = ["0", "1", "2", "3", "4"];
                    let (count, limit) = (random.of(&digits, "1"), random.of(&digits, "1"));
                    stored(flags, part, trial, count, limit)
                })
                .collect();
            if random.once_in(3) {
                let which = random.below(2);
                if let Some(copy) = copies.get_mut(which) {
                    random.damage(copy, 200);
                }
            }
            Case {
                name: format!("random {number}"),
                slots: random.slots(),
                copies,
            }
        })
        .collect()
}
