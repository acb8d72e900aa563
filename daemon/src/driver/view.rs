//! What others may see of the driver, in the words of the bus.

use switchback_boot_env::contract;
use switchback_dbus_api as api;
use switchback_manifest::{BlobRef, TrustedRelease};
use switchback_types::SlotName;
use switchback_update_core::{Answer, Outcome, SlotContent};

use super::Driver;
use crate::health::CheckState;

/// A snapshot of everything that D-Bus shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Name of the phase.
    pub phase: String,
    /// Version under way, or empty.
    pub version: String,
    /// Version that runs, or empty.
    pub running: String,
    /// Progress of the work.
    pub progress: api::Progress,
    /// How the image comes, or came.
    pub transfer: api::Transfer,
    /// What was offered last.
    pub offer: api::Offer,
    /// Both slots.
    pub slots: Vec<api::Slot>,
    /// The five answers.
    pub decision: api::Decision,
    /// What an update, or the restart into it, waits for.
    pub gates: Vec<api::Gate>,
    /// The restart that has not come yet.
    pub restart: api::PendingRestart,
    /// Who asks not to be interrupted.
    pub inhibitors: Vec<api::Inhibitor>,
    /// The only version that may come.
    pub pin: api::Pin,
    /// What went wrong last.
    pub last_error: String,
    /// Whether the device is held.
    pub hold: api::Hold,
    /// Images that failed here.
    pub failed: Vec<api::Failed>,
    /// What each health check said last.
    pub health: Vec<CheckState>,
    /// What happened.
    pub history: Vec<api::HistoryEntry>,
}

impl Driver {
    /// What others may see at this moment.
    #[must_use]
    pub fn view(&self) -> View {
        View::of(self)
    }
}

impl View {
    pub(super) fn of(driver: &Driver) -> Self {
        let state = &driver.state;
        let booted = driver.parts.layout.booted;
        let version = |image: Option<&switchback_update_core::ImageIdentity>| {
            image
                .map(|image| image.version.to_string())
                .unwrap_or_default()
        };
        let under_way = state
            .phase
            .attempt()
            .map(|attempt| attempt.image.version.to_string());
        Self {
            phase: state.phase.kind().to_string(),
            version: under_way.clone().unwrap_or_default(),
            running: version(state.slot(booted).image()),
            progress: driver
                .progress
                .map(|progress| api::Progress {
                    stage: progress.stage.as_str().into(),
                    done: progress.done,
                    total: progress.total,
                    received: progress.received,
                    version: under_way.unwrap_or_default(),
                })
                .unwrap_or_default(),
            transfer: driver.transfer.clone(),
            offer: driver
                .offered
                .as_deref()
                .map(offer_view)
                .unwrap_or_default(),
            slots: SlotName::ALL
                .iter()
                .map(|slot| slot_view(driver, *slot))
                .collect(),
            decision: decision_view(driver),
            gates: driver.gates_view(),
            restart: driver.restart_view(),
            inhibitors: driver.gates.inhibitors.view(),
            pin: state
                .pin
                .as_ref()
                .map(|pin| api::Pin {
                    version: pin.version.to_string(),
                    reason: pin.reason.clone(),
                    since: pin.since.to_string(),
                })
                .unwrap_or_default(),
            last_error: driver.last_error.clone(),
            hold: state
                .hold
                .as_ref()
                .map(|hold| api::Hold {
                    held: true,
                    reason: hold.reason.clone(),
                    since: hold.since.to_string(),
                    until: hold.until.map(|at| at.to_string()).unwrap_or_default(),
                })
                .unwrap_or_default(),
            failed: state
                .failed
                .iter()
                .map(|failed| api::Failed {
                    version: failed.version.to_string(),
                    sha256: failed.sha256.to_string(),
                    reason: failed.reason.to_string(),
                    at: failed.at.to_string(),
                })
                .collect(),
            health: driver.health_checks.clone(),
            history: state.history.iter().map(history_view).collect(),
        }
    }

    /// One line for `systemctl status`.
    #[must_use]
    pub fn status(&self) -> String {
        let running = if self.running.is_empty() {
            "?"
        } else {
            &self.running
        };
        let slot = self
            .slots
            .iter()
            .find(|slot| slot.booted)
            .map_or("?", |slot| &slot.name);
        let rest = match self.phase.as_str() {
            "installing" if self.progress.total > 0 => {
                // Percent of a count: the product fits, images are at most 1 TiB.
                let percent = self.progress.done.saturating_mul(100) / self.progress.total;
                format!(
                    "{} version {}: {percent} %",
                    self.progress.stage, self.version
                )
            }
            "installing" => format!("installing version {}", self.version),
            "staged" => format!("version {} is verified", self.version),
            "on-trial" if self.version == self.running => "on trial, proving health".into(),
            "on-trial" if self.restart.pending && !self.restart.reason.is_empty() => format!(
                "version {} is armed, the restart waits: {}",
                self.version, self.restart.reason
            ),
            "on-trial" => format!("version {} is armed, restarting", self.version),
            _ if self.hold.held => format!("held: {}", self.hold.reason),
            _ => match self
                .decision
                .answers
                .iter()
                .find(|answer| answer.answer == "no")
            {
                Some(answer) => answer.reason.clone(),
                None => "waiting for the first answer of the repository".into(),
            },
        };
        format!("version {running} in slot {slot}; {rest}")
    }
}

fn offer_view(release: &TrustedRelease) -> api::Offer {
    let place = |paper: Option<BlobRef>| paper.map(|blob| blob.path()).unwrap_or_default();
    let length = |paper: Option<BlobRef>| paper.map_or(0, |blob| blob.length);
    api::Offer {
        version: release.version.to_string(),
        sequence: release.sequence,
        security_epoch: release.security_epoch,
        created: release.created.to_string(),
        document: release.path().to_string(),
        sha256: release.image.sha256.to_string(),
        size: release.image.size,
        sbom: place(release.sbom),
        sbom_length: length(release.sbom),
        provenance: place(release.provenance),
        provenance_length: length(release.provenance),
        notes: release.notes.clone().unwrap_or_default(),
    }
}

fn slot_view(driver: &Driver, slot: SlotName) -> api::Slot {
    let record = driver.state.slot(slot);
    let layout = &driver.parts.layout;
    let boot = driver.boot_view.as_ref();
    let (boot_state, tries_left) = match boot.map(|view| view.slot(slot)) {
        Some(contract::SlotBoot::Ready { left }) => ("ready", left),
        Some(contract::SlotBoot::Exhausted) => ("exhausted", 0),
        Some(contract::SlotBoot::Uncounted) => ("uncounted", 0),
        Some(contract::SlotBoot::Bad) => ("bad", 0),
        Some(contract::SlotBoot::Missing) => ("missing", 0),
        None => ("unreadable", 0),
    };
    let image = record.verified_image();
    api::Slot {
        name: slot.to_string(),
        device: layout.slot(slot).path.display().to_string(),
        bootname: driver.parts.settings.boot.bootnames.name(slot).to_owned(),
        booted: layout.booted == slot,
        primary: boot.is_some_and(|view| view.primary == Some(slot)),
        boot_state: boot_state.into(),
        tries_left: tries_left.into(),
        good: record.good,
        content: match record.content {
            SlotContent::Unknown => "unknown",
            SlotContent::Writing => "writing",
            SlotContent::Holds { .. } => "holds",
            SlotContent::Damaged { .. } => "damaged",
        }
        .into(),
        version: image
            .map(|image| image.version.to_string())
            .unwrap_or_default(),
        sha256: image
            .map(|image| image.sha256.to_string())
            .unwrap_or_default(),
        size: image.map_or(0, |image| image.size),
        checked: record
            .checked
            .map(|checked| checked.to_string())
            .unwrap_or_default(),
    }
}

fn decision_view(driver: &Driver) -> api::Decision {
    let Some(decision) = &driver.decision else {
        return api::Decision::default();
    };
    let answers = decision
        .questions()
        .into_iter()
        .map(|(question, verdict)| api::Answer {
            question: question.as_str().into(),
            answer: match verdict.answer {
                Answer::Yes => "yes",
                Answer::No => "no",
                Answer::NotAsked => "not-asked",
            }
            .into(),
            code: verdict.code.clone(),
            reason: verdict.reason.clone(),
            way_out: verdict.way_out.clone().unwrap_or_default(),
            since: verdict.since.to_string(),
            again: verdict.again.map(|at| at.to_string()).unwrap_or_default(),
        });
    api::Decision {
        at: decision.at.to_string(),
        version: decision
            .version
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        go: decision.is_go(),
        answers: answers.collect(),
    }
}

fn history_view(entry: &switchback_update_core::HistoryEntry) -> api::HistoryEntry {
    use switchback_update_core::InstallFailure;
    api::HistoryEntry {
        action: entry.action.to_string(),
        kind: entry.kind.to_string(),
        from: entry
            .from
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        version: entry.version.to_string(),
        sha256: entry.sha256.to_string(),
        slot: entry.slot.to_string(),
        flip_only: entry.flip_only,
        started: entry.started.to_string(),
        ended: entry.ended.to_string(),
        outcome: match &entry.outcome {
            Outcome::Committed => "committed",
            Outcome::Repaired => "repaired",
            Outcome::RolledBack(_) => "rolled-back",
            Outcome::Failed(InstallFailure::Cancelled) => "cancelled",
            Outcome::Failed(_) => "failed",
        }
        .into(),
        detail: entry.outcome.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_a_sentence_in_every_phase() {
        let slot = api::Slot {
            name: "a".into(),
            booted: true,
            ..api::Slot::default()
        };
        let view = View {
            running: "1".into(),
            slots: vec![slot],
            ..View::default()
        };
        let with = |phase: &str, version: &str| View {
            phase: phase.into(),
            version: version.into(),
            progress: api::Progress {
                stage: "writing".into(),
                done: 5,
                total: 10,
                ..api::Progress::default()
            },
            ..view.clone()
        };
        for (view, text) in [
            (
                with("installing", "2"),
                "version 1 in slot a; writing version 2: 50 %",
            ),
            (
                with("staged", "2"),
                "version 1 in slot a; version 2 is verified",
            ),
            (
                with("on-trial", "2"),
                "version 1 in slot a; version 2 is armed, restarting",
            ),
            (
                with("on-trial", "1"),
                "version 1 in slot a; on trial, proving health",
            ),
            (
                with("idle", ""),
                "version 1 in slot a; waiting for the first answer of the repository",
            ),
        ] {
            assert_eq!(view.status(), text);
        }
    }
}
