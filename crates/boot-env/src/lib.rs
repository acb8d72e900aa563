//! What the bootloader and the system share: environment codecs, and what the variables mean.
//!
//! - [`grub`]: GRUB's environment block; [`grub_pair`]: our arrangement of two of them.
//! - [`uboot`]: U-Boot's environment, one copy or two; [`fw_env_config`]: where it is.
//! - [`contract`]: which variables mean what, as one view and six changes.
//! - [`cmdline`]: what the bootloader passed on to the kernel.
//!
//! Everything takes bytes and gives bytes: no file, no device, no clock. Three promises hold for
//! all of it. Variables that are not ours keep their places and their bytes. Whatever is done to
//! the environment is one new copy of all variables, to be written at once. And nothing here makes
//! an environment out of one that could not be read.
//!
//! ```
//! use switchback_boot_env::contract::{BootChange, BootNames, Contract, ContractKind};
//! use switchback_boot_env::uboot::{Environment, FlagScheme};
//! use switchback_types::SlotName;
//!
//! # let vars = [("BOOT_ORDER", "A B"), ("BOOT_A_LEFT", "3")].into_iter().collect();
//! # let copy = switchback_boot_env::uboot::encode_redundant(&vars, 1, 0x4000)?;
//! # let blank = vec![0xff; 0x4000];
//! let mut environment = Environment::redundant(&copy, &blank, FlagScheme::Incremental)?;
//! let contract = Contract::new(ContractKind::RaucUboot, BootNames::default());
//! let change = BootChange::Arm { slot: SlotName::B, tries: 3, contact_id: "c0ffee" };
//! contract.apply(&mut environment.vars, &change, SlotName::A);
//! let next = environment.successor()?;
//! assert_eq!(contract.observe(&environment.vars).primary, Some(SlotName::B));
//! # assert_eq!(next.copy, switchback_boot_env::Copy::Second);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cmdline;
pub mod contract;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken promise must stop the fuzzer"
)]
pub mod fuzz;
pub mod fw_env_config;
pub mod grub;
pub mod grub_pair;
pub mod uboot;
mod vars;

pub use vars::{Entry, Vars};

/// One of the two copies of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Copy {
    /// The one at the first place.
    First,
    /// The one at the second place.
    Second,
}

impl Copy {
    /// The copy that this one is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}
