//! Configuration: TOML fragments, merged as systemd merges its drop-ins, validated once.
//!
//! Three types keep three stages apart: [`fragment::Fragment`] is what one file says,
//! [`load`] puts the files together, [`Settings`] is what the daemon runs on and cannot be wrong.

mod fleet;
mod fragment;
mod gates;
mod health;
mod load;
mod metrics;
mod origin;
mod traces;
mod validate;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchback_boot_env::contract::{BootNames, ContractKind, SlotVariables};
use switchback_types::{ChannelName, Compatible, ProductName, SlotName};

pub use self::fleet::{FleetSettings, TokenFile};
pub use self::gates::{GateCommand, GateSettings, Outside, UpdateSettings};
pub use self::health::{CheckKind, CheckSettings, HealthSettings, HttpSettings, ScriptSettings};
#[cfg(feature = "fuzzing")]
pub(crate) use self::load::from_text;
pub use self::load::{CONFIG_DIRECTORIES, load};
pub use self::metrics::MetricsSettings;
pub use self::origin::{Origin, origins};
pub use self::traces::TraceSettings;

/// Everything the daemon needs to know, validated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What this device is.
    pub device: DeviceSettings,
    /// Where releases come from.
    pub repository: RepositorySettings,
    /// Who says when an update is this device's turn; nothing: its channel.
    pub fleet: Option<FleetSettings>,
    /// Whether an update is wanted at all.
    pub update: UpdateSettings,
    /// What stands before an update, and before the restart into it.
    pub gates: Arc<GateSettings>,
    /// Where the slots are.
    pub slots: SlotSettings,
    /// How the bootloader is talked to.
    pub boot: BootSettings,
    /// What must hold before a slot is committed.
    pub health: HealthSettings,
    /// Where metrics are served.
    pub metrics: MetricsSettings,
    /// Where traces are sent, if anywhere.
    pub traces: Option<TraceSettings>,
    /// How the device is restarted.
    pub restart: RestartSettings,
    /// Members of this group may give orders where there is no polkit.
    pub bus_group: String,
    /// Directory of the journal and the trusted metadata; must survive updates.
    pub state_directory: PathBuf,
}

/// What this device is.
#[derive(Debug, Clone)]
pub struct DeviceSettings {
    /// The line of releases it follows.
    pub product: ProductName,
    /// The kind of hardware it is.
    pub compatible: Compatible,
    /// The channel it follows.
    pub channel: ChannelName,
    /// What a release must carry.
    pub require: Vec<Paper>,
}

/// What a release may carry beside its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paper {
    /// What the image is made of.
    Sbom,
    /// Who built it, how and from what.
    Provenance,
}

impl Paper {
    /// Its name in the configuration and on the publisher's command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
        }
    }
}

/// Where releases come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepositorySettings {
    /// Base URL, without a trailing slash.
    pub url: String,
    /// Certificates that servers are checked against (PEM).
    pub ca_file: PathBuf,
    /// The root metadata that came with the image.
    pub root_file: PathBuf,
    /// Time between polls; each is moved by up to a tenth of it, so that a fleet spreads out.
    pub poll_interval: Duration,
    /// How long a read from the server may stall.
    pub stall_timeout: Duration,
    /// Most bytes of content in a second, if there is a limit.
    pub max_rate: Option<NonZeroU64>,
    /// The proxy; nothing: the one that the environment names, if any.
    pub proxy: Option<String>,
    /// What the repository is shown of this device, if it asks.
    pub client: Option<ClientIdentity>,
}

/// A certificate and the key for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// PEM, with those that lead to an authority behind it.
    pub certificate: PathBuf,
    /// PEM, or where it is in a token (`pkcs11:…`).
    pub key: PathBuf,
}

/// Where the slots are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSettings {
    /// Slot a: `PARTLABEL=…`, `PARTUUID=…` or a path.
    pub a: String,
    /// Slot b.
    pub b: String,
    /// Time between two looks at the inactive slot; nothing if it is not looked at.
    pub verify_interval: Option<Duration>,
}

impl SlotSettings {
    /// The device of a slot, as it was configured.
    #[must_use]
    pub fn device(&self, slot: SlotName) -> &str {
        match slot {
            SlotName::A => &self.a,
            SlotName::B => &self.b,
        }
    }
}

/// How the bootloader is talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSettings {
    /// Which variables mean what.
    pub contract: ContractKind,
    /// The bootloader's names for the slots.
    pub bootnames: BootNames,
    /// The variables that name the slot; for the contract `bootcount` only.
    pub slot_variables: SlotVariables,
    /// GRUB's environment files: two for our own contract, one for RAUC's.
    pub grubenv: Vec<PathBuf>,
    /// Where U-Boot's environment is, in the format of libubootenv.
    pub fw_env_config: PathBuf,
    /// Boots given to a trial.
    pub tries: u8,
}

/// How the device is restarted.
#[derive(Debug, Clone)]
pub struct RestartSettings {
    /// Whether the daemon does so by itself once a slot is armed.
    pub automatic: bool,
    /// How long applications may delay it.
    pub delay_at_most: Duration,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file could not be read.
    #[error("{}: cannot be read; make it a readable file or remove it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with a suggestion where there is one.
        message: String,
    },
    /// A setting is missing.
    #[error("`{key}` is not set in any of {searched}: {hint}")]
    Missing {
        /// The setting.
        key: &'static str,
        /// The directories searched.
        searched: String,
        /// What to write.
        hint: &'static str,
    },
    /// A setting has a value that cannot be.
    #[error("{}`{key}` = {value:?}: {message}", place.as_deref().unwrap_or_default())]
    Invalid {
        /// The file and the line, if it stands in one.
        place: Option<String>,
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}
