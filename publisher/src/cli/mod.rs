//! The command line: what the verbs are called and what they take.

mod flags;
mod keys;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use switchback_manifest::{DEFAULT_SEGMENT_SIZE, ImageFormat, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE};
use switchback_types::{ChannelName, Compatible, Digest, ProductName, Timestamp, Version};

pub use self::flags::{FlagSetArgs, FlagsSetArgs, FlagsShowArgs, FlagsVerb};
pub use self::keys::{ChangeArgs, KeysVerb, SignArgs, TakeInArgs};
use crate::deltas::DeltaRequest;
use crate::role::{Lifetime, Lifetimes, Role};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or it was so already
  1  a file could not be read or written
  2  the command line is wrong
  3  refused: it would break a rule of the repository; nothing was changed
  4  the repository does not verify, or lacks files that it names
  5  a key is missing, open to others, or not one that the repository lists
  6  an image, document or name that was given is not usable
  7  another process is working on the repository";

/// Cuts releases, signs them and publishes them as plain files for any web server.
#[derive(Debug, Parser)]
#[command(name = "switchback-repo", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make keys and an empty repository.
    Init(InitArgs),
    /// Cut a release out of an image and sign it.
    ///
    /// Publishing the same release again changes nothing and succeeds: an interrupted publish is
    /// finished by running it again.
    Publish(Box<PublishArgs>),
    /// Say which release the devices following a channel should run.
    #[command(subcommand)]
    Channel(ChannelVerb),
    /// Sign sets of feature flags.
    #[command(subcommand)]
    Flags(FlagsVerb),
    /// Sign anew before signatures run out: snapshot and timestamp, unless roles are given.
    Refresh(RefreshArgs),
    /// Show and change which keys sign what.
    #[command(subcommand)]
    Keys(KeysVerb),
    /// Sign root or targets that were set aside, on the machine that has their keys. It needs no
    /// repository and no network.
    Sign(SignArgs),
    /// Take root or targets into the repository that were set aside and signed elsewhere.
    TakeIn(TakeInArgs),
    /// Take old releases out of the repository and delete what nothing needs any more.
    ///
    /// Releases that a channel names and the newest ones of each product stay, with everything
    /// that belongs to them. Devices that run a release which was removed still update: with a
    /// delta from it, or without.
    Gc(GcArgs),
    /// Write one file with all that it takes to install a release: for a stick, or for
    /// `switchback install`.
    ///
    /// A bundle is a tar file. It is checked by the signatures in it, exactly as the repository
    /// is, and holds until those end: bundles for devices that are seldom visited come from a
    /// repository whose timestamp holds long. It is made of deltas, of the whole image, or of
    /// both; the same repository gives the same bundle.
    Bundle(BundleArgs),
    /// Show what a repository or one of its files says, and what is wrong with it.
    Inspect(InspectArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages.
    Man {
        /// Directory for the pages.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Where a verb that signs works.
#[derive(Debug, Args)]
pub struct Place {
    /// The repository: the directory that the web server serves.
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The keys: a directory that nobody serves.
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
}

/// What a verb that only reads looks at.
#[derive(Debug, Args)]
pub struct Source {
    /// The repository's directory.
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The root to start from, as shipped in devices [default: the repository's own first root,
    /// which shows damage but not forgery].
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// A line of releases; may be given several times.
    #[arg(long = "product", value_name = "NAME", required = true)]
    pub products: Vec<ProductName>,
    /// How long signatures hold; kept in the keys directory for all later verbs.
    #[command(flatten)]
    pub lifetimes: LifetimeArgs,
}

/// How long signatures hold.
#[derive(Debug, Args)]
pub struct LifetimeArgs {
    /// How long root's signatures hold (12h, 90d, 2w).
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().root)]
    pub expires_root: Lifetime,
    /// How long targets' signatures hold.
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().targets)]
    pub expires_targets: Lifetime,
    /// How long releases' signatures hold.
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().releases)]
    pub expires_releases: Lifetime,
    /// How long channels' signatures hold.
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().channels)]
    pub expires_channels: Lifetime,
    /// How long signatures of flags hold.
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().flags)]
    pub expires_flags: Lifetime,
    /// How long snapshot's signatures hold.
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().snapshot)]
    pub expires_snapshot: Lifetime,
    /// How long timestamp's signatures hold: `refresh` must run more often.
    #[arg(long, value_name = "TIME", default_value_t = Lifetimes::default().timestamp)]
    pub expires_timestamp: Lifetime,
}

impl LifetimeArgs {
    /// As one value.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            root: self.expires_root,
            targets: self.expires_targets,
            releases: self.expires_releases,
            channels: self.expires_channels,
            flags: self.expires_flags,
            snapshot: self.expires_snapshot,
            timestamp: self.expires_timestamp,
        }
    }
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME")]
    pub product: Option<ProductName>,
    /// The image of the root file system.
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,
    /// What people call the release.
    #[arg(long = "version", value_name = "VERSION")]
    pub release_version: Version,
    /// A kind of hardware that the image runs on; may be given several times.
    #[arg(long = "compatible", value_name = "NAME", required = true)]
    pub compatible: Vec<Compatible>,
    /// Which release is newer: the one with the higher number [default: the next].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sequence: Option<u64>,
    /// Allow a number below the highest so far; the reason is signed with the release.
    #[arg(long, value_name = "REASON", requires = "sequence")]
    pub force_sequence: Option<String>,
    /// Raised when older releases must never be installed again [default: as before].
    #[arg(long, value_name = "N")]
    pub security_epoch: Option<u32>,
    /// ext4, squashfs, erofs or raw [default: recognised from the image].
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<ImageFormat>,
    /// Set this channel to the release as well.
    #[arg(long, value_name = "NAME")]
    pub channel: Option<ChannelName>,
    /// A file that says what changed, for people.
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// What the image is made of, as SPDX or CycloneDX in JSON; signed with the release.
    #[arg(long, value_name = "FILE")]
    pub sbom: Option<PathBuf>,
    /// An in-toto statement about the image in JSON, SLSA provenance for example; signed with the
    /// release. One of its subjects must have the image's SHA-256.
    #[arg(long, value_name = "FILE")]
    pub provenance: Option<PathBuf>,
    /// Devices that run an older release than this one go there first, whatever the channel names.
    #[arg(long, value_name = "VERSION")]
    pub requires: Option<Version>,
    /// Names kernel, initramfs, device tree and command line together.
    #[arg(long, value_name = "SHA256")]
    pub kernel_id: Option<Digest>,
    /// When the release was cut [default: now].
    #[arg(long, value_name = "TIME", env = "SOURCE_DATE_EPOCH", hide_env_values = true,
          value_parser = parse_time)]
    pub created: Option<Timestamp>,
    /// How hard to compress, 1 to 22.
    #[arg(long, value_name = "N", default_value_t = 9,
          value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Bytes per segment, a power of two.
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_SEGMENT_SIZE,
          value_parser = parse_segment_size)]
    pub segment_size: u32,
    /// Store no chunks: devices for which there is no delta take the whole image.
    #[arg(long)]
    pub no_chunks: bool,
    /// Which deltas lead to the release.
    #[command(flatten)]
    pub deltas: DeltaArgs,
}

/// Which deltas `publish` cuts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Deltas")]
pub struct DeltaArgs {
    /// Cut deltas from so many older releases that share hardware with this one, the newest
    /// first; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u8).range(..=64))]
    pub deltas: u8,
    /// Cut a delta from this version as well, unless it is not worth it; may be given several
    /// times.
    #[arg(long, value_name = "VERSION")]
    pub delta_from: Vec<Version>,
    /// A file that says how many devices run which version, the most used are served first:
    /// {"versions": {"1.2.3": 120}}.
    #[arg(long, value_name = "FILE")]
    pub field: Option<PathBuf>,
    /// Leave out deltas that take more memory than this to cut: both images and 360 MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub delta_memory: u32,
}

impl DeltaArgs {
    /// As one value.
    #[must_use]
    pub fn request(&self) -> DeltaRequest {
        DeltaRequest {
            last: self.deltas.into(),
            from: self.delta_from.clone(),
            field: self.field.clone(),
            memory: u64::from(self.delta_memory) << 20,
        }
    }
}

/// The verbs of `channel`.
#[derive(Debug, Subcommand)]
pub enum ChannelVerb {
    /// Change a channel, or make it.
    Set(ChannelSetArgs),
    /// Show one channel, or all.
    Show(ChannelShowArgs),
}

/// Arguments of `channel set`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct ChannelSetArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME")]
    pub product: Option<ProductName>,
    /// The channel.
    #[arg(long, value_name = "NAME")]
    pub channel: ChannelName,
    /// The release that devices should run.
    #[arg(long = "version", value_name = "VERSION", group = "change")]
    pub release_version: Option<Version>,
    /// Let devices go back to a release with a lower sequence number.
    #[arg(long, requires = "release_version")]
    pub allow_downgrade: bool,
    /// Let no device begin an update.
    #[arg(long, group = "change", conflicts_with = "resume")]
    pub halt: bool,
    /// Let devices update again.
    #[arg(long, group = "change")]
    pub resume: bool,
    /// After this time devices no longer act on the channel (12h, 90d, 2w).
    #[arg(long, value_name = "TIME", group = "change")]
    pub expires: Option<Lifetime>,
}

/// Arguments of `channel show`.
#[derive(Debug, Args)]
pub struct ChannelShowArgs {
    /// What to look at.
    #[command(flatten)]
    pub source: Source,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME")]
    pub product: Option<ProductName>,
    /// The channel [default: all].
    #[arg(long, value_name = "NAME")]
    pub channel: Option<ChannelName>,
}

/// Arguments of `refresh`.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// A role to sign anew; may be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<Role>,
    /// Write the root or targets into this directory, for keys that are elsewhere to sign (`sign`,
    /// then `take-in`), instead of publishing them.
    #[arg(long, value_name = "DIR", requires = "roles")]
    pub set_aside: Option<PathBuf>,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// So many of the newest releases of each product stay in any case.
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Only say what would be removed.
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// What to look at.
    #[command(flatten)]
    pub source: Source,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME")]
    pub product: Option<ProductName>,
    /// The release.
    #[arg(long = "version", value_name = "VERSION")]
    pub release_version: Version,
    /// Put in the delta from this version; may be given several times.
    #[arg(long, value_name = "VERSION")]
    pub from: Vec<Version>,
    /// Put in the whole image [default: unless --from is given].
    #[arg(long)]
    pub full: bool,
    /// The bundle; a file of this name is replaced.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct InspectArgs {
    /// A release, channel, delta or metadata file.
    #[arg(value_name = "FILE", group = "what")]
    pub file: Option<PathBuf>,
    /// The repository's directory.
    #[arg(long, value_name = "DIR", group = "what")]
    pub repo: Option<PathBuf>,
    /// The root to start from, as shipped in devices [default: the repository's own first root,
    /// which shows damage but not forgery].
    #[arg(long, value_name = "FILE", requires = "repo")]
    pub root: Option<PathBuf>,
    /// Read every blob and compare its digest, not only its length.
    #[arg(long, requires = "repo")]
    pub content: bool,
    /// Explain the deltas to this version: what they are made of, and for ext4 which files cause
    /// it. Takes the memory of both images.
    #[arg(
        long = "version",
        value_name = "VERSION",
        requires = "repo",
        conflicts_with = "content"
    )]
    pub release_version: Option<Version>,
    /// Explain the delta from this version only.
    #[arg(long, value_name = "VERSION", requires = "release_version")]
    pub from: Option<Version>,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME", requires = "release_version")]
    pub product: Option<ProductName>,
}

/// RFC 3339, or seconds since the epoch as `SOURCE_DATE_EPOCH` has them.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Timestamp::from_unix(i64::from(seconds)));
    }
    text.parse()
        .map_err(|error: switchback_types::ParseTimestampError| error.to_string())
}

fn parse_segment_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size)
            if size.is_power_of_two() && (MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size) =>
        {
            Ok(size)
        }
        _ => Err(format!(
            "not a power of two between {MIN_SEGMENT_SIZE} and {MAX_SEGMENT_SIZE}"
        )),
    }
}
