//! `switchback-server`: the fleet server.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use switchback_server::backup::{self, Backup, Restore};
use switchback_server::start::{self, Serve};
use tokio::signal::unix::{SignalKind, signal};

/// The fleet server of Switchback.
#[derive(Debug, Parser)]
#[command(name = "switchback-server", version, about)]
struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve devices, people and the dashboard.
    Serve(Box<Serve>),
    /// Put everything into one file, also while the server serves (SQLite; PostgreSQL has pg_dump).
    Backup(Backup),
    /// Fill a data directory with what `backup` made.
    Restore(Restore),
    /// Print the description of the API.
    Openapi,
}

fn main() -> anyhow::Result<()> {
    let Options { verb } = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match verb {
        Verb::Openapi => {
            print!("{}", switchback_server::openapi()?);
            Ok(())
        }
        Verb::Backup(options) => runtime.block_on(backup::backup(&options)),
        Verb::Restore(options) => runtime.block_on(backup::restore(&options)),
        Verb::Serve(options) => runtime.block_on(serve(*options)),
    }
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    // For webhooks; fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ready = start::prepare(options).await?;
    println!("dashboard: {}://{}/", ready.scheme, ready.address);
    if let Some(token) = &ready.first_token {
        println!("admin token, shown once: {token}");
    }
    let mut asked_to_end = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = ready.run() => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = asked_to_end.recv() => Ok(()),
    }
}
