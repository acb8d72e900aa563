//! `scenarios`: real bootloaders, one line for each scenario.

use anyhow::bail;
use qemu_tests::demo::BoardKind;
use qemu_tests::report::Report;
use qemu_tests::scenario::matrix::{self, Spread};

/// From the command line.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    let (boards, part) = match words {
        [] => (BoardKind::ALL.to_vec(), ""),
        ["--board", board] => (crate::boards(Some(board))?, ""),
        ["--board", board, part] => (crate::boards(Some(board))?, *part),
        [part] => (BoardKind::ALL.to_vec(), *part),
        _ => bail!("scenarios: usage: [--board grub|u-boot|all] [PART OF A NAME]"),
    };
    run(
        &boards,
        Spread::EveryBoard,
        part,
        &mut Report::new("scenarios"),
    )
}

/// Runs scenarios into a report; fails if one did.
pub(crate) fn run(
    boards: &[BoardKind],
    spread: Spread,
    part: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let before = report.entries().len();
    matrix::run_all(boards, spread, part, report, &mut |line| println!("{line}"))?;
    let lines = report.entries().get(before..).unwrap_or_default();
    let failed = lines.iter().filter(|entry| !entry.ok).count();
    let passed = lines.len() - failed;
    println!("\nreport: {}", report.path().display());
    println!("scenarios: {passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        bail!("{failed} scenario(s) failed, {passed} passed");
    }
    Ok(())
}
