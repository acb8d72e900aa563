//! The units as they are shipped, all enabled, in the eyes of the systemd of this machine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const UNITS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../systemd/usr/lib/systemd/system"
);

/// What `systemd-analyze verify` says of the targets of a boot; nothing if all is well.
fn verified(directory: &Path, targets: &[&str]) -> String {
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(targets)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", directory.display()))
        .env("LC_ALL", "C")
        .output()
        .expect("systemd-analyze, of Debian's package systemd");
    String::from_utf8(output.stderr).unwrap()
}

/// Our units, with programs that are there, enabled as the preset says.
fn enabled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(UNITS).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("/usr/bin/switchbackd", "/bin/true");
        let place = directory.path().join(entry.file_name());
        std::fs::write(place, &text).unwrap();
        let unit = entry.file_name().into_string().unwrap();
        for line in text.lines() {
            let (kind, targets) = match line.split_once('=') {
                Some(("WantedBy", targets)) => ("wants", targets),
                Some(("RequiredBy", targets)) => ("requires", targets),
                _ => continue,
            };
            for target in targets.split_whitespace() {
                link(directory.path(), &format!("{target}.{kind}"), &unit);
            }
        }
    }
    directory
}

fn link(directory: &Path, folder: &str, unit: &str) {
    let folder = directory.join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    symlink(format!("../{unit}"), folder.join(unit)).unwrap();
}

#[test]
fn no_unit_is_wrong_and_a_boot_has_no_cycle() {
    let directory = enabled();
    let boot = ["multi-user.target", "boot-complete.target"];
    let ours = |said: &str| -> Vec<String> {
        let about = |line: &&str| line.contains("switchback") || line.contains("cycle");
        said.lines().filter(about).map(String::from).collect()
    };
    assert_eq!(ours(&verified(directory.path(), &boot)), [""; 0]);

    // Beside the check that systemd itself brings, and a program that waits for both.
    let stock = "/usr/lib/systemd/system/systemd-boot-check-no-failures.service";
    let requires = directory.path().join("boot-complete.target.requires");
    symlink(
        stock,
        requires.join("systemd-boot-check-no-failures.service"),
    )
    .unwrap();
    std::fs::write(
        directory.path().join("waits.service"),
        "[Unit]\nRequires=boot-complete.target\nAfter=multi-user.target boot-complete.target\n\
         [Service]\nExecStart=/bin/true\n",
    )
    .unwrap();
    link(directory.path(), "multi-user.target.wants", "waits.service");
    assert_eq!(ours(&verified(directory.path(), &boot)), [""; 0]);

    // The one mistake that others make, to see that this test would see it.
    std::fs::write(
        directory.path().join("waits.service"),
        "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\n\
         [Service]\nExecStart=/bin/true\n",
    )
    .unwrap();
    let cycle = verified(directory.path(), &boot);
    assert!(cycle.contains("cycle"), "{cycle}");
}

#[test]
fn every_unit_that_can_be_enabled_is_in_the_preset() {
    let preset = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../systemd/usr/lib/systemd/system-preset/80-switchback.preset"
    );
    let preset = std::fs::read_to_string(preset).unwrap();
    for entry in std::fs::read_dir(UNITS).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let named = preset.lines().any(|line| line == format!("enable {name}"));
        assert_eq!(named, text.contains("[Install]"), "{name}");
    }
}
