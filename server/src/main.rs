//! `switchback-server`: the fleet server.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use switchback_server::backup::{self, Backup, Restore};
use switchback_server::start::{self, Serve};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::prelude::*;

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

/// The journal with its fields where systemd started this, else standard error.
fn log() {
    let info = tracing_subscriber::filter::LevelFilter::INFO;
    let of_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = tracing_journald::layer().ok().filter(|_| of_systemd);
    let journal = journal.map(|layer| {
        let layer = layer.with_field_prefix(None);
        layer.with_syslog_identifier("switchback-server".into())
    });
    let terminal = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .without_time()
            .with_target(false)
    });
    let registry = tracing_subscriber::registry().with(info);
    registry.with(journal).with(terminal).init();
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    log();
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
