//! The one thread that blocks: it talks to the repository and to the slots' devices, one job
//! after another, and reports to the driver.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchback_manifest::TrustedRelease;
use switchback_types::{Digest, SlotName, Timestamp, Version};
use switchback_update_core::{Attempt, ImageIdentity, InstallFailure};
use tokio::sync::mpsc::UnboundedSender;

use crate::cancel::Cancel;
use crate::driver::Message;
use crate::fetch::Source;
use crate::health::Reached;
use crate::install::{InstallProgress, Installer, Stage, identity};
use crate::report::chain;
use crate::settings::DeviceSettings;
use crate::slot::{Layout, SlotError, VerifiedSlot, hash_slot, verify_slot};
use crate::trust::{Asked, Trust};

/// The progress of an install is told at most once in this time.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Something to do.
#[derive(Debug)]
pub enum Job {
    /// Ask the repository.
    Poll {
        /// What runs, as far as is known.
        running: Option<ImageIdentity>,
    },
    /// Write a release into the inactive slot.
    Install(Box<TrustedRelease>),
    /// Read the inactive slot back.
    Verify(Attempt),
    /// Hash a slot of unknown content.
    Identify(SlotName),
}

/// What came of it.
#[derive(Debug)]
pub enum Report {
    /// The repository was asked.
    Polled {
        /// What it said.
        asked: Asked,
        /// The time to act by.
        now: Timestamp,
        /// Whether the running slot, of unknown origin, holds the very image that is offered.
        runs_already: bool,
    },
    /// An install goes on.
    Progress(InstallProgress),
    /// The inactive slot was written or read back.
    SlotDone(Result<VerifiedSlot, InstallFailure>),
    /// A slot was hashed.
    Identified(SlotName, ImageIdentity),
}

/// Everything the thread needs.
pub struct Worker {
    /// The repository.
    pub source: Box<dyn Source>,
    /// What is trusted.
    pub trust: Trust,
    /// What this device is.
    pub device: DeviceSettings,
    /// The slots.
    pub layout: Layout,
    /// Told once the repository was reached.
    pub reached: Reached,
    /// Asked between two steps.
    pub cancel: Cancel,
    /// Where reports go.
    pub reports: UnboundedSender<Message>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Starts the thread.
///
/// # Errors
/// The system has no thread left.
pub fn start(worker: Worker) -> std::io::Result<Sender<Job>> {
    let (sender, jobs) = channel();
    std::thread::Builder::new()
        .name("device".into())
        .spawn(move || worker.run(&jobs))?;
    Ok(sender)
}

/// The clock's time, unchecked.
#[must_use]
pub fn clock() -> Timestamp {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut not_running = HashSet::new();
        while let Ok(job) = jobs.recv() {
            let report = match job {
                Job::Poll { running } => Some(self.poll(running.as_ref(), &mut not_running)),
                Job::Install(release) => Some(Report::SlotDone(self.install(&release))),
                Job::Verify(attempt) => Some(Report::SlotDone(self.verify(&attempt))),
                Job::Identify(slot) => self.identify(slot),
            };
            let Some(report) = report else { continue };
            if self.reports.send(Message::Worker(report)).is_err() {
                // The driver is gone: the program is ending.
                return;
            }
        }
    }

    fn poll(
        &mut self,
        running: Option<&ImageIdentity>,
        not_running: &mut HashSet<Digest>,
    ) -> Report {
        let reached = self.reached.clone();
        let asked = self
            .trust
            .ask(&*self.source, &self.device, clock(), &mut || reached.note());
        let runs_already = match (&asked, running) {
            (Asked::Offer { release, .. }, Some(running)) if running.sequence == 0 => {
                self.runs(&identity(release), running, not_running)
            }
            _ => false,
        };
        Report::Polled {
            asked,
            now: self.trust.now(clock()),
            runs_already,
        }
    }

    /// Whether the slot that came from the factory holds this release: hashed once for each
    /// release of the same version.
    fn runs(
        &self,
        image: &ImageIdentity,
        running: &ImageIdentity,
        not_running: &mut HashSet<Digest>,
    ) -> bool {
        if image.version != running.version || not_running.contains(&image.sha256) {
            return false;
        }
        let booted = self.layout.booted;
        match hash_slot(&self.layout, booted, Some(image.size), &Cancel::default()) {
            Ok((found, _)) if found == image.sha256 => {
                let report = Report::Identified(booted, image.clone());
                // If the driver is gone there is nobody left to tell.
                let _ = self.reports.send(Message::Worker(report));
                true
            }
            Ok(_) => {
                not_running.insert(image.sha256);
                false
            }
            Err(error) => {
                tracing::warn!("slot {booted}: {}", chain(&error));
                false
            }
        }
    }

    fn install(&self, release: &TrustedRelease) -> Result<VerifiedSlot, InstallFailure> {
        let mut progress = self.progress();
        Installer {
            source: &*self.source,
            cancel: &self.cancel,
            progress: &mut progress,
            pause: &mut std::thread::sleep,
        }
        .run(release, &self.layout.inactive())
    }

    fn verify(&self, attempt: &Attempt) -> Result<VerifiedSlot, InstallFailure> {
        let mut progress = self.progress();
        let total = attempt.image.size;
        verify_slot(
            &self.layout.inactive(),
            &attempt.image,
            &self.cancel,
            &mut |done| {
                progress(InstallProgress {
                    stage: Stage::Verifying,
                    done,
                    total,
                    received: 0,
                });
            },
        )
        .map_err(|error| match error {
            SlotError::Cancelled => InstallFailure::Cancelled,
            SlotError::Differs { .. } | SlotError::TooSmall { .. } => InstallFailure::SlotChanged {
                detail: chain(&error),
            },
            SlotError::Open { .. } | SlotError::Io { .. } => InstallFailure::Slot {
                detail: chain(&error),
            },
        })
    }

    fn progress(&self) -> impl FnMut(InstallProgress) {
        let reports = self.reports.clone();
        let mut last: Option<(std::time::Instant, Stage)> = None;
        move |progress| {
            let now = std::time::Instant::now();
            let due = last.is_none_or(|(then, stage)| {
                stage != progress.stage
                    || progress.done == progress.total
                    || now.duration_since(then) >= PROGRESS_INTERVAL
            });
            if due {
                last = Some((now, progress.stage));
                let _ = reports.send(Message::Worker(Report::Progress(progress)));
            }
        }
    }

    /// A slot that nobody wrote through this program: it came from the factory. Its whole
    /// partition is the image; later it may turn out to be a release.
    fn identify(&self, slot: SlotName) -> Option<Report> {
        match hash_slot(&self.layout, slot, None, &Cancel::default()) {
            Ok((sha256, size)) => {
                let version = running_version();
                let image = ImageIdentity {
                    version,
                    sequence: 0,
                    security_epoch: 0,
                    sha256,
                    size,
                };
                Some(Report::Identified(slot, image))
            }
            Err(error) => {
                tracing::warn!("slot {slot}: {}", chain(&error));
                None
            }
        }
    }
}

/// The version that the running image says it is: `IMAGE_VERSION`, else `VERSION_ID`, of
/// os-release(5).
fn running_version() -> Version {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    version_in(&text)
}

fn version_in(os_release: &str) -> Version {
    let field = |name: &str| {
        os_release.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name)
                .then(|| value.trim().trim_matches(['"', '\'']))?
                .parse()
                .ok()
        })
    };
    let named: Option<Version> = field("IMAGE_VERSION").or_else(|| field("VERSION_ID"));
    named.unwrap_or_else(|| "factory".parse().expect("a plain word is a version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_from_os_release() {
        for (text, version) in [
            ("VERSION_ID=\"13\"\nIMAGE_VERSION=2.1\n", "2.1"),
            ("VERSION_ID=\"13\"\n", "13"),
            ("IMAGE_VERSION=\"bad version\"\nVERSION_ID=13\n", "13"),
            ("", "factory"),
        ] {
            assert_eq!(version_in(text).as_str(), version);
        }
    }
}
