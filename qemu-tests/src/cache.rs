//! Everything built once: entries named by a hash of what went in.
//!
//! An entry is a directory that either exists whole or not at all; it is made beside its place and
//! renamed. Several processes may ask at the same time: one builds, the others wait.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::error::{IoContext as _, Result};

/// Entries of one kind that are kept when a new one is made: guests with a few daemon builds.
const KEEP: usize = 12;

/// The directory of built things, `target/qemu` of this workspace.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the workspace's cache, making it if needed.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open() -> Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or(Path::new("."));
        Self::at(workspace.join("target/qemu"))
    }

    /// Opens a cache at another place.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn at(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).io("make", &root)?;
        Ok(Self { root })
    }

    /// The cache's own directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry of `kind` for `key`, built by `build` in an empty directory when it is new.
    ///
    /// # Errors
    /// `build` failed, or the directory cannot be used.
    pub fn entry(
        &self,
        kind: &str,
        key: &Key,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let shelf = self.root.join(kind);
        fs::create_dir_all(&shelf).io("make", &shelf)?;
        let name = key.name();
        let entry = shelf.join(&name);

        let lock_path = shelf.join(format!(".{name}.lock"));
        let lock = File::create(&lock_path).io("create", &lock_path)?;
        lock.lock().io("lock", &lock_path)?;
        if !entry.exists() {
            let unfinished = shelf.join(format!(".{name}.new"));
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).io("remove", &unfinished)?;
            }
            fs::create_dir(&unfinished).io("make", &unfinished)?;
            build(&unfinished)?;
            fs::rename(&unfinished, &entry).io("rename", &unfinished)?;
            prune(&shelf, &entry)?;
        }
        // The time of last use decides what is pruned.
        let directory = File::open(&entry).io("open", &entry)?;
        directory
            .set_modified(SystemTime::now())
            .io("touch", &entry)?;
        Ok(entry)
    }
}

/// Removes the entries of one kind that were not used for the longest time.
fn prune(shelf: &Path, newest: &Path) -> Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(shelf).io("list", shelf)? {
        let path = entry.io("list", shelf)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path != newest {
            let used = fs::metadata(&path)
                .and_then(|m| m.modified())
                .io("look at", &path)?;
            entries.push((used, path));
        }
    }
    entries.sort();
    let surplus = entries.len().saturating_sub(KEEP);
    for (_, path) in entries.into_iter().take(surplus) {
        fs::remove_dir_all(&path).io("remove", &path)?;
    }
    Ok(())
}

/// A hash over all that decides what an entry contains.
#[derive(Debug, Clone)]
pub struct Key(Sha256);

impl Key {
    /// Starts a key; `recipe` names the code that builds and changes when that code does.
    #[must_use]
    pub fn new(recipe: &str) -> Self {
        Self(Sha256::new()).text(recipe)
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, text: impl AsRef<str>) -> Self {
        self.bytes(text.as_ref().as_bytes())
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        // With its length, so that two pieces never read as two others.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds the content of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(self, path: &Path) -> Result<Self> {
        Ok(self.bytes(&fs::read(path).io("read", path)?))
    }

    /// Adds a directory tree: names, modes, contents and link targets, in the order of the names.
    ///
    /// # Errors
    /// Something in the tree cannot be read.
    pub fn tree(mut self, root: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let mut entries: Vec<PathBuf> = fs::read_dir(root)
            .io("list", root)?
            .map(|entry| entry.map(|entry| entry.path()).io("list", root))
            .collect::<Result<_>>()?;
        entries.sort();
        for path in entries {
            let status = fs::symlink_metadata(&path).io("look at", &path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self = self
                .text(name)
                .text(format!("{:o}", status.permissions().mode()));
            if status.is_symlink() {
                let target = fs::read_link(&path).io("read", &path)?;
                self = self.text(target.to_string_lossy());
            } else if status.is_dir() {
                self = self.text("{").tree(&path)?.text("}");
            } else {
                self = self.file(&path)?;
            }
        }
        Ok(self)
    }

    fn name(&self) -> String {
        let mut name = hex::encode(self.0.clone().finalize());
        name.truncate(24);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, KEEP, Key};
    use crate::error::Error;
    use std::fs;

    fn failure() -> Error {
        Error::Qmp {
            why: "planned".into(),
        }
    }

    #[test]
    fn builds_an_entry_once_per_key() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path().join("cache")).unwrap();
        let key = Key::new("test").text("a");
        let build = |path: &std::path::Path| {
            fs::write(path.join("content"), b"x").unwrap();
            Ok(())
        };
        let entry = cache.entry("kind", &key, build).unwrap();
        assert_eq!(fs::read(entry.join("content")).unwrap(), b"x");
        let again = cache.entry("kind", &key, |_| Err(failure())).unwrap();
        assert_eq!(again, entry);
        assert!(
            cache
                .entry("kind", &Key::new("test").text("b"), |_| Err(failure()))
                .is_err()
        );
    }

    #[test]
    fn failed_build_leaves_no_entry() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path().to_owned()).unwrap();
        let key = Key::new("test");
        cache.entry("kind", &key, |_| Err(failure())).unwrap_err();
        cache.entry("kind", &key, |_| Ok(())).unwrap();
    }

    #[test]
    fn keeps_a_bounded_number_of_entries() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path().to_owned()).unwrap();
        for number in 0..KEEP + 5 {
            cache
                .entry("kind", &Key::new("test").text(number.to_string()), |_| {
                    Ok(())
                })
                .unwrap();
        }
        let visible = fs::read_dir(directory.path().join("kind"))
            .unwrap()
            .filter(|entry| {
                !entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with('.')
            })
            .count();
        assert_eq!(visible, KEEP + 1);
    }

    #[test]
    fn key_tells_trees_apart() {
        let directory = tempfile::tempdir().unwrap();
        let key = || Key::new("test").tree(directory.path()).unwrap().name();
        let empty = key();
        fs::write(directory.path().join("a"), b"1").unwrap();
        let one = key();
        fs::write(directory.path().join("a"), b"2").unwrap();
        let other = key();
        assert_ne!(empty, one);
        assert_ne!(one, other);
        assert_eq!(other, key());
    }
}
