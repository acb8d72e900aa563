//! Text for people. JSON has the same content under the keys of the bus.

use std::fmt::Write as _;

use serde_json::{Value, json};
use switchback_dbus_api::{
    Decision, Failed, HistoryEntry, Hold, Inhibitor, Offer, PendingRestart, Pin, Progress, Slot,
    ToJson, Transfer,
};
use switchback_types::{ByteCount, Timestamp};

use crate::{explain, style};

/// Everything that `status` shows.
pub(crate) struct Status {
    pub(crate) phase: String,
    pub(crate) progress: Progress,
    pub(crate) transfer: Transfer,
    pub(crate) slots: Vec<Slot>,
    pub(crate) decision: Decision,
    pub(crate) hold: Hold,
    pub(crate) pin: Pin,
    pub(crate) restart: PendingRestart,
    pub(crate) inhibitors: Vec<Inhibitor>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) last_error: String,
    /// The time that ages are counted from.
    pub(crate) now: Timestamp,
}

impl Status {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "phase": self.phase,
            "progress": self.progress.to_json(),
            "transfer": self.transfer.to_json(),
            "slots": self.slots.to_json(),
            "decision": self.decision.to_json(),
            "hold": self.hold.to_json(),
            "pin": self.pin.to_json(),
            "pending-restart": self.restart.to_json(),
            "inhibitors": self.inhibitors.to_json(),
            "failed": self.failed.to_json(),
            "last-error": self.last_error,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = slots(&self.slots, &self.phase, &self.progress.version, self.now);
        let _ = writeln!(text, "  Phase: {}{}", self.phase, progress(&self.progress));
        transfer_line(&mut text, &self.transfer);
        self.orders(&mut text);
        if self.restart.pending {
            let _ = writeln!(text, "Restart: {}", explain::pending(&self.restart));
        }
        if !self.decision.at.is_empty() {
            let _ = writeln!(text, " Update: {}", verdict(&self.decision));
        }
        for failed in &self.failed {
            let Failed {
                version,
                at,
                reason,
                ..
            } = failed;
            let _ = writeln!(text, " Failed: version {version} on {at}: {reason}");
        }
        if !self.last_error.is_empty() {
            let _ = writeln!(text, "  Error: {}", style::bad(&self.last_error));
        }
        text
    }

    /// What people and applications asked for.
    fn orders(&self, text: &mut String) {
        if self.hold.held {
            let Hold {
                since,
                reason,
                until,
                ..
            } = &self.hold;
            let until = match until.as_str() {
                "" => String::new(),
                until => format!(" until {until}"),
            };
            let _ = writeln!(text, "   Hold: since {since}{until}: {reason}");
        }
        if !self.pin.version.is_empty() {
            let Pin {
                version,
                reason,
                since,
            } = &self.pin;
            let _ = writeln!(text, "    Pin: version {version} since {since}: {reason}");
        }
        for inhibitor in &self.inhibitors {
            let Inhibitor {
                who,
                why,
                what,
                mode,
                ..
            } = inhibitor;
            let _ = writeln!(text, "   Busy: {who}: {why} ({mode} {what})");
        }
    }
}

/// Both slots; `under_way` is the version that is being written.
pub(crate) fn slots(slots: &[Slot], phase: &str, under_way: &str, now: Timestamp) -> String {
    let mut text = String::new();
    for slot in slots {
        slot_lines(&mut text, slot, phase, under_way);
        check_line(&mut text, slot, now);
    }
    text
}

/// How the image comes, or came, and why so.
fn transfer_line(text: &mut String, transfer: &Transfer) {
    let way = match transfer.way.as_str() {
        "flip" => "nothing to fetch",
        "delta" => "delta from what ran",
        "chunks" => "chunks that neither slot held",
        "full" => "the whole image",
        other => other,
    };
    if !transfer.version.is_empty() {
        let Transfer {
            version, reason, ..
        } = transfer;
        let received = ByteCount(transfer.received);
        let _ = writeln!(
            text,
            "    Way: version {version}: {way}, {received}: {reason}"
        );
    }
}

fn slot_lines(text: &mut String, slot: &Slot, phase: &str, under_way: &str) {
    let mark = if slot.booted { '●' } else { ' ' };
    let role = match (slot.booted, slot.primary) {
        (true, true) => "booted",
        (true, false) => "booted, not primary",
        (false, true) => "next boot",
        (false, false) if slot.content == "writing" => "being written",
        (false, false) if slot.content == "damaged" => "not started; `switchback repair`",
        (false, false) if slot.content == "unknown" => "never written by this daemon",
        (false, false) if matches!(slot.boot_state.as_str(), "ready" | "uncounted") => "rollback",
        (false, false) => "not started by the bootloader",
    };
    let version = match slot.content.as_str() {
        "holds" => format!("version {}", slot.version),
        "damaged" => format!("version {}, DAMAGED", slot.version),
        "writing" if phase == "installing" => format!("version {under_way} (incomplete)"),
        "writing" => "incomplete".into(),
        _ => "content unknown".into(),
    };
    let version = match (slot.booted, slot.content.as_str()) {
        (_, "damaged") => style::bad(version),
        (true, _) => style::strong(version),
        (false, _) => version,
    };
    let _ = writeln!(text, "{mark} slot {}: {version} ({role})", slot.name);
    let good = if slot.good {
        "health proven"
    } else {
        "health not proven"
    };
    let tries = match slot.boot_state.as_str() {
        "ready" => format!("{} tries left", slot.tries_left),
        "uncounted" => "starts not counted".into(),
        other => other.to_owned(),
    };
    let _ = writeln!(text, "          {}: {good}, {tries}", slot.device);
    if !slot.sha256.is_empty() {
        let size = ByteCount(slot.size);
        let _ = writeln!(text, "          {size}, SHA-256 {}", slot.sha256);
    }
}

/// When the slot was last read back. The one that runs is checked as it is read, by whoever reads
/// it, and gets no such line.
fn check_line(text: &mut String, slot: &Slot, now: Timestamp) {
    if slot.booted || !matches!(slot.content.as_str(), "holds" | "damaged") {
        return;
    }
    let verdict = if slot.content == "damaged" {
        "found damaged"
    } else {
        "checked"
    };
    let line = match slot.checked.parse::<Timestamp>() {
        Ok(checked) => format!("{verdict} {}", age(now, checked)),
        Err(_) => "not checked yet".into(),
    };
    let _ = writeln!(text, "          {line}");
}

/// How long ago, in the largest unit that fits.
fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.unix().saturating_sub(then.unix());
    let (count, unit) = match seconds {
        ..0 => return format!("at {then}"),
        0..60 => return "just now".into(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

fn progress(progress: &Progress) -> String {
    if progress.total == 0 {
        return String::new();
    }
    format!(
        ", {} version {}: {} of {}, {} received",
        progress.stage,
        progress.version,
        ByteCount(progress.done),
        ByteCount(progress.total),
        ByteCount(progress.received)
    )
}

/// The decision in one line.
fn verdict(decision: &Decision) -> String {
    match decision.answers.iter().find(|answer| answer.answer == "no") {
        Some(answer) => format!("{} ({})", answer.reason, decision.at),
        None => format!(
            "going ahead with version {} ({})",
            decision.version, decision.at
        ),
    }
}

/// A release that was offered.
pub(crate) fn offer(offer: &Offer) -> String {
    if offer.version.is_empty() {
        return "No release was offered since the daemon started: `switchback check` asks for one.\n".into();
    }
    let mut text = String::new();
    let paper = |place: &str, length: u64| match place {
        "" => "none".to_owned(),
        place => format!("{place} ({}, signed with the release)", ByteCount(length)),
    };
    let lines = [
        (
            "Version",
            format!(
                "{}, number {}, security epoch {}",
                offer.version, offer.sequence, offer.security_epoch
            ),
        ),
        ("Signed", format!("{} as {}", offer.created, offer.document)),
        (
            "Image",
            format!("{}, SHA-256 {}", ByteCount(offer.size), offer.sha256),
        ),
        ("Bill of materials", paper(&offer.sbom, offer.sbom_length)),
        (
            "Provenance",
            paper(&offer.provenance, offer.provenance_length),
        ),
        ("Notes", offer.notes.clone()),
    ];
    for (name, value) in lines {
        if !value.is_empty() {
            let _ = writeln!(
                text,
                "{name:>17}: {}",
                value.replace('\n', "\n                   ")
            );
        }
    }
    text
}

/// One line for each entry, newest last.
pub(crate) fn history(history: &[HistoryEntry]) -> String {
    if history.is_empty() {
        return "Nothing has been installed by this daemon yet.\n".into();
    }
    let mut text = String::new();
    for entry in history {
        let from = if entry.from.is_empty() {
            "?"
        } else {
            &entry.from
        };
        let how = if entry.flip_only { ", flip only" } else { "" };
        let _ = writeln!(
            text,
            "{}  {} {from} → {} in slot {}{how}: {}",
            entry.ended, entry.kind, entry.version, entry.slot, entry.detail
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use switchback_dbus_api::Answer;

    use super::*;

    fn slot(name: &str, booted: bool) -> Slot {
        Slot {
            name: name.into(),
            device: format!("/dev/vd{name}"),
            booted,
            primary: booted,
            boot_state: "ready".into(),
            tries_left: 3,
            good: true,
            content: "holds".into(),
            version: if booted { "2".into() } else { "1".into() },
            sha256: "ab".repeat(32),
            size: 100 << 20,
            checked: "2026-11-25T12:00:00Z".into(),
            ..Slot::default()
        }
    }

    fn held_back() -> Decision {
        let answer = |question: &str, answer: &str, reason: &str, way_out: &str| Answer {
            question: question.into(),
            answer: answer.into(),
            reason: reason.into(),
            way_out: way_out.into(),
            ..Answer::default()
        };
        Decision {
            at: "2026-11-25T12:00:00Z".into(),
            version: "3".into(),
            go: false,
            answers: vec![
                answer("available", "yes", "version 3 is published, 2 runs", ""),
                answer(
                    "wanted",
                    "no",
                    "held since noon: visit",
                    "`switchback unhold`",
                ),
                answer("risk", "not-asked", "nothing to ask about", ""),
            ],
        }
    }

    #[test]
    fn status_in_words() {
        let status = Status {
            phase: "idle".into(),
            progress: Progress::default(),
            transfer: Transfer {
                version: "2".into(),
                way: "delta".into(),
                reason: "it has 8 KiB, all frames have 37 MiB".into(),
                received: 8200,
            },
            slots: vec![slot("a", true), slot("b", false)],
            decision: held_back(),
            hold: Hold {
                held: true,
                reason: "visit".into(),
                since: "noon".into(),
                until: "Friday".into(),
            },
            pin: Pin {
                version: "2".into(),
                reason: "certified".into(),
                since: "noon".into(),
            },
            restart: PendingRestart::default(),
            inhibitors: vec![Inhibitor {
                who: "player".into(),
                why: "a film".into(),
                what: "update".into(),
                mode: "block".into(),
                uid: 1000,
            }],
            failed: vec![Failed {
                version: "9".into(),
                reason: "health checks failed".into(),
                at: "noon".into(),
                ..Failed::default()
            }],
            last_error: String::new(),
            now: "2026-11-28T13:00:00Z".parse().unwrap(),
        };
        insta::assert_snapshot!("status", status.to_text());
    }

    #[test]
    fn damaged_slot_says_so_and_names_the_way_out() {
        let damaged = Slot {
            content: "damaged".into(),
            boot_state: "bad".into(),
            good: false,
            ..slot("b", false)
        };
        let mut text = String::new();
        slot_lines(&mut text, &damaged, "idle", "");
        check_line(&mut text, &damaged, "2026-11-25T14:10:00Z".parse().unwrap());
        insta::assert_snapshot!("damaged", text);
    }

    /// With U-Boot's own boot count: a trial of b is counted, the way back to a is not.
    #[test]
    fn slot_whose_starts_are_not_counted_can_be_gone_back_to() {
        let uncounted = Slot {
            boot_state: "uncounted".into(),
            ..slot("a", false)
        };
        let mut text = String::new();
        slot_lines(&mut text, &uncounted, "on-trial", "");
        assert!(text.contains("slot a: version 1 (rollback)"), "{text}");
        assert!(text.contains("health proven, starts not counted"), "{text}");
    }

    #[test]
    fn ages_are_told_in_the_largest_unit() {
        let then: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (5, "just now"),
            (60, "1 minute ago"),
            (7200, "2 hours ago"),
            (3 * 86_400, "3 days ago"),
            (-1, "at 2026-11-25T12:00:00Z"),
        ] {
            assert_eq!(age(then.plus_seconds(seconds), then), text);
        }
    }

    #[test]
    fn history_in_words() {
        let entry = HistoryEntry {
            kind: "update".into(),
            from: "1".into(),
            version: "2".into(),
            slot: "b".into(),
            ended: "2026-11-25T12:00:00Z".into(),
            detail: "committed".into(),
            ..HistoryEntry::default()
        };
        let text = history(&[entry]);
        assert_eq!(
            text,
            "2026-11-25T12:00:00Z  update 1 → 2 in slot b: committed\n"
        );
    }

    #[test]
    fn a_release_is_shown_with_its_papers() {
        let mut about = Offer {
            version: "2".into(),
            sequence: 7,
            security_epoch: 1,
            created: "2026-12-01T00:00:00Z".into(),
            document: "releases/kiosk/2/release.json".into(),
            sha256: "ab".repeat(32),
            size: 448 << 20,
            sbom: "content/cd/cdcd".into(),
            sbom_length: 12_345,
            notes: "Two things:\none, and the other.".into(),
            ..Offer::default()
        };
        insta::assert_snapshot!("offer", offer(&about));
        about.version.clear();
        assert!(offer(&about).contains("`switchback check`"));
    }
}
