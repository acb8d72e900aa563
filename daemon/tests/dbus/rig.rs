//! A bus of our own, and the service on it with a test in the place of the driver.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use switchback_dbus_api::ManagerProxy;
use switchbackd::bus::{self, Bus, Shared};
use switchbackd::driver::{Command, JobEnd, Message, Refused, View};
use tokio::sync::{mpsc, watch};
use zbus::Connection;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Its members may give orders where there is no polkit; every Debian has it.
pub(crate) const GROUP: &str = "games";

/// A `dbus-daemon` of our own, killed when dropped.
pub(crate) struct PrivateBus {
    pub(crate) daemon: Child,
    pub(crate) address: String,
    _directory: tempfile::TempDir,
}

impl PrivateBus {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Clients of other users come, too.
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).unwrap();
        let socket = directory.path().join("bus");
        let config = directory.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow user='*'/><allow own='*'/>\
             <allow send_destination='*'/><allow receive_sender='*'/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Process::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed (apt-get install dbus-daemon)");
        // The address is printed once the bus listens.
        let mut first = String::new();
        let mut output = std::io::BufReader::new(daemon.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut first).unwrap();
        let address = first.trim().to_owned();
        Self {
            daemon,
            address,
            _directory: directory,
        }
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The service on a bus, with a test in the place of the driver.
#[allow(
    dead_code,
    reason = "the program's own tests share it and use less of it"
)]
pub(crate) struct Served {
    pub(crate) bus: PrivateBus,
    pub(crate) connection: Connection,
    pub(crate) manager: ManagerProxy<'static>,
    pub(crate) commands: mpsc::UnboundedReceiver<Message>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) ends: mpsc::UnboundedSender<JobEnd>,
}

pub(crate) async fn served() -> Served {
    let private = PrivateBus::start();
    let (driver, commands) = mpsc::unbounded_channel();
    let (view, receiver) = watch::channel(Arc::new(View::default()));
    let (ends, job_ends) = mpsc::unbounded_channel();
    let address = private.address.clone();
    tokio::spawn(bus::serve(
        Bus::At(address.clone()),
        Shared::new(driver, receiver, GROUP),
        job_ends,
    ));
    let connection = zbus::connection::Builder::address(address.as_str())
        .build()
        .await
        .unwrap();
    let dbus = zbus::fdo::DBusProxy::new(&connection).await.unwrap();
    let mut owners = dbus.receive_name_owner_changed().await.unwrap();
    let name = switchback_dbus_api::BUS_NAME.try_into().unwrap();
    if !dbus.name_has_owner(name).await.unwrap() {
        tokio::time::timeout(PATIENCE, async {
            while let Some(change) = owners.next().await {
                if change.args().unwrap().name == switchback_dbus_api::BUS_NAME {
                    return;
                }
            }
        })
        .await
        .expect("the service takes its name");
    }
    let manager = ManagerProxy::builder(&connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap();
    Served {
        bus: private,
        connection,
        manager,
        commands,
        view,
        ends,
    }
}

/// Answers the next command as the driver would.
pub(crate) async fn answer(
    commands: &mut mpsc::UnboundedReceiver<Message>,
    with: Result<(), Refused>,
) -> Command {
    let message = tokio::time::timeout(PATIENCE, commands.recv())
        .await
        .unwrap();
    let Some(Message::Command { command, reply }) = message else {
        panic!("{message:?}")
    };
    reply.send(with).unwrap();
    command
}
