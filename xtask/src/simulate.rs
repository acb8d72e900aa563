//! `torture` without `--qemu`, and `replay`: power cuts on the simulated device.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use switchback_testkit::explore::Limits;
use switchback_testkit::log::{Log, describe};
use switchback_testkit::repository::Repository;
use switchback_testkit::scenario::{BOARDS, MORE_BOARDS};
use switchback_testkit::torture::{Tally, benches, every, sampled};

/// Where a failure is written.
const LOG: &str = "target/reports/torture-failure.json";
/// Where the count is written.
const REPORT: &str = "target/reports/torture.json";

/// Plays all single cuts, then for the rest of the time by halves: double cuts in order, and
/// triple cuts picked by chance.
pub(crate) fn torture(minutes: u64, seed: Option<u64>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let started = Instant::now();
    let end = started + Duration::from_secs(minutes * 60);
    println!("simulated power cuts for {minutes} minutes; seed {seed}");
    let repository = Arc::new(Repository::publish()?);
    let boards = [&BOARDS[..], &MORE_BOARDS[..]].concat();
    let all = benches(&repository, &boards);
    let limits = |depth, until| Limits {
        depth,
        chances: 4,
        seed,
        until: Some(until),
    };
    let mut report = serde_json::json!({ "seed": seed, "minutes": minutes });
    let mut rounds: [(&str, &dyn Fn() -> Tally); 3] = [
        ("single cuts, every one", &|| every(&all, limits(1, end))),
        ("double cuts, in order", &|| {
            let half = Instant::now() + end.saturating_duration_since(Instant::now()) / 2;
            every(&all, limits(2, half))
        }),
        ("triple cuts, by chance", &|| sampled(&all, limits(3, end))),
    ];
    println!(
        "{:<26}{:>9}{:>12}{:>12}{:>12}{:>10}",
        "", "stories", "cuts", "kills", "lives", "failures"
    );
    for (name, play) in &mut rounds {
        let tally = play();
        let count = tally.count;
        println!(
            "{name:<26}{:>9}{:>12}{:>12}{:>12}{:>10}",
            tally.stories,
            count.cuts,
            count.kills,
            count.lives,
            tally.failures.len()
        );
        if let Some(entry) = report.as_object_mut() {
            entry.insert((*name).into(), serde_json::json!(count));
        }
        write(REPORT, &report)?;
        if let Some(failure) = tally.shortest() {
            write(LOG, &serde_json::json!(Log::from(failure)))?;
            bail!(
                "{failure}\n{} stories fail; this is the shortest: `cargo xtask replay {LOG}`",
                tally.failures.len()
            );
        }
    }
    println!("the counts are in {REPORT}; {:?}", started.elapsed());
    Ok(())
}

fn write(path: &str, value: &serde_json::Value) -> anyhow::Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        std::fs::create_dir_all(directory).with_context(|| path.to_owned())?;
    }
    std::fs::write(path, format!("{value:#}\n")).with_context(|| path.to_owned())
}

/// Plays a failure again, step by step; on a terminal, one step for each press of Enter.
pub(crate) fn replay_log(path: &str) -> anyhow::Result<()> {
    let text = std::fs::read(path).with_context(|| path.to_owned())?;
    let log: Log = serde_json::from_slice(&text).with_context(|| path.to_owned())?;
    let repository = Arc::new(Repository::publish()?);
    println!("{}\n{}\n", log.story, log.violation);
    let (bench, replayed) = log.replay(&repository).map_err(anyhow::Error::msg)?;
    let waits = std::io::stdin().is_terminal();
    for (steps, cut) in &replayed.lives {
        for (number, snapshot) in steps.iter().enumerate() {
            print!("{}", describe(&bench, number, snapshot));
            let _ = std::io::stdout().flush();
            if waits {
                let _ = std::io::stdin().read_line(&mut String::new());
            } else {
                println!();
            }
        }
        if let Some(cut) = cut {
            println!("      *** {cut:?} ***");
        }
    }
    match replayed.violation {
        Some(violation) => println!("\nbroken: {violation}"),
        None => println!("\nno law is broken any more"),
    }
    Ok(())
}
