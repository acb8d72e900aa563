//! The product under test: built from this workspace, staged as a package would install it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::error::{IoContext as _, Result};

/// The programs that go into guests.
const GUEST_PROGRAMS: [&str; 2] = ["switchbackd", "switchback"];

/// Which guest, on which board, the product is configured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// Our own GRUB script.
    SwitchbackGrub,
    /// RAUC's GRUB script.
    RaucGrub,
    /// Our U-Boot script, with RAUC's variables.
    RaucUboot,
}

impl Contract {
    /// Tries that a trial has with it: RAUC's GRUB script knows one only.
    #[must_use]
    pub const fn tries(self) -> u8 {
        match self {
            Self::SwitchbackGrub | Self::RaucUboot => 3,
            Self::RaucGrub => 1,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::SwitchbackGrub => "switchback-grub",
            Self::RaucGrub => "rauc-grub",
            Self::RaucUboot => "rauc-u-boot",
        }
    }
}

/// Which guest it is staged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// The daemon on a bare init.
    Tiny,
    /// Debian with systemd.
    Systemd,
}

/// The kind of hardware that the guests say they are.
pub const COMPATIBLE: &str = "switchback-qemu-x86";
/// The line of releases they follow.
pub const PRODUCT: &str = "kiosk";
/// The channel they follow.
pub const CHANNEL: &str = "stable";
/// Where a factory puts what belongs to one device: on the data partition.
pub const DATA: &str = "/var/lib/switchback";

/// The programs, built for release.
#[derive(Debug, Clone)]
pub struct Product {
    programs: PathBuf,
}

impl Product {
    /// Builds the programs that go into guests, and the publisher.
    ///
    /// # Errors
    /// They do not compile.
    pub fn build() -> Result<Self> {
        let workspace = workspace();
        // A target directory of its own: the caller is run by cargo, which holds the other's lock.
        let target = workspace.join("target/qemu/product");
        Run::new("cargo")
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["--package", "switchbackd", "--package", "switchback"])
            .args(["--package", "switchback-repo"])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(&workspace)
            .check()?;
        Ok(Self {
            programs: target.join("release"),
        })
    }

    /// Path of a built program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Sizes in bytes of the programs that go into devices.
    ///
    /// # Errors
    /// One is missing.
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>> {
        GUEST_PROGRAMS
            .iter()
            .map(|name| {
                let path = self.program(name);
                Ok((*name, fs::metadata(&path).io("look at", &path)?.len()))
            })
            .collect()
    }

    /// Lays out the tree that a package installs.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn install_into(&self, root: &Path) -> Result<()> {
        self.put_programs(&GUEST_PROGRAMS, root)?;
        copy_tree(&workspace().join("systemd/usr"), &root.join("usr"))
    }

    fn put_programs(&self, programs: &[&str], root: &Path) -> Result<()> {
        for name in programs {
            let place = root.join("usr/bin").join(name);
            let program = fs::read(self.program(name)).io("read", &place)?;
            put(&place, &program, 0o755)?;
        }
        Ok(())
    }

    /// Lays out the tree that a package would install, with this board's configuration.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn stage(&self, guest: Guest, contract: Contract, out: &Path) -> Result<PathBuf> {
        let root = out.join(format!("overlay-{}-{guest:?}", contract.name()));
        if root.exists() {
            fs::remove_dir_all(&root).io("remove", &root)?;
        }
        if guest == Guest::Systemd {
            self.install_into(&root)?;
            enable(&root, "multi-user.target.wants", "switchbackd.service")?;
            enable(&root, "sockets.target.wants", "switchback-fetch.socket")?;
            enable(
                &root,
                "boot-complete.target.requires",
                "switchback-boot-checks.service",
            )?;
            enable(
                &root,
                "sysinit.target.wants",
                "switchback-trial-deadline.timer",
            )?;
        } else {
            self.put_programs(&["switchbackd"], &root)?;
            let default = workspace().join("systemd/usr/lib/switchback/config.d/00-default.toml");
            let place = root.join("usr/lib/switchback/config.d/00-default.toml");
            put(&place, &fs::read(&default).io("read", &default)?, 0o644)?;
        }
        let place = root.join("usr/lib/switchback/config.d/10-board.toml");
        put(&place, board_settings(guest, contract).as_bytes(), 0o644)?;
        if contract == Contract::RaucUboot {
            let text = include_str!("../../boot/u-boot/fw_env.config");
            put(&root.join("etc/fw_env.config"), text.as_bytes(), 0o644)?;
        }
        // What belongs to one device survives its updates.
        let etc = root.join("etc/switchback");
        fs::create_dir_all(&etc).io("make", &etc)?;
        let link = etc.join("config.d");
        symlink(format!("{DATA}/config.d"), &link).io("link", &link)?;
        Ok(root)
    }
}

/// The settings that a board maker bakes into the image.
fn board_settings(guest: Guest, contract: Contract) -> String {
    let health = match guest {
        Guest::Tiny => {
            "[health]\ndeadline = \"20s\"\nsettle = \"1s\"\n\
             [[health.command]]\nname = \"kiosk\"\ncommand = [\"/usr/bin/kiosk-health\"]\n\
             [restart]\ncommand = [\"/usr/bin/reboot\"]\n"
        }
        Guest::Systemd => {
            "[health]\ndeadline = \"30s\"\nsettle = \"3s\"\nunits = [\"kiosk.service\"]\n"
        }
    };
    let grubenv = match contract {
        Contract::RaucGrub => "grubenv = [\"/efi/grubenv\"]\n",
        Contract::SwitchbackGrub | Contract::RaucUboot => "",
    };
    format!(
        "# The board of the test guests.\n[device]\nproduct = \"{PRODUCT}\"\n\
         compatible = \"{COMPATIBLE}\"\n[boot]\ncontract = \"{}\"\n{grubenv}{health}",
        contract.name()
    )
}

/// This workspace's directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// Writes a file into a staged tree.
/// Writes a file and the directories that lead to it.
///
/// # Errors
/// One of them cannot be made.
pub fn put(place: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).io("make", parent)?;
    }
    fs::write(place, bytes).io("write", place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).io("set the mode of", place)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).io("list", from)? {
        let path = entry.io("list", from)?.path();
        let place = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_tree(&path, &place)?;
        } else {
            put(&place, &fs::read(&path).io("read", &path)?, 0o644)?;
        }
    }
    Ok(())
}

/// Enables a unit in a staged tree, as `systemctl enable` would.
pub(crate) fn enable(root: &Path, wants: &str, unit: &str) -> Result<()> {
    let directory = root.join("etc/systemd/system").join(wants);
    fs::create_dir_all(&directory).io("make", &directory)?;
    let link = directory.join(unit);
    symlink(format!("/usr/lib/systemd/system/{unit}"), &link).io("link", &link)
}
