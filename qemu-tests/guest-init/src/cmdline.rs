//! The kernel command line, as far as the guests need it.

use anyhow::Context as _;

/// The words of `/proc/cmdline`.
#[derive(Debug)]
pub(crate) struct CommandLine(String);

impl CommandLine {
    /// Reads `/proc/cmdline`; `/proc` must be mounted.
    pub(crate) fn read() -> anyhow::Result<Self> {
        Ok(Self(
            std::fs::read_to_string("/proc/cmdline").context("cannot read /proc/cmdline")?,
        ))
    }

    /// The value of the last `key=value`; the last one wins, as in the kernel.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .next_back()
    }

    /// Whether `word` stands alone on the line.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.split_whitespace().any(|candidate| candidate == word)
    }
}

#[cfg(test)]
mod tests {
    use super::CommandLine;

    #[test]
    fn last_value_wins_and_flags_are_whole_words() {
        let line = CommandLine("root=PARTLABEL=slot-a ro quiet root=PARTLABEL=slot-b\n".into());
        assert_eq!(line.value("root"), Some("PARTLABEL=slot-b"));
        assert!(line.has("ro"));
        assert!(!line.has("qui"));
        assert_eq!(line.value("init"), None);
    }
}
