//! U-Boot itself, built from Debian's source package with `boot/u-boot/config.fragment`.
//!
//! Debian's ready-made x86 ROM keeps no environment at all; built this way it keeps it in raw MMC
//! sectors, in two copies, as most boards do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Key};
use crate::command::Run;
use crate::debian::Archive;
use crate::error::{IoContext as _, Result};
use crate::tools::{self, Tool};

/// The release whose U-Boot is built. Its compiler and tools are the host's.
const SUITE: &str = "bookworm";
/// The source, which stays the same through that release's life.
const ORIGINAL: &str = "u-boot_2023.01+dfsg.orig.tar.xz";
const SOURCE_DIRECTORY: &str = "u-boot-2023.01";

const FRAGMENT: &str = include_str!("../../../boot/u-boot/config.fragment");

/// For the board whose U-Boot counts by itself, behind the other one.
pub(super) const BOOTCOUNT_FRAGMENT: &str = include_str!("../../../boot/u-boot/bootcount.fragment");

/// The date in U-Boot's banner: the same source gives the same ROM.
const BUILD_DATE: &str = "1735689600";

/// Needed to build it.
const BUILD_TOOLS: &[Tool] = &[
    Tool {
        package: "gcc",
        why: "the compiler",
    },
    Tool {
        package: "make",
        why: "the build",
    },
    Tool {
        package: "bison",
        why: "the parser of its configuration and of device trees",
    },
    Tool {
        package: "flex",
        why: "the scanner of the same",
    },
    Tool {
        package: "bc",
        why: "arithmetic in its build",
    },
    Tool {
        package: "libssl-dev",
        why: "its mkimage",
    },
    Tool {
        package: "swig",
        why: "libfdt for binman",
    },
    Tool {
        package: "python3-dev",
        why: "libfdt for binman",
    },
    Tool {
        package: "python3-setuptools",
        why: "libfdt for binman",
    },
    Tool {
        package: "python3-pyelftools",
        why: "binman, which puts the ROM together",
    },
    Tool {
        package: "acpica-tools",
        why: "iasl: the board's ACPI tables",
    },
];

/// The built files.
#[derive(Debug, Clone)]
pub(super) struct Firmware {
    /// The flash image for `-bios`.
    pub(super) rom: PathBuf,
    /// The variables that U-Boot has built in, as `name=value` lines. A stored environment replaces
    /// all of them, so one made outside must contain them: without `bootcmd` nothing boots.
    pub(super) initial_env: PathBuf,
}

impl Firmware {
    /// Builds U-Boot with `more` configuration, about a minute on two cores, or takes it from the
    /// cache.
    pub(super) fn build(cache: &Cache, more: &str) -> Result<Self> {
        let fragment = format!("{FRAGMENT}{more}");
        let key = Key::new("u-boot-1")
            .text(SUITE)
            .text(ORIGINAL)
            .text(&fragment);
        let entry = cache.entry("u-boot", &key, |entry| {
            tools::ensure(BUILD_TOOLS)?;
            let mirror = Archive::open(cache)?.mirror().to_owned();
            let scratch =
                tempfile::tempdir_in(cache.root()).io("make a directory in", cache.root())?;
            let source = unpack_source(scratch.path(), &mirror)?;
            compile(&source, &fragment, entry)
        })?;
        Ok(Self {
            rom: entry.join("u-boot.rom"),
            initial_env: entry.join("u-boot-initial-env"),
        })
    }
}

/// Fetches the source package through an apt that knows nothing but this source entry, and unpacks
/// the original source without Debian's patches, which concern other boards.
fn unpack_source(scratch: &Path, mirror: &str) -> Result<PathBuf> {
    let home = scratch.display();
    for directory in ["state/lists/partial", "cache/archives/partial"] {
        let path = scratch.join(directory);
        fs::create_dir_all(&path).io("make", &path)?;
    }
    let files = [
        ("status", String::new()),
        (
            "sources.list",
            format!(
                "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                 {mirror} {SUITE} main\n"
            ),
        ),
        (
            "apt.conf",
            format!(
                "Dir::State \"{home}/state\";\n\
                 Dir::State::status \"{home}/status\";\n\
                 Dir::Cache \"{home}/cache\";\n\
                 Dir::Etc::SourceList \"{home}/sources.list\";\n\
                 Dir::Etc::SourceParts \"/dev/null\";\n\
                 APT::Sandbox::User \"root\";\n"
            ),
        ),
    ];
    for (name, content) in files {
        let path = scratch.join(name);
        fs::write(&path, content).io("write", &path)?;
    }
    let apt = || Run::new("apt-get").env("APT_CONFIG", scratch.join("apt.conf"));
    apt().arg("update").check()?;
    let download = ["source", "--download-only", "--only-source", "u-boot"];
    apt().args(download).current_dir(scratch).check()?;
    Run::new("tar")
        .args(["-xf", ORIGINAL])
        .current_dir(scratch)
        .check()?;
    Ok(scratch.join(SOURCE_DIRECTORY))
}

/// Configures and builds in `source`, and keeps what is needed in `entry`.
fn compile(source: &Path, fragment: &str, entry: &Path) -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let make = || {
        Run::new("make")
            // Debian's Python, which has the packages above, and no other that the user may have.
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("SOURCE_DATE_EPOCH", BUILD_DATE)
            .current_dir(source)
    };
    make().arg("qemu-x86_defconfig").check()?;
    let config = source.join(".config");
    let default = fs::read_to_string(&config).io("read", &config)?;
    // The last word on an option wins.
    fs::write(&config, default + fragment).io("write", &config)?;
    make().arg("olddefconfig").check()?;
    make()
        .arg(format!("-j{jobs}"))
        .arg("all")
        .arg("u-boot-initial-env")
        .check()?;
    for name in ["u-boot.rom", "u-boot-initial-env"] {
        let built = source.join(name);
        fs::copy(&built, entry.join(name)).io("copy", &built)?;
    }
    Ok(())
}
