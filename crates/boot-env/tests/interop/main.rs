//! Against the tools that boards use: what they write we read, what we write they read, byte for
//! byte where they are deterministic. A missing tool is a failure, not a reason to skip.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may end here"
)]

mod grub;
mod uboot;

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a tool to its end with `input` on its standard input.
fn run(tool: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{tool}: {error}: apt-get install libubootenv-tool u-boot-tools grub-common")
        });
    // A tool that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs a tool that must succeed; its standard output.
fn succeed(tool: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(tool, arguments, input);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {message}");
    output.stdout
}
