//! What a device tells about itself on its console, followed line by line over all its boots.

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// Slot and version of the guest that is up.
    pub(super) up: Option<(String, String)>,
    /// Since the guest came up: a trial was begun.
    trial: bool,
    /// Since the guest came up: its trial was won.
    won: bool,
    /// Since the guest came up: what the daemon decided about version 2.
    decided: bool,
    /// In any boot: the old slot came up without a trial, and the committed one was returned to.
    pub(super) strayed: bool,
    /// How often the bootloader chose slot b.
    pub(super) starts_of_b: u32,
    /// Lines that must never come.
    pub(super) alarms: Vec<String>,
}

/// What must never be on the console, whenever the power went.
const ALARMS: [&str; 9] = [
    "SB: TINY FAILED",
    "SB: INITRAMFS FAILED",
    "SB: DAEMON-EXIT",
    "SAVE FAILED",
    "does not load",
    "nothing can be started",
    "nothing loads",
    "no whole copy",
    "panicked at",
];

impl Watch {
    /// The device was switched off.
    pub(super) fn power_off(&mut self) {
        self.boot_begins();
    }

    fn boot_begins(&mut self) {
        self.up = None;
        self.trial = false;
        self.won = false;
        self.decided = false;
    }

    /// Takes the next line.
    pub(super) fn take(&mut self, line: &str) {
        if line.contains("SB: slot=B order=") {
            self.starts_of_b += 1;
        }
        if line.contains("SB: slot=") && line.contains(" order=") {
            self.boot_begins();
        }
        if let Some((_, rest)) = line.split_once("SB: TINY-UP slot=") {
            self.boot_begins();
            let mut words = rest.split_whitespace();
            let slot = words.next().unwrap_or_default().to_owned();
            let version = words.next().unwrap_or_default();
            let version = version
                .strip_prefix("version=")
                .unwrap_or(version)
                .to_owned();
            self.up = Some((slot, version));
        }
        self.trial |= line.contains("is on trial, try ");
        self.won |= line.contains("is healthy and committed");
        self.decided |=
            line.contains("version 2 runs already") || line.contains("version 2 failed here");
        self.strayed |= line.contains("without a trial, slot ");
        // A daemon that ends because the device is restarted says 0.
        let orderly = line.contains("SB: DAEMON-EXIT 0");
        // U-Boot asks slot b also while it is empty, once cuts ate the tries of slot a.
        let empty = line.contains("slot=B does not load") && self.starts_of_b == 0;
        if !orderly && !empty && ALARMS.iter().any(|alarm| line.contains(alarm)) {
            self.alarms.push(line.to_owned());
        }
    }

    /// Whether nothing more will happen by itself.
    pub(super) fn is_settled(&self) -> bool {
        self.up.is_some() && self.decided && (self.won || !self.trial)
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;

    fn after(lines: &[&str]) -> Watch {
        let mut watch = Watch::default();
        lines.iter().for_each(|line| watch.take(line));
        watch
    }

    #[test]
    fn trial_is_settled_when_won_and_asked() {
        let mut lines = vec![
            "SB: slot=B order=B A left A=3 B=2",
            "SB: TINY-UP slot=B version=2",
            "INFO version 2 for slot b is on trial, try 1 of 3 MESSAGE_ID=",
            "version 2 runs already",
        ];
        assert!(!after(&lines).is_settled());
        lines.push("INFO version 2 for slot b is healthy and committed MESSAGE_ID=");
        assert!(after(&lines).is_settled());
        lines.push("SB: slot=B order=B A left A=3 B=1");
        let again = after(&lines);
        assert!(!again.is_settled(), "another boot began");
        assert_eq!(again.starts_of_b, 2);
        lines.extend(["SB: TINY-UP slot=B version=2", "version 2 runs already"]);
        assert!(after(&lines).is_settled(), "an ordinary boot has no trial");
    }

    #[test]
    fn orderly_end_of_the_daemon_is_no_alarm() {
        assert!(after(&["SB: DAEMON-EXIT 0"]).alarms.is_empty());
        assert_eq!(
            after(&["SB: DAEMON-EXIT 1", "SB: SAVE FAILED"])
                .alarms
                .len(),
            2
        );
    }
}
