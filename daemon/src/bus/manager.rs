//! `org.switchback.Update1.Manager`.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use switchback_dbus_api as api;
use tokio::sync::oneshot;
use zbus::object_server::{InterfaceRef, SignalEmitter};
use zbus::{Connection, ObjectPath, OwnedObjectPath, OwnedVariant, interface};

use super::errors::MethodError;
use super::job::Job;
use super::{Shared, job_path};
use crate::driver::{Command, JobId, Message, View};
use crate::fetch::BundlePlace;

/// Longest reason that is kept.
const MAX_REASON: usize = 256;
/// Longest address of a bundle, in bytes.
const MAX_URL: usize = 2048;

/// The manager object.
#[derive(Debug)]
pub struct Manager {
    shared: Shared,
}

type Options = HashMap<String, OwnedVariant>;

/// Takes out the options that a method knows; a name that is left over is an error, so that a
/// misspelt option is never silently without effect.
struct Taken(Options);

impl Taken {
    fn boolean(&mut self, name: &str) -> Result<bool, MethodError> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(value) => bool::try_from(value)
                .map_err(|_| MethodError::UnknownOption(format!("option {name:?} is a boolean"))),
        }
    }

    fn text(&mut self, name: &str, default: &str) -> Result<String, MethodError> {
        match self.0.remove(name) {
            None => Ok(default.into()),
            Some(value) => String::try_from(value)
                .map(|text| shorten(&text))
                .map_err(|_| MethodError::UnknownOption(format!("option {name:?} is a string"))),
        }
    }

    /// `retry` and nothing else.
    fn retry_alone(mut self) -> Result<bool, MethodError> {
        let retry = self.boolean("retry")?;
        self.finish().map(|()| retry)
    }

    fn finish(self) -> Result<(), MethodError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(MethodError::UnknownOption(format!(
                "no such option: {name:?}"
            ))),
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_REASON)
        .collect()
}

impl Manager {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    async fn tell(&self, command: Command) -> Result<(), MethodError> {
        let (reply, answer) = oneshot::channel();
        let gone = || MethodError::Failed("the daemon is ending".into());
        self.shared
            .driver
            .send(Message::Command { command, reply })
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(MethodError::from)
    }

    async fn install_bundle(
        &self,
        connection: &Connection,
        place: BundlePlace,
        retry: bool,
    ) -> Result<OwnedObjectPath, MethodError> {
        self.job(connection, "install", |job| Command::InstallBundle {
            job,
            place,
            retry,
        })
        .await
    }

    /// Runs a command as a job: its object exists before the driver hears of it, and goes again
    /// when the driver refuses.
    async fn job(
        &self,
        connection: &Connection,
        kind: &'static str,
        command: impl FnOnce(JobId) -> Command,
    ) -> Result<OwnedObjectPath, MethodError> {
        let job = self.shared.new_job();
        let path = job_path(job);
        let server = connection.object_server();
        server.at(path.as_str(), Job::new(kind)).await?;
        if let Err(error) = self.tell(command(job)).await {
            server.remove::<Job, _>(path.as_str()).await?;
            return Err(error);
        }
        OwnedObjectPath::try_from(path).map_err(|error| MethodError::Failed(error.to_string()))
    }
}

/// What the device is doing and why, and what it is told to do.
#[interface(name = "org.switchback.Update1.Manager")]
impl Manager {
    /// Asks the repository now; the job ends with the answer.
    async fn check(
        &self,
        #[zbus(connection)] connection: &Connection,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        Taken(options).finish()?;
        self.job(connection, "check", Command::Check).await
    }

    /// Asks the repository now and installs what it offers. Option `retry` (b): try an image
    /// that failed here once more. The job ends when the slot is armed.
    async fn install(
        &self,
        #[zbus(connection)] connection: &Connection,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let retry = Taken(options).retry_alone()?;
        self.job(connection, "install", |job| Command::Install { job, retry })
            .await
    }

    /// Installs what a bundle brings: an open file, and what to call it. Option `retry` (b). The job
    /// ends when the slot is armed.
    async fn install_file(
        &self,
        #[zbus(connection)] connection: &Connection,
        file: zbus::OwnedFd,
        name: String,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let retry = Taken(options).retry_alone()?;
        let file = File::from(OwnedFd::from(file));
        let name = shorten(&name);
        // Anything else could keep the one thread that reads it waiting for ever.
        let regular = file.metadata().is_ok_and(|found| found.is_file());
        if !regular {
            return Err(MethodError::Failed(format!(
                "{name}: is not a regular file"
            )));
        }
        let place = BundlePlace::File { name, file };
        self.install_bundle(connection, place, retry).await
    }

    /// Installs what a bundle at an `https://` or `http://` address brings, without storing it.
    /// Option `retry` (b). The job ends when the slot is armed.
    async fn install_url(
        &self,
        #[zbus(connection)] connection: &Connection,
        url: String,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let retry = Taken(options).retry_alone()?;
        let known = url.starts_with("https://") || url.starts_with("http://");
        if !known || url.len() > MAX_URL || url.contains(char::is_control) {
            let text = format!(
                "{:?}: expected an https:// or http:// address of at most {MAX_URL} bytes",
                shorten(&url)
            );
            return Err(MethodError::Failed(text));
        }
        let place = BundlePlace::Url(url);
        self.install_bundle(connection, place, retry).await
    }

    /// Goes back to what the other slot holds by a flip alone, and holds the device there. Option
    /// `reason` (s). The job ends when the slot is armed.
    async fn roll_back(
        &self,
        #[zbus(connection)] connection: &Connection,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let mut options = Taken(options);
        let reason = options.text("reason", "rolled back by a person")?;
        options.finish()?;
        self.job(connection, "rollback", |job| Command::RollBack {
            job,
            reason,
        })
        .await
    }

    /// Makes the inactive slot whole: looks for damage, and fetches again only what is wrong. The
    /// slot is not armed. The job ends when the slot holds its image again, or is found whole.
    async fn repair(
        &self,
        #[zbus(connection)] connection: &Connection,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        Taken(options).finish()?;
        self.job(connection, "repair", Command::Repair).await
    }

    /// Calls off what is under way.
    async fn cancel(&self, options: Options) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(Command::Cancel).await
    }

    /// Stays on what runs, until released.
    async fn hold(&self, reason: String, options: Options) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(Command::Hold {
            reason: shorten(&reason),
        })
        .await
    }

    /// Lets updates go on.
    async fn release(&self, options: Options) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(Command::Release).await
    }

    /// Marks the booted slot good in the boot environment.
    async fn mark_good(&self, options: Options) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(Command::MarkGood).await
    }

    /// Makes sure that the inactive slot is not started.
    async fn mark_bad(&self, options: Options) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(Command::MarkBad).await
    }

    /// Restarts into the armed slot.
    async fn restart(&self, options: Options) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(Command::Restart).await
    }

    /// `idle`, `installing`, `staged`, `on-trial` or `reporting`.
    #[zbus(property)]
    fn phase(&self) -> String {
        self.shared.view.borrow().phase.clone()
    }

    /// What is being done and how far it is; keys `stage`, `done`, `total`, `received`, `version`.
    #[zbus(property)]
    fn progress(&self) -> api::Progress {
        self.shared.view.borrow().progress.clone()
    }

    /// How the image comes that is installed, or was installed last since the daemon started; keys
    /// `version`, `way` (`flip`, `delta`, `chunks`, `full`), `reason`, `received` (bytes).
    #[zbus(property)]
    fn transfer(&self) -> api::Transfer {
        self.shared.view.borrow().transfer.clone()
    }

    /// The release that was offered and verified last, by the repository or in a bundle; keys `version`, `sequence`,
    /// `security-epoch`, `created`, `document`, `sha256` and `size` (of the image), `sbom` and `provenance` (where they
    /// lie in the repository), `sbom-length`, `provenance-length`, `notes`.
    #[zbus(property)]
    fn offer(&self) -> api::Offer {
        self.shared.view.borrow().offer.clone()
    }

    /// Both slots; the same dictionaries as the slot objects' properties.
    #[zbus(property)]
    fn slots(&self) -> Vec<api::Slot> {
        self.shared.view.borrow().slots.clone()
    }

    /// The five answers given last, each with its reason.
    #[zbus(property)]
    fn decision(&self) -> api::Decision {
        self.shared.view.borrow().decision.clone()
    }

    /// What went wrong last; empty when nothing did since the last commit.
    #[zbus(property)]
    fn last_error(&self) -> String {
        self.shared.view.borrow().last_error.clone()
    }

    /// Whether, why and since when the device is held.
    #[zbus(property)]
    fn held(&self) -> api::Hold {
        self.shared.view.borrow().hold.clone()
    }

    /// Images that failed on this device and are not tried again by themselves.
    #[zbus(property)]
    fn failed(&self) -> Vec<api::Failed> {
        self.shared.view.borrow().failed.clone()
    }

    /// What happened, oldest first.
    #[zbus(property)]
    fn history(&self) -> Vec<api::HistoryEntry> {
        self.shared.view.borrow().history.clone()
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    /// The phase changed.
    #[zbus(signal)]
    pub(super) async fn transition(
        emitter: &SignalEmitter<'_>,
        from: &str,
        to: &str,
        version: &str,
    ) -> zbus::Result<()>;

    /// A job ended: `done` or `failed`, and how in words.
    #[zbus(signal)]
    pub(super) async fn completed(
        emitter: &SignalEmitter<'_>,
        job: ObjectPath<'_>,
        result: &str,
        message: &str,
    ) -> zbus::Result<()>;
}

/// Signals what differs between two views.
pub(super) async fn tell(
    manager: &InterfaceRef<Manager>,
    before: &View,
    now: &View,
) -> zbus::Result<()> {
    let emitter = manager.signal_emitter();
    let interface = manager.get().await;
    if before.phase != now.phase {
        interface.phase_changed(emitter).await?;
        if !before.phase.is_empty() {
            Manager::transition(emitter, &before.phase, &now.phase, &now.version).await?;
        }
    }
    if before.progress != now.progress {
        interface.progress_changed(emitter).await?;
    }
    if before.transfer != now.transfer {
        interface.transfer_changed(emitter).await?;
    }
    if before.offer != now.offer {
        interface.offer_changed(emitter).await?;
    }
    if before.slots != now.slots {
        interface.slots_changed(emitter).await?;
    }
    if before.decision != now.decision {
        interface.decision_changed(emitter).await?;
    }
    if before.last_error != now.last_error {
        interface.last_error_changed(emitter).await?;
    }
    if before.hold != now.hold {
        interface.held_changed(emitter).await?;
    }
    if before.failed != now.failed {
        interface.failed_changed(emitter).await?;
    }
    if before.history != now.history {
        interface.history_changed(emitter).await?;
    }
    Ok(())
}
