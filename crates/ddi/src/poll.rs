//! The answer to a poll.

use serde::{Deserialize, Serialize};

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where to go.
    pub href: String,
}

/// Most characters of an action's name.
const MAX_ACTION_CHARS: usize = 64;
/// Most characters of a query.
const MAX_QUERY_CHARS: usize = 256;

impl Link {
    /// The action that the address names behind `kind` (`deploymentBase`), and its query if it has
    /// one. A client puts them behind the address that it knows the server by: what is written in a
    /// link leads it, and its token, nowhere else. Nothing, when it is no such address.
    #[must_use]
    pub fn action(&self, kind: &str) -> Option<(&str, Option<&str>)> {
        let (path, query) = match self.href.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.href.as_str(), None),
        };
        let (before, action) = path.trim_end_matches('/').rsplit_once('/')?;
        let only = |text: &str, others: &[u8]| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
        };
        let plain = (1..=MAX_ACTION_CHARS).contains(&action.len()) && only(action, b"-_");
        let safe = |query: &str| query.len() <= MAX_QUERY_CHARS && only(query, b"-_.~=&%+");
        let ours = before.ends_with(kind) && plain && query.is_none_or(safe);
        ours.then_some((action, query))
    }
}

/// The answer to a poll: when to come again, and what there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// When to come again.
    pub config: Config,
    /// What there is to do; nothing, when empty.
    #[serde(
        rename = "_links",
        default,
        skip_serializing_if = "PollLinks::is_empty"
    )]
    pub links: PollLinks,
}

/// When to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When to come again.
    pub polling: Polling,
}

/// When to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// `HH:mm:ss`, see [`write_sleep`](crate::write_sleep).
    pub sleep: String,
}

/// What there is to do. A server names at most one of `deployment_base`, `cancel_action` and
/// `confirmation_base`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PollLinks {
    /// An update to make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_base: Option<Link>,
    /// An update to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_action: Option<Link>,
    /// An update to agree to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation_base: Option<Link>,
    /// The update made last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_base: Option<Link>,
    /// The server would like to have the device's attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_data: Option<Link>,
}

impl PollLinks {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_an_action_and_leads_nowhere() {
        let of = |href: &str| {
            let link = Link { href: href.into() };
            let found = link.action("deploymentBase");
            found.map(|(action, query)| (action.to_owned(), query.map(ToOwned::to_owned)))
        };
        let hawkbit = "https://h/DEFAULT/controller/v1/d1/deploymentBase/5?c=-2127183556";
        assert_eq!(
            of(hawkbit),
            Some(("5".into(), Some("c=-2127183556".into())))
        );
        assert_eq!(of("/d1/deploymentBase/5/"), Some(("5".into(), None)));
        for odd in [
            "",
            "https://h/deploymentBase/",
            "https://h/cancelAction/5",
            "https://h/deploymentBase/..",
            "https://h/deploymentBase/5 x",
            "https://h/deploymentBase/5?a\r\nb",
            "https://h/deploymentBase/5%2f..",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn written_as_hawkbit_does() {
        let mut poll = Poll {
            config: Config {
                polling: Polling {
                    sleep: "00:05:00".into(),
                },
            },
            links: PollLinks::default(),
        };
        let idle = serde_json::to_string(&poll).unwrap();
        assert_eq!(idle, r#"{"config":{"polling":{"sleep":"00:05:00"}}}"#);
        assert_eq!(serde_json::from_str::<Poll>(&idle).unwrap(), poll);
        poll.links.deployment_base = Some(Link {
            href: "https://h/5".into(),
        });
        let text = serde_json::to_string(&poll).unwrap();
        assert!(text.ends_with(r#""_links":{"deploymentBase":{"href":"https://h/5"}}}"#));
    }
}
