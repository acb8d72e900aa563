//! What must hold whenever the power goes, and once a device has settled.

use std::path::Path;
use std::sync::Arc;

use switchback_types::SlotName;
use switchback_update_core::{Outcome, Phase, State};
use switchbackd::journal::{Journal, RecordFiles};

use crate::board::Bench;
use crate::bootloader::{self, Act};
use crate::machine::{Cut, Machine};
use crate::scenario::{Behaviour, Deed};
use crate::world::{STATE, World};

/// Boots within which a whole good slot must be reached without any daemon's help.
const MOST_BOOTS: u32 = 24;

fn version_in(truth: [Option<u8>; 2], slot: SlotName) -> Option<u8> {
    let [a, b] = truth;
    match slot {
        SlotName::A => a,
        SlotName::B => b,
    }
}

/// What must hold on a machine that lost its power.
///
/// # Errors
/// The first invariant that does not hold.
pub fn after_cut(bench: &Bench, machine: &Machine) -> Result<(), String> {
    bootable(bench, machine.clone())?;
    let files: Arc<dyn RecordFiles> = Arc::new(World::new(machine.clone(), 0, false));
    let opened = Journal::open(&files, Path::new(STATE)).map_err(|error| error.to_string())?;
    if let Some(warning) = opened.warning {
        return Err(format!("records: {warning}"));
    }
    for slot in SlotName::ALL {
        let record = opened.state.slot(slot);
        let whole = bench.repository.whole(machine.slot(slot).durable());
        let noted = record.image().filter(|image| image.sequence > 0);
        if let Some(noted) = noted
            && whole.map(|image| image.sha256) != Some(noted.sha256)
        {
            return Err(format!(
                "I3: the journal says that slot {slot} holds version {}; it does not",
                noted.version
            ));
        }
        if record.good && version_in(machine.truth.good, slot).is_none() {
            return Err(format!(
                "I5: the journal calls slot {slot} good; its health was never proven"
            ));
        }
    }
    Ok(())
}

/// I1 and I4: whatever is on trial, the loader reaches a whole good slot by itself.
fn bootable(bench: &Bench, mut machine: Machine) -> Result<(), String> {
    for _ in 0..MOST_BOOTS {
        let run = bootloader::run(
            bench.scenario.loader,
            &bench.copies(&machine),
            bench.slot_states(&machine),
        );
        for act in &run.acts {
            if let Act::Save { copy, bytes } = act {
                let (path, offset) = bench.place_of(&machine, *copy);
                if let Some(disk) = machine.environment.get_mut(&path) {
                    disk.write(offset, bytes);
                    disk.sync();
                }
            }
        }
        let Some(start) = run.start() else {
            return Err("I1: the loader starts nothing".into());
        };
        let slot = start.slot;
        let Some(image) = bench.repository.whole(machine.slot(slot).durable()) else {
            return Err(format!("I4: slot {slot} would be started and is not whole"));
        };
        if version_in(machine.truth.good, slot) == Some(image.version) {
            return Ok(());
        }
    }
    Err(format!(
        "I1: no whole good slot is started within {MOST_BOOTS} boots"
    ))
}

/// What must hold once a device has settled.
///
/// # Errors
/// The first thing that does not hold.
pub fn settled(
    bench: &Bench,
    machine: &Machine,
    state: &State,
    booted: SlotName,
) -> Result<(), String> {
    after_cut(bench, &{
        let mut machine = machine.clone();
        machine.cut(Cut::CacheLost);
        machine
    })?;
    if !matches!(state.phase, Phase::Idle) {
        return Err(format!("liveness: settled while {}", state.phase.kind()));
    }
    if state.primary != Some(booted) {
        return Err(format!(
            "the journal's primary is {:?}, slot {booted} runs",
            state.primary
        ));
    }
    let run = bootloader::run(
        bench.scenario.loader,
        &bench.copies(machine),
        bench.slot_states(machine),
    );
    if run.start().map(|start| start.slot) != Some(booted) {
        return Err(format!("the loader would not start slot {booted} again"));
    }
    let running = bench
        .repository
        .whole(&machine.slot(booted).live())
        .map(|image| image.version)
        .ok_or_else(|| format!("slot {booted} runs and is not whole"))?;
    told(machine, state, running)?;
    right_version(bench, machine, state, running)
}

/// I8: every outcome was told as it is noted, and the last one agrees with what runs.
fn told(machine: &Machine, state: &State, running: u8) -> Result<(), String> {
    for entry in &state.history {
        let outcome = entry.outcome.to_string();
        let action = entry.action.to_string();
        // Repeated failures are one line in the history, under the first action's name.
        let told = |told: &&(String, String)| told.0 == action;
        let Some((_, told)) = machine.truth.told.iter().find(told) else {
            return Err(format!("I8: the outcome of {action} was never told"));
        };
        if *told != outcome {
            return Err(format!(
                "I8: {action} was told as {told:?}, noted {outcome:?}"
            ));
        }
    }
    let Some(last) = state.history.last() else {
        return Ok(());
    };
    let runs_it = last.version.to_string() == running.to_string();
    match (&last.outcome, runs_it) {
        (Outcome::Committed, false) => Err(format!(
            "I8: version {} is called committed, version {running} runs",
            last.version
        )),
        (Outcome::RolledBack(_), true) => Err(format!(
            "I8: version {running} is called rolled back, and runs"
        )),
        _ => Ok(()),
    }
}

fn right_version(
    bench: &Bench,
    machine: &Machine,
    state: &State,
    running: u8,
) -> Result<(), String> {
    let scenario = &bench.scenario;
    let wanted = scenario.ends_in;
    let by_person = scenario
        .deeds
        .iter()
        .any(|(_, deed)| *deed != Deed::Publish);
    // A power cut may swallow what a person asked for.
    if wanted == 0 || wanted == running || (by_person && machine.truth.cuts > 0) {
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
    Err(format!(
        "liveness: version {running} runs, version {wanted} should (after {} cuts; failed: {:?})",
        machine.truth.cuts,
        state
            .failed
            .iter()
            .map(|failed| (failed.version.as_str(), failed.reason.to_string()))
            .collect::<Vec<_>>()
    ))
}
