//! Scenarios as data: what befalls a device, and how it must end.
//!
//! A story is the same data for two worlds: the simulator, and real bootloaders in QEMU, run here.
//! Only the moment of a cut is told in other words: the simulator cuts after each numbered step,
//! here a disk or a line on the console says when.

mod list;
pub mod matrix;
mod run;

#[cfg(test)]
mod tests;

pub use list::scenarios_for;
pub use run::{Bed, run};

use switchback_testkit::scenario::Scenario as Story;

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
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What befalls the device beside that.
    pub story: Story,
    /// When the power goes, if it does.
    pub cut: Option<Cut>,
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
