//! Which variables mean what: the agreement between a boot script and the system.
//!
//! | | order | slot x may be started | written by the boot script | id |
//! |---|---|---|---|---|
//! | [`ContractKind::RaucUboot`] | `BOOT_ORDER` | `BOOT_x_LEFT` > 0, hexadecimal | one less, at each boot | `switchback_id` |
//! | [`ContractKind::RaucGrub`] | `ORDER` | `x_OK` = 1 and `x_TRY` = 0 | `x_TRY` = 1, at each boot | `switchback_id` |
//! | [`ContractKind::SwitchbackGrub`] | `order` | `a_left` > 0, one decimal digit | one less, at each boot | `id` |
//! | [`ContractKind::Bootcount`] | one slot, `mender_boot_part` | `bootcount` <= `bootlimit`, decimal | `bootcount` one more, at each boot of a trial | `switchback_id` |
//!
//! The first three count at *every* boot, also of a committed slot: a slot is marked good at each
//! boot that is healthy, or it falls away. `Bootcount` counts trials only: a committed slot that
//! breaks later is started for ever.
//!
//! What foreign tools write in two steps is one change of the variables here, to be written as one
//! copy of the environment. The order stays complete: names that are not ours (a rescue system)
//! keep their places, and the booted slot is put into an order that lacks it, unless the very
//! change takes it out.

mod bootcount;
mod names;
mod order;
mod ordered;
mod rauc_grub;
mod tries_left;

use alloc::string::String;
use alloc::vec::Vec;

use switchback_types::SlotName;

use self::bootcount::Bootcount;
pub use self::bootcount::{SlotVariableError, SlotVariables};
pub use self::names::{BootNameError, BootNames};
use self::ordered::{Ordered, OrderedKind};
use crate::Vars;

/// The agreements that are spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContractKind {
    /// RAUC's contract for U-Boot: `BOOT_ORDER` and `BOOT_<x>_LEFT`. Our U-Boot script keeps to it.
    RaucUboot,
    /// RAUC's contract for GRUB: `ORDER`, `<x>_OK` and `<x>_TRY`. Exactly one try.
    RaucGrub,
    /// Our own contract for GRUB: `order`, `a_left`, `b_left` and `id`, in two copies.
    SwitchbackGrub,
    /// U-Boot's own boot count, as boards for Mender and SWUpdate have it: one variable names the
    /// slot; `upgrade_available`, `bootcount` and `bootlimit` count a trial; `altbootcmd` ends it.
    Bootcount,
}

impl ContractKind {
    /// The most tries that a slot can be given: what is asked for beyond it becomes this.
    #[must_use]
    pub const fn max_tries(self) -> u8 {
        match self.ordered() {
            Some(kind) => kind.max_tries(),
            // U-Boot compares whole numbers.
            None => u8::MAX,
        }
    }

    /// The kinds with an order of slots.
    const fn ordered(self) -> Option<OrderedKind> {
        match self {
            Self::RaucUboot => Some(OrderedKind::RaucUboot),
            Self::RaucGrub => Some(OrderedKind::RaucGrub),
            Self::SwitchbackGrub => Some(OrderedKind::SwitchbackGrub),
            Self::Bootcount => None,
        }
    }
}

/// How the bootloader sees a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotBoot {
    /// It will not be started: it is not in the order, or it was marked bad.
    Bad,
    /// It may be started `left` more times.
    Ready {
        /// Tries left.
        left: u8,
    },
    /// It is in the order, and its tries are used up.
    Exhausted,
    /// It is started whenever its turn comes: no tries of it are counted.
    Uncounted,
    /// The environment says nothing about it: the boot script's own defaults hold.
    Missing,
}

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootView {
    /// Our slots in the order in which they are tried; empty if no order is set.
    pub order: Vec<SlotName>,
    /// The one of our slots that the bootloader starts next; none if the environment does not
    /// decide that, because no order is set or no slot may be started.
    pub primary: Option<SlotName>,
    /// Slot a.
    pub a: SlotBoot,
    /// Slot b.
    pub b: SlotBoot,
    /// What the boot script hands to the kernel as proof of contact; changed by each arm.
    pub contact_id: Option<String>,
    /// No variable of the contract was ever written.
    pub unset: bool,
}

impl BootView {
    /// How the bootloader sees `slot`.
    #[must_use]
    pub const fn slot(&self, slot: SlotName) -> SlotBoot {
        match slot {
            SlotName::A => self.a,
            SlotName::B => self.b,
        }
    }
}

/// One change, to be written at once.
///
/// Tries are brought into 1 to [`ContractKind::max_tries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootChange<'a> {
    /// Make sure that a slot is not started: it is about to be written.
    Invalidate(SlotName),
    /// Put a slot first, with tries: the next boot is its trial.
    Arm {
        /// The slot.
        slot: SlotName,
        /// How many times it may be started.
        tries: u8,
        /// A word that was never used before, to be found on the kernel command line afterwards.
        /// Letters and digits, because GRUB would split anything else.
        contact_id: &'a str,
    },
    /// Give a slot its tries back, and put it into the order if it is not there.
    MarkGood {
        /// The slot.
        slot: SlotName,
        /// How many times it may be started until it is marked good again.
        tries: u8,
    },
    /// Take one slot out and put the other one first, with tries.
    FallBack {
        /// The slot not to be started again.
        bad: SlotName,
        /// The slot to be started from now on.
        to: SlotName,
        /// How many times it may be started.
        tries: u8,
    },
    /// Put a slot first, with tries, without a trial.
    SetPrimary {
        /// The slot.
        slot: SlotName,
        /// How many times it may be started.
        tries: u8,
    },
    /// Give back the try that this boot took, because the restart is an orderly one.
    GiveBackTry {
        /// The slot.
        slot: SlotName,
    },
}

/// Whether there is anything to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The variables are different now.
    Changed,
    /// Everything was so before.
    AlreadySo,
}

/// An agreement with a certain board: its kind and the bootnames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    kind: ContractKind,
    names: BootNames,
    slot_variables: SlotVariables,
}

impl Contract {
    /// The agreement of this kind with these bootnames; for [`ContractKind::Bootcount`] with
    /// Mender's variables.
    #[must_use]
    pub fn new(kind: ContractKind, names: BootNames) -> Self {
        Self {
            kind,
            names,
            slot_variables: SlotVariables::default(),
        }
    }

    /// With other variables that name the slot; only [`ContractKind::Bootcount`] has any.
    #[must_use]
    pub fn with_slot_variables(mut self, variables: SlotVariables) -> Self {
        self.slot_variables = variables;
        self
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ContractKind {
        self.kind
    }

    /// The bootloader's names for the slots.
    #[must_use]
    pub const fn names(&self) -> &BootNames {
        &self.names
    }

    /// What the variables say.
    #[must_use]
    pub fn observe(&self, vars: &Vars) -> BootView {
        match self.family() {
            Family::Ordered(ordered) => ordered.observe(vars),
            Family::Bootcount(bootcount) => bootcount.observe(vars),
        }
    }

    /// Changes the variables. `booted` is the slot that runs.
    pub fn apply(&self, vars: &mut Vars, change: &BootChange<'_>, booted: SlotName) -> Applied {
        let before = vars.clone();
        match self.family() {
            Family::Ordered(ordered) => ordered.apply(vars, change, booted),
            Family::Bootcount(bootcount) => bootcount.apply(vars, change, booted),
        }
        if *vars == before {
            Applied::AlreadySo
        } else {
            Applied::Changed
        }
    }

    /// The variables of a new board: slot a first, every slot that is counted with its tries.
    #[must_use]
    pub fn defaults(&self, tries: u8) -> Vars {
        match self.family() {
            Family::Ordered(ordered) => ordered.defaults(tries),
            Family::Bootcount(bootcount) => bootcount.defaults(tries),
        }
    }

    const fn family(&self) -> Family<'_> {
        let names = &self.names;
        match self.kind.ordered() {
            Some(kind) => Family::Ordered(Ordered { kind, names }),
            None => Family::Bootcount(Bootcount {
                names,
                variables: &self.slot_variables,
            }),
        }
    }
}

/// What the contracts have in common decides who carries them out.
enum Family<'a> {
    Ordered(Ordered<'a>),
    Bootcount(Bootcount<'a>),
}

#[cfg(test)]
mod tests;
