//! Two GRUB environment files that take turns: our own contract.

use std::path::{Path, PathBuf};

use switchback_boot_env::contract::Applied;
use switchback_boot_env::grub::{self, BLOCK_SIZE, Problem};
use switchback_boot_env::grub_pair::{self, Pair, Successor};
use switchback_boot_env::{Copy, Vars};

use super::grub::{block_error, missing, place_errors, read_file};
use super::{
    Backend, BootError, Change, EnvFiles, Lint, Locks, Repaired, already_so, settle_copy,
    write_copy, write_error,
};

/// A lock that is held, if there was something to lock.
type Guard = Option<Box<dyn std::fmt::Debug>>;

/// Two environment files.
#[derive(Debug)]
pub(super) struct GrubPair {
    paths: [PathBuf; 2],
    /// For commands that make a file anew when nothing in it can be read.
    defaults: Vars,
}

/// Both files as they are, and the pair that they make.
struct Found {
    bytes: [Option<Vec<u8>>; 2],
    pair: Pair,
}

impl GrubPair {
    pub(super) const fn new(paths: [PathBuf; 2], defaults: Vars) -> Self {
        Self { paths, defaults }
    }

    fn path(&self, copy: Copy) -> &PathBuf {
        let [first, second] = &self.paths;
        match copy {
            Copy::First => first,
            Copy::Second => second,
        }
    }

    fn find(&self, files: &dyn EnvFiles) -> Result<Found, BootError> {
        let [first, second] = &self.paths;
        let bytes = [read_file(files, first)?, read_file(files, second)?];
        let [one, two] = &bytes;
        // A file that is not there is a copy that cannot be used.
        let slice = |bytes: &Option<Vec<u8>>| bytes.clone().unwrap_or_default();
        let pair = Pair::read(&slice(one), &slice(two)).map_err(|fault| BootError::Pair {
            first: first.clone(),
            second: second.clone(),
            fault,
            remedy: grub::rebuild_command(&first.to_string_lossy(), &self.first_of_new_pair()),
        })?;
        Ok(Found { bytes, pair })
    }

    /// The variables that a first copy begins with.
    fn first_of_new_pair(&self) -> Vars {
        grub_pair::new_pair(&self.defaults)
            .ok()
            .and_then(|[first, _]| grub::parse(&first).ok())
            .unwrap_or_else(|| self.defaults.clone())
    }

    fn lock(&self, files: &dyn EnvFiles) -> Result<[Guard; 2], BootError> {
        // Always in this order, so that two daemons cannot wait for each other.
        let [first, second] = &self.paths;
        let lock = |path: &PathBuf| -> Result<Guard, BootError> {
            match files.facts(path) {
                Ok(_) => files.lock(Locks::File(path)).map(Some),
                // A file that is not there is explained elsewhere.
                Err(_) => Ok(None),
            }
        };
        Ok([lock(first)?, lock(second)?])
    }

    fn successor(&self, pair: &Pair) -> Result<Successor, BootError> {
        pair.successor().map_err(|fault| BootError::GrubEncode {
            path: self.path(pair.current().other()).clone(),
            fault,
        })
    }

    /// Why the file of a copy must not be written in place as it is, whatever is in it.
    fn obstacle(&self, copy: Copy, bytes: Option<&[u8]>) -> Option<BootError> {
        let path = self.path(copy);
        let Some(bytes) = bytes else {
            return Some(missing(path, &self.defaults));
        };
        let raw_block = grub::problems(bytes)
            .into_iter()
            .find(|problem| matches!(problem, Problem::EnvBlock { .. }));
        let size = (bytes.len() != BLOCK_SIZE).then_some(Problem::Size { size: bytes.len() });
        let problem = raw_block.or(size)?;
        Some(block_error(path, problem, bytes, &self.defaults))
    }

    /// What a new write of the same variables would not cure.
    fn lasting_problems(&self, copy: Copy, bytes: &[u8]) -> Vec<BootError> {
        let lasting = |problem: &Problem| {
            matches!(
                problem,
                Problem::CarriageReturn | Problem::Duplicate { .. } | Problem::TooLong { .. }
            )
        };
        let problems = grub::problems(bytes).into_iter().filter(lasting);
        problems
            .map(|problem| block_error(self.path(copy), problem, bytes, &self.defaults))
            .collect()
    }
}

impl Found {
    /// Each copy with its content.
    fn copies(&self) -> [(Copy, Option<&[u8]>); 2] {
        let [first, second] = &self.bytes;
        [
            (Copy::First, first.as_deref()),
            (Copy::Second, second.as_deref()),
        ]
    }

    /// Whether there is a copy that GRUB cannot read or write, and that a new write would cure.
    fn needs_repair(&self) -> bool {
        let damaged = |problem: &Problem| {
            matches!(
                problem,
                Problem::Unreadable(_)
                    | Problem::Size { .. }
                    | Problem::PaddingLost
                    | Problem::UnterminatedEntry
                    | Problem::Nul
            )
        };
        let unsound = |bytes: &[u8]| grub::problems(bytes).iter().any(damaged);
        self.pair.other_fault().is_some()
            || self
                .copies()
                .iter()
                .any(|(_, bytes)| bytes.is_none_or(unsound))
    }
}

impl Backend for GrubPair {
    fn read(&self, files: &dyn EnvFiles) -> Result<Vars, BootError> {
        self.find(files).map(|found| found.pair.vars)
    }

    fn update(&self, files: &dyn EnvFiles, change: &Change<'_>) -> Result<Applied, BootError> {
        let _locks = self.lock(files)?;
        let mut found = self.find(files)?;
        for (copy, bytes) in found.copies() {
            if let Some(obstacle) = self.obstacle(copy, bytes) {
                return Err(obstacle);
            }
        }
        if change(&mut found.pair.vars) == Applied::AlreadySo {
            return already_so(files, self.path(found.pair.current()), 0, BLOCK_SIZE);
        }
        let next = self.successor(&found.pair)?;
        settle_copy(files, self.path(found.pair.current()), 0, BLOCK_SIZE)?;
        write_copy(files, self.path(next.copy), 0, &next.block)?;
        Ok(Applied::Changed)
    }

    fn lint(&self, files: &dyn EnvFiles, probe: &Change<'_>) -> Vec<Lint> {
        let mut found = match self.find(files) {
            Ok(found) => found,
            Err(error) => return vec![Lint::blocking(error)],
        };
        let mut errors = Vec::new();
        for (copy, bytes) in found.copies() {
            errors.extend(self.obstacle(copy, bytes));
            if let Some(bytes) = bytes {
                errors.extend(place_errors(files, self.path(copy), bytes, &self.defaults));
                errors.extend(self.lasting_problems(copy, bytes));
            }
        }
        errors.extend(same_file(files, &self.paths));
        probe(&mut found.pair.vars);
        errors.extend(self.successor(&found.pair).err());
        let mut lints: Vec<_> = errors.into_iter().map(Lint::blocking).collect();
        if let Some(fault) = found.pair.other_fault() {
            let path = self.path(found.pair.current().other()).clone();
            lints.push(Lint::warning(BootError::CopyOfPair { path, fault }));
        }
        lints
    }

    fn repair(&self, files: &dyn EnvFiles) -> Result<Repaired, BootError> {
        let _locks = self.lock(files)?;
        let mut written = Vec::new();
        // A round writes the copy that does not count, which then counts; a second round reaches
        // the one that counted before.
        for _ in 0..2 {
            let found = self.find(files)?;
            if !found.needs_repair() {
                break;
            }
            for (copy, bytes) in found.copies() {
                let size = bytes.is_some_and(|bytes| bytes.len() != BLOCK_SIZE);
                if let Some(obstacle) = self.obstacle(copy, bytes).filter(|_| !size) {
                    return Err(obstacle);
                }
            }
            let next = self.successor(&found.pair)?;
            let path = self.path(next.copy);
            settle_copy(files, self.path(found.pair.current()), 0, BLOCK_SIZE)?;
            write_block(files, path, &next.block)?;
            written.push(path.clone());
        }
        Ok(if written.is_empty() {
            Repaired::Nothing
        } else {
            Repaired::Copies(written)
        })
    }

    fn rebuild(&self, files: &dyn EnvFiles, vars: &Vars) -> Result<Repaired, BootError> {
        let _locks = self.lock(files)?;
        match self.find(files) {
            Err(BootError::Pair { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(Repaired::Nothing),
        }
        let [first, second] = &self.paths;
        let blocks = grub_pair::new_pair(vars).map_err(|fault| BootError::GrubEncode {
            path: first.clone(),
            fault,
        })?;
        // A file that is not there may be on a partition that is not mounted.
        for path in &self.paths {
            files.probe_writable(path).map_err(write_error(path))?;
        }
        for (path, block) in [first, second].into_iter().zip(&blocks) {
            write_block(files, path, block)?;
        }
        Ok(Repaired::Copies(self.paths.to_vec()))
    }

    fn places(&self) -> Vec<PathBuf> {
        self.paths.to_vec()
    }
}

/// Writes a whole block, and nothing behind it.
fn write_block(
    files: &dyn EnvFiles,
    path: &Path,
    block: &[u8; BLOCK_SIZE],
) -> Result<(), BootError> {
    write_copy(files, path, 0, block)?;
    files
        .shorten(path, BLOCK_SIZE as u64)
        .map_err(write_error(path))
}

/// Two names that lead to one file.
fn same_file(files: &dyn EnvFiles, paths: &[PathBuf; 2]) -> Option<BootError> {
    let [first, second] = paths;
    let identity = |path| files.facts(path).ok().map(|facts| facts.identity);
    let same = identity(first)? == identity(second)?;
    same.then(|| BootError::SameFile {
        first: first.clone(),
        second: second.clone(),
    })
}
