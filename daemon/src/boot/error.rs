//! What can be wrong with the boot environment.

use std::io;
use std::path::PathBuf;

use switchback_boot_env::fw_env_config::ConfigError;
use switchback_boot_env::{grub, grub_pair, uboot};

/// Why the boot environment cannot be read or must not be written.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration does not fit the contract.
    #[error("`boot.grubenv` names {found} file(s), and this contract has {wanted}")]
    FileCount {
        /// Files that the contract has.
        wanted: usize,
        /// Files that are configured.
        found: usize,
    },
    /// A file or device cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or device cannot be written.
    #[error(
        "{}: cannot be written: mount it writable{}",
        path.display(),
        if path.to_string_lossy().contains("boot0") || path.to_string_lossy().contains("boot1") {
            ", and for a boot partition of an eMMC write 0 to its force_ro in /sys/block"
        } else {
            ""
        }
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Someone else holds the lock.
    #[error("{}: is locked by another program for {seconds} s: see `fuser` for which one", path.display())]
    Locked {
        /// The locked file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// There is no file to lock.
    #[error("{}: cannot be opened for locking", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was written is not there.
    #[error(
        "{}: the {length} bytes just written at offset {offset:#x} read back differently: the \
         storage may be failing",
        path.display()
    )]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// How much.
        length: usize,
    },
    /// A file that GRUB is to read is not there.
    #[error(
        "{}: does not exist, and is never created by an update; make it with: {remedy}",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// A command.
        remedy: String,
    },
    /// Not a file that GRUB could write.
    #[error("{}: is {found} and not a regular file: correct `boot.grubenv`", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// GRUB cannot write there.
    #[error(
        "{}: is on {found}, where GRUB cannot write: tries would never be counted; move it to a \
         FAT or ext4 partition that GRUB reads directly, and correct `boot.grubenv`",
        path.display()
    )]
    Storage {
        /// The file.
        path: PathBuf,
        /// File system or kind of device.
        found: String,
    },
    /// A file with holes has no blocks that GRUB could write to.
    #[error("{}: has holes, into which GRUB cannot write; make it anew: {remedy}", path.display())]
    Sparse {
        /// The file.
        path: PathBuf,
        /// A command.
        remedy: String,
    },
    /// Both copies are one.
    #[error(
        "{} and {} are the same file: a pair needs two; correct `boot.grubenv`",
        first.display(), second.display()
    )]
    SameFile {
        /// One name.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// A block of GRUB's must not be written as it is.
    #[error("{}: {problem}; {}: {remedy}", path.display(), problem_lead(problem))]
    Block {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: grub::Problem,
        /// A command.
        remedy: String,
    },
    /// One copy of a pair cannot be used.
    #[error(
        "{}: this copy is not used ({fault}); it is written anew from the other one when the \
         daemon starts",
        path.display()
    )]
    CopyOfPair {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: grub_pair::CopyFault,
    },
    /// No copy of a pair can be used.
    #[error(
        "{} and {}: {fault}; the bootloader runs on its defaults and counts nothing. Make one anew, \
         and the daemon makes the other one when it starts: {remedy}",
        first.display(), second.display()
    )]
    Pair {
        /// The first file.
        first: PathBuf,
        /// The second file.
        second: PathBuf,
        /// What is wrong.
        fault: grub_pair::BothUnusable,
        /// A command.
        remedy: String,
    },
    /// The variables cannot be written to a block.
    #[error("{}: {fault}", path.display())]
    GrubEncode {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: grub::EncodeError,
    },
    /// The configuration of U-Boot's environment cannot be used.
    #[error("{}: {fault}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: ConfigError,
    },
    /// Flash without a translation layer.
    #[error(
        "{}: is {found}; an environment can be on a block device or in a file (named in {})",
        path.display(), config.display()
    )]
    Device {
        /// The device.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// The file that names it.
        config: PathBuf,
    },
    /// A place that ends too early.
    #[error(
        "{}: ends at {length:#x}, and {} says that a copy of the environment reaches to {end:#x}; \
         {}. Nothing was written",
        path.display(), config.display(), findings_text(findings)
    )]
    TooShort {
        /// The device.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// Where the copy would end.
        end: u64,
        /// What was found around it.
        findings: Vec<uboot::Finding>,
        /// The file that says so.
        config: PathBuf,
    },
    /// U-Boot never saved an environment.
    #[error(
        "{}: the environment at {place} is blank: U-Boot has never saved one there. Start once \
         through the boot script, which saves it, or type `saveenv` at U-Boot's prompt; if it was \
         saved, correct the places in {}",
        path.display(), config.display()
    )]
    Blank {
        /// The device.
        path: PathBuf,
        /// Offsets and size.
        place: String,
        /// The file that names the place.
        config: PathBuf,
    },
    /// There is something, but no environment as it is configured.
    #[error(transparent)]
    Corrupt(Box<CorruptEnvironment>),
    /// One copy of a redundant environment cannot be used.
    #[error(
        "{}: the copy at {offset:#x} is not used ({fault}); the next write goes there",
        path.display()
    )]
    CopyOfEnvironment {
        /// The device.
        path: PathBuf,
        /// Where the copy begins.
        offset: u64,
        /// What is wrong.
        fault: uboot::CopyFault,
    },
    /// The variables cannot be written to the environment.
    #[error("{}: {fault}", path.display())]
    UbootEncode {
        /// The device.
        path: PathBuf,
        /// Why.
        fault: uboot::EncodeError,
    },
}

/// An environment that is not where, or not what, the configuration says.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: {fault}; {} says {place}; {}. Nothing was written",
    path.display(), config.display(), findings_text(findings)
)]
pub struct CorruptEnvironment {
    /// The device.
    pub path: PathBuf,
    /// Offsets, size and header, as configured.
    pub place: String,
    /// What is wrong there.
    pub fault: uboot::Unusable,
    /// What was found around it.
    pub findings: Vec<uboot::Finding>,
    /// The file that names the place.
    pub config: PathBuf,
}

/// Words in front of the command.
fn problem_lead(problem: &grub::Problem) -> &'static str {
    match problem {
        grub::Problem::EnvBlock { .. } => "to make the file count again",
        grub::Problem::TooLong { .. } => "to make room",
        _ => "to repair it",
    }
}

fn findings_text(findings: &[uboot::Finding]) -> String {
    if findings.is_empty() {
        return "no environment was found nearby either: correct the places there, or restore a \
                copy of the environment"
            .into();
    }
    let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
    format!("it is {}: correct the file", found.join(", and "))
}
