//! For `boot/u-boot/boot.cmd`, under a U-Boot with its own redundant environment.

use super::random::Random;
use super::{BOTH, FAILING, NEITHER, ONLY_A, ONLY_B, slots_in_words};
use crate::record::rig::uboot_size;
use crate::record::{Case, Slot};

/// The shortest way to the script: a stored environment replaces the built-in one as a whole.
pub(super) const BOOTCMD: &str =
    "bootcmd=pci enum; virtio scan; load virtio 0:1 0x7000000 /boot.scr; source 0x7000000";

/// U-Boot's own variables, as the factory stores them with the contract's.
pub(super) const BUILT_IN: &str =
    include_str!("../../../../crates/testkit/src/bootloader/uboot_builtin.env");

/// A copy of a redundant environment.
pub(in crate::record) fn copy(flags: u8, strings: &[&str], fill: u8) -> Vec<u8> {
    let mut data = Vec::new();
    for string in strings {
        data.extend_from_slice(string.as_bytes());
        data.push(0);
    }
    data.push(0);
    data.resize(uboot_size() - 5, fill);
    [checksum(&data).to_le_bytes().as_slice(), &[flags], &data].concat()
}

/// CRC-32 as in zlib, bit by bit: the product's and the model's are not to be judged by themselves.
fn checksum(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 * carry);
        }
    }
    !crc
}

/// The contract's variables behind the way to the script.
fn stored(flags: u8, order: &str, a: &str, b: &str) -> Vec<u8> {
    let (order, a, b) = (
        format!("BOOT_ORDER={order}"),
        format!("BOOT_A_LEFT={a}"),
        format!("BOOT_B_LEFT={b}"),
    );
    let strings = [BOOTCMD, &order, &a, &b, "switchback_id=factory"];
    copy(flags, &strings, 0xff)
}

pub(super) fn blank() -> Vec<u8> {
    vec![0xff; uboot_size()]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, copies: [Vec<u8>; 2], slots: [Slot; 2]| {
        cases.push(Case {
            name: name.to_owned(),
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
        (255, 254),
        (127, 128),
        (128, 127),
        (1, 255),
        (255, 1),
        (0, 0),
        (255, 255),
    ] {
        let copies = [
            stored(first, "A B", "3", "3"),
            stored(second, "B A", "2", "1"),
        ];
        add(&format!("flags {first} and {second}"), copies, BOTH);
    }
    for (a, b) in [
        ("3", "3"),
        ("1", "3"),
        ("0", "3"),
        ("0", "1"),
        ("0", "0"),
        ("a", "0"),
        ("A", "0"),
        ("10", "0"),
        ("1F", "0"),
        ("0x3", "0"),
        ("3x", "0"),
        ("x3", "1"),
        ("many", "0"),
        ("-1", "2"),
        ("003", "0"),
        ("3 ", "0"),
        (" 3", "0"),
        ("3\t", "0"),
        ("\t3", "0"),
        ("3\n", "0"),
        ("3 4", "0"),
        ("7fffffff", "0"),
        ("80000000", "1"),
        ("ffffffff", "1"),
        ("100000000", "1"),
        ("100000002", "1"),
        ("*0", "1"),
    ] {
        let copies = [stored(3, "A B", a, b), blank()];
        add(&format!("tries `{a}` and `{b}`"), copies, BOTH);
    }
    for order in [
        "B A",
        "A",
        "B",
        "rescue",
        "rescue B A",
        "A A B",
        "a b",
        "A,B",
        "  B   A ",
        "B\tA",
        "B\nA",
        "B A\n",
        "refill B A",
        "-n A",
        "= B",
        "! B",
    ] {
        let copies = [blank(), stored(9, order, "2", "1")];
        add(&format!("order `{order}`"), copies, BOTH);
    }
    for slots in [ONLY_A, ONLY_B, NEITHER] {
        for (order, a, b) in [
            ("A B", "3", "3"),
            ("B A", "1", "1"),
            ("A B", "0", "2"),
            ("A B", "0", "0"),
            ("A", "2", "2"),
        ] {
            add(
                &format!("{}: order `{order}`, tries {a} {b}", slots_in_words(slots)),
                [stored(7, order, a, b), stored(6, "A B", "3", "3")],
                slots,
            );
        }
    }
    for slots in FAILING {
        for (order, a, b) in [
            ("A B", "3", "3"),
            ("B A", "1", "1"),
            ("A B", "0", "0"),
            ("rescue", "1", "0"),
        ] {
            add(
                &format!("{}: order `{order}`, tries {a} {b}", slots_in_words(slots)),
                [stored(7, order, a, b), stored(6, "A B", "3", "3")],
                slots,
            );
        }
    }
    // Names of the script's own variables.
    for (variable, slots) in [
        ("slot=B", BOTH),
        ("slot=B", NEITHER),
        ("name=B", BOTH),
        ("failed_A=yes", BOTH),
        ("failed_B=yes", ONLY_B),
        ("label=slot-b", BOTH),
        ("tries=9", NEITHER),
        ("args=none", BOTH),
        ("disk=virtio 9", BOTH),
        ("kernel_at=0x10", BOTH),
        ("kernel_size=1", BOTH),
        ("initrd_at=0x10", BOTH),
        ("env_state= switchback.env_state=bad", BOTH),
    ] {
        let strings = [BOOTCMD, variable, "BOOT_A_LEFT=2", "BOOT_B_LEFT=2"];
        add(
            &format!("`{variable}` is stored, {}", slots_in_words(slots)),
            [copy(4, &strings, 0xff), blank()],
            slots,
        );
    }
    for (name, copies, slots) in full() {
        add(name, copies, slots);
    }
    for (name, copies, slots) in damaged().into_iter().chain(odd_variables()) {
        add(name, copies, slots);
    }
    cases.extend(random());
    cases
}

type Odd = (&'static str, [Vec<u8>; 2], [Slot; 2]);

/// As much as `saveenv` can store, or a little more.
fn full() -> Vec<Odd> {
    // `missing`: bytes by which the first save is too long; less than 0 = bytes that are left.
    let card = |missing: isize, b: &str| {
        let b = format!("BOOT_B_LEFT={b}");
        let strings = [BOOTCMD, "BOOT_ORDER=A B", "BOOT_A_LEFT=2", &b];
        // What U-Boot adds before it saves.
        let added = ["fdtcontroladdr=1ed500a0", "fileaddr=7000000", "pad="];
        let taken: usize = strings
            .iter()
            .chain(&added)
            .map(|text| text.len() + 1)
            .sum();
        let room = uboot_size() - 5 - 1 - taken;
        let pad = format!("pad={}", "y".repeat(room.saturating_add_signed(missing)));
        let strings = [&strings[..], &[&pad]].concat();
        [copy(4, &strings, 0xff), blank()]
    };
    vec![
        ("the environment just fits", card(0, "3"), BOTH),
        ("the environment is one byte too long", card(1, "3"), BOTH),
        (
            "the environment is one byte too long, only B loads",
            card(1, "3"),
            ONLY_B,
        ),
        (
            "the first save does not fit, the second does",
            card(1, "10"),
            ONLY_B,
        ),
    ]
}

fn damaged() -> Vec<Odd> {
    let (old, new) = (stored(1, "A B", "3", "3"), stored(2, "B A", "3", "2"));
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
    let zeros = || vec![0; uboot_size()];
    vec![
        ("copy 1 damaged", [flipped(&old, 20), new.clone()], BOTH),
        ("copy 2 damaged", [old.clone(), flipped(&new, 20)], BOTH),
        (
            "checksum of copy 2 damaged",
            [old.clone(), flipped(&new, 0)],
            BOTH,
        ),
        (
            "flags of copy 2 damaged",
            [old.clone(), flipped(&new, 4)],
            BOTH,
        ),
        (
            "last byte of copy 2 damaged",
            [old.clone(), flipped(&new, uboot_size() - 1)],
            BOTH,
        ),
        ("copy 2 torn after one sector", [old.clone(), torn(1)], BOTH),
        (
            "copy 2 torn after 31 sectors",
            [old.clone(), torn(31)],
            BOTH,
        ),
        (
            "both copies damaged",
            [flipped(&old, 20), flipped(&new, 20)],
            BOTH,
        ),
        ("both copies erased", [blank(), blank()], BOTH),
        ("both copies zeros", [zeros(), zeros()], BOTH),
        (
            "both copies erased, only B loads",
            [blank(), blank()],
            ONLY_B,
        ),
        (
            "both copies erased, no slot loads",
            [blank(), blank()],
            NEITHER,
        ),
        ("copy 1 zeros", [zeros(), new], BOTH),
        ("copy 2 zeros, no slot loads", [old, zeros()], NEITHER),
    ]
}

fn odd_variables() -> Vec<Odd> {
    let with = |strings: &[&str]| {
        let all: Vec<&str> = [BOOTCMD]
            .into_iter()
            .chain(strings.iter().copied())
            .collect();
        [copy(4, &all, 0xff), blank()]
    };
    let factory: Vec<&str> = BUILT_IN
        .lines()
        .chain([
            "BOOT_ORDER=A B",
            "BOOT_A_LEFT=3",
            "BOOT_B_LEFT=3",
            "switchback_id=factory",
        ])
        .collect();
    let card = || [copy(1, &factory, 0xff), vec![0; uboot_size()]];
    vec![
        ("the card as it leaves the factory", card(), BOTH),
        (
            "the card as it leaves the factory, only B loads",
            card(),
            ONLY_B,
        ),
        ("no variable of the contract", with(&[]), BOTH),
        (
            "no BOOT_A_LEFT",
            with(&["BOOT_ORDER=B A", "BOOT_B_LEFT=0"]),
            BOTH,
        ),
        (
            "an empty BOOT_ORDER",
            with(&["BOOT_ORDER=", "BOOT_A_LEFT=2", "BOOT_B_LEFT=2"]),
            BOTH,
        ),
        (
            "an empty BOOT_A_LEFT",
            with(&["BOOT_A_LEFT=", "BOOT_B_LEFT=2"]),
            BOTH,
        ),
        (
            "an id of two words",
            with(&["BOOT_A_LEFT=2", "switchback_id=one two"]),
            BOTH,
        ),
        (
            "beyond the model: an id with a backslash",
            with(&["BOOT_A_LEFT=2", "switchback_id=o\\\\ne"]),
            BOTH,
        ),
        (
            "beyond the model: an id with a quote",
            with(&["BOOT_A_LEFT=2", "switchback_id=on'e"]),
            BOTH,
        ),
        (
            "an id with a semicolon and a dollar",
            with(&["BOOT_A_LEFT=2", "switchback_id=a;b$c${d}"]),
            BOTH,
        ),
        (
            "foreign variables stay, sorted by name",
            with(&["zz=1", "BOOT_ORDER=A B", "mid=x y ", "aa=2", "Aa=3", "_a=4"]),
            BOTH,
        ),
        (
            "a name twice, a comment, a name without a value, blanks in front",
            with(&[
                "twice=1", "# note=1", "alone", "twice=2", " blank=3", "gone=1", "gone=",
            ]),
            BOTH,
        ),
        (
            "what the script and U-Boot use in passing is there before",
            with(&[
                "part=9",
                "filesize=1",
                "bootargs=old",
                "fileaddr=1",
                "fdtcontroladdr=1",
            ]),
            BOTH,
        ),
        (
            "what is used in passing, and a slot that fails first",
            with(&["part=9", "filesize=1", "bootargs=old", "fileaddr=1"]),
            ONLY_B,
        ),
        (
            "filled up with zeros",
            [copy(4, &[BOOTCMD, "BOOT_A_LEFT=2"], 0), blank()],
            BOTH,
        ),
        (
            "backslashes in a foreign value",
            with(&["path=C:\\\\dir\\x", "BOOT_A_LEFT=2"]),
            BOTH,
        ),
    ]
}

fn random() -> Vec<Case> {
    let mut random = Random::new(0x5b03);
    (1..=24)
        .map(|number| {
            let mut copies: Vec<Vec<u8>> = (0..2)
                .map(|_| {
                    let flags = u8::try_from(random.below(256)).unwrap_or(0);
                    let order = random.of(&["A B", "B A", "A", "B", "x A", "x"], "A B");
                    let left = ["0", "1", "2", "3", "9", "f", "0", "zz"];
                    let (a, b) = (random.of(&left, "3"), random.of(&left, "3"));
                    stored(flags, order, a, b)
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
