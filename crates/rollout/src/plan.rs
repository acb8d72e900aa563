//! What to do next.

use std::collections::BTreeMap;

use switchback_types::Timestamp;

use crate::action::{Action, DeviceFacts, MAX_OFFERS_PER_TURN, Moment, Planned};
use crate::attempt::{Attempt, Attempts, Cancel, Outcome, Revert};
use crate::cohort::rank;
use crate::definition::OnBrokenGate;
use crate::gates::{BrokenGate, Tally};
use crate::rollout::{Phase, Rollout};
use crate::waiting::Waiting;

impl Planned {
    fn wait(waiting: Waiting) -> Self {
        Self {
            actions: Vec::new(),
            waiting: Some(waiting),
        }
    }
}

/// Says what to do next. Each device of `fleet` is named once.
#[must_use]
pub fn plan(
    rollout: &Rollout,
    attempts: &Attempts,
    fleet: &[DeviceFacts<'_>],
    moment: Moment,
) -> Planned {
    let turn = Turn {
        rollout,
        attempts,
        fleet,
        moment,
    };
    match &rollout.phase {
        Phase::WaitingForApproval => Planned::wait(Waiting::Approval),
        Phase::Ready => turn.ready(),
        Phase::Running => turn.running(),
        Phase::Paused { .. } => Planned {
            actions: [turn.withdrawals(), turn.silent()].concat(),
            waiting: Some(Waiting::Resume),
        },
        Phase::Reverting { .. } => turn.reverting(),
        Phase::Stopped => Planned {
            actions: [turn.withdrawals(), turn.cancellations(|_| true)].concat(),
            waiting: None,
        },
        Phase::Denied { .. } | Phase::Reverted | Phase::Finished => Planned {
            actions: Vec::new(),
            waiting: None,
        },
    }
}

struct Turn<'a> {
    rollout: &'a Rollout,
    attempts: &'a Attempts,
    fleet: &'a [DeviceFacts<'a>],
    moment: Moment,
}

impl Turn<'_> {
    fn is_frozen(&self) -> bool {
        let definition = &self.rollout.definition;
        let mut windows = definition.freeze.iter();
        !definition.emergency && windows.any(|window| window.contains(self.moment.now))
    }

    fn ready(&self) -> Planned {
        let definition = &self.rollout.definition;
        if let Some(at) = definition.not_before.filter(|at| *at > self.moment.now) {
            return Planned::wait(Waiting::Time { at });
        }
        if let Some(waiting) = self.barrier() {
            return Planned::wait(waiting);
        }
        if self.is_frozen() {
            return Planned::wait(Waiting::Freeze);
        }
        Planned {
            actions: vec![Action::Start],
            waiting: None,
        }
    }

    /// The barrier, as long as it is closed. A group of nobody keeps it closed: it was probably
    /// misspelled.
    fn barrier(&self) -> Option<Waiting> {
        let barrier = self.rollout.definition.barrier.as_ref()?;
        let group = || {
            self.fleet
                .iter()
                .filter(|device| barrier.group.matches(device.labels))
        };
        let behind = || group().filter(|device| device.identity != Some(&barrier.identity));
        let count = behind().count();
        (count > 0 || group().next().is_none()).then(|| Waiting::Barrier {
            behind: count,
            some: behind()
                .take(5)
                .map(|device| device.id.to_owned())
                .collect(),
        })
    }

    /// Offers that nobody took yet.
    fn withdrawals(&self) -> Vec<Action> {
        self.withdraw_if(|_| true)
    }

    fn withdraw_if(&self, wanted: impl Fn(&Attempt) -> bool) -> Vec<Action> {
        self.attempts
            .iter()
            .filter(|(_, attempt)| attempt.is_in_flight() && attempt.taken_at.is_none())
            .filter(|(_, attempt)| wanted(attempt))
            .map(|(device, _)| Action::Withdraw {
                device: device.clone(),
            })
            .collect()
    }

    /// Devices that are at it and were not asked to stop yet.
    fn cancellations(&self, wanted: impl Fn(&str) -> bool) -> Vec<Action> {
        self.attempts
            .iter()
            .filter(|(device, attempt)| {
                attempt.is_in_flight()
                    && attempt.taken_at.is_some()
                    && attempt.cancel.is_none()
                    && wanted(device)
            })
            .map(|(device, _)| Action::Cancel {
                device: device.clone(),
            })
            .collect()
    }

    /// Devices past their deadline.
    fn silent(&self) -> Vec<Action> {
        let Moment {
            now,
            listening_since,
        } = self.moment;
        let deadline = i64::from(self.rollout.definition.deadline);
        let is_late = |since: Timestamp| since.max(listening_since).plus_seconds(deadline) < now;
        let mut late: Vec<&str> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.is_in_flight())
            .filter(|(_, attempt)| attempt.taken_at.is_some_and(is_late))
            .map(|(device, _)| device.as_str())
            .collect();
        for device in self.fleet {
            let Some(attempt) = self.attempts.get(device.id) else {
                continue;
            };
            let ended = attempt.ended_at.unwrap_or(Timestamp::EPOCH);
            if attempt.outcome == Outcome::Succeeded
                && attempt.revert.is_none()
                && is_late(device.heard_at.max(ended))
            {
                late.push(device.id);
            }
        }
        late.sort_unstable();
        late.into_iter()
            .map(|device| Action::Silent {
                device: device.to_owned(),
            })
            .collect()
    }

    fn running(&self) -> Planned {
        let silent = self.silent();
        if !silent.is_empty() {
            // They are counted in the next turn, which follows at once.
            return Planned {
                actions: silent,
                waiting: None,
            };
        }
        if let Some(gate) = self.broken_gate() {
            let mut actions = vec![match self.rollout.definition.on_broken_gate {
                OnBrokenGate::Pause => Action::Pause { gate },
                OnBrokenGate::Revert => Action::BeginRevert { gate },
            }];
            actions.extend(self.withdrawals());
            return Planned {
                actions,
                waiting: None,
            };
        }
        if self.is_frozen() {
            return Planned {
                actions: self.withdrawals(),
                waiting: Some(Waiting::Freeze),
            };
        }
        self.wave()
    }

    fn broken_gate(&self) -> Option<BrokenGate> {
        let gates = &self.rollout.definition.gates;
        gates
            .broken(&self.tally(|_| true))
            .or_else(|| gates.broken(&self.tally(|attempt| attempt.wave == self.rollout.wave)))
    }

    fn tally(&self, wanted: impl Fn(&Attempt) -> bool) -> Tally {
        let attempts = self.attempts.values().filter(|attempt| wanted(attempt));
        Tally::of(attempts, self.rollout.forgiven_until)
    }

    /// Offers within the open wave, or the next wave.
    fn wave(&self) -> Planned {
        let definition = &self.rollout.definition;
        let now = self.moment.now;
        let deadline = i64::from(definition.deadline);
        let exposed = self
            .attempts
            .values()
            .filter(|attempt| attempt.is_exposed())
            .count();
        let open = usize::try_from(self.rollout.wave).unwrap_or(usize::MAX);
        let mut open_to = Vec::new();
        let mut away = 0;
        for device in self.fleet {
            let attempt = self.attempts.get(device.id);
            if attempt.is_some_and(Attempt::is_exposed)
                || device.identity == Some(&definition.target.identity)
                || !definition.group.matches(device.labels)
            {
                continue;
            }
            let seen = device.heard_at.plus_seconds(definition.seen_within.into()) >= now;
            if device.busy || !seen {
                away += 1;
            } else {
                // Who let an offer lie comes after those who had none.
                open_to.push((
                    attempt.is_some(),
                    rank(&self.rollout.salt, device.id),
                    device,
                ));
            }
        }
        let total = exposed + open_to.len() + away;
        let room = definition.plan.limit(open, total).saturating_sub(exposed);
        let pace = self.pace();
        let mut actions = self.withdraw_if(|offer| offer.offered_at.plus_seconds(deadline) < now);
        let mut offers = self.retries(pace);
        let fresh = room.min(pace.saturating_sub(offers.len()));
        open_to.sort_unstable_by(|a, b| (a.0, a.1, a.2.id).cmp(&(b.0, b.1, b.2.id)));
        offers.extend(
            open_to
                .iter()
                .take(fresh)
                .map(|(_, _, device)| Action::Offer {
                    device: device.id.to_owned(),
                    wave: self.rollout.wave,
                    number: 1,
                    previous: device.identity.map(str::to_owned),
                }),
        );
        actions.extend(offers);
        if !actions.is_empty() {
            return Planned {
                actions,
                waiting: None,
            };
        }
        self.next_wave(room, room.min(open_to.len()), open_to.len() + away)
    }

    /// How many more offers the limits on speed allow now.
    fn pace(&self) -> usize {
        let plan = &self.rollout.definition.plan;
        let left = |limit: Option<u32>, used: &dyn Fn() -> usize| match limit {
            Some(limit) => usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .saturating_sub(used()),
            None => usize::MAX,
        };
        let all = || self.attempts.values();
        let hour_ago = self.moment.now.plus_seconds(-3600);
        left(plan.in_flight, &|| {
            all().filter(|a| a.is_in_flight()).count()
        })
        .min(left(plan.per_hour, &|| {
            all().filter(|a| a.offered_at > hour_ago).count()
        }))
        .min(MAX_OFFERS_PER_TURN)
    }

    /// Devices that failed and have tries left.
    fn retries(&self, most: usize) -> Vec<Action> {
        let retries = self.rollout.definition.retries;
        self.attempts
            .iter()
            .filter(|(_, attempt)| attempt.outcome == Outcome::Failed && attempt.number <= retries)
            .take(most)
            .map(|(device, attempt)| Action::Offer {
                device: device.clone(),
                wave: attempt.wave,
                number: attempt.number.saturating_add(1),
                previous: attempt.previous.clone(),
            })
            .collect()
    }

    /// Nothing can be offered now: is the wave over? `offerable` devices only wait for the limits
    /// on speed; `left` do not have the release, whether they are heard of or not.
    fn next_wave(&self, room: usize, offerable: usize, left: usize) -> Planned {
        let rollout = self.rollout;
        let definition = &rollout.definition;
        let now = self.moment.now;
        let next = rollout.wave.saturating_add(1);
        let open_next = Planned {
            actions: vec![Action::OpenWave { wave: next }],
            waiting: None,
        };
        let is_last = usize::try_from(next).is_ok_and(|next| next >= definition.plan.waves.len());
        if !is_last && rollout.released >= Some(next) {
            return open_next;
        }
        if offerable > 0 {
            return Planned::wait(Waiting::Rate);
        }
        let tally = self.tally(|attempt| attempt.wave == rollout.wave);
        let judged =
            tally.pending + tally.succeeded + tally.failed + tally.rolled_back + tally.silent;
        let deadline = rollout
            .wave_opened_at
            .plus_seconds(definition.deadline.into());
        if room > 0 && (judged == 0 || deadline >= now) && left > 0 {
            return Planned::wait(Waiting::Devices { room });
        }
        if !definition
            .gates
            .succeeded
            .is_reached_by(tally.succeeded, judged)
        {
            return Planned::wait(if tally.pending > 0 {
                Waiting::Outcomes {
                    pending: tally.pending,
                }
            } else {
                Waiting::Successes {
                    succeeded: tally.succeeded,
                    reached: judged,
                }
            });
        }
        if judged > 0 {
            let until = self.soaked();
            if until > now {
                return Planned::wait(Waiting::Soak { until });
            }
        }
        if !is_last {
            // A wave that reached nobody new asks nobody.
            return if definition.manual && judged > 0 {
                Planned::wait(Waiting::Trigger)
            } else {
                open_next
            };
        }
        if tally.pending > 0 {
            return Planned::wait(Waiting::Outcomes {
                pending: tally.pending,
            });
        }
        if left > 0 {
            return Planned::wait(Waiting::Devices { room });
        }
        Planned {
            actions: vec![Action::Finish],
            waiting: None,
        }
    }

    /// When the open wave has soaked: its time after the last outcome in it.
    fn soaked(&self) -> Timestamp {
        let open = usize::try_from(self.rollout.wave).unwrap_or(usize::MAX);
        let soak = self
            .rollout
            .definition
            .plan
            .waves
            .get(open)
            .map_or(0, |wave| wave.soak);
        self.attempts
            .values()
            .filter(|attempt| attempt.wave == self.rollout.wave)
            .filter_map(|attempt| attempt.ended_at)
            .fold(self.rollout.wave_opened_at, Timestamp::max)
            .plus_seconds(soak.into())
    }

    fn reverting(&self) -> Planned {
        let facts: BTreeMap<&str, &DeviceFacts<'_>> = self
            .fleet
            .iter()
            .map(|device| (device.id, device))
            .collect();
        let group = self.rollout.revert_group.as_ref();
        let meant = |device: &str| {
            let labels = facts.get(device).map(|facts| facts.labels);
            group.is_none_or(|group| labels.is_some_and(|labels| group.matches(labels)))
        };
        let mut actions = self.withdrawals();
        actions.extend(self.cancellations(meant));
        let mut pending = 0;
        let seen_within = i64::from(self.rollout.definition.seen_within);
        for (device, attempt) in self.attempts.iter().filter(|(device, _)| meant(device)) {
            let heard = facts.get(device.as_str()).map(|facts| facts.heard_at);
            let seen = heard.is_some_and(|at| at.plus_seconds(seen_within) >= self.moment.now);
            match (attempt.outcome, attempt.revert) {
                (Outcome::Succeeded | Outcome::Silent, None) if attempt.previous.is_some() => {
                    actions.push(Action::Revert {
                        device: device.clone(),
                    });
                }
                // Who is away finds the offer when it comes back; nobody waits for it.
                (Outcome::Pending, _) | (_, Some(Revert::Offered)) if seen => pending += 1,
                _ => {}
            }
        }
        if !actions.is_empty() {
            return Planned {
                actions,
                waiting: None,
            };
        }
        if pending > 0 {
            return Planned::wait(Waiting::Reverts { pending });
        }
        Planned {
            actions: vec![Action::FinishRevert],
            waiting: None,
        }
    }
}

impl Attempt {
    /// Whether the device is to be asked to stop.
    #[must_use]
    pub fn is_to_stop(&self) -> bool {
        self.is_in_flight() && self.cancel == Some(Cancel::Asked)
    }
}
