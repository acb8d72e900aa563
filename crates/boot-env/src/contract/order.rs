//! The list of bootnames, best first, foreign ones among them.

use alloc::string::String;
use alloc::vec::Vec;

use switchback_types::SlotName;

use super::BootNames;

/// Bootnames in the order in which they are tried, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    words: Vec<String>,
}

impl Order {
    /// The words of a text; none if there are none, which scripts take for "not set".
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words: Vec<String> = Vec::new();
        for word in text.split_ascii_whitespace() {
            if !words.iter().any(|seen| seen == word) {
                words.push(word.into());
            }
        }
        (!words.is_empty()).then_some(Self { words })
    }

    /// Both slots, this one first.
    pub(super) fn of(names: &BootNames, first: SlotName) -> Self {
        let words = [first, first.other()].map(|slot| names.name(slot).into());
        Self {
            words: words.into(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        self.words.join(" ")
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.words.retain(|word| word != name);
    }

    /// The name, then the old order without it.
    pub(super) fn put_first(&mut self, name: &str) {
        self.remove(name);
        self.words.insert(0, name.into());
    }

    /// Adds a name that is not there, behind the last of our slots and so before a rescue system
    /// that comes last.
    pub(super) fn insert(&mut self, name: &str, ours: &BootNames) {
        if self.contains(name) {
            return;
        }
        let last = self
            .words
            .iter()
            .rposition(|word| ours.slot(word).is_some());
        let place = last.map_or(0, |place| place.saturating_add(1));
        self.words.insert(place, name.into());
    }

    /// Our slots, without the foreign names.
    pub(super) fn slots(&self, ours: &BootNames) -> Vec<SlotName> {
        self.words
            .iter()
            .filter_map(|word| ours.slot(word))
            .collect()
    }
}
