//! What a long command found, as a file that other people's CI can read.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{IoContext as _, Result};
use crate::product::workspace;

/// One line of a report.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was tried.
    pub name: String,
    /// What should be.
    pub expected: String,
    /// What was.
    pub observed: String,
    /// Whether they agree.
    pub ok: bool,
    /// Measured values; the unit is part of the name.
    pub figures: Map<String, Value>,
}

/// A report in the making; `target/reports/<command>.json`.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Report {
    /// Begins the report of a command.
    #[must_use]
    pub fn new(command: &str) -> Self {
        let path = workspace()
            .join("target/reports")
            .join(format!("{command}.json"));
        Self {
            path,
            entries: Vec::new(),
        }
    }

    /// Adds a line and writes the file, so that an interrupted run leaves what it found.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        self.entries.push(entry);
        let lines: Vec<Value> = self
            .entries
            .iter()
            .map(|entry| {
                json!({
                    "name": entry.name,
                    "expected": entry.expected,
                    "observed": entry.observed,
                    "ok": entry.ok,
                    "figures": entry.figures,
                })
            })
            .collect();
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent).io("make", parent)?;
        }
        let text = format!("{:#}\n", Value::Array(lines));
        std::fs::write(&self.path, text).io("write", &self.path)
    }

    /// Whether everything was as expected.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.entries.is_empty() && self.entries.iter().all(|entry| entry.ok)
    }

    /// The lines so far.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
