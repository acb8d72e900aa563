//! When to stop.

use core::fmt;

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::amount::Share;
use crate::attempt::{Attempt, Outcome};
use crate::definition::DefinitionError;

/// How much is too much: more than a number of devices, or more than a share of those reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Broken when more devices than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Broken when a larger share of those reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// The gates of a rollout. Each is held against all that was reached so far and against the
/// current wave alone, so that a bad wave does not hide behind good ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// The share of a wave that must have succeeded before the next one begins.
    pub succeeded: Share,
    /// Devices that gave up.
    pub failed: Threshold,
    /// Devices that went back.
    pub rolled_back: Threshold,
    /// Devices that are not heard of.
    pub silent: Threshold,
    /// All three together.
    pub bad: Threshold,
}

impl Default for Gates {
    /// 90 % of a wave succeed; more than 2 % that went back, or 5 % that failed, are silent, or
    /// any of these, are too many.
    fn default() -> Self {
        let share = |percent| Threshold {
            count: None,
            share: Some(Share::percent(percent)),
        };
        Self {
            succeeded: Share::percent(90),
            failed: share(5),
            rolled_back: share(2),
            silent: share(5),
            bad: share(5),
        }
    }
}

/// How many devices are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Were offered it.
    pub offered: usize,
    /// Took the offer.
    pub reached: usize,
    /// Are at it.
    pub pending: usize,
    /// Run it.
    pub succeeded: usize,
    /// Gave up.
    pub failed: usize,
    /// Went back.
    pub rolled_back: usize,
    /// Are not heard of.
    pub silent: usize,
    /// Were called off.
    pub cancelled: usize,
}

/// A gate that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenGate {
    /// Which.
    pub gate: String,
    /// How many devices are bad in its sense.
    pub count: usize,
    /// Of how many that were reached.
    pub reached: usize,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for BrokenGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            gate,
            count,
            reached,
            allowed,
        } = self;
        write!(
            f,
            "{gate}: {count} of {reached} devices reached, {allowed} allowed"
        )
    }
}

impl Tally {
    /// Counts attempts. What ended badly until `forgiven` was seen by a person who let the
    /// rollout go on; it does not count against it any more.
    #[must_use]
    pub fn of<'a>(
        attempts: impl Iterator<Item = &'a Attempt>,
        forgiven: Option<Timestamp>,
    ) -> Self {
        let mut tally = Self::default();
        for attempt in attempts {
            tally.offered += 1;
            tally.reached += usize::from(attempt.taken_at.is_some());
            if attempt.outcome.is_bad() && forgiven >= attempt.ended_at {
                continue;
            }
            match attempt.outcome {
                Outcome::Pending => tally.pending += 1,
                Outcome::Succeeded => tally.succeeded += 1,
                Outcome::Failed => tally.failed += 1,
                Outcome::RolledBack => tally.rolled_back += 1,
                Outcome::Silent => tally.silent += 1,
                Outcome::Cancelled => tally.cancelled += 1,
            }
        }
        tally
    }
}

impl Threshold {
    fn broken(self, gate: &str, count: usize, reached: usize) -> Option<BrokenGate> {
        let broken = |allowed: String| BrokenGate {
            gate: gate.to_owned(),
            count,
            reached,
            allowed,
        };
        match self {
            Self {
                count: Some(most), ..
            } if count > usize::try_from(most).unwrap_or(usize::MAX) => {
                Some(broken(most.to_string()))
            }
            Self {
                share: Some(share), ..
            } if share.is_exceeded_by(count, reached) => Some(broken(share.to_string())),
            _ => None,
        }
    }
}

impl Gates {
    /// The first gate that does not hold.
    #[must_use]
    pub fn broken(&self, tally: &Tally) -> Option<BrokenGate> {
        let Tally {
            failed,
            rolled_back,
            silent,
            reached,
            ..
        } = *tally;
        [
            ("rolled back", self.rolled_back, rolled_back),
            ("failed", self.failed, failed),
            ("silent", self.silent, silent),
            (
                "failed, rolled back or silent",
                self.bad,
                failed + rolled_back + silent,
            ),
        ]
        .into_iter()
        .find_map(|(gate, threshold, count)| threshold.broken(gate, count, reached))
    }

    pub(crate) fn check(&self) -> Result<(), DefinitionError> {
        if self.succeeded == Share::percent(0) {
            return Err(DefinitionError {
                field: "gates.succeeded",
                what: "a wave that nobody has to survive says nothing".into(),
            });
        }
        let never = |threshold: Threshold| {
            threshold.count.is_none() && threshold.share.is_none_or(|share| share == Share::ALL)
        };
        if [self.failed, self.rolled_back, self.silent, self.bad]
            .into_iter()
            .all(never)
        {
            return Err(DefinitionError {
                field: "gates",
                what: "none of them can ever stop the rollout".into(),
            });
        }
        Ok(())
    }
}
