//! The daemons that Debian has, doing nothing, beside ours.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use qemu_tests::tools::Tool;

use super::rig::{Rig, Running};
use super::web::Meter;

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        package: "rauc",
        why: "rauc service, to compare with",
    },
    Tool {
        package: "swupdate",
        why: "its client of hawkBit, to compare with",
    },
    Tool {
        package: "mender-client",
        why: "mender daemon, to compare with",
    },
];

/// One of them.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) running: Running,
    /// What is on disk, without shared libraries.
    pub(super) program: &'static str,
    /// What it asks over the network, and how often in an hour.
    pub(super) polls: Option<(Meter, f64)>,
}

/// Starts all three.
pub(super) fn start(rig: &Rig, work: &Path) -> anyhow::Result<Vec<Peer>> {
    Ok(vec![rauc(rig, work)?, swupdate(work)?, mender(rig, work)?])
}

fn output(work: &Path, name: &str) -> anyhow::Result<Stdio> {
    Ok(File::create(work.join(format!("{name}.log")))?.into())
}

fn rauc(rig: &Rig, work: &Path) -> anyhow::Result<Peer> {
    let backend = work.join("backend.sh");
    // What it asks of a bootloader, answered from nowhere.
    let script =
        "#!/bin/sh\ncase $1 in get-primary|get-current) echo A;; get-state) echo good;; esac\n";
    fs::write(&backend, script)?;
    Command::new("chmod").arg("+x").arg(&backend).status()?;
    let data = work.join("rauc");
    fs::create_dir_all(data.join("mnt"))?;
    let config = work.join("rauc.conf");
    let [a, b] = rig.slots();
    fs::write(
        &config,
        format!(
            "[system]\ncompatible=bench\nbootloader=custom\nmountprefix={0}/mnt\ndata-directory={0}\n\
             bundle-formats=plain verity\n[keyring]\npath=/etc/ssl/certs/ca-certificates.crt\n\
             [handlers]\nbootloader-custom-backend={1}\n[slot.rootfs.0]\ndevice={a}\ntype=raw\nbootname=A\n\
             [slot.rootfs.1]\ndevice={b}\ntype=raw\nbootname=B\n",
            data.display(),
            backend.display()
        ),
    )?;
    let child = Command::new("rauc")
        .arg("-c")
        .arg(&config)
        .args(["--override-boot-slot=A", "service"])
        .env("DBUS_STARTER_BUS_TYPE", "session")
        .env("DBUS_SESSION_BUS_ADDRESS", rig.bus_address())
        .stdout(output(work, "rauc")?)
        .stderr(output(work, "rauc.error")?)
        .spawn()
        .context("rauc")?;
    Ok(Peer {
        name: "rauc service",
        running: Running(child),
        program: "/usr/bin/rauc",
        polls: None,
    })
}

fn swupdate(work: &Path) -> anyhow::Result<Peer> {
    let meter = Meter::of_hawkbit()?;
    let words = format!(
        "-t default -u http://127.0.0.1:{} -i bench -p 30",
        meter.port
    );
    let child = Command::new("swupdate")
        .args(["-l", "3", "-u", &words])
        .env("TMPDIR", work)
        .stdout(output(work, "swupdate")?)
        .stderr(output(work, "swupdate.error")?)
        .spawn()
        .context("swupdate")?;
    Ok(Peer {
        name: "swupdate (suricatta)",
        running: Running(child),
        program: "/usr/bin/swupdate",
        polls: Some((meter, 120.0)),
    })
}

fn mender(rig: &Rig, work: &Path) -> anyhow::Result<Peer> {
    let data = work.join("mender");
    fs::create_dir_all(&data)?;
    fs::write(data.join("device_type"), "device_type=bench\n")?;
    let config = work.join("mender.conf");
    let [a, b] = rig.slots();
    fs::write(
        &config,
        format!(
            "{{\"RootfsPartA\":\"{a}\",\"RootfsPartB\":\"{b}\",\"DeviceTypeFile\":\"{}/device_type\",\
             \"ServerURL\":\"https://127.0.0.1:9\",\"UpdatePollIntervalSeconds\":900,\
             \"InventoryPollIntervalSeconds\":28800}}",
            data.display()
        ),
    )?;
    let child = Command::new("mender")
        .args(["--no-syslog", "-c"])
        .arg(&config)
        .args(["-b", "none", "-d"])
        .arg(&data)
        .arg("daemon")
        .env("DBUS_SYSTEM_BUS_ADDRESS", rig.bus_address())
        .stdout(output(work, "mender")?)
        .stderr(output(work, "mender.error")?)
        .spawn()
        .context("mender")?;
    Ok(Peer {
        name: "mender daemon",
        running: Running(child),
        program: "/usr/bin/mender",
        polls: None,
    })
}
