//! A failure as a file, and the story told step by step.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use switchback_types::SlotName;

use crate::board::Bench;
use crate::explore::{CutAt, Failure, Replayed, replay};
use crate::repository::Repository;
use crate::scenario::{BOARDS, MORE_BOARDS, scenarios};
use crate::world::Snapshot;

/// What is needed to play a failure again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Log {
    /// The story's full name.
    pub story: String,
    /// The broken law, in words.
    pub violation: String,
    /// The cuts that led to it.
    pub cuts: Vec<CutAt>,
}

impl From<&Failure> for Log {
    fn from(failure: &Failure) -> Self {
        Self {
            story: failure.scenario.clone(),
            violation: failure.violation.to_string(),
            cuts: failure.cuts.clone(),
        }
    }
}

impl Log {
    /// Plays it again.
    ///
    /// # Errors
    /// There is no such story any more, or it goes another way.
    pub fn replay(&self, repository: &Arc<Repository>) -> Result<(Bench, Replayed), String> {
        let scenario = BOARDS
            .iter()
            .chain(&MORE_BOARDS)
            .flat_map(|(loader, tries)| scenarios(*loader, *tries))
            .find(|scenario| scenario.name == self.story)
            .ok_or_else(|| format!("there is no story \"{}\"", self.story))?;
        let bench = Bench::new(Arc::clone(repository), scenario);
        let replayed = replay(&bench, &self.cuts)?;
        Ok((bench, replayed))
    }
}

/// One step and what it leaves, in one line.
#[must_use]
pub fn describe(bench: &Bench, number: usize, snapshot: &Snapshot) -> String {
    let mut text = format!("{number:>4}  {:<34}", snapshot.what);
    let machine = &snapshot.machine;
    let uptime = snapshot.session.uptime.as_secs();
    let runs = snapshot.session.start.as_ref().map_or_else(
        || "loader".to_owned(),
        |start| format!("slot {}", start.slot),
    );
    let _ = write!(text, " {runs} +{uptime}s; {} pending", machine.pending());
    for slot in SlotName::ALL {
        let held = bench.repository.whole(&machine.slot(slot).live());
        let held = held.map_or_else(|| "-".to_owned(), |image| format!("v{}", image.version));
        let _ = write!(text, "; {slot}: {held}");
    }
    text
}
