//! For `boot/grub/grub.cfg`.

use super::random::Random;
use super::{
    A_BROKEN, BOTH, BOTH_BROKEN, FAILING, NEITHER, ONLY_A, ONLY_B, grub_block, slots_in_words,
};
use crate::record::{Case, Slot};

/// What the factory writes between the two numbers.
const FACTORY: &str = "order=A B\na_left=3\nb_left=3\nid=factory\n";

fn copy(number: impl std::fmt::Display, body: &str) -> Vec<u8> {
    grub_block(format!("seq={number}\n{body}end={number}\n"))
}

/// An older copy 1 and a newer copy 2 with these variables.
fn pair(body: &str) -> Vec<Vec<u8>> {
    vec![copy(0, FACTORY), copy(1, body)]
}

fn body(order: &str, a: &str, b: &str) -> String {
    format!("order={order}\na_left={a}\nb_left={b}\nid=factory\n")
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, copies: Vec<Vec<u8>>, slots: [Slot; 2]| {
        cases.push(Case {
            name: name.to_owned(),
            copies,
            slots,
        });
    };

    // Which copy is the newer one, and where the next one goes.
    for first in 0..4 {
        for second in 0..4 {
            let copies = vec![
                copy(first, &body("A B", "2", "3")),
                copy(second, &body("B A", "3", "1")),
            ];
            add(&format!("numbers {first} and {second}"), copies, BOTH);
        }
    }

    // Tries.
    for (a, b) in [
        ("3", "3"),
        ("1", "3"),
        ("0", "3"),
        ("0", "1"),
        ("0", "0"),
        ("9", "9"),
        ("10", "0"),
        ("-1", "0"),
        ("03", "0"),
        ("2x", "0"),
        (" 2", "0"),
        ("a", "F"),
        ("", "0"),
    ] {
        add(
            &format!("tries `{a}` and `{b}`"),
            pair(&body("A B", a, b)),
            BOTH,
        );
    }
    for order in [
        "B A",
        "A",
        "B",
        "",
        "rescue A B",
        "rescue",
        "A A B",
        "a b",
        "A,B",
        "  B   A ",
        "B\tA",
        "-n = A",
        "* B",
    ] {
        add(
            &format!("order `{order}`"),
            pair(&body(order, "2", "1")),
            BOTH,
        );
    }
    add(
        "only A in the order, without tries",
        pair(&body("A", "0", "3")),
        BOTH,
    );

    // Slots.
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
                pair(&body(order, a, b)),
                slots,
            );
        }
    }

    for slots in FAILING {
        for (order, a, b) in [
            ("A B", "3", "3"),
            ("A B", "1", "0"),
            ("B A", "0", "1"),
            ("A B", "0", "0"),
            ("A", "1", "0"),
        ] {
            add(
                &format!("{}: order `{order}`, tries {a} {b}", slots_in_words(slots)),
                pair(&body(order, a, b)),
                slots,
            );
        }
    }

    // The last resort: nothing in the order can be started.
    for (order, a, b, slots) in [
        ("rescue", "0", "0", BOTH),
        ("rescue", "0", "2", ONLY_A),
        ("rescue", "2", "0", ONLY_B),
        ("rescue", "2", "0", NEITHER),
        ("rescue", "2", "1", A_BROKEN),
        ("rescue", "1", "1", BOTH_BROKEN),
        ("B", "2", "0", ONLY_A),
        ("B", "0", "2", ONLY_A),
        ("A A", "1", "0", ONLY_B),
    ] {
        add(
            &format!(
                "last resort, {}: order `{order}`, tries {a} {b}",
                slots_in_words(slots)
            ),
            pair(&body(order, a, b)),
            slots,
        );
    }

    // More than one save in a run in which a copy cannot be used or written.
    let twice = [
        "copy 1 is zeros",
        "both copies are zeros",
        "copy 1 is a mixture",
        "both copies are mixtures",
        "copy 1 has no header, copy 2 is a mixture",
        "copy 1 is a mixture, copy 2 has no header",
        "the last byte of the older copy is damaged",
        "the older copy, which is copy 2, is full, and the id has grown",
        "both copies are full",
    ];
    for (name, copies) in damaged().into_iter().chain(odd_blocks()) {
        if twice.contains(&name) {
            for slots in [A_BROKEN, BOTH_BROKEN] {
                let name = format!("{name}; {}", slots_in_words(slots));
                add(&name, copies.clone(), slots);
            }
        }
        add(name, copies, BOTH);
    }
    cases.extend(random());
    cases
}

/// One copy or both cannot be used.
fn damaged() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let (old, new) = (copy(0, FACTORY), copy(1, &body("A B", "2", "3")));
    let header = |copy: &[u8]| [b"?", copy.get(1..).unwrap_or_default()].concat();
    let mixture = grub_block(format!("seq=2\n{FACTORY}end=1\n"));
    let first_sector = |newer: &[u8], older: &[u8]| {
        let (new, old) = (newer.get(..512), older.get(512..));
        [new.unwrap_or_default(), old.unwrap_or_default()].concat()
    };
    vec![
        ("header of copy 1 damaged", vec![header(&old), new.clone()]),
        ("header of copy 2 damaged", vec![old.clone(), header(&new)]),
        (
            "headers of both copies damaged",
            vec![header(&old), header(&new)],
        ),
        ("copy 1 is zeros", vec![vec![0; 1024], new.clone()]),
        ("copy 2 is zeros", vec![old.clone(), vec![0; 1024]]),
        ("both copies are zeros", vec![vec![0; 1024]; 2]),
        ("both copies are erased", vec![vec![0xff; 1024]; 2]),
        ("copy 2 is erased", vec![old.clone(), vec![0xff; 1024]]),
        ("copy 1 is a mixture", vec![mixture.clone(), new.clone()]),
        ("copy 2 is a mixture", vec![old.clone(), mixture.clone()]),
        (
            "both copies are mixtures",
            vec![mixture.clone(), mixture.clone()],
        ),
        (
            "copy 1 has no header, copy 2 is a mixture",
            vec![vec![0; 1024], mixture.clone()],
        ),
        (
            "copy 1 is a mixture, copy 2 has no header",
            vec![mixture, vec![0; 1024]],
        ),
        (
            "second sector of copy 2 is zeros",
            vec![old.clone(), first_sector(&new, &[0; 1024])],
        ),
        (
            "first sector of copy 2 is zeros",
            vec![old.clone(), first_sector(&[0; 1024], &new)],
        ),
        (
            "numbers out of range",
            vec![copy(4, FACTORY), copy("x", FACTORY)],
        ),
        (
            "copy 2 without end",
            vec![old.clone(), grub_block(format!("seq=1\n{FACTORY}"))],
        ),
        (
            "copy 2 without seq",
            vec![old.clone(), grub_block(format!("{FACTORY}end=1\n"))],
        ),
        (
            "copy 2 without a line break at its end",
            vec![old, grub_block(format!("seq=1\n{FACTORY}end=1"))],
        ),
        ("no variable at all", vec![grub_block(""), grub_block("")]),
    ]
}

/// Blocks that are read and are not as our own code writes them.
fn odd_blocks() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let (old, new) = (copy(0, FACTORY), copy(1, &body("A B", "2", "3")));
    let long = "x".repeat(800);
    let full = |left: usize| {
        let rest = "y".repeat(1024 - 25 - "seq=0\nend=0\n".len() - FACTORY.len() - 3 - left);
        copy(0, &format!("{FACTORY}z={rest}\n"))
    };
    let refill = |block: &[u8], byte: u8| {
        let end = block.iter().rposition(|byte| *byte == b'\n').unwrap_or(0) + 1;
        let mut block = block.to_vec();
        block.iter_mut().skip(end).for_each(|place| *place = byte);
        block
    };
    vec![
        (
            "the older copy is filled up with blanks",
            vec![refill(&old, b' '), new.clone()],
        ),
        (
            "the last byte of the older copy is damaged",
            vec![
                [old.get(..1023).unwrap_or_default(), b"?"].concat(),
                new.clone(),
            ],
        ),
        (
            "both copies are filled up with zeros",
            vec![refill(&old, 0), refill(&new, 0)],
        ),
        (
            "the newer copy is filled up with zeros",
            vec![old.clone(), refill(&new, 0)],
        ),
        (
            "foreign variables and comments stay",
            vec![
                copy(0, "# note\nmine=1\norder=A B\na_left=3\nb_left=3\nid=old\n"),
                copy(1, "order=B A\na_left=3\nb_left=3\nid=new\nother=2\n"),
            ],
        ),
        (
            "variables in another order",
            vec![
                grub_block("end=0\nid=i\nb_left=1\na_left=1\norder=A B\nseq=0\n"),
                new.clone(),
            ],
        ),
        (
            "the older copy has no id",
            vec![copy(0, "order=A B\na_left=3\nb_left=3\n"), new.clone()],
        ),
        (
            "the newer copy has no id",
            vec![old.clone(), copy(1, "order=A B\na_left=3\nb_left=3\n")],
        ),
        (
            "the newer copy has only numbers",
            vec![old.clone(), copy(1, "")],
        ),
        (
            "the older copy has only numbers",
            vec![copy(0, ""), new.clone()],
        ),
        (
            "a variable is there twice",
            vec![
                copy(0, "a_left=1\norder=A B\na_left=3\nb_left=3\nid=i\n"),
                copy(1, "a_left=1\norder=A B\na_left=0\nb_left=3\nid=i\n"),
            ],
        ),
        (
            "an empty id",
            vec![old.clone(), copy(1, "order=A B\na_left=2\nb_left=3\nid=\n")],
        ),
        (
            "an id of two words",
            vec![
                old.clone(),
                copy(1, "order=A B\na_left=2\nb_left=3\nid=one two\n"),
            ],
        ),
        (
            "an id with a backslash and a quote",
            vec![
                old.clone(),
                copy(1, "order=A B\na_left=2\nb_left=3\nid=o\\\\n'e\n"),
            ],
        ),
        (
            "an id with a line break",
            vec![
                old.clone(),
                copy(1, "order=A B\na_left=2\nb_left=3\nid=one\\\ntwo\n"),
            ],
        ),
        (
            "a NUL inside a value",
            vec![
                old.clone(),
                copy(1, "order=A B\na_left=2\0\nb_left=3\nid=one\0two\n"),
            ],
        ),
        (
            "carriage returns",
            vec![
                grub_block("seq=0\r\norder=A B\r\na_left=3\r\nb_left=3\r\nend=0\r\n"),
                copy(1, "order=B A\r\na_left=2\r\nb_left=1\r\nid=i\r\n"),
            ],
        ),
        (
            "a long value in both sectors",
            vec![
                copy(0, &format!("z={long}\n{FACTORY}")),
                copy(1, &format!("{FACTORY}z={long}\n")),
            ],
        ),
        (
            "the older copy is full, and the id has grown",
            vec![
                full(0),
                copy(1, "order=A B\na_left=2\nb_left=3\nid=factory2\n"),
            ],
        ),
        (
            "the older copy, which is copy 2, is full, and the id has grown",
            vec![
                copy(1, "order=A B\na_left=2\nb_left=3\nid=factory2\n"),
                full(0),
            ],
        ),
        (
            "the older copy has room for exactly one byte more",
            vec![
                full(1),
                copy(1, "order=A B\na_left=2\nb_left=3\nid=factory2\n"),
            ],
        ),
        (
            "both copies are full",
            vec![full(0), copy(1, &format!("{FACTORY}id2=0\n"))],
        ),
        (
            "the older copy is full, and the id has shrunk",
            vec![full(0), copy(1, "order=A B\na_left=2\nb_left=3\nid=f\n")],
        ),
        (
            "a line without an equals sign",
            vec![
                copy(0, "note\norder=A B\n"),
                copy(1, "note\norder=B A\na_left=2\n"),
            ],
        ),
    ]
}

fn random() -> Vec<Case> {
    let mut random = Random::new(0x5b01);
    (1..=30)
        .map(|number| {
            let mut copies: Vec<Vec<u8>> = (0..2)
                .map(|_| {
                    let order = random.of(&["A B", "B A", "A", "B", "x A", ""], "A B");
                    let left = ["0", "1", "2", "3", "9", "0", "", "12"];
                    let (a, b) = (random.of(&left, "3"), random.of(&left, "3"));
                    let id = random.of(&["factory", "c0ffee", ""], "factory");
                    let first = random.of(&["0", "1", "2", "3"], "0");
                    let last = if random.once_in(6) { "2" } else { first };
                    grub_block(format!(
                        "seq={first}\norder={order}\na_left={a}\nb_left={b}\nid={id}\nend={last}\n"
                    ))
                })
                .collect();
            if random.once_in(2) {
                let which = random.below(2);
                if let Some(copy) = copies.get_mut(which) {
                    random.damage(copy, 90);
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
