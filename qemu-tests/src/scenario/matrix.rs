//! All scenarios on several boards, one thread for each board.

use std::sync::mpsc::channel;

use super::{Bed, Scenario, run, scenarios};
use crate::board::Board;
use crate::cache::Cache;
use crate::demo::BoardKind;
use crate::error::{IoContext as _, Result};
use crate::product::{Guest, Product, workspace};
use crate::report::Report;
use crate::rootfs::{Ingredients, TinyRootfs};

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
    let chosen: Vec<Scenario> = scenarios()
        .into_iter()
        .filter(|scenario| scenario.name.contains(part))
        .collect();
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
    let (results, entries) = channel();
    std::thread::scope(|scope| -> Result<()> {
        for (board, contract, overlay, work) in &rigs {
            let results = results.clone();
            let (product, guest, chosen) = (&product, &guest, &chosen);
            let board: &(dyn Board + Sync) = &**board;
            scope.spawn(move || {
                let bed = Bed {
                    product,
                    guest,
                    board,
                    contract: *contract,
                    overlay,
                    work,
                };
                for scenario in chosen {
                    if results.send(run(&bed, scenario)).is_err() {
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
