//! `org.switchback.Update1.Job`: one piece of long work that a client began.

use zbus::{Connection, interface};

use crate::driver::JobEnd;

/// A job object.
#[derive(Debug)]
pub struct Job {
    kind: &'static str,
    state: &'static str,
    message: String,
}

impl Job {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            state: "running",
            message: String::new(),
        }
    }
}

/// One piece of long work. It stays to be looked at for a while after its end.
#[interface(name = "org.switchback.Update1.Job")]
impl Job {
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
    object.state = end.result;
    object.message_changed(job.signal_emitter()).await?;
    object.state_changed(job.signal_emitter()).await
}
