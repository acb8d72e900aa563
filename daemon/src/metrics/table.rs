//! Which metrics there are. The table in `docs/observability/metrics.md` is made of this.

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What its labels are called.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Metric = Metric { name: $name, labels: &[$($label),*], help: $help };)*
        /// All metrics, in the order in which they are shown. All are gauges: what they say may change in
        /// any direction when the device comes up in its other slot.
        pub const TABLE: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD = "switchback_build_info" ["version"] "Version of the daemon; always 1.";
    RUNNING = "switchback_running_info" ["version", "slot"] "Version of the image that runs, and its slot; always 1.";
    OFFER = "switchback_offer_info" ["version"] "Version that was offered last; always 1. Absent if none was since the daemon started.";
    PHASE = "switchback_phase" ["phase"] "1 for the phase that the device is in, 0 for the others.";
    ANSWER = "switchback_answer" ["question", "answer", "code"] "How each of the five questions was answered last; always 1.";
    DECISION = "switchback_decision_timestamp_seconds" [] "When the five questions were answered last. Absent before the first time.";
    GO = "switchback_decision_go" [] "Whether all five answers were yes.";
    HELD = "switchback_held" [] "Whether a person holds the device.";
    ERROR = "switchback_error" [] "Whether something went wrong last (switchback status says what).";
    STAGE = "switchback_progress_ratio" ["stage"] "How much of the image is done in this stage. Absent while nothing is under way.";
    RECEIVED = "switchback_transfer_received_bytes" ["way"] "Bytes received for the image that is installed, or was last since the daemon started.";
    BOOTED = "switchback_slot_booted" ["slot"] "Whether the slot runs.";
    PRIMARY = "switchback_slot_primary" ["slot"] "Whether the bootloader tries the slot first.";
    GOOD = "switchback_slot_good" ["slot"] "Whether health was proven on the slot since it was written.";
    BOOT_STATE = "switchback_slot_boot_state" ["slot", "state"] "How the bootloader sees the slot; always 1.";
    TRIES = "switchback_slot_tries_left" ["slot"] "Tries that the bootloader has left for the slot.";
    CONTENT = "switchback_slot_content" ["slot", "content"] "Whether it is known what the slot holds (unknown, writing, holds, damaged); always 1.";
    CHECKED = "switchback_slot_checked_timestamp_seconds" ["slot"] "When the slot was read back and compared last. Absent if never.";
    HEALTH = "switchback_health_check" ["name", "kind", "required"] "1 if the check holds, 0 if it fails. Absent while it was not asked yet.";
    HEALTH_SINCE = "switchback_health_check_since_timestamp_seconds" ["name", "kind"] "Since when the check says what it says.";
    FAILED = "switchback_failed_images" [] "Images that failed on this device and are not tried again.";
    UPDATES = "switchback_history_updates" ["outcome"] "Updates in the history that ended like this; old ones are dropped from it.";
    LAST = "switchback_last_update_info" ["version", "outcome"] "The last update that ended; always 1.";
    ENDED = "switchback_last_update_timestamp_seconds" ["outcome"] "When the last update ended that ended like this.";
    SECONDS = "switchback_last_update_duration_seconds" [] "Time from the begin to the end of the last update that ended.";
}

/// The table for people, in Markdown.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| metric | labels | what it says |\n|---|---|---|\n");
    for metric in TABLE {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        text += &format!(
            "| `{}` | {} | {} |\n",
            metric.name,
            labels.join(", "),
            metric.help
        );
    }
    text
}
