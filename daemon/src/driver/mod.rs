//! The driver: takes one message after another from one queue, lets the state machine decide,
//! makes the decision durable, and only then acts. It decides nothing itself.

mod contact;
mod effects;
mod jobs;
mod poll;
mod view;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use switchback_boot_env::contract::BootView;
use switchback_manifest::TrustedRelease;
use switchback_types::Timestamp;
use switchback_update_core::{
    BootId, BootObservation, Decision, Event, Facts, SlotBoot, State, step,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub use self::contact::Contact;
pub use self::jobs::{JobEnd, JobId, JobKind};
pub use self::view::View;
use crate::boot::{BootControl, BootError};
use crate::cancel::Cancel;
use crate::health::{HealthPassed, Reached};
use crate::install::InstallProgress;
use crate::journal::{Journal, RecordError};
use crate::report::chain;
use crate::settings::Settings;
use crate::slot::{Layout, VerifiedSlot};
use crate::worker::{Job, Report, clock};

/// Everything that can reach the driver.
#[derive(Debug)]
pub enum Message {
    /// From the worker thread.
    Worker(Report),
    /// The health checks ended.
    Health {
        /// Whether they judged a trial.
        trial: bool,
        /// How.
        result: Result<HealthPassed, String>,
    },
    /// Somebody asks for something.
    Command {
        /// What.
        command: Command,
        /// Told whether it was taken, and if not, why.
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// The program is asked to end.
    Terminate,
}

/// What people and programs ask for.
#[derive(Debug)]
pub enum Command {
    /// Ask the repository; the job ends with the answer.
    Check(JobId),
    /// Ask the repository and install what it offers.
    Install {
        /// Ends when the slot is armed, or nothing was to be done.
        job: JobId,
        /// Whether an image that failed here is tried once more.
        retry: bool,
    },
    /// Go back to the other slot and stay there.
    RollBack {
        /// Ends when the slot is armed.
        job: JobId,
        /// For the hold.
        reason: String,
    },
    /// Call off what is under way.
    Cancel,
    /// Stay on what runs.
    Hold {
        /// Why.
        reason: String,
    },
    /// Let updates go on.
    Release,
    /// Mark the booted slot good.
    MarkGood,
    /// Make sure that the inactive slot is not started.
    MarkBad,
    /// Restart into the armed slot.
    Restart,
}

/// Why a command was not taken, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The error's name below `org.switchback.Update1.Error`.
    pub name: &'static str,
    /// In words.
    pub message: String,
}

/// What the driver cannot go on without.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The journal could not be written: acting on what is not durable would break every promise.
    #[error("the journal could not be written")]
    Journal(#[from] RecordError),
    /// The boot environment could not be read.
    #[error("the boot environment could not be read")]
    Boot(#[source] BootError),
}

/// Everything the driver is made of.
#[derive(Debug)]
pub struct Parts {
    /// Configuration.
    pub settings: Settings,
    /// The slots.
    pub layout: Layout,
    /// The boot environment.
    pub boot: BootControl,
    /// The journal.
    pub journal: Journal,
    /// What it held.
    pub state: State,
    /// This boot.
    pub boot_id: BootId,
    /// A directory that lasts as long as this boot.
    pub runtime_directory: PathBuf,
    /// The worker thread.
    pub worker: Sender<Job>,
    /// To stop its work.
    pub cancel: Cancel,
    /// Whether the repository was reached.
    pub reached: Reached,
    /// Where helpers send their results: this driver's own queue.
    pub queue: mpsc::UnboundedSender<Message>,
    /// Where ended jobs are told.
    pub job_ends: mpsc::UnboundedSender<JobEnd>,
}

/// The loop's state.
#[derive(Debug)]
pub struct Driver {
    parts: Parts,
    state: State,
    boot_view: Option<BootView>,
    contact: Contact,
    /// Proofs, kept from the event that brought them to the effect that needs them.
    verified: Option<VerifiedSlot>,
    health: Option<HealthPassed>,
    /// Whether this boot's health is known, for the decision.
    ordinary_health: Result<(), String>,
    /// What the repository offered last, for the effect that writes it.
    offered: Option<Box<TrustedRelease>>,
    decision: Option<Decision>,
    now: Timestamp,
    progress: Option<InstallProgress>,
    last_error: String,
    jobs: jobs::Jobs,
    polling: bool,
    working: bool,
    next_poll: Instant,
    failed_polls: u32,
    failed_installs: poll::FailedInstalls,
    view: watch::Sender<Arc<View>>,
}

impl Driver {
    /// Looks at the boot environment and prepares the loop.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn new(mut parts: Parts) -> Result<(Self, watch::Receiver<Arc<View>>), DriverError> {
        let state = std::mem::take(&mut parts.state);
        let mut last_error = String::new();
        if let Err(error) = parts.boot.repair() {
            last_error = chain(&error);
            tracing::error!("{last_error}");
        }
        let boot_view = match parts.boot.observe() {
            Ok(view) => Some(view),
            Err(error) => {
                last_error = chain(&error);
                tracing::error!("{last_error}");
                None
            }
        };
        let contact = Contact::find(&parts, boot_view.as_ref());
        let (view, receiver) = watch::channel(Arc::new(View::default()));
        let driver = Self {
            state,
            boot_view,
            contact,
            verified: None,
            health: None,
            ordinary_health: Err("the health of this boot is not known yet".into()),
            offered: None,
            decision: None,
            now: clock(),
            progress: None,
            last_error,
            jobs: jobs::Jobs::default(),
            polling: false,
            working: false,
            next_poll: Instant::now(),
            failed_polls: 0,
            failed_installs: poll::FailedInstalls::default(),
            view,
            parts,
        };
        Ok((driver, receiver))
    }

    /// Runs until asked to end.
    ///
    /// # Errors
    /// The journal cannot be written. The caller ends the program; it is started again.
    pub async fn run(
        mut self,
        mut messages: mpsc::UnboundedReceiver<Message>,
    ) -> Result<(), DriverError> {
        self.event(Event::Started(self.observation()))?;
        let watchdog = sd_notify::watchdog_enabled();
        let beat = watchdog.map_or(std::time::Duration::from_secs(3600), |limit| limit / 2);
        let mut beat = tokio::time::interval(beat);
        self.publish();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None | Some(Message::Terminate) => break,
                    Some(message) => self.message(message)?,
                },
                () = tokio::time::sleep_until(self.next_poll), if !self.polling => self.poll(),
                _ = beat.tick() => {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
            self.publish();
        }
        if effects::system_is_stopping() {
            self.event(Event::ShuttingDown)?;
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<(), DriverError> {
        match message {
            Message::Worker(report) => self.report(report),
            Message::Health { trial, result } => self.health_known(trial, result),
            Message::Command { command, reply } => {
                let answer = self.command(command)?;
                // A caller that is gone asked for nothing more.
                let _ = reply.send(answer);
                Ok(())
            }
            Message::Terminate => Ok(()),
        }
    }

    fn report(&mut self, report: Report) -> Result<(), DriverError> {
        match report {
            Report::Polled {
                asked,
                now,
                runs_already,
            } => self.polled(asked, now, runs_already),
            Report::Progress(progress) => {
                self.progress = Some(progress);
                Ok(())
            }
            Report::SlotDone(Ok(verified)) => {
                self.working = false;
                self.progress = None;
                self.verified = Some(verified);
                self.event(Event::SlotVerified)
            }
            Report::SlotDone(Err(failure)) => {
                self.working = false;
                self.progress = None;
                self.failed_installs
                    .note(self.offered.as_deref(), &failure, self.now);
                self.event(Event::InstallFailed(failure))
            }
            Report::Identified(slot, image) => self.event(Event::Identified { slot, image }),
        }
    }

    fn health_known(
        &mut self,
        trial: bool,
        result: Result<HealthPassed, String>,
    ) -> Result<(), DriverError> {
        let waited = self.ordinary_health.is_err();
        match result {
            Ok(proof) => {
                self.health = Some(proof);
                self.ordinary_health = Ok(());
                self.event(Event::HealthPassed)?;
                if waited && !trial {
                    // The decision may have been waiting for just this.
                    self.next_poll = Instant::now();
                }
                Ok(())
            }
            Err(detail) => {
                self.ordinary_health = Err(detail.clone());
                self.event(Event::HealthFailed { detail })
            }
        }
    }

    /// The heart: decide, make durable, act.
    fn event(&mut self, event: Event) -> Result<(), DriverError> {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let facts = self.facts();
            let step = step(&self.state, &event, &facts);
            if step.next != self.state {
                self.parts.journal.commit(&step.next)?;
            }
            let before = std::mem::replace(&mut self.state, step.next);
            if before.phase != self.state.phase {
                self.jobs.phase_changed(&self.state, &self.parts.job_ends);
            }
            for effect in step.effects {
                let outcome = self.run_effect(effect);
                queue.extend(outcome.event);
                if outcome.stop {
                    break;
                }
            }
        }
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts {
            now: self.now.max(clock()),
            booted: self.parts.layout.booted,
            boot_id: self.parts.boot_id.clone(),
            tries: self
                .parts
                .settings
                .boot
                .tries
                .min(self.parts.boot.max_tries()),
            restart_automatically: self.parts.settings.restart.automatic,
        }
    }

    fn observation(&self) -> BootObservation {
        match &self.boot_view {
            Some(view) => BootObservation {
                primary: view.primary,
                a: contact::slot_boot(view.a),
                b: contact::slot_boot(view.b),
            },
            None => BootObservation {
                primary: None,
                a: SlotBoot::Bad,
                b: SlotBoot::Bad,
            },
        }
    }

    fn publish(&mut self) {
        let view = View::of(self);
        self.view.send_if_modified(|current| {
            if **current == view {
                return false;
            }
            let status = view.status();
            if current.status() != status {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
            }
            *current = Arc::new(view);
            true
        });
    }
}
