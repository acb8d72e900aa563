//! One device: the real state machine, and what stands for the machine around it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{
    AttemptKind, BootId, Effect, Event, Facts, HealthPurpose, InstallFailure, Outcome, Phase,
    SlotContent, SlotRecord, State, step,
};
use switchbackd::fleet::{About, Report, Secret, Turn, Wanted, ended};

use super::loader::Loader;
use super::seen::Seen;
use super::{Clocks, FIRST, Fate, NEXT, Pace, REVISIONS, Whom, image};
use crate::storage::Chance;

/// Tries of a trial.
const TRIES: u8 = 3;
/// The device's seconds: an install, reading a slot back, a restart, a boot that comes to nothing and its
/// watchdog, health checks.
const INSTALL: u32 = 90;
const VERIFY: u32 = 20;
const RESTART: u32 = 30;
const DEAD_BOOT: u32 = 60;
const HEALTH: u32 = 30;

/// What all devices of a thread share at one moment.
pub(super) struct Around<'a> {
    /// Milliseconds since the crowd began.
    pub(super) now: u64,
    /// Seconds since 1970, rightly.
    pub(super) wall: i64,
    pub(super) pace: Pace,
    pub(super) fate: (Fate, Whom),
    pub(super) clocks: Clocks,
    pub(super) chance: &'a RefCell<Chance>,
    pub(super) seen: &'a Seen,
}

/// What is known of the health of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Unknown,
    Proven,
    Bad,
}

/// One device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) number: u32,
    /// What is durable.
    pub(super) state: State,
    loader: Loader,
    pub(super) booted: SlotName,
    boots: u32,
    /// Its application was well once and is not any more.
    worn: bool,
    /// Nobody will ever hear of it.
    pub(super) gone: bool,
    // When what is under way ends.
    boot: Option<u64>,
    work: Option<u64>,
    checks: Option<(u64, HealthPurpose)>,
    wears_out: Option<u64>,
    cancelled: bool,
    // What the daemon keeps in memory.
    pub(super) health: Health,
    pub(super) next_poll: u64,
    pub(super) failed_polls: u32,
    /// Milliseconds that the server wants between polls.
    pub(super) sleep: u64,
    pub(super) notes: Vec<Report>,
    pub(super) said: Option<u64>,
    pub(super) wanted: Option<Wanted>,
    pub(super) answered: Vec<(String, About, String)>,
    pub(super) answers: BTreeMap<String, String>,
    // What outlasts a restart beside the state.
    pub(super) reports: Vec<Report>,
    pub(super) token: Option<Secret>,
    /// Which of the server's addresses it uses.
    pub(super) way: u32,
    // For the count.
    pub(super) answered_once: bool,
    pub(super) described: bool,
    took: u8,
    back: bool,
}

fn holds(version: u8) -> SlotRecord {
    SlotRecord {
        content: SlotContent::Holds {
            image: image(version),
        },
        good: true,
        checked: None,
    }
}

impl Device {
    /// As it runs the first release, healthy, in slot a.
    pub(super) fn new(number: u32, token: Option<Secret>, first_poll: u64) -> Self {
        Self {
            number,
            state: State {
                a: holds(FIRST),
                primary: Some(SlotName::A),
                ..State::default()
            },
            loader: Loader::new(TRIES),
            booted: SlotName::A,
            boots: 0,
            worn: false,
            gone: false,
            boot: None,
            work: None,
            checks: None,
            wears_out: None,
            cancelled: false,
            health: Health::Proven,
            next_poll: first_poll,
            failed_polls: 0,
            sleep: 1000,
            notes: Vec::new(),
            said: None,
            wanted: None,
            answered: Vec::new(),
            answers: BTreeMap::new(),
            reports: Vec::new(),
            token,
            way: number,
            answered_once: false,
            described: false,
            took: 0,
            back: false,
        }
    }

    /// When it does something next; nothing when it never does.
    pub(super) fn due(&self) -> Option<u64> {
        if self.gone {
            return None;
        }
        if self.boot.is_some() {
            return self.boot;
        }
        let mut due = self.next_poll;
        for other in [self.work, self.wears_out, self.checks.map(|(at, _)| at)] {
            due = due.min(other.unwrap_or(u64::MAX));
        }
        Some(due)
    }

    /// Does what is due; gives a turn when the server is to be asked.
    pub(super) fn act(&mut self, around: &Around<'_>) -> Option<Turn> {
        let now = around.now;
        while !self.gone {
            if let Some(at) = self.boot {
                if at > now {
                    return None;
                }
                self.boot = None;
                self.start(around);
            } else if self.wears_out.is_some_and(|at| at <= now) {
                // The power goes, or the watchdog bites: no orderly end.
                self.wears_out = None;
                self.worn = true;
                if matches!(self.fate(around), Fate::BricksAfter(_)) {
                    around.seen.bricked.one();
                    self.gone = true;
                } else {
                    self.go_down(around, RESTART);
                }
            } else if self.work.is_some_and(|at| at <= now) {
                self.work = None;
                let event = match std::mem::take(&mut self.cancelled) {
                    true => Event::InstallFailed(InstallFailure::Cancelled),
                    false => Event::SlotVerified,
                };
                self.event(event, around);
            } else if let Some((_, purpose)) = self.checks.filter(|(at, _)| *at <= now) {
                self.checks = None;
                self.judge(purpose, around);
            } else {
                break;
            }
        }
        (!self.gone && self.next_poll <= now).then(|| self.turn())
    }

    fn version(&self, slot: SlotName) -> u8 {
        let image = self.state.slot(slot).verified_image();
        image.map_or(0, |image| u8::try_from(image.sequence).unwrap_or(0))
    }

    /// What the running release does to this device.
    fn fate(&self, around: &Around<'_>) -> Fate {
        let (fate, whom) = around.fate;
        let hit = match whom {
            Whom::All => true,
            Whom::Revision(revision) => self.number % REVISIONS == revision,
        };
        match self.version(self.booted) {
            NEXT if hit => fate,
            _ => Fate::Well,
        }
    }

    fn go_down(&mut self, around: &Around<'_>, seconds: u32) {
        self.boot = Some(around.now + around.pace.of(seconds));
        self.work = None;
        self.checks = None;
        self.wears_out = None;
    }

    /// The loader, the kernel, the daemon.
    fn start(&mut self, around: &Around<'_>) {
        let seen = around.seen;
        self.boots = self.boots.saturating_add(1);
        let Some(slot) = self.loader.boot() else {
            seen.stuck.one();
            self.gone = true;
            return;
        };
        let before = std::mem::replace(&mut self.booted, slot);
        let is_next = self.version(slot) == NEXT;
        if is_next {
            seen.starts.one();
        }
        let fate = self.fate(around);
        match fate {
            Fate::Bricks => {
                seen.bricked.one();
                self.gone = true;
                return;
            }
            Fate::DiesAtBoot => return self.go_down(around, DEAD_BOOT),
            Fate::FailsAfter(_) if self.worn => return self.go_down(around, DEAD_BOOT),
            Fate::FailsAfter(seconds) | Fate::BricksAfter(seconds) => {
                self.wears_out = Some(around.now + around.pace.of(seconds));
            }
            Fate::BusyProcessor if before != slot => seen.busy.one(),
            Fate::BusyProcessor | Fate::Well | Fate::Unhealthy => {}
        }
        self.health = Health::Unknown;
        self.next_poll = around.now;
        self.failed_polls = 0;
        self.notes.clear();
        self.said = None;
        self.wanted = None;
        self.answered.clear();
        self.answers.clear();
        self.cancelled = false;
        self.event(Event::Started(self.loader.observe()), around);
        let back = !is_next && self.took > 0 && !self.back;
        if back
            && !matches!(&self.state.phase, Phase::OnTrial { attempt, .. } if attempt.target == slot)
        {
            self.back = true;
            seen.went_back.one();
        }
    }

    fn judge(&mut self, purpose: HealthPurpose, around: &Around<'_>) {
        let bad = self.fate(around) == Fate::Unhealthy;
        self.health = if bad { Health::Bad } else { Health::Proven };
        let event = match bad {
            true => Event::HealthFailed {
                detail: "the application does not answer".into(),
            },
            false => Event::HealthPassed,
        };
        let committing = purpose == HealthPurpose::Trial && !bad;
        self.event(event, around);
        if committing && self.version(self.booted) == NEXT {
            around.seen.committed.one();
            let last = &around.seen.committed_last;
            last.fetch_max(around.now, std::sync::atomic::Ordering::Relaxed);
        } else if committing && self.took > 0 && !self.back {
            self.back = true;
            around.seen.reverted.one();
        }
    }

    pub(super) fn now(&self, around: &Around<'_>) -> Timestamp {
        Timestamp::from_unix(around.wall + around.clocks.skew(self.number))
    }

    /// Decide, make durable, act: as the daemon's driver does.
    pub(super) fn event(&mut self, event: Event, around: &Around<'_>) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let facts = Facts {
                now: self.now(around),
                booted: self.booted,
                boot_id: BootId::new(&self.boots.to_string()),
                tries: TRIES,
                restart_automatically: true,
            };
            let step = step(&self.state, &event, &facts);
            let begins =
                matches!(event, Event::Offered { .. }) && step.next.phase != self.state.phase;
            self.state = step.next;
            if begins {
                self.note_begun(around);
            }
            for effect in step.effects {
                queue.extend(self.run(effect, around));
            }
        }
    }

    fn note_begun(&mut self, around: &Around<'_>) {
        let attempt = self.state.phase.attempt();
        if attempt.is_none_or(|attempt| attempt.image.sequence != u64::from(NEXT)) {
            return;
        }
        let seen = around.seen;
        match self.took {
            0 => seen.took.one(),
            _ => seen.twice.one(),
        }
        self.took = self.took.saturating_add(1);
        let last = &seen.took_last;
        last.fetch_max(around.now, std::sync::atomic::Ordering::Relaxed);
    }

    fn run(&mut self, effect: Effect, around: &Around<'_>) -> Option<Event> {
        let after = |seconds| around.now + around.pace.of(seconds);
        match effect {
            // Slots do not rot here, what they hold is known, and there is nobody to tell but the server.
            Effect::Emit(_) | Effect::Identify(_) | Effect::CheckSlot { .. } => {}
            Effect::InvalidateSlot(slot) => self.loader.never(slot),
            Effect::WriteSlot(_) => self.work = Some(after(INSTALL)),
            Effect::VerifySlot(_) => self.work = Some(after(VERIFY)),
            Effect::CancelWork => {
                self.cancelled = self.work.is_some();
                self.work = self.work.map(|_| around.now);
            }
            Effect::Arm { slot, tries } => {
                self.loader.arm(slot, tries);
                return Some(Event::Armed);
            }
            Effect::MarkGood(slot) => {
                if self.health == Health::Proven {
                    self.loader.good(slot, TRIES);
                    return Some(Event::MarkedGood);
                }
            }
            Effect::FallBack { bad, to } => {
                self.loader.never(bad);
                self.loader.arm(to, TRIES);
                return Some(Event::FellBack);
            }
            Effect::GiveBackTry(slot) => self.loader.give_back(slot),
            Effect::RunHealthChecks(purpose) => self.checks = Some((after(HEALTH), purpose)),
            Effect::Restart(_) => {
                self.go_down(around, RESTART);
                return Some(Event::ShuttingDown);
            }
            Effect::Report { attempt, outcome } => {
                self.keep(&attempt, &outcome);
                self.next_poll = around.now;
                return Some(Event::Reported);
            }
            Effect::Poll => self.next_poll = around.now,
        }
        None
    }

    /// Keeps how an update ended until the server has heard it.
    fn keep(&mut self, attempt: &switchback_update_core::Attempt, outcome: &Outcome) {
        debug_assert!(
            attempt.kind != AttemptKind::Repair,
            "nothing is damaged here"
        );
        if let Some(report) = ended(attempt, outcome, 0)
            && self.reports.last() != Some(&report)
        {
            self.reports.push(report);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    pub(super) fn is_on_trial(&self) -> bool {
        matches!(&self.state.phase, Phase::OnTrial { attempt, .. } if attempt.target == self.booted)
    }
}
