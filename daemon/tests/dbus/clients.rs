//! Clients that nobody here wrote, and clients that behave badly.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchback_dbus_api::{ManagerProxy, Options};
use switchbackd::driver::{Command, JobEnd, Message, View};

use super::rig::{PATIENCE, answer, served};

/// What an application would do, in Python: holds up a restart, asks for a check, and waits for the
/// job's end.
const PYTHON: &str = r#"
import os, sys
import dbus, dbus.mainloop.glib
from gi.repository import GLib
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection(sys.argv[1])
loop = GLib.MainLoop()
path = "/org/switchback/Update1"
manager = dbus.Interface(bus.get_object("org.switchback.Update1", path), "org.switchback.Update1.Manager")
def completed(job, result, message):
    print(job, result, message, flush=True)
    loop.quit()
bus.add_signal_receiver(completed, "Completed", "org.switchback.Update1.Manager")
held = manager.Inhibit("restart", "py", "saving", "block").take()
job = manager.Check(dbus.Dictionary({}, signature="sv"))
print(job, flush=True)
GLib.timeout_add_seconds(20, loop.quit)
loop.run()
properties = dbus.Interface(bus.get_object("org.switchback.Update1", job), "org.freedesktop.DBus.Properties")
print(properties.Get("org.switchback.Update1.Job", "Result"), flush=True)
os.close(held)
"#;

#[tokio::test]
async fn application_in_python_inhibits_checks_and_hears_of_the_end() {
    let mut served = served().await;
    let address = served.bus.address.clone();
    let client = tokio::task::spawn_blocking(move || {
        Process::new("/usr/bin/python3")
            .args(["-c", PYTHON, &address])
            .stderr(Stdio::inherit())
            .output()
            .expect("python3 is installed")
    });
    let first = tokio::time::timeout(PATIENCE, served.commands.recv()).await;
    let Ok(Some(Message::Inhibit(inhibitor))) = first else {
        panic!("are python3-dbus and python3-gi installed?")
    };
    let Command::Check(job) = answer(&mut served.commands, Ok(())).await else {
        panic!()
    };
    // The client may hear of the end before it has printed the job: then it prints both.
    let end = JobEnd {
        job,
        result: "done",
        code: "up-to-date".into(),
        message: "version 2 runs already".into(),
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    served.ends.send(end).unwrap();
    let released = tokio::time::timeout(PATIENCE, served.commands.recv()).await;
    assert!(matches!(released.unwrap(), Some(Message::Uninhibit(id)) if id == inhibitor.id));
    let output = client.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = "/org/switchback/Update1/job/1";
    assert_eq!(
        text,
        format!("{path}\n{path} done version 2 runs already\nup-to-date\n")
    );
}

/// One client asks without end and reads no answer; another one is answered all the same.
#[tokio::test]
async fn client_that_floods_and_never_reads_does_not_keep_others_waiting() {
    let served = served().await;
    let path = served.bus.address.split('=').nth(1).unwrap().to_owned();
    let path = path.split(',').next().unwrap().to_owned();
    let flood = std::thread::spawn(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        stream
            .write_all(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n")
            .unwrap();
        let bus = "org.freedesktop.DBus";
        let hello = zbus::message::Message::method_call("/org/freedesktop/DBus", "Hello")
            .destination(bus)
            .interface(bus)
            .build(&())
            .unwrap();
        let get = zbus::message::Message::method_call("/org/switchback/Update1", "GetAll")
            .destination("org.switchback.Update1")
            .interface("org.freedesktop.DBus.Properties")
            .build(&"org.switchback.Update1.Manager")
            .unwrap();
        stream.write_all(hello.data()).unwrap();
        let mut sent = 0_u32;
        // Until the bus has had enough of it.
        while sent < 50_000 && stream.write_all(get.data()).is_ok() {
            sent += 1;
        }
        sent
    });
    let mut slowest = Duration::ZERO;
    for round in 0..50 {
        let view = View {
            phase: format!("phase {round}"),
            ..View::default()
        };
        served.view.send_replace(Arc::new(view));
        let start = Instant::now();
        let phase = tokio::time::timeout(PATIENCE, served.manager.phase()).await;
        assert_eq!(phase.unwrap().unwrap(), format!("phase {round}"));
        slowest = slowest.max(start.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = flood.join().unwrap();
    assert!(sent > 100, "it was a flood: {sent}");
    assert!(slowest < PATIENCE, "{slowest:?}");
}

/// A client subscribes and dies in the middle of a job: the job goes on, and others hear of it.
#[tokio::test]
async fn client_that_dies_takes_nothing_with_it() {
    let mut served = served().await;
    let connection = zbus::connection::Builder::address(served.bus.address.as_str())
        .build()
        .await
        .unwrap();
    let manager = ManagerProxy::new(&connection).await.unwrap();
    let _signals = manager.receive_completed().await.unwrap();
    let call = tokio::spawn(async move { manager.check(Options::new()).await });
    let Command::Check(job) = answer(&mut served.commands, Ok(())).await else {
        panic!()
    };
    let path = call.await.unwrap().unwrap();
    connection.close().await.unwrap();
    let end = JobEnd {
        job,
        result: "done",
        code: "up-to-date".into(),
        message: "fine".into(),
    };
    served.ends.send(end).unwrap();
    let proxy = switchback_dbus_api::JobProxy::builder(&served.connection)
        .path(path)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap();
    let start = Instant::now();
    while proxy.state().await.unwrap() == "running" {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(proxy.message().await.unwrap(), "fine");
}
