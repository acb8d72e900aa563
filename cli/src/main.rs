//! `switchback`: asks the update daemon over D-Bus, and tells it what to do. It holds no logic
//! of its own and needs no root for looking.
#![forbid(unsafe_code)]

mod args;
mod client;
mod exit;
mod explain;
mod health;
mod inhibit;
mod inspect;
mod render;
#[cfg(test)]
mod schema;
mod style;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Config, Inspect, Verb};
use crate::client::Client;
use crate::exit::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; the rest is exit code 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let json = arguments.json;
    let result = match arguments.verb {
        Verb::Inspect {
            what: Inspect::Env { config, grubenv },
        } => inspect::run(config.as_deref(), grubenv.as_deref(), json),
        Verb::Config { what } => config(what, json),
        verb => over_the_bus(verb, json),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.code)
        }
    }
}

/// The daemon's program knows its own configuration; it need not run.
fn config(what: Config, json: bool) -> Result<u8, Failure> {
    const DAEMON: &str = "switchbackd";
    let mut command = std::process::Command::new(DAEMON);
    match what {
        Config::Show if json => command.args(["show-config", "--json"]),
        Config::Show => command.arg("show-config"),
        Config::Check if json => command.args(["check-config", "--json"]),
        Config::Check => command.arg("check-config"),
    };
    let status = command.status().map_err(|error| {
        Failure::new(exit::FAILED, format!("{DAEMON} cannot be started: {error}"))
    })?;
    Ok(match status.success() {
        true => exit::OK,
        false => exit::FAILED,
    })
}

fn over_the_bus(verb: Verb, json: bool) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::FAILED, format!("no runtime: {error}")))?;
    runtime.block_on(async move {
        let client = Client::connect().await?;
        match verb {
            Verb::Status => client.status(json).await,
            Verb::Explain => client.explain(json).await,
            Verb::Slots => client.slots(json).await,
            Verb::Health => client.health(json).await,
            Verb::History => client.history(json).await,
            Verb::Check => client.check(json).await,
            Verb::Update { wish } => client.update(&wish, json).await,
            Verb::Install { bundle, wish } => client.install(&bundle, &wish, json).await,
            Verb::Rollback { reason } => client.rollback(reason.as_deref(), json).await,
            Verb::Repair => client.repair(json).await,
            Verb::Watch => watch::forever(&client, json).await,
            Verb::Hold { reason, until } => client.hold(&reason, until.as_deref(), json).await,
            Verb::Pin { version, reason } => client.pin(version.as_deref(), &reason, json).await,
            Verb::Unpin => client.unpin(json).await,
            Verb::Approve { version } => client.approve(version.as_deref(), json).await,
            Verb::Inhibit {
                what,
                who,
                why,
                mode,
                command,
            } => {
                let wish = inhibit::Wish {
                    what: &what,
                    who: who.as_deref(),
                    why: &why,
                    mode: &mode,
                };
                inhibit::run(&client, &wish, &command, json).await
            }
            Verb::Unhold => client.unhold(json).await,
            Verb::Cancel => client.cancel(json).await,
            Verb::Mark { state } => client.mark(state, json).await,
            Verb::Restart => client.restart(json).await,
            Verb::Config { .. } => Ok(exit::USAGE),
            Verb::Inspect { .. } => client.offer(json).await,
        }
    })
}
