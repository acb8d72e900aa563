//! Doing one action to the values.

use switchback_types::Timestamp;

use crate::action::Action;
use crate::attempt::{Attempt, Attempts, Cancel, Outcome, Revert};
use crate::rollout::{Phase, Rollout};

impl Rollout {
    /// Does one action. What no longer fits, because something came between, changes nothing.
    pub fn apply(&mut self, attempts: &mut Attempts, action: &Action, now: Timestamp) {
        match action {
            Action::Start => {
                self.phase = Phase::Running;
                self.wave = 0;
                self.wave_opened_at = now;
            }
            Action::OpenWave { wave } => {
                self.wave = *wave;
                self.wave_opened_at = now;
            }
            Action::Pause { gate } => {
                self.phase = Phase::Paused {
                    why: gate.to_string(),
                };
            }
            Action::BeginRevert { gate } => {
                self.revert_group = None;
                self.phase = Phase::Reverting {
                    why: gate.to_string(),
                };
            }
            Action::FinishRevert => self.phase = Phase::Reverted,
            Action::Finish => self.phase = Phase::Finished,
            Action::Offer {
                device,
                wave,
                number,
                previous,
            } => {
                let mut offer = Attempt::offered(*wave, *number, now, previous.clone());
                if let Some(before) = attempts.get(device) {
                    // Reached once is reached.
                    offer.taken_at = before.taken_at.map(|_| now);
                }
                attempts.insert(device.clone(), offer);
            }
            Action::Withdraw { device } => {
                if let Some(attempt) = attempts.get_mut(device)
                    && attempt.is_in_flight()
                    && attempt.taken_at.is_none()
                {
                    attempt.outcome = Outcome::Cancelled;
                    attempt.ended_at = Some(now);
                }
            }
            Action::Cancel { device } => {
                if let Some(attempt) = attempts.get_mut(device)
                    && attempt.is_in_flight()
                {
                    attempt.cancel = Some(Cancel::Asked);
                }
            }
            Action::Silent { device } => {
                if let Some(attempt) = attempts.get_mut(device)
                    && matches!(attempt.outcome, Outcome::Pending | Outcome::Succeeded)
                {
                    attempt.end(Outcome::Silent, now);
                }
            }
            Action::Revert { device } => {
                if let Some(attempt) = attempts.get_mut(device) {
                    attempt.revert = Some(Revert::Offered);
                }
            }
        }
    }
}
