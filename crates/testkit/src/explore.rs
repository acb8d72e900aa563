//! Every step, every kind of cut, and again in what follows.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::board::Bench;
use crate::bootloader::Loader;
use crate::invariants::{self, Violation};
use crate::machine::{Cut, Machine, Place};
use crate::storage::Chance;
use crate::world::{Session, Snapshot, World};

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Power cuts made.
    pub cuts: u64,
    /// Kills of the daemon alone.
    pub kills: u64,
    /// Cuts and kills that left the device in a state in which no other had left it; each was
    /// lived on from.
    pub lives: u64,
    /// Steps in the lives without a cut.
    pub steps: u64,
}

impl Count {
    /// Takes in another count.
    pub const fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.lives += other.lives;
        self.steps += other.steps;
    }
}

/// One cut in a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutAt {
    /// Right after this step of the life that the cut before left, counted from 0.
    pub step: usize,
    /// The step, in words.
    pub after: String,
    /// How.
    pub cut: Cut,
}

/// Something that must not be, and how it came about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{violation}\n  story: {scenario}{}", in_lines(cuts))]
pub struct Failure {
    /// The broken law.
    pub violation: Violation,
    /// In which story.
    pub scenario: String,
    /// On which board.
    pub board: (Loader, u8),
    /// The cuts that led to it.
    pub cuts: Vec<CutAt>,
}

fn in_lines(cuts: &[CutAt]) -> String {
    cuts.iter()
        .map(|at| format!("\n  step {}, {}: {:?}", at.step, at.after, at.cut))
        .collect()
}

/// One bench's stories.
#[derive(Debug)]
pub struct Explorer<'a> {
    bench: &'a Bench,
    limits: Limits,
    seen: HashSet<(u64, usize)>,
    count: Count,
    cuts: Vec<CutAt>,
}

/// Plays a story once, then once more for each cut.
///
/// # Errors
/// The first thing that must not be.
pub fn explore(bench: &Bench, limits: Limits) -> Result<Count, Failure> {
    let mut explorer = Explorer::new(bench, limits);
    let machine = explorer.factory()?;
    explorer.live(machine, Session::default(), limits.depth)?;
    Ok(explorer.count)
}

/// Plays a story with `limits.depth` cuts, each at a step and of a kind that `chance` picks.
///
/// # Errors
/// The first thing that must not be.
pub fn sample(bench: &Bench, limits: Limits, chance: &mut Chance) -> Result<Count, Failure> {
    let mut explorer = Explorer::new(bench, limits);
    let mut machine = explorer.factory()?;
    let mut session = Session::default();
    for _ in 0..limits.depth {
        let mut snapshots = explorer.play(machine, session, true)?;
        if snapshots.is_empty() {
            return Ok(explorer.count);
        }
        let step = chance.below(snapshots.len());
        let snapshot = snapshots.swap_remove(step);
        let mut cuts = explorer.ways(&snapshot);
        cuts.push(Cut::Chance(chance.draw()));
        let cut = cuts.swap_remove(chance.below(cuts.len()));
        explorer.count.lives += 1;
        let at = snapshot.at(step, cut);
        (machine, session) = explorer.cut(at, snapshot.cut(cut))?;
    }
    explorer.play(machine, session, false)?;
    Ok(explorer.count)
}

/// What a cut left: the machine, and the boot that goes on if there is one.
type Left = (Machine, Session);

impl Snapshot {
    fn at(&self, step: usize, cut: Cut) -> CutAt {
        CutAt {
            step,
            after: self.what.clone(),
            cut,
        }
    }

    fn cut(mut self, cut: Cut) -> Left {
        self.machine.cut(cut);
        let session = match cut {
            Cut::Killed => self.session,
            _ => Session::default(),
        };
        (self.machine, session)
    }
}

/// Lets a device live until it settles, and looks at what it settled in.
fn settle(bench: &Bench, world: &World) -> Result<(), Violation> {
    let state = bench.live(world)?;
    let (end, booted) = {
        let live = world.live();
        (live.machine.clone(), live.booted())
    };
    match booted {
        Some(booted) => invariants::settled(bench, &end, &state, booted),
        None => Ok(()),
    }
}

impl<'a> Explorer<'a> {
    fn new(bench: &'a Bench, limits: Limits) -> Self {
        Self {
            bench,
            limits,
            seen: HashSet::new(),
            count: Count::default(),
            cuts: Vec::new(),
        }
    }

    fn failure(&self, violation: Violation) -> Failure {
        Failure {
            violation,
            scenario: self.bench.scenario.name.clone(),
            board: (self.bench.scenario.loader, self.bench.scenario.tries),
            cuts: self.cuts.clone(),
        }
    }

    fn factory(&self) -> Result<Machine, Failure> {
        self.bench
            .factory()
            .map_err(|what| self.failure(invariants::Law::Settles.broken(what)))
    }

    /// Lets a device live until it settles; gives its steps.
    fn play(
        &mut self,
        machine: Machine,
        session: Session,
        record: bool,
    ) -> Result<Vec<Snapshot>, Failure> {
        let world = World::new(machine, session, self.bench.scenario.faults);
        let world = match record {
            true => world.recording(),
            false => world,
        };
        settle(self.bench, &world).map_err(|violation| self.failure(violation))?;
        let snapshots = world.live().snapshots.take().unwrap_or_default();
        invariants::in_order(self.bench, &snapshots)
            .map_err(|violation| self.failure(violation))?;
        if self.cuts.is_empty() {
            self.count.steps = u64::try_from(snapshots.len()).unwrap_or(0);
        }
        Ok(snapshots)
    }

    /// Goes on from what a cut left; gives it with the boot that goes on if only the daemon died.
    fn cut(&mut self, at: CutAt, left: Left) -> Result<Left, Failure> {
        let killed = at.cut == Cut::Killed;
        self.cuts.push(at);
        if killed {
            self.count.kills += 1;
            return Ok(left);
        }
        self.count.cuts += 1;
        let (mut machine, session) = left;
        machine.truth.cuts += 1;
        invariants::after_cut(self.bench, &machine).map_err(|violation| self.failure(violation))?;
        Ok((machine, session))
    }

    fn live(&mut self, machine: Machine, session: Session, depth: usize) -> Result<(), Failure> {
        let snapshots = self.play(machine, session, depth > 0)?;
        for (step, snapshot) in snapshots.into_iter().enumerate() {
            for cut in self.ways(&snapshot) {
                let late = |until| Instant::now() > until;
                if self.limits.until.is_some_and(late) {
                    return Ok(());
                }
                let left = snapshot.clone().cut(cut);
                if !self.is_new(&left, cut, depth) {
                    continue;
                }
                self.count.lives += 1;
                let (machine, session) = self.cut(snapshot.at(step, cut), left)?;
                self.live(machine, session, depth - 1)?;
                self.cuts.pop();
            }
        }
        Ok(())
    }

    /// Whether no other cut left the device as this one does. One that did counts, too.
    fn is_new(&mut self, left: &Left, cut: Cut, depth: usize) -> bool {
        let mut hasher = DefaultHasher::new();
        left.hash(&mut hasher);
        let new = self.seen.insert((hasher.finish(), depth));
        if !new && cut != Cut::Killed {
            self.count.cuts += 1;
        }
        new
    }

    /// The ways in which things can go wrong right after a step.
    fn ways(&self, snapshot: &Snapshot) -> Vec<Cut> {
        let machine = &snapshot.machine;
        let pending = machine.pending();
        let mut cuts = vec![Cut::CacheLost];
        if snapshot.session.start.is_some() {
            cuts.push(Cut::Killed);
        }
        if pending == 0 {
            return cuts;
        }
        cuts.push(Cut::CacheKept);
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

/// Plays a story with the cuts given, keeping every step.
///
/// # Errors
/// A cut after a step that is not there: the log belongs to another version of the program.
pub fn replay(bench: &Bench, cuts: &[CutAt]) -> Result<Replayed, String> {
    let limits = Limits {
        depth: 0,
        chances: 0,
        seed: 0,
        until: None,
    };
    let mut explorer = Explorer::new(bench, limits);
    let mut lives = Vec::new();
    let (mut machine, mut session) = (bench.factory()?, Session::default());
    for at in cuts {
        let world = World::new(machine, session, bench.scenario.faults).recording();
        // What breaks a law in this life does so after the cut.
        let _ = bench.live(&world);
        let mut steps = world.live().snapshots.take().unwrap_or_default();
        steps.truncate(at.step + 1);
        let last = steps
            .last()
            .cloned()
            .filter(|last| last.what == at.after)
            .ok_or_else(|| {
                format!(
                    "step {} is not \"{}\": the log was written by another version",
                    at.step, at.after
                )
            })?;
        lives.push((steps, Some(at.cut)));
        match explorer.cut(at.clone(), last.cut(at.cut)) {
            Ok(left) => (machine, session) = left,
            Err(failure) => {
                return Ok(Replayed {
                    lives,
                    violation: Some(failure.violation),
                });
            }
        }
    }
    let world = World::new(machine, session, bench.scenario.faults).recording();
    let violation = settle(bench, &world).err();
    let steps = world.live().snapshots.take().unwrap_or_default();
    lives.push((steps, None));
    Ok(Replayed { lives, violation })
}

/// A story, played again.
#[derive(Debug)]
pub struct Replayed {
    /// The steps of each life, and the cut that ended it.
    pub lives: Vec<(Vec<Snapshot>, Option<Cut>)>,
    /// The broken law, if one was.
    pub violation: Option<Violation>,
}
