use alloc::string::ToString;
use alloc::vec;

use super::*;

const SIZE: usize = 0x80;

fn vars(value: &str) -> Vars {
    [("BOOT_ORDER", "A B"), ("value", value)]
        .into_iter()
        .collect()
}

fn copy(flags: u8, value: &str) -> Vec<u8> {
    encode_redundant(&vars(value), flags, SIZE).unwrap()
}

fn read(first: &[u8], second: &[u8]) -> Result<Environment, Unusable> {
    Environment::redundant(first, second, FlagScheme::Incremental)
}

#[test]
fn layout_is_checksum_flags_strings_padding() {
    let bytes = encode_redundant(&[("A", "1")].into_iter().collect(), 7, 12).unwrap();
    assert_eq!(bytes[4..], *b"\x07A=1\0\0\xff\xff");
    assert_eq!(
        bytes[..4],
        crc32fast::hash(b"A=1\0\0\xff\xff").to_le_bytes()
    );
    let bytes = encode_single(&[("A", "1")].into_iter().collect(), 9).unwrap();
    assert_eq!(bytes[4..], *b"A=1\0\0");
    let empty = encode_single(&Vars::new(), 8).unwrap();
    assert_eq!(empty[4..], *b"\0\0\xff\xff");
}

#[test]
fn counter_wraps_from_255_to_0_and_is_unsigned() {
    let cases = [
        (255, 0, Copy::Second),
        (0, 255, Copy::First),
        (254, 255, Copy::Second),
        (127, 128, Copy::Second),
        (128, 127, Copy::First),
        (200, 10, Copy::First),
        (1, 0, Copy::First),
        (5, 5, Copy::First),
    ];
    for (first, second, expected) in cases {
        assert_eq!(
            newer(first, second, FlagScheme::Incremental),
            expected,
            "{first} {second}"
        );
    }
}

#[test]
fn boolean_flags_of_nor_flash() {
    let cases = [
        (1, 0, Copy::First),
        (0, 1, Copy::Second),
        (1, 1, Copy::First),
        (0, 0, Copy::First),
        (0xff, 0, Copy::First),
        (0, 0xff, Copy::Second),
        (1, 0xff, Copy::Second),
        (0xff, 0xff, Copy::First),
    ];
    for (first, second, expected) in cases {
        assert_eq!(
            newer(first, second, FlagScheme::Boolean),
            expected,
            "{first} {second}"
        );
    }
}

#[test]
fn successor_on_nor_flash_is_active_and_names_the_copy_to_obsolete() {
    let (first, second) = (copy(0, "old"), copy(1, "new"));
    let env = Environment::redundant(&first, &second, FlagScheme::Boolean).unwrap();
    assert_eq!(env.current(), Copy::Second);
    let next = env.successor().unwrap();
    assert_eq!(
        (next.copy, next.then_obsolete),
        (Copy::First, Some(Copy::Second))
    );
    assert_eq!(next.bytes[4], 1);
    let between = Environment::redundant(&next.bytes, &second, FlagScheme::Boolean).unwrap();
    assert_eq!(between.vars, env.vars);
}

#[test]
fn successors_take_turns_over_the_wrap() {
    let mut copies = [copy(250, "start"), copy(249, "older")];
    for round in 0..300 {
        let mut env = read(&copies[0], &copies[1]).unwrap();
        assert_eq!(env.current().index(), round % 2);
        env.vars.set("value", &round.to_string());
        let next = env.successor().unwrap();
        copies[next.copy.index()] = next.bytes;
    }
    let env = read(&copies[0], &copies[1]).unwrap();
    assert_eq!(env.vars.text("value"), Some("299"));
}

#[test]
fn blank_and_corrupt_are_told_apart() {
    let blank = [vec![0u8; SIZE], vec![0xff; SIZE]];
    let bad = vec![b'x'; SIZE];
    for first in &blank {
        assert_eq!(Environment::single(first), Err(Unusable::Blank));
        for second in &blank {
            assert_eq!(read(first, second), Err(Unusable::Blank));
        }
        assert!(matches!(read(first, &bad), Err(Unusable::Corrupt { .. })));
        assert!(matches!(read(&bad, first), Err(Unusable::Corrupt { .. })));
    }
    assert!(matches!(
        Environment::single(&bad),
        Err(Unusable::Corrupt { second: None, .. })
    ));
    assert!(matches!(
        Environment::single(b"abc"),
        Err(Unusable::Corrupt {
            first: CopyFault::TooShort { size: 3 },
            ..
        })
    ));
}

#[test]
fn takes_the_good_copy_and_writes_over_the_bad_one() {
    let (good, bad) = (copy(9, "good"), vec![b'x'; SIZE]);
    for (first, second, place) in [(&good, &bad, Copy::First), (&bad, &good, Copy::Second)] {
        let env = read(first, second).unwrap();
        assert_eq!(env.current(), place);
        assert!(matches!(
            env.other_fault(),
            Some(CopyFault::Checksum { .. })
        ));
        let next = env.successor().unwrap();
        assert_eq!((next.copy, next.bytes[4]), (place.other(), 10));
    }
}

#[test]
fn write_cut_off_anywhere_or_damaged_gives_old_or_new() {
    for flags in [0, 1, 127, 254, 255] {
        let newer = copy(flags, "old");
        let older = copy(flags.wrapping_sub(1), "before");
        let mut env = read(&newer, &older).unwrap();
        env.vars.set("value", "the new one");
        let next = env.successor().unwrap();
        let check = |second: &[u8], what: &str| {
            let found = read(&newer, second).unwrap().vars;
            assert!(
                found == vars("old") || found == env.vars,
                "{what}: {found:?}"
            );
        };
        for length in 0..=SIZE {
            check(&next.bytes[..length], "cut");
            check(&[&next.bytes[..length], &older[length..]].concat(), "torn");
        }
        for place in 0..SIZE {
            for bit in 0..8 {
                let mut damaged = next.bytes.clone();
                damaged[place] ^= 1 << bit;
                check(&damaged, "flipped");
            }
        }
    }
}

#[test]
fn entries_that_are_no_variables_stay() {
    let data = b"first\0=odd\0a=1\0\0";
    let bytes = [crc32fast::hash(data).to_le_bytes().as_slice(), data].concat();
    let env = Environment::single(&bytes).unwrap();
    assert_eq!(env.vars.iter().count(), 1);
    assert_eq!(env.successor().unwrap().bytes, bytes);
}

#[test]
fn padding_of_zeros_and_data_without_an_end_are_read() {
    for data in [
        b"a=1\0b=2\0\0\0\0\0\0".as_slice(),
        b"a=1\0b=2\0\0",
        b"a=1\0b=2\0",
        b"a=1\0b=2",
    ] {
        let bytes = [crc32fast::hash(data).to_le_bytes().as_slice(), data].concat();
        let expected = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(decode_single(&bytes), Ok(expected), "{data:?}");
    }
}

#[test]
fn refuses_what_does_not_fit_or_would_be_read_back_as_something_else() {
    let long = [("a", "x".repeat(SIZE))].into_iter().collect();
    assert_eq!(
        encode_redundant(&long, 0, SIZE),
        Err(EncodeError::TooLong {
            needed: SIZE + 9,
            size: SIZE
        })
    );
    for (name, value) in [("", "1"), ("a=b", "1"), ("a\0", "1"), ("a", "1\0")] {
        let vars = [(name, value)].into_iter().collect();
        assert!(matches!(
            encode_single(&vars, SIZE),
            Err(EncodeError::Entry { .. })
        ));
    }
}
