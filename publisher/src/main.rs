//! `switchback-repo`: see the library and `switchback-repo --help`.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use switchback_repo::cli::Cli;
use switchback_types::Timestamp;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = std::io::stdout().lock();
    let result = switchback_repo::run(&cli, now(), &mut out);
    // What stands in the pipe is all there is to say about a closed one.
    let _ = out.flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("switchback-repo: {}", chain(&error));
            ExitCode::from(error.exit_kind() as u8)
        }
    }
}

/// The machine's clock; before 1970 it counts as 1970, and everything is still valid then.
fn now() -> Timestamp {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// An error and what led to it. Foreign errors often repeat their source: once is enough.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}
