//! Many stories, on all processors.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::board::Bench;
use crate::bootloader::Loader;
use crate::explore::{Count, Failure, Limits, explore, sample};
use crate::repository::Repository;
use crate::scenario::scenarios;
use crate::storage::Chance;

/// Every story on each of these boards.
#[must_use]
pub fn benches(repository: &Arc<Repository>, boards: &[(Loader, u8)]) -> Vec<Bench> {
    boards
        .iter()
        .flat_map(|(loader, tries)| scenarios(*loader, *tries))
        .map(|scenario| Bench::new(Arc::clone(repository), scenario))
        .collect()
}

/// What came of many stories.
#[derive(Debug, Default)]
pub struct Tally {
    /// What was done.
    pub count: Count,
    /// Stories that were played, or begun.
    pub stories: u64,
    /// What must not be; of each story the first.
    pub failures: Vec<Failure>,
}

impl Tally {
    /// The failure with the fewest cuts.
    #[must_use]
    pub fn shortest(&self) -> Option<&Failure> {
        self.failures
            .iter()
            .min_by_key(|failure| failure.cuts.len())
    }

    fn take(&mut self, played: Result<Count, Failure>) {
        self.stories += 1;
        match played {
            Ok(count) => self.count.add(count),
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// Plays every story with every cut, as far as the limits go.
#[must_use]
pub fn every(benches: &[Bench], limits: Limits) -> Tally {
    let next = AtomicUsize::new(0);
    on_all_processors(|tally, _| {
        while let Some(bench) = benches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if limits.until.is_some_and(|until| Instant::now() > until) {
                return;
            }
            let played = explore(bench, limits);
            take(tally, played);
        }
    })
}

/// Plays stories with `limits.depth` cuts picked by chance, until `limits.until`, or until one
/// fails.
#[must_use]
pub fn sampled(benches: &[Bench], limits: Limits) -> Tally {
    on_all_processors(|tally, processor| {
        let mut chance = Chance::new(limits.seed.wrapping_add(processor));
        while limits.until.is_some_and(|until| Instant::now() < until) {
            let Some(bench) = benches.get(chance.below(benches.len())) else {
                return;
            };
            let played = sample(bench, limits, &mut chance);
            let failed = played.is_err();
            take(tally, played);
            if failed {
                return;
            }
        }
    })
}

fn take(tally: &Mutex<Tally>, played: Result<Count, Failure>) {
    tally
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(played);
}

fn on_all_processors(work: impl Fn(&Mutex<Tally>, u64) + Sync) -> Tally {
    let tally = Mutex::new(Tally::default());
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for processor in (0_u64..).take(processors) {
            let (tally, work) = (&tally, &work);
            scope.spawn(move || work(tally, processor));
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}
