//! What must hold whenever the power goes, and once a device has settled.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use switchback_boot_env::contract::SlotBoot;
use switchback_types::SlotName;
use switchback_update_core::{AttemptKind, Outcome, Phase, RollbackReason, SlotContent, State};
use switchbackd::boot::BootControl;
use switchbackd::journal::{Journal, RecordFiles};

use crate::board::Bench;
use crate::bootloader::{self, Loader};
use crate::machine::{Cut, Machine, of};
use crate::repository::EPOCH_ONE;
use crate::scenario::Behaviour;
use crate::world::{STATE, Session, Snapshot, World};

/// Boots within which a whole good slot must be reached without any daemon's help.
const MOST_BOOTS: u32 = 24;

/// What always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// Some whole good slot is always bootable.
    SomeSlotBoots,
    /// The running slot is never written.
    RunningSlotUntouched,
    /// A slot holds what the journal says that it holds.
    SlotsAsNoted,
    /// Only a whole slot is ever started.
    OnlyWholeSlotsStart,
    /// A slot is called good only when its health was proven since it was written last.
    GoodWasHealthy,
    /// No image below the floor is installed, and the floor never falls.
    FloorHolds,
    /// Each action's outcome is told, as it is noted, and agrees with what runs.
    OutcomesTold,
    /// One copy of each record is always whole, and the other is not damaged either.
    RecordsStayWhole,
    /// No error ends the daemon while its disk works.
    DaemonLives,
    /// The journal and the loader mean the same slot.
    JournalMeansWhatRuns,
    /// While one daemon runs, a second one does nothing.
    OneDaemonActs,
    /// The device comes to rest, in the version that it should.
    Settles,
}

impl Law {
    /// It was broken.
    #[must_use]
    pub const fn broken(self, detail: String) -> Violation {
        Violation { law: self, detail }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SomeSlotBoots => "some whole good slot is always bootable",
            Self::RunningSlotUntouched => "the running slot is never written",
            Self::SlotsAsNoted => "slots hold what the journal says",
            Self::OnlyWholeSlotsStart => "only whole slots are started",
            Self::GoodWasHealthy => "good means that health was proven",
            Self::FloorHolds => "never below the floor",
            Self::OutcomesTold => "outcomes are told, and true",
            Self::RecordsStayWhole => "records stay whole",
            Self::DaemonLives => "the daemon lives",
            Self::JournalMeansWhatRuns => "the journal means what runs",
            Self::OneDaemonActs => "one daemon acts at a time",
            Self::Settles => "the device settles where it should",
        })
    }
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{law}: {detail}")]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How.
    pub detail: String,
}

/// What must hold on a machine that lost its power.
///
/// # Errors
/// The first law that is broken.
pub fn after_cut(bench: &Bench, machine: &Machine) -> Result<(), Violation> {
    bootable(bench, machine.clone())?;
    let state = durable_state(bench, machine)?;
    for slot in SlotName::ALL {
        slot_as_noted(bench, machine, &state, slot)?;
    }
    floor(machine, &state)
}

fn slot_as_noted(
    bench: &Bench,
    machine: &Machine,
    state: &State,
    slot: SlotName,
) -> Result<(), Violation> {
    let record = state.slot(slot);
    let whole = bench.repository.whole(machine.slot(slot).durable());
    // Nobody can know of a bit that flipped before the slot was read back.
    if let SlotContent::Holds { image } = &record.content
        && image.sequence > 0
        && !of(machine.truth.rotten, slot)
        && whole.map(|image| image.sha256) != Some(image.sha256)
    {
        let version = &image.version;
        let detail = format!("slot {slot} is noted to hold version {version}, and does not");
        return Err(Law::SlotsAsNoted.broken(detail));
    }
    if record.good && of(machine.truth.good, slot).is_none() {
        let detail = format!("slot {slot} is noted as good; its health was never proven");
        return Err(Law::GoodWasHealthy.broken(detail));
    }
    Ok(())
}

fn floor(machine: &Machine, state: &State) -> Result<(), Violation> {
    let committed = Outcome::Committed.to_string();
    let reached = machine.truth.told.iter().any(|told| {
        told.outcome == committed && told.version.parse().is_ok_and(|v: u8| v >= EPOCH_ONE)
    });
    if reached && state.floor == 0 {
        let detail = "a release of epoch 1 was committed, the floor is 0".to_owned();
        return Err(Law::FloorHolds.broken(detail));
    }
    match state.phase.attempt() {
        Some(attempt)
            if attempt.kind != AttemptKind::Return
                && attempt.image.security_epoch < state.floor =>
        {
            let version = &attempt.image.version;
            let detail = format!("version {version} is being installed, below the floor");
            Err(Law::FloorHolds.broken(detail))
        }
        _ => Ok(()),
    }
}

/// Whatever is on trial, and however often the power goes before the daemon runs, the loader
/// starts nothing but whole slots, and comes by a good one.
fn bootable(bench: &Bench, mut machine: Machine) -> Result<(), Violation> {
    let mut reached = false;
    for _ in 0..MOST_BOOTS {
        let run = bench.run_loader(&mut machine);
        let Some(start) = run.start() else {
            // A loader that found all tries used up refills them and resets.
            if run.acts.is_empty() {
                break;
            }
            continue;
        };
        let slot = start.slot;
        match bench.repository.whole(machine.slot(slot).durable()) {
            Some(image) => reached |= of(machine.truth.good, slot) == Some(image.version),
            None if of(machine.truth.rotten, slot) => {}
            None => {
                let detail = format!("slot {slot} would be started and is not whole");
                return Err(Law::OnlyWholeSlotsStart.broken(detail));
            }
        }
    }
    match reached {
        true => Ok(()),
        false => {
            let detail = format!("no whole good slot is started within {MOST_BOOTS} boots");
            Err(Law::SomeSlotBoots.broken(detail))
        }
    }
}

/// What must hold of the order of a life's steps: "committed" is noted only after the bootloader
/// was told, and both are durable.
///
/// # Errors
/// The first step that comes too early.
pub fn in_order(bench: &Bench, steps: &[Snapshot]) -> Result<(), Violation> {
    let mut noted = None;
    for step in steps {
        let mut machine = step.machine.clone();
        machine.cut(Cut::CacheLost);
        let committed = match durable_state(bench, &machine)?.phase {
            Phase::Reporting {
                attempt,
                outcome: Outcome::Committed,
            } => Some(attempt),
            _ => None,
        };
        if let Some(attempt) = &committed
            && noted.as_ref() != Some(attempt)
            && step.session.start.is_some()
            // A count of the loader's that is lost looks like a mark; one that is kept does not.
            && !(is_marked_good(bench, &machine, attempt.target)?
                && is_marked_good(bench, &step.machine, attempt.target)?)
        {
            let version = &attempt.image.version;
            let detail = format!("version {version} is noted as committed, and still on trial");
            return Err(Law::OutcomesTold.broken(detail));
        }
        noted = committed;
    }
    Ok(())
}

/// What the journal durably says.
fn durable_state(bench: &Bench, machine: &Machine) -> Result<State, Violation> {
    let files: Arc<dyn RecordFiles> = Arc::new(world(bench, machine));
    let opened = Journal::open(&files, Path::new(STATE))
        .map_err(|error| Law::RecordsStayWhole.broken(error.to_string()))?;
    match opened.warning {
        Some(warning) => Err(Law::RecordsStayWhole.broken(warning)),
        None => Ok(opened.state),
    }
}

fn world(bench: &Bench, machine: &Machine) -> World {
    World::new(machine.clone(), Session::default(), bench.scenario.faults)
}

/// Whether the boot environment calls a slot good: it has all its tries, or is not counted.
fn is_marked_good(bench: &Bench, machine: &Machine, slot: SlotName) -> Result<bool, Violation> {
    let unreadable = |detail: String| Law::DaemonLives.broken(detail);
    let settings = bench.settings().map_err(unreadable)?;
    let view = BootControl::over(&settings.boot, Box::new(world(bench, machine)))
        .and_then(|boot| boot.observe())
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(match view.slot(slot) {
        // U-Boot's own count is either on or off.
        SlotBoot::Ready { .. } if bench.scenario.loader == Loader::Bootcount => false,
        SlotBoot::Ready { left } => left >= bench.tries(),
        SlotBoot::Uncounted => true,
        SlotBoot::Exhausted | SlotBoot::Bad | SlotBoot::Missing => false,
    })
}

/// What must hold once a device has settled.
///
/// # Errors
/// The first law that is broken.
pub fn settled(
    bench: &Bench,
    machine: &Machine,
    state: &State,
    booted: SlotName,
) -> Result<(), Violation> {
    after_cut(bench, &{
        let mut machine = machine.clone();
        machine.cut(Cut::CacheLost);
        machine
    })?;
    let waits = !bench.scenario.automatic && matches!(state.phase, Phase::OnTrial { .. });
    if !matches!(state.phase, Phase::Idle) && !waits {
        let detail = format!("at rest while {}", state.phase.kind());
        return Err(Law::Settles.broken(detail));
    }
    if state.primary != Some(booted) {
        let detail = format!("its primary is {:?}, slot {booted} runs", state.primary);
        return Err(Law::JournalMeansWhatRuns.broken(detail));
    }
    let run = bootloader::run(
        bench.scenario.loader,
        &bench.copies(machine),
        bench.slot_states(machine),
    );
    if run.start().map(|start| start.slot) != Some(booted) && !waits {
        let detail = format!("the loader would not start slot {booted} again");
        return Err(Law::JournalMeansWhatRuns.broken(detail));
    }
    if !waits && !is_marked_good(bench, machine, booted)? {
        let detail = format!("the loader was not told that slot {booted} is good");
        return Err(Law::JournalMeansWhatRuns.broken(detail));
    }
    let other = state.slot(booted.other());
    if bench.scenario.verifies
        && of(machine.truth.rotten, booted.other())
        && matches!(other.content, SlotContent::Holds { .. })
    {
        let detail = "a slot that rotted is still thought to be whole".to_owned();
        return Err(Law::SlotsAsNoted.broken(detail));
    }
    let running = bench
        .repository
        .whole(&machine.slot(booted).live())
        .map(|image| image.version)
        .ok_or_else(|| {
            let detail = format!("slot {booted} runs and is not whole");
            Law::OnlyWholeSlotsStart.broken(detail)
        })?;
    told(bench, machine, state, running)?;
    right_version(bench, machine, state, running)
}

/// Every outcome was told as it is noted, and the last one agrees with what runs.
fn told(bench: &Bench, machine: &Machine, state: &State, running: u8) -> Result<(), Violation> {
    let law = Law::OutcomesTold;
    let told = |action: &str| machine.truth.told.iter().find(|told| told.action == action);
    let attempts = state.phase.attempt().into_iter().chain(&state.interrupted);
    let under_way: Vec<_> = attempts.map(|attempt| attempt.action.to_string()).collect();
    for action in &machine.truth.begun {
        if told(action).is_none() && !under_way.contains(action) {
            return Err(law.broken(format!("the outcome of {action} was never told")));
        }
    }
    for entry in &state.history {
        let outcome = entry.outcome.to_string();
        let action = entry.action.to_string();
        let Some(told) = told(&action) else {
            return Err(law.broken(format!("the outcome of {action} was never told")));
        };
        if told.outcome != outcome {
            let told = &told.outcome;
            let detail = format!("{action} was told as {told:?}, noted as {outcome:?}");
            return Err(law.broken(detail));
        }
        if !machine.truth.was_disturbed() {
            right_reason(bench, &entry.outcome, entry.version.as_str())?;
        }
    }
    let Some(last) = state.history.last() else {
        return Ok(());
    };
    let version = &last.version;
    let runs_it = version.to_string() == running.to_string();
    match (&last.outcome, runs_it) {
        (Outcome::Committed, false) => {
            let detail = format!("version {version} is called committed, version {running} runs");
            Err(law.broken(detail))
        }
        (Outcome::RolledBack(_), true) => {
            let detail = format!("version {running} is called rolled back, and runs");
            Err(law.broken(detail))
        }
        _ => Ok(()),
    }
}

/// Without any cut, what is said about a bad image is what is wrong with it.
fn right_reason(bench: &Bench, outcome: &Outcome, version: &str) -> Result<(), Violation> {
    let Outcome::RolledBack(reason) = outcome else {
        return Ok(());
    };
    let behaviour = bench.scenario.behaviour(version.parse().unwrap_or(0));
    let right = match (behaviour, reason) {
        (Behaviour::Good, _)
        | (Behaviour::Unhealthy, RollbackReason::Unhealthy { .. } | RollbackReason::Requested) => {
            true
        }
        (
            Behaviour::DiesEarly | Behaviour::HangsEarly,
            RollbackReason::TriesExhausted { daemon_ran, .. },
        ) => !daemon_ran,
        (
            Behaviour::HangsAtStart | Behaviour::RestartsAtStart | Behaviour::HangsLate,
            RollbackReason::TriesExhausted { daemon_ran, .. },
        ) => *daemon_ran,
        _ => false,
    };
    match right {
        true => Ok(()),
        false => {
            let detail = format!("version {version} is {behaviour:?}, and is said to be {reason}");
            Err(Law::OutcomesTold.broken(detail))
        }
    }
}

fn right_version(
    bench: &Bench,
    machine: &Machine,
    state: &State,
    running: u8,
) -> Result<(), Violation> {
    let scenario = &bench.scenario;
    let wanted = scenario.ends_in;
    // A cut may swallow what a person asked for.
    let swallowed = scenario.has_person() && machine.truth.was_disturbed();
    if wanted == 0 || wanted == running || swallowed {
        return Ok(());
    }
    // Where as many cuts came as there are tries, a good image may have lost all of them.
    let unlucky = state.failed.iter().any(|failed| {
        let version = failed.version.as_str().parse().unwrap_or(0);
        scenario.behaviour(version) == Behaviour::Good
    });
    if unlucky && machine.truth.cuts >= bench.tries() {
        return Ok(());
    }
    let failed: Vec<_> = state
        .failed
        .iter()
        .map(|failed| (failed.version.as_str(), failed.reason.to_string()))
        .collect();
    Err(Law::Settles.broken(format!(
        "version {running} runs, version {wanted} should (after {} cuts; failed: {failed:?})",
        machine.truth.cuts,
    )))
}
