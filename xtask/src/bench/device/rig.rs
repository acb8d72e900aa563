//! A device on this machine: the real daemon in a mount namespace of its own, with loop devices as slots, a
//! private bus, and a repository on loopback.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use qemu_tests::https::HttpsServer;

use super::web::Meter;
use crate::bench::measure::Task;

/// Goes into the device, whose directory is `$0`, and becomes the program.
const ENTER: &str = r#"
set -e
mount --make-rprivate /
for d in usr lib lib64 bin sbin; do
    [ ! -e "/$d" ] || mount --bind "$(readlink -f "/$d")" "$0/root/$d"
done
mount --rbind /dev "$0/root/dev"
mount --rbind /sys "$0/root/sys"
mount -t proc proc "$0/root/proc"
mount --bind "$0/run" "$0/root/run"
mount --bind "$0/cmdline" "$0/root/proc/cmdline"
mount --bind "$1" "$0/root/opt"
shift
exec chroot "$0/root" "$@"
"#;

/// Everybody may do everything on it.
const BUS: &str = "<busconfig><type>system</type><listen>unix:path=@</listen><auth>EXTERNAL</auth>\
    <policy context='default'><allow own='*'/><allow send_destination='*'/><allow receive_sender='*'/>\
    </policy></busconfig>";

/// A process that ends with its value.
#[derive(Debug)]
pub(super) struct Running(pub(super) Child);

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The device; gone when dropped.
#[derive(Debug)]
pub(super) struct Rig {
    work: PathBuf,
    loops: [String; 2],
    mounted: bool,
    publisher: PathBuf,
    _bus: Running,
    _server: HttpsServer,
    /// In front of the repository.
    pub(super) meter: Meter,
}

impl Rig {
    /// Prepares all but the daemon.
    pub(super) fn new(work: &Path, daemon: &Path, publisher: &Path) -> anyhow::Result<Self> {
        for part in ["root", "run/dbus", "run/switchback"] {
            fs::create_dir_all(work.join(part))?;
        }
        let socket = work.join("run/dbus/system_bus_socket");
        let config = work.join("bus.conf");
        fs::write(&config, BUS.replace('@', &socket.display().to_string()))?;
        let bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .arg("--nofork")
            .stderr(Stdio::null())
            .spawn()
            .context("dbus-daemon")?;
        let repository = work.join("repository");
        verb(publisher, work, "init")
            .args(["--product", "kiosk"])
            .done()?;
        let server = HttpsServer::start(&repository)?;
        let meter = Meter::before(server.port())?;
        let mut rig = Self {
            work: work.into(),
            loops: [String::new(), String::new()],
            mounted: false,
            publisher: publisher.into(),
            _bus: Running(bus),
            meter,
            _server: server,
        };
        rig.disks()?;
        rig.files()?;
        listen(&work.join("run/switchback/fetch"), daemon)?;
        Ok(rig)
    }

    fn disks(&mut self) -> anyhow::Result<()> {
        for (at, (name, size)) in [("a.img", 64_u64 << 20), ("b.img", 512 << 20)]
            .into_iter()
            .enumerate()
        {
            let image = self.work.join(name);
            File::create(&image)?.set_len(size)?;
            if at == 0 {
                let features = ["-q", "-F", "-t", "ext4", "-O", "^has_journal"];
                Task::new("mke2fs").args(features).arg(&image).done()?;
            }
            let (_, said) = Task::new("losetup")
                .args(["-f", "--show"])
                .arg(&image)
                .done()?;
            if let Some(place) = self.loops.get_mut(at) {
                said.trim().clone_into(place);
            }
        }
        let root = self.work.join("root");
        Task::new("mount").arg(&self.loops[0]).arg(&root).done()?;
        self.mounted = true;
        for part in [
            "usr",
            "lib",
            "lib64",
            "bin",
            "sbin",
            "proc",
            "sys",
            "dev",
            "run",
            "tmp",
            "efi",
            "opt",
            "var/lib/switchback",
            "etc/switchback/config.d",
        ] {
            fs::create_dir_all(root.join(part))?;
        }
        Ok(())
    }

    fn files(&self) -> anyhow::Result<()> {
        let root = self.work.join("root");
        fs::write(self.work.join("cmdline"), "ro rauc.slot=A\n")?;
        let environment = root.join("efi/grubenv");
        Task::new("grub-editenv")
            .arg(&environment)
            .args(["create"])
            .done()?;
        Task::new("grub-editenv")
            .arg(&environment)
            .args(["set", "ORDER=A B", "A_OK=1", "A_TRY=0", "B_OK=0", "B_TRY=0"])
            .done()?;
        let switchback = root.join("etc/switchback");
        fs::copy(
            self.work.join("repository/metadata/1.root.json"),
            switchback.join("root.json"),
        )?;
        fs::write(switchback.join("ca.pem"), self._server.ca_pem())?;
        let [a, b] = &self.loops;
        let text = format!(
            "[device]\nproduct = \"kiosk\"\ncompatible = \"bench\"\n[repository]\n\
             url = \"https://127.0.0.1:{}\"\nroot-file = \"/etc/switchback/root.json\"\n\
             ca-file = \"/etc/switchback/ca.pem\"\n[slots]\na = \"{a}\"\nb = \"{b}\"\n\
             [boot]\ncontract = \"rauc-grub\"\ngrubenv = [\"/efi/grubenv\"]\n\
             [restart]\nautomatic = false\ncommand = [\"true\"]\n[health]\nsettle = \"1s\"\n",
            self.meter.port
        );
        fs::write(switchback.join("config.d/10-bench.toml"), text)?;
        Ok(())
    }

    /// Starts the daemon; what it says goes into a file.
    pub(super) fn start(&self, daemon: &Path) -> anyhow::Result<Running> {
        let log = File::create(self.log())?;
        let folder = daemon.parent().context("the daemon's directory")?;
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", ENTER])
            .arg(&self.work)
            .arg(folder)
            .args([
                "/opt/switchbackd",
                "--config-dir",
                "/etc/switchback/config.d",
            ])
            .env("MALLOC_ARENA_MAX", "1")
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare")?;
        Ok(Running(child))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.work.join("daemon.log")
    }

    pub(super) fn bus_address(&self) -> String {
        format!(
            "unix:path={}",
            self.work.join("run/dbus/system_bus_socket").display()
        )
    }

    pub(super) fn slots(&self) -> &[String; 2] {
        &self.loops
    }

    /// Publishes an image as a whole.
    pub(super) fn publish(&self, image: &Path, version: &str) -> anyhow::Result<()> {
        verb(&self.publisher, &self.work, "publish")
            .joined("--image=", image)
            .args([
                "--version",
                version,
                "--compatible",
                "bench",
                "--channel",
                "stable",
            ])
            .args(["--level", "1", "--no-chunks", "--deltas=0"])
            .done()?;
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Task::new("umount").arg(self.work.join("root")).done();
        }
        for device in self.loops.iter().filter(|device| !device.is_empty()) {
            let _ = Task::new("losetup").arg("-d").arg(device).done();
        }
    }
}

fn verb(publisher: &Path, work: &Path, verb: &str) -> Task {
    Task::new(publisher)
        .args(["--quiet", verb])
        .joined("--repo=", &work.join("repository"))
        .joined("--keys=", &work.join("keys"))
}

/// What switchback-fetch.socket is under systemd: a process for each connection.
fn listen(socket: &Path, daemon: &Path) -> anyhow::Result<()> {
    let listener = UnixListener::bind(socket).context("the fetcher's socket")?;
    let daemon = daemon.to_path_buf();
    if !daemon.exists() {
        bail!("{}: is not there", daemon.display());
    }
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let started = Command::new(&daemon)
                .arg("fetch")
                .stdin(OwnedFd::from(connection))
                .env("MALLOC_ARENA_MAX", "1")
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
            if let Ok(mut child) = started {
                std::thread::spawn(move || child.wait());
            }
        }
    });
    Ok(())
}
