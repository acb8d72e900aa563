//! The boot environment: the real files and devices behind the contract.
//!
//! [`BootControl`] reads, changes, judges and repairs; what the variables mean and how they are
//! laid out is decided in `switchback-boot-env`. Rules of this folder:
//!
//! - A change is one write in place of one whole copy, made durable and read back. Nothing is
//!   created, truncated or renamed: a bootloader knows a file by its blocks.
//! - Of two copies the one that does not count is written, after the one that counts was made
//!   durable, whoever wrote it.
//! - Without a valid copy to start from nothing is written, unless the bootloader itself says that
//!   it found none, and the environment is one of Switchback's own.
//! - Other writers are kept out with the locks that they take, too.

mod error;
mod files;
mod grub;
mod grub_pair;
mod lock;
mod uboot;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use switchback_boot_env::Vars;
use switchback_boot_env::contract::{Applied, BootChange, BootView, Contract, ContractKind};
use switchback_types::SlotName;

pub use self::error::{BootError, CorruptEnvironment};
pub use self::files::{EnvFiles, FileFacts, FileKind, Locks, RealFiles};
use crate::settings::BootSettings;

/// Something that is wrong with the environment.
#[derive(Debug)]
pub struct Lint {
    /// Whether nothing can be installed until it is put right.
    pub blocks: bool,
    /// What, where, and the way out.
    pub error: BootError,
}

impl Lint {
    fn blocking(error: BootError) -> Self {
        Self {
            blocks: true,
            error,
        }
    }

    fn warning(error: BootError) -> Self {
        Self {
            blocks: false,
            error,
        }
    }
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing was wrong.
    Nothing,
    /// These copies were written anew from the one that counts.
    Copies(Vec<PathBuf>),
}

/// One kind of place that an environment is kept in.
trait Backend: fmt::Debug + Send {
    /// The variables that count.
    fn read(&self, files: &dyn EnvFiles) -> Result<Vars, BootError>;

    /// Changes the variables and writes them, unless the change changed nothing.
    fn update(&self, files: &dyn EnvFiles, change: &Change<'_>) -> Result<Applied, BootError>;

    /// Everything that is wrong; `probe` is a change that must be possible.
    fn lint(&self, files: &dyn EnvFiles, probe: &Change<'_>) -> Vec<Lint>;

    /// Writes copies that cannot be used anew from the one that counts.
    fn repair(&self, files: &dyn EnvFiles) -> Result<Repaired, BootError>;

    /// Writes all copies from these variables, where none can be used and the bootloader has
    /// nothing of its own in them.
    fn rebuild(&self, files: &dyn EnvFiles, vars: &Vars) -> Result<Repaired, BootError>;

    /// Where the environment is, for people.
    fn places(&self) -> Vec<PathBuf>;
}

type Change<'a> = dyn Fn(&mut Vars) -> Applied + 'a;

/// The bootloader's variables on this device.
#[derive(Debug)]
pub struct BootControl {
    contract: Contract,
    tries: u8,
    backend: Box<dyn Backend>,
    files: Box<dyn EnvFiles>,
}

impl BootControl {
    /// The environment that the settings describe. Nothing is read yet: a daemon must be able to
    /// start and to say what is wrong.
    ///
    /// # Errors
    /// The number of environment files is not the contract's.
    pub fn open(settings: &BootSettings) -> Result<Self, BootError> {
        Self::over(settings, Box::new(RealFiles))
    }

    /// The same over other files.
    ///
    /// # Errors
    /// The number of environment files is not the contract's.
    pub fn over(settings: &BootSettings, files: Box<dyn EnvFiles>) -> Result<Self, BootError> {
        let locks = lock::UBOOT_LOCKS.map(PathBuf::from).to_vec();
        Self::with(settings, files, locks)
    }

    fn with(
        settings: &BootSettings,
        files: Box<dyn EnvFiles>,
        locks: Vec<PathBuf>,
    ) -> Result<Self, BootError> {
        let contract = Contract::new(settings.contract, settings.bootnames.clone())
            .with_slot_variables(settings.slot_variables.clone());
        let defaults = contract.defaults(settings.tries);
        let backend: Box<dyn Backend> = match (settings.contract, settings.grubenv.as_slice()) {
            (ContractKind::RaucUboot | ContractKind::Bootcount, _) => Box::new(
                uboot::UbootEnvironment::new(settings.fw_env_config.clone(), locks),
            ),
            (ContractKind::RaucGrub, [file]) => {
                Box::new(grub::GrubFile::new(file.clone(), defaults))
            }
            (ContractKind::SwitchbackGrub, [first, second]) => Box::new(grub_pair::GrubPair::new(
                [first.clone(), second.clone()],
                defaults,
            )),
            (ContractKind::RaucGrub, found) => {
                return Err(BootError::FileCount {
                    wanted: 1,
                    found: found.len(),
                });
            }
            (ContractKind::SwitchbackGrub, found) => {
                return Err(BootError::FileCount {
                    wanted: 2,
                    found: found.len(),
                });
            }
        };
        Ok(Self {
            contract,
            tries: settings.tries,
            backend,
            files,
        })
    }

    /// What the environment says.
    ///
    /// # Errors
    /// No copy can be read.
    pub fn observe(&self) -> Result<BootView, BootError> {
        let vars = self.backend.read(self.files.as_ref())?;
        Ok(self.contract.observe(&vars))
    }

    /// Makes one change durable, with one write at most. `booted` is the slot that runs.
    ///
    /// # Errors
    /// The environment cannot be read, must not be written, or was not found written afterwards.
    pub fn apply(&self, change: &BootChange<'_>, booted: SlotName) -> Result<Applied, BootError> {
        let change = |vars: &mut Vars| self.contract.apply(vars, change, booted);
        self.backend.update(self.files.as_ref(), &change)
    }

    /// Whether a slot could be armed now: to be asked before a slot is written.
    ///
    /// # Errors
    /// The first reason why not, with the way out.
    pub fn verify_writable(&self) -> Result<(), BootError> {
        let mut lints = self.lint().into_iter();
        lints
            .find(|lint| lint.blocks)
            .map_or(Ok(()), |lint| Err(lint.error))
    }

    /// Everything that is wrong with the environment, what blocks an update and what does not.
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        // As long as any that will be made up.
        let arm = BootChange::Arm {
            slot: SlotName::B,
            tries: self.tries,
            contact_id: "ffffffff",
        };
        let probe = |vars: &mut Vars| self.contract.apply(vars, &arm, SlotName::A);
        self.backend.lint(self.files.as_ref(), &probe)
    }

    /// Writes a copy that cannot be used anew from the other one. To be called early in each boot:
    /// GRUB cannot repair a copy, and does not count tries in it.
    ///
    /// # Errors
    /// No copy can be used, or the repair did not succeed; says what to do.
    pub fn repair(&self) -> Result<Repaired, BootError> {
        self.backend.repair(self.files.as_ref())
    }

    /// Makes a new environment where no copy can be used and the bootloader said so, too: `booted`
    /// first, and the other slot behind it if it may be started. Without one the device would take
    /// no update any more, and no power cut would be survived by the other slot.
    ///
    /// Nothing is written where a copy can be read after all, and none to an environment that the
    /// bootloader keeps variables of its own in.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn rebuild(&self, booted: SlotName, other_may_start: bool) -> Result<Repaired, BootError> {
        let tries = self.tries;
        let mut vars = self.contract.defaults(tries);
        let primary = BootChange::SetPrimary {
            slot: booted,
            tries,
        };
        self.contract.apply(&mut vars, &primary, booted);
        if !other_may_start {
            let invalidate = BootChange::Invalidate(booted.other());
            self.contract.apply(&mut vars, &invalidate, booted);
        }
        self.backend.rebuild(self.files.as_ref(), &vars)
    }

    /// The most tries that a trial can have with this bootloader.
    #[must_use]
    pub fn max_tries(&self) -> u8 {
        self.contract.kind().max_tries()
    }

    /// Where the environment is, for messages.
    #[must_use]
    pub fn files(&self) -> String {
        let places: Vec<_> = self
            .backend
            .places()
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        places.join(" and ")
    }
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> BootError {
    let path = path.to_owned();
    |source| BootError::Read { path, source }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> BootError {
    let path = path.to_owned();
    |source| BootError::Write { path, source }
}

/// Makes the copy that counts durable, before the other one is written over: writes what is read
/// there once more. A bootloader's own write may still be in the disk's cache, and one whose sync
/// failed looks written and never will be: if it were lost and the new copy were not, the numbers
/// of the two would no longer follow each other, and the stale one could be taken for the newer.
fn settle_copy(
    files: &dyn EnvFiles,
    path: &Path,
    offset: u64,
    length: usize,
) -> Result<(), BootError> {
    let bytes = files.read(path, offset, length).map_err(read_error(path))?;
    write_copy(files, path, offset, &bytes)
}

/// Nothing has to be changed. Whoever wrote what is there, this program before it was killed
/// perhaps, may not have made it durable.
fn already_so(
    files: &dyn EnvFiles,
    path: &Path,
    offset: u64,
    length: usize,
) -> Result<Applied, BootError> {
    settle_copy(files, path, offset, length)?;
    Ok(Applied::AlreadySo)
}

/// Writes one copy in place and proves that it is there.
fn write_copy(
    files: &dyn EnvFiles,
    path: &Path,
    offset: u64,
    bytes: &[u8],
) -> Result<(), BootError> {
    files
        .write(path, offset, bytes)
        .and_then(|()| files.sync(path))
        .map_err(write_error(path))?;
    let found = files
        .read(path, offset, bytes.len())
        .map_err(read_error(path))?;
    if found == bytes {
        Ok(())
    } else {
        Err(BootError::ReadBack {
            path: path.into(),
            offset,
            length: bytes.len(),
        })
    }
}
