//! A file system in its weakest mode: content, names and renames become durable apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Fate;

/// One directory's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Names {
    files: Vec<File>,
    durable: BTreeMap<PathBuf, usize>,
    live: BTreeMap<PathBuf, usize>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct File {
    durable: Arc<[u8]>,
    /// Written and not synced.
    live: Option<Arc<[u8]>>,
    /// Whether its sync failed: programs still see it, and it never becomes durable.
    doomed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Change {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf, usize),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Made(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Renamed(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl Names {
    /// The live content of a file.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<&[u8]> {
        let file = self.files.get(*self.live.get(path)?)?;
        Some(file.live.as_ref().unwrap_or(&file.durable))
    }

    /// Makes a file, or fills the one that is there anew.
    pub fn create(&mut self, path: &Path, bytes: &[u8]) {
        if let Some(file) = self
            .live
            .get(path)
            .and_then(|index| self.files.get_mut(*index))
        {
            file.live = Some(bytes.into());
            file.doomed = false;
            return;
        }
        let index = self.files.len();
        self.files.push(File {
            durable: Arc::from([]),
            live: Some(bytes.into()),
            doomed: false,
        });
        self.change(Change::Made(path.into(), index));
    }

    /// Makes a file's content durable; its name may still be lost.
    pub fn sync(&mut self, path: &Path) -> bool {
        let Some(file) = self
            .live
            .get(path)
            .and_then(|index| self.files.get_mut(*index))
        else {
            return false;
        };
        if !file.doomed
            && let Some(bytes) = file.live.take()
        {
            file.durable = bytes;
        }
        true
    }

    /// A sync that fails: what was written is lost, and the next sync succeeds without it.
    pub fn fail_sync(&mut self, path: &Path) {
        let index = self.live.get(path).copied();
        if let Some(file) = index.and_then(|index| self.files.get_mut(index)) {
            file.doomed = true;
        }
    }

    /// Gives a file another name.
    pub fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(file) = self.live.get(from).copied() else {
            return false;
        };
        self.change(Change::Renamed(from.into(), to.into(), file));
        true
    }

    /// Makes all names durable.
    pub fn sync_names(&mut self) {
        self.durable = self.live.clone();
        self.pending.clear();
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// Things that are not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len() + self.files.iter().filter(|file| file.live.is_some()).count()
    }

    /// Bytes of the newest file whose content is not durable.
    #[must_use]
    pub fn newest(&self) -> usize {
        self.files
            .iter()
            .rev()
            .find_map(|file| file.live.as_ref())
            .map_or(0, |bytes| bytes.len())
    }

    /// The power goes; `fate` decides for each content, then for each change of names.
    pub fn cut(&mut self, fate: &mut dyn FnMut(usize) -> Fate) {
        let mut index = 0;
        let mut next = || {
            index += 1;
            fate(index - 1)
        };
        for file in &mut self.files {
            let Some(live) = file.live.take() else {
                continue;
            };
            let fate = next();
            match fate {
                _ if std::mem::take(&mut file.doomed) => {}
                Fate::Lost => {}
                Fate::Kept => file.durable = live,
                Fate::Torn(length) => {
                    file.durable = live
                        .get(..length.min(live.len()))
                        .unwrap_or_default()
                        .into();
                }
            }
        }
        for change in std::mem::take(&mut self.pending) {
            if next() != Fate::Lost {
                change.apply(&mut self.durable);
            }
        }
        self.live = self.durable.clone();
        self.forget_unnamed();
    }

    /// Files without a name are gone; what is left is numbered anew.
    fn forget_unnamed(&mut self) {
        let mut files = Vec::new();
        for index in self.live.values_mut() {
            files.extend(self.files.get(*index).cloned());
            *index = files.len().saturating_sub(1);
        }
        self.files = files;
        self.durable = self.live.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced() -> Names {
        let mut names = Names::default();
        names.create(Path::new("a"), b"old");
        names.sync(Path::new("a"));
        names.sync_names();
        names.create(Path::new("new"), b"new");
        names.rename(Path::new("new"), Path::new("a"));
        names
    }

    #[test]
    fn name_may_be_durable_before_the_content() {
        let mut names = replaced();
        names.cut(&mut |index| if index == 0 { Fate::Lost } else { Fate::Kept });
        assert_eq!(names.read(Path::new("a")), Some(&b""[..]));
        let mut names = replaced();
        names.sync(Path::new("a"));
        names.cut(&mut |_| Fate::Lost);
        assert_eq!(names.read(Path::new("a")), Some(&b"old"[..]));
        let mut names = replaced();
        names.sync(Path::new("a"));
        names.sync_names();
        names.cut(&mut |_| Fate::Lost);
        assert_eq!(names.read(Path::new("a")), Some(&b"new"[..]));
    }
}
