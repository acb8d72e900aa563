//! The verbs about keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Place;
use crate::role::Role;

/// What to do with the keys of a repository.
#[derive(Debug, Subcommand)]
pub enum KeysVerb {
    /// Say which keys sign what, and which of them are in the keys directory.
    List {
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Make a key without listing it anywhere: on the machine that is going to have it.
    ///
    /// Writes ROLE.NAME.pem, which stays there, and ROLE.NAME.pub for `keys add`.
    New {
        /// The keys: a directory that nobody serves.
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Whose key.
        role: Role,
        /// Its own name among the keys of this role.
        #[arg(value_name = "NAME", value_parser = plain_name)]
        name: String,
    },
    /// List a further key for a role.
    Add {
        /// How.
        #[command(flatten)]
        change: ChangeArgs,
        /// The key: its public half (PEM), or the private one.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List a key no more: it was stolen, lost, or belongs to someone who left.
    ///
    /// What it signed is signed anew by the others first.
    Revoke {
        /// How.
        #[command(flatten)]
        change: ChangeArgs,
        /// The key's id, as `keys list` shows it; its first 8 digits at least.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Make a new key, list it for a role, and no other from then on.
    Rotate {
        /// Where.
        #[command(flatten)]
        place: Place,
        /// Whose key.
        role: Role,
        /// The new key's name: ROLE.NAME.pem.
        #[arg(value_name = "NAME", value_parser = plain_name)]
        name: String,
    },
    /// Say how many of a role's keys must sign.
    Threshold {
        /// How.
        #[command(flatten)]
        change: ChangeArgs,
        /// How many.
        #[arg(value_name = "COUNT")]
        count: u64,
    },
}

/// How the keys of a role are changed.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// Write the root or targets that say so into this directory, for keys that are elsewhere to sign
    /// (`sign`, then `take-in`), instead of publishing them.
    #[arg(long, value_name = "DIR")]
    pub set_aside: Option<PathBuf>,
    /// Whose keys.
    pub role: Role,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The keys: a directory that nobody serves.
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// Root or targets that were set aside; the signatures are added to the file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `take-in`.
#[derive(Debug, Args)]
pub struct TakeInArgs {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// Root or targets that were signed elsewhere.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// A name that is a part of a file's name.
fn plain_name(text: &str) -> Result<String, String> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err("letters, digits, - and _ are allowed, 64 at most".into());
    }
    Ok(text.into())
}
