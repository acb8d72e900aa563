//! Many stories, on all processors.

use std::collections::BTreeMap;
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
    fn of(played: impl IntoIterator<Item = Result<Count, Failure>>) -> Self {
        let mut tally = Self::default();
        for played in played {
            tally.stories += 1;
            match played {
                Ok(count) => tally.count.add(count),
                Err(failure) => tally.failures.push(failure),
            }
        }
        tally
    }

    /// The failure with the fewest cuts.
    #[must_use]
    pub fn shortest(&self) -> Option<&Failure> {
        self.failures
            .iter()
            .min_by_key(|failure| failure.cuts.len())
    }
}

/// Plays every story with every cut, as far as the limits go.
#[must_use]
pub fn every(benches: &[Bench], limits: Limits) -> Tally {
    let late = |until| Instant::now() > until;
    let played = each(benches, |bench| {
        let begun = !limits.until.is_some_and(late);
        begun.then(|| explore(bench, limits))
    });
    Tally::of(played.into_iter().flatten())
}

/// Plays stories with `limits.depth` cuts picked by chance, until `limits.until`, or until one
/// fails.
#[must_use]
pub fn sampled(benches: &[Bench], limits: Limits) -> Tally {
    let seeds: Vec<u64> = (limits.seed..).take(processors()).collect();
    let played = each(&seeds, |seed| {
        let mut chance = Chance::new(*seed);
        let mut played = Vec::new();
        while limits.until.is_some_and(|until| Instant::now() < until) {
            let Some(bench) = benches.get(chance.below(benches.len())) else {
                break;
            };
            played.push(sample(bench, limits, &mut chance));
            if played.last().is_some_and(Result::is_err) {
                break;
            }
        }
        played
    });
    Tally::of(played.into_iter().flatten())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does something with each item, on all processors; gives the answers in the items' order.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        return;
                    };
                    let answer = work(item);
                    answers
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(index, answer);
                }
            });
        }
    });
    let answers = answers.into_inner();
    answers
        .unwrap_or_else(PoisonError::into_inner)
        .into_values()
        .collect()
}
