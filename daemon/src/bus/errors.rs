//! Named errors: clients branch on the name, people read the message.

use crate::driver::Refused;

/// What a method answers when it does not do what was asked.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.switchback.Update1.Error")]
pub(super) enum MethodError {
    /// The bus itself.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// Another update is under way.
    Busy(String),
    /// There is nothing that this could do.
    NothingToDo(String),
    /// The other slot holds nothing to go back to.
    NothingToRollBackTo(String),
    /// The other slot holds nothing that could be repaired.
    NothingToRepair(String),
    /// The boot environment cannot be written, or is not the bootloader's.
    BootEnvironment(String),
    /// An option is not known.
    UnknownOption(String),
    /// Anything else.
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
