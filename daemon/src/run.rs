//! Puts the parts together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchback_update_core::BootId;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::boot::{BootControl, BootError};
use crate::bus::{self, Bus, Shared};
use crate::cancel::Cancel;
use crate::driver::{Driver, DriverError, FleetParts, Message, Parts, Reloaded};
use crate::fetcher::{self, Fetcher, Remote, RemoteFleet};
use crate::fleet;
use crate::health::{Reached, scripts};
use crate::host::{Host, Machine, clock, hex};
use crate::identity::{Identity, IdentityError};
use crate::journal::{DiskFiles, Journal, RecordError, RecordFiles};
use crate::report::chain;
use crate::settings::{Settings, SettingsError};
use crate::slot::{Layout, LocateError, Roots};
use crate::system_bus::SystemBus;
use crate::trust::{Trust, TrustError};
use crate::worker::{self, Worker};

/// Lasts as long as the boot; systemd keeps it over restarts of the daemon.
const RUNTIME_DIRECTORY: &str = "/run/switchback";

/// Why the daemon ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The slots.
    #[error(transparent)]
    Layout(#[from] LocateError),
    /// The boot environment.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] RecordError),
    /// What is trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What the repository is shown of this device.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The system.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::System { what, source }
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// Says what is missing or wrong, and the way out.
pub fn run(directories: &[PathBuf]) -> Result<(), RunError> {
    let settings = crate::settings::load(directories)?;
    let layout = Layout::find(&Roots::default(), &settings.slots, &settings.boot.bootnames)?;
    let boot = BootControl::open(&settings.boot)?;
    let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
    let opened = Journal::open(&files, &settings.state_directory)?;
    let (trust, trust_warnings) = Trust::open(
        &files,
        &settings.state_directory,
        &settings.repository.root_file,
    )?;
    for warning in opened.warning.into_iter().chain(trust_warnings) {
        tracing::warn!("{warning}");
    }
    let identity = identity(&settings)?;
    let fetcher = fetcher(&settings, identity.clone());
    let runtime_directory = PathBuf::from(RUNTIME_DIRECTORY);
    std::fs::create_dir_all(&runtime_directory)
        .map_err(system(format!("{RUNTIME_DIRECTORY}: cannot be made")))?;
    let boot_id = read_boot_id()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(system("no runtime"))?;
    let system_bus = SystemBus::new(runtime.handle().clone());
    let host: Arc<dyn Host> = Arc::new(Machine::new(runtime_directory, system_bus));
    runtime.block_on(async move {
        let (queue, messages) = mpsc::unbounded_channel();
        let (job_ends, ends) = mpsc::unbounded_channel();
        let (cancel, reached) = (Cancel::default(), Reached::default());
        let worker = worker::start(Worker {
            fetcher,
            trust,
            device: settings.device.clone(),
            layout: layout.clone(),
            reached: reached.clone(),
            cancel: cancel.clone(),
            reports: queue.clone(),
            host: Arc::clone(&host),
            not_running: HashSet::new(),
        })
        .map_err(system("the worker thread cannot be started"))?;
        let fleet = fleet_of(&settings, identity, &files, &*host, &reached, &queue)?;
        watch_signals(&queue, directories)?;
        let metrics = settings.metrics.clone();
        let group = settings.bus_group.clone();
        let (driver, view) = Driver::new(Parts {
            decide: switchback_update_core::step,
            settings,
            layout,
            boot,
            journal: opened.journal,
            state: opened.state,
            boot_id,
            host,
            worker,
            fleet,
            cancel,
            reached,
            queue: queue.clone(),
            job_ends,
        })?;
        tokio::spawn(crate::metrics::serve(metrics, view.clone()));
        tokio::spawn(bus::serve(
            Bus::System,
            Shared::new(queue, view, &group),
            ends,
        ));
        Ok(driver.run(messages).await?)
    })
}

/// Runs the scripts that must, or should, succeed in each boot. Gives whether the required ones did.
///
/// # Errors
/// The configuration is wrong, or the results cannot be written.
pub fn boot_checks(directories: &[PathBuf]) -> Result<bool, RunError> {
    let settings = crate::settings::load(directories)?;
    let results = Path::new(scripts::RESULTS);
    scripts::run(&settings.health.scripts, results, &mut clock)
        .map_err(system(format!("{}: cannot be written", results.display())))
}

/// What the repository, and the fleet server, are shown of this device.
fn identity(settings: &Settings) -> Result<Option<Identity>, IdentityError> {
    let client = settings.repository.client.as_ref();
    client.map(Identity::load).transpose()
}

/// Who fetches, by these settings.
fn fetcher(settings: &Settings, identity: Option<Identity>) -> Box<dyn Fetcher> {
    let socket = Path::new(fetcher::SOCKET);
    Box::new(Remote::new(socket, settings.repository.clone(), identity))
}

/// The fleet server, if one is set.
fn fleet_of(
    settings: &Settings,
    identity: Option<Identity>,
    files: &Arc<dyn RecordFiles>,
    host: &dyn Host,
    reached: &Reached,
    queue: &mpsc::UnboundedSender<Message>,
) -> Result<Option<FleetParts>, RunError> {
    let Some(fleet) = &settings.fleet else {
        return Ok(None);
    };
    let new_id = || {
        let machine_id = std::fs::read_to_string("/etc/machine-id").ok();
        let mut chance = [0; 16];
        host.random(&mut chance);
        fleet::new_id(machine_id.as_deref(), chance)
    };
    let (mut memory, warning) = fleet::Memory::open(files, &settings.state_directory, new_id)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let mut chance = [0; 32];
    let proposed = if memory.token().is_none()
        && fleet.enroll_token_file.is_some()
        && host.random(&mut chance)
    {
        Some(memory.proposed(|| hex(&chance))?)
    } else {
        None
    };
    let asking = RemoteFleet::new(
        Path::new(fetcher::SOCKET),
        settings.repository.clone(),
        identity,
        fleet.clone(),
        (memory.id().into(), memory.token().map(Into::into), proposed),
    );
    let turns = fleet::start(Box::new(asking), reached.clone(), queue.clone())
        .map_err(system("the thread for the fleet server cannot be started"))?;
    Ok(Some(FleetParts { turns, memory }))
}

fn watch_signals(
    queue: &mpsc::UnboundedSender<Message>,
    directories: &[PathBuf],
) -> Result<(), RunError> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal = signal(kind).map_err(system("signals cannot be received"))?;
        let queue = queue.clone();
        tokio::spawn(async move {
            if signal.recv().await.is_some() {
                let _ = queue.send(Message::Terminate);
            }
        });
    }
    let mut signal = signal(SignalKind::hangup()).map_err(system("signals cannot be received"))?;
    let (queue, directories) = (queue.clone(), directories.to_vec());
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            reload(&queue, &directories);
        }
    });
    Ok(())
}

/// Reads the configuration anew. One that is wrong changes nothing.
fn reload(queue: &mpsc::UnboundedSender<Message>, directories: &[PathBuf]) {
    let notify = |state| {
        let _ = sd_notify::notify(&[state]);
    };
    notify(sd_notify::NotifyState::Reloading);
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        notify(now);
    }
    let read = || -> Result<Reloaded, RunError> {
        let settings = crate::settings::load(directories)?;
        let fetcher = fetcher(&settings, identity(&settings)?);
        Ok(Reloaded { settings, fetcher })
    };
    match read() {
        Ok(reloaded) => {
            // If the driver is gone the program is ending.
            let _ = queue.send(Message::Reload(Box::new(reloaded)));
        }
        Err(error) => tracing::error!("{}; the configuration stays as it was", chain(&error)),
    }
    notify(sd_notify::NotifyState::Ready);
}

/// The kernel's name for this boot.
pub(crate) fn read_boot_id() -> Result<BootId, RunError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path)
        .map_err(system(format!("{}: cannot be read", path.display())))?;
    Ok(BootId::new(&text))
}
