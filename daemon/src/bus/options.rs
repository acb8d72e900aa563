//! The options of a method, and texts from outside.

use std::collections::HashMap;
use std::str::FromStr;

use zbus::OwnedVariant;

use super::errors::MethodError;

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 256;

/// As they come.
pub(super) type Options = HashMap<String, OwnedVariant>;

/// Takes out the options that a method knows; a name that is left over is an error, so that a
/// misspelt option is never silently without effect.
pub(super) struct Taken(pub(super) Options);

impl Taken {
    pub(super) fn boolean(&mut self, name: &str) -> Result<bool, MethodError> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(value) => bool::try_from(value)
                .map_err(|_| MethodError::UnknownOption(format!("option {name:?} is a boolean"))),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, MethodError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(value) => String::try_from(value)
                .map(|text| Some(shorten(&text)))
                .map_err(|_| MethodError::UnknownOption(format!("option {name:?} is a string"))),
        }
    }

    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, MethodError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: T::Err| {
            MethodError::UnknownOption(format!("option {name:?} = {text:?}: {error}"))
        })
    }

    pub(super) fn finish(self) -> Result<(), MethodError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(MethodError::UnknownOption(format!(
                "no such option: {name:?}"
            ))),
        }
    }
}

/// A text for people, without what would confuse a terminal.
pub(super) fn shorten(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_REASON)
        .collect()
}
