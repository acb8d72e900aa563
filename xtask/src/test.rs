//! `test`: everything that must hold, in the order in which it fails soonest.

use std::time::Instant;

use qemu_tests::demo::{self, BoardKind};
use qemu_tests::product::Product;
use qemu_tests::report::{Entry, Report};
use qemu_tests::scenario::matrix::Spread;

use crate::process::cargo;
use crate::{check, scenarios, torture};

/// Tests that start machines one by one: the bootloaders' own rules, without the product.
const BOARD_TESTS: &[&str] = &[
    "test",
    "--locked",
    "--quiet",
    "--package",
    "qemu-tests",
    "--test",
    "boards",
    "--test",
    "uboot",
    "--test",
    "bootcount",
    "--test",
    "power_cut",
    "--",
    "--ignored",
    "--test-threads",
    "2",
];

/// Mistakes that are planted in the daemon are found by the stories: a test of the tests.
const PLANTED: &[&str] = &[
    "test",
    "--locked",
    "--quiet",
    "--package",
    "switchback-testkit",
    "--test",
    "planted",
    "--",
    "--ignored",
];

/// Checks, unit tests, then whole updates and power cuts on both boards. `all`: also what takes long and
/// seldom finds anything, the rest of the matrix.
pub(crate) fn run(all: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut report = Report::new(if all { "test-all" } else { "test" });
    step(
        &mut report,
        "tools",
        || Ok(qemu_tests::tools::ensure_all()?),
    )?;
    step(&mut report, "checks", check::run)?;
    // Many tests wait for something; their processor time is enough for the programs that guests run.
    let product = std::thread::spawn(|| Product::build().map(drop));
    step(&mut report, "unit, property and snapshot tests", || {
        cargo(&["test", "--workspace", "--locked", "--quiet"])
    })?;
    step(&mut report, "programs for the guests", || {
        let built = product.join();
        Ok(built.map_err(|_| anyhow::anyhow!("building them was broken off"))??)
    })?;
    if all {
        step(&mut report, "planted mistakes", || cargo(PLANTED))?;
        step(&mut report, "rules of the bootloaders", || {
            cargo(BOARD_TESTS)
        })?;
    }
    println!("\n== a systemd guest: a good update, and a person who goes back and forth");
    let short = demo::Options {
        short: true,
        ..demo::Options::default()
    };
    demo::run_into(&short, &mut report)?;
    step(
        &mut report,
        "power cuts on real bootloaders",
        torture::matrix,
    )?;
    println!("\n== whole updates on all boards");
    let spread = if all {
        Spread::EveryBoard
    } else {
        Spread::InTurn
    };
    scenarios::run(&BoardKind::ALL, spread, "", &mut report)?;
    println!("whole run: {} s", started.elapsed().as_secs());
    Ok(())
}

/// One step with its line in the report, whether it succeeds or not.
fn step(
    report: &mut Report,
    name: &str,
    run: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    let result = run();
    let mut figures = serde_json::Map::new();
    let seconds = started.elapsed().as_secs();
    println!("== {name}: {seconds} s");
    figures.insert("seconds".into(), seconds.into());
    let observed = match &result {
        Ok(()) => "as expected".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    report.add(Entry {
        name: name.to_owned(),
        expected: "as expected".to_owned(),
        observed,
        ok: result.is_ok(),
        figures,
    })?;
    result
}
