//! `org.switchback.Update1.Manager`.

use std::fs::File;
use std::os::fd::OwnedFd;

use switchback_dbus_api as api;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, OwnedObjectPath, interface};

use super::Shared;
use super::authority::Action;
use super::errors::MethodError;
use super::inhibit::Request;
use super::options::{Options, Taken, shorten};
use super::orders::named;
use crate::driver::{Command, InhibitMode, View};
use crate::fetch::BundlePlace;

/// Longest address of a bundle, in bytes.
const MAX_URL: usize = 2048;

/// The manager object.
#[derive(Debug)]
pub struct Manager {
    pub(super) shared: Shared,
}

impl Manager {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

/// What the device is doing and why, and what it is told to do.
#[interface(name = "org.switchback.Update1.Manager")]
impl Manager {
    /// Asks the repository now; the job ends with the answer.
    async fn check(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        Taken(options).finish()?;
        self.may(connection, &header, Action::Check).await?;
        self.job(connection, "check", Action::Check, Command::Check)
            .await
    }

    /// Asks the repository now and installs what it offers. Options: `retry` (b): try an image
    /// that failed here once more; `override` (s): begin although it is not wanted or its risk is
    /// too great, for this reason. The job ends when the slot is armed.
    async fn install(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let action = Action::Update;
        let wish = self.wish(connection, &header, action, options).await?;
        self.job(connection, "install", action, |job| Command::Install {
            job,
            wish,
        })
        .await
    }

    /// Installs what a bundle brings: an open file, and what to call it. Options as for `Install`.
    /// The job ends when the slot is armed.
    async fn install_file(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        file: zbus::OwnedFd,
        name: String,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let action = Action::Install;
        let wish = self.wish(connection, &header, action, options).await?;
        let file = File::from(OwnedFd::from(file));
        let name = shorten(&name);
        // Anything else could keep the one thread that reads it waiting for ever.
        let regular = file.metadata().is_ok_and(|found| found.is_file());
        if !regular {
            let text = format!("{name}: is not a regular file");
            return Err(MethodError::InvalidArgs(text));
        }
        let place = BundlePlace::File { name, file };
        self.job(connection, "install", action, |job| {
            Command::InstallBundle { job, place, wish }
        })
        .await
    }

    /// Installs what a bundle at an `https://` or `http://` address brings, without storing it.
    /// Options as for `Install`. The job ends when the slot is armed.
    async fn install_url(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        url: String,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let action = Action::Install;
        let wish = self.wish(connection, &header, action, options).await?;
        let known = url.starts_with("https://") || url.starts_with("http://");
        if !known || url.len() > MAX_URL || url.contains(char::is_control) {
            let text = format!(
                "{:?}: expected an https:// or http:// address of at most {MAX_URL} bytes",
                shorten(&url)
            );
            return Err(MethodError::InvalidArgs(text));
        }
        let place = BundlePlace::Url(url);
        self.job(connection, "install", action, |job| {
            Command::InstallBundle { job, place, wish }
        })
        .await
    }

    /// Goes back to what the other slot holds by a flip alone, and holds the device there. Option
    /// `reason` (s). The job ends when the slot is armed.
    async fn roll_back(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        let mut options = Taken(options);
        let reason = options.text("reason")?;
        options.finish()?;
        let reason = reason.unwrap_or_else(|| "rolled back by a person".into());
        let action = Action::RollBack;
        self.may(connection, &header, action).await?;
        self.job(connection, "rollback", action, |job| Command::RollBack {
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
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<OwnedObjectPath, MethodError> {
        Taken(options).finish()?;
        self.may(connection, &header, Action::Mark).await?;
        self.job(connection, "repair", Action::Mark, Command::Repair)
            .await
    }

    /// Calls off what is under way.
    async fn cancel(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(connection, &header, Action::Manage, Command::Cancel)
            .await
    }

    /// The five answers given last, each with its reason.
    fn explain(&self, options: Options) -> Result<api::Decision, MethodError> {
        Taken(options).finish()?;
        Ok(self.shared.view.borrow().decision.clone())
    }

    /// Stays on what runs, until released. Option `until` (s): a time like `2026-12-24T18:00:00Z`
    /// at which it ends by itself.
    async fn hold(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        reason: String,
        options: Options,
    ) -> Result<(), MethodError> {
        let mut options = Taken(options);
        let until = options.parsed("until")?;
        options.finish()?;
        let reason = shorten(&reason);
        let command = Command::Hold { reason, until };
        self.tell(connection, &header, Action::Manage, command)
            .await
    }

    /// Lets updates go on.
    async fn release(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(connection, &header, Action::Manage, Command::Release)
            .await
    }

    /// Lets no other version come than this one; empty: the one that runs. The channel must still
    /// name it. Option `reason` (s).
    async fn pin(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        version: String,
        options: Options,
    ) -> Result<(), MethodError> {
        let mut options = Taken(options);
        let reason = options.text("reason")?;
        options.finish()?;
        let command = Command::Pin {
            version: named(&version)?,
            reason: reason.unwrap_or_else(|| "pinned by a person".into()),
        };
        self.tell(connection, &header, Action::Manage, command)
            .await
    }

    /// Lets any version come.
    async fn unpin(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(connection, &header, Action::Manage, Command::Unpin)
            .await
    }

    /// Gives consent to what is offered; where a version is named, to no other.
    async fn approve(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        version: String,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        let version = named(&version)?;
        let command = Command::Approve { version };
        self.tell(connection, &header, Action::Manage, command)
            .await
    }

    /// Asks not to be interrupted, until the file descriptor is closed. `what` is `update`,
    /// `restart` or `update:restart`. `mode` is `block`, or, for `restart` alone, `delay`: the
    /// restart is told by `PrepareForRestart` and waits a moment (`restart.delay-at-most`).
    async fn inhibit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        what: String,
        who: String,
        why: String,
        mode: String,
    ) -> Result<zbus::OwnedFd, MethodError> {
        let request = Request::parse(&what, &who, &why, &mode)?;
        let action = match request.mode {
            InhibitMode::Block => Action::InhibitBlock,
            InhibitMode::Delay => Action::InhibitDelay,
        };
        let uid = self.may(connection, &header, action).await?;
        request.take(&self.shared, uid).map(zbus::OwnedFd::from)
    }

    /// Marks the booted slot good in the boot environment.
    async fn mark_good(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(connection, &header, Action::Mark, Command::MarkGood)
            .await
    }

    /// Makes sure that the inactive slot is not started.
    async fn mark_bad(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(connection, &header, Action::Mark, Command::MarkBad)
            .await
    }

    /// Restarts into the armed slot, whatever gates say.
    async fn restart(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        self.tell(connection, &header, Action::Restart, Command::Restart)
            .await
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

    /// What an update, or the restart into it, waits for: conditions that were asked last, open and
    /// closed.
    #[zbus(property)]
    fn gates(&self) -> Vec<api::Gate> {
        self.shared.view.borrow().gates.clone()
    }

    /// The restart into an armed slot, while it has not come yet.
    #[zbus(property)]
    fn pending_restart(&self) -> api::PendingRestart {
        self.shared.view.borrow().restart.clone()
    }

    /// What each health check of this boot said last.
    #[zbus(property)]
    fn health(&self) -> Vec<api::Check> {
        health(&self.shared.view.borrow())
    }

    /// Applications that ask not to be interrupted.
    #[zbus(property)]
    fn inhibitors(&self) -> Vec<api::Inhibitor> {
        self.shared.view.borrow().inhibitors.clone()
    }

    /// The only version that may come; keys `version` (empty if any may), `reason`, `since`.
    #[zbus(property)]
    fn pinned(&self) -> api::Pin {
        self.shared.view.borrow().pin.clone()
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

    /// The device is about to restart into a new version: at the latest at `latest` (seconds since
    /// 1970), or as soon as everybody who delays it has let go.
    #[zbus(signal)]
    pub(super) async fn prepare_for_restart(
        emitter: &SignalEmitter<'_>,
        version: &str,
        latest: u64,
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

fn health(view: &View) -> Vec<api::Check> {
    let checks = view.health.iter().map(|check| api::Check {
        name: check.name.clone(),
        kind: check.kind.into(),
        required: check.required,
        state: check.standing.as_str().into(),
        since: check.since.to_string(),
        detail: check.detail.clone(),
    });
    checks.collect()
}
