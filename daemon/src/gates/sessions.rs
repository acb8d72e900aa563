//! Who holds up a shutdown with logind (`systemd-inhibit`).

use switchback_update_core::{Before, Gate};

use super::{closed, open};
use crate::settings::GateSettings;
use crate::system_bus::{BusError, SystemBus};

const NAME: &str = "logind";
/// As many are told.
const MOST_TOLD: usize = 3;

/// What, who, why, mode, user, process.
type Inhibitor = (String, String, String, String, u32, u32);

pub(super) fn read(settings: &GateSettings, bus: &SystemBus) -> Option<Gate> {
    if !settings.logind {
        return None;
    }
    let found = bus.call::<(), Vec<Inhibitor>>(
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "ListInhibitors",
        &(),
    );
    Some(match found {
        Ok(inhibitors) => judge(&inhibitors),
        Err(BusError::Absent) => open(NAME, Before::Restart, "logind does not run"),
        // Without an answer nobody is known who would mind, and a broken logind must not keep
        // devices from their updates.
        Err(BusError::Failed(detail)) => open(
            NAME,
            Before::Restart,
            format!("logind gave no answer: {detail}"),
        ),
    })
}

fn judge(inhibitors: &[Inhibitor]) -> Gate {
    let blocking: Vec<String> = inhibitors
        .iter()
        .filter(|(what, _, _, mode, ..)| {
            mode == "block" && what.split(':').any(|what| what == "shutdown")
        })
        .take(MOST_TOLD)
        .map(|(_, who, why, ..)| format!("{}: {}", plain(who), plain(why)))
        .collect();
    if blocking.is_empty() {
        return open(NAME, Before::Restart, "nobody holds up a shutdown");
    }
    closed(
        NAME,
        Before::Restart,
        "inhibited",
        format!("a shutdown is held up by {}", blocking.join("; ")),
        "`systemd-inhibit --list` says by whom; `switchback restart` restarts all the same",
    )
}

/// Words of other programs, without what would confuse a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(80)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_blocks_a_shutdown_counts() {
        let inhibitor = |what: &str, mode: &str| -> Inhibitor {
            (
                what.into(),
                "player".into(),
                "a film\n".into(),
                mode.into(),
                0,
                0,
            )
        };
        assert!(!judge(&[]).is_closed());
        assert!(!judge(&[inhibitor("sleep:idle", "block")]).is_closed());
        assert!(!judge(&[inhibitor("shutdown", "delay")]).is_closed());
        let gate = judge(&[inhibitor("sleep:shutdown", "block")]);
        assert!(gate.is_closed() && gate.before_restart() && !gate.before_update());
        assert!(format!("{gate:?}").contains("player: a film\""), "{gate:?}");
    }
}
