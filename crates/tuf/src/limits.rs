//! How much a repository may ask of a device.

/// Upper bounds on what is downloaded and walked; the defaults suit a small device.
///
/// Lengths are in bytes. A length signed in the parent role lowers the bound, never raises it.
/// Memory follows from them: judging a file takes up to four times its size when it is honest and
/// seven times when it was made to hurt (measured), so a board that is short of memory lowers
/// `targets_length`, and its publisher delegates rather than letting one role grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest root metadata (default 512 KiB: hundreds of keys).
    pub root_length: u64,
    /// Largest timestamp metadata (default 16 KiB; a usual one has under 1 KiB).
    pub timestamp_length: u64,
    /// Largest snapshot metadata (default 2 MiB: tens of thousands of delegated roles).
    pub snapshot_length: u64,
    /// Largest targets metadata, top level and delegated (default 5 MiB).
    pub targets_length: u64,
    /// Most root rotations followed in one refresh (default 256). A device further behind than
    /// this catches up over several refreshes.
    pub root_rotations: u32,
    /// Most delegated roles visited for one lookup (default 32).
    pub delegations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_length: 512 * 1024,
            timestamp_length: 16 * 1024,
            snapshot_length: 2 * 1024 * 1024,
            targets_length: 5 * 1024 * 1024,
            root_rotations: 256,
            delegations: 32,
        }
    }
}
