//! All scenarios on several boards, two at a time.

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use super::{Bed, Scenario, run, scenarios_for};
use crate::board::Board;
use crate::cache::Cache;
use crate::demo::BoardKind;
use crate::error::{IoContext as _, Result};
use crate::product::{Contract, Guest, Product, workspace};
use crate::report::Report;
use crate::rootfs::{Ingredients, TinyRootfs};

/// Machines at once: emulation takes a processor each.
const AT_ONCE: usize = 2;

/// Which scenarios run on which of several boards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Each on every board.
    EveryBoard,
    /// Each on one: the board that has fewest so far.
    InTurn,
}

/// Runs every scenario whose name contains `part`; tells each line as it ends, and adds it to the
/// report.
///
/// # Errors
/// The rig itself cannot be set up; scenarios that fail are lines of the report.
pub fn run_all(
    boards: &[BoardKind],
    spread: Spread,
    part: &str,
    report: &mut Report,
    tell: &mut dyn FnMut(&str),
) -> Result<()> {
    tell("building the product and the guests");
    let cache = Cache::open()?;
    let product = Product::build()?;
    let ingredients = Ingredients::prepare(&cache)?;
    let guest = TinyRootfs::new(&ingredients)?;
    let work = workspace().join("target/qemu/scenarios");
    std::fs::create_dir_all(&work).io("make", &work)?;

    let mut rigs = Vec::new();
    for kind in boards {
        tell(&format!("preparing the {} board", kind.name()));
        let overlay = product.stage(Guest::Tiny, kind.contract(), &work)?;
        rigs.push((
            kind.quick(&cache)?,
            kind.contract(),
            overlay,
            work.join(kind.name()),
        ));
    }
    // One after another for each free processor, whichever board they are on.
    let contracts = rigs.iter().map(|(_, contract, ..)| *contract).collect();
    let waiting = Mutex::new(chosen(contracts, spread, part));
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let (results, entries) = channel();
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..AT_ONCE {
            let (results, next, rigs) = (results.clone(), &next, &rigs);
            let (product, guest) = (&product, &guest);
            scope.spawn(move || {
                while let Some((rig, scenario)) = next() {
                    let Some((board, contract, overlay, work)) = rigs.get(rig) else {
                        return;
                    };
                    let board: &dyn Board = &**board;
                    let bed = Bed {
                        product,
                        guest,
                        board,
                        contract: *contract,
                        overlay,
                        work,
                    };
                    if results.send(run(&bed, &scenario)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for entry in entries {
            let word = if entry.ok { "ok  " } else { "FAIL" };
            let seconds = entry.figures.get("seconds").cloned().unwrap_or_default();
            tell(&format!(
                "{word} {:<46} {seconds:>4} s  {}",
                entry.name, entry.observed
            ));
            report.add(entry)?;
        }
        Ok(())
    })
}

/// Which scenario runs on the board with which number.
fn chosen(boards: Vec<Contract>, spread: Spread, part: &str) -> VecDeque<(usize, Scenario)> {
    let mut boards: Vec<_> = boards.into_iter().map(scenarios_for).collect();
    for scenarios in &mut boards {
        scenarios.retain(|scenario| scenario.story.name.contains(part));
    }
    if spread == Spread::InTurn {
        boards = in_turn(&boards);
    }
    let numbered = boards.into_iter().enumerate();
    numbered
        .flat_map(|(board, scenarios)| scenarios.into_iter().map(move |one| (board, one)))
        .collect()
}

fn in_turn(boards: &[Vec<Scenario>]) -> Vec<Vec<Scenario>> {
    let mut chosen: Vec<Vec<Scenario>> = boards.iter().map(|_| Vec::new()).collect();
    // The board with the most scenarios has all of them.
    let longest = boards.iter().max_by_key(|scenarios| scenarios.len());
    for scenario in longest.into_iter().flatten() {
        let of_board = |scenarios: &Vec<Scenario>| {
            let mut same = scenarios.iter();
            same.find(|one| one.story.name == scenario.story.name)
                .cloned()
        };
        let candidates = boards.iter().map(of_board).zip(&mut chosen);
        let fewest = candidates
            .filter_map(|(scenario, chosen)| Some((scenario?, chosen)))
            .min_by_key(|(_, chosen)| chosen.len());
        if let Some((scenario, chosen)) = fewest {
            chosen.push(scenario);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_each_scenario_runs_once_and_each_board_runs_some() {
        let boards = || BoardKind::ALL.map(BoardKind::contract).to_vec();
        let every = chosen(boards(), Spread::EveryBoard, "");
        let once = chosen(boards(), Spread::InTurn, "");
        let names = |chosen: &VecDeque<(usize, Scenario)>| {
            let names = chosen.iter().map(|(_, one)| one.story.name.clone());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(&once), names(&every));
        assert_eq!(once.len(), names(&once).len());
        assert!(every.len() > 2 * once.len());
        for board in 0..boards().len() {
            assert!(once.iter().any(|(of, _)| *of == board), "{board}");
        }
    }
}
