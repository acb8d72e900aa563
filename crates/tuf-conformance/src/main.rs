//! `tuf-conformance-client`: the command line that the public suite speaks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use switchback_tuf_conformance::Client;
use switchback_types::Timestamp;

/// Options come before the command.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where trusted metadata is kept.
    #[arg(long)]
    metadata_dir: PathBuf,
    /// Where metadata is served.
    #[arg(long, default_value = "")]
    metadata_url: String,
    /// Which artifacts to download, in this order.
    #[arg(long = "target-name")]
    target_names: Vec<String>,
    /// Where they are served.
    #[arg(long, default_value = "")]
    target_base_url: String,
    /// Where they are kept.
    #[arg(long, default_value = ".")]
    target_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begins to trust this root.
    Init {
        /// The file with it.
        root: PathBuf,
    },
    /// Brings the top-level metadata up to date.
    Refresh,
    /// The same, then finds and fetches the artifacts.
    Download,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The suite sets the clock of this process.
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = Timestamp::from_unix(i64::try_from(since.as_secs())?);
    let client = Client::new(&arguments.metadata_dir, &arguments.metadata_url, now);
    match &arguments.command {
        Command::Init { root } => {
            let bytes = std::fs::read(root).with_context(|| root.display().to_string())?;
            client.init(&bytes)
        }
        Command::Refresh => client.refresh().map(drop),
        Command::Download => client.download(
            &arguments.target_names,
            &arguments.target_base_url,
            &arguments.target_dir,
        ),
    }
}
