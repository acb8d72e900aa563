//! Which artifacts a delegation covers, and whose keys it names.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use ring::digest::{self, SHA256};
use serde::Deserialize;
use switchback_types::TargetPath;

use crate::key::PublicKey;
use crate::name::Role;
use crate::schema::RoleKeys;

/// Whose signatures a role's metadata needs: the role's keys as its delegator names them.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// The role.
    pub(crate) role: Role,
    /// Distinct keys needed; never 0.
    pub(crate) threshold: u64,
    /// The keys that count, by id.
    pub(crate) keys: BTreeMap<String, PublicKey>,
}

impl Authority {
    /// Picks the role's keys out of those that its delegator knows.
    pub(crate) fn new(role: Role, named: &RoleKeys, keys: &BTreeMap<String, PublicKey>) -> Self {
        Self {
            role,
            threshold: named.threshold.get(),
            keys: named
                .key_ids
                .iter()
                .filter_map(|id| keys.get(id).map(|key| (id.clone(), key.clone())))
                .collect(),
        }
    }

    /// Whether a key of this authority is gone in `newer`: its holder is no longer trusted.
    pub(crate) fn lost_a_key_in(&self, newer: &Self) -> bool {
        self.keys
            .values()
            .any(|key| !newer.keys.values().any(|kept| kept == key))
    }
}

/// The `delegations` of targets metadata.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Delegations {
    keys: BTreeMap<String, PublicKey>,
    #[serde(default)]
    pub(crate) roles: Vec<DelegatedRole>,
}

impl Delegations {
    /// Whose signatures `role` needs under this delegation.
    pub(crate) fn authority(&self, role: &DelegatedRole) -> Authority {
        Authority::new(
            Role::Delegated(role.name.clone()),
            &role.signers,
            &self.keys,
        )
    }

    /// What is wrong with these delegations, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        self.roles.iter().find_map(DelegatedRole::problem)
    }
}

/// One delegation, in the order of its delegator's preference.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DelegatedRole {
    pub(crate) name: String,
    #[serde(flatten)]
    signers: RoleKeys,
    /// The search does not go past this role for what the role covers.
    pub(crate) terminating: bool,
    paths: Option<Vec<String>>,
    path_hash_prefixes: Option<Vec<String>>,
}

impl DelegatedRole {
    fn problem(&self) -> Option<String> {
        let name = &self.name;
        if Role::delegated(name).is_none() {
            return Some(alloc::format!(
                "nothing can be delegated to a role named {name:?}"
            ));
        }
        if self.paths.is_some() == self.path_hash_prefixes.is_some() {
            return Some(alloc::format!(
                "the delegation to {name:?} needs one of paths and path_hash_prefixes"
            ));
        }
        self.signers.problem(name)
    }

    /// Whether the role may speak about `path`.
    pub(crate) fn covers(&self, path: &TargetPath) -> bool {
        if let Some(prefixes) = &self.path_hash_prefixes {
            let hash = hex::encode(digest::digest(&SHA256, path.as_str().as_bytes()));
            return prefixes.iter().any(|prefix| hash.starts_with(prefix));
        }
        let patterns = self.paths.as_deref().unwrap_or_default();
        patterns
            .iter()
            .any(|pattern| matches_path(pattern, path.as_str()))
    }
}

/// Matches component by component: a wildcard never crosses a `/`.
fn matches_path(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut parts = path.split('/');
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if matches_component(pattern, part) => {}
            _ => return false,
        }
    }
}

/// `*` is any run of characters, `?` any one; all else, `[` too, stands for itself. Takes time
/// in proportion to the product of both lengths at worst: only the last `*` is ever retried.
fn matches_component(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut retry: Option<(core::str::Chars<'_>, core::str::Chars<'_>)> = None;
    loop {
        let mut rest = text.clone();
        let (wanted, found) = (pattern.next(), rest.next());
        match (wanted, found) {
            (None, None) => return true,
            (Some('*'), _) => retry = Some((pattern.clone(), text.clone())),
            (Some('?'), Some(_)) => text = rest,
            (Some(wanted), Some(found)) if wanted == found => text = rest,
            _ => {
                // Let the last `*` swallow one more character, if there is one.
                let Some((after_star, swallowed)) = &mut retry else {
                    return false;
                };
                if swallowed.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                text = swallowed.clone();
            }
        }
    }
}

impl RoleKeys {
    /// What is wrong with the keys named for `role`, if anything.
    pub(crate) fn problem(&self, role: &str) -> Option<String> {
        let mut sorted: Vec<&String> = self.key_ids.iter().collect();
        sorted.sort_unstable();
        sorted.windows(2).find_map(|pair| match pair {
            [first, second] if first == second => {
                Some(alloc::format!("role {role:?} names the key {first} twice"))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_component_by_component() {
        for (pattern, path, matches) in [
            ("*", "anything", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("releases/*/*", "releases/x/x_v1", true),
            ("releases/*/*", "releases/README.md", false),
            ("releases/y/*.zip", "releases/y/y_v1.zip", true),
            ("releases/y/*.zip", "releases/y/y_v1.zip.sig", false),
            ("*.md", "README.md", true),
            ("*.md", "README.MD", false),
            ("foo-?.tgz", "foo-1.tgz", true),
            ("foo-?.tgz", "foo-alpha.tgz", false),
            ("foo-?.tgz", "foo-.tgz", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("**", "x", true),
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
            ("", "a", false),
            ("a/", "a", false),
            ("/a", "a", false),
            ("ü*", "üx", true),
        ] {
            assert_eq!(matches_path(pattern, path), matches, "{pattern:?} {path:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_does_not_take_exponential_time() {
        let pattern = "*a".repeat(250);
        let path = "a".repeat(249) + "b";
        assert!(!matches_path(&pattern, &path));
    }
}
