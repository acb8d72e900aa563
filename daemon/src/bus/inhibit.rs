//! Inhibitors: an application holds one end of a connection for as long as it does not want to be
//! interrupted. When it lets go, or dies, the kernel tells.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::sync::{Arc, Mutex, PoisonError};

use switchback_update_core::Before;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use super::Shared;
use super::errors::MethodError;
use super::options::shorten;
use crate::driver::{InhibitMode, Inhibitor, InhibitorId, Message};

/// Most of them at one time.
const MOST: usize = 64;
/// Most of one user who is not root.
const MOST_OF_ONE: usize = 8;

/// The users of those that hold on.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders(Arc<Mutex<Vec<u32>>>);

impl Holders {
    fn add(&self, uid: u32) -> Result<(), MethodError> {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = holders.iter().filter(|holder| **holder == uid).count();
        if holders.len() >= MOST || (uid != 0 && own >= MOST_OF_ONE) {
            return Err(MethodError::LimitsExceeded(format!(
                "at most {MOST} inhibitors are held, {MOST_OF_ONE} of one user"
            )));
        }
        holders.push(uid);
        Ok(())
    }

    fn remove(&self, uid: u32) {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = holders.iter().position(|holder| *holder == uid) {
            holders.swap_remove(at);
        }
    }
}

/// What an application asks for.
pub(super) struct Request {
    before: Before,
    pub(super) mode: InhibitMode,
    who: String,
    why: String,
}

impl Request {
    pub(super) fn parse(what: &str, who: &str, why: &str, mode: &str) -> Result<Self, MethodError> {
        let mut parts: Vec<&str> = what.split(':').collect();
        parts.sort_unstable();
        parts.dedup();
        let before = match parts.as_slice() {
            ["update"] => Before::Update,
            ["restart"] => Before::Restart,
            ["restart", "update"] => Before::Both,
            _ => {
                let text = format!(
                    "{:?}: is \"update\", \"restart\" or \"update:restart\"",
                    shorten(what)
                );
                return Err(MethodError::InvalidArgs(text));
            }
        };
        let mode = match mode {
            "block" => InhibitMode::Block,
            // Only the restart comes at a moment for which one can get ready.
            "delay" if before == Before::Restart => InhibitMode::Delay,
            "delay" => {
                let text = "only a \"restart\" can be delayed".to_owned();
                return Err(MethodError::InvalidArgs(text));
            }
            other => {
                let text = format!("{:?}: is \"block\" or \"delay\"", shorten(other));
                return Err(MethodError::InvalidArgs(text));
            }
        };
        let (who, why) = (shorten(who), shorten(why));
        if who.trim().is_empty() || why.trim().is_empty() {
            let text = "who asks, and why, must be said".to_owned();
            return Err(MethodError::InvalidArgs(text));
        }
        Ok(Self {
            before,
            mode,
            who,
            why,
        })
    }

    /// Takes effect; the other end is the application's.
    pub(super) fn take(self, shared: &Shared, uid: u32) -> Result<OwnedFd, MethodError> {
        let trouble = |error: std::io::Error| MethodError::Failed(error.to_string());
        let (theirs, ours) = Pair::pair().map_err(trouble)?;
        ours.set_nonblocking(true).map_err(trouble)?;
        let mut ours = UnixStream::from_std(ours).map_err(trouble)?;
        shared.holders.add(uid)?;
        let id = InhibitorId(shared.new_number());
        let inhibitor = Inhibitor {
            id,
            who: self.who,
            why: self.why,
            before: self.before,
            mode: self.mode,
            uid,
        };
        let told = shared.driver.send(Message::Inhibit(inhibitor));
        told.map_err(|_| MethodError::Failed("the daemon is ending".into()))?;
        let (driver, holders) = (shared.driver.clone(), shared.holders.clone());
        tokio::spawn(async move {
            let mut ignored = [0_u8; 64];
            // Whatever is written is of no interest; the end is.
            while let Ok(1..) = ours.read(&mut ignored).await {}
            holders.remove(uid);
            // If the driver is gone the program is ending.
            let _ = driver.send(Message::Uninhibit(id));
        });
        Ok(theirs.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_what_there_is() {
        let parse = |what: &str, mode: &str| {
            Request::parse(what, "player", "a film", mode).map(|request| request.before)
        };
        assert_eq!(parse("update", "block").ok(), Some(Before::Update));
        assert_eq!(parse("restart:update", "block").ok(), Some(Before::Both));
        assert_eq!(parse("restart", "delay").ok(), Some(Before::Restart));
        for (what, mode) in [
            ("update", "delay"),
            ("sleep", "block"),
            ("restart", "ask"),
            ("", "block"),
        ] {
            assert!(parse(what, mode).is_err(), "{what} {mode}");
        }
        assert!(Request::parse("update", "", "a film", "block").is_err());
    }

    #[test]
    fn one_user_cannot_take_all_places() {
        let holders = Holders::default();
        for _ in 0..MOST_OF_ONE {
            holders.add(1000).unwrap();
        }
        assert!(holders.add(1000).is_err());
        holders.add(1001).unwrap();
        holders.remove(1000);
        holders.add(1000).unwrap();
        for _ in 0..MOST - MOST_OF_ONE - 1 {
            holders.add(0).unwrap();
        }
        assert!(holders.add(0).is_err());
    }
}
