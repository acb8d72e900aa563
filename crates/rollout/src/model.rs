//! A fleet of model devices that poll, update, fail and fall silent, under the real planner: for
//! tests and for `cargo xtask fleet`. It checks at every step that no more devices are reached
//! than the wave allows and that the planner repeats itself, and panics when not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a model for tests, which fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Action, Attempt, Attempts, Definition, DeviceFacts, Filter, Moment, Outcome, Phase, Report,
    Revert, Rollout, Tally, Target, Waiting, plan, report,
};
use switchback_types::Timestamp;

/// What a device does with the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Runs it after this many seconds.
    Well(i64),
    /// Goes back after this many seconds.
    RollsBack(i64),
    /// Gives up after this many seconds.
    Fails(i64),
    /// Is never heard of again, once it took the offer.
    Dies,
    /// Runs it, and goes back this many seconds later.
    SlowBurn(i64),
    /// Runs it, and is never heard of again after this many seconds.
    DiesLater(i64),
    /// Polls and never takes an offer.
    Shy,
}

#[derive(Debug, Clone)]
pub struct Device {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub runs: String,
    pub heard_at: Timestamp,
    pub fate: Fate,
    /// Polls every so many seconds, from this offset; not at all when 0.
    pub every: i64,
    pub offset: i64,
    taken_at: Option<Timestamp>,
    well_since: Option<Timestamp>,
    dead: bool,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub rollout: Rollout,
    pub attempts: Attempts,
    pub devices: Vec<Device>,
    pub now: Timestamp,
    pub waiting: Option<Waiting>,
    /// All that was ever done, with its time.
    pub log: Vec<(Timestamp, Action)>,
}

pub const START: i64 = 1_700_000_000;
/// Seconds of one turn.
pub const STEP: i64 = 60;

pub fn definition() -> Definition {
    let target = Target {
        release: "gateway/2".into(),
        identity: "new".into(),
    };
    Definition::new("spring", target, Filter::ALL)
}

pub fn device(number: usize, fate: Fate) -> Device {
    Device {
        id: format!("device-{number}"),
        labels: BTreeMap::from([("hw".to_owned(), format!("rev{}", number % 3))]),
        runs: "old".into(),
        heard_at: Timestamp::EPOCH,
        fate,
        every: 300,
        offset: i64::try_from(number).unwrap() * 37 % 300,
        taken_at: None,
        well_since: None,
        dead: false,
    }
}

pub fn fleet(count: usize, fate: Fate) -> Vec<Device> {
    (0..count).map(|number| device(number, fate)).collect()
}

impl Model {
    pub fn new(definition: Definition, devices: Vec<Device>) -> Self {
        let now = Timestamp::from_unix(START);
        let mut devices = devices;
        for device in &mut devices {
            if device.every > 0 {
                device.heard_at = now;
            }
        }
        Self {
            rollout: Rollout::new(definition, "salt", "ann", now).unwrap(),
            attempts: Attempts::new(),
            devices,
            now,
            waiting: None,
            log: Vec::new(),
        }
    }

    pub fn exposed(&self) -> BTreeSet<String> {
        let exposed = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.is_exposed());
        exposed.map(|(device, _)| device.clone()).collect()
    }

    pub fn tally(&self) -> Tally {
        Tally::of(self.attempts.values(), None)
    }

    /// One turn: time passes, devices speak, the planner acts until it waits.
    pub fn turn(&mut self) {
        self.now = self.now.plus_seconds(STEP);
        for index in 0..self.devices.len() {
            self.poll(index);
        }
        self.act();
    }

    /// Turns until `done`, at most so many hours.
    pub fn run_until(&mut self, hours: i64, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..hours * 3600 / STEP {
            if done(self) {
                return true;
            }
            self.turn();
        }
        done(self)
    }

    /// The fleet as the planner sees it.
    #[must_use]
    pub fn facts(&self) -> Vec<DeviceFacts<'_>> {
        let facts = self.devices.iter().map(|device| DeviceFacts {
            id: &device.id,
            labels: &device.labels,
            identity: Some(&device.runs),
            heard_at: device.heard_at,
            busy: false,
        });
        facts.collect()
    }

    pub fn act(&mut self) {
        // Silent devices, a broken gate, offers taken back: a few turns follow at once.
        for _ in 0..100 {
            let facts = self.facts();
            let moment = Moment {
                now: self.now,
                listening_since: Timestamp::from_unix(START),
            };
            let planned = plan(&self.rollout, &self.attempts, &facts, moment);
            let again = plan(&self.rollout, &self.attempts, &facts, moment);
            assert_eq!(planned, again, "the same arguments, another answer");
            self.waiting = planned.waiting;
            if planned.actions.is_empty() {
                return;
            }
            for action in planned.actions {
                self.check_before(&action);
                self.rollout.apply(&mut self.attempts, &action, self.now);
                self.log.push((self.now, action));
            }
            self.check_reach();
        }
        panic!("the planner does not come to rest: {:?}", self.log.last());
    }

    fn check_before(&self, action: &Action) {
        let phase = &self.rollout.phase;
        match action {
            Action::Offer { .. } | Action::OpenWave { .. } => {
                assert_eq!(*phase, Phase::Running, "{action:?}");
            }
            Action::Start => assert_eq!(*phase, Phase::Ready),
            _ => {}
        }
    }

    /// Never more than the wave allows.
    fn check_reach(&self) {
        let group = &self.rollout.definition.group;
        let left = self
            .devices
            .iter()
            .filter(|device| group.matches(&device.labels) && device.runs != "new")
            .filter(|device| {
                !self
                    .attempts
                    .get(&device.id)
                    .is_some_and(Attempt::is_exposed)
            })
            .count();
        let exposed = self.exposed();
        let wave = usize::try_from(self.rollout.wave).unwrap();
        let limit = self
            .rollout
            .definition
            .plan
            .limit(wave, exposed.len() + left);
        assert!(
            exposed.len() <= limit,
            "{} > {limit} in wave {wave}",
            exposed.len()
        );
        for device in &self.devices {
            assert!(group.matches(&device.labels) || !exposed.contains(&device.id));
        }
    }

    fn say(&mut self, index: usize, what: Report<'_>) {
        let device = &self.devices[index];
        if let Some(attempt) = self.attempts.get_mut(&device.id) {
            report(attempt, "new", what, self.now);
        }
    }

    fn poll(&mut self, index: usize) {
        let now = self.now;
        let device = &mut self.devices[index];
        if device.every == 0 || device.dead || (now.unix() + device.offset) % device.every >= STEP {
            return;
        }
        device.heard_at = now;
        let passed = |since: Option<Timestamp>| since.map(|at| now.unix() - at.unix());
        let Some(attempt) = self.attempts.get(&device.id).cloned() else {
            return;
        };
        if attempt.revert == Some(Revert::Offered) {
            device.runs = attempt.previous.unwrap();
            self.say(index, Report::Runs("old"));
            return;
        }
        if attempt.is_to_stop() {
            device.taken_at = None;
            self.say(index, Report::Cancelled);
            return;
        }
        if attempt.is_in_flight() && device.taken_at.is_none() && device.fate != Fate::Shy {
            device.taken_at = Some(now);
            self.say(index, Report::Taken);
            return;
        }
        let at_it = passed(device.taken_at);
        match (device.fate, at_it, passed(device.well_since)) {
            (Fate::Dies, Some(_), _) => device.dead = true,
            (Fate::DiesLater(after), _, Some(well)) if well >= after => device.dead = true,
            (Fate::SlowBurn(after), _, Some(well)) if well >= after => {
                device.runs = "old".into();
                self.say(index, Report::Runs("old"));
            }
            (Fate::RollsBack(after), Some(at_it), _) if at_it >= after => {
                self.say(index, Report::RolledBack);
            }
            (Fate::Fails(after), Some(at_it), _) if at_it >= after => {
                device.taken_at = None;
                self.say(index, Report::Failed);
            }
            (Fate::Well(after), Some(at_it), None) if at_it >= after => {
                device.runs = "new".into();
                device.well_since = Some(now);
                self.say(index, Report::Runs("new"));
            }
            (Fate::SlowBurn(_) | Fate::DiesLater(_), Some(_), None) => {
                device.runs = "new".into();
                device.well_since = Some(now);
                self.say(index, Report::Runs("new"));
            }
            _ => {}
        }
    }

    pub fn outcomes(&self, outcome: Outcome) -> usize {
        self.attempts
            .values()
            .filter(|attempt| attempt.outcome == outcome)
            .count()
    }
}
