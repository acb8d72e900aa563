//! The daemon's durable record of intent.

mod files;
mod two_copies;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use switchback_update_core::State;

pub use self::files::{DiskFiles, RecordFiles};
pub use self::two_copies::{Loaded, RecordError, TwoCopies};

/// Version of the record's content; the copies' own header has one of its own.
const FORMAT: u32 = 1;

/// What is written.
#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    state: State,
}

/// What fuzzers need of a record.
#[cfg(feature = "fuzzing")]
pub(crate) mod parts {
    use switchback_update_core::State;

    use super::{Content, FORMAT};
    pub(crate) use crate::journal::two_copies::{decode, encode};

    /// The state in a record's content; none if it is not understood.
    pub(crate) fn parse(bytes: &[u8]) -> Option<State> {
        let content: Content = serde_json::from_slice(bytes).ok()?;
        (content.format == FORMAT).then_some(content.state)
    }

    /// The content of a record with this state.
    pub(crate) fn write(state: &State) -> serde_json::Result<Vec<u8>> {
        let (format, state) = (FORMAT, state.clone());
        serde_json::to_vec(&Content { format, state })
    }
}

/// The journal: [`State`] in two checksummed copies.
#[derive(Debug)]
pub struct Journal {
    copies: TwoCopies,
    /// No other daemon may act on the same record.
    _lock: Box<dyn std::fmt::Debug + Send>,
}

/// What the journal held.
#[derive(Debug)]
pub struct Opened {
    /// The journal, ready for commits.
    pub journal: Journal,
    /// The newest state that could be read; the default for a new device.
    pub state: State,
    /// What a person should know: a damaged copy, or both.
    pub warning: Option<String>,
}

impl Journal {
    /// Opens the journal in `directory`.
    ///
    /// Two damaged copies are moved aside and a fresh state is begun, with a warning: the boot
    /// environment still tells which slot is good, and a device that refuses to start its updater
    /// could never be repaired by an update.
    ///
    /// # Errors
    /// Another process has it open; the directory cannot be read or written.
    pub fn open(files: &Arc<dyn RecordFiles>, directory: &Path) -> Result<Opened, RecordError> {
        let path = || directory.to_owned();
        files
            .make_directory(directory)
            .map_err(|source| RecordError::Write {
                path: path(),
                source,
            })?;
        let lock = files
            .lock(directory)
            .map_err(|source| match source.kind() {
                ErrorKind::WouldBlock => RecordError::Locked { path: path() },
                _ => RecordError::Write {
                    path: path(),
                    source,
                },
            })?;
        let (copies, loaded) = TwoCopies::open(files, directory, "journal")?;
        let (state, warning) = state_in(loaded, &copies)?;
        Ok(Opened {
            journal: Self {
                copies,
                _lock: lock,
            },
            state,
            warning,
        })
    }

    /// The newest state, for a program that only wants to know: nothing is locked, and nothing in
    /// the directory is changed.
    ///
    /// # Errors
    /// A copy exists and cannot be read.
    pub fn read(files: &Arc<dyn RecordFiles>, directory: &Path) -> Result<State, RecordError> {
        let (copies, loaded) = TwoCopies::look(files, directory, "journal")?;
        state_in(loaded, &copies).map(|(state, _)| state)
    }

    /// Makes `state` durable.
    ///
    /// # Errors
    /// The directory cannot be written. The caller must not act on the state then.
    pub fn commit(&mut self, state: &State) -> Result<(), RecordError> {
        let content = Content {
            format: FORMAT,
            state: state.clone(),
        };
        let bytes = serde_json::to_vec(&content).map_err(|error| RecordError::Write {
            path: self.copies.path(0),
            source: error.into(),
        })?;
        self.copies.commit(&bytes)
    }
}

/// The state in what was found, and what a person should know.
fn state_in(loaded: Loaded, copies: &TwoCopies) -> Result<(State, Option<String>), RecordError> {
    let format = |content: &Content| content.format;
    let (content, warning) = understood(loaded, copies, FORMAT, format)?;
    let state = content.map(|content| content.state);
    Ok((state.unwrap_or_default(), warning))
}

/// What was found, as JSON that says its own format; and what a person should know. Nothing where a record is to be begun
/// afresh.
///
/// # Errors
/// It is in another format than the one that is known.
pub(crate) fn understood<C: DeserializeOwned>(
    loaded: Loaded,
    copies: &TwoCopies,
    known: u32,
    format: impl Fn(&C) -> u32,
) -> Result<(Option<C>, Option<String>), RecordError> {
    let (bytes, warning) = loaded.split();
    let Some(bytes) = bytes else {
        return Ok((None, warning));
    };
    let path = copies.path(0);
    match serde_json::from_slice::<C>(&bytes) {
        Ok(content) if format(&content) == known => Ok((Some(content), warning)),
        Ok(content) => Err(RecordError::Format {
            path,
            found: format(&content),
            known,
        }),
        Err(error) => {
            let path = path.display();
            let warning = format!(
                "{path}: the record is whole but not understood ({error}); beginning afresh"
            );
            Ok((None, Some(warning)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Arc<dyn RecordFiles> {
        Arc::new(DiskFiles)
    }

    #[test]
    fn gives_back_what_was_committed() {
        let directory = tempfile::tempdir().unwrap();
        let mut opened = Journal::open(&files(), directory.path()).unwrap();
        assert_eq!(opened.state, State::default());
        let state = State {
            floor: 3,
            ..State::default()
        };
        opened.journal.commit(&state).unwrap();
        drop(opened);
        let again = Journal::open(&files(), directory.path()).unwrap();
        assert_eq!(again.state, state);
        assert!(again.warning.is_none());
    }

    #[test]
    fn second_daemon_is_kept_out_and_a_look_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut opened = Journal::open(&files(), directory.path()).unwrap();
        let state = State {
            floor: 3,
            ..State::default()
        };
        opened.journal.commit(&state).unwrap();
        let error = Journal::open(&files(), directory.path()).unwrap_err();
        assert!(matches!(error, RecordError::Locked { .. }), "{error}");
        assert_eq!(Journal::read(&files(), directory.path()).unwrap(), state);
        drop(opened);
        Journal::open(&files(), directory.path()).unwrap();
    }

    #[test]
    fn look_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("nowhere");
        assert_eq!(Journal::read(&files(), &nowhere).unwrap(), State::default());
        assert!(!nowhere.exists());
        std::fs::write(directory.path().join("journal.0"), b"garbage").unwrap();
        Journal::read(&files(), directory.path()).unwrap();
        assert!(directory.path().join("journal.0").exists());
    }

    #[test]
    fn newer_format_is_refused_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (mut copies, _) = TwoCopies::open(&files(), directory.path(), "journal").unwrap();
        let text = serde_json::to_string(&State::default()).unwrap();
        copies
            .commit(format!(r#"{{"format":2,"state":{text}}}"#).as_bytes())
            .unwrap();
        let error = Journal::open(&files(), directory.path()).unwrap_err();
        assert!(
            matches!(error, RecordError::Format { found: 2, .. }),
            "{error}"
        );
    }
}
