//! Life 1: from the unpacked initramfs to the slot's own init.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

use crate::cmdline::CommandLine;

/// One module per line, in load order: path, then its parameters. After a line `pci-class 0805`
/// modules are loaded only when the machine has a device of that PCI class.
pub(crate) const MODULE_LIST: &str = "/modules.list";

const NEW_ROOT: &str = "/newroot";
const WATCHDOG: &str = "/dev/watchdog0";

/// Drivers probe in the background; a slow emulated card reader took under a second.
const ROOT_DEADLINE: Duration = Duration::from_secs(20);
const ROOT_POLL: Duration = Duration::from_millis(5);

/// Prepares the root file system and becomes its init; returns only with the reason of a failure.
pub(crate) fn hand_over() -> anyhow::Error {
    match try_hand_over() {
        Ok(never) => match never {},
        Err(why) => why,
    }
}

fn try_hand_over() -> anyhow::Result<Infallible> {
    mount_new("devtmpfs", "/dev", "devtmpfs")?;
    mount_new("proc", "/proc", "proc")?;
    mount_new("sysfs", "/sys", "sysfs")?;
    load_modules(&fs::read_to_string(MODULE_LIST).context("cannot read /modules.list")?)?;
    start_watchdog()?;

    let line = CommandLine::read()?;
    mount_root(&line)?;
    for kernel_fs in ["/dev", "/proc", "/sys"] {
        let target = format!("{NEW_ROOT}{kernel_fs}");
        move_mount(kernel_fs, &target)?;
    }
    switch_root()?;

    let init = line.value("init").unwrap_or("/sbin/init");
    let path = CString::new(init).context("init= holds a NUL byte")?;
    nix::unistd::execv(&path, &[path.as_c_str()]).with_context(|| format!("cannot run {init}"))
}

fn mount_new(source: &str, target: &str, kind: &str) -> anyhow::Result<()> {
    fs::create_dir_all(target).with_context(|| format!("cannot make {target}"))?;
    mount(
        Some(source),
        target,
        Some(kind),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("cannot mount {target}"))
}

fn move_mount(from: &str, to: &str) -> anyhow::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .with_context(|| format!("cannot move {from} to {to}"))
}

fn load_modules(list: &str) -> anyhow::Result<()> {
    let mut wanted = true;
    for line in list.lines() {
        if let Some(class) = line.strip_prefix("pci-class ") {
            wanted = has_pci_class(class)?;
        }
        if !wanted || !line.starts_with('/') {
            continue;
        }
        let (path, parameters) = line.split_once(' ').unwrap_or((line, ""));
        let module = File::open(path).with_context(|| format!("cannot open module {path}"))?;
        let parameters = CString::new(parameters).context("module parameters hold a NUL byte")?;
        match finit_module(&module, &parameters, ModuleInitFlags::empty()) {
            // ENODEV: the driver's hardware is not on this board, which is no failure.
            Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => {}
            Err(why) => bail!("cannot load module {path}: {why}"),
        }
    }
    Ok(())
}

/// Whether the machine has a PCI device of that base class and subclass, four hexadecimal digits.
fn has_pci_class(class: &str) -> anyhow::Result<bool> {
    let devices = "/sys/bus/pci/devices";
    for device in fs::read_dir(devices).with_context(|| format!("cannot list {devices}"))? {
        let path = device
            .context("cannot list PCI devices")?
            .path()
            .join("class");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if text
            .trim()
            .strip_prefix("0x")
            .is_some_and(|digits| digits.starts_with(class))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Starts the watchdog and leaves it running: closing without the magic `V`, on a driver loaded
/// with `nowayout`, does not stop it. From here on a hang at any stage ends in a reset.
fn start_watchdog() -> anyhow::Result<()> {
    if !Path::new(WATCHDOG).exists() {
        println!("SB: NO-WATCHDOG");
        return Ok(());
    }
    let mut device = OpenOptions::new()
        .write(true)
        .open(WATCHDOG)
        .context(WATCHDOG)?;
    device.write_all(b"1").context(WATCHDOG)
}

fn mount_root(line: &CommandLine) -> anyhow::Result<()> {
    let root = line
        .value("root")
        .context("no root= on the kernel command line")?;
    let label = root
        .strip_prefix("PARTLABEL=")
        .ok_or_else(|| anyhow!("root={root}: only root=PARTLABEL=… is understood"))?;
    let device = wait_for_partition(label)?;
    let kind = line.value("rootfstype").unwrap_or("ext4");
    let flags = if line.has("rw") {
        MsFlags::empty()
    } else {
        MsFlags::MS_RDONLY
    };
    fs::create_dir_all(NEW_ROOT).context("cannot make the mount point of the root")?;
    mount(Some(&device), NEW_ROOT, Some(kind), flags, None::<&str>)
        .with_context(|| format!("cannot mount {} ({root}) as {kind}", device.display()))
}

fn wait_for_partition(label: &str) -> anyhow::Result<PathBuf> {
    let started = Instant::now();
    loop {
        match partitions_named(label)?.as_slice() {
            [] if started.elapsed() > ROOT_DEADLINE => bail!("no partition is named {label}"),
            [] => std::thread::sleep(ROOT_POLL),
            [only] => return Ok(only.clone()),
            several => bail!(
                "{} partitions are named {label}: {several:?}",
                several.len()
            ),
        }
    }
}

/// Device files of all partitions whose GPT name is `label`.
pub(crate) fn partitions_named(label: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/block").context("cannot list /sys/class/block")? {
        // A device may vanish between listing and reading; it is then simply not a candidate.
        let Ok(uevent) = entry.and_then(|e| fs::read_to_string(e.path().join("uevent"))) else {
            continue;
        };
        let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key));
        if value("PARTNAME=") == Some(label)
            && let Some(name) = value("DEVNAME=")
        {
            found.push(Path::new("/dev").join(name));
        }
    }
    Ok(found)
}

fn switch_root() -> anyhow::Result<()> {
    nix::unistd::chdir(NEW_ROOT).context("cannot enter the root")?;
    move_mount(".", "/")?;
    nix::unistd::chroot(".").context("cannot change the root")?;
    nix::unistd::chdir("/").context("cannot enter the changed root")
}
