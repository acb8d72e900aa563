//! An ordered list of variables, whoever they belong to.

use alloc::vec::Vec;
use core::fmt;

/// One piece of an environment.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// A name with a value.
    Variable {
        /// The name, never empty.
        name: Vec<u8>,
        /// The value, unescaped.
        value: Vec<u8>,
    },
    /// Something that is no variable (a comment line, an entry without `=`), kept where it is.
    Verbatim(Vec<u8>),
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { name, value } => {
                write!(f, "{}={}", name.escape_ascii(), value.escape_ascii())
            }
            Self::Verbatim(bytes) => write!(f, "Verbatim({})", bytes.escape_ascii()),
        }
    }
}

/// All entries of an environment in their order.
///
/// Where a name occurs more than once, the last one counts, as it does for both bootloaders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vars {
    entries: Vec<Entry>,
}

impl Vars {
    /// No variables.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// All entries in their order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Names and values in their order, with repetitions.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Variable { name, value } => Some((name.as_slice(), value.as_slice())),
            Entry::Verbatim(_) => None,
        })
    }

    /// The value that counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .rfind(|(found, _)| *found == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The value that counts, if it is text; an empty text is no value, as it is to boot scripts.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = core::str::from_utf8(self.get(name)?).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Gives `name` a value: in its place if it has one, else at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        let mut done = false;
        self.entries.retain_mut(|entry| match entry {
            Entry::Variable {
                name: found,
                value: old,
            } if found == name.as_bytes() => {
                *old = value.into();
                // Only the first of several stays.
                !core::mem::replace(&mut done, true)
            }
            _ => true,
        });
        if !done {
            self.push(Entry::Variable {
                name: name.into(),
                value: value.into(),
            });
        }
    }

    /// Takes `name` out, however often it is there.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(
            |entry| !matches!(entry, Entry::Variable { name: found, .. } if found == name.as_bytes()),
        );
    }

    /// Gives `name` a value and moves it to the front.
    pub(crate) fn set_first(&mut self, name: &str, value: &str) {
        self.remove(name);
        let place = self
            .entries
            .iter()
            .position(|entry| matches!(entry, Entry::Variable { .. }))
            .unwrap_or(self.entries.len());
        let variable = Entry::Variable {
            name: name.into(),
            value: value.into(),
        };
        self.entries.insert(place, variable);
    }

    /// Gives `name` a value and moves it to the end.
    pub(crate) fn set_last(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.set(name, value);
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let entries = pairs
            .into_iter()
            .map(|(name, value)| Entry::Variable {
                name: name.as_ref().into(),
                value: value.as_ref().into(),
            })
            .collect();
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_of_several_counts_and_setting_leaves_one() {
        let mut vars: Vars = [("x", "1"), ("y", "2"), ("x", "3")].into_iter().collect();
        assert_eq!(vars.text("x"), Some("3"));
        vars.set("x", "4");
        assert_eq!(vars, [("x", "4"), ("y", "2")].into_iter().collect());
    }

    #[test]
    fn what_is_not_set_keeps_its_place() {
        let mut vars: Vars = [("a", "1"), ("foreign", "\u{1}")].into_iter().collect();
        vars.push(Entry::Verbatim(b"# note".to_vec()));
        vars.set("a", "2");
        vars.set("b", "3");
        vars.remove("a");
        let names: Vec<&[u8]> = vars.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [b"foreign".as_slice(), b"b"]);
        assert_eq!(vars.entries()[1], Entry::Verbatim(b"# note".to_vec()));
    }

    #[test]
    fn empty_or_unreadable_text_is_none() {
        let vars: Vars = [("a", b"".as_slice()), ("b", b"\xff")]
            .into_iter()
            .collect();
        assert_eq!(
            (vars.text("a"), vars.text("b"), vars.text("c")),
            (None, None, None)
        );
        assert_eq!(vars.get("b"), Some(b"\xff".as_slice()));
    }
}
