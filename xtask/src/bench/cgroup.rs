//! A limit on memory that the kernel enforces, where this machine lets us set one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::measure::Task;

/// A control group of our own, removed when dropped.
#[derive(Debug)]
pub(crate) struct Limit {
    directory: PathBuf,
}

/// The two kinds of places: where groups are made, the file that limits memory, the file that
/// would let it out into swap and what is written there.
const PLACES: [(&str, &str, &str, &str); 2] = [
    ("/sys/fs/cgroup", "memory.max", "memory.swap.max", "0"),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.swappiness",
        "0",
    ),
];

/// Runs what it is given in the group.
const ENTER: &str = "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"";

impl Limit {
    /// A group that may hold so many bytes; nothing where groups cannot be made.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        PLACES.iter().find_map(|(place, limit, swap, none)| {
            Self::at(Path::new(place), limit, swap, none, bytes)
        })
    }

    fn at(place: &Path, limit: &str, swap: &str, none: &str, bytes: u64) -> Option<Self> {
        let name = format!("switchback-bench-{}-{bytes}", std::process::id());
        let group = Self {
            directory: place.join(name),
        };
        std::fs::create_dir(&group.directory).ok()?;
        // Version 2 hands memory down only where that is switched on; else the file is not there.
        set(&group.directory.join(limit), &bytes.to_string()).ok()?;
        // Not everywhere: a kernel without swap has no such file.
        let _ = set(&group.directory.join(swap), none);
        Some(group)
    }

    /// A task that begins by going into the group.
    pub(crate) fn enter(&self) -> Task {
        Task::new("sh").args(["-c", ENTER]).arg(&self.directory)
    }
}

/// Writes to a file that must be there.
fn set(path: &Path, value: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(value.as_bytes())
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn no_group_where_memory_cannot_be_limited() {
        let nowhere = std::path::Path::new("/proc");
        assert!(Limit::at(nowhere, "memory.max", "memory.swap.max", "0", 1).is_none());
        // An ordinary directory takes a group's name but limits nothing.
        let place = tempfile::tempdir().unwrap();
        assert!(Limit::at(place.path(), "memory.max", "memory.swap.max", "0", 1).is_none());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
