//! fw_printenv, fw_setenv and mkenvimage.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use switchback_boot_env::fw_env_config::FwEnvConfig;
use switchback_boot_env::uboot::{
    Environment, FlagScheme, Unusable, decode_redundant, diagnose, encode_redundant, encode_single,
    newer,
};
use switchback_boot_env::{Copy, Vars};
use tempfile::TempDir;

use super::{run, succeed};

const SIZE: usize = 0x1000;

type Variables = BTreeMap<String, String>;

/// A file with an environment in it and a configuration that says so.
struct Board {
    directory: TempDir,
    copies: usize,
}

impl Board {
    fn new(bytes: &[u8], copies: usize) -> Self {
        let board = Self {
            directory: tempfile::tempdir().unwrap(),
            copies,
        };
        board.write(bytes);
        let file = board.path("env.bin");
        let lines: String = (0..copies)
            .map(|n| format!("{} {:#x} {SIZE:#x}\n", file.display(), n * SIZE))
            .collect();
        std::fs::write(board.path("fw_env.config"), lines).unwrap();
        board
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> String {
        self.path("fw_env.config").to_str().unwrap().to_owned()
    }

    fn write(&self, bytes: &[u8]) {
        std::fs::write(self.path("env.bin"), bytes).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path("env.bin")).unwrap()
    }

    fn read(&self) -> Result<Environment, Unusable> {
        let bytes = self.bytes();
        match self.copies {
            1 => Environment::single(&bytes),
            _ => Environment::redundant(&bytes[..SIZE], &bytes[SIZE..], FlagScheme::Incremental),
        }
    }

    /// Writes our successor of what is there, with these variables.
    fn write_ours(&self, vars: Vars) {
        let mut environment = self.read().unwrap();
        environment.vars = vars;
        let next = environment.successor().unwrap();
        let mut bytes = self.bytes();
        bytes[next.copy.index() * SIZE..][..SIZE].copy_from_slice(&next.bytes);
        self.write(&bytes);
    }

    fn printenv(&self) -> Variables {
        let text = succeed("fw_printenv", &["-c", &self.config()], b"");
        let text = String::from_utf8(text).unwrap();
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn setenv(&self, changes: &[(String, String)]) {
        let script: String = changes
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        succeed(
            "fw_setenv",
            &["-c", &self.config(), "-s", "-"],
            script.as_bytes(),
        );
    }
}

fn map(vars: &Vars) -> Variables {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    vars.iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// What mkenvimage makes of variables.
fn mkenvimage(vars: &Vars, size: usize, redundant: bool) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("env.bin");
    let lines: String = map(vars)
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let size = format!("{size:#x}");
    let mut arguments = vec!["-s", &size, "-o", output.to_str().unwrap(), "-"];
    if redundant {
        arguments.insert(0, "-r");
    }
    succeed("mkenvimage", &arguments, lines.as_bytes());
    std::fs::read(output).unwrap()
}

fn variables() -> impl Strategy<Value = Variables> {
    // No blank at either end, which the tools' script format trims, and no backslash, which
    // mkenvimage takes away.
    let value = "[!-\\[\\]-~]([ -\\[\\]-~]{0,30}[!-\\[\\]-~])?";
    proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,12}", value, 1..20)
}

fn three_variables() -> Vars {
    [
        ("BOOT_A_LEFT", "3"),
        ("BOOT_B_LEFT", "3"),
        ("BOOT_ORDER", "A B"),
    ]
    .into_iter()
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn images_are_those_of_mkenvimage(variables in variables()) {
        let vars: Vars = variables.iter().collect();
        prop_assert_eq!(encode_single(&vars, SIZE).unwrap(), mkenvimage(&vars, SIZE, false));
        prop_assert_eq!(encode_redundant(&vars, 1, SIZE).unwrap(), mkenvimage(&vars, SIZE, true));
    }

    #[test]
    fn both_sides_read_what_the_other_wrote(
        start in variables(), ours in variables(), changes in variables(), flags in any::<u8>(),
        copies in 1..=2usize,
    ) {
        let start: Vars = start.iter().collect();
        let board = match copies {
            1 => Board::new(&encode_single(&start, SIZE).unwrap(), 1),
            _ => {
                let older = encode_redundant(&start, flags, SIZE).unwrap();
                let newer = encode_redundant(&start, flags.wrapping_add(1), SIZE).unwrap();
                Board::new(&[older, newer].concat(), 2)
            }
        };
        prop_assert_eq!(board.printenv(), map(&start));

        board.write_ours(ours.iter().collect());
        prop_assert_eq!(board.printenv(), ours.clone());

        let before = board.bytes();
        let changes: Vec<_> = changes.into_iter().collect();
        board.setenv(&changes);
        let mut expected = ours;
        expected.extend(changes);
        let found = board.read().unwrap();
        prop_assert_eq!(map(&found.vars), expected.clone());
        prop_assert_eq!(board.printenv(), expected.clone());

        // From the same state, the same flags and text, once ours are in the tool's order.
        let theirs = board.bytes();
        board.write(&before);
        board.write_ours(found.vars);
        let ours = board.bytes();
        for copy in 0..copies {
            let place = copy * SIZE..(copy + 1) * SIZE;
            let header = if copies == 2 { 5 } else { 4 };
            prop_assert_eq!(
                text(&ours[place.clone()], header),
                text(&theirs[place], header)
            );
        }
    }
}

/// A copy without its checksum, up to the end of its text. What follows differs: we fill it up, the
/// tool leaves there what it read, or what an environment that was longer had there. It is under
/// the checksum, which each side checked of the other.
fn text(copy: &[u8], header: usize) -> &[u8] {
    let end = copy[header..].windows(2).position(|pair| pair == [0, 0]);
    &copy[4..header + end.unwrap()]
}

/// The rule in U-Boot's words, not in ours: 0 comes after 255, and otherwise the larger one counts.
fn documented_choice(first: u8, second: u8) -> Copy {
    let (mut first, mut second) = (u16::from(first), u16::from(second));
    if (first, second) == (255, 0) {
        second = 256;
    } else if (first, second) == (0, 255) {
        first = 256;
    }
    if second > first {
        Copy::Second
    } else {
        Copy::First
    }
}

fn with_flags(first: u8, second: u8) -> Vec<u8> {
    let copy = |name: &str, flags| {
        let vars = [("copy", name)].into_iter().collect();
        encode_redundant(&vars, flags, SIZE).unwrap()
    };
    [copy("First", first), copy("Second", second)].concat()
}

#[test]
fn every_pair_of_flags_follows_the_documented_rule() {
    for first in 0..=255 {
        for second in 0..=255 {
            let expected = documented_choice(first, second);
            assert_eq!(
                newer(first, second, FlagScheme::Incremental),
                expected,
                "{first} {second}"
            );
        }
    }
}

#[test]
fn pairs_of_flags_at_the_edges_are_chosen_as_by_fw_printenv() {
    let edges = [0, 1, 2, 126, 127, 128, 129, 200, 254, 255];
    let board = Board::new(&with_flags(0, 0), 2);
    for first in edges {
        for second in edges {
            board.write(&with_flags(first, second));
            let ours = board.read().unwrap();
            let theirs = board.printenv();
            assert_eq!(map(&ours.vars), theirs, "{first} {second}");
            assert_eq!(theirs["copy"], format!("{:?}", ours.current()));
        }
    }
}

#[test]
fn the_good_copy_is_used_whatever_happened_to_the_other() {
    let good = encode_redundant(&three_variables(), 7, SIZE).unwrap();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    for bad in [vec![0; SIZE], vec![0xff; SIZE], flipped, vec![b'x'; SIZE]] {
        for bytes in [
            [good.clone(), bad.clone()].concat(),
            [bad.clone(), good.clone()].concat(),
        ] {
            let board = Board::new(&bytes, 2);
            assert_eq!(map(&board.read().unwrap().vars), board.printenv());
            board.write_ours(three_variables());
            let bytes = board.bytes();
            assert!(decode_redundant(&bytes[..SIZE]).is_ok());
            assert!(decode_redundant(&bytes[SIZE..]).is_ok());
        }
        let board = Board::new(&[bad.clone(), bad].concat(), 2);
        assert!(board.read().is_err());
        assert!(
            !run("fw_printenv", &["-c", &board.config()], b"")
                .status
                .success()
        );
    }
}

#[test]
fn true_size_and_header_of_a_foreign_image_are_found() {
    for size in [0x1000, 0x2000, 0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000] {
        for redundant in [false, true] {
            let findings = diagnose(&mkenvimage(&three_variables(), size, redundant), 0);
            let [finding] = findings[..] else {
                panic!("{size:#x} {redundant}: {findings:?}");
            };
            assert_eq!((finding.offset, finding.size), (0, size));
            assert_eq!(finding.header, if redundant { 5 } else { 4 });
        }
    }
}

/// Numbers that the tool reads in its own way: both read the environment, or both refuse.
#[test]
fn configuration_is_understood_as_by_fw_printenv() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("env.bin");
    let copy = encode_single(&three_variables(), 0x4000).unwrap();
    std::fs::write(&file, [vec![0xff; 0x4000], copy.clone()].concat()).unwrap();
    let config = directory.path().join("fw_env.config");
    let file = file.to_str().unwrap();
    let lines = [
        "FILE 0x4000 0x4000",
        "FILE 16384 4000",
        "FILE 040000 0X4000 0x1000 2",
        "  FILE\t0x4000\t0x4000 # a comment",
        "# FILE 0 1\n\n \t \nFILE 0x4000 0x4000\r\n\n# end",
        "FILE 0x4000 16384",
        "FILE 0x4000 0x2000",
        "FILE 0x4000",
        "FILE -16384 0x4000",
        "",
        "# only a comment",
    ];
    let mut read = 0;
    for line in lines {
        let text = line.replace("FILE", file);
        std::fs::write(&config, &text).unwrap();
        let theirs = run("fw_printenv", &["-c", config.to_str().unwrap()], b"")
            .status
            .success();
        let ours = FwEnvConfig::parse(text.as_bytes()).is_ok_and(|config| {
            let place = &config.places()[0];
            let bytes = std::fs::read(&place.device).unwrap();
            let start = usize::try_from(place.offset).unwrap();
            bytes
                .get(start..start + place.size)
                .is_some_and(|copy| Environment::single(copy).is_ok())
        });
        assert_eq!(ours, theirs, "{line:?}");
        read += usize::from(ours);
    }
    assert_eq!(read, 5);
}
