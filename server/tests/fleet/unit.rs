//! The unit that comes with the server: systemd takes it, and so does the server what it says.

use std::process::Command;

const UNIT: &str = include_str!("../../systemd/switchback-server.service");

#[test]
fn systemd_reads_the_unit() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("switchback-server.service");
    // The program is not installed here.
    let here = UNIT.replace("/usr/bin/switchback-server", "/bin/true");
    std::fs::write(&file, here).unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output()
        .expect("systemd-analyze: `cargo xtask tools` installs it");
    let words = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success(), "{words}");
    let of_ours = words.lines().find(|line| line.contains("switchback"));
    assert_eq!(of_ours, None);
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=20"])
        .arg(&file)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&security.stdout);
    assert!(security.status.success(), "{table}");
}

/// With the directories that systemd would name, the command line is one that the server takes:
/// it comes as far as the files that are not there.
#[test]
fn the_server_takes_what_the_unit_says() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().to_str().unwrap();
    let line = UNIT.replace("\\\n", " ");
    let line = line
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words = line.unwrap().split_whitespace().skip(1).map(|word| {
        word.replace("${STATE_DIRECTORY}", directory)
            .replace("${CREDENTIALS_DIRECTORY}", directory)
            .replace("[::]:8480", "127.0.0.1:0")
    });
    let done = Command::new(env!("CARGO_BIN_EXE_switchback-server"))
        .args(words)
        .output()
        .unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert!(error.contains("certificate.pem cannot be read"), "{error}");
}
