//! Sends ended traces, and keeps them until somebody took them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::fetch::{HttpPost, post};
use crate::settings::TraceSettings;

/// So many wait; with more the oldest are dropped.
const MOST_WAITING: usize = 16;
const LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The thread that sends.
#[derive(Debug)]
pub(super) struct Exporter {
    directory: PathBuf,
    wake: Sender<()>,
}

impl Exporter {
    /// Starts it; it begins with what is left from before.
    pub(super) fn start(settings: &TraceSettings, directory: &Path) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let (endpoint, place) = (settings.clone(), directory.to_path_buf());
        std::thread::Builder::new()
            .name("traces".into())
            .spawn(move || serve(&endpoint, &place, &woken))?;
        Ok(Self {
            directory: directory.into(),
            wake,
        })
    }

    /// Keeps a trace for sending.
    pub(super) fn take(&self, name: &str, body: &str) {
        let place = self.directory.join(format!("{name}.json"));
        if let Err(error) = super::write(&place, body.as_bytes()) {
            tracing::warn!("traces: {}: {error}", place.display());
        }
        // The thread ends with the program only.
        let _ = self.wake.send(());
    }
}

fn serve(settings: &TraceSettings, directory: &Path, woken: &Receiver<()>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let all = send_all(settings, directory);
        // Without anything to send nothing wakes up.
        let again = if all {
            pause = FIRST_PAUSE;
            woken.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            let wait = woken.recv_timeout(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            wait
        };
        if again == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Gives whether nothing is left.
fn send_all(settings: &TraceSettings, directory: &Path) -> bool {
    let mut waiting = waiting(directory);
    let excess = waiting.len().saturating_sub(MOST_WAITING);
    for old in waiting.drain(..excess) {
        let _ = std::fs::remove_file(old);
    }
    for place in waiting {
        let Ok(body) = std::fs::read_to_string(&place) else {
            continue;
        };
        let answer = post(&HttpPost {
            url: &settings.endpoint,
            ca_file: &settings.ca_file,
            timeout: LIMIT,
            content_type: "application/json",
            body: &body,
        });
        match answer {
            Ok(200..300) => drop(std::fs::remove_file(&place)),
            // As the specification says, these may be tried again.
            Ok(status @ (429 | 502..=504)) => {
                tracing::info!(
                    "traces: {}: answered {status}; sent again later",
                    settings.endpoint
                );
                return false;
            }
            Ok(status) => {
                tracing::warn!(
                    "traces: {}: answered {status}; not sent again",
                    settings.endpoint
                );
                let _ = std::fs::remove_file(&place);
            }
            Err(error) => {
                tracing::info!("traces: {}: {error}; sent again later", settings.endpoint);
                return false;
            }
        }
    }
    true
}

/// The oldest first: their names begin with the time.
fn waiting(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("ended-") && name.ends_with(".json")
        })
        .collect();
    files.sort();
    files
}
