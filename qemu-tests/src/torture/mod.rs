//! Power cuts on real bootloaders, as many as time allows, each judged and counted.
//!
//! A round begins with a disk that was kept when the device stood at a certain place of an update,
//! cuts the power at points drawn from a seed, switches on again after each, lets the device
//! settle, and judges what it ended with. A drive under it keeps or loses single sectors of what was
//! not flushed, in any order ([`Survive`](crate::nbd::Survive)), and tears a write between two of
//! them. Switchback has to bear that wherever it writes itself: slots, boot environment, journal
//! files. The file system under its journal has to bear it, too, which ext4 does only without
//! `metadata_csum` (`DATA_FEATURES` of [`disk`](crate::disk) says why).
//!
//! After each cut the environment must be one that was saved as a whole, the old or the new one.
//!
//! All is drawn from one seed, so that a round can be repeated; how far a guest had come when the
//! clock cut it may still differ from run to run.

mod cycles;
mod device;
mod judge;
mod ledger;
mod plan;
mod prepare;
mod round;
mod tally;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::board::Board;
use crate::cache::Cache;
use crate::demo::BoardKind;
use crate::error::{Error, IoContext as _, Result};
use crate::product::{Guest, Product, workspace};
use crate::rootfs::{Ingredients, TinyRootfs};
use judge::Verdict;
pub use plan::Class;
use plan::{Plan, Start};
use prepare::Prepared;
pub use tally::Tally;

/// Machines at once: emulation takes a processor for each.
const MACHINES: usize = 2;
/// After so many failed rounds of a board more of them tell nothing new.
const ENOUGH_FAILURES: usize = 10;

/// When a board is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// No round begins after this time.
    Time(Duration),
    /// When each class was played once, on one of the boards, which take turns.
    OnceEach,
    /// One round, this one.
    Only(u64),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The boards, at the same time.
    pub boards: Vec<BoardKind>,
    /// When to stop; counted from when the first disk is ready.
    pub until: Until,
    /// Where all draws come from.
    pub seed: u64,
    /// Make only the first cut of each round.
    pub first_cut_only: bool,
    /// Leave the disks and logs of rounds that went well, too.
    pub keep: bool,
    /// Name of the reports, before the board's name.
    pub report: &'static str,
    /// Where disks, logs and reports go instead of `target`: a long run there meets no other.
    pub directory: Option<PathBuf>,
}

/// Lets a device of each board update `count` times, with a power cut after each.
///
/// # Errors
/// An update goes wrong or leaves something behind.
pub fn run_cycles(options: &Options, count: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<()> {
    with_rigs(options, tell, &|rig, _| {
        cycles::run(
            rig.board,
            rig.product,
            rig.guest,
            rig.overlay,
            count,
            rig.own,
            tell,
        )
    })
    .map(drop)
}

/// Runs rounds on all boards; tells each as it ends. One tally for each board.
///
/// # Errors
/// The rig cannot be set up.
pub fn run(options: &Options, tell: &(dyn Fn(&str) + Sync)) -> Result<Vec<Tally>> {
    let workers = (MACHINES / options.boards.len().max(1)).max(1);
    with_rigs(options, tell, &|rig, turn| {
        let name = rig.kind.name();
        tell(&format!("{name}: preparing the disks to begin with"));
        let bed = Prepared::make(
            rig.board,
            rig.product,
            rig.guest,
            rig.overlay,
            rig.own,
            &starts(options, turn),
        )?;
        tell(&format!("{name}: {:?}", bed.reference));
        let tally = Tally::new(name, options);
        rounds(&bed, tally, options, (turn, workers), rig.own, tell)
    })
}

/// What is there for one board.
struct Rig<'a> {
    kind: BoardKind,
    board: &'a (dyn Board + Sync),
    product: &'a Product,
    guest: &'a TinyRootfs<'a>,
    overlay: &'a Path,
    /// Its directory, which is empty.
    own: &'a Path,
}

/// Builds what all boards need and does `work` for each, at the same time.
fn with_rigs<T: Send>(
    options: &Options,
    tell: &(dyn Fn(&str) + Sync),
    work_on: &(dyn Fn(&Rig<'_>, u64) -> Result<T> + Sync),
) -> Result<Vec<T>> {
    tell("building the product and the guests");
    let cache = Cache::open()?;
    let product = Product::build()?;
    let ingredients = Ingredients::prepare(&cache)?;
    let guest = TinyRootfs::new(&ingredients)?;
    let work = match &options.directory {
        Some(directory) => directory.join("work"),
        None => workspace().join("target/qemu/torture"),
    };
    std::fs::create_dir_all(&work).io("make", &work)?;
    // Each run empties the directory: two at a time would judge each other's disks.
    let lock_path = work.join(".lock");
    let lock = std::fs::File::create(&lock_path).io("create", &lock_path)?;
    if lock.try_lock().is_err() {
        return Err(Error::Server {
            why: format!(
                "another torture run is under way in {}; wait for it, or stop it",
                work.display()
            ),
        });
    }
    let mut rigs = Vec::new();
    for kind in &options.boards {
        let own = work.join(kind.name());
        if own.exists() {
            std::fs::remove_dir_all(&own).io("remove", &own)?;
        }
        std::fs::create_dir_all(&own).io("make", &own)?;
        let overlay = product.stage(Guest::Tiny, kind.contract(), &own)?;
        rigs.push((*kind, kind.quick(&cache)?, overlay, own));
    }
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (turn, (kind, board, overlay, own)) in (0..).zip(&rigs) {
            let (product, guest) = (&product, &guest);
            running.push(scope.spawn(move || {
                let rig = Rig {
                    kind: *kind,
                    board: &**board,
                    product,
                    guest,
                    overlay,
                    own,
                };
                work_on(&rig, turn)
            }));
        }
        running
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(Error::Server {
                        why: "a thread of the rig died".to_owned(),
                    })
                })
            })
            .collect()
    })
}

/// Rounds that play each class once, on one of the boards. All that need the unhealthy version go
/// to the last one, so that only there it is made ready; on the others boards take turns.
fn once_each(options: &Options, turn: u64) -> Vec<(u64, Class)> {
    let boards = u64::try_from(options.boards.len()).unwrap_or(1).max(1);
    (0..)
        .zip(Class::ALL)
        .filter(|(round, class)| match class.start() {
            Start::Unhealthy => turn == boards - 1,
            Start::Offered | Start::Armed | Start::Committed => round % boards == turn,
        })
        .collect()
}

/// What the rounds of a board begin with.
fn starts(options: &Options, turn: u64) -> Vec<Start> {
    match options.until {
        Until::Time(_) => Class::ALL.map(Class::start).to_vec(),
        Until::OnceEach => {
            let rounds = once_each(options, turn);
            rounds.into_iter().map(|(_, class)| class.start()).collect()
        }
        Until::Only(round) => vec![Plan::draw(options.seed, round, 1).start],
    }
}

fn rounds(
    bed: &Prepared<'_>,
    tally: Tally,
    options: &Options,
    (turn, workers): (u64, usize),
    own: &Path,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Tally> {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let once = once_each(options, turn);
    let failures = Mutex::new(0_usize);
    let tally = Mutex::new(tally);
    let take = || {
        if *failures.lock().unwrap_or_else(PoisonError::into_inner) >= ENOUGH_FAILURES {
            return None;
        }
        let round = next.fetch_add(1, Ordering::Relaxed);
        match options.until {
            Until::Time(time) => (begun.elapsed() < time).then_some(round),
            Until::OnceEach => {
                let index = usize::try_from(round).ok()?;
                once.get(index).map(|(round, _)| *round)
            }
            Until::Only(wanted) => (round == 0).then_some(wanted),
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (take, tally, failures) = (&take, &tally, &failures);
            scope.spawn(move || {
                while let Some(round) = take() {
                    let mut plan = Plan::draw(options.seed, round, bed.board.writes_per_save());
                    if options.first_cut_only {
                        plan.cuts.truncate(1);
                    }
                    let work = own.join(format!("round-{worker}"));
                    let ok = one(bed, &plan, options, &work, tally, tell);
                    if !ok {
                        *failures.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    }
                }
            });
        }
    });
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Plays one round and counts it; false when it failed.
fn one(
    bed: &Prepared<'_>,
    plan: &Plan,
    options: &Options,
    work: &Path,
    tally: &Mutex<Tally>,
    tell: &(dyn Fn(&str) + Sync),
) -> bool {
    let class = plan.cuts.first().map_or(Class::AnyTime, |cut| cut.class);
    let outcome = round::play(bed, plan, work);
    let failed = !matches!(
        outcome.as_ref().map(|played| &played.verdict),
        Ok(Verdict::Committed | Verdict::Returned | Verdict::RolledBack)
    );
    let kept = (failed || options.keep).then(|| keep(plan, work)).flatten();
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let name = bed.board.name();
    let counted = match &outcome {
        Ok(played) => {
            tell(&format!(
                "{name} round {:>4} {:<42} {} cut(s) {:>3} s  {}{}",
                plan.round,
                class.name(),
                played.cuts.len(),
                played.took.as_secs(),
                describe(&played.verdict),
                if failed {
                    format!("\n  repeat: {}", tally.repeat(plan.round))
                } else {
                    String::new()
                },
            ));
            tally.add(class, plan.round, played, kept.as_deref())
        }
        Err(error) => {
            tell(&format!(
                "{name} round {:>4} could not be played: {error}",
                plan.round
            ));
            tally.add_rig_failure(plan.round, &error.to_string())
        }
    };
    if let Err(error) = counted {
        tell(&format!("the report could not be written: {error}"));
    }
    !failed
}

/// Moves a round's disks and logs to where they stay, with the plan beside them.
fn keep(plan: &Plan, work: &Path) -> Option<PathBuf> {
    let place = work.with_file_name(format!("kept-{}", plan.round));
    let _absent = std::fs::remove_dir_all(&place);
    std::fs::rename(work, &place).ok()?;
    std::fs::write(place.join("plan.txt"), format!("{plan:#?}\n")).ok()?;
    Some(place)
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Committed => "committed".to_owned(),
        Verdict::Returned => "returned, committed".to_owned(),
        Verdict::RolledBack => "rolled back".to_owned(),
        Verdict::Brick(why) => format!("BRICK: {why}"),
        Verdict::Wrong(why) => format!("WRONG: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::plan::Start;
    use super::{Class, Options, Until, once_each, starts};
    use crate::demo::BoardKind;

    #[test]
    fn each_class_is_played_once_and_one_board_makes_the_unhealthy_version() {
        for boards in [
            vec![BoardKind::Grub],
            vec![BoardKind::Grub, BoardKind::Uboot],
        ] {
            let options = Options {
                boards,
                until: Until::OnceEach,
                seed: 1,
                first_cut_only: true,
                keep: false,
                report: "none",
                directory: None,
            };
            let turns = 0..u64::try_from(options.boards.len()).unwrap();
            let mut played: Vec<Class> = turns
                .clone()
                .flat_map(|turn| once_each(&options, turn))
                .map(|(_, class)| class)
                .collect();
            played.sort_unstable();
            assert_eq!(played, Class::ALL);
            let unhealthy =
                turns.filter(|turn| starts(&options, *turn).contains(&Start::Unhealthy));
            assert_eq!(unhealthy.count(), 1);
        }
    }
}
