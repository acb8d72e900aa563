//! All scenarios on several boards, two at a time.

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use super::{Bed, run, scenarios_for};
use crate::board::Board;
use crate::cache::Cache;
use crate::demo::BoardKind;
use crate::error::{IoContext as _, Result};
use crate::product::{Guest, Product, workspace};
use crate::report::Report;
use crate::rootfs::{Ingredients, TinyRootfs};

/// Machines at once: emulation takes a processor each.
const AT_ONCE: usize = 2;

/// Runs every scenario whose name contains `part` on each board; tells each line as it ends, and
/// adds it to the report.
///
/// # Errors
/// The rig itself cannot be set up; scenarios that fail are lines of the report.
pub fn run_all(
    boards: &[BoardKind],
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
    let mut waiting = VecDeque::new();
    for (rig, (_, contract, ..)) in rigs.iter().enumerate() {
        let chosen = scenarios_for(*contract).into_iter();
        waiting.extend(
            chosen
                .filter(|s| s.story.name.contains(part))
                .map(|scenario| (rig, scenario)),
        );
    }
    let waiting = Mutex::new(waiting);
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
