//! The device as it leaves the factory, and what its loader sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use switchback_boot_env::contract::{BootNames, Contract, ContractKind, SlotVariables};
use switchback_boot_env::{Vars, grub, grub_pair, uboot};
use switchback_types::SlotName;
use switchbackd::settings::{
    BootSettings, DeviceSettings, HealthSettings, MetricsSettings, RepositorySettings,
    RestartSettings, Settings, SlotSettings, UpdateSettings,
};

use crate::bootloader::{self, Act, Loader, Run, SlotState};
use crate::machine::{Machine, Place, Truth};
use crate::planted::Mistake;
use crate::ports::{FW_ENV_CONFIG, OTHER, UBOOT_COPY};
use crate::repository::{IMAGE, Image, Repository, SLOT};
use crate::scenario::{EnvironmentDamage, Scenario};
use crate::storage::{Disk, Names, SECTOR};
use crate::world::{STATE, slot_path};

/// A story and the repository it is played with.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The releases.
    pub repository: Arc<Repository>,
    /// The story.
    pub scenario: Scenario,
    /// The mistake in the daemon, if it is to have one.
    pub planted: Option<Mistake>,
}

impl Bench {
    /// A bench without a mistake.
    #[must_use]
    pub const fn new(repository: Arc<Repository>, scenario: Scenario) -> Self {
        Self {
            repository,
            scenario,
            planted: None,
        }
    }

    /// The tries that a trial really has.
    #[must_use]
    pub fn tries(&self) -> u8 {
        self.scenario
            .tries
            .min(kind(self.scenario.loader).max_tries())
    }

    /// Whether the environment has only one copy without a checksum: then it is promised to
    /// survive tears at the edge of a sector, and no others.
    #[must_use]
    pub fn tears_in_sectors(&self) -> bool {
        self.scenario.loader == Loader::RaucGrub
    }

    /// The device as it leaves the factory: version 1 in slot a, nothing in slot b.
    ///
    /// # Errors
    /// The defaults of the environment cannot be written.
    pub fn factory(&self) -> Result<Machine, String> {
        let contract = Contract::new(kind(self.scenario.loader), self.bootnames()?);
        let mut vars = contract.defaults(self.scenario.tries);
        let faults = &self.scenario.faults;
        let mut environment = BTreeMap::new();
        if faults.other_environment {
            vars.set(contact(self.scenario.loader), "elsewhere");
            for (path, disk) in self.environment(&vars)? {
                environment.insert(other(&path), disk);
            }
            vars.set(contact(self.scenario.loader), "factory");
        }
        environment.extend(self.environment(&vars)?);
        let mut slot_a = self.image(1)?.bytes.to_vec();
        slot_a.resize(SLOT, 0);
        damage(&mut environment, faults.damage);
        let slot_b = match faults.small_slot {
            true => IMAGE - SECTOR,
            false => SLOT,
        };
        Ok(Machine {
            slots: [Disk::new(slot_a), Disk::new(vec![0; slot_b])],
            environment,
            names: Names::default(),
            last: Place::None,
            truth: Truth {
                good: [Some(1), None],
                published: self.scenario.published,
                tell_failures: faults.tell,
                closed_gates: faults.closed_gates,
                ..Truth::default()
            },
        })
    }

    /// The files or devices with these variables.
    fn environment(&self, vars: &Vars) -> Result<Vec<(PathBuf, Disk)>, String> {
        let refuse = |error: &dyn std::fmt::Display| error.to_string();
        let paths = self.environment_paths();
        let contents = match self.scenario.loader {
            Loader::SwitchbackGrub => grub_pair::new_pair(vars)
                .map_err(|error| refuse(&error))?
                .map(|block| block.to_vec())
                .into(),
            Loader::RaucGrub => {
                let block = grub::encode(vars).map_err(|error| refuse(&error))?;
                vec![block.to_vec()]
            }
            Loader::RaucUboot | Loader::Bootcount => {
                let mut both = Vec::new();
                for flags in [1, 0] {
                    let copy = uboot::encode_redundant(vars, flags, UBOOT_COPY);
                    both.extend(copy.map_err(|error| refuse(&error))?);
                }
                vec![both]
            }
        };
        Ok(paths
            .into_iter()
            .zip(contents.into_iter().map(Disk::new))
            .collect())
    }

    /// Where the loader has its environment.
    fn environment_paths(&self) -> Vec<PathBuf> {
        match self.scenario.loader {
            Loader::RaucUboot | Loader::Bootcount => vec!["/dev/env".into()],
            loader => grubenv(loader),
        }
    }

    fn image(&self, version: u8) -> Result<&Image, String> {
        let missing = || format!("there is no image of version {version}");
        self.repository.image(version).ok_or_else(missing)
    }

    /// What the loader finds in both slots.
    #[must_use]
    pub fn slot_states(&self, machine: &Machine) -> [SlotState; 2] {
        SlotName::ALL.map(|slot| {
            let head = machine.slot(slot).read(0, 512);
            let has_kernel = |image: &Image| image.bytes.get(..512) == Some(&*head);
            match self.repository.images.iter().any(has_kernel) {
                true => SlotState::Loads,
                false => SlotState::Unloadable,
            }
        })
    }

    /// The copies of the environment, as the loader reads them.
    #[must_use]
    pub fn copies(&self, machine: &Machine) -> Vec<Vec<u8>> {
        self.environment_paths()
            .iter()
            .filter_map(|path| machine.environment.get(path))
            .flat_map(|disk| {
                let live = disk.live();
                let size = match self.scenario.loader {
                    Loader::RaucUboot | Loader::Bootcount => UBOOT_COPY,
                    Loader::SwitchbackGrub | Loader::RaucGrub => live.len(),
                };
                live.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Where a copy of the environment is.
    #[must_use]
    pub fn place_of(&self, copy: usize) -> (PathBuf, usize) {
        let mut paths = self.environment_paths();
        match self.scenario.loader {
            Loader::RaucUboot | Loader::Bootcount => (paths.swap_remove(0), copy * UBOOT_COPY),
            Loader::SwitchbackGrub | Loader::RaucGrub => {
                (paths.into_iter().nth(copy).unwrap_or_default(), 0)
            }
        }
    }

    /// The script's names for the slots.
    fn bootnames(&self) -> Result<BootNames, String> {
        match self.scenario.loader {
            Loader::SwitchbackGrub | Loader::RaucGrub | Loader::RaucUboot => {
                Ok(BootNames::default())
            }
            Loader::Bootcount => BootNames::new("2", "3").map_err(|error| error.to_string()),
        }
    }

    /// The loader runs once, and each of its saves is durable.
    #[must_use]
    pub fn run_loader(&self, machine: &mut Machine) -> Run {
        let slots = self.slot_states(machine);
        let run = bootloader::run(self.scenario.loader, &self.copies(machine), slots);
        for act in &run.acts {
            if let Act::Save { copy, bytes } = act {
                let (path, offset) = self.place_of(*copy);
                if let Some(disk) = machine.environment.get_mut(&path) {
                    disk.write(offset, bytes);
                    disk.sync();
                }
            }
        }
        run
    }

    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let bad = |error: &dyn std::fmt::Display| error.to_string();
        let name = "kiosk";
        let faults = &self.scenario.faults;
        let compatible = match faults.other_hardware {
            true => "another-board",
            false => "board",
        };
        let grubenv = grubenv(self.scenario.loader);
        Ok(Settings {
            device: DeviceSettings {
                product: name.parse().map_err(|error| bad(&error))?,
                compatible: compatible.parse().map_err(|error| bad(&error))?,
                channel: "stable".parse().map_err(|error| bad(&error))?,
                require: Vec::new(),
            },
            repository: RepositorySettings {
                url: "https://repository".into(),
                ca_file: PathBuf::new(),
                root_file: self.repository.root_file().into(),
                poll_interval: Duration::from_secs(600),
                stall_timeout: Duration::from_secs(30),
                max_rate: None,
                proxy: None,
                client: None,
            },
            fleet: None,
            update: UpdateSettings::default(),
            gates: Arc::default(),
            slots: SlotSettings {
                a: slot_path(SlotName::A).display().to_string(),
                b: slot_path(SlotName::B).display().to_string(),
                verify_interval: self.scenario.verifies.then_some(Duration::from_secs(1200)),
            },
            boot: BootSettings {
                contract: kind(self.scenario.loader),
                bootnames: self.bootnames()?,
                slot_variables: SlotVariables::default(),
                grubenv: match faults.other_environment {
                    true => grubenv.iter().map(|path| other(path)).collect(),
                    false => grubenv,
                },
                fw_env_config: FW_ENV_CONFIG.into(),
                tries: self.scenario.tries,
            },
            health: HealthSettings {
                deadline: Duration::from_secs(60),
                settle: Duration::from_secs(5),
                ..HealthSettings::default()
            },
            metrics: MetricsSettings::default(),
            traces: None,
            restart: RestartSettings {
                automatic: self.scenario.automatic,
                delay_at_most: Duration::from_secs(300),
                command: vec!["reboot".into()],
            },
            bus_group: "switchback".into(),
            state_directory: STATE.into(),
        })
    }
}

const fn kind(loader: Loader) -> ContractKind {
    match loader {
        Loader::SwitchbackGrub => ContractKind::SwitchbackGrub,
        Loader::RaucGrub => ContractKind::RaucGrub,
        Loader::RaucUboot => ContractKind::RaucUboot,
        Loader::Bootcount => ContractKind::Bootcount,
    }
}

fn grubenv(loader: Loader) -> Vec<PathBuf> {
    match loader {
        Loader::SwitchbackGrub => vec!["/efi/sb1.env".into(), "/efi/sb2.env".into()],
        Loader::RaucGrub => vec!["/boot/grubenv".into()],
        Loader::RaucUboot | Loader::Bootcount => Vec::new(),
    }
}

/// The variable that the loader hands to the kernel.
const fn contact(loader: Loader) -> &'static str {
    match loader {
        Loader::SwitchbackGrub => "id",
        Loader::RaucGrub | Loader::RaucUboot | Loader::Bootcount => "switchback_id",
    }
}

/// The path of an environment that the loader does not read.
fn other(path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    Path::new(OTHER).join(path)
}

/// Makes garbage of the copy that counts in a new environment, or of all.
fn damage(environment: &mut BTreeMap<PathBuf, Disk>, damage: EnvironmentDamage) {
    for (index, disk) in environment.values_mut().enumerate() {
        let length = match damage {
            EnvironmentDamage::None => continue,
            // In one file or device the first copy is the one that counts.
            EnvironmentDamage::One if index == 0 => disk.size().min(UBOOT_COPY),
            EnvironmentDamage::One => continue,
            EnvironmentDamage::All => disk.size(),
        };
        disk.write(0, &vec![0xff; length]);
        disk.sync();
    }
}
