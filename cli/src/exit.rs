//! Exit codes, and errors with the next command to type.

use serde_json::json;
use zbus::DBusError as _;

/// Done.
pub(crate) const OK: u8 = 0;
/// It did not work.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The daemon cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// The bus or the daemon does not permit it.
pub(crate) const NOT_PERMITTED: u8 = 4;
/// The daemon refused, in the state it is in.
pub(crate) const REFUSED: u8 = 5;
/// Nothing to do, as rpm-ostree's users know it.
pub(crate) const NOTHING_TO_DO: u8 = 77;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            let text = json!({ "schema": 1, "error": self.message, "exit-code": self.code });
            println!("{text:#}");
        } else {
            eprintln!("switchback: {}", self.message);
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        match &error {
            // The bus itself answered.
            zbus::Error::FDO(answer) => Self::of_answer(
                answer.name().as_str(),
                answer.description().unwrap_or_default(),
            ),
            // The daemon answered.
            zbus::Error::MethodError(name, detail, _) => {
                Self::of_answer(name.as_str(), detail.as_deref().unwrap_or_default())
            }
            zbus::Error::InputOutput(_) | zbus::Error::Address(_) => Self::new(
                UNREACHABLE,
                format!("no system bus: {error}; is this the device, and does dbus run?"),
            ),
            _ => Self::new(FAILED, error.to_string()),
        }
    }
}

impl Failure {
    fn of_answer(name: &str, detail: &str) -> Self {
        match name {
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.NoReply" => Self::new(
                UNREACHABLE,
                "the daemon does not run: `systemctl status switchbackd` says why",
            ),
            "org.freedesktop.DBus.Error.AccessDenied"
            | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => Self::new(
                NOT_PERMITTED,
                format!("not permitted: {detail}; run it as root, or join the group `switchback`"),
            ),
            "org.freedesktop.DBus.Error.InvalidArgs" => Self::new(USAGE, detail),
            name if name.starts_with(switchback_dbus_api::ERROR_PREFIX) => {
                Self::new(REFUSED, detail)
            }
            name => Self::new(FAILED, format!("{name}: {detail}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_exit_code_and_a_way_out() {
        let fdo = |error: zbus::fdo::Error| Failure::from(zbus::Error::FDO(Box::new(error)));
        for (failure, code, part) in [
            (
                fdo(zbus::fdo::Error::AccessDenied("no".into())),
                NOT_PERMITTED,
                "as root",
            ),
            (
                fdo(zbus::fdo::Error::ServiceUnknown("no".into())),
                UNREACHABLE,
                "systemctl status",
            ),
            (
                fdo(zbus::fdo::Error::Failed("because".into())),
                FAILED,
                "because",
            ),
            (
                Failure::of_answer("org.switchback.Update1.Error.Busy", "version 2 is staged"),
                REFUSED,
                "version 2 is staged",
            ),
        ] {
            assert_eq!(failure.code, code);
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }
}
