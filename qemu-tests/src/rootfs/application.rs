//! The application that a device is for: the thing whose health decides about an update.
//!
//! `/usr/bin/kiosk` runs for ever and `/usr/bin/kiosk-health` succeeds; in the unhealthy variant
//! the first exits at once and the second fails.

use super::staging::Staging;
use super::{GuestFile, Variant};
use crate::error::Result;

const RUNS: &str = "#!/bin/sh\nwhile :; do sleep 3600; done\n";
const FAILS: &str = "#!/bin/sh\necho 'kiosk: display not found' >&2\nexit 1\n";
const HEALTHY: &str = "#!/bin/sh\nexit 0\n";

pub(super) fn stage(staging: &Staging, variant: Variant) -> Result<()> {
    let (application, health) = match variant {
        Variant::UnhealthyApp => (FAILS, FAILS),
        Variant::Good | Variant::PanicInit | Variant::HangInit => (RUNS, HEALTHY),
    };
    staging.file("/usr/bin/kiosk", &GuestFile::program(application))?;
    staging.file("/usr/bin/kiosk-health", &GuestFile::program(health))
}
