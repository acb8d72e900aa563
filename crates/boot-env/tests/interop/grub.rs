//! grub-editenv.

use std::path::PathBuf;

use proptest::prelude::*;
use switchback_boot_env::grub::{self, BLOCK_SIZE, encode, new_vars, parse, problems};
use switchback_boot_env::grub_pair::{self, Pair};
use switchback_boot_env::{Copy, Entry, Vars};
use tempfile::TempDir;

use super::{run, succeed};

/// An environment file.
struct Board {
    directory: TempDir,
}

impl Board {
    fn new(bytes: &[u8]) -> Self {
        let board = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        board.write(bytes);
        board
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("grub env")
    }

    fn name(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn write(&self, bytes: &[u8]) {
        std::fs::write(self.path(), bytes).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn list(&self) -> Option<Vec<u8>> {
        let output = run("grub-editenv", &[&self.name(), "list"], b"");
        output.status.success().then_some(output.stdout)
    }

    fn set(&self, settings: &[String]) {
        let name = self.name();
        let mut arguments = vec![name.as_str(), "set"];
        arguments.extend(settings.iter().map(String::as_str));
        succeed("grub-editenv", &arguments, b"");
    }
}

/// What `list` prints for these variables.
fn listing(vars: &Vars) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in vars.entries() {
        match entry {
            Entry::Variable { name, value } => text.extend([name, b"=".as_slice(), value].concat()),
            // A name over a line break is one to the tool; comments are nothing.
            Entry::Verbatim(line) if !line.starts_with(b"#") => text.extend(line),
            Entry::Verbatim(_) => continue,
        }
        text.push(b'\n');
    }
    text
}

fn block(lines: &[u8]) -> Vec<u8> {
    let mut block = [b"# GRUB Environment Block\n".as_slice(), lines].concat();
    block.resize(block.len().max(BLOCK_SIZE), b'#');
    block
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn both_sides_read_and_write_the_same_bytes(
        settings in proptest::collection::btree_map("[a-zA-Z_]{1,8}", "[ -~\n]{0,20}", 0..10),
        later in proptest::collection::btree_map("[a-zA-Z_]{1,8}", "[ -~\n]{0,20}", 1..5),
    ) {
        let board = Board::new(b"");
        succeed("grub-editenv", &[&board.name(), "create"], b"");
        let mut ours = new_vars();
        prop_assert!(encode(&ours).unwrap().as_slice() == board.bytes());
        for round in [settings, later] {
            let words: Vec<_> = round.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if !words.is_empty() {
                board.set(&words);
            }
            for (name, value) in &round {
                ours.set(name, value);
            }
            let theirs = board.bytes();
            prop_assert!(encode(&ours).unwrap().as_slice() == theirs);
            prop_assert_eq!(&parse(&theirs).unwrap(), &ours);
            prop_assert_eq!(problems(&theirs), []);
            board.write(&encode(&ours).unwrap());
            prop_assert_eq!(board.list(), Some(listing(&ours)));
        }
    }

    #[test]
    fn damaged_blocks_are_read_as_by_the_tool(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec!["a", "bc", "=", "\n", "#", " ", "\\\\", "\\\n", "\r", "1=2\n"]),
            0..40,
        ),
        length in 0..1100usize,
    ) {
        let mut bytes = block(pieces.concat().as_bytes());
        let kept = if length < BLOCK_SIZE { length } else { bytes.len() };
        bytes.truncate(kept);
        let board = Board::new(&bytes);
        let ours = parse(&bytes);
        // What the tool unescapes inside an entry that is no variable is of no interest.
        let odd = |entry: &Entry| matches!(entry, Entry::Verbatim(line) if line.contains(&b'\\'));
        prop_assume!(!ours.as_ref().is_ok_and(|vars| vars.entries().iter().any(odd)));
        prop_assert_eq!(board.list(), ours.ok().map(|vars| listing(&vars)));
    }
}

#[test]
fn block_that_ends_with_its_first_line_is_none() {
    for (length, is_block) in [(24, false), (25, false), (26, true)] {
        let mut bytes = block(b"");
        bytes.truncate(length);
        assert_eq!(Board::new(&bytes).list().is_some(), is_block, "{length}");
        assert_eq!(parse(&bytes).is_ok(), is_block, "{length}");
    }
}

#[test]
fn every_remedy_leaves_a_sound_block_with_the_same_variables() {
    let sound = block(b"ORDER=A B\nA_OK=1\n");
    let crlf = block(b"ORDER=A B\r\nA_OK=1\r\n");
    let spaces = [&sound[..42], &[b' '; 982]].concat();
    let blocks = [
        ("short", sound[..1023].to_vec()),
        ("long", [sound.as_slice(), b"#"].concat()),
        ("no padding", sound[..42].to_vec()),
        ("spaces", spaces),
        ("lines of another system", crlf),
        ("unterminated", block(b"ORDER=A B\nA_OK=1\nx=2")),
        ("twice", block(b"ORDER=B\nA_OK=1\nORDER=A B\n")),
        ("hidden", block(b"ORDER=A B\nA_OK=1\0\n")),
        ("raw block", block(b"ORDER=A B\nenv_block=512+1\nA_OK=1\n")),
        ("empty", Vec::new()),
        ("zeros", vec![0; 1024]),
        ("no header", block(b"")[1..].to_vec()),
    ];
    let expected: Vars = [("A_OK", "1"), ("ORDER", "A B")].into_iter().collect();
    for (name, bytes) in blocks {
        let board = Board::new(&bytes);
        let found = problems(&bytes);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let remedy = found[0].remedy(&board.name(), &bytes, &expected);
        succeed("sh", &["-c", &remedy], b"");
        let repaired = board.bytes();
        assert_eq!(problems(&repaired), [], "{name}: {remedy}");
        let mut pairs: Vec<_> = parse(&repaired)
            .unwrap()
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect();
        pairs.sort();
        assert_eq!(
            pairs.into_iter().collect::<Vars>(),
            expected,
            "{name}: {remedy}"
        );
    }
}

#[test]
fn content_that_is_too_long_is_cut_down_by_its_remedy() {
    let bytes = block(&[b"A_OK=1\nsplash=".as_slice(), &[b'x'; 600], b"\n"].concat());
    let board = Board::new(&bytes);
    let found = problems(&bytes);
    succeed(
        "sh",
        &["-c", &found[0].remedy(&board.name(), &bytes, &Vars::new())],
        b"",
    );
    assert_eq!(problems(&board.bytes()), []);
    assert_eq!(board.list().unwrap(), b"A_OK=1\n");
}

/// GRUB itself writes a copy in place, variable by variable, as the tool does.
#[test]
fn pair_is_followed_when_the_other_side_writes_the_older_copy() {
    let vars = [
        ("order", "A B"),
        ("a_left", "3"),
        ("b_left", "3"),
        ("id", "x"),
    ];
    let [first, second] = grub_pair::new_pair(&vars.into_iter().collect()).unwrap();
    let pair = Pair::read(&first, &second).unwrap();
    assert_eq!(pair.current(), Copy::Second);
    let board = Board::new(&first);
    let words = [
        "seq=2",
        "order=A B",
        "a_left=2",
        "b_left=3",
        "id=x",
        "end=2",
    ];
    board.set(&words.map(str::to_owned));
    let pair = Pair::read(&board.bytes(), &second).unwrap();
    assert_eq!(pair.current(), Copy::First);
    assert_eq!(pair.vars.text("a_left"), Some("2"));
    assert!(grub::encode(&pair.vars).unwrap().as_slice() == board.bytes());
}
