//! Who is obeyed: by a real polkit with the policy that is installed, and without one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Instant;

use switchbackd::bus;

use super::rig::{GROUP, PATIENCE, answer, served};

const SYSTEMD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd");
/// `nobody` and `games`: a bus lets nobody in whom the system does not know.
const STRANGER: u32 = 65_534;
const MEMBER: u32 = 5;
/// Of no group.
const GID: u32 = 47_112;

/// Calls the manager as another user, with `busctl`; what it printed on failure.
async fn call(address: &str, uid: u32, groups: &str, words: &[&str]) -> Result<(), String> {
    let mut command = Process::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={GID}")]);
    match groups {
        "" => command.arg("--clear-groups"),
        groups => command.args(["--groups", groups]),
    };
    command
        .args(["busctl", "--timeout=15"])
        .arg(format!("--address={address}"))
        .args(words);
    let task = tokio::task::spawn_blocking(move || command.output());
    let output = task
        .await
        .unwrap()
        .expect("setpriv and busctl are on every Debian with systemd");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

const PLACE: [&str; 3] = [
    "org.switchback.Update1",
    "/org/switchback/Update1",
    "org.switchback.Update1.Manager",
];

fn order<'a>(prompt: bool, words: &[&'a str]) -> Vec<&'a str> {
    let prompt = match prompt {
        true => "--allow-interactive-authorization=yes",
        false => "--allow-interactive-authorization=no",
    };
    [&[prompt, "call"], &PLACE[..], words].concat()
}

#[tokio::test]
async fn without_polkit_root_and_the_group_are_obeyed_and_everybody_may_look() {
    let mut served = served().await;
    let address = served.bus.address.clone();
    let look = ["get-property", PLACE[0], PLACE[1], PLACE[2], "Phase"];
    call(&address, STRANGER, "", &look).await.unwrap();
    let hold = order(true, &["Hold", "sa{sv}", "mine", "0"]);
    let error = call(&address, STRANGER, "", &hold).await.unwrap_err();
    // In `busctl`'s own words for the standard error.
    assert!(error.contains("Access denied"), "{error}");
    assert!(
        served.commands.try_recv().is_err(),
        "the driver heard nothing"
    );
    let group = nix::unistd::Group::from_name(GROUP).unwrap().unwrap();
    let groups = group.gid.to_string();
    let called = async {
        let called = call(&address, MEMBER, &groups, &hold).await;
        called.unwrap();
    };
    tokio::join!(called, answer(&mut served.commands, Ok(())));
    // A moment's delay of the restart is everybody's.
    let delay = order(
        true,
        &["Inhibit", "ssss", "restart", "me", "saving", "delay"],
    );
    call(&address, STRANGER, "", &delay).await.unwrap();
    let block = order(
        true,
        &["Inhibit", "ssss", "restart", "me", "saving", "block"],
    );
    call(&address, STRANGER, "", &block).await.unwrap_err();
}

/// A polkit of our own on the test's bus: it sees the policy and the rule that are installed, and a
/// user who is a member of the group. Killed when dropped.
struct Polkit {
    daemon: Child,
    _directory: tempfile::TempDir,
}

impl Polkit {
    fn start(address: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let text = std::fs::read_to_string("/etc/group").unwrap();
        let line = format!("switchback:x:{GID}9:games\n");
        std::fs::write(path("group"), text + &line).unwrap();
        let shared = Path::new(SYSTEMD).join("usr/share/polkit-1");
        for name in ["actions", "rules.d"] {
            copy(&shared.join(name), &path(name));
        }
        // Only in this process's view of the file system.
        let script = format!(
            "mount --bind {0}/group /etc/group && \
             mount --bind {0}/actions /usr/share/polkit-1/actions && \
             mount --bind {0}/rules.d /usr/share/polkit-1/rules.d && \
             exec /usr/lib/polkit-1/polkitd --no-debug",
            directory.path().display()
        );
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).unwrap();
        let daemon = Process::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .env("DBUS_SYSTEM_BUS_ADDRESS", address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            daemon,
            _directory: directory,
        }
    }
}

impl Drop for Polkit {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn copy(from: &Path, to: &PathBuf) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn where_polkit_is_installed_it_decides() {
    let mut served = served().await;
    let address = served.bus.address.clone();
    let _polkit = Polkit::start(&address);
    let dbus = zbus::fdo::DBusProxy::new(&served.connection).await.unwrap();
    let start = Instant::now();
    while !dbus
        .name_has_owner("org.freedesktop.PolicyKit1".try_into().unwrap())
        .await
        .unwrap()
    {
        assert!(
            start.elapsed() < PATIENCE,
            "polkitd (apt-get install polkitd) does not start"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let hold = |prompt| order(prompt, &["Hold", "sa{sv}", "mine", "0"]);
    // Who cannot be asked is told that asking would help; where nobody is there to be asked, no.
    let error = call(&address, STRANGER, "", &hold(false))
        .await
        .unwrap_err();
    let text = "org.switchback.Update1.manage needs a person who proves who they are";
    assert!(error.contains(text), "{error}");
    let error = call(&address, STRANGER, "", &hold(true)).await.unwrap_err();
    assert!(error.contains("Access denied"), "{error}");
    // The group that is asked without polkit counts for nothing here.
    let group = nix::unistd::Group::from_name(GROUP).unwrap().unwrap();
    let refused = call(&address, STRANGER, &group.gid.to_string(), &hold(true)).await;
    refused.unwrap_err();
    assert!(
        served.commands.try_recv().is_err(),
        "the driver heard nothing"
    );
    let look = ["get-property", PLACE[0], PLACE[1], PLACE[2], "Phase"];
    call(&address, STRANGER, "", &look).await.unwrap();
    let words = hold(false);
    let called = async { call(&address, MEMBER, "", &words).await.unwrap() };
    tokio::join!(called, answer(&mut served.commands, Ok(())));
}

#[test]
fn polkit_knows_every_action_and_no_other() {
    let policy =
        Path::new(SYSTEMD).join("usr/share/polkit-1/actions/org.switchback.Update1.policy");
    let text = std::fs::read_to_string(policy).unwrap();
    let mut told: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("<action id=\"")?
                .strip_suffix("\">")
        })
        .collect();
    let mut known = bus::actions();
    told.sort_unstable();
    known.sort_unstable();
    assert_eq!(told, known);
}
