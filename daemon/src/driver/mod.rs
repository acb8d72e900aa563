//! The driver: takes one message after another from one queue, lets the state machine decide,
//! makes the decision durable, and only then acts. It decides nothing itself.

mod candidate;
mod check;
mod command;
mod contact;
mod effects;
mod fleet;
mod gates;
mod health;
mod inhibit;
mod jobs;
mod message;
mod poll;
mod reload;
mod transfer;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use switchback_boot_env::contract::BootView;
use switchback_dbus_api as api;
use switchback_manifest::TrustedRelease;
use switchback_types::{Digest, Timestamp};
use switchback_update_core::{
    BootId, BootObservation, Decision, Effect, Event, Facts, SlotBoot, State, Step,
};
use tokio::sync::{mpsc, watch};

pub use self::contact::Contact;
pub use self::fleet::FleetParts;
pub use self::inhibit::{InhibitMode, Inhibitor, InhibitorId};
pub use self::jobs::{JobEnd, JobId, JobKind};
pub use self::message::{Command, Message, Refused, Wish};
pub use self::reload::Reloaded;
pub use self::view::View;
use crate::boot::{BootControl, BootError};
use crate::cancel::Cancel;
use crate::health::{CheckState, HealthPassed, Reached};
use crate::host::Host;
use crate::install::InstallProgress;
use crate::journal::{Journal, RecordError};
use crate::report::chain;
use crate::settings::Settings;
use crate::slot::{Layout, VerifiedSlot};
use crate::traces::{Seen, Tracer};
use crate::worker::{Job, Report};

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

/// What decides: [`switchback_update_core::step`], or in a test of the tests one with a mistake.
pub type Decide = fn(&State, &Event, &Facts) -> Step;

/// Everything the driver is made of.
#[derive(Debug)]
pub struct Parts {
    /// The state machine.
    pub decide: Decide,
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
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The worker thread.
    pub worker: Sender<Job>,
    /// The fleet server, if there is one: to ask it, and what must outlast a restart.
    pub fleet: Option<FleetParts>,
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
    /// When it is looked at again, on the scale of [`Host::uptime`], because it was not well.
    health_again: Option<Duration>,
    /// What the repository offered last, for the effect that writes it.
    offered: Option<Box<TrustedRelease>>,
    decision: Option<Decision>,
    /// What the fleet server wants.
    fleet: fleet::Fleet,
    /// Whether that came in a bundle.
    bundled: bool,
    /// The image that the inactive slot holds parts of.
    begun: Option<Digest>,
    now: Timestamp,
    progress: Option<InstallProgress>,
    /// How the image comes that was installed last, or is.
    transfer: api::Transfer,
    last_error: String,
    jobs: jobs::Jobs,
    checks: check::Checks,
    /// What each health check said last.
    health_checks: Vec<CheckState>,
    gates: gates::Gates,
    /// A configuration that waits for what is under way.
    reloaded: Option<Box<Reloaded>>,
    tracer: Option<Tracer>,
    polling: bool,
    working: bool,
    /// On the scale of [`Host::uptime`].
    next_poll: Duration,
    /// What could not be told yet, and when it is told again.
    untold: Option<(Duration, Effect)>,
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
        if let Err(error) = contact::repair_environment(&mut parts, &state) {
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
        let contact = Contact::find(&parts, &state, boot_view.as_ref());
        let (view, receiver) = watch::channel(Arc::new(View::default()));
        let interrupted = state.interrupted.as_ref();
        let begun = interrupted.map(|attempt| attempt.image.sha256);
        let driver = Self {
            state,
            boot_view,
            contact,
            verified: None,
            health: None,
            ordinary_health: Err("the health of this boot is not known yet".into()),
            health_again: None,
            offered: None,
            decision: None,
            fleet: fleet::Fleet::default(),
            bundled: false,
            begun,
            now: parts.host.now(),
            progress: None,
            transfer: api::Transfer::default(),
            last_error,
            jobs: jobs::Jobs::default(),
            checks: check::Checks::new(&parts),
            health_checks: Vec::new(),
            gates: gates::Gates::default(),
            reloaded: None,
            tracer: tracer(&parts.settings),
            polling: false,
            working: false,
            next_poll: parts.host.uptime(),
            untold: None,
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
        self.start()?;
        let watchdog = sd_notify::watchdog_enabled();
        let beat = watchdog.map_or(std::time::Duration::from_secs(3600), |limit| limit / 2);
        let mut beat = tokio::time::interval(beat);
        self.publish();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            let due = self.due();
            let until_due = due.map(|due| due.saturating_sub(self.parts.host.uptime()));
            tokio::select! {
                message = messages.recv() => match message {
                    None | Some(Message::Terminate) => break,
                    Some(message) => {
                        self.message(message)?;
                        self.take_reloaded();
                    }
                },
                () = tokio::time::sleep(until_due.unwrap_or_default()), if due.is_some() => {
                    self.tick()?;
                }
                _ = beat.tick() => {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
            self.publish();
        }
        if self.parts.host.is_stopping() {
            self.shut_down()?;
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        Ok(())
    }

    /// Looks around and takes up what the journal says. To be called once, before anything else.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn start(&mut self) -> Result<(), DriverError> {
        self.event(Event::Started(self.observation()))
    }

    /// When [`Driver::tick`] is to be called next, on the scale of [`Host::uptime`].
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let told = self.untold.as_ref().map(|(due, _)| *due);
        let poll = (!self.polling).then_some(self.next_poll);
        told.into_iter()
            .chain(poll)
            .chain(self.check_due())
            .chain(self.gates_due())
            .chain(self.health_again.filter(|due| *due < Duration::MAX))
            .min()
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn tick(&mut self) -> Result<(), DriverError> {
        let now = self.parts.host.uptime();
        if let Some((_, Effect::Report { attempt, outcome })) =
            self.untold.take_if(|(due, _)| *due <= now)
            && let Some(event) = self.tell_outcome(attempt, outcome).event
        {
            self.event(event)?;
        }
        if !self.polling && self.next_poll <= now {
            self.poll();
        }
        if self.check_due().is_some_and(|due| due <= now) {
            self.event(Event::VerifyDue)?;
        }
        if self.gates_due().is_some_and(|due| due <= now) {
            self.look_at_gates();
        }
        if self.health_again.is_some_and(|due| due <= now) {
            self.look_at_health_again();
        }
        Ok(())
    }

    /// The system is going down in an orderly way.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn shut_down(&mut self) -> Result<(), DriverError> {
        self.event(Event::ShuttingDown)
    }

    /// The state as it was last made durable.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Takes one message.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn message(&mut self, message: Message) -> Result<(), DriverError> {
        match message {
            Message::Worker(report) => self.report(report),
            Message::Fleet { turn, word } => self.fleet_word(turn, word),
            Message::Checks(states) => {
                self.health_checks = states;
                Ok(())
            }
            Message::Health { trial, result } => self.health_known(trial, result),
            Message::Command { command, reply } => {
                let answer = self.command(command)?;
                // A caller that is gone asked for nothing more.
                let _ = reply.send(answer);
                Ok(())
            }
            Message::Inhibit(inhibitor) => {
                let uptime = self.parts.host.uptime();
                self.gates.inhibitors.take(inhibitor, uptime);
                Ok(())
            }
            Message::Uninhibit(id) => {
                self.uninhibit(id);
                Ok(())
            }
            Message::Reload(reloaded) => {
                self.reload(reloaded);
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
                gates,
            } => self.polled(asked, now, runs_already, gates),
            Report::Gates { now, gates } => self.gates_read(now, gates),
            Report::Chosen(choice) => {
                let attempt = self.state.phase.attempt();
                let version = attempt.map(|attempt| &attempt.image.version);
                self.transfer = transfer::begun(version, choice);
                Ok(())
            }
            Report::Progress(progress) => {
                self.transfer.received = progress.received;
                self.progress = Some(progress);
                Ok(())
            }
            Report::SlotDone(Ok(installed)) => {
                self.working = false;
                self.progress = None;
                self.transfer.received = installed.fetched.bytes;
                self.checks.fetched(installed.fetched);
                self.verified = Some(installed.slot);
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
            Report::SlotChecked {
                slot,
                sha256,
                result,
            } => self.slot_checked(slot, sha256, result),
            Report::Found(found) => self.found(found),
        }
    }

    /// The heart: decide, make durable, act.
    fn event(&mut self, event: Event) -> Result<(), DriverError> {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let facts = self.facts();
            let step = (self.parts.decide)(&self.state, &event, &facts);
            if step.next != self.state {
                self.parts.journal.commit(&step.next)?;
            }
            let before = std::mem::replace(&mut self.state, step.next);
            if let Some(tracer) = &mut self.tracer {
                let seen = Seen {
                    event: &event,
                    before: &before.phase,
                    after: &self.state.phase,
                    booted: facts.booted,
                };
                tracer.step(seen);
            }
            if before.phase != self.state.phase {
                self.gates.phase_changed(&self.state.phase);
                let fetched = self.checks.last_fetched();
                self.jobs
                    .phase_changed(&self.state, fetched, &self.parts.job_ends);
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
            now: self.now.max(self.parts.host.now()),
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
        if let Some(tracer) = &mut self.tracer {
            let stage = self.progress.map(|progress| progress.stage.as_str());
            tracer.look(self.polling, stage, &self.transfer);
        }
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

/// If traces are wanted. What stands in the way of them is no reason not to update.
fn tracer(settings: &Settings) -> Option<Tracer> {
    let wanted = settings.traces.as_ref()?;
    let started = Tracer::start(wanted, &settings.device, &settings.state_directory);
    started
        .inspect_err(|error| tracing::warn!("no traces: {error}"))
        .ok()
}
