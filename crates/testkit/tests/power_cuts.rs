//! Every story, with every single cut.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use switchback_testkit::explore::Limits;
use switchback_testkit::repository::Repository;
use switchback_testkit::scenario::BOARDS;
use switchback_testkit::torture::{benches, every};

#[test]
fn no_single_power_cut_bricks_a_device_or_makes_it_lie() {
    let repository = Arc::new(Repository::publish().unwrap());
    let benches = benches(&repository, &BOARDS);
    let tally = every(
        &benches,
        Limits {
            depth: 1,
            chances: 4,
            seed: 1,
            until: None,
        },
    );
    println!("{} stories: {:?}", tally.stories, tally.count);
    let failures: Vec<String> = tally.failures.iter().map(ToString::to_string).collect();
    assert!(
        failures.is_empty(),
        "{} stories fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(tally.count.cuts >= 100_000, "{:?}", tally.count);
}
