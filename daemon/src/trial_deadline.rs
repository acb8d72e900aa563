//! The trial's own deadline, kept by a timer that does not need the daemon to run.
//!
//! PID 1 goes on feeding the hardware watchdog while a boot hangs in emergency mode, or while the
//! daemon cannot start. A timer unit asks here, a fixed time after the start of the boot, whether
//! the slot that runs is still on trial; if so the device restarts, and a try is used up.

use std::path::PathBuf;
use std::sync::Arc;

use switchback_update_core::Phase;

use crate::journal::{DiskFiles, Journal, RecordFiles};
use crate::run::RunError;
use crate::slot::{Layout, Roots};

/// Whether this boot is a trial that should have been decided by now.
///
/// # Errors
/// The configuration, the slots or the journal cannot be read.
pub fn trial_deadline(directories: &[PathBuf]) -> Result<bool, RunError> {
    let settings = crate::settings::load(directories)?;
    let layout = Layout::find(&Roots::default(), &settings.slots, &settings.boot.bootnames)?;
    let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
    let state = Journal::read(&files, &settings.state_directory)?;
    Ok(match &state.phase {
        Phase::OnTrial { attempt, .. } | Phase::Staged { attempt } => {
            attempt.target == layout.booted
        }
        Phase::Idle | Phase::Installing { .. } | Phase::Reporting { .. } => false,
    })
}
