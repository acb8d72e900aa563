//! `flags`: sets of feature flags, signed by a key of their own.
//!
//! A set is what flagd reads (a JSON object with `flags`, and for each its `state`, `variants` and `defaultVariant`), as it was
//! written: whoever turns flags can make no release and move no channel.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use switchback_types::{FlagSetName, ProductName, TargetPath};

use crate::edit::{Edit, Workplace};
use crate::error::{RepoError, io};
use crate::repository::{Repository, digest};
use crate::role::Role;

/// Longest set: devices fetch no longer document.
const LONGEST: usize = 256 * 1024;

/// What `flags` changes.
#[derive(Debug, Clone)]
pub struct FlagsRequest {
    /// The product; the repository's only one unless given.
    pub product: Option<ProductName>,
    /// The set.
    pub name: FlagSetName,
    /// Its text is in this file; it is removed if there is none.
    pub file: Option<PathBuf>,
}

/// A set, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlagSet {
    /// Where it lies in the repository.
    pub path: TargetPath,
    /// Names of its flags.
    pub flags: Vec<String>,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// What `flags` did or found.
#[derive(Debug, Clone, Serialize)]
pub struct FlagsReport {
    /// All sets of the product.
    pub sets: Vec<FlagSet>,
    /// Whether it was so already.
    pub unchanged: bool,
}

impl fmt::Display for FlagsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sets.is_empty() {
            writeln!(f, "There are no flags.")?;
        }
        for set in &self.sets {
            writeln!(f, "{}: {}", set.path, set.flags.join(", "))?;
        }
        if self.unchanged {
            writeln!(f, "  It was so already: nothing was written.")?;
        }
        Ok(())
    }
}

/// As much of a set as is looked at before it is signed.
#[derive(Deserialize)]
struct Written {
    flags: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenFlag {
    state: State,
    variants: Map<String, Value>,
    default_variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    Enabled,
    Disabled,
}

/// Signs a set of flags, or takes one away.
///
/// # Errors
/// [`RepoError::Flags`] names the file and the flag that is wrong; and what keys and files can fail with.
pub fn change(place: &Workplace<'_>, request: &FlagsRequest) -> Result<FlagsReport, RepoError> {
    let text = match &request.file {
        Some(file) => Some(read(file)?),
        None => None,
    };
    let mut edit = Edit::begin(place)?;
    let product = edit.repository.product(request.product.as_ref())?;
    edit.check_ready(&[Role::Flags])?;
    let path = flags_path(&product, &request.name);
    let before = edit.repository.flags(&product)?;
    let before = before.iter().find(|(known, _)| known == path.as_str());
    let unchanged = match (&text, before) {
        (Some(text), Some((_, before))) => text.as_bytes() == before.as_slice(),
        (None, None) => true,
        _ => false,
    };
    if !unchanged {
        match &text {
            Some(text) => edit.sign_document(Role::Flags, &path, text, HashMap::new())?,
            None => edit.remove_document(Role::Flags, &path),
        }
        edit.commit()?;
    }
    report(&edit.repository, &product, unchanged)
}

/// All sets of a product.
///
/// # Errors
/// As reading the repository.
pub fn show(
    repository: &Repository,
    product: Option<&ProductName>,
) -> Result<FlagsReport, RepoError> {
    let product = repository.product(product)?;
    report(repository, &product, false)
}

fn report(
    repository: &Repository,
    product: &ProductName,
    unchanged: bool,
) -> Result<FlagsReport, RepoError> {
    let mut sets = Vec::new();
    for (path, bytes) in repository.flags(product)? {
        let wrong = |detail: String| RepoError::Flags {
            path: path.clone().into(),
            detail,
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
        let flags = check(text).map_err(wrong)?;
        let target = path.parse().map_err(|_| wrong("a strange path".into()))?;
        sets.push(FlagSet {
            path: target,
            flags,
            sha256: digest(&bytes).to_string(),
        });
    }
    Ok(FlagsReport { sets, unchanged })
}

/// Where a set lies in the repository.
#[allow(
    clippy::expect_used,
    reason = "both names were checked to be plain path components"
)]
fn flags_path(product: &ProductName, name: &FlagSetName) -> TargetPath {
    format!("flags/{product}/{name}.flags.json")
        .parse()
        .expect("both names were checked to be plain path components")
}

fn read(file: &Path) -> Result<String, RepoError> {
    let wrong = |detail: String| RepoError::Flags {
        path: file.into(),
        detail,
    };
    let bytes = fs::read(file).map_err(io("read", file))?;
    if bytes.len() > LONGEST {
        let detail = format!("has {} bytes, a device reads {LONGEST}", bytes.len());
        return Err(wrong(detail));
    }
    let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    check(&text).map_err(wrong)?;
    Ok(text)
}

/// The names of the flags, if whoever reads them will understand them.
fn check(text: &str) -> Result<Vec<String>, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    for (name, value) in written.flags {
        let wrong = |detail: String| format!("flag {name:?}: {detail}");
        let flag: WrittenFlag =
            serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        if let Some(variant) = flag.default_variant
            && !flag.variants.contains_key(&variant)
        {
            return Err(wrong(format!(
                "its defaultVariant {variant:?} is none of its variants"
            )));
        }
        match flag.state {
            State::Enabled | State::Disabled => names.push(name),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_nobody_would_understand_are_refused_by_name() {
        let good = r#"{"$schema": "x", "flags": {"new-ui": {"state": "ENABLED", "variants": {"on": true, "off": false},
            "defaultVariant": "off", "targeting": {}}}}"#;
        assert_eq!(check(good).unwrap(), ["new-ui"]);
        for (text, part) in [
            ("[]", "invalid length"),
            ("{}", "missing field `flags`"),
            (
                r#"{"flags": {"a": {"state": "ON", "variants": {}}}}"#,
                "flag \"a\": unknown variant `ON`",
            ),
            (
                r#"{"flags": {"a": {"state": "ENABLED"}}}"#,
                "missing field `variants`",
            ),
            (
                r#"{"flags": {"a": {"state": "ENABLED", "variants": {"on": 1}, "defaultVariant": "no"}}}"#,
                "defaultVariant \"no\"",
            ),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
