//! The service on a real private bus, driven by a client; and its description in `docs/dbus/`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use switchback_dbus_api::{JobProxy, ManagerProxy, Options};
use switchbackd::bus::{self, Bus, Shared};
use switchbackd::driver::{Command, JobEnd, Message, Refused, View};
use switchbackd::fetch::BundlePlace;
use tokio::sync::{mpsc, watch};
use zbus::{Connection, Variant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A `dbus-daemon` of our own, killed when dropped.
struct PrivateBus {
    daemon: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl PrivateBus {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let config = directory.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow own='*'/><allow send_destination='*'/>\
             <allow receive_sender='*'/></policy></busconfig>",
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
struct Served {
    _bus: PrivateBus,
    connection: Connection,
    manager: ManagerProxy<'static>,
    commands: mpsc::UnboundedReceiver<Message>,
    view: watch::Sender<Arc<View>>,
    ends: mpsc::UnboundedSender<JobEnd>,
}

async fn served() -> Served {
    let private = PrivateBus::start();
    let (driver, commands) = mpsc::unbounded_channel();
    let (view, receiver) = watch::channel(Arc::new(View::default()));
    let (ends, job_ends) = mpsc::unbounded_channel();
    let address = private.address.clone();
    tokio::spawn(bus::serve(
        Bus::At(address.clone()),
        Shared::new(driver, receiver),
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
        _bus: private,
        connection,
        manager,
        commands,
        view,
        ends,
    }
}

/// Answers the next command as the driver would.
async fn answer(
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

#[tokio::test]
async fn properties_are_the_drivers_last_view() {
    let served = served().await;
    let slot = switchback_dbus_api::Slot {
        name: "a".into(),
        ..Default::default()
    };
    let view = View {
        phase: "idle".into(),
        slots: vec![slot],
        ..View::default()
    };
    served.view.send_replace(Arc::new(view));
    assert_eq!(served.manager.phase().await.unwrap(), "idle");
    assert_eq!(served.manager.slots().await.unwrap()[0].name, "a");
    assert_eq!(served.manager.last_error().await.unwrap(), "");
}

#[tokio::test]
async fn job_lives_from_the_call_to_its_end_and_is_signalled() {
    let mut served = served().await;
    let mut completed = served.manager.receive_completed().await.unwrap();
    let manager = served.manager.clone();
    let call = tokio::spawn(async move { manager.check(Options::new()).await });
    let Command::Check(job) = answer(&mut served.commands, Ok(())).await else {
        panic!()
    };
    let path = call.await.unwrap().unwrap();
    let proxy = JobProxy::builder(&served.connection)
        .path(path.clone())
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap();
    assert_eq!(proxy.kind().await.unwrap(), "check");
    assert_eq!(proxy.state().await.unwrap(), "running");
    served
        .ends
        .send(JobEnd {
            job,
            result: "done",
            message: "fine".into(),
        })
        .unwrap();
    let signal = tokio::time::timeout(PATIENCE, completed.next())
        .await
        .unwrap()
        .unwrap();
    let signal = signal.args().unwrap();
    assert_eq!(
        (signal.job.as_str(), signal.result),
        (path.as_str(), "done")
    );
    assert_eq!(proxy.state().await.unwrap(), "done");
    assert_eq!(proxy.message().await.unwrap(), "fine");
}

#[tokio::test]
async fn refusals_are_named_errors_and_leave_no_job() {
    let mut served = served().await;
    let manager = served.manager.clone();
    let call = tokio::spawn(async move { manager.roll_back(Options::new()).await });
    let refused = Refused {
        name: "NothingToRollBackTo",
        message: "slot b is empty".into(),
    };
    answer(&mut served.commands, Err(refused)).await;
    let error = call.await.unwrap().unwrap_err();
    let zbus::Error::MethodError(name, detail, _) = &error else {
        panic!("{error}")
    };
    assert_eq!(
        name.as_str(),
        "org.switchback.Update1.Error.NothingToRollBackTo"
    );
    assert_eq!(detail.as_deref(), Some("slot b is empty"));
    let job = JobProxy::builder(&served.connection)
        .path("/org/switchback/Update1/job/1")
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap();
    assert!(job.state().await.is_err());
}

#[tokio::test]
async fn misspelt_options_are_refused_before_the_driver_hears_of_them() {
    let mut served = served().await;
    for (name, value) in [
        ("rety", Variant::from(true)),
        ("retry", Variant::from("yes")),
    ] {
        let options = Options::from([(name, value)]);
        let error = served
            .manager
            .install(options)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("UnknownOption") && error.contains(name),
            "{error}"
        );
    }
    assert!(served.commands.try_recv().is_err());
}

#[tokio::test]
async fn bundles_come_from_whole_addresses_and_regular_files() {
    let mut served = served().await;
    let long = format!("https://updates.example/{}", "x".repeat(2048));
    for url in ["ftp://updates.example/b", "https://a/\n", &long] {
        let refused = served.manager.install_url(url, Options::new()).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("an https:// or http:// address"), "{error}");
    }
    let directory = std::fs::File::open("/").unwrap();
    let file = std::os::fd::AsFd::as_fd(&directory).into();
    let refused = served.manager.install_file(file, "stick", Options::new());
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("stick: is not a regular file"), "{error}");
    assert!(served.commands.try_recv().is_err());

    let manager = served.manager.clone();
    let url = format!("https://updates.example/{}", "x".repeat(1000));
    let call = tokio::spawn({
        let url = url.clone();
        async move { manager.install_url(&url, Options::new()).await }
    });
    let command = answer(&mut served.commands, Ok(())).await;
    let Command::InstallBundle { place, .. } = command else {
        panic!("{command:?}");
    };
    assert!(matches!(place, BundlePlace::Url(found) if found == url));
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn phase_changes_are_signalled() {
    let served = served().await;
    let phase = |phase: &str| {
        Arc::new(View {
            phase: phase.into(),
            ..View::default()
        })
    };
    let mut transitions = served.manager.receive_transition().await.unwrap();
    served.view.send_replace(phase("idle"));
    // Two views in quick succession may arrive as one: the second is sent once the first is seen.
    while served.manager.phase().await.unwrap() != "idle" {}
    let signal = async {
        loop {
            tokio::select! {
                signal = transitions.next() => break signal.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    served.view.send_replace(phase("idle"));
                    tokio::task::yield_now().await;
                    served.view.send_replace(phase("installing"));
                }
            }
        }
    };
    let signal = tokio::time::timeout(PATIENCE, signal).await.unwrap();
    assert_eq!(signal.args().unwrap().to, "installing");
}

#[test]
fn description_in_the_docs_is_up_to_date() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dbus/org.switchback.Update1.xml");
    let now = bus::describe();
    if std::env::var_os("SWITCHBACK_GENERATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/dbus is out of date: run `cargo xtask generate`"
    );
}
