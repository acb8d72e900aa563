//! Life 3: `/sbin/reboot` of the tiny guest.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;

/// The FIFO on which PID 1 of the tiny guest takes requests.
pub(crate) const REQUESTS: &str = "/run/tiny-reboot";

/// The one request there is.
pub(crate) const REBOOT: &str = "reboot";

/// Asks PID 1 for an orderly restart and returns at once.
pub(crate) fn ask() -> anyhow::Result<()> {
    // Not blocking: without a reader (PID 1 is gone or hangs) this must fail, not wait.
    let mut requests = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(REQUESTS)
        .with_context(|| format!("PID 1 takes no requests on {REQUESTS}"))?;
    writeln!(requests, "{REBOOT}").context("PID 1 did not take the request")
}
