//! The exit codes of `switchback-repo`.

/// Why the program ended, for scripts: the exit codes of `switchback-repo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// A file could not be read or written.
    Io = 1,
    /// What was asked for breaks a rule of the repository: nothing was changed.
    Refused = 3,
    /// The repository does not verify, or lacks files that it names.
    Repository = 4,
    /// A key is missing, unreadable or not the one that the repository lists.
    Keys = 5,
    /// An image or document that was given is not usable.
    Input = 6,
    /// Another process is publishing into the same repository.
    Busy = 7,
}
