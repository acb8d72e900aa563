//! For `boot/grub/grub-rauc.cfg`.

use super::random::Random;
use super::{BOTH, FAILING, NEITHER, ONLY_A, ONLY_B, grub_block, slots_in_words};
use crate::record::{Case, Slot};

fn lines(order: &str, a: (&str, &str), b: (&str, &str)) -> String {
    format!(
        "ORDER={order}\nA_OK={}\nA_TRY={}\nB_OK={}\nB_TRY={}\n",
        a.0, a.1, b.0, b.1
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, block: Vec<u8>, slots: [Slot; 2]| {
        cases.push(Case {
            name,
            copies: vec![block],
            slots,
        });
    };
    // Every state of the four variables, with both slots there.
    for bits in 0..16 {
        let bit = |number: u32| if bits & (1 << number) == 0 { "0" } else { "1" };
        let (a, b) = ((bit(0), bit(1)), (bit(2), bit(3)));
        add(
            format!("A ok={} try={}, B ok={} try={}", a.0, a.1, b.0, b.1),
            grub_block(lines("A B", a, b)),
            BOTH,
        );
    }
    for slots in [ONLY_A, ONLY_B, NEITHER] {
        for (order, a, b) in [
            ("A B", ("1", "0"), ("1", "0")),
            ("B A", ("1", "0"), ("1", "0")),
            ("A B", ("1", "1"), ("1", "0")),
            ("A B", ("1", "1"), ("1", "1")),
            ("A", ("1", "0"), ("0", "0")),
        ] {
            let name = format!(
                "{}: order `{order}`, tried {} {}",
                slots_in_words(slots),
                a.1,
                b.1
            );
            add(name, grub_block(lines(order, a, b)), slots);
        }
    }
    let good = ("1", "0");
    for slots in FAILING {
        for (order, b) in [("A B", good), ("B A", ("1", "1")), ("A", good)] {
            let name = format!(
                "{}: order `{order}`, B tried {}",
                slots_in_words(slots),
                b.1
            );
            add(name, grub_block(lines(order, good, b)), slots);
        }
    }
    for order in [
        "B A", "A", "B", "", "rescue B", "rescue", "A A B", "a b", " B  A", "B\tA", "A,B",
    ] {
        add(
            format!("order `{order}`"),
            grub_block(lines(order, good, good)),
            BOTH,
        );
    }
    for (a, b) in [
        (("2", "0"), good),
        (("yes", "0"), good),
        (("1", "2"), good),
        (("1", ""), good),
        (("1", "x"), ("0", "0")),
        (("", ""), good),
        (("1 ", "0"), ("1", "00")),
        (("1 x", "0 y"), good),
        ((" 1", "0"), ("1", " 0")),
    ] {
        let name = format!("A ok=`{}` try=`{}`, B ok={} try={}", a.0, a.1, b.0, b.1);
        add(name, grub_block(lines("A B", a, b)), BOTH);
    }
    for (name, block) in odd_blocks() {
        add(name.to_owned(), block, BOTH);
    }
    cases.extend(random());
    cases
}

fn odd_blocks() -> Vec<(&'static str, Vec<u8>)> {
    let factory = lines("A B", ("1", "0"), ("1", "0"));
    let sound = grub_block(&factory);
    let mut header = sound.clone();
    header.iter_mut().take(1).for_each(|byte| *byte = b'!');
    let mut spaces = sound.clone();
    spaces
        .iter_mut()
        .skip(25 + factory.len())
        .for_each(|byte| *byte = b' ');
    let mut torn = sound;
    torn.iter_mut().skip(512).for_each(|byte| *byte = 0);
    let full = "y".repeat(1024 - 25 - factory.len() - "A_OK=1\nz=\n".len());
    vec![
        ("header damaged", header),
        ("zeros", vec![0; 1024]),
        ("erased", vec![0xff; 1024]),
        ("filled up with blanks", spaces),
        ("second sector is zeros", torn),
        ("no variable at all", grub_block("")),
        (
            "no A_TRY and B_TRY",
            grub_block("ORDER=A B\nA_OK=1\nB_OK=1\n"),
        ),
        ("no ORDER", grub_block("A_OK=1\nB_OK=1\nA_TRY=1\nB_TRY=0\n")),
        ("no B_OK", grub_block("ORDER=B A\nA_OK=1\nA_TRY=0\n")),
        (
            "foreign variables and comments stay",
            grub_block(format!("# note\nsaved_entry=0\n{factory}zz=1\\\n2\n")),
        ),
        (
            "A_TRY is there twice",
            grub_block(format!("A_TRY=1\n{factory}")),
        ),
        (
            "no line break at the end",
            grub_block("ORDER=A B\nA_OK=1\nB_OK=1\nA_TRY=0\nB_TRY=0"),
        ),
        (
            "full, without room for B_TRY",
            grub_block(format!(
                "ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nq={full}{full}"
            )),
        ),
        (
            "full, and nothing grows",
            grub_block(format!("A_OK=1\n{factory}z={full}\n")),
        ),
    ]
    .into_iter()
    .map(|(name, mut block)| {
        block.truncate(1024);
        (name, block)
    })
    .collect()
}

fn random() -> Vec<Case> {
    let mut random = Random::new(0x5b02);
    (1..=20)
        .map(|number| {
            let order = random.of(&["A B", "B A", "A", "B", "x B A"], "A B");
            let flag = ["0", "1", "1", "0", "", "2"];
            let mut pick = || random.of(&flag, "0");
            let (a, b) = ((pick(), pick()), (pick(), pick()));
            let mut block = grub_block(lines(order, a, b));
            if random.once_in(2) {
                random.damage(&mut block, 80);
            }
            Case {
                name: format!("random {number}"),
                copies: vec![block],
                slots: random.slots(),
            }
        })
        .collect()
}
