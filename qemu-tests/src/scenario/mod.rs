//! Scenarios as data: what is offered to a device, what befalls it, and how it must end.
//!
//! The same data is meant for two worlds: real bootloaders in QEMU, run here, and the simulator.

mod list;
pub mod matrix;
mod run;

pub use list::{scenarios, scenarios_for};
pub use run::{Bed, run};

use crate::https::Fault;
use crate::rootfs::Variant;

/// What the repository offers as version 2.
#[derive(Debug, Clone, PartialEq)]
pub enum Offer {
    /// An image that behaves like this.
    Image(Variant),
    /// A good image, over a server with this fault.
    Faulty(Fault),
    /// A good image in a repository signed with other keys.
    OtherKeys,
    /// A good image made for other hardware.
    OtherHardware,
}

/// When the power goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// While the inactive slot is being written, at this part of it.
    WhileWriting(f64),
    /// Right after the boot environment was armed.
    AfterArming,
    /// In the first trial boot, before health is known.
    DuringTrial,
    /// After the commit, in the kernel, as often as the slot has tries.
    BlipsAfterCommit,
}

/// How it must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Version 2 runs and is committed.
    Committed {
        /// A later try than the first.
        on_try: u8,
    },
    /// Version 1 runs again by itself, and version 2 is remembered.
    RolledBack {
        /// Part of the reason.
        because: &'static str,
        /// How often version 2 was started.
        starts: usize,
    },
    /// Version 1 came up without a trial, nothing was marked bad, and version 2 was returned to.
    Returned,
    /// Nothing was armed, the running slot is untouched, the daemon goes on polling.
    Refused {
        /// Part of what the device says.
        because: &'static str,
    },
}

/// One scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What is offered.
    pub offer: Offer,
    /// When the power goes, if it does.
    pub cut: Option<Cut>,
    /// Whether the server is gone before, and comes back.
    pub server_gone_first: bool,
    /// Whether the daemon is configured with another environment than the bootloader reads.
    pub other_environment: bool,
    /// How it must end.
    pub end: End,
}

impl Scenario {
    /// What should be, in words.
    #[must_use]
    pub fn expectation(&self) -> String {
        match &self.end {
            End::Committed { on_try: 1 } => "version 2 is committed".to_owned(),
            End::Committed { on_try } => format!("version 2 is committed on try {on_try}"),
            End::RolledBack { because, starts } => {
                format!("back in version 1 after {starts} start(s) of version 2: {because}")
            }
            End::Returned => {
                "tries lost to power cycles: back in version 2, nothing marked bad".into()
            }
            End::Refused { because } => format!("version 2 is refused: {because}"),
        }
    }
}
