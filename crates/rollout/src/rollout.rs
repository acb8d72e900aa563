//! A rollout as it stands.

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::definition::{Definition, DefinitionError};
use crate::filter::Filter;

/// What a rollout does now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// Somebody else must agree.
    WaitingForApproval,
    /// Somebody did not agree.
    Denied {
        /// Who.
        by: String,
    },
    /// Begins when its time and its barrier let it.
    Ready,
    /// Goes through its waves.
    Running,
    /// Nobody else gets it.
    Paused {
        /// Why, for people.
        why: String,
    },
    /// Those who have it go back.
    Reverting {
        /// Why, for people.
        why: String,
    },
    /// Those who had it went back.
    Reverted,
    /// Everybody who could have it does.
    Finished,
    /// A person ended it.
    Stopped,
}

impl Phase {
    /// Whether nothing happens any more by itself.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. } | Self::Reverted | Self::Finished | Self::Stopped
        )
    }
}

/// A rollout as it stands; its [`Attempts`](crate::Attempts) lie beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What is wanted.
    pub definition: Definition,
    /// Draws who comes first.
    pub salt: String,
    /// Who wanted it.
    pub author: String,
    /// Who agreed.
    pub approved_by: Option<String>,
    /// What it does now.
    #[serde(flatten)]
    pub phase: Phase,
    /// The wave that is open, from 0.
    pub wave: u32,
    /// When that wave was opened.
    pub wave_opened_at: Timestamp,
    /// The last wave that a person opened, or lets open.
    pub released: Option<u32>,
    /// What ended badly until then was seen by a person who let the rollout go on.
    pub forgiven_until: Option<Timestamp>,
    /// Who goes back, while it reverts.
    pub revert_group: Option<Filter>,
}

impl Rollout {
    /// A rollout that was asked for.
    ///
    /// # Errors
    /// The definition is wrong.
    pub fn new(
        definition: Definition,
        salt: &str,
        author: &str,
        now: Timestamp,
    ) -> Result<Self, DefinitionError> {
        definition.check()?;
        Ok(Self {
            phase: if definition.needs_approval {
                Phase::WaitingForApproval
            } else {
                Phase::Ready
            },
            definition,
            salt: salt.to_owned(),
            author: author.to_owned(),
            approved_by: None,
            wave: 0,
            wave_opened_at: now,
            released: None,
            forgiven_until: None,
            revert_group: None,
        })
    }
}
