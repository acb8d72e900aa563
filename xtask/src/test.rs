//! `test`: everything that must hold, in the order in which it fails soonest.

use crate::process::cargo;
use crate::{check, scenarios};

/// Checks, unit tests, then the boards.
pub(crate) fn run() -> anyhow::Result<()> {
    qemu_tests::tools::ensure_all()?;
    check::run()?;
    cargo(&["test", "--workspace", "--locked", "--quiet"])?;
    scenarios::run_all()
}
