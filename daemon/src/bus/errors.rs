//! Named errors: clients branch on the name, people read the message.

use crate::driver::Refused;

/// What a method answers when it does not do what was asked: errors of our own, and those that every
/// client of D-Bus knows. (The prefix is what both have in common.)
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org")]
pub(super) enum MethodError {
    /// The bus itself.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// Another update is under way.
    #[zbus(name = "switchback.Update1.Error.Busy")]
    Busy(String),
    /// There is nothing that this could do.
    #[zbus(name = "switchback.Update1.Error.NothingToDo")]
    NothingToDo(String),
    /// The other slot holds nothing to go back to.
    #[zbus(name = "switchback.Update1.Error.NothingToRollBackTo")]
    NothingToRollBackTo(String),
    /// The other slot holds nothing that could be repaired.
    #[zbus(name = "switchback.Update1.Error.NothingToRepair")]
    NothingToRepair(String),
    /// The boot environment cannot be written, or is not the bootloader's.
    #[zbus(name = "switchback.Update1.Error.BootEnvironment")]
    BootEnvironment(String),
    /// An option is not known.
    #[zbus(name = "switchback.Update1.Error.UnknownOption")]
    UnknownOption(String),
    /// The caller may not do this.
    #[zbus(name = "freedesktop.DBus.Error.AccessDenied")]
    AccessDenied(String),
    /// The caller may, once a person proves who they are; asked without leave to ask them.
    #[zbus(name = "freedesktop.DBus.Error.InteractiveAuthorizationRequired")]
    AuthorizationRequired(String),
    /// Too many of a kind.
    #[zbus(name = "freedesktop.DBus.Error.LimitsExceeded")]
    LimitsExceeded(String),
    /// What was said makes no sense.
    #[zbus(name = "freedesktop.DBus.Error.InvalidArgs")]
    InvalidArgs(String),
    /// Anything else.
    #[zbus(name = "switchback.Update1.Error.Failed")]
    Failed(String),
}

impl From<Refused> for MethodError {
    fn from(refused: Refused) -> Self {
        let Refused { name, message } = refused;
        match name {
            "Busy" => Self::Busy(message),
            "NothingToDo" => Self::NothingToDo(message),
            "NothingToRollBackTo" => Self::NothingToRollBackTo(message),
            "NothingToRepair" => Self::NothingToRepair(message),
            "BootEnvironment" => Self::BootEnvironment(message),
            _ => Self::Failed(message),
        }
    }
}
