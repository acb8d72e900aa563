//! What must outlast a restart: what this device is called, its token, and what the server has not heard yet.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::host::hex;
use crate::journal::{RecordError, RecordFiles, TwoCopies, understood};

/// Version of the record's content.
const FORMAT: u32 = 1;
/// Reports that are kept for a server which does not answer: each ends an update, and the server needs the last one most.
const MOST_REPORTS: usize = 32;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Content {
    format: u32,
    id: String,
    token: Option<String>,
    #[serde(default)]
    proposed: Option<String>,
    reports: Vec<Report>,
}

/// The record `fleet` in the state directory.
#[derive(Debug)]
pub struct Memory {
    copies: TwoCopies,
    content: Content,
}

impl Memory {
    /// Opens the record; on a new device it is begun with the name that `new_id` makes. Gives a warning of what was
    /// damaged.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn open(
        files: &Arc<dyn RecordFiles>,
        directory: &Path,
        new_id: impl FnOnce() -> String,
    ) -> Result<(Self, Option<String>), RecordError> {
        let (copies, loaded) = TwoCopies::open(files, directory, "fleet")?;
        let format = |content: &Content| content.format;
        let (content, warning) = understood(loaded, &copies, FORMAT, format)?;
        let begun = content.is_none();
        let mut memory = Self {
            copies,
            content: content.unwrap_or_else(|| Content {
                format: FORMAT,
                id: new_id(),
                token: None,
                proposed: None,
                reports: Vec::new(),
            }),
        };
        if begun {
            // A name that was told must be the same ever after.
            memory.store()?;
        }
        Ok((memory, warning))
    }

    /// What this device calls itself.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.content.id
    }

    /// Its token, if it was given one for that of the fleet.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.content.token.as_deref()
    }

    /// The token that this device would have, if it is let in: made by `new` once.
    ///
    /// # Errors
    /// It is not durable: it must not be told.
    pub fn proposed(&mut self, new: impl FnOnce() -> String) -> Result<String, RecordError> {
        if let Some(proposed) = &self.content.proposed {
            return Ok(proposed.clone());
        }
        let proposed = new();
        self.content.proposed = Some(proposed.clone());
        self.store()?;
        Ok(proposed)
    }

    /// What the server has not heard yet, the oldest first.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.content.reports
    }

    /// Keeps the device's token.
    ///
    /// # Errors
    /// It is not durable.
    pub fn keep_token(&mut self, token: String) -> Result<(), RecordError> {
        self.content.token = Some(token);
        self.store()
    }

    /// Keeps what must be told. The same is kept once.
    ///
    /// # Errors
    /// It is not durable.
    pub fn keep(&mut self, report: Report) -> Result<(), RecordError> {
        if self.content.reports.last() == Some(&report) {
            return Ok(());
        }
        let surplus = (self.content.reports.len() + 1).saturating_sub(MOST_REPORTS);
        self.content.reports.drain(..surplus);
        self.content.reports.push(report);
        self.store()
    }

    /// The server has these: `told`, the oldest.
    ///
    /// # Errors
    /// That is not durable: they are told again.
    pub fn told(&mut self, told: &[Report]) -> Result<(), RecordError> {
        if told.is_empty() {
            return Ok(());
        }
        self.content.reports.retain(|report| !told.contains(report));
        self.store()
    }

    fn store(&mut self) -> Result<(), RecordError> {
        let bytes = serde_json::to_vec(&self.content).map_err(|error| RecordError::Write {
            path: self.copies.path(0),
            source: error.into(),
        })?;
        self.copies.commit(&bytes)
    }
}

/// A name for this device: of its machine id in a form that does not give that away (machine-id(5)), else by chance.
#[must_use]
pub fn new_id(machine_id: Option<&str>, chance: [u8; 16]) -> String {
    let machine_id = machine_id.map(str::trim);
    let known = machine_id.filter(|text| {
        text.len() == 32
            && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            && text.bytes().any(|byte| byte != b'0')
    });
    let bytes = match known {
        Some(text) => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, text.as_bytes());
            let tag = ring::hmac::sign(&key, b"switchback fleet id");
            tag.as_ref().iter().copied().take(16).collect()
        }
        None => chance.to_vec(),
    };
    hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::About;
    use crate::journal::DiskFiles;

    fn report(number: usize) -> Report {
        Report {
            action: number.to_string(),
            about: About::Deployment,
            body: "{}".into(),
        }
    }

    #[test]
    fn what_must_be_told_outlasts_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
        let open = |id: &str| {
            let id = id.to_owned();
            Memory::open(&files, directory.path(), || id).unwrap().0
        };
        let mut memory = open("first");
        for number in 0..40 {
            memory.keep(report(number)).unwrap();
            memory.keep(report(number)).unwrap();
        }
        memory.keep_token("secret".into()).unwrap();
        assert_eq!(memory.proposed(|| "mine".into()).unwrap(), "mine");
        let mut memory = open("second");
        assert_eq!(memory.proposed(|| "other".into()).unwrap(), "mine");
        assert_eq!(memory.id(), "first");
        assert_eq!(memory.token(), Some("secret"));
        assert_eq!(memory.reports().len(), MOST_REPORTS);
        assert_eq!(memory.reports()[0], report(8));
        // One came to them while these were told.
        let told = memory.reports().to_vec();
        memory.keep(report(77)).unwrap();
        memory.told(&told).unwrap();
        assert_eq!(open("third").reports(), [report(77)]);
    }

    #[test]
    fn name_is_of_the_machine_and_does_not_give_it_away() {
        let machine = "0123456789abcdef0123456789abcdef\n";
        let id = new_id(Some(machine), [1; 16]);
        assert_eq!(id, new_id(Some(machine), [2; 16]));
        assert_eq!(id.len(), 32);
        assert_ne!(id, machine.trim());
        for odd in [
            None,
            Some(""),
            Some("uninitialized"),
            Some("00000000000000000000000000000000"),
        ] {
            assert_eq!(new_id(odd, [1; 16]), "01".repeat(16), "{odd:?}");
        }
    }
}
