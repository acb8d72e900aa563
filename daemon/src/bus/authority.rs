//! Who may tell the daemon what to do.
//!
//! Where polkit is installed, it decides (`org.switchback.Update1.policy`); on bare images without
//! it, root and the members of one group may. The answer is there before a job is begun: a person
//! may take longer to type a password than a bus call lasts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::unistd::{Group, Uid, User};
use zbus::message::{Flags, Header};
use zbus::names::BusName;
use zbus::{Connection, Variant};

use super::errors::MethodError;
use crate::report::chain;

/// So many callers may wait for a person's password at the same time.
const MOST_WAITING: usize = 16;

const POLKIT: &str = "org.freedesktop.PolicyKit1";

/// What a caller wants to do, as polkit knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask the repository.
    Check,
    /// Install what the channel names.
    Update,
    /// Install what a person names.
    Install,
    /// Begin although something says that it is not wanted, or too great a risk.
    Override,
    /// Go back.
    RollBack,
    /// Hold, pin, consent, and their ends; call off.
    Manage,
    /// Write marks into the boot environment; repair a slot.
    Mark,
    /// Restart into the armed slot.
    Restart,
    /// Ask not to be interrupted.
    InhibitBlock,
    /// Delay a restart for a moment.
    InhibitDelay,
}

impl Action {
    const ALL: [Self; 10] = [
        Self::Check,
        Self::Update,
        Self::Install,
        Self::Override,
        Self::RollBack,
        Self::Manage,
        Self::Mark,
        Self::Restart,
        Self::InhibitBlock,
        Self::InhibitDelay,
    ];

    /// Its name for polkit.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Check => "org.switchback.Update1.check",
            Self::Update => "org.switchback.Update1.update",
            Self::Install => "org.switchback.Update1.install",
            Self::Override => "org.switchback.Update1.override",
            Self::RollBack => "org.switchback.Update1.roll-back",
            Self::Manage => "org.switchback.Update1.manage",
            Self::Mark => "org.switchback.Update1.mark",
            Self::Restart => "org.switchback.Update1.restart",
            Self::InhibitBlock => "org.switchback.Update1.inhibit-block",
            Self::InhibitDelay => "org.switchback.Update1.inhibit-delay",
        }
    }
}

/// All that polkit must know, for a test of the file that tells it.
#[must_use]
pub fn actions() -> Vec<&'static str> {
    Action::ALL.iter().map(|action| action.id()).collect()
}

/// Asks who may.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    group: Arc<str>,
    waiting: Arc<AtomicUsize>,
}

impl Authority {
    pub(super) fn new(group: &str) -> Self {
        Self {
            group: group.into(),
            waiting: Arc::default(),
        }
    }

    /// Whether the caller may; its user.
    pub(super) async fn check(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        action: Action,
    ) -> Result<u32, MethodError> {
        let sender = header
            .sender()
            .ok_or_else(|| MethodError::AccessDenied("the caller has no name".into()))?;
        let dbus = zbus::fdo::DBusProxy::new(connection).await?;
        let credentials = dbus
            .get_connection_credentials(BusName::from(sender.clone()))
            .await
            .map_err(|error| MethodError::Failed(chain(&error)))?;
        let uid = credentials
            .unix_user_id()
            .ok_or_else(|| MethodError::AccessDenied("the bus does not know the caller".into()))?;
        if uid == 0 {
            return Ok(uid);
        }
        let interactive = header
            .primary()
            .flags()
            .contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let _place = self.place()?;
        match ask_polkit(connection, sender.as_str(), action, interactive).await {
            Ok(Answer::Yes) => Ok(uid),
            Ok(Answer::Challenge) if !interactive => Err(MethodError::AuthorizationRequired(
                format!("{} needs a person who proves who they are", action.id()),
            )),
            Ok(Answer::Challenge | Answer::No) => Err(MethodError::AccessDenied(format!(
                "polkit does not allow {} to user {uid}",
                action.id()
            ))),
            Ok(Answer::Absent) => {
                let groups = credentials.unix_group_ids();
                let member = action == Action::InhibitDelay
                    || is_member(&self.group, uid, groups.map(Vec::as_slice));
                match member {
                    true => Ok(uid),
                    false => Err(MethodError::AccessDenied(format!(
                        "user {uid} is neither root nor in the group {}",
                        self.group
                    ))),
                }
            }
            Err(error) => Err(MethodError::AccessDenied(format!(
                "polkit cannot be asked: {}",
                chain(&error)
            ))),
        }
    }

    fn place(&self) -> Result<Place, MethodError> {
        let place = Place(Arc::clone(&self.waiting));
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            return Ok(place);
        }
        Err(MethodError::LimitsExceeded(format!(
            "{MOST_WAITING} callers wait for an authorisation already"
        )))
    }
}

/// One place among those that wait; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Answer {
    Yes,
    No,
    /// A person would have to prove who they are.
    Challenge,
    /// There is no polkit.
    Absent,
}

async fn ask_polkit(
    connection: &Connection,
    sender: &str,
    action: Action,
    interactive: bool,
) -> zbus::Result<Answer> {
    let subject = (
        "system-bus-name",
        HashMap::from([("name", Variant::from(sender))]),
    );
    let details: HashMap<&str, &str> = HashMap::new();
    // AllowUserInteraction.
    let flags = u32::from(interactive);
    let body = (subject, action.id(), details, flags, "");
    let called = connection
        .call_method(
            Some(POLKIT),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &body,
        )
        .await;
    match called {
        Ok(reply) => {
            let (yes, challenge, _): (bool, bool, HashMap<String, String>) =
                reply.body().deserialize()?;
            Ok(match (yes, challenge) {
                (true, _) => Answer::Yes,
                (false, true) => Answer::Challenge,
                (false, false) => Answer::No,
            })
        }
        // Not installed. One that is installed and does not come up is an error: nobody gets more
        // rights because it crashes.
        Err(zbus::Error::FDO(error)) if matches!(*error, zbus::fdo::Error::ServiceUnknown(_)) => {
            Ok(Answer::Absent)
        }
        Err(error) => Err(error),
    }
}

/// Whether a user is in the group: by the groups that the bus saw, if it tells them, else by the
/// system's list.
fn is_member(group: &str, uid: u32, seen: Option<&[u32]>) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else {
        return false;
    };
    if let Some(seen) = seen {
        return seen.contains(&group.gid.as_raw());
    }
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.gid == group.gid || group.mem.contains(&user.name),
        _ => false,
    }
}
