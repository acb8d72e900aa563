//! What is said to the journal: one message id per kind of event, structured fields with it.
//! `switchback.catalog` in `systemd/` explains each to a person (`journalctl -x`).

use switchback_types::{Digest, SlotName, TraceId, Version};
use switchback_update_core::{Attempt, AttemptKind, Decision, Notice};

use crate::health::CheckState;

/// Message ids, as `journalctl MESSAGE_ID=…` and the catalog know them.
pub mod message_id {
    /// The target slot is about to be written, or flipped to.
    pub const INSTALL_STARTED: &str = "5a3b8f0c2d6e4b719c0e7f64d1a85b20";
    /// An install was cut short by a restart.
    pub const INSTALL_INTERRUPTED: &str = "c1f0a7d94e5b4c3e8a62907bd3f81e64";
    /// The target slot is verified.
    pub const STAGED: &str = "8e21b6d05f9a4c47b3d8e0a16c72f935";
    /// The boot environment is armed.
    pub const ARMED: &str = "3d90c4e7b1a84f5296f7d2b85e03c1a6";
    /// The device is restarted by the daemon.
    pub const RESTARTING: &str = "91e0b4c7d26f4a83a05c7d1be64f2398";
    /// This boot is a trial.
    pub const TRIAL_STARTED: &str = "f47a1c90e3d24b68a5c19d7e802b6f34";
    /// The trial is lost.
    pub const TRIAL_FAILED: &str = "b6e8d3f1057c4a92815ea3c9f0d7246b";
    /// The slot on trial was marked good.
    pub const COMMITTED: &str = "2c7f9e4ab8d04163b0f5e6a1973dc85e";
    /// The old slot runs again.
    pub const ROLLED_BACK: &str = "d08b5a6c1f7e4e39a2c4f8b7e6931d50";
    /// Nothing was armed.
    pub const INSTALL_FAILED: &str = "7b14e2f9c6a34d80952d0c8e5fb1a763";
    /// A health check that only advises fails.
    pub const CHECK_FAILS: &str = "c82f6d15a09e4b73b4d17f0e93a5268c";
    /// The committed slot is not healthy.
    pub const DEGRADED: &str = "e9c30d7a4b184f6f8be1f25a706dc392";
    /// The other slot came up without a trial.
    pub const UNEXPECTED_SLOT: &str = "16f5d8b27e0c49a3ad947c3e1b80f2d5";
    /// The boot environment could not be written.
    pub const BOOT_WRITE_FAILED: &str = "a45e1f7d3c9b4268bf08d6e2917c5a0d";
    /// The inactive slot went bad.
    pub const SLOT_DAMAGED: &str = "35e1c8a97f024d6bb0d94ea1c7f26853";
    /// The inactive slot is whole again.
    pub const SLOT_WHOLE: &str = "a1d7f3059c8e4b62970be45d2f81c36e";
    /// A request was refused.
    pub const REFUSED: &str = "90d7c2b5e8f1436ca61b4e0f73d9a528";
    /// The device is held.
    pub const HELD: &str = "4f8a6d1e0b3c47d29e75c8f2a1064be3";
    /// The hold is over.
    pub const HOLD_RELEASED: &str = "0be9f3a87d5146c2843fd1c6b7e2905a";
    /// Only one version may come.
    pub const PINNED: &str = "7e05b1f4c83d4a96b2d71c0ea95f3846";
    /// Any version may come again.
    pub const UNPINNED: &str = "d4a92c6f0b7e4135a8c3e61f5d0729b8";
    /// A person gave consent.
    pub const APPROVED: &str = "58c1e7a03f964db2970b4de8a2f6c51d";
    /// The restart into an armed slot waits.
    pub const RESTART_WAITS: &str = "b37fd0925c1e48a6934ae0d7f2851c6b";
    /// A person overrode what stood in the way.
    pub const OVERRIDDEN: &str = "1e96c4ab7d025f48b3a70ec8195d62f3";
    /// The five questions were answered differently from before.
    pub const DECISION: &str = "6d02c9e5a7f84b1d937be4a0f81c6d3e";
}

/// Writes a notice to the journal.
pub fn say(notice: &Notice) {
    use message_id as id;
    match notice {
        Notice::InstallStarted(attempt) => {
            attempt_event(id::INSTALL_STARTED, attempt, "downloading", false);
        }
        Notice::FlipOnly(attempt) => {
            let text = "is in the other slot already: verifying it, nothing is downloaded";
            attempt_event(id::INSTALL_STARTED, attempt, text, false);
        }
        Notice::InstallInterrupted(attempt) if attempt.kind == AttemptKind::Repair => {
            let text = "was being repaired when the device restarted: `switchback repair` goes on";
            attempt_event(id::INSTALL_INTERRUPTED, attempt, text, true);
        }
        Notice::InstallInterrupted(attempt) => {
            let text = "was being written when the device restarted: the next poll goes on";
            attempt_event(id::INSTALL_INTERRUPTED, attempt, text, true);
        }
        Notice::Staged(attempt) if attempt.flip_only => {
            attempt_event(id::STAGED, attempt, "is still there, byte for byte", false);
        }
        Notice::Staged(attempt) => {
            attempt_event(
                id::STAGED,
                attempt,
                "is written, synced, read back and verified",
                false,
            );
        }
        Notice::Armed(attempt) => {
            let text = format!(
                "is armed: the next boot is a trial, {} tries",
                attempt.tries
            );
            attempt_event(id::ARMED, attempt, &text, false);
        }
        Notice::TrialStarted { attempt, left } => {
            let number = attempt.tries.saturating_sub(*left).max(1);
            let text = format!("is on trial, try {number} of {}", attempt.tries);
            attempt_event(id::TRIAL_STARTED, attempt, &text, false);
        }
        Notice::TrialFailed { attempt, reason } => {
            let text = format!("lost its trial: {reason}");
            attempt_event(id::TRIAL_FAILED, attempt, &text, true);
        }
        Notice::Committed(attempt) => {
            attempt_event(id::COMMITTED, attempt, "is healthy and committed", false);
        }
        Notice::RolledBack { attempt, reason } => {
            let text = format!("was rolled back: {reason}; it is not tried again");
            attempt_event(id::ROLLED_BACK, attempt, &text, true);
        }
        Notice::InstallFailed { attempt, detail } => {
            let text = format!("was not installed: {detail}");
            attempt_event(id::INSTALL_FAILED, attempt, &text, true);
        }
        Notice::Degraded { detail } => plain(
            id::DEGRADED,
            &format!(
                "the running system is not healthy: {detail}; it stays up and goes on polling"
            ),
            true,
        ),
        Notice::UnexpectedSlot {
            expected,
            booted,
            version,
        } => {
            let fields = Fields::of(*booted, version.as_ref());
            let version = version.as_ref().map_or("unknown", Version::as_str);
            emit(
                id::UNEXPECTED_SLOT,
                &fields,
                &format!(
                    "came up in slot {booted} without a trial, slot {expected} (version \
                     {version}) was meant: its tries were lost to power cycles, or this slot was \
                     chosen by hand; nothing is marked bad"
                ),
                true,
            );
        }
        Notice::BootWriteFailed { detail } => plain(id::BOOT_WRITE_FAILED, detail, true),
        Notice::SlotDamaged {
            slot,
            version,
            detail,
        } => emit(
            id::SLOT_DAMAGED,
            &Fields::of(*slot, Some(version)),
            &format!(
                "slot {slot} held version {version} and is damaged: {detail}; it is not started, \
                 and `switchback repair` fetches again only what is wrong"
            ),
            true,
        ),
        Notice::SlotRightAgain { slot, version } => emit(
            id::SLOT_WHOLE,
            &Fields::of(*slot, Some(version)),
            &format!("slot {slot} reads back as version {version} again"),
            false,
        ),
        Notice::RepairStarted(attempt) => {
            let text = "is being repaired: only what is wrong is fetched";
            attempt_event(id::INSTALL_STARTED, attempt, text, false);
        }
        Notice::Repaired(attempt) => {
            let text = "is whole again: written, synced, read back and verified; not armed";
            attempt_event(id::SLOT_WHOLE, attempt, text, false);
        }
        Notice::Refused { detail } => plain(id::REFUSED, &format!("refused: {detail}"), true),
        Notice::Held { reason } => plain(id::HELD, &format!("held: {reason}"), false),
        Notice::Pinned { version, reason } => emit(
            id::PINNED,
            &Fields {
                release: Some(version),
                ..Fields::default()
            },
            &format!("pinned to version {version}: {reason}"),
            false,
        ),
        Notice::Unpinned => plain(id::UNPINNED, "any version may come again", false),
        Notice::Approved { sha256 } => emit(
            id::APPROVED,
            &Fields {
                image: Some(sha256),
                ..Fields::default()
            },
            &format!("a person gave consent to the image {sha256}"),
            false,
        ),
        Notice::HoldReleased => plain(id::HOLD_RELEASED, "the hold is released", false),
    }
}

/// Says that a check fails which decides nothing.
pub fn advice(check: &CheckState) {
    tracing::warn!(
        MESSAGE_ID = message_id::CHECK_FAILS,
        CHECK = check.name.as_str(),
        CHECK_KIND = check.kind,
        "the check {:?} fails, which decides nothing: {}",
        check.name,
        check.detail
    );
}

/// Says how the five questions were answered, when that is another answer than before.
pub fn decision(decision: &Decision, text: &str, warning: bool) {
    let stopped = decision.stopped_by();
    let fields = Fields {
        release: decision.version.as_ref(),
        question: stopped.map(|(question, _)| question.as_str()),
        code: stopped.map(|(_, verdict)| verdict.code.as_str()),
        ..Fields::default()
    };
    emit(message_id::DECISION, &fields, text, warning);
}

/// Writes one message with its id.
pub fn plain(message_id: &str, text: &str, warning: bool) {
    emit(message_id, &Fields::default(), text, warning);
}

fn attempt_event(message_id: &str, attempt: &Attempt, text: &str, warning: bool) {
    let (version, slot) = (&attempt.image.version, attempt.target);
    let fields = Fields {
        action: Some(attempt.action.as_str()),
        trace: attempt.trace,
        image: Some(&attempt.image.sha256),
        ..Fields::of(slot, Some(version))
    };
    let text = format!("version {version} for slot {slot} {text}");
    emit(message_id, &fields, &text, warning);
}

/// What a message is about, for programs.
#[derive(Default)]
struct Fields<'a> {
    action: Option<&'a str>,
    trace: Option<TraceId>,
    release: Option<&'a Version>,
    slot: Option<SlotName>,
    image: Option<&'a Digest>,
    /// The question that was answered with no.
    question: Option<&'a str>,
    /// The word for that answer.
    code: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(slot: SlotName, release: Option<&'a Version>) -> Self {
        Self {
            slot: Some(slot),
            release,
            ..Self::default()
        }
    }
}

fn emit(message_id: &str, fields: &Fields<'_>, text: &str, warning: bool) {
    let image = fields.image.map(ToString::to_string);
    let trace = fields.trace.map(|trace| trace.id().to_string());
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(
                MESSAGE_ID = message_id,
                ACTION_ID = fields.action,
                TRACE_ID = trace.as_deref(),
                RELEASE = fields.release.map(Version::as_str),
                SLOT = fields.slot.map(SlotName::as_str),
                IMAGE = image.as_deref(),
                QUESTION = fields.question,
                ANSWER = fields.code,
                "{text}"
            )
        };
    }
    if warning { event!(warn) } else { event!(info) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_known_is_a_field_and_what_is_not_is_none() {
        let written = Written::default();
        let to = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || to.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            say(&Notice::SlotRightAgain {
                slot: SlotName::B,
                version: "7".parse().unwrap(),
            });
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let (_, fields) = text.split_once(" again ").unwrap();
        let id = message_id::SLOT_WHOLE;
        let wanted = format!("MESSAGE_ID=\"{id}\" RELEASE=\"7\" SLOT=\"b\"");
        assert_eq!(fields.trim(), wanted);
    }

    #[test]
    fn catalog_explains_every_message_id() {
        let catalog = include_str!("../../systemd/usr/lib/systemd/catalog/switchback.catalog");
        let source = include_str!("notice.rs");
        let mut count = 0;
        for line in source
            .lines()
            .filter(|line| line.trim().starts_with("pub const"))
        {
            let id = line.split('"').nth(1).unwrap();
            assert_eq!(id.len(), 32);
            assert!(catalog.contains(&format!("-- {id}")), "{line}");
            count += 1;
        }
        assert_eq!(
            count,
            catalog.matches("\n-- ").count() + usize::from(catalog.starts_with("-- "))
        );
    }
}
