//! Whether a block may be written: everything that is wrong with it, each with a way out.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{BLOCK_SIZE, CONTENT_LIMIT, ParseError, scan};
use crate::vars::Vars;

/// One reason not to write a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It cannot even be read.
    #[error(transparent)]
    Unreadable(ParseError),
    /// Neither GRUB's tools nor GRUB make blocks of this size.
    #[error("{size} bytes long, and an environment block has {BLOCK_SIZE}")]
    Size {
        /// Bytes in the file.
        size: usize,
    },
    /// A text editor was here.
    #[error("lines end with a carriage return, which GRUB takes for a part of the value")]
    CarriageReturn,
    /// Something else than `#` fills the block: GRUB finds no room to write to.
    #[error("what follows the last line is not filled up with `#`")]
    PaddingLost,
    /// The last entry has no line break: it is ignored when read and in the way when written.
    #[error("the last entry does not end with a line break and is ignored")]
    UnterminatedEntry,
    /// A NUL byte hides what follows it.
    #[error("a NUL byte inside a line hides the rest of it")]
    Nul,
    /// GRUB reads the last and writes the first.
    #[error(
        "the variable {name} is there more than once: GRUB reads the last and writes the first"
    )]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The variables that count are in a raw block elsewhere.
    #[error(
        "env_block={value} is set: GRUB keeps its variables in that raw block, and what is written \
         to this file does not count"
    )]
    EnvBlock {
        /// Where.
        value: String,
    },
    /// A write could tear.
    #[error("the content is {bytes} bytes long; a write can tear when it exceeds {CONTENT_LIMIT}")]
    TooLong {
        /// Bytes of content.
        bytes: usize,
    },
}

impl Problem {
    /// The one command that removes this problem from the block in `file`.
    ///
    /// `defaults` are the variables to start with where none can be read.
    #[must_use]
    pub fn remedy(&self, file: &str, block: &[u8], defaults: &Vars) -> String {
        let file = quote(file.as_bytes());
        match self {
            Self::EnvBlock { .. } => format!("grub-editenv {file} unset env_block"),
            Self::TooLong { .. } => {
                let longest = longest_variable(block);
                format!("grub-editenv {file} unset {longest}")
            }
            Self::Unreadable(_)
            | Self::Size { .. }
            | Self::CarriageReturn
            | Self::PaddingLost
            | Self::UnterminatedEntry
            | Self::Nul
            | Self::Duplicate { .. } => match scan(block) {
                Ok(found) => rebuild(&file, &found.vars),
                Err(_) => rebuild(&file, defaults),
            },
        }
    }
}

/// Everything that is wrong with a block, the worst first; nothing if it may be written.
#[must_use]
pub fn problems(block: &[u8]) -> Vec<Problem> {
    let scan = match scan(block) {
        Ok(scan) => scan,
        Err(error) => return Vec::from([Problem::Unreadable(error)]),
    };
    let mut problems = Vec::new();
    if let Some(value) = scan.vars.get("env_block") {
        let value = String::from_utf8_lossy(value).into_owned();
        problems.push(Problem::EnvBlock { value });
    }
    if block.len() != BLOCK_SIZE {
        problems.push(Problem::Size { size: block.len() });
    }
    if scan.vars.iter().any(|(_, value)| value.ends_with(b"\r")) {
        problems.push(Problem::CarriageReturn);
    }
    if scan.rest.iter().any(|byte| *byte != b'#') {
        problems.push(if scan.rest.contains(&b'=') {
            Problem::UnterminatedEntry
        } else {
            Problem::PaddingLost
        });
    }
    let lines = block.len().saturating_sub(scan.rest.len());
    if block.iter().take(lines).any(|byte| *byte == 0) {
        problems.push(Problem::Nul);
    }
    let duplicates = duplicates(&scan.vars);
    problems.extend(
        duplicates
            .into_iter()
            .map(|name| Problem::Duplicate { name }),
    );
    if lines > CONTENT_LIMIT {
        problems.push(Problem::TooLong { bytes: lines });
    }
    problems
}

fn duplicates(vars: &Vars) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    vars.iter()
        .filter(|(name, _)| !seen.insert(*name))
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// The shell command that makes `file` a sound block with these variables.
#[must_use]
pub fn rebuild_command(file: &str, vars: &Vars) -> String {
    rebuild(&quote(file.as_bytes()), vars)
}

fn rebuild(file: &str, vars: &Vars) -> String {
    let mut command = format!("grub-editenv {file} create");
    let mut seen = BTreeSet::new();
    let mut settings = String::new();
    for (name, _) in vars.iter() {
        let Ok(text) = core::str::from_utf8(name) else {
            continue;
        };
        // Of a name that is there twice, the value that counts, once.
        if !seen.insert(text) {
            continue;
        }
        let value = vars.get(text).unwrap_or_default();
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        let setting = [name, b"=", value].concat();
        settings.push(' ');
        settings.push_str(&quote(&setting));
    }
    if !settings.is_empty() {
        command.push_str(&format!(" && grub-editenv {file} set{settings}"));
    }
    command
}

/// A word for the shell.
fn quote(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What to take out of a block that is too full.
fn longest_variable(block: &[u8]) -> String {
    let Ok(scan) = scan(block) else {
        return String::new();
    };
    let longest = scan.vars.iter().max_by_key(|(_, value)| value.len());
    longest.map_or_else(String::new, |(name, _)| quote(name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::block;
    use super::*;

    #[test]
    fn names_everything_that_is_wrong() {
        let sound = block(b"A_OK=1\nORDER=A B\n");
        let cut = |length: usize| sound[..length].to_vec();
        let refill = |byte: u8| {
            let mut block = sound.clone();
            let padding = block.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
            block[padding..].fill(byte);
            block
        };
        let longer = [sound.as_slice(), b"####"].concat();
        let duplicate = Problem::Duplicate {
            name: "A_OK".into(),
        };
        let raw_block = Problem::EnvBlock {
            value: "512+1".into(),
        };
        let blank = |size| Problem::Unreadable(ParseError::Blank { size });
        let signature = Problem::Unreadable(ParseError::Signature);
        let cases: [(&str, Vec<u8>, &[Problem]); 14] = [
            ("sound", sound.clone(), &[]),
            ("1,023 bytes", cut(1023), &[Problem::Size { size: 1023 }]),
            ("1,028 bytes", longer, &[Problem::Size { size: 1028 }]),
            ("no padding", cut(42), &[Problem::Size { size: 42 }]),
            ("empty", cut(0), &[blank(0)]),
            ("zeros", [0; 1024].to_vec(), &[blank(1024)]),
            ("header", sound[1..].to_vec(), &[signature]),
            ("spaces", refill(b' '), &[Problem::PaddingLost]),
            ("NUL padding", refill(0), &[Problem::PaddingLost]),
            (
                "CRLF",
                block(b"A_OK=1\r\nB_OK=1\r\n"),
                &[Problem::CarriageReturn],
            ),
            (
                "unterminated",
                block(b"A_OK=1\nB_OK=1"),
                &[Problem::UnterminatedEntry],
            ),
            ("NUL", block(b"A_OK=1\0\n"), &[Problem::Nul]),
            ("twice", block(b"A_OK=1\nA_OK=0\nA_OK=1\n"), &[duplicate]),
            ("raw block", block(b"env_block=512+1\n"), &[raw_block]),
        ];
        for (name, block, expected) in cases {
            assert_eq!(problems(&block), expected, "{name}");
        }
    }

    #[test]
    fn content_in_the_second_sector_is_a_problem() {
        let line = [b"a=".as_slice(), &[b'x'; 500], b"\n"].concat();
        assert_eq!(problems(&block(&line)), [Problem::TooLong { bytes: 528 }]);
    }

    #[test]
    fn remedy_keeps_the_variables_that_count() {
        let bad = block(b"ORDER=B\nORDER=A B\r\nquote='\n");
        assert_eq!(
            problems(&bad)[0].remedy("/boot/my env", &bad, &Vars::new()),
            "grub-editenv '/boot/my env' create && grub-editenv '/boot/my env' set 'ORDER=A B' \
             'quote='\\'''"
        );
    }

    #[test]
    fn remedy_for_an_unreadable_block_starts_from_the_defaults() {
        let defaults = [("A_OK", "1")].into_iter().collect();
        let remedy = problems(b"")[0].remedy("/boot/grubenv", b"", &defaults);
        let expected = "grub-editenv /boot/grubenv create && grub-editenv /boot/grubenv set A_OK=1";
        assert_eq!(remedy, expected);
    }
}
