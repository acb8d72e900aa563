//! `scenarios`: real bootloaders, one line for each scenario.

use anyhow::bail;
use qemu_tests::demo::BoardKind;
use qemu_tests::scenario::matrix;

/// Both boards, everything.
pub(crate) fn run_all() -> anyhow::Result<()> {
    run(&[BoardKind::Grub, BoardKind::Uboot], "")
}

/// From the command line.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    match words {
        [] => run_all(),
        ["--board", board] => run(&crate::boards(Some(board))?, ""),
        ["--board", board, part] => run(&crate::boards(Some(board))?, part),
        [part] => run(&[BoardKind::Grub, BoardKind::Uboot], part),
        _ => bail!("scenarios: usage: [--board grub|u-boot|all] [PART OF A NAME]"),
    }
}

fn run(boards: &[BoardKind], part: &str) -> anyhow::Result<()> {
    let report = matrix::run_all(boards, part, &mut |line| println!("{line}"))?;
    let failed = report.entries().iter().filter(|entry| !entry.ok).count();
    let passed = report.entries().len() - failed;
    println!("\nreport: {}", report.path().display());
    println!("scenarios: {passed} passed, {failed} failed");
    if !report.is_ok() {
        bail!("{failed} scenario(s) failed");
    }
    Ok(())
}
