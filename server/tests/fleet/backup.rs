//! Backup under load, and what comes of it elsewhere.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Device, Server};

fn program(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchback-server"))
        .args(words)
        .output()
        .unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn error(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Devices report while the backup is made; what was answered before it began is in it, and
/// whoever had a token has it still.
#[test]
fn nothing_that_was_acknowledged_before_is_missing() {
    let server = Server::start();
    server.release("2", "image bytes");
    let names: Vec<String> = (0..4).map(|number| format!("d{number}")).collect();
    let devices: Vec<Device> = names.iter().map(|name| server.device(name)).collect();
    let rollout = server.rollout(&["100%"], &json!({}));
    let taken: Vec<String> = devices.iter().map(Device::take).collect();
    let place = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..3)
        .map(|n| place.path().join(format!("{n}.tar")))
        .collect();
    let (stop, heard) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    // How many words were answered before each backup began, and after it.
    let counts: Vec<(usize, usize)> = std::thread::scope(|scope| {
        for (device, action) in devices.iter().zip(&taken) {
            let (stop, heard) = (&stop, &heard);
            scope.spawn(move || {
                for count in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let text = format!("word {count}");
                    let body = json!({"status": {"execution": "proceeding", "details": [text]}});
                    let path = format!("/deploymentBase/{action}/feedback");
                    let said = device.ask("POST", &path, Some(&body.to_string()));
                    assert_eq!(said.status, 200);
                    heard.lock().unwrap().push((device.token.clone(), text));
                }
            });
        }
        let backups = files.iter().map(|file| {
            std::thread::sleep(Duration::from_millis(300));
            let before = heard.lock().unwrap().len();
            let data = text(server.data.path());
            let done = program(&["backup", text(file), "--data", data]);
            assert!(done.status.success(), "{done:?}");
            (before, heard.lock().unwrap().len())
        });
        let counts = backups.collect();
        stop.store(true, Ordering::Relaxed);
        counts
    });
    let heard = heard.into_inner().unwrap();
    assert!(counts[0].0 > 10, "{counts:?}");
    let writes_went_on = counts.iter().any(|(before, after)| after > before);
    assert!(writes_went_on, "{counts:?}");
    let file = &files[2];
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    assert_eq!(place.path().read_dir().unwrap().count(), 3, "nothing else");
    let elsewhere = tempfile::tempdir().unwrap();
    let data = elsewhere.path().join("data");
    let done = program(&["restore", text(file), "--data", text(&data)]);
    assert!(done.status.success(), "{done:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&data.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "nor the directory for others");
    let again = Server::over(&server, data);
    let mut kept = Vec::new();
    for (name, device) in names.iter().zip(&devices) {
        let shown = again.get(&format!("/api/v1/devices/{name}"));
        let said = shown["messages"].as_array().unwrap().iter();
        kept.extend(said.map(|said| {
            let text = said["text"].as_str().unwrap().to_owned();
            (device.token.clone(), text)
        }));
    }
    for word in &heard[..counts[2].0] {
        // A device's page shows its last 200.
        let late = heard.iter().filter(|(token, _)| *token == word.0).count();
        assert!(kept.contains(word) || late > 150, "{word:?}");
    }
    assert_ne!(again.attempt(&rollout, "d0")["taken_at"], json!(null));
    // The device's token and the uploaded file are there.
    let id = &names[0];
    let device = Device {
        base: format!("{}/DEFAULT/controller/v1/{id}", again.base),
        token: devices[0].token.clone(),
    };
    let base = device.take();
    assert_eq!(base, taken[0]);
    let offer = device.ask("GET", &format!("/deploymentBase/{base}"), None);
    let offer = offer.with(200).json();
    let links = &offer["deployment"]["chunks"][0]["artifacts"][0]["_links"];
    let href = links["download-http"]["href"]
        .as_str()
        .or(links["download"]["href"].as_str())
        .unwrap();
    let path = href.strip_prefix(&device.base).unwrap();
    assert_eq!(device.ask("GET", path, None).with(200).body, "image bytes");
    // No number that a device may know of after the backup is given again.
    device.say(&base, "closed", "failure").with(200);
    again.device("late");
    let late = Device {
        base: format!("{}/DEFAULT/controller/v1/late", again.base),
        token: again
            .api("POST", "/api/v1/devices/late/token", None)
            .with(200)
            .json()["token"]
            .as_str()
            .unwrap()
            .to_owned(),
    };
    again.rollout(&["100%"], &json!({"group": "id == late"}));
    let number: u64 = late.take().parse().unwrap();
    assert!(number > 10_000_000, "{number}");
}

#[test]
fn faults_of_backups_are_named() {
    let server = Server::start();
    server.release("2", "image bytes");
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let data = text(server.data.path());
    let file = path("fleet.tar");
    assert!(program(&["backup", &file, "--data", data]).status.success());
    // Not over another, not of nothing, not of PostgreSQL.
    let why = error(&program(&["backup", &file, "--data", data]));
    assert!(why.contains("fleet.tar is there already"), "{why}");
    let nothing = path("nothing");
    let why = error(&program(&["backup", &path("b.tar"), "--data", &nothing]));
    assert!(why.contains("there is no fleet in"), "{why}");
    let database = ["--database", "postgres://fleet@db/fleet"];
    let why = error(&program(
        &[&["backup", &path("b.tar")], &database[..]].concat(),
    ));
    assert!(
        why.contains("pg_dump") && why.contains("artifacts"),
        "{why}"
    );
    // Not into a fleet that is there, nor under a server.
    let why = error(&program(&["restore", &file, "--data", data]));
    assert!(why.contains("another server is at"), "{why}");
    let fresh = path("fresh");
    assert!(
        program(&["restore", &file, "--data", &fresh])
            .status
            .success()
    );
    let why = error(&program(&["restore", &file, "--data", &fresh]));
    assert!(why.contains("there is a fleet in"), "{why}");
    // Cut off, damaged in a file, something else, or with a path that leads out: no fleet comes
    // of it.
    let whole = std::fs::read(&file).unwrap();
    let at = whole
        .windows(11)
        .rposition(|part| part == b"image bytes")
        .unwrap();
    let mut damaged = whole.clone();
    damaged[at] ^= 1;
    let mut led_out = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        led_out.append(&header, bytes).unwrap();
    };
    add(
        "switchback-fleet-backup.json",
        br#"{"schema":1,"made_at":0,"version":"0"}"#,
    );
    add("../out", b"x");
    let led_out = led_out.into_inner().unwrap();
    let newer = String::from_utf8_lossy(&led_out).replace("\"schema\":1", "\"schema\":9");
    for (number, (bytes, part)) in [
        (&whole[..whole.len() / 3], "is no whole backup"),
        (&damaged[..], "is damaged: its SHA-256 is"),
        (b"something else", "is no whole backup"),
        (b"", "it is empty"),
        (&led_out, "does not belong there"),
        (newer.as_bytes(), "which is newer"),
    ]
    .into_iter()
    .enumerate()
    {
        let (file, into) = (
            path(&format!("bad-{number}")),
            path(&format!("in-{number}")),
        );
        std::fs::write(&file, bytes).unwrap();
        let why = error(&program(&["restore", &file, "--data", &into]));
        assert!(why.contains(part), "{part}: {why}");
        assert!(!Path::new(&into).join("fleet.db").exists(), "{part}");
    }
    assert!(!place.path().join("out").exists());
}
