//! U-Boot's environment on block devices and in files, where `fw_env.config` says.

use std::path::{Path, PathBuf};

use switchback_boot_env::contract::Applied;
use switchback_boot_env::fw_env_config::{FwEnvConfig, Place};
use switchback_boot_env::uboot::{
    CopyFault, Environment, Finding, FlagScheme, Successor, Unusable, diagnose,
};
use switchback_boot_env::{Copy, Vars};

use super::error::CorruptEnvironment;
use super::{
    Backend, BootError, Change, EnvFiles, FileKind, Lint, Locks, Repaired, already_so, read_error,
    settle_copy, write_copy,
};

/// A configuration is a few lines.
const MOST_CONFIG: usize = 64 * 1024;

/// How far around the configured place an environment is looked for, to explain: as large as the
/// largest environment, on both sides.
const SEARCH: u64 = 0x4_0000;

/// Where U-Boot's environment is said to be. Read anew for each action, so that a corrected
/// configuration takes effect.
#[derive(Debug)]
pub(super) struct UbootEnvironment {
    config: PathBuf,
    locks: Vec<PathBuf>,
}

/// An environment and where it was found.
struct Found {
    config: FwEnvConfig,
    environment: Environment,
}

impl UbootEnvironment {
    pub(super) const fn new(config: PathBuf, locks: Vec<PathBuf>) -> Self {
        Self { config, locks }
    }

    fn config(&self, files: &dyn EnvFiles) -> Result<FwEnvConfig, BootError> {
        let text = files
            .read(&self.config, 0, MOST_CONFIG)
            .map_err(read_error(&self.config))?;
        FwEnvConfig::parse(&text).map_err(|fault| BootError::Config {
            path: self.config.clone(),
            fault,
        })
    }

    fn find(&self, files: &dyn EnvFiles) -> Result<Found, BootError> {
        let config = self.config(files)?;
        for place in config.places() {
            self.device_error(files, place).map_or(Ok(()), Err)?;
        }
        let environment = match &config {
            FwEnvConfig::Single(place) => Environment::single(&copy(files, place)?),
            FwEnvConfig::Redundant([first, second]) => Environment::redundant(
                &copy(files, first)?,
                &copy(files, second)?,
                // Raw flash, where the flags mean something else, is refused above.
                FlagScheme::Incremental,
            ),
        };
        match environment {
            Ok(environment) => Ok(Found {
                config,
                environment,
            }),
            Err(fault) => {
                let short = self.length_error(files, config.places());
                Err(short.unwrap_or_else(|| self.unusable(files, &config, fault)))
            }
        }
    }

    /// Raw flash has erase blocks and bad blocks, which a plain write does not know about.
    fn device_error(&self, files: &dyn EnvFiles, place: &Place) -> Option<BootError> {
        let path = Path::new(&place.device);
        match files.facts(path) {
            Err(source) => Some(BootError::Read {
                path: path.into(),
                source,
            }),
            Ok(facts) => match facts.kind {
                FileKind::Regular | FileKind::BlockDevice => None,
                FileKind::CharacterDevice | FileKind::Other => Some(BootError::Device {
                    path: path.into(),
                    found: facts.kind.describe(),
                    config: self.config.clone(),
                }),
            },
        }
    }

    /// A place that reaches beyond the end of its device: a write would make a file longer.
    fn length_error(&self, files: &dyn EnvFiles, places: &[Place]) -> Option<BootError> {
        for place in places {
            let path = PathBuf::from(&place.device);
            let length = match files.facts(&path) {
                Ok(facts) => facts.length,
                Err(source) => return Some(BootError::Read { path, source }),
            };
            let end = place.offset.saturating_add(place.size as u64);
            if length < end {
                let (findings, config) = (findings(files, places), self.config.clone());
                return Some(BootError::TooShort {
                    path,
                    length,
                    end,
                    findings,
                    config,
                });
            }
        }
        None
    }

    /// Blank is a state of its own; anything else is explained by what is there instead.
    fn unusable(&self, files: &dyn EnvFiles, config: &FwEnvConfig, fault: Unusable) -> BootError {
        let places = config.places();
        let path = places
            .first()
            .map(|place| PathBuf::from(&place.device))
            .unwrap_or_default();
        let findings = findings(files, places);
        let place = describe(config);
        let config = self.config.clone();
        match fault {
            // Where it is blank, and the true one is beside it, the configuration is wrong.
            Unusable::Blank if findings.is_empty() => BootError::Blank {
                path,
                place,
                config,
            },
            Unusable::Blank | Unusable::Corrupt { .. } => {
                let corrupt = CorruptEnvironment {
                    path,
                    place,
                    fault,
                    findings,
                    config,
                };
                BootError::Corrupt(Box::new(corrupt))
            }
        }
    }

    fn write(&self, files: &dyn EnvFiles, found: &Found) -> Result<PathBuf, BootError> {
        let place = found.place(found.target());
        let path = PathBuf::from(&place.device);
        let next = found.successor()?;
        if let FwEnvConfig::Redundant(_) = found.config {
            let current = found.place(found.environment.current());
            settle_copy(
                files,
                Path::new(&current.device),
                current.offset,
                current.size,
            )?;
        }
        write_copy(files, &path, place.offset, &next.bytes)?;
        Ok(path)
    }
}

impl Found {
    fn place(&self, copy: Copy) -> &Place {
        match (&self.config, copy) {
            (FwEnvConfig::Single(place), _)
            | (FwEnvConfig::Redundant([place, _]), Copy::First)
            | (FwEnvConfig::Redundant([_, place]), Copy::Second) => place,
        }
    }

    /// The copy that is written next.
    fn target(&self) -> Copy {
        match self.config {
            FwEnvConfig::Single(_) => Copy::First,
            FwEnvConfig::Redundant(_) => self.environment.current().other(),
        }
    }

    fn successor(&self) -> Result<Successor, BootError> {
        self.environment
            .successor()
            .map_err(|fault| BootError::UbootEncode {
                path: PathBuf::from(&self.place(self.target()).device),
                fault,
            })
    }

    /// What is wrong with the copy that does not count.
    fn other_fault(&self) -> Option<BootError> {
        let fault: CopyFault = self.environment.other_fault()?;
        let place = self.place(self.target());
        Some(BootError::CopyOfEnvironment {
            path: PathBuf::from(&place.device),
            offset: place.offset,
            fault,
        })
    }
}

impl Backend for UbootEnvironment {
    fn read(&self, files: &dyn EnvFiles) -> Result<Vars, BootError> {
        self.find(files).map(|found| found.environment.vars)
    }

    fn update(&self, files: &dyn EnvFiles, change: &Change<'_>) -> Result<Applied, BootError> {
        let _lock = files.lock(Locks::OneOf(&self.locks))?;
        let mut found = self.find(files)?;
        self.length_error(files, found.config.places())
            .map_or(Ok(()), Err)?;
        if change(&mut found.environment.vars) == Applied::AlreadySo {
            let current = found.place(found.environment.current());
            return already_so(
                files,
                Path::new(&current.device),
                current.offset,
                current.size,
            );
        }
        self.write(files, &found)?;
        Ok(Applied::Changed)
    }

    fn lint(&self, files: &dyn EnvFiles, probe: &Change<'_>) -> Vec<Lint> {
        let mut found = match self.find(files) {
            Ok(found) => found,
            Err(error) => return vec![Lint::blocking(error)],
        };
        let mut errors: Vec<_> = self
            .length_error(files, found.config.places())
            .into_iter()
            .collect();
        for place in found.config.places() {
            let path = PathBuf::from(&place.device);
            if let Err(source) = files.probe_writable(&path) {
                errors.push(BootError::Write { path, source });
            }
        }
        probe(&mut found.environment.vars);
        errors.extend(found.successor().err());
        let mut lints: Vec<_> = errors.into_iter().map(Lint::blocking).collect();
        lints.extend(found.other_fault().map(Lint::warning));
        lints
    }

    fn repair(&self, files: &dyn EnvFiles) -> Result<Repaired, BootError> {
        let _lock = files.lock(Locks::OneOf(&self.locks))?;
        let found = self.find(files)?;
        self.length_error(files, found.config.places())
            .map_or(Ok(()), Err)?;
        if found.environment.other_fault().is_none() {
            return Ok(Repaired::Nothing);
        }
        self.write(files, &found)
            .map(|path| Repaired::Copies(vec![path]))
    }

    /// U-Boot itself starts from its own defaults then, with many variables that are not known
    /// here, and saves them with the next count.
    fn rebuild(&self, files: &dyn EnvFiles, _: &Vars) -> Result<Repaired, BootError> {
        self.repair(files)
    }

    fn places(&self) -> Vec<PathBuf> {
        vec![self.config.clone()]
    }
}

/// The bytes of one copy; none where the device ends too early, even if what there is happens to
/// be an environment of a smaller size.
fn copy(files: &dyn EnvFiles, place: &Place) -> Result<Vec<u8>, BootError> {
    let path = Path::new(&place.device);
    let bytes = files
        .read(path, place.offset, place.size)
        .map_err(read_error(path))?;
    Ok(if bytes.len() == place.size {
        bytes
    } else {
        Vec::new()
    })
}

/// Environments around the configured places.
fn findings(files: &dyn EnvFiles, places: &[Place]) -> Vec<Finding> {
    let mut all = Vec::new();
    for place in places {
        let start = match place.offset.checked_sub(SEARCH) {
            Some(start) => start,
            // Still a whole number of steps in front of the offset.
            None => place.offset % 0x1000,
        };
        let length = usize::try_from(
            place
                .offset
                .saturating_sub(start)
                .saturating_add(2 * SEARCH),
        );
        let path = Path::new(&place.device);
        let window = length
            .ok()
            .and_then(|length| files.read(path, start, length).ok());
        for finding in diagnose(&window.unwrap_or_default(), start) {
            if !all.contains(&finding) {
                all.push(finding);
            }
        }
    }
    all
}

/// Offsets, size and header as they are configured.
fn describe(config: &FwEnvConfig) -> String {
    match config {
        FwEnvConfig::Single(place) => {
            format!(
                "offset {:#x}, size {:#x}, header 4 (single)",
                place.offset, place.size
            )
        }
        FwEnvConfig::Redundant([first, second]) => format!(
            "offsets {:#x} and {:#x}, size {:#x}, header 5 (redundant)",
            first.offset, second.offset, first.size
        ),
    }
}
