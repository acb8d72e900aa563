//! All devices in memory: what a poll is answered from.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use switchback_rollout::Labels;

use crate::secret::TokenHash;
use crate::store::DeviceRow;

/// Parts of the index that are locked on their own.
const SHARDS: usize = 64;

/// Whether a device may do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// It may.
    Active,
    /// A person must let it in.
    Pending,
    /// Its token was taken back.
    Revoked,
}

impl DeviceState {
    /// The word that is kept.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }

    fn from_text(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "pending" => Self::Pending,
            _ => Self::Revoked,
        }
    }
}

/// What a device is to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// For which rollout.
    pub rollout: Arc<str>,
    /// The number that the device knows it by.
    pub action: i64,
    /// What.
    pub kind: TaskKind,
    /// What is to run: the release's identity.
    pub identity: Arc<str>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Install the release.
    Install,
    /// Ask somebody.
    Confirm,
    /// Stop.
    Cancel,
    /// Go back to what ran before.
    Back,
}

/// Labels in one piece of memory: a name, a value, a name, … each after a zero byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedLabels(Box<str>);

impl PackedLabels {
    /// What people say of a device comes before what it says of itself.
    #[must_use]
    pub fn pack(people: &BTreeMap<String, String>, own: &BTreeMap<String, String>) -> Self {
        let mut text = String::new();
        let own = own.iter().filter(|(name, _)| !people.contains_key(*name));
        for (name, value) in people.iter().chain(own) {
            for part in [name, value] {
                text.push('\0');
                text.extend(part.chars().filter(|c| *c != '\0'));
            }
        }
        Self(text.into())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split('\0').skip(1);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }
}

/// A device's labels, with its own name among them.
#[derive(Debug)]
pub struct NamedLabels<'a> {
    /// Its name: the label `id`.
    pub id: &'a str,
    /// The others.
    pub labels: &'a PackedLabels,
}

impl Labels for NamedLabels<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        if name == "id" {
            return Some(self.id);
        }
        self.labels
            .iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

/// One device.
#[derive(Debug)]
pub struct Device {
    /// Of its token.
    pub token: TokenHash,
    /// Of the token that it was given last and has not used yet.
    pub next_token: TokenHash,
    /// Whether it may do anything.
    pub state: DeviceState,
    /// What filters look at.
    pub labels: PackedLabels,
    /// What it says that it runs; empty when it does not say.
    pub identity: Arc<str>,
    /// Whether it agrees to everything.
    pub auto_confirm: bool,
    /// Whether it ever said anything of itself.
    pub described: bool,
    /// When it was heard of last.
    pub heard_at: AtomicI64,
    /// The same, as it is kept.
    pub saved_heard_at: AtomicI64,
    /// What it is to do.
    pub task: Option<Box<Task>>,
}

impl Device {
    /// From what is kept.
    #[must_use]
    pub fn from_row(row: &DeviceRow) -> Self {
        let map = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            token: TokenHash::from_text(&row.token_hash),
            next_token: TokenHash::from_text(&row.next_token_hash),
            state: DeviceState::from_text(&row.state),
            labels: PackedLabels::pack(&map(&row.labels), &map(&row.attributes)),
            identity: row.identity.as_str().into(),
            described: !matches!(row.attributes.as_str(), "" | "{}"),
            auto_confirm: !row.auto_confirm.is_empty(),
            heard_at: row.heard_at.into(),
            saved_heard_at: row.heard_at.into(),
            task: None,
        }
    }
}

/// All devices.
#[derive(Debug)]
pub struct Fleet {
    shards: Vec<RwLock<HashMap<Box<str>, Device>>>,
    hasher: RandomState,
    count: AtomicUsize,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Fleet {
    fn shard(&self, id: &str) -> Option<&RwLock<HashMap<Box<str>, Device>>> {
        let place = self.hasher.hash_one(id) % SHARDS as u64;
        self.shards.get(usize::try_from(place).unwrap_or(0))
    }

    /// How many devices there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Looks at one device.
    pub fn with<T>(&self, id: &str, look: impl FnOnce(&Device) -> T) -> Option<T> {
        let shard = self
            .shard(id)?
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        shard.get(id).map(look)
    }

    /// Changes one device.
    pub fn change<T>(&self, id: &str, change: impl FnOnce(&mut Device) -> T) -> Option<T> {
        let mut shard = self
            .shard(id)?
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard.get_mut(id).map(change)
    }

    /// Puts a device in, or in the place of what was known of it; what it is to do stays.
    pub fn put(&self, id: &str, mut device: Device) {
        let Some(shard) = self.shard(id) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = shard.get_mut(id) {
            device.task = before.task.take();
            let heard = before.heard_at.load(Ordering::Relaxed);
            device.heard_at.fetch_max(heard, Ordering::Relaxed);
            *before = device;
        } else {
            shard.insert(id.into(), device);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a device out.
    pub fn remove(&self, id: &str) {
        let Some(shard) = self.shard(id) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.remove(id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Looks at all devices at once. Meanwhile polls go on; whatever changes a device waits.
    pub fn with_all<T>(&self, look: impl FnOnce(&[(&str, &Device)]) -> T) -> T {
        let shards: Vec<_> = self
            .shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let devices: Vec<(&str, &Device)> = shards
            .iter()
            .flat_map(|shard| shard.iter())
            .map(|(id, device)| (&**id, device))
            .collect();
        look(&devices)
    }

    /// Looks at all devices, one part of the index after another.
    pub fn each(&self, mut look: impl FnMut(&str, &Device)) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            for (id, device) in shard.iter() {
                look(id, device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_the_last_word_on_labels() {
        let map = |pairs: &[(&str, &str)]| {
            let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            pairs.iter().map(owned).collect::<BTreeMap<_, _>>()
        };
        let packed = PackedLabels::pack(
            &map(&[("site", "lab")]),
            &map(&[("site", "field"), ("hw", "r\u{0}2"), ("empty", "")]),
        );
        let labels = NamedLabels {
            id: "d1",
            labels: &packed,
        };
        assert_eq!(labels.label("site"), Some("lab"));
        assert_eq!(labels.label("hw"), Some("r2"));
        assert_eq!(labels.label("empty"), Some(""));
        assert_eq!(labels.label("id"), Some("d1"));
        assert_eq!(labels.label("lab"), None);
        assert_eq!(packed.iter().count(), 3);
    }
}
