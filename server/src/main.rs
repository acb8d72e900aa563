//! `switchback-server`: the fleet server.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use switchback_server::start::{self, Serve};

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
    /// Print the description of the API.
    Openapi,
}

fn main() -> anyhow::Result<()> {
    let Options { verb } = Options::parse();
    match verb {
        Verb::Openapi => {
            print!("{}", switchback_server::openapi()?);
            Ok(())
        }
        Verb::Serve(options) => {
            // For webhooks; fails only when there is one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let ready = start::prepare(*options).await?;
                println!("dashboard: http://{}/", ready.address);
                if let Some(token) = &ready.first_token {
                    println!("admin token, shown once: {token}");
                }
                tokio::select! {
                    ended = ready.run() => ended,
                    _ = tokio::signal::ctrl_c() => Ok(()),
                }
            })
        }
    }
}
