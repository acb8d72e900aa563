//! `switchback inhibit`: runs a program during which the device is not interrupted, as
//! `systemd-inhibit` does; without a program, shows who holds on.

use serde_json::json;
use switchback_dbus_api::{Inhibitor, ToJson};

use crate::client::{Client, print};
use crate::exit::{self, Failure};

/// What is asked for.
pub(crate) struct Wish<'a> {
    pub(crate) what: &'a str,
    pub(crate) who: Option<&'a str>,
    pub(crate) why: &'a str,
    pub(crate) mode: &'a str,
}

pub(crate) async fn run(
    client: &Client,
    wish: &Wish<'_>,
    command: &[String],
    json: bool,
) -> Result<u8, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        let held = client.manager.inhibitors().await?;
        print(json, &json!({ "inhibitors": held.to_json() }), || {
            list(&held)
        });
        return Ok(exit::OK);
    };
    let who = wish.who.unwrap_or(program);
    let manager = &client.manager;
    let held = manager.inhibit(wish.what, who, wish.why, wish.mode).await?;
    let status = std::process::Command::new(program)
        .args(arguments)
        .status()
        .map_err(|error| {
            Failure::new(
                exit::FAILED,
                format!("{program}: cannot be started: {error}"),
            )
        })?;
    // Let go only now.
    drop(held);
    // Ended by a signal: as a shell tells it.
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or(signal.map(|signal| signal + 128));
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit::FAILED))
}

fn list(held: &[Inhibitor]) -> String {
    if held.is_empty() {
        return "Nobody asks not to be interrupted.\n".into();
    }
    held.iter()
        .map(|inhibitor| {
            let Inhibitor {
                who,
                why,
                what,
                mode,
                uid,
            } = inhibitor;
            format!("{who} (user {uid}): {why}; {mode} {what}\n")
        })
        .collect()
}
