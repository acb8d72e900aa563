//! `org.switchback.Update1.Job`: one piece of long work that a client began.

use switchback_dbus_api as api;
use zbus::message::Header;
use zbus::{Connection, interface};

use super::authority::Action;
use super::errors::MethodError;
use super::options::{Options, Taken};
use super::{Shared, job_path};
use crate::driver::{Command, JobEnd, JobId};

/// A job object.
#[derive(Debug)]
pub struct Job {
    shared: Shared,
    id: JobId,
    kind: &'static str,
    /// What beginning it needed; calling it off needs the same.
    action: Action,
    state: &'static str,
    result: String,
    message: String,
}

impl Job {
    pub(super) fn new(shared: Shared, id: JobId, kind: &'static str, action: Action) -> Self {
        Self {
            shared,
            id,
            kind,
            action,
            state: "running",
            result: String::new(),
            message: String::new(),
        }
    }
}

/// One piece of long work. It stays to be looked at for a while after its end.
#[interface(name = "org.switchback.Update1.Job")]
impl Job {
    /// Calls it off. The job ends when that is done.
    async fn cancel(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(), MethodError> {
        Taken(options).finish()?;
        let authority = &self.shared.authority;
        authority.check(connection, &header, self.action).await?;
        self.shared.tell(Command::CancelJob(self.id)).await
    }

    /// `check`, `install`, `rollback` or `repair`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.kind.into()
    }

    /// `running`, `done` or `failed`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.state.into()
    }

    /// How far it is; the same dictionary as the manager's, empty for a `check` and after the end.
    #[zbus(property)]
    fn progress(&self) -> api::Progress {
        if self.state != "running" || self.kind == "check" {
            return api::Progress::default();
        }
        self.shared.view.borrow().progress.clone()
    }

    /// How it ended, as a stable word: `armed`, `repaired`, `whole`, `cancelled`, what went wrong (`network`,
    /// `content`, `slot`, `boot-environment`), `going-ahead`, or the word of the answer that stopped it (`up-to-date`,
    /// `held`, `outside-window`, …).
    #[zbus(property)]
    fn result(&self) -> String {
        self.result.clone()
    }

    /// How it ended, in words.
    #[zbus(property)]
    fn message(&self) -> String {
        self.message.clone()
    }
}

/// Notes the end in the job's object.
pub(super) async fn end(connection: &Connection, path: &str, end: &JobEnd) -> zbus::Result<()> {
    let job = connection.object_server().interface::<_, Job>(path).await?;
    let mut object = job.get_mut().await;
    object.message.clone_from(&end.message);
    object.result.clone_from(&end.code);
    object.state = end.result;
    object.message_changed(job.signal_emitter()).await?;
    object.result_changed(job.signal_emitter()).await?;
    object.state_changed(job.signal_emitter()).await
}

/// Signals the progress of those of the newest jobs that run.
pub(super) async fn progress(connection: &Connection, shared: &Shared) -> zbus::Result<()> {
    for id in shared.newest_jobs() {
        let path = job_path(id);
        let found = connection
            .object_server()
            .interface::<_, Job>(path.as_str());
        // It ended long ago, or was refused.
        let Ok(job) = found.await else { continue };
        let object = job.get().await;
        if object.state == "running" && object.kind != "check" {
            object.progress_changed(job.signal_emitter()).await?;
        }
    }
    Ok(())
}
