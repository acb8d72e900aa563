//! The verbs of `flags`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use switchback_types::{FlagSetName, ProductName};

use super::{Place, Source};

/// The verbs of `flags`.
#[derive(Debug, Subcommand)]
pub enum FlagsVerb {
    /// Sign a set of feature flags: a JSON file as flagd reads it.
    Set(FlagsSetArgs),
    /// Take a set away.
    Remove(FlagSetArgs),
    /// Show all sets.
    Show(FlagsShowArgs),
}

/// Arguments of `flags set`.
#[derive(Debug, Args)]
pub struct FlagsSetArgs {
    /// Which set.
    #[command(flatten)]
    pub set: FlagSetArgs,
    /// The file.
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
}

/// A set: all arguments of `flags remove`.
#[derive(Debug, Args)]
pub struct FlagSetArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME")]
    pub product: Option<ProductName>,
    /// The set.
    #[arg(long, value_name = "NAME")]
    pub name: FlagSetName,
}

/// Arguments of `flags show`.
#[derive(Debug, Args)]
pub struct FlagsShowArgs {
    /// What to look at.
    #[command(flatten)]
    pub source: Source,
    /// The line of releases [default: the repository's only one].
    #[arg(long, value_name = "NAME")]
    pub product: Option<ProductName>,
}
