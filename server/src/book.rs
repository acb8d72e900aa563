//! All rollouts in memory, with what came of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use switchback_rollout::{Attempt, Attempts, Outcome, Revert, Rollout, Tally, Waiting};

use switchback_types::Timestamp;

use crate::fleet::{Task, TaskKind};
use crate::store::{AttemptRow, RolloutRow, StoreError};

/// How an attempt is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The number that the device knows it by.
    pub action: i64,
    /// The number of the way back; 0 for none.
    pub back: i64,
    /// For compare-and-set.
    pub generation: i64,
}

/// A rollout with its attempts.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its name in addresses.
    pub id: Arc<str>,
    /// Which is newer.
    pub number: i64,
    /// For compare-and-set.
    pub generation: i64,
    /// The rollout.
    pub rollout: Rollout,
    /// Its attempts.
    pub attempts: Attempts,
    /// How they are kept.
    pub held: HashMap<String, Held>,
    /// What it waits for, as the planner said last.
    pub waiting: Option<Waiting>,
    /// When it was wanted.
    pub created_at: i64,
}

impl Live {
    /// From what is kept; without its attempts.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn from_row(row: &RolloutRow) -> Result<Self, StoreError> {
        let rollout = serde_json::from_str(&row.doc).map_err(|_| StoreError::Row {
            what: format!("rollouts {}", row.id),
        })?;
        Ok(Self {
            id: row.id.as_str().into(),
            number: row.number,
            generation: row.generation,
            rollout,
            attempts: Attempts::new(),
            held: HashMap::new(),
            waiting: None,
            created_at: row.created_at,
        })
    }

    /// How many devices are where.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::of(self.attempts.values(), None)
    }

    fn task(&self, device: &str, auto_confirm: bool) -> Option<Task> {
        let attempt = self.attempts.get(device)?;
        let held = self.held.get(device)?;
        let task = |action, kind, identity: &str| {
            Some(Task {
                rollout: self.id.clone(),
                action,
                kind,
                identity: identity.into(),
            })
        };
        if attempt.revert == Some(Revert::Offered) {
            return task(held.back, TaskKind::Back, attempt.previous.as_deref()?);
        }
        if !attempt.is_in_flight() {
            return None;
        }
        let definition = &self.rollout.definition;
        let kind = if attempt.is_to_stop() {
            TaskKind::Cancel
        } else if definition.needs_confirmation && !attempt.confirmed && !auto_confirm {
            TaskKind::Confirm
        } else {
            TaskKind::Install
        };
        task(held.action, kind, &definition.target.identity)
    }
}

/// All rollouts, by number.
#[derive(Debug, Default)]
pub struct Book {
    /// All of them.
    pub rollouts: BTreeMap<i64, Live>,
}

/// What a device should run, and why it is known not to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The identity.
    pub identity: String,
    /// The rollout that says so.
    pub rollout: Arc<str>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// When it ended.
    pub since: i64,
}

impl Book {
    /// One rollout.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Live> {
        self.rollouts.values().find(|live| &*live.id == id)
    }

    /// One rollout, to change.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Live> {
        self.rollouts.values_mut().find(|live| &*live.id == id)
    }

    /// Puts in what is kept of a rollout, unless something newer is known.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn put(&mut self, row: &RolloutRow) -> Result<(), StoreError> {
        let fresh = Live::from_row(row)?;
        match self.rollouts.get_mut(&row.number) {
            Some(known) if known.generation < fresh.generation => {
                known.generation = fresh.generation;
                known.rollout = fresh.rollout;
            }
            Some(_) => {}
            None => {
                self.rollouts.insert(row.number, fresh);
            }
        }
        Ok(())
    }

    /// Puts in what is kept of an attempt, unless something newer is known. Returns whether it
    /// was news.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn put_attempt(&mut self, row: &AttemptRow) -> Result<bool, StoreError> {
        let attempt: Attempt = serde_json::from_str(&row.doc).map_err(|_| StoreError::Row {
            what: format!("attempts {} {}", row.rollout, row.device),
        })?;
        let Some(live) = self.get_mut(&row.rollout) else {
            return Ok(false);
        };
        let known = live.held.get(&row.device);
        if known.is_some_and(|known| known.generation >= row.generation) {
            return Ok(false);
        }
        live.held.insert(
            row.device.clone(),
            Held {
                action: row.action,
                back: row.back,
                generation: row.generation,
            },
        );
        live.attempts.insert(row.device.clone(), attempt);
        Ok(true)
    }

    /// What a device is to do now: what the newest rollout wants of it.
    #[must_use]
    pub fn task(&self, device: &str, auto_confirm: bool) -> Option<Task> {
        let mut newest_first = self.rollouts.values().rev();
        newest_first.find_map(|live| live.task(device, auto_confirm))
    }

    /// The rollout in which a device knows an action, and whether that is its way back.
    #[must_use]
    pub fn of_action(&self, device: &str, action: i64) -> Option<(&Live, bool)> {
        self.rollouts.values().rev().find_map(|live| {
            let held = live.held.get(device)?;
            if held.action == action {
                return Some((live, false));
            }
            (held.back == action && action != 0).then_some((live, true))
        })
    }

    /// The newest rollout that a device has a part in.
    #[must_use]
    pub fn newest_of(&self, device: &str) -> Option<&Live> {
        let mut newest_first = self.rollouts.values().rev();
        newest_first.find(|live| live.attempts.contains_key(device))
    }

    /// What a device should run, as far as a rollout says so: where it is at it, nothing yet.
    #[must_use]
    pub fn wanted(&self, device: &str) -> Option<Wanted> {
        for live in self.rollouts.values().rev() {
            let Some(attempt) = live.attempts.get(device) else {
                continue;
            };
            let untaken = attempt.outcome == Outcome::Cancelled && attempt.taken_at.is_none();
            if untaken {
                continue;
            }
            if attempt.is_in_flight() {
                return None;
            }
            let identity = match attempt.revert {
                Some(_) => attempt.previous.clone()?,
                None => live.rollout.definition.target.identity.clone(),
            };
            return Some(Wanted {
                identity,
                rollout: live.id.clone(),
                outcome: attempt.outcome,
                since: attempt.ended_at.map_or(0, Timestamp::unix),
            });
        }
        None
    }
}
