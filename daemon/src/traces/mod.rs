//! Traces for OpenTelemetry: one for each update, from the poll that offered it to its end, over the restart.
//!
//! Off unless `traces.endpoint` names a collector. The trace's name follows from the release
//! ([`switchback_types::TraceId`]), so that publisher, server and devices write into the same one.

mod export;
mod otlp;
mod record;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use switchback_dbus_api as api;
use switchback_update_core::Phase;

use self::export::Exporter;
pub use self::otlp::{Resource, encode};
pub use self::record::{Seen, Span, Trace};
use crate::host::hex;
use crate::settings::{DeviceSettings, TraceSettings};

const CURRENT: &str = "current.json";
/// A trace of a hundred spans has some ten KiB.
const MOST_BYTES: u64 = 256 * 1024;

/// Watches the driver and writes down when what happened.
#[derive(Debug)]
pub struct Tracer {
    directory: PathBuf,
    resource: Resource,
    exporter: Exporter,
    current: Option<Trace>,
    /// When the poll under way, or the last one, began; and whether it goes on.
    poll: Option<(u64, bool)>,
}

impl Tracer {
    /// Takes up what was under way before the restart.
    ///
    /// # Errors
    /// The directory or the thread cannot be made.
    pub fn start(
        settings: &TraceSettings,
        device: &DeviceSettings,
        state_directory: &Path,
    ) -> std::io::Result<Self> {
        let directory = state_directory.join("traces");
        std::fs::create_dir_all(&directory)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            resource: Resource {
                product: device.product.to_string(),
                compatible: device.compatible.to_string(),
                host: host.trim().to_owned(),
            },
            exporter: Exporter::start(settings, &directory)?,
            current: read(&directory.join(CURRENT)),
            directory,
            poll: None,
        })
    }

    /// One step of the state machine was made.
    pub fn step(&mut self, seen: Seen<'_>) {
        let now = now();
        let was = self.current.clone();
        if let Phase::Installing { attempt } = seen.after
            && !matches!(seen.before, Phase::Installing { .. })
        {
            let polled = self.poll.map(|(start, _)| (start, now));
            if let Some(mut before) = self.current.take() {
                before.abandon(now);
                self.send(&before);
            }
            // A person's rollback and a repair have no release at hand, and no trace.
            self.current = attempt.trace.map(|trace| {
                let names = (trace.id().to_string(), trace.publish_span().to_string());
                Trace::begin(names, attempt, polled, now, &mut new_id)
            });
        } else if let Some(trace) = &mut self.current {
            trace.step(seen, now, &mut new_id);
        }
        self.settle(was.as_ref());
    }

    /// How things stand after a message was worked off.
    pub fn look(&mut self, polling: bool, stage: Option<&str>, transfer: &api::Transfer) {
        match (self.poll, polling) {
            (Some((_, true)), true) => {}
            (_, true) => self.poll = Some((now(), true)),
            (Some((start, true)), false) => self.poll = Some((start, false)),
            (_, false) => {}
        }
        let Some(trace) = &mut self.current else {
            return;
        };
        let was = trace.clone();
        if transfer.version == trace.version {
            trace.way.clone_from(&transfer.way);
            trace.received = transfer.received;
        }
        if stage == Some("verifying") {
            trace.verifying(now(), &mut new_id);
        }
        // Bytes alone are not worth a write.
        if trace.parts.len() != was.parts.len() {
            self.settle(Some(&was));
        }
    }

    /// Keeps what changed, sends what ended.
    fn settle(&mut self, was: Option<&Trace>) {
        if self.current.as_ref() == was {
            return;
        }
        if let Some(over) = self.current.take_if(|trace| trace.is_over()) {
            self.send(&over);
        }
        let place = self.directory.join(CURRENT);
        let kept = match &self.current {
            Some(trace) => serde_json::to_vec(trace)
                .map_err(std::io::Error::other)
                .and_then(|bytes| write(&place, &bytes)),
            None => match std::fs::remove_file(&place) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = kept {
            tracing::warn!("traces: {}: {error}", place.display());
        }
    }

    fn send(&self, trace: &Trace) {
        let name = format!("ended-{:020}-{}", trace.span.start, trace.span.id);
        self.exporter.take(&name, &encode(trace, &self.resource));
    }
}

fn read(place: &Path) -> Option<Trace> {
    let fits = std::fs::metadata(place).is_ok_and(|metadata| metadata.len() <= MOST_BYTES);
    let bytes = if fits {
        std::fs::read(place).ok()?
    } else {
        return None;
    };
    serde_json::from_slice(&bytes).ok()
}

/// Whole or not at all. It is not synced: a power cut may cost a trace, an orderly restart does not.
fn write(place: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = place.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, place)
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Eight bytes of chance.
fn new_id() -> String {
    let mut bytes = [1_u8; 8];
    // Without chance spans of two devices may have one name; nothing else depends on it.
    let _ = SystemRandom::new().fill(&mut bytes);
    hex(&bytes)
}
