//! Starts a program with the signal mask that programs expect.
//!
//! PID 1 blocks the signals that it reads from a signalfd, and children inherit a blocked mask:
//! a daemon would never see SIGTERM. So PID 1 starts itself with the program as arguments, and
//! this life unblocks everything and becomes the program.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt as _;

use anyhow::Context as _;
use nix::sys::signal::SigSet;

/// Becomes the program in `words`; returns only with the reason of a failure.
pub(crate) fn exec(words: impl Iterator<Item = OsString>) -> anyhow::Error {
    match try_exec(words) {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

fn try_exec(words: impl Iterator<Item = OsString>) -> anyhow::Result<std::convert::Infallible> {
    let words: Vec<CString> = words
        .map(|word| CString::new(word.into_vec()))
        .collect::<Result<_, _>>()
        .context("an argument holds a NUL byte")?;
    let program = words.first().context("no program given")?;
    SigSet::empty()
        .thread_set_mask()
        .context("cannot unblock signals")?;
    nix::unistd::execv(program, &words)
        .with_context(|| format!("cannot run {}", program.to_string_lossy()))
}
