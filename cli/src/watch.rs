//! Showing what happens, as it happens: a bar on a terminal, plain lines elsewhere.

use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchback_dbus_api::{ManagerProxy, Progress, ToJson};
use switchback_types::Timestamp;

use crate::client::Client;
use crate::exit::Failure;

/// A progress bar, which stays away where there is no terminal.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    stage: String,
}

impl Bar {
    pub(crate) fn new(show: bool) -> Self {
        Self {
            bar: show.then(ProgressBar::hidden),
            stage: String::new(),
        }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        let Some(bar) = &mut self.bar else { return };
        if progress.total == 0 {
            return;
        }
        if self.stage != progress.stage {
            self.stage.clone_from(&progress.stage);
            bar.finish_and_clear();
            *bar = ProgressBar::new(progress.total);
            let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(format!("{} version {}", progress.stage, progress.version));
        }
        bar.set_position(progress.done);
    }

    pub(crate) fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// One line for each change, until the daemon or the reader ends.
pub(crate) async fn forever(client: &Client, json: bool) -> Result<u8, Failure> {
    // Changes of properties are told only to a proxy that keeps them.
    let manager = ManagerProxy::new(client.manager.inner().connection()).await?;
    let mut transitions = manager.receive_transition().await?;
    let mut completed = manager.receive_completed().await?;
    let mut restarts = manager.receive_prepare_for_restart().await?;
    let mut progress = manager.receive_progress_changed().await;
    let mut last = String::new();
    loop {
        tokio::select! {
            Some(signal) = transitions.next() => {
                let signal = signal.args()?;
                let value = json!({
                    "schema": 1, "event": "transition",
                    "from": signal.from, "to": signal.to, "version": signal.version,
                });
                line(json, &value, &format!("{} → {} {}", signal.from, signal.to, signal.version));
            }
            Some(signal) = completed.next() => {
                let signal = signal.args()?;
                let value = json!({
                    "schema": 1, "event": "completed",
                    "job": signal.job.as_str(), "result": signal.result, "message": signal.message,
                });
                line(json, &value, &format!("{}: {}", signal.result, signal.message));
            }
            Some(signal) = restarts.next() => {
                let signal = signal.args()?;
                let latest = i64::try_from(signal.latest).unwrap_or(i64::MAX);
                let latest = Timestamp::from_unix(latest);
                let value = json!({
                    "schema": 1, "event": "prepare-for-restart",
                    "version": signal.version, "latest": latest.to_string(),
                });
                let text = format!(
                    "restarts into version {}, at the latest at {latest}", signal.version
                );
                line(json, &value, &text);
            }
            Some(change) = progress.next() => {
                let now = change.get().await?;
                if now.total == 0 { continue }
                let percent = now.done.saturating_mul(100) / now.total;
                let text = format!("{} version {}: {percent} %", now.stage, now.version);
                if json {
                    let mut value = now.to_json();
                    if let Some(map) = value.as_object_mut() {
                        map.insert("schema".into(), 1.into());
                        map.insert("event".into(), "progress".into());
                    }
                    println!("{value}");
                } else if text != last {
                    println!("{text}");
                }
                last = text;
            }
            else => return Ok(crate::exit::OK),
        }
    }
}

fn line(as_json: bool, value: &serde_json::Value, text: &str) {
    if as_json {
        println!("{value}");
    } else {
        println!("{}", text.trim_end());
    }
}
