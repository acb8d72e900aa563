//! What can go wrong, and what kind of wrong it is.

use alloc::string::String;

use crate::freshness::Staleness;
use crate::name::Role;

/// Why metadata or an artifact is not trusted.
///
/// The messages name the file, the value found and what was wanted. Callers branch on
/// [`kind`](Self::kind), never on text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TufError {
    /// The bytes are not one unambiguous JSON document with something signed in it.
    #[error("{file}: not a signed JSON document; publish it again or check what stands between")]
    Json {
        /// The file.
        file: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The JSON does not have the shape that the specification asks for.
    #[error("{file}: not valid TUF metadata: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The file is metadata of another role.
    #[error("{file}: is metadata of type {found:?}, expected {expected:?}")]
    WrongType {
        /// The file.
        file: String,
        /// The type that belongs there.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// The file follows a major version of the specification that this client does not know.
    #[error("{file}: follows specification version {found:?}; this device knows 1.x")]
    UnknownSpecification {
        /// The file.
        file: String,
        /// The version found.
        found: String,
    },
    /// More bytes were given than asked for.
    #[error("{file}: has {length} bytes or more, at most {limit} are accepted")]
    TooLarge {
        /// The file.
        file: String,
        /// Bytes received.
        length: u64,
        /// Bytes that were asked for.
        limit: u64,
    },
    /// The length is not the signed one.
    #[error("{file}: has {found} bytes, {expected} are signed")]
    WrongLength {
        /// The file.
        file: String,
        /// The signed length in bytes.
        expected: u64,
        /// The length found in bytes.
        found: u64,
    },
    /// The content is not the signed one.
    #[error("{file}: its {algorithm} is {found}, {expected} is signed")]
    WrongHash {
        /// The file.
        file: String,
        /// `sha256` or `sha512`.
        algorithm: &'static str,
        /// The signed hash in hexadecimal.
        expected: String,
        /// The hash found in hexadecimal.
        found: String,
    },
    /// Hashes are signed, but none with an algorithm known here.
    #[error("{file}: signed with none of the hashes known here (sha256, sha512)")]
    NoKnownHash {
        /// The file.
        file: String,
    },
    /// Too few of the role's keys signed the file.
    #[error("{file}: {valid} valid signatures of role {role}, {threshold} are needed")]
    Threshold {
        /// The file.
        file: String,
        /// The role whose keys were asked for.
        role: Role,
        /// Distinct keys that signed.
        valid: u64,
        /// Distinct keys needed.
        threshold: u64,
    },
    /// A version is older than one that was trusted before.
    #[error("{file}: {role} version {offered} is older than the trusted {trusted}")]
    RollbackAttempt {
        /// The file that offers the old version.
        file: String,
        /// The role whose version it is.
        role: Role,
        /// The version trusted before.
        trusted: u64,
        /// The version offered.
        offered: u64,
    },
    /// A role that the trusted snapshot listed is gone.
    #[error("{file}: no longer lists role {role}, which the trusted snapshot lists")]
    RoleRemoved {
        /// The file.
        file: String,
        /// The role that is gone.
        role: Role,
    },
    /// The version inside the file is not the one that its name or its parent says.
    #[error("{file}: holds version {found}, expected {expected}")]
    WrongVersion {
        /// The file.
        file: String,
        /// The version announced.
        expected: u64,
        /// The version found.
        found: u64,
    },
    /// The repository lacks a file that its signed metadata promises.
    #[error("{file}: not in the repository, though it must be; publish it again")]
    Missing {
        /// The file.
        file: String,
    },
    /// A role is delegated to, but the snapshot does not list it.
    #[error("snapshot version {snapshot} does not list role {role}; publish a new snapshot")]
    NotListed {
        /// Version of the snapshot.
        snapshot: u64,
        /// The role.
        role: Role,
    },
    /// The repository has more new root versions than are followed at once.
    #[error("{limit} root rotations followed up to version {version}; the next refresh goes on")]
    TooManyRoots {
        /// The limit.
        limit: u32,
        /// Version of root that is trusted now.
        version: u64,
    },
    /// The search went through too many delegated roles.
    #[error("{path}: not found in the first {limit} delegated roles; search stopped")]
    TooManyDelegations {
        /// The artifact searched for.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// Nothing may be looked up: the metadata has expired.
    #[error("nothing can be installed: {0}")]
    Stale(Staleness),
    /// Stored bytes are not a trusted state.
    #[error("stored trust state is damaged ({reason}); restore its other copy or rebuild it")]
    DamagedState {
        /// What is wrong.
        reason: String,
    },
    /// The machine was used in the wrong order.
    #[error("{0}")]
    OutOfTurn(&'static str),
}

/// What to do about a [`TufError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was received is broken or not what was signed: fetch again later, report it.
    Invalid,
    /// Signatures are missing: an attack, or a publisher's mistake.
    Untrusted,
    /// A version goes backwards: an attack, or a publisher's restored backup. Hard stop.
    Rollback,
    /// The repository is incomplete: poll again later.
    Missing,
    /// A limit of this device was reached.
    Limit,
    /// Metadata has expired: keep polling, install nothing.
    Stale,
    /// The device's own stored state cannot be used.
    State,
    /// A mistake of the calling program.
    Usage,
}

impl TufError {
    /// The kind, to branch on.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Json { .. }
            | Self::Malformed { .. }
            | Self::WrongType { .. }
            | Self::UnknownSpecification { .. }
            | Self::WrongLength { .. }
            | Self::WrongHash { .. }
            | Self::NoKnownHash { .. }
            | Self::WrongVersion { .. } => ErrorKind::Invalid,
            Self::Threshold { .. } => ErrorKind::Untrusted,
            Self::RollbackAttempt { .. } | Self::RoleRemoved { .. } => ErrorKind::Rollback,
            Self::Missing { .. } | Self::NotListed { .. } => ErrorKind::Missing,
            Self::TooLarge { .. } | Self::TooManyRoots { .. } | Self::TooManyDelegations { .. } => {
                ErrorKind::Limit
            }
            Self::Stale(_) => ErrorKind::Stale,
            Self::DamagedState { .. } => ErrorKind::State,
            Self::OutOfTurn(_) => ErrorKind::Usage,
        }
    }
}
