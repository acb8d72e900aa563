//! The D-Bus service. It holds no logic: methods become commands for the driver, properties read
//! the driver's last view, and nothing that a client does or leaves undone can stall the driver.
//!
//! A device whose bus is broken must still be able to update itself: without a bus the daemon
//! runs on, and tries the bus again.

mod authority;
mod changes;
mod errors;
mod inhibit;
mod job;
mod manager;
mod options;
mod orders;
mod slot;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use switchback_dbus_api::{BUS_NAME, JOB_PATH, MANAGER_PATH, SLOT_PATH};
use switchback_types::SlotName;
use tokio::sync::{mpsc, oneshot, watch};
use zbus::Connection;
use zbus::object_server::InterfaceRef;

use self::authority::Authority;
pub use self::authority::actions;
use self::errors::MethodError;
use self::inhibit::Holders;
pub use self::job::Job;
pub use self::manager::Manager;
pub use self::slot::Slot;
use crate::driver::{Command, JobEnd, JobId, Message, View};
use crate::report::chain;

/// Ended jobs that can still be looked at.
const JOBS_KEPT: u32 = 16;
const RETRY: Duration = Duration::from_secs(30);

/// What the objects on the bus share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The driver's queue.
    pub(crate) driver: mpsc::UnboundedSender<Message>,
    /// What the driver shows.
    pub(crate) view: watch::Receiver<Arc<View>>,
    next_job: Arc<AtomicU32>,
    next_inhibitor: Arc<AtomicU32>,
    authority: Authority,
    holders: Holders,
}

impl Shared {
    /// Over the driver's queue and its view; members of `group` may give orders where there is no
    /// polkit.
    #[must_use]
    pub fn new(
        driver: mpsc::UnboundedSender<Message>,
        view: watch::Receiver<Arc<View>>,
        group: &str,
    ) -> Self {
        Self {
            driver,
            view,
            next_job: Arc::new(AtomicU32::new(1)),
            next_inhibitor: Arc::new(AtomicU32::new(1)),
            authority: Authority::new(group),
            holders: Holders::default(),
        }
    }

    fn new_number(&self) -> u32 {
        self.next_inhibitor.fetch_add(1, Ordering::Relaxed)
    }

    /// Those that can still be looked at.
    fn newest_jobs(&self) -> impl Iterator<Item = JobId> {
        let next = self.next_job.load(Ordering::Relaxed);
        (next.saturating_sub(JOBS_KEPT)..next).map(JobId)
    }

    async fn tell(&self, command: Command) -> Result<(), MethodError> {
        let (reply, answer) = oneshot::channel();
        let gone = || MethodError::Failed("the daemon is ending".into());
        self.driver
            .send(Message::Command { command, reply })
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(MethodError::from)
    }

    pub(crate) fn new_job(&self) -> JobId {
        JobId(self.next_job.fetch_add(1, Ordering::Relaxed))
    }
}

/// The path of a job's object.
pub(crate) fn job_path(job: JobId) -> String {
    format!("{JOB_PATH}/{}", job.0)
}

/// Which bus.
#[derive(Debug, Clone)]
pub enum Bus {
    /// The system's.
    System,
    /// The one at this address.
    At(String),
}

/// Serves until the program ends, whatever happens to the bus.
pub async fn serve(bus: Bus, shared: Shared, mut ends: mpsc::UnboundedReceiver<JobEnd>) {
    let mut said = false;
    loop {
        match connect(&bus, &shared).await {
            Ok(connection) => {
                said = false;
                let error = follow(&connection, &shared, &mut ends).await;
                tracing::warn!("the bus is gone: {}; going on without it", chain(&error));
            }
            Err(error) if !said => {
                said = true;
                tracing::warn!("no system bus: {}; going on without it", chain(&error));
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn connect(bus: &Bus, shared: &Shared) -> zbus::Result<Connection> {
    let builder = match bus {
        Bus::System => zbus::connection::Builder::system(),
        Bus::At(address) => zbus::connection::Builder::address(address.as_str()),
    };
    // Objects first, the name last: who sees the name finds the objects.
    builder
        .serve_at(MANAGER_PATH, Manager::new(shared.clone()))
        .serve_at(
            format!("{SLOT_PATH}/a"),
            Slot::new(shared.clone(), SlotName::A),
        )
        .serve_at(
            format!("{SLOT_PATH}/b"),
            Slot::new(shared.clone(), SlotName::B),
        )
        .name(BUS_NAME)
        .build()
        .await
}

/// The interfaces as a client finds them, for `docs/dbus/`.
#[must_use]
pub fn describe() -> String {
    use zbus::object_server::Interface;
    let (driver, _messages) = mpsc::unbounded_channel();
    let (_sender, view) = watch::channel(Arc::new(View::default()));
    let shared = Shared::new(driver, view, "switchback");
    let mut text = String::from(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
    );
    Manager::new(shared.clone()).introspect_to_writer(&mut text, 2);
    Slot::new(shared.clone(), SlotName::A).introspect_to_writer(&mut text, 2);
    Job::new(shared.clone(), JobId(1), "check", authority::Action::Check)
        .introspect_to_writer(&mut text, 2);
    text.push_str("</node>\n");
    text
}

/// Tells the bus what changes, until the bus is gone.
async fn follow(
    connection: &Connection,
    shared: &Shared,
    ends: &mut mpsc::UnboundedReceiver<JobEnd>,
) -> zbus::Error {
    let mut view = shared.view.clone();
    let mut before = View::default();
    let server = connection.object_server();
    let manager: InterfaceRef<Manager> = match server.interface(MANAGER_PATH).await {
        Ok(manager) => manager,
        Err(error) => return error,
    };
    loop {
        let result = tokio::select! {
            changed = view.changed() => match changed {
                Ok(()) => {
                    let now = view.borrow_and_update().clone();
                    let result = changes::tell(&manager, &before, &now).await;
                    if before.progress != now.progress {
                        let _ = job::progress(connection, shared).await;
                    }
                    let slots = slot::tell(connection, &before, &now).await;
                    before = (*now).clone();
                    result.and(slots)
                }
                // The driver is gone; so will this program be.
                Err(_) => std::future::pending().await,
            },
            end = ends.recv() => match end {
                Some(end) => ended(connection, &manager, end).await,
                None => std::future::pending().await,
            },
            () = connection.closed() => return zbus::Error::Failure("connection closed".into()),
        };
        if let Err(error) = result {
            return error;
        }
    }
}

async fn ended(
    connection: &Connection,
    manager: &InterfaceRef<Manager>,
    end: JobEnd,
) -> zbus::Result<()> {
    let path = job_path(end.job);
    let server = connection.object_server();
    job::end(connection, &path, &end).await?;
    let path = zbus::ObjectPath::try_from(path.as_str())?;
    manager::Manager::completed(manager.signal_emitter(), path, end.result, &end.message).await?;
    if let Some(old) = end.job.0.checked_sub(JOBS_KEPT) {
        // Whether it was still there does not matter.
        let _ = server.remove::<Job, _>(job_path(JobId(old))).await;
    }
    Ok(())
}
