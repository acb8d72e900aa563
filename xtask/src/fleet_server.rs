//! The fleet server's own program: built as it is shipped, started, looked at, killed.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout};

use anyhow::Context as _;

use crate::process::{cargo, target};

/// Builds it.
pub(crate) fn build() -> anyhow::Result<()> {
    cargo(&[
        "build",
        "--profile",
        "server",
        "--locked",
        "--package",
        "switchback-server",
    ])
}

/// Where it is then.
pub(crate) fn program() -> PathBuf {
    target().join("server/switchback-server")
}

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Killed {
    /// Waits until it serves at a port of this machine: that, and the lines which it prints after it.
    pub(crate) fn serves(&mut self) -> anyhow::Result<(u16, Lines<BufReader<ChildStdout>>)> {
        let output = self.0.stdout.take().context("the server has an output")?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next().context("the server ended")??;
        let address = first.trim_end_matches('/');
        let port = address.rsplit(':').next().unwrap_or_default().parse()?;
        Ok((port, lines))
    }
}

/// Memory of a process in MiB, by a field of `/proc/<process>/status`; nothing when it is gone.
pub(crate) fn memory_mib(process: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().split(' ').next()?.parse().ok()?;
    Some(kib / 1024)
}
