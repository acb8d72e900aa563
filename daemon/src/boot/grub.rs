//! One GRUB environment file: RAUC's contract.

use std::io;
use std::path::{Path, PathBuf};

use switchback_boot_env::Vars;
use switchback_boot_env::contract::Applied;
use switchback_boot_env::grub::{self, BLOCK_SIZE, Problem};

use super::{
    Backend, BootError, Change, EnvFiles, FileKind, Lint, Locks, Repaired, already_so, write_copy,
};

/// More than any environment file has; enough to see what is wrong with one.
const MOST_READ: usize = 64 * 1024;

/// One environment file.
#[derive(Debug)]
pub(super) struct GrubFile {
    path: PathBuf,
    /// For a command that makes the file anew when nothing in it can be read.
    defaults: Vars,
}

impl GrubFile {
    pub(super) const fn new(path: PathBuf, defaults: Vars) -> Self {
        Self { path, defaults }
    }

    fn bytes(&self, files: &dyn EnvFiles) -> Result<Vec<u8>, BootError> {
        read_file(files, &self.path)?.ok_or_else(|| missing(&self.path, &self.defaults))
    }

    fn problem(&self, problem: Problem, bytes: &[u8]) -> BootError {
        block_error(&self.path, problem, bytes, &self.defaults)
    }
}

impl Backend for GrubFile {
    fn read(&self, files: &dyn EnvFiles) -> Result<Vars, BootError> {
        let bytes = self.bytes(files)?;
        grub::parse(&bytes).map_err(|error| self.problem(Problem::Unreadable(error), &bytes))
    }

    fn update(&self, files: &dyn EnvFiles, change: &Change<'_>) -> Result<Applied, BootError> {
        // Asked first: an absent file has a better message than one that cannot be locked.
        self.bytes(files)?;
        let _lock = files.lock(Locks::File(&self.path))?;
        let bytes = self.bytes(files)?;
        if let Some(problem) = grub::problems(&bytes).into_iter().next() {
            return Err(self.problem(problem, &bytes));
        }
        let mut vars = self.read(files)?;
        if change(&mut vars) == Applied::AlreadySo {
            return already_so(files, &self.path, 0, BLOCK_SIZE);
        }
        let block = grub::encode(&vars).map_err(|fault| BootError::GrubEncode {
            path: self.path.clone(),
            fault,
        })?;
        write_copy(files, &self.path, 0, &block)?;
        Ok(Applied::Changed)
    }

    fn lint(&self, files: &dyn EnvFiles, probe: &Change<'_>) -> Vec<Lint> {
        let bytes = match self.bytes(files) {
            Ok(bytes) => bytes,
            Err(error) => return vec![Lint::blocking(error)],
        };
        let mut errors = place_errors(files, &self.path, &bytes, &self.defaults);
        let problems = grub::problems(&bytes);
        if problems.is_empty() {
            errors.extend(grub::parse(&bytes).ok().and_then(|mut vars| {
                probe(&mut vars);
                let fault = grub::encode(&vars).err()?;
                Some(BootError::GrubEncode {
                    path: self.path.clone(),
                    fault,
                })
            }));
        }
        errors.extend(
            problems
                .into_iter()
                .map(|problem| self.problem(problem, &bytes)),
        );
        errors.into_iter().map(Lint::blocking).collect()
    }

    /// There is no other copy to take the variables from: only says what is wrong.
    fn repair(&self, files: &dyn EnvFiles) -> Result<Repaired, BootError> {
        self.read(files).map(|_| Repaired::Nothing)
    }

    /// Foreign scripts give meaning to variables that are not known here.
    fn rebuild(&self, files: &dyn EnvFiles, _: &Vars) -> Result<Repaired, BootError> {
        self.repair(files)
    }

    fn places(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

/// The content of an environment file; none if there is no such file.
pub(super) fn read_file(files: &dyn EnvFiles, path: &Path) -> Result<Option<Vec<u8>>, BootError> {
    match files.read(path, 0, MOST_READ) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BootError::Read {
            path: path.into(),
            source,
        }),
    }
}

pub(super) fn missing(path: &Path, defaults: &Vars) -> BootError {
    let remedy = grub::rebuild_command(&path.to_string_lossy(), defaults);
    BootError::Missing {
        path: path.into(),
        remedy,
    }
}

pub(super) fn block_error(
    path: &Path,
    problem: Problem,
    bytes: &[u8],
    defaults: &Vars,
) -> BootError {
    let remedy = problem.remedy(&path.to_string_lossy(), bytes, defaults);
    BootError::Block {
        path: path.into(),
        problem,
        remedy,
    }
}

/// What is wrong with where a file is, rather than with what is in it.
pub(super) fn place_errors(
    files: &dyn EnvFiles,
    path: &Path,
    bytes: &[u8],
    defaults: &Vars,
) -> Vec<BootError> {
    let facts = match files.facts(path) {
        Ok(facts) => facts,
        Err(source) => {
            return vec![BootError::Read {
                path: path.into(),
                source,
            }];
        }
    };
    if facts.kind != FileKind::Regular {
        return vec![BootError::NotRegular {
            path: path.into(),
            found: facts.kind.describe(),
        }];
    }
    let mut errors = Vec::new();
    if let Some(found) = facts.unsuitable_for_grub {
        errors.push(BootError::Storage {
            path: path.into(),
            found,
        });
    }
    if facts.allocated < facts.length.min(BLOCK_SIZE as u64) {
        let vars = grub::parse(bytes).unwrap_or_else(|_| defaults.clone());
        let remedy = grub::rebuild_command(&path.to_string_lossy(), &vars);
        errors.push(BootError::Sparse {
            path: path.into(),
            remedy,
        });
    }
    if let Err(source) = files.probe_writable(path) {
        errors.push(BootError::Write {
            path: path.into(),
            source,
        });
    }
    errors
}
