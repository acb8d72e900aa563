//! Contact with the bootloader is proven, not assumed.
//!
//! The largest family of field failures is two programs with two environment files: the update
//! "succeeds" and the old version boots. Our boot scripts hand a value from the environment that
//! they read to the kernel command line; it must be the one in the environment that we write.
//! For foreign scripts, a boot that did not use up a try says the same.

use switchback_boot_env::contract::{self, BootView};
use switchback_update_core::{SlotBoot, SlotContent, State};

use super::Parts;
use crate::boot::{BootError, Repaired};
use crate::report::chain;

/// Whether the bootloader reads the environment that we write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// It handed over the value that stands there, or it counted this boot there.
    Proven,
    /// Nothing speaks for or against it.
    Unknown,
    /// It does not.
    Broken(String),
}

/// Kept for as long as this boot: later the environment has been written by ourselves.
const FILE: &str = "contact";

impl Contact {
    pub(super) fn find(parts: &Parts, state: &State, view: Option<&BootView>) -> Self {
        if let Some(text) = parts.host.recall(FILE) {
            return Self::from_text(&text);
        }
        let contact = Self::judge(parts, state, view);
        parts.host.keep(FILE, &contact.to_text());
        contact
    }

    fn judge(parts: &Parts, state: &State, view: Option<&BootView>) -> Self {
        let files = parts.boot.files();
        let Some(view) = view else {
            return Self::Unknown;
        };
        if parts.layout.environment_bad {
            return Self::Broken(format!(
                "the bootloader found no usable environment; {files} is what is written here: \
                 check that both are on the partition that the bootloader reads"
            ));
        }
        let handed = parts
            .layout
            .contact
            .as_deref()
            .filter(|value| !value.is_empty());
        match (handed, view.contact_id.as_deref()) {
            (Some(handed), Some(stored)) if handed == stored => return Self::Proven,
            (Some(handed), stored) => {
                let stored = stored.unwrap_or("none");
                return Self::Broken(format!(
                    "the bootloader reads another environment than {files}: it was started with \
                     switchback.env={handed}, the file holds {stored}; correct `boot.grubenv` or \
                     `boot.fw-env-config`"
                ));
            }
            (None, _) => {}
        }
        let tries = parts.settings.boot.tries.min(parts.boot.max_tries());
        let written = state.slot(parts.layout.booted).good;
        match view.slot(parts.layout.booted) {
            // More than is ever written here, or nothing was written here yet: the number is the
            // factory's, or that of a loader that refilled what power cuts had used up.
            contract::SlotBoot::Ready { left } if left > tries || (left == tries && !written) => {
                Self::Unknown
            }
            contract::SlotBoot::Ready { left } if left == tries => Self::Broken(format!(
                "the bootloader did not count this boot in {files}: slot {} still has {left} of \
                 {tries} tries; it reads another environment, or its script does not save",
                parts.layout.booted
            )),
            contract::SlotBoot::Ready { .. } | contract::SlotBoot::Exhausted => Self::Proven,
            contract::SlotBoot::Bad
            | contract::SlotBoot::Missing
            | contract::SlotBoot::Uncounted => Self::Unknown,
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Proven => "proven".into(),
            Self::Unknown => "unknown".into(),
            Self::Broken(why) => format!("broken {why}"),
        }
    }

    fn from_text(text: &str) -> Self {
        match text.trim().split_once(' ') {
            Some(("broken", why)) => Self::Broken(why.into()),
            _ if text.trim() == "proven" => Self::Proven,
            _ => Self::Unknown,
        }
    }
}

/// What is kept for this boot once the environment that the bootloader complained about is being
/// mended.
const MENDED: &str = "environment-mended";

/// Writes damaged copies of the boot environment anew; where every copy is damaged and the
/// bootloader said so itself, a new environment.
pub(super) fn repair_environment(parts: &mut Parts, state: &State) -> Result<(), BootError> {
    let said_bad = parts.layout.environment_bad;
    if said_bad {
        // Kept first: killed in the middle, the next daemon of this boot must know.
        if !parts.boot.lint().is_empty() {
            parts.host.keep(MENDED, "yes");
        }
        // What the bootloader said was about an environment that is no more.
        parts.layout.environment_bad = parts.host.recall(MENDED).is_none();
    }
    let Err(error) = parts.boot.repair() else {
        return Ok(());
    };
    if !said_bad {
        return Err(error);
    }
    let booted = parts.layout.booted;
    let whole = matches!(
        state.slot(booted.other()).content,
        SlotContent::Holds { .. } | SlotContent::Unknown
    );
    match parts.boot.rebuild(booted, whole)? {
        Repaired::Nothing => Err(error),
        Repaired::Copies(_) => {
            tracing::warn!(
                "{}; the bootloader found no usable environment either: a new one is written",
                chain(&error),
            );
            Ok(())
        }
    }
}

/// The contract's view of a slot in the state machine's words.
pub(super) fn slot_boot(slot: contract::SlotBoot) -> SlotBoot {
    match slot {
        contract::SlotBoot::Ready { left } => SlotBoot::Ready { left },
        contract::SlotBoot::Exhausted => SlotBoot::Exhausted,
        // As often as one likes.
        contract::SlotBoot::Uncounted => SlotBoot::Ready { left: u8::MAX },
        contract::SlotBoot::Bad | contract::SlotBoot::Missing => SlotBoot::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_survives_a_restart_of_the_daemon() {
        for contact in [
            Contact::Proven,
            Contact::Unknown,
            Contact::Broken("two files".into()),
        ] {
            assert_eq!(Contact::from_text(&contact.to_text()), contact);
        }
    }
}
