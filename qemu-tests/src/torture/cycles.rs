//! Update after update on one device: what a cycle leaves behind on the boot partition must not
//! grow, and the environment must stay where it is.

use std::path::Path;
use std::time::Duration;

use super::device::Device;
use super::prepare::{Line, PATIENT, boot_files, copy, spec};
use crate::board::Board;
use crate::error::{Error, Result};
use crate::nbd::Survive;
use crate::product::Product;
use crate::rootfs::TinyRootfs;

/// Longest step of a cycle.
const STEP: Duration = Duration::from_secs(600);

/// Lets a device update `count` times, each time to a new version, with a power cut after each.
///
/// # Errors
/// A cycle does not end with its version committed in the other slot, or leaves more or fewer files
/// on the boot partition, an environment elsewhere, or a copy of it broken.
pub(super) fn run(
    board: &(dyn Board + Sync),
    product: &Product,
    guest: &TinyRootfs<'_>,
    overlay: &Path,
    count: u32,
    work: &Path,
    tell: &dyn Fn(&str),
) -> Result<()> {
    let image = |version: &str| guest.image(&spec(version, PATIENT, overlay));
    let line = Line::begin(board, product, &image("1")?, work)?;
    let mut device = Device::new(board, copy(&line.disk, &work.join("run"))?, work);
    device.switch_on()?;
    until(&mut device, "version 1 runs already")?;
    device.rest()?;
    device.cut(Survive::Everything)?;
    let before = (boot_files(&device.disk)?, board.env_extent(&device.disk)?);
    for cycle in 1..=count {
        let version = (cycle + 1).to_string();
        line.repository.publish(&image(&version)?, &version)?;
        let slot = if cycle % 2 == 1 { "B" } else { "A" };
        device.switch_on()?;
        until(&mut device, "is armed: ")?;
        until(
            &mut device,
            &format!("SB: TINY-UP slot={slot} version={version}"),
        )?;
        until(&mut device, "is healthy and committed")?;
        device.cut(Survive::Nothing)?;
        let after = (boot_files(&device.disk)?, board.env_extent(&device.disk)?);
        let whole = board.whole_copies(&device.disk)?;
        tell(&format!(
            "{} cycle {cycle:>3}: version {version} committed in slot {slot}, files on the boot \
             partition: {:?}",
            board.name(),
            after.0
        ));
        if after != before || whole == 0 {
            return Err(wrong(&format!(
                "after {cycle} updates files and place of the environment are {after:?}, not \
                 {before:?}; {whole} of its copies are whole"
            )));
        }
        if let Some(alarm) = device.watch.alarms.first() {
            return Err(wrong(&format!("update {cycle}: {alarm}")));
        }
    }
    Ok(())
}

fn until(device: &mut Device<'_>, part: &str) -> Result<()> {
    match device.wait(Some(part), false, STEP)? {
        Some(_) => Ok(()),
        None => Err(wrong(&format!(
            "the device did not say `{part}` within {STEP:?}"
        ))),
    }
}

fn wrong(why: &str) -> Error {
    Error::Server {
        why: format!("update cycles: {why}"),
    }
}
