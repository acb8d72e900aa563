//! What one file may say. Every field is optional; unknown ones are refused.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One configuration file.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fragment {
    #[serde(default)]
    pub(super) device: Device,
    #[serde(default)]
    pub(super) repository: Repository,
    #[serde(default)]
    pub(super) fleet: Fleet,
    #[serde(default)]
    pub(super) update: Update,
    #[serde(default)]
    pub(super) gates: Gates,
    #[serde(default)]
    pub(super) slots: Slots,
    #[serde(default)]
    pub(super) boot: Boot,
    #[serde(default)]
    pub(super) health: Health,
    #[serde(default)]
    pub(super) metrics: Metrics,
    #[serde(default)]
    pub(super) traces: Traces,
    #[serde(default)]
    pub(super) restart: Restart,
    #[serde(default)]
    pub(super) bus: Bus,
    #[serde(default)]
    pub(super) state: State,
}

macro_rules! table {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default, Clone, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct $name {
            $(#[serde(default)] pub(super) $field: Option<$type>,)*
        }

        impl $name {
            /// What `later` says wins, setting by setting.
            fn merge(&mut self, later: Self) {
                $(if later.$field.is_some() { self.$field = later.$field; })*
            }
        }
    };
}

table!(Device {
    product: String,
    compatible: String,
    channel: String,
    require: Vec<String>,
});
table!(Repository {
    url: String,
    ca_file: String,
    root_file: String,
    poll_interval: String,
    stall_timeout: String,
    max_rate: String,
    proxy: String,
    client_certificate: String,
    client_key: String,
});
table!(Fleet {
    url: String,
    tenant: String,
    id: String,
    token_file: String,
    gateway_token_file: String,
    enroll_token_file: String,
    poll_interval: String,
    attributes: BTreeMap<String, String>,
});
table!(Update {
    consent: bool,
    outside_window: String,
    window: Vec<WindowEntry>,
});
table!(Gates {
    battery_at_least: u8,
    mains: bool,
    temperature_at_most: u8,
    metered: bool,
    free_space_at_least: String,
    load_at_most: f64,
    logind: bool,
    inhibit_at_most: String,
    command: Vec<GateCommand>,
});
table!(Slots {
    a: String,
    b: String,
    verify_interval: String,
});
table!(Boot {
    contract: String,
    bootname_a: String,
    bootname_b: String,
    slot_variable: String,
    slot_variable_hex: String,
    grubenv: Vec<String>,
    fw_env_config: String,
    tries: u8,
});
table!(Health {
    deadline: String,
    settle: String,
    retries: u32,
    boot_complete: bool,
    repository: bool,
    units: Vec<String>,
    wanted_units: Vec<String>,
    bus_names: Vec<String>,
    wanted_bus_names: Vec<String>,
    script_directories: Vec<String>,
    skip_scripts: Vec<String>,
    script_timeout: String,
    command: Vec<Command>,
    http: Vec<Http>,
});
table!(Traces {
    endpoint: String,
    ca_file: String,
});
table!(Metrics {
    socket: String,
    listen: String,
});
table!(Restart {
    automatic: bool,
    delay_at_most: String,
    command: Vec<String>,
});
table!(Bus { group: String });
table!(State { directory: String });

/// One `[[health.command]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) command: Vec<String>,
    pub(super) timeout: Option<String>,
    pub(super) required: Option<bool>,
    pub(super) retries: Option<u32>,
}

/// One `[[health.http]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Http {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) status: Option<u16>,
    pub(super) body: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) required: Option<bool>,
    pub(super) retries: Option<u32>,
}

/// One `[[update.window]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WindowEntry {
    pub(super) start: String,
    pub(super) length: String,
}

/// One `[[gates.command]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GateCommand {
    pub(super) name: String,
    pub(super) command: Vec<String>,
    pub(super) timeout: Option<String>,
    pub(super) before: Option<String>,
}

impl Fragment {
    /// What `later` says wins, setting by setting.
    pub(super) fn merge(&mut self, later: Self) {
        self.device.merge(later.device);
        self.repository.merge(later.repository);
        // One by one, as `config show` says where each comes from.
        let mut attributes = self.fleet.attributes.take().unwrap_or_default();
        attributes.extend(later.fleet.attributes.clone().unwrap_or_default());
        self.fleet.merge(later.fleet);
        self.fleet.attributes = Some(attributes);
        self.update.merge(later.update);
        self.gates.merge(later.gates);
        self.slots.merge(later.slots);
        self.boot.merge(later.boot);
        self.health.merge(later.health);
        self.metrics.merge(later.metrics);
        self.traces.merge(later.traces);
        self.restart.merge(later.restart);
        self.bus.merge(later.bus);
        self.state.merge(later.state);
    }
}
