//! What a device says.

use switchback_types::Timestamp;

use crate::attempt::{Attempt, Cancel, Outcome, Revert};

/// What a device says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<'a> {
    /// It asked for what is in the offer.
    Taken,
    /// It says that it is done. `runs` is what it said last that it runs, where it says so at
    /// all: then the word alone is not enough.
    Claims {
        /// What it runs, as it says.
        runs: Option<&'a str>,
    },
    /// It runs this.
    Runs(&'a str),
    /// It gave up.
    Failed,
    /// It went back.
    RolledBack,
    /// It stopped.
    Cancelled,
    /// It could not stop.
    CancelRefused,
    /// Somebody at the device agreed.
    Confirmed,
    /// Somebody at the device did not agree: it is offered no more until a person says so.
    Denied,
}

/// Takes in what a device says of its attempt at `identity`. Returns whether that changed
/// anything.
pub fn report(attempt: &mut Attempt, identity: &str, report: Report<'_>, now: Timestamp) -> bool {
    let before = attempt.clone();
    if attempt.revert == Some(Revert::Offered) {
        on_the_way_back(attempt, report);
    } else {
        forward(attempt, identity, report, now);
    }
    *attempt != before
}

/// It was offered what it ran before.
fn on_the_way_back(attempt: &mut Attempt, report: Report<'_>) {
    let done = match report {
        Report::Runs(runs) | Report::Claims { runs: Some(runs) } => {
            attempt.previous.as_deref() == Some(runs)
        }
        Report::Claims { runs: None } | Report::Failed | Report::RolledBack | Report::Cancelled => {
            true
        }
        Report::Taken | Report::CancelRefused | Report::Confirmed | Report::Denied => false,
    };
    if done {
        attempt.revert = Some(Revert::Done);
    }
}

fn forward(attempt: &mut Attempt, identity: &str, report: Report<'_>, now: Timestamp) {
    let open = matches!(attempt.outcome, Outcome::Pending | Outcome::Silent);
    match report {
        Report::Taken => {
            if attempt.is_in_flight() {
                attempt.taken_at.get_or_insert(now);
            }
        }
        Report::Runs(runs) if runs == identity => {
            if !matches!(attempt.outcome, Outcome::Succeeded) {
                attempt.end(Outcome::Succeeded, now);
            }
        }
        // Before the restart it still runs the old one: only afterwards this says something. A
        // third one was brought to it by somebody else.
        Report::Runs(runs) => {
            let old = attempt.previous.as_deref().is_none_or(|old| old == runs);
            if attempt.outcome == Outcome::Succeeded && old {
                attempt.end(Outcome::RolledBack, now);
            }
        }
        Report::Claims { runs } => {
            if open && runs.is_none_or(|runs| runs == identity) {
                attempt.end(Outcome::Succeeded, now);
            } else if attempt.is_in_flight() {
                attempt.taken_at.get_or_insert(now);
            }
        }
        Report::Failed if open => attempt.end(Outcome::Failed, now),
        Report::RolledBack if open || attempt.outcome == Outcome::Succeeded => {
            attempt.end(Outcome::RolledBack, now);
        }
        Report::Cancelled | Report::Denied if attempt.is_in_flight() => {
            attempt.end(Outcome::Cancelled, now);
        }
        Report::Confirmed if attempt.is_in_flight() => attempt.confirmed = true,
        Report::CancelRefused if attempt.is_in_flight() => attempt.cancel = Some(Cancel::Refused),
        Report::Failed
        | Report::RolledBack
        | Report::Cancelled
        | Report::CancelRefused
        | Report::Confirmed
        | Report::Denied => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn after(reports: &[Report<'_>]) -> Attempt {
        let mut attempt = Attempt::offered(0, 1, NOW, Some("old".into()));
        for one in reports {
            report(&mut attempt, "new", *one, NOW);
        }
        attempt
    }

    #[test]
    fn an_early_word_of_success_is_taken_back() {
        // A client that reports before it restarts, and is back on the old one afterwards.
        let claim = Report::Claims { runs: None };
        assert_eq!(after(&[claim]).outcome, Outcome::Succeeded);
        assert_eq!(
            after(&[claim, Report::Runs("old")]).outcome,
            Outcome::RolledBack
        );
        // One that says what it runs is not believed before it runs it.
        let early = Report::Claims { runs: Some("old") };
        assert_eq!(after(&[early]).outcome, Outcome::Pending);
        assert_eq!(
            after(&[early, Report::Runs("new")]).outcome,
            Outcome::Succeeded
        );
    }

    #[test]
    fn no_state_cannot_be_left_by_cancelling() {
        let all = [
            Report::Taken,
            Report::Claims { runs: None },
            Report::Runs("new"),
            Report::Runs("old"),
            Report::Failed,
            Report::RolledBack,
            Report::Cancelled,
            Report::CancelRefused,
        ];
        for first in all {
            for second in all {
                let attempt = after(&[first, second]);
                let ended = attempt.ended_at.is_some();
                assert_eq!(
                    ended,
                    attempt.outcome != Outcome::Pending,
                    "{first:?} {second:?}"
                );
                if second == Report::Cancelled {
                    assert!(ended, "{first:?}");
                }
            }
        }
    }

    #[test]
    fn who_comes_back_from_silence_counts_again() {
        let mut attempt = after(&[Report::Taken]);
        attempt.end(Outcome::Silent, NOW);
        assert!(report(&mut attempt, "new", Report::Runs("new"), NOW));
        assert_eq!(attempt.outcome, Outcome::Succeeded);
    }

    #[test]
    fn the_way_back_ends_when_it_runs_what_it_ran() {
        let mut attempt = after(&[Report::Runs("new")]);
        attempt.revert = Some(Revert::Offered);
        assert!(!report(&mut attempt, "new", Report::Runs("new"), NOW));
        assert!(report(&mut attempt, "new", Report::Runs("old"), NOW));
        assert_eq!(
            (attempt.outcome, attempt.revert),
            (Outcome::Succeeded, Some(Revert::Done))
        );
    }
}
