//! Every story, with every single cut.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use switchback_testkit::board::Bench;
use switchback_testkit::explore::{Count, Limits, explore};
use switchback_testkit::repository::Repository;
use switchback_testkit::scenario::{boards, scenarios};

#[test]
fn no_single_power_cut_bricks_a_device_or_makes_it_lie() {
    let repository = Arc::new(Repository::publish().unwrap());
    let mut total = Count::default();
    let mut failures = Vec::new();
    let started = std::time::Instant::now();
    for (loader, tries) in boards() {
        for scenario in scenarios(loader, tries) {
            let bench = Bench {
                repository: Arc::clone(&repository),
                scenario,
            };
            let limits = Limits {
                depth: 1,
                chances: 4,
                seed: 1,
                until: None,
            };
            match explore(&bench, limits) {
                Ok(count) => {
                    total.cuts += count.cuts;
                    total.lives += count.lives;
                    total.steps += count.steps;
                }
                Err(failure) => {
                    println!("{failure}");
                    failures.push(failure.to_string());
                }
            }
        }
        println!("{loader:?} {tries}: {total:?} {:?}", started.elapsed());
    }
    assert!(total.cuts >= 100_000, "{total:?}");
    assert!(
        failures.is_empty(),
        "{} stories fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
