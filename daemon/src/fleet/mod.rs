//! A server that says when an update is this device's turn, by hawkBit's DDI.
//!
//! It names a version and hears what came of it; nothing that is installed comes from it. What is said is one
//! [`Turn`] and one [`Word`]: [`Client`] makes requests of it in the process that has no rights, [`Asking`] waits
//! for it on a thread of its own, so that an install keeps nobody silent, and [`Memory`] keeps what must be told.

mod asking;
mod client;
mod memory;
mod said;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchback_types::{ActionId, ProductName, Version};

pub use self::asking::{Asking, start};
pub use self::client::{Client, is_token};
pub use self::memory::{Memory, new_id};
pub use self::said::{answers, ended, refusal, undecided};

/// Before the name of a fleet's action, as one of this device's.
const OF_FLEET: &str = "fleet-";
/// The same for a release on the way to the one that the action is about.
const STEP_OF_FLEET: &str = "fleet-step-";

/// How the server is reached, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Its address, without a trailing slash.
    pub url: String,
    /// The tenant.
    pub tenant: String,
    /// What this device is called there.
    pub id: String,
    /// The value of `Authorization`; nothing where a certificate says who asks.
    pub authorization: Option<Secret>,
    /// The fleet's token, to be exchanged for one of this device's.
    pub enroll: Option<Secret>,
    /// The token that this device would have then. It is the same however often it asks: an answer that was lost costs
    /// nothing.
    pub proposed: Option<Secret>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// One exchange with the server: first everything is told, then it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What is to be told, the oldest first.
    pub reports: Vec<Report>,
    /// What the device says of itself; nothing while that is not settled.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Whether that is to be told although the server does not ask for it.
    pub attributes_new: bool,
}

/// What is told of one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The action's name at the server.
    pub action: String,
    /// What it is an answer to.
    pub about: About,
    /// JSON, as DDI wants it.
    pub body: String,
}

/// What a report is an answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// An update.
    Deployment,
    /// The wish to stop one.
    Cancellation,
    /// The question whether somebody here agrees to one.
    Confirmation,
}

/// What the server said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// So many of the reports it has now, or does not want.
    pub told: usize,
    /// Whether it has the attributes.
    pub attributes_told: bool,
    /// Seconds until it wants to be asked again.
    pub sleep: Option<u32>,
    /// An update to make.
    pub wanted: Option<Wanted>,
    /// An update to stop.
    pub stop: Option<Stop>,
    /// The device's own token, given for that of the fleet.
    pub token: Option<Secret>,
}

impl Word {
    /// The same with `tidy` text, as it comes from another process.
    #[must_use]
    pub(crate) fn with_text(self, tidy: impl Fn(&str) -> String) -> Self {
        let mut word = self;
        if let Some(wanted) = &mut word.wanted {
            wanted.action = tidy(&wanted.action);
            wanted.later = wanted.later.as_deref().map(&tidy);
            if let Err(why) = &mut wanted.release {
                *why = tidy(why);
            }
        }
        if let Some(stop) = &mut word.stop {
            stop.cancellation = tidy(&stop.cancellation);
            stop.action = tidy(&stop.action);
        }
        word
    }
}

/// An update that the server wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The action's name at the server.
    pub action: String,
    /// The line of releases, and the version; or why what it names is none that can be installed here.
    pub release: Result<(ProductName, Version), String>,
    /// Whether somebody here must agree first.
    pub confirm: bool,
    /// Why not now, in the server's view.
    pub later: Option<String>,
}

/// An update that the server wants stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What the answer is addressed to.
    pub cancellation: String,
    /// The action to stop.
    pub action: String,
}

/// Why there is no word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For people.
    pub detail: String,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Wanted {
    /// The name of the update to `version` that begins for it. Another version than the one that is wanted leads only on
    /// the way there.
    #[must_use]
    pub fn action_id(&self, version: &Version) -> Option<ActionId> {
        let step = self
            .release
            .as_ref()
            .is_ok_and(|(_, wanted)| wanted != version);
        let before = if step { STEP_OF_FLEET } else { OF_FLEET };
        format!("{before}{}", self.action).parse().ok()
    }
}

/// The fleet's action that began an update, and whether it leads only on the way.
#[must_use]
pub fn action_of(id: &ActionId) -> Option<(&str, bool)> {
    let text = id.as_str();
    match text.strip_prefix(STEP_OF_FLEET) {
        Some(action) => Some((action, true)),
        None => text.strip_prefix(OF_FLEET).map(|action| (action, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_found_again_by_its_name() {
        let wanted = Wanted {
            action: "17".into(),
            release: Ok(("kiosk".parse().unwrap(), "2".parse().unwrap())),
            confirm: false,
            later: None,
        };
        for (version, step) in [("2", false), ("1.5", true)] {
            let id = wanted.action_id(&version.parse().unwrap()).unwrap();
            assert_eq!(action_of(&id), Some(("17", step)));
        }
        assert_eq!(action_of(&"poll-1".parse().unwrap()), None);
    }
}
