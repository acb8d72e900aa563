use std::vec::Vec;

use proptest::prelude::*;

use crate::Vars;

/// Bytes that mean something to these formats, and some that do not.
fn lively(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "A",
        "B",
        "_OK=",
        "_TRY=",
        "ORDER=",
        "BOOT_ORDER=",
        "BOOT_A_LEFT=",
        "order=",
        "a_left=",
        "0",
        "1",
        "3",
        "seq=",
        "end=",
        "\n",
        "\\",
        "=",
        "#",
        " ",
        "\0",
        "\r",
        "\"",
        "0x",
        "switchback.slot=",
        "rauc.slot=",
        "root=",
        "env_block=",
        "# GRUB Environment Block\n",
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| std::vec![byte]),
    ];
    proptest::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

fn padded_block(lines: &[u8]) -> Vec<u8> {
    let mut block = [b"# GRUB Environment Block\n".as_slice(), lines].concat();
    block.resize(block.len().max(1024), b'#');
    block
}

fn in_two(place: u8, first: &[u8], second: &[u8]) -> Vec<u8> {
    [&[place], first, second].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        super::grub_block(&bytes);
        super::grub_pair(&bytes);
        super::uboot_environment(&bytes);
        super::fw_env_config(&bytes);
        super::contracts(&bytes);
        super::cmdline(&bytes);
    }

    #[test]
    fn lively_bytes_break_no_promise(bytes in lively(60)) {
        super::grub_block(&bytes);
        super::grub_block(&padded_block(&bytes));
        super::fw_env_config(&bytes);
        super::contracts(&bytes);
        super::cmdline(&bytes);
    }

    #[test]
    fn lively_pairs_break_no_promise(
        first in lively(30), second in lively(30), number in 0..5u8, place in any::<u8>(),
    ) {
        let numbered = |lines: &[u8]| {
            let digit = [b'0' + number];
            padded_block(&[b"seq=".as_slice(), &digit, b"\n", lines, b"end=", &digit, b"\n"].concat())
        };
        // 255 / 2 parts two blocks of equal length nearly in their middle; the exact cut is 127.5.
        super::grub_pair(&in_two(place, &numbered(&first), &second));
        super::grub_pair(&in_two(255, &numbered(&first), b""));
    }

    #[test]
    fn valid_environments_break_no_promise(
        pairs in proptest::collection::vec(("[a-zA-Z_]{1,12}", "[^\0]{0,20}"), 0..12),
        flags in any::<u8>(),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let vars: Vars = pairs.iter().cloned().collect();
        let mut copy = crate::uboot::encode_redundant(&vars, flags, 0x1000).unwrap();
        if let Some((place, value)) = damage {
            let place = place.index(copy.len());
            copy[place] = value;
        }
        super::uboot_environment(&in_two(255, &copy, b""));
        super::uboot_environment(&in_two(0, b"", &copy));
        let single = crate::uboot::encode_single(&vars, 0x1000).unwrap();
        super::uboot_environment(&in_two(255, &single, b""));
        if let Ok(block) = crate::grub::encode(&vars) {
            prop_assert_eq!(crate::grub::parse(&block), Ok(vars));
            super::grub_block(&block);
        }
    }
}
