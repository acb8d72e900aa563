//! Life 2: PID 1 of the tiny guest, from a mounted root to a running daemon.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};

use crate::cmdline::CommandLine;
use crate::initramfs::partitions_named;
use crate::supervisor::Supervisor;

/// Test images with a fault hold its name here.
const FAULT: &str = "/etc/tiny-fault";

/// Where the data partition is mounted: the daemon's state.
pub(crate) const DATA: &str = "/var/lib/switchback";

/// The boot partition, mounted when the board has one.
const ESP: &str = "/efi";

/// Brings the guest up and stays until the restart; returning panics the kernel.
pub(crate) fn live() -> anyhow::Result<()> {
    match fs::read_to_string(FAULT).unwrap_or_default().trim() {
        "hang" => hang(),
        "panic" => {
            println!("SB: FAULT panic");
            return Ok(());
        }
        _ => {}
    }
    mount_all()?;
    network_up()?;
    let line = CommandLine::read()?;
    println!(
        "SB: TINY-UP slot={} version={}",
        line.value("switchback.slot")
            .or_else(|| line.value("rauc.slot"))
            .unwrap_or("?"),
        image_version()?
    );
    crate::fetching::listen()?;
    Supervisor::start()?.supervise()
}

/// Sleeps for ever without feeding the watchdog.
fn hang() -> ! {
    println!("SB: FAULT hang");
    loop {
        std::thread::park();
    }
}

fn mount_all() -> anyhow::Result<()> {
    let tmpfs = |target: &str| {
        mount(
            Some("tmpfs"),
            target,
            Some("tmpfs"),
            MsFlags::MS_NOSUID,
            Some("mode=755"),
        )
        .with_context(|| format!("cannot mount {target}"))
    };
    tmpfs("/run")?;
    tmpfs("/tmp")?;
    tmpfs("/var")?;
    for directory in ["/var/lib", "/var/log", "/var/tmp", DATA, "/run/lock"] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {directory}"))?;
    }
    link_partitions()?;
    mount_partition("data", DATA, "ext4", MsFlags::MS_NOATIME)?;
    mount_partition("esp", ESP, "vfat", MsFlags::MS_NOATIME)
}

/// Makes `/dev/disk/by-partlabel`, as udev does in larger guests.
fn link_partitions() -> anyhow::Result<()> {
    let directory = Path::new("/dev/disk/by-partlabel");
    fs::create_dir_all(directory).context("cannot make /dev/disk/by-partlabel")?;
    for label in ["esp", "boot", "slot-a", "slot-b", "data"] {
        if let [device] = partitions_named(label)?.as_slice() {
            std::os::unix::fs::symlink(device, directory.join(label))
                .with_context(|| format!("cannot link the partition {label}"))?;
        }
    }
    Ok(())
}

/// Mounts the partition named `label`; a board without one goes without.
fn mount_partition(label: &str, target: &str, kind: &str, flags: MsFlags) -> anyhow::Result<()> {
    let Some(device) = partitions_named(label)?.into_iter().next() else {
        return Ok(());
    };
    mount(Some(&device), target, Some(kind), flags, None::<&str>)
        .with_context(|| format!("cannot mount {} on {target}", device.display()))
}

fn network_up() -> anyhow::Result<()> {
    if !Path::new("/sys/class/net/eth0").exists() {
        println!("SB: NO-NETWORK");
        return Ok(());
    }
    for arguments in [
        "link set lo up",
        "link set eth0 up",
        "addr add 10.0.2.15/24 dev eth0",
        "route add default via 10.0.2.2",
    ] {
        let status = Command::new("/bin/busybox")
            .arg("ip")
            .args(arguments.split(' '))
            .status()
            .context("cannot run /bin/busybox ip")?;
        anyhow::ensure!(status.success(), "ip {arguments}: {status}");
    }
    Ok(())
}

/// IMAGE_VERSION of os-release(5).
fn image_version() -> anyhow::Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let version = release
        .lines()
        .find_map(|line| line.strip_prefix("IMAGE_VERSION="));
    Ok(version
        .context("/etc/os-release names no IMAGE_VERSION")?
        .trim_matches('"')
        .to_owned())
}
