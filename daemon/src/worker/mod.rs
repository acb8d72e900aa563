//! The one thread that blocks: it talks to the repository and to the slots' devices, one job
//! after another, and reports to the driver.

mod job;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use switchback_manifest::TrustedRelease;
use switchback_types::{Digest, SlotName, Version};
use switchback_update_core::{Attempt, ImageIdentity, InstallFailure};
use tokio::sync::mpsc::UnboundedSender;

pub use self::job::{Job, Report};
use crate::cancel::Cancel;
use crate::driver::Message;
use crate::fetch::BundlePlace;
use crate::fetcher::{Fetcher, Order, next_work};
use crate::health::Reached;
use crate::host::Host;
use crate::install::{
    Choice, Fetched, InstallProgress, Installed, Stage, Way, identity, reading_back,
};
use crate::report::chain;
use crate::settings::{DeviceSettings, GateSettings};
use crate::slot::{Layout, SlotError, hash_slot, verify_slot};
use crate::trust::{Asked, Trust};

/// The progress of an install is told at most once in this time.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Everything the thread needs.
pub struct Worker {
    /// Who fetches.
    pub fetcher: Box<dyn Fetcher>,
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
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Images of the running version that the slot from the factory was found not to hold.
    pub not_running: HashSet<Digest>,
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

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Some(job) = next_work(jobs, || self.fetcher.rest()) {
            self.work(job);
        }
    }

    /// Does one job and reports.
    pub fn work(&mut self, job: Job) {
        let report = match job {
            Job::Poll {
                version,
                running,
                gates,
            } => Some(self.poll(version.as_ref(), running.as_ref(), &gates)),
            Job::Open {
                place,
                running,
                gates,
            } => Some(self.open(place, running.as_ref(), &gates)),
            Job::Gates(settings) => {
                let now = self.trust.now(self.host.now());
                let gates = self.host.read_gates(&settings, now);
                Some(Report::Gates { now, gates })
            }
            Job::Install {
                release,
                running,
                begun,
                bundled,
            } => {
                let done = self.install(&release, running.as_ref(), begun, bundled);
                self.fetcher.close_bundle();
                Some(Report::SlotDone(done))
            }
            Job::Verify(attempt) => Some(Report::SlotDone(self.verify(&attempt))),
            Job::Identify(slot) => self.identify(slot),
            Job::Check { image, cancel } => Some(self.check(&image, &cancel)),
            Job::Settings { device, fetcher } => {
                self.device = device;
                self.fetcher = fetcher;
                None
            }
            Job::Find { image } => Some(Report::Found(self.find(&image))),
        };
        if let Some(report) = report {
            // If the driver is gone the program is ending.
            let _ = self.reports.send(Message::Worker(report));
        }
    }

    fn poll(
        &mut self,
        version: Option<&Version>,
        running: Option<&ImageIdentity>,
        gates: &GateSettings,
    ) -> Report {
        let reached = self.reached.clone();
        let clock = self.host.now();
        let asked = self.trust.ask(
            self.fetcher.repository(),
            &self.device,
            version,
            running.map_or(0, |running| running.sequence),
            clock,
            &mut || reached.note(),
        );
        // Nobody wanted what it brought.
        self.fetcher.close_bundle();
        self.polled(asked, running, gates)
    }

    /// What was offered, and whether a slot from the factory holds it.
    fn polled(
        &mut self,
        asked: Asked,
        running: Option<&ImageIdentity>,
        gates: &GateSettings,
    ) -> Report {
        let runs_already = match (&asked, running) {
            (Asked::Offer { release, .. } | Asked::Bundled(release), Some(running))
                if running.sequence == 0 =>
            {
                self.runs(&identity(release), running)
            }
            _ => false,
        };
        let now = self.trust.now(self.host.now());
        let gates = match &asked {
            Asked::Offer { .. } | Asked::Bundled(_) => self.host.read_gates(gates, now),
            _ => Vec::new(),
        };
        Report::Polled {
            asked,
            now,
            runs_already,
            gates,
        }
    }

    fn open(
        &mut self,
        place: BundlePlace,
        running: Option<&ImageIdentity>,
        gates: &GateSettings,
    ) -> Report {
        let clock = self.host.now();
        let opened = self.fetcher.open_bundle(place);
        let asked = match (opened, self.fetcher.bundle()) {
            (Ok((product, version)), Some(bundle)) if product == self.device.product => {
                self.trust.bundled(bundle, &product, &version, clock)
            }
            (Ok((product, version)), _) => Asked::Nothing(format!(
                "the bundle brings version {version} of {product}, this device is a {}",
                self.device.product
            )),
            (Err(detail), _) => Asked::Unreachable(detail),
        };
        self.polled(asked, running, gates)
    }

    /// Whether the slot that came from the factory holds this release: hashed once for each
    /// release of the same version.
    fn runs(&mut self, image: &ImageIdentity, running: &ImageIdentity) -> bool {
        if image.version != running.version || self.not_running.contains(&image.sha256) {
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
                self.not_running.insert(image.sha256);
                false
            }
            Err(error) => {
                tracing::warn!("slot {booted}: {}", chain(&error));
                false
            }
        }
    }

    fn install(
        &mut self,
        release: &TrustedRelease,
        running: Option<&ImageIdentity>,
        begun: bool,
        bundled: bool,
    ) -> Result<Installed, InstallFailure> {
        let mut progress = self.progress();
        let reports = self.reports.clone();
        let host = Arc::clone(&self.host);
        self.fetcher.install(Order {
            release,
            running,
            begun,
            bundled,
            layout: &self.layout,
            cancel: &self.cancel,
            chosen: &mut |choice| chosen(&reports, &release.version, choice),
            progress: &mut progress,
            pause: &mut |time| host.pause(time),
        })
    }

    fn verify(&self, attempt: &Attempt) -> Result<Installed, InstallFailure> {
        let choice = Choice {
            way: Way::Flip,
            reason: "the inactive slot holds the image".into(),
        };
        chosen(&self.reports, &attempt.image.version, choice);
        let mut progress = self.progress();
        let slot = verify_slot(
            &self.layout.inactive(),
            &attempt.image,
            &self.cancel,
            &mut reading_back(&mut progress, attempt.image.size, 0),
        )
        .map_err(|error| {
            let detail = chain(&error);
            match error {
                SlotError::Cancelled => InstallFailure::Cancelled,
                error if is_damage(&error) => InstallFailure::SlotChanged { detail },
                _ => InstallFailure::Slot { detail },
            }
        })?;
        let fetched = Fetched::default();
        Ok(Installed { slot, fetched })
    }

    fn check(&self, image: &ImageIdentity, cancel: &Cancel) -> Report {
        let slot = self.layout.inactive();
        let result = match verify_slot(&slot, image, cancel, &mut |_| {}) {
            Ok(_) => Some(Ok(())),
            Err(SlotError::Cancelled) => None,
            Err(error) if is_damage(&error) => Some(Err(chain(&error))),
            Err(error) => {
                tracing::warn!("slot {}: not looked at: {}", slot.name(), chain(&error));
                None
            }
        };
        Report::SlotChecked {
            slot: slot.name(),
            sha256: image.sha256,
            result,
        }
    }

    /// The release that published this very image.
    fn find(&mut self, image: &ImageIdentity) -> Result<Box<TrustedRelease>, String> {
        let reached = self.reached.clone();
        let clock = self.host.now();
        let release = self.trust.release(
            self.fetcher.repository(),
            &self.device.product,
            &image.version,
            clock,
            &mut || reached.note(),
        )?;
        let published = identity(&release);
        if published.sha256 != image.sha256 {
            return Err(format!(
                "{}: has an image with SHA-256 {}, the slot held {}",
                release.path(),
                published.sha256,
                image.sha256
            ));
        }
        Ok(release)
    }

    fn progress(&self) -> impl FnMut(InstallProgress) + use<> {
        let reports = self.reports.clone();
        let host = Arc::clone(&self.host);
        let mut last: Option<(Duration, Stage)> = None;
        move |progress| {
            let now = host.uptime();
            let due = last.is_none_or(|(then, stage)| {
                stage != progress.stage
                    || progress.done == progress.total
                    || now.saturating_sub(then) >= PROGRESS_INTERVAL
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
                let version = version_in(&self.host.os_release());
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

fn chosen(reports: &UnboundedSender<Message>, version: &Version, choice: Choice) {
    tracing::info!("version {version}: {}: {}", choice.way, choice.reason);
    // If the driver is gone there is nobody left to tell.
    let _ = reports.send(Message::Worker(Report::Chosen(choice)));
}

/// Whether the slot itself is what is wrong. A place that cannot be read has gone bad as well:
/// writing it again makes the device put it elsewhere.
fn is_damage(error: &SlotError) -> bool {
    match error {
        SlotError::Differs { .. } | SlotError::TooSmall { .. } | SlotError::Io { .. } => true,
        SlotError::Open { .. } | SlotError::Cancelled => false,
    }
}

/// The version that the running image says it is: `IMAGE_VERSION`, else `VERSION_ID`, of
/// os-release(5).
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
