//! The health checks, for people.

use std::fmt::Write as _;

use switchback_dbus_api::Check;

use crate::style;

/// One line for each check, those that decide first.
pub(crate) fn text(checks: &[Check]) -> String {
    if checks.is_empty() {
        return "No health check was asked yet in this boot.\n".into();
    }
    let mut text = String::new();
    for required in [true, false] {
        for check in checks.iter().filter(|check| check.required == required) {
            // Padded before it is coloured: a colour has a length, too.
            let word = match (check.state.as_str(), required) {
                ("passing", _) => style::good("holds"),
                ("failing", true) => style::bad("FAILS"),
                ("failing", false) => style::strong("fails"),
                _ => "-    ".into(),
            };
            let role = if required { "required" } else { "advisory" };
            let _ = write!(text, "{word}  {role}  {:<13} {}", check.kind, check.name);
            if !check.detail.is_empty() {
                let _ = write!(text, ": {}", check.detail);
            }
            if !check.since.is_empty() {
                let _ = write!(text, " (since {})", check.since);
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_decide_come_first() {
        let check = |name: &str, required: bool, state: &str| Check {
            name: name.into(),
            kind: "unit".into(),
            required,
            state: state.into(),
            since: "noon".into(),
            detail: "is failed".into(),
        };
        let mut holds = check("kiosk.service", true, "passing");
        holds.detail.clear();
        let checks = [check("log.service", false, "failing"), holds];
        assert_eq!(
            text(&checks),
            "holds  required  unit          kiosk.service (since noon)\n\
             fails  advisory  unit          log.service: is failed (since noon)\n"
        );
    }
}
