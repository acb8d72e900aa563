//! What can go wrong, and with which exit code the program says so.

use std::path::PathBuf;

use switchback_manifest::{ManifestError, Release};
use switchback_types::{Digest, ProductName, Timestamp, Version};

use crate::exit::ExitKind;
use crate::keys::KeyError;
use crate::repository::list;
use crate::role::Role;

/// Everything that a verb can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// There is no repository where one was expected.
    #[error("{} is not a repository: metadata/timestamp.json is missing; make one with `switchback-repo init`", path.display())]
    NoRepository {
        /// The directory.
        path: PathBuf,
    },
    /// There is a repository already.
    #[error("{} already holds a repository; choose an empty directory", path.display())]
    RepositoryExists {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("another process is working on {}; wait for it to end and try again", path.display())]
    Busy {
        /// The repository.
        path: PathBuf,
    },
    /// The keys would be published.
    #[error("the keys directory {} lies inside the repository and would be served to everyone; choose another place", path.display())]
    KeysInsideRepository {
        /// The keys directory.
        path: PathBuf,
    },
    /// The keys directory belongs to another repository.
    #[error("{} pins the root of another repository; choose an empty keys directory", path.display())]
    KeysTaken {
        /// The pinned root.
        path: PathBuf,
    },
    /// The keys directory pins no root.
    #[error("{} is missing: it says which root this repository must have; copy the repository's first root there after comparing it with a device's", path.display())]
    NoPinnedRoot {
        /// Where it should be.
        path: PathBuf,
    },
    /// A key file is missing.
    #[error("the key of the {role} role is missing: {} does not exist; bring it, or run this where it is", path.display())]
    KeyMissing {
        /// Whose key.
        role: Role,
        /// Where it should be.
        path: PathBuf,
    },
    /// A key file holds no usable key.
    #[error("{} holds no private key in PKCS#8 PEM form (ed25519, ECDSA P-256 or RSA)", path.display())]
    KeyUnusable {
        /// The file.
        path: PathBuf,
    },
    /// Others may read a key file.
    #[error("others may read the private key {} (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that was to come with the release is not what it should be.
    #[error("{} cannot be published with the release: {detail}", path.display())]
    Paper {
        /// The file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// Keys do not fit together.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No key could be made.
    #[error("the cryptography library made no key for the {role} role")]
    KeyGeneration {
        /// Whose key.
        role: Role,
    },
    /// A file of the keys directory that is not a key cannot be understood.
    #[error("{} cannot be read as the signing policy of a repository", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What the JSON reader says.
        #[source]
        source: serde_json::Error,
    },
    /// The metadata does not verify.
    #[error("the metadata in {} does not verify; restore it from a copy that does", path.display())]
    Metadata {
        /// The metadata directory.
        path: PathBuf,
        /// What the verifier says.
        #[source]
        source: Box<tough::error::Error>,
    },
    /// New metadata could not be signed.
    #[error("cannot sign the {role} role")]
    Signing {
        /// Which role.
        role: Role,
        /// What the signer says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The metadata verifies, but is not laid out as this program does it.
    #[error("the repository in {} was not made by this program: {detail}", path.display())]
    Layout {
        /// The repository.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// A role's signature is no longer valid.
    #[error(
        "the signature of the {role} role ended at {at}: devices would refuse what is published now; renew it with `switchback-repo refresh --role {role}` where its key is"
    )]
    Expired {
        /// Which role.
        role: Role,
        /// Since when.
        at: Timestamp,
    },
    /// A version number ran out.
    #[error("the {role} role has reached its last version number")]
    LastVersion {
        /// Which role.
        role: Role,
    },
    /// A file that signed metadata names is not what was signed.
    #[error("{} does not have the SHA-256 {expected} that was signed; restore it from a copy that has", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should have.
        expected: Digest,
    },
    /// A file that signed documents name is not there.
    #[error("{} is missing: signed documents name it; restore it from a copy of the repository", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A document cannot be understood or may not be written.
    #[error("{path} cannot be used")]
    Document {
        /// The file or artifact.
        path: String,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
    /// A file is none of the kinds that `inspect` shows.
    #[error("{} is neither a release, nor a channel, nor a delta, nor repository metadata", path.display())]
    UnknownFile {
        /// The file.
        path: PathBuf,
    },
    /// The version was published before, with other content.
    #[error(
        "version {version} of {product} is published already and cannot change: {difference}; choose a new version"
    )]
    VersionTaken {
        /// The product.
        product: ProductName,
        /// The version.
        version: Version,
        /// What differs.
        difference: String,
    },
    /// Two releases would have the same place in line.
    #[error(
        "sequence {sequence} belongs to version {taken_by} already; leave --sequence out to get the next free number"
    )]
    SequenceTaken {
        /// The number.
        sequence: u64,
        /// Whose it is.
        taken_by: Version,
    },
    /// The release would be older than one that exists.
    #[error(
        "sequence {sequence} is below {last}, which version {last_version} has: devices would take the new release for the older one; leave --sequence out, or give the reason with --force-sequence"
    )]
    SequenceNotIncreasing {
        /// The number asked for.
        sequence: u64,
        /// The highest so far.
        last: u64,
        /// Whose it is.
        last_version: Version,
    },
    /// The image has no bytes.
    #[error("{} is empty: there is nothing to publish", path.display())]
    ImageEmpty {
        /// The image.
        path: PathBuf,
    },
    /// The image has too many bytes.
    #[error("{} has {size} bytes, an image may have at most {limit}", path.display())]
    ImageTooLarge {
        /// The image.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The largest in bytes.
        limit: u64,
    },
    /// The image changed under our hands.
    #[error("{} had {expected} bytes and then {found}: it changed while it was read; let the build end first", path.display())]
    ImageChanged {
        /// The image.
        path: PathBuf,
        /// Its size at the start, in bytes.
        expected: u64,
        /// The bytes that came.
        found: u64,
    },
    /// The notes are too long.
    #[error("the notes in {} have {length} bytes, at most {limit} are allowed; shorten them", path.display())]
    NotesTooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The compressor failed.
    #[error("cannot compress segment {index} of {}", path.display())]
    Compression {
        /// The image.
        path: PathBuf,
        /// Which segment.
        index: u64,
        /// What the compressor says.
        #[source]
        source: std::io::Error,
    },
    /// The hint file is not one.
    #[error("{} cannot be read as devices per version; it should look like {{\"versions\": {{\"1.2.3\": 120}}}}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// What the JSON reader says.
        #[source]
        source: serde_json::Error,
    },
    /// The encoder failed.
    #[error("cannot cut a delta from {from} to {to}")]
    Delta {
        /// The old version.
        from: Version,
        /// The new version.
        to: Version,
        /// What the encoder says.
        #[source]
        source: switchback_delta::DeltaError,
    },
    /// A delta that was asked for by name cannot be had.
    #[error(
        "there is no delta from {from} to {to}: {reason}; publish without --delta-from {from}, or mend that"
    )]
    NoDelta {
        /// The old version.
        from: Version,
        /// The new version.
        to: Version,
        /// Why.
        reason: String,
    },
    /// No device runs both releases.
    #[error(
        "version {from} has no hardware in common with {to}: no device could use a delta; check --compatible, or leave --delta-from {from} out"
    )]
    DeltaIncompatible {
        /// The old version.
        from: Version,
        /// The new version.
        to: Version,
    },
    /// A delta blob cannot be taken apart.
    #[error("the delta {} cannot be read", path.display())]
    DeltaUnreadable {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        #[source]
        source: switchback_delta::DeltaError,
    },
    /// A release has no delta from a version.
    #[error("version {version} has no delta from {from}; it has deltas from: {known}")]
    NotInRelease {
        /// The release.
        version: Version,
        /// What was asked for.
        from: Version,
        /// What there is.
        known: String,
    },
    /// A bundle would not be one that devices take.
    #[error(
        "no bundle can be made of {what}: {length} bytes, at most {limit} are possible; {way_out}"
    )]
    BundleLimit {
        /// What is too long.
        what: String,
        /// Its length in bytes.
        length: u64,
        /// Most bytes possible.
        limit: u64,
        /// What to do instead.
        way_out: &'static str,
    },
    /// The repository does not have this product.
    #[error("the repository has no product {wanted}; it has {known}")]
    NoSuchProduct {
        /// What was asked for.
        wanted: ProductName,
        /// What there is.
        known: String,
    },
    /// The repository has several products.
    #[error("the repository has several products ({known}): say which with --product")]
    WhichProduct {
        /// What there is.
        known: String,
    },
    /// No release has this version.
    #[error("no release of {product} has version {version}; published: {known}")]
    NoSuchRelease {
        /// The product.
        product: ProductName,
        /// The version.
        version: Version,
        /// What there is.
        known: String,
    },
    /// The channel does not exist yet.
    #[error(
        "{product} has no channel {channel}; make it with `channel set --channel {channel} --version …`"
    )]
    NoSuchChannel {
        /// The product.
        product: ProductName,
        /// The channel.
        channel: String,
    },
    /// A file is no set of flags.
    #[error("{}: {detail}", path.display())]
    Flags {
        /// The file.
        path: PathBuf,
        /// What is wrong, and of which flag.
        detail: String,
    },
    /// The channel would go back.
    #[error(
        "channel {channel} is at {from} (sequence {from_sequence}); {to} (sequence {to_sequence}) is older and devices would not take it; say --allow-downgrade if that is meant"
    )]
    ChannelDowngrade {
        /// The channel.
        channel: String,
        /// Its version now.
        from: Version,
        /// Its sequence number now.
        from_sequence: u64,
        /// The version asked for.
        to: Version,
        /// Its sequence number.
        to_sequence: u64,
    },
    /// `inspect` found something.
    #[error("the repository has {count} problem(s), listed above")]
    Problems {
        /// How many.
        count: usize,
    },
}

impl RepoError {
    /// No release of the product has the version; `releases` are there.
    pub(crate) fn no_such_release(
        product: &ProductName,
        version: Version,
        releases: &[Release],
    ) -> Self {
        let known: Vec<_> = releases.iter().map(|release| &release.version).collect();
        Self::NoSuchRelease {
            product: product.clone(),
            version,
            known: list(&known),
        }
    }

    /// The release has no delta from the version; `releases` are all of its product.
    pub(crate) fn not_in_release(release: &Release, from: &Version, releases: &[Release]) -> Self {
        let sources = releases
            .iter()
            .filter(|base| release.delta_from(&base.image.sha256).is_some());
        let known: Vec<_> = sources.map(|base| &base.version).collect();
        Self::NotInRelease {
            version: release.version.clone(),
            from: from.clone(),
            known: list(&known),
        }
    }

    /// The exit code that belongs to this error.
    #[must_use]
    pub fn exit_kind(&self) -> ExitKind {
        match self {
            Self::Io { .. }
            | Self::Signing { .. }
            | Self::Compression { .. }
            | Self::Delta { .. } => ExitKind::Io,
            Self::RepositoryExists { .. }
            | Self::KeysInsideRepository { .. }
            | Self::KeysTaken { .. }
            | Self::Expired { .. }
            | Self::LastVersion { .. }
            | Self::VersionTaken { .. }
            | Self::SequenceTaken { .. }
            | Self::SequenceNotIncreasing { .. }
            | Self::ChannelDowngrade { .. } => ExitKind::Refused,
            Self::NoRepository { .. }
            | Self::Metadata { .. }
            | Self::Layout { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::Problems { .. } => ExitKind::Repository,
            Self::NoPinnedRoot { .. }
            | Self::KeyMissing { .. }
            | Self::KeyUnusable { .. }
            | Self::KeyMode { .. }
            | Self::Keys(_)
            | Self::KeyGeneration { .. }
            | Self::Policy { .. } => ExitKind::Keys,
            Self::Document { .. }
            | Self::UnknownFile { .. }
            | Self::ImageEmpty { .. }
            | Self::ImageTooLarge { .. }
            | Self::ImageChanged { .. }
            | Self::NotesTooLong { .. }
            | Self::Paper { .. }
            | Self::Field { .. }
            | Self::NoDelta { .. }
            | Self::DeltaIncompatible { .. }
            | Self::DeltaUnreadable { .. }
            | Self::NotInRelease { .. }
            | Self::BundleLimit { .. }
            | Self::NoSuchProduct { .. }
            | Self::WhichProduct { .. }
            | Self::NoSuchRelease { .. }
            | Self::Flags { .. }
            | Self::NoSuchChannel { .. } => ExitKind::Input,
            Self::Busy { .. } => ExitKind::Busy,
        }
    }
}

/// Attaches what was being done, and to which file, to an error of the operating system.
pub(crate) fn io<'a>(
    doing: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> RepoError + 'a {
    move |source| RepoError::Io {
        doing,
        path: path.to_path_buf(),
        source,
    }
}
