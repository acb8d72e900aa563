//! What a person wants of a rollout that is there.

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::action::Action;
use crate::attempt::{Attempts, Outcome};
use crate::filter::Filter;
use crate::rollout::{Phase, Rollout};

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command", deny_unknown_fields)]
pub enum Command {
    /// Agree to it.
    Approve,
    /// Do not agree.
    Deny,
    /// Stop here for now.
    Pause,
    /// Go on. What ended badly so far does not count any more.
    Resume,
    /// End it: nobody else gets it, and who is at it is asked to stop.
    Stop,
    /// Open the next wave now.
    NextWave,
    /// Another try for devices that failed, went back or were silent.
    Retry {
        /// Only this one.
        #[serde(default)]
        device: Option<String>,
    },
    /// Bring devices back to what they ran before.
    Revert {
        /// Only these.
        #[serde(default)]
        group: Option<Filter>,
    },
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The rollout is not in a phase for it.
    #[error("that is not possible while the rollout is {phase}")]
    Phase {
        /// The phase.
        phase: &'static str,
    },
    /// Whoever wanted the rollout cannot agree to it as well.
    #[error("{who} wanted the rollout: somebody else must agree")]
    SamePerson {
        /// Who.
        who: String,
    },
    /// There is no such device, or nothing to try again.
    #[error("no device to try it again with")]
    NothingToRetry,
    /// All waves are open.
    #[error("the last wave is open already")]
    LastWave,
}

impl Phase {
    /// The word for people.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::WaitingForApproval => "waiting for approval",
            Self::Denied { .. } => "denied",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Reverting { .. } => "reverting",
            Self::Reverted => "reverted",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }
}

impl Rollout {
    /// Takes a command of `who`. The actions that it gives are to be applied as well.
    ///
    /// # Errors
    /// The rollout is not in a phase for it, or this person may not.
    pub fn command(
        &mut self,
        attempts: &Attempts,
        command: &Command,
        who: &str,
        now: Timestamp,
    ) -> Result<Vec<Action>, Refused> {
        let refused = Refused::Phase {
            phase: self.phase.as_str(),
        };
        match (command, &self.phase) {
            (Command::Approve, Phase::WaitingForApproval) => {
                if who == self.author {
                    return Err(Refused::SamePerson { who: who.into() });
                }
                self.approved_by = Some(who.to_owned());
                self.phase = Phase::Ready;
            }
            (Command::Deny, Phase::WaitingForApproval) => {
                self.phase = Phase::Denied { by: who.to_owned() };
            }
            (Command::Pause, Phase::Running) => {
                self.phase = Phase::Paused {
                    why: format!("{who} paused it"),
                };
            }
            (Command::Resume, Phase::Paused { .. }) => {
                self.forgiven_until = Some(now);
                self.phase = Phase::Running;
            }
            (Command::Stop, phase) if !phase.is_over() => self.phase = Phase::Stopped,
            (Command::NextWave, Phase::Running) => {
                let next = self.wave.saturating_add(1);
                if usize::try_from(next).is_ok_and(|next| next >= self.definition.plan.waves.len())
                {
                    return Err(Refused::LastWave);
                }
                self.released = Some(next);
            }
            (Command::Retry { device }, Phase::Running | Phase::Paused { .. }) => {
                let actions = retries(attempts, device.as_deref());
                if actions.is_empty() {
                    return Err(Refused::NothingToRetry);
                }
                return Ok(actions);
            }
            (
                Command::Revert { group },
                Phase::Running
                | Phase::Paused { .. }
                | Phase::Finished
                | Phase::Stopped
                | Phase::Reverted
                | Phase::Reverting { .. },
            ) => {
                self.revert_group.clone_from(group);
                self.phase = Phase::Reverting {
                    why: format!("{who} wanted it"),
                };
            }
            _ => return Err(refused),
        }
        Ok(Vec::new())
    }
}

fn retries(attempts: &Attempts, device: Option<&str>) -> Vec<Action> {
    attempts
        .iter()
        .filter(|(name, _)| device.is_none_or(|wanted| wanted == name.as_str()))
        .filter(|(_, attempt)| {
            attempt.outcome.is_bad()
                || (attempt.outcome == Outcome::Cancelled && attempt.taken_at.is_some())
        })
        .map(|(device, attempt)| Action::Offer {
            device: device.clone(),
            wave: attempt.wave,
            number: attempt.number.saturating_add(1),
            previous: attempt.previous.clone(),
        })
        .collect()
}
