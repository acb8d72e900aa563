//! Every step, every kind of cut, and again in what follows.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use crate::board::Bench;
use crate::invariants;
use crate::machine::{Cut, Machine, Place};
use crate::world::World;

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Cuts, one after another, in one story.
    pub depth: usize,
    /// Cuts by chance at each step with more than one thing pending.
    pub chances: u64,
    /// For the cuts by chance.
    pub seed: u64,
    /// When to stop, whatever is left.
    pub until: Option<Instant>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Cuts made.
    pub cuts: u64,
    /// Cuts that left the device in a state in which no other had left it; each was lived on from.
    pub lives: u64,
    /// Steps in the life without a cut.
    pub steps: u64,
}

/// Something that must not be, and how it came about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}\n  scenario: {scenario}\n  {}", path.join("\n  "))]
pub struct Failure {
    /// What must not be.
    pub what: String,
    /// In which story.
    pub scenario: String,
    /// The cuts that led to it.
    pub path: Vec<String>,
}

struct Explorer<'a> {
    bench: &'a Bench,
    limits: Limits,
    seen: HashSet<(u64, usize)>,
    count: Count,
    path: Vec<String>,
}

/// Plays a story once, then once more for each cut.
///
/// # Errors
/// The first thing that must not be.
pub fn explore(bench: &Bench, limits: Limits) -> Result<Count, Failure> {
    let mut explorer = Explorer {
        bench,
        limits,
        seen: HashSet::new(),
        count: Count::default(),
        path: Vec::new(),
    };
    let machine = bench.factory().map_err(|what| explorer.failure(what))?;
    explorer.live(machine, limits.depth)?;
    Ok(explorer.count)
}

impl Explorer<'_> {
    fn failure(&self, what: String) -> Failure {
        Failure {
            what,
            scenario: self.bench.scenario.name.clone(),
            path: self.path.clone(),
        }
    }

    fn live(&mut self, machine: Machine, depth: usize) -> Result<(), Failure> {
        let world = World::new(machine, 0, depth > 0);
        let state = self.bench.live(&world).map_err(|what| self.failure(what))?;
        let (end, booted, snapshots) = {
            let mut live = world.live();
            (
                live.machine.clone(),
                live.booted,
                live.snapshots.take().unwrap_or_default(),
            )
        };
        if let Some(booted) = booted {
            invariants::settled(self.bench, &end, &state, booted)
                .map_err(|what| self.failure(what))?;
        }
        if self.path.is_empty() {
            self.count.steps = u64::try_from(snapshots.len()).unwrap_or(0);
        }
        for (step, (what, machine)) in snapshots.into_iter().enumerate() {
            for cut in self.cuts(&machine) {
                if self
                    .limits
                    .until
                    .is_some_and(|until| Instant::now() > until)
                {
                    return Ok(());
                }
                self.count.cuts += 1;
                let mut left = machine.clone();
                left.cut(cut);
                left.truth.cuts += 1;
                let mut hasher = DefaultHasher::new();
                left.hash(&mut hasher);
                if !self.seen.insert((hasher.finish(), depth)) {
                    continue;
                }
                self.count.lives += 1;
                self.path.push(format!("step {step}: {what}; {cut:?}"));
                invariants::after_cut(self.bench, &left).map_err(|what| self.failure(what))?;
                self.live(left, depth - 1)?;
                self.path.pop();
            }
        }
        Ok(())
    }

    /// The ways in which the power can go right after a step.
    fn cuts(&self, machine: &Machine) -> Vec<Cut> {
        let pending = machine.pending();
        if pending == 0 {
            return vec![Cut::CacheLost];
        }
        let mut cuts = vec![Cut::CacheLost, Cut::CacheKept];
        if pending > 1 {
            cuts.push(Cut::OnlyLast);
            let seeds = 0..self.limits.chances;
            cuts.extend(seeds.map(|seed| Cut::Chance(self.limits.seed.wrapping_add(seed))));
        }
        let newest = machine.newest();
        for bytes in tears(machine.last, newest, self.bench.tears_in_sectors()) {
            cuts.extend([Cut::TornLost(bytes), Cut::TornKept(bytes)]);
        }
        cuts
    }
}

/// Where a write can tear.
fn tears(place: Place, bytes: usize, sectors: bool) -> Vec<usize> {
    let aligned = |at: usize| at / 512 * 512;
    let mut tears = match place {
        Place::None => Vec::new(),
        Place::Slot(_) => vec![512, aligned(bytes / 2), aligned(bytes.saturating_sub(1))],
        Place::Environment if sectors => vec![512],
        Place::Environment | Place::Records => {
            vec![1, bytes / 4, bytes / 2, bytes.saturating_sub(1)]
        }
    };
    tears.retain(|at| *at > 0 && *at < bytes);
    tears.dedup();
    tears
}
