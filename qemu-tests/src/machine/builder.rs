//! What a machine is made of, before it is switched on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Machine;
use super::console::Console;
use super::process::{Guard, tied};
use super::qmp::Qmp;
use crate::error::{Error, IoContext as _, Result};

const QEMU: &str = "qemu-system-x86_64";

/// Emulation, with a small cache of translated code. With QEMU's own size (up to 1 GiB) what was
/// translated before a warm reset is still there after it, and each write of the bootloader into
/// that memory is then looked up in it: loading a kernel took 10 to 40 s instead of 1 s.
const DEFAULT_ACCELERATOR: &str = "tcg,tb-size=128";

/// Chooses QEMU's accelerator. Never guessed from `/dev/kvm`: it may exist and hang.
pub const ACCELERATOR_VARIABLE: &str = "SWITCHBACK_QEMU_ACCEL";

/// Where a drive's bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskBackend {
    /// A raw image file. A killed QEMU keeps even unflushed writes: no power cut.
    File(PathBuf),
    /// An NBD server on a Unix socket, which decides what survives.
    Nbd {
        /// The server's socket.
        socket: PathBuf,
    },
}

impl DiskBackend {
    fn file_option(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Nbd { socket } => format!("nbd:unix:{}", socket.display()),
        }
    }
}

/// How a drive is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveBus {
    /// virtio-blk: flushes and FUA reach the backend as the guest sends them.
    VirtioBlk,
    /// NVMe: QEMU 7.2 drops FUA, so never for power cuts.
    Nvme,
    /// An SD card in an SDHCI controller on PCI.
    SdCard,
}

#[derive(Debug, Clone)]
struct Drive {
    id: String,
    backend: DiskBackend,
    bus: DriveBus,
}

/// A machine that is not running yet.
#[derive(Debug, Clone)]
pub struct MachineBuilder {
    name: String,
    work: PathBuf,
    machine_type: &'static str,
    memory_mib: u32,
    accelerator: String,
    drives: Vec<Drive>,
    port_forwards: Vec<String>,
    network: bool,
    watchdog: bool,
    no_reboot: bool,
    extra: Vec<OsString>,
}

impl MachineBuilder {
    /// A machine called `name` (used in errors), with its logs in the existing directory `work`.
    #[must_use]
    pub fn new(name: impl Into<String>, work: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            work: work.into(),
            machine_type: "pc",
            memory_mib: 384,
            accelerator: std::env::var(ACCELERATOR_VARIABLE)
                .unwrap_or_else(|_| DEFAULT_ACCELERATOR.to_owned()),
            drives: Vec::new(),
            port_forwards: Vec::new(),
            network: true,
            watchdog: true,
            no_reboot: false,
            extra: Vec::new(),
        }
    }

    /// QEMU's machine type: `pc` (default) or `q35`.
    #[must_use]
    pub fn machine_type(mut self, machine_type: &'static str) -> Self {
        self.machine_type = machine_type;
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Adds a drive; the first one is the boot disk.
    #[must_use]
    pub fn drive(mut self, id: impl Into<String>, backend: DiskBackend, bus: DriveBus) -> Self {
        self.drives.push(Drive {
            id: id.into(),
            backend,
            bus,
        });
        self
    }

    /// Keeps the drive `id` elsewhere, e.g. on a server that cuts the power.
    #[must_use]
    pub fn backend(mut self, id: &str, backend: &DiskBackend) -> Self {
        for drive in self.drives.iter_mut().filter(|drive| drive.id == id) {
            drive.backend = backend.clone();
        }
        self
    }

    /// Without a network card.
    #[must_use]
    pub fn no_network(mut self) -> Self {
        self.network = false;
        self
    }

    /// Connects `127.0.0.1:host_port` here to `guest_port` in the guest. The other way needs
    /// nothing: the guest reaches this host's 127.0.0.1 at 10.0.2.2.
    #[must_use]
    pub fn forward(mut self, host_port: u16, guest_port: u16) -> Self {
        self.port_forwards
            .push(format!(",hostfwd=tcp:127.0.0.1:{host_port}-:{guest_port}"));
        self
    }

    /// Without the watchdog: a hanging guest hangs for ever.
    #[must_use]
    pub fn no_watchdog(mut self) -> Self {
        self.watchdog = false;
        self
    }

    /// A guest's reset ends QEMU: one process is one boot.
    #[must_use]
    pub fn no_reboot(mut self) -> Self {
        self.no_reboot = true;
        self
    }

    /// Adds words to QEMU's command line, e.g. a board's firmware.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.extra.extend(words.into_iter().map(Into::into));
        self
    }

    /// Switches the machine on.
    ///
    /// # Errors
    /// QEMU cannot be started, or its logs and sockets cannot be made.
    pub fn start(&self) -> Result<Machine> {
        // Socket paths are limited to 107 bytes, so they do not live in `work`.
        let sockets = tempfile::Builder::new().prefix("sb-").tempdir();
        let sockets = sockets.io("make a directory in", std::env::temp_dir())?;
        let socket = sockets.path().join("qmp");
        let qmp = Qmp::listen(&socket)?;

        let mut command = self.command(&socket);
        let errors_path = self.work.join(format!("{}.qemu.log", self.name));
        let errors = std::fs::File::create(&errors_path).io("create", &errors_path)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut guard = Guard::start(command, QEMU)?;
        let pipes = (guard.child().stdin.take(), guard.child().stdout.take());
        let (Some(keyboard), Some(screen)) = pipes else {
            return Err(Error::Qmp {
                why: "QEMU was started without a console".to_owned(),
            });
        };
        let log = self.work.join(format!("{}.serial.log", self.name));
        let console = Console::start(&self.name, screen, &log)?;
        Ok(Machine {
            name: self.name.clone(),
            guard,
            console,
            keyboard,
            qmp,
            started: Instant::now(),
            commands: 0,
            _sockets: sockets,
        })
    }

    /// The command by which a person starts the same machine with its console on the terminal.
    #[must_use]
    pub fn command_line(&self) -> String {
        let command = self.command(Path::new("qmp.socket,server=on,wait=off"));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted = words.map(|word| {
            let word = word.to_string_lossy();
            let plain = word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_=,.:/+".contains(c));
            if plain {
                word.into_owned()
            } else {
                format!("'{word}'")
            }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    fn command(&self, qmp: &Path) -> Command {
        let mut command = tied(QEMU);
        command
            .args([
                "-name",
                &self.name,
                "-nodefaults",
                "-display",
                "none",
                "-monitor",
                "none",
            ])
            .args(["-machine", self.machine_type, "-accel", &self.accelerator])
            .args(["-m", &self.memory_mib.to_string()])
            .args([
                "-chardev",
                "stdio,id=console,signal=off",
                "-serial",
                "chardev:console",
            ])
            .args(["-qmp", &format!("unix:{}", qmp.display())]);
        for (index, drive) in self.drives.iter().enumerate() {
            drive.add_to(&mut command, index);
        }
        if self.network {
            let forwards = self.port_forwards.concat();
            command
                .args(["-netdev", &format!("user,id=net{forwards}")])
                // Without the option ROM the firmware does not try to boot from the network.
                .args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        }
        if self.watchdog {
            command.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        if self.no_reboot {
            command.arg("-no-reboot");
        }
        command.args(&self.extra);
        command
    }
}

impl Drive {
    fn add_to(&self, command: &mut Command, index: usize) {
        let file = self.backend.file_option();
        let drive = format!("if=none,id={},format=raw,file={file}", self.id);
        command.args(["-drive", &drive]);
        let id = &self.id;
        let device = match self.bus {
            DriveBus::VirtioBlk => format!("virtio-blk-pci,drive={id},bootindex={index}"),
            DriveBus::Nvme => format!("nvme,drive={id},serial={id},bootindex={index}"),
            DriveBus::SdCard => {
                command.args(["-device", "sdhci-pci"]);
                format!("sd-card,drive={id}")
            }
        };
        command.args(["-device", &device]);
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskBackend, DriveBus, MachineBuilder};
    use std::path::Path;

    fn words(builder: &MachineBuilder) -> String {
        let command = builder.command(Path::new("/s"));
        command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn drives_can_be_moved_to_a_server() {
        let file = DiskBackend::File("/d.img".into());
        let builder = MachineBuilder::new("m", "/w").drive("main", file, DriveBus::VirtioBlk);
        assert!(
            words(&builder).contains("file=/d.img"),
            "{}",
            words(&builder)
        );
        let moved = builder.backend(
            "main",
            &DiskBackend::Nbd {
                socket: "/n".into(),
            },
        );
        assert!(
            words(&moved).contains("file=nbd:unix:/n"),
            "{}",
            words(&moved)
        );
    }

    #[test]
    fn options_can_be_left_out() {
        let bare = MachineBuilder::new("m", "/w")
            .no_network()
            .no_watchdog()
            .no_reboot();
        let words = words(&bare);
        assert!(
            !words.contains("virtio-net") && !words.contains("i6300esb"),
            "{words}"
        );
        assert!(words.contains("-no-reboot"), "{words}");
    }
}
