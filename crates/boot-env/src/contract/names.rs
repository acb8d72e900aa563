//! The bootloader's names for the slots.

use alloc::string::String;

use switchback_types::SlotName;

/// The bootloader's names for the two slots, `A` and `B` unless a board has others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootNames {
    a: String,
    b: String,
}

/// A name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootNameError {
    /// Names become parts of variables and words of a list.
    #[error(
        "{name:?} cannot be a bootname: use 1 to {LONGEST} letters, digits, `_`, `-` and `.`, e.g. A"
    )]
    Invalid {
        /// The name.
        name: String,
    },
    /// One name for both slots.
    #[error("both slots have the bootname {name:?}: give each its own")]
    Same {
        /// The name.
        name: String,
    },
}

/// Long enough for any board; short enough for an environment block.
const LONGEST: usize = 32;

impl BootNames {
    /// Names for slot a and slot b.
    ///
    /// # Errors
    /// A name cannot be a part of a variable, or both are the same.
    pub fn new(a: &str, b: &str) -> Result<Self, BootNameError> {
        for name in [a, b] {
            let usable = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            if name.is_empty() || name.len() > LONGEST || !name.chars().all(usable) {
                return Err(BootNameError::Invalid { name: name.into() });
            }
        }
        if a == b {
            return Err(BootNameError::Same { name: a.into() });
        }
        Ok(Self {
            a: a.into(),
            b: b.into(),
        })
    }

    /// The name of a slot.
    #[must_use]
    pub fn name(&self, slot: SlotName) -> &str {
        match slot {
            SlotName::A => &self.a,
            SlotName::B => &self.b,
        }
    }

    /// The slot of a name; none for names that are not ours.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<SlotName> {
        SlotName::ALL
            .into_iter()
            .find(|slot| self.name(*slot) == name)
    }
}

impl Default for BootNames {
    fn default() -> Self {
        Self {
            a: "A".into(),
            b: "B".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_would_not_survive_a_list_or_a_variable() {
        for bad in ["", "a b", "A=", "x\n", "é", &"x".repeat(33)] {
            let error = BootNames::new(bad, "B").unwrap_err();
            assert_eq!(error, BootNameError::Invalid { name: bad.into() });
        }
        let error = BootNames::new("A", "A").unwrap_err();
        assert_eq!(error, BootNameError::Same { name: "A".into() });
    }

    #[test]
    fn names_and_slots_correspond() {
        let names = BootNames::new("system0", "system1").unwrap();
        for slot in SlotName::ALL {
            assert_eq!(names.slot(names.name(slot)), Some(slot));
        }
        assert_eq!(names.slot("A"), None);
        assert_eq!(BootNames::default().slot("B"), Some(SlotName::B));
    }
}
