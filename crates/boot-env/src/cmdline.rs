//! What the boot script passed on: the kernel command line.
//!
//! Words are parted by white space outside of double quotes, as the kernel parts them. Words that
//! are not ours are ignored. The same word twice with different values is an error: some programs
//! take the first and some the last, and which slot runs must not depend on that.

use alloc::string::String;
use alloc::vec::Vec;

/// The words that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The bootname of the slot that was started: `switchback.slot=` or `rauc.slot=`.
    pub bootname: Option<String>,
    /// What the boot script read from its environment: `switchback.env=`. None if it had nothing.
    pub contact: Option<String>,
    /// The root device: `root=`.
    pub root: Option<String>,
    /// The boot script found no usable environment, or could not write it:
    /// `switchback.env_state=bad`.
    pub environment_bad: bool,
}

/// The command line contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word} is given as {first:?} and as {second:?}: the boot script must give it once")]
pub struct Contradiction {
    /// The word or words in question.
    pub word: &'static str,
    /// One value.
    pub first: String,
    /// Another.
    pub second: String,
}

impl CommandLine {
    /// Reads the text of `/proc/cmdline`.
    ///
    /// # Errors
    /// A word has two different values.
    pub fn parse(text: &str) -> Result<Self, Contradiction> {
        let mut line = Self::default();
        for word in words(text) {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let (place, name) = match key {
                "switchback.slot" | "rauc.slot" => {
                    (&mut line.bootname, "switchback.slot= or rauc.slot=")
                }
                "switchback.env" => (&mut line.contact, "switchback.env="),
                "root" => (&mut line.root, "root="),
                "switchback.env_state" => {
                    line.environment_bad |= value == "bad";
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                continue;
            }
            if let Some(first) = place.as_ref().filter(|first| *first != value) {
                return Err(Contradiction {
                    word: name,
                    first: first.clone(),
                    second: value.into(),
                });
            }
            *place = Some(value.into());
        }
        Ok(line)
    }
}

/// Words with their quotes taken away. A quote that is never closed reaches to the end.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => words.push(core::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn reads_our_words_among_others() {
        let line = "BOOT_IMAGE=/boot/vmlinuz root=PARTLABEL=slot-a ro console=ttyS0 \
                    switchback.slot=A switchback.env=c0ffee\n";
        let expected = CommandLine {
            bootname: Some("A".into()),
            contact: Some("c0ffee".into()),
            root: Some("PARTLABEL=slot-a".into()),
            environment_bad: false,
        };
        assert_eq!(CommandLine::parse(line), Ok(expected));
    }

    #[test]
    fn quotes_keep_words_together() {
        let cases = [
            (
                "root=\"PARTLABEL=my slot\" x=\"switchback.slot=B rauc.slot=C\"",
                "PARTLABEL=my slot",
            ),
            ("\"root=PARTLABEL=my slot\"", "PARTLABEL=my slot"),
            ("root=\"/dev/x", "/dev/x"),
        ];
        for (line, root) in cases {
            let line = CommandLine::parse(line).unwrap();
            assert_eq!((line.root.as_deref(), line.bootname), (Some(root), None));
        }
    }

    #[test]
    fn either_name_of_the_slot_will_do_and_both_if_they_agree() {
        for line in [
            "rauc.slot=B",
            "switchback.slot=B",
            "rauc.slot=B switchback.slot=B",
        ] {
            assert_eq!(
                CommandLine::parse(line).unwrap().bootname.as_deref(),
                Some("B")
            );
        }
    }

    #[test]
    fn two_values_are_an_error_that_names_both() {
        let cases = [
            "rauc.slot=A switchback.slot=B",
            "switchback.slot=A switchback.slot=B",
            "switchback.env=A switchback.env=B",
            "root=A quiet root=B",
        ];
        for line in cases {
            let message = CommandLine::parse(line).unwrap_err().to_string();
            assert!(
                message.contains("\"A\"") && message.contains("\"B\""),
                "{message}"
            );
        }
    }

    #[test]
    fn nothing_said_is_none() {
        for line in ["", "\n", "quiet", "switchback.env= switchback.slot= root="] {
            assert_eq!(
                CommandLine::parse(line),
                Ok(CommandLine::default()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn boot_script_may_say_that_its_environment_is_bad() {
        assert!(
            CommandLine::parse("switchback.env_state=bad")
                .unwrap()
                .environment_bad
        );
        assert!(
            !CommandLine::parse("switchback.env_state=")
                .unwrap()
                .environment_bad
        );
    }
}
