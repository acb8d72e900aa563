//! Every mistake that can be planted is found, and the table says by which law.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::sync::Arc;

use switchback_testkit::board::Bench;
use switchback_testkit::explore::{Failure, Limits, explore};
use switchback_testkit::planted::Mistake;
use switchback_testkit::repository::Repository;
use switchback_testkit::scenario::{BOARDS, scenarios};
use switchback_testkit::torture::each;

/// The first failure, on the first board and in the first story that has one.
fn found(repository: &Arc<Repository>, mistake: Mistake) -> Option<Failure> {
    BOARDS
        .into_iter()
        .flat_map(|(loader, tries)| scenarios(loader, tries))
        .find_map(|scenario| {
            let bench = Bench {
                planted: Some(mistake),
                ..Bench::new(Arc::clone(repository), scenario)
            };
            let limits = Limits {
                depth: 1,
                chances: 4,
                seed: 1,
                until: None,
            };
            explore(&bench, limits).err()
        })
}

#[test]
#[ignore = "minutes of two processors: cargo xtask test --all"]
fn every_planted_mistake_is_found() {
    let repository = Arc::new(Repository::publish().unwrap());
    let found = each(Mistake::ALL, |mistake| {
        let failure = found(&repository, *mistake);
        println!(
            "{mistake:?}: {:?}",
            failure.as_ref().map(|failure| failure.violation.law)
        );
        (*mistake, failure)
    });
    let mut table = String::new();
    for (mistake, failure) in &found {
        let (law, story, cuts) = match failure {
            Some(failure) => (
                failure.violation.law.to_string(),
                failure.scenario.as_str(),
                failure.cuts.len(),
            ),
            None => ("NOT FOUND".to_owned(), "", 0),
        };
        let mistake = mistake.describe();
        writeln!(table, "{mistake}\n    {law}; {cuts} cut(s) in \"{story}\"").unwrap();
    }
    println!("{table}");
    insta::assert_snapshot!(table);
    assert!(found.iter().all(|(_, failure)| failure.is_some()));
}
