//! What the real bootloaders do with an environment, recorded for the models of them in
//! `crates/testkit`.
//!
//! Each case is an environment, byte for byte, and what the slots hold. The real board is switched
//! on with it and off again as soon as a kernel starts (one that only prints its command line) or
//! the script gives up. The disk keeps every write with its data, so the table has each save of
//! the run, not only what is left in the end.

mod cases;
mod notation;
mod rig;
mod stub;

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cache::Cache;
use crate::error::{IoContext as _, Result};
use crate::product::workspace;
use rig::Rig;

/// A boot script that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// `boot/grub/grub.cfg`
    Grub,
    /// `boot/grub/grub-rauc.cfg`
    GrubRauc,
    /// `boot/u-boot/boot.cmd`
    Uboot,
    /// `boot/u-boot/bootcount.cmd`, with U-Boot's own boot count
    Bootcount,
}

impl Script {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Grub, Self::GrubRauc, Self::Uboot, Self::Bootcount];

    /// The name for `--board`.
    #[must_use]
    pub const fn board(self) -> &'static str {
        match self {
            Self::Grub => "grub",
            Self::GrubRauc => "grub-rauc",
            Self::Uboot => "u-boot",
            Self::Bootcount => "bootcount",
        }
    }

    /// The script's file, from the workspace.
    const fn file(self) -> &'static str {
        match self {
            Self::Grub => "boot/grub/grub.cfg",
            Self::GrubRauc => "boot/grub/grub-rauc.cfg",
            Self::Uboot => "boot/u-boot/boot.cmd",
            Self::Bootcount => "boot/u-boot/bootcount.cmd",
        }
    }

    /// The table, from the workspace.
    fn table(self) -> PathBuf {
        let name = match self {
            Self::Grub => "switchback-grub",
            Self::GrubRauc => "rauc-grub",
            Self::Uboot => "rauc-uboot",
            Self::Bootcount => "bootcount-uboot",
        };
        workspace().join(format!("crates/testkit/recorded/{name}.json"))
    }

    /// Whether its copies are those of U-Boot's redundant environment.
    const fn has_uboot_copies(self) -> bool {
        matches!(self, Self::Uboot | Self::Bootcount)
    }

    /// Words that the kernel's command line uses: the slot's parameter.
    const fn slot_parameter(self) -> &'static str {
        match self {
            Self::GrubRauc => "rauc.slot=",
            Self::Grub | Self::Uboot | Self::Bootcount => "switchback.slot=",
        }
    }
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    /// A kernel that prints its command line.
    Loads,
    /// Zeros.
    Nothing,
    /// A file in the kernel's place that is none.
    Broken,
    /// A kernel alone.
    NoInitrd,
    /// A kernel, and an initrd that is too large for the memory.
    BadInitrd,
}

impl Slot {
    /// The word in the table.
    const fn word(self) -> &'static str {
        match self {
            Self::Loads => "loads",
            Self::Nothing => "none",
            Self::Broken => "broken",
            Self::NoInitrd => "no initrd",
            Self::BadInitrd => "bad initrd",
        }
    }
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    /// What is special about it.
    name: String,
    /// The environment, copy by copy.
    copies: Vec<Vec<u8>>,
    /// What slot A and slot B hold.
    slots: [Slot; 2],
}

/// What the board did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Each save: which copy, and all its bytes then.
    saves: Vec<(usize, Vec<u8>)>,
    /// The kernel's command line, if one started.
    command_line: Option<String>,
}

/// Records one script's table; tells its progress to `say`.
///
/// # Errors
/// The board cannot be built or started, or did something that the table has no words for.
pub fn record(script: Script, say: &mut dyn FnMut(&str)) -> Result<()> {
    let started = Instant::now();
    let cases = cases::of(script);
    let mut rig = Rig::new(&Cache::open()?, script)?;
    let mut lines = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let began = Instant::now();
        let seen = rig.run(case)?;
        say(&format!(
            "{}/{} {}: {} save(s), {} ({:.1} s)",
            number + 1,
            cases.len(),
            case.name,
            seen.saves.len(),
            started_slot(script, &seen),
            began.elapsed().as_secs_f64()
        ));
        lines.push(line(script, case, &seen));
    }
    let path = script.table();
    let source = workspace().join(script.file());
    let text = std::fs::read(&source).io("read", &source)?;
    let head = json!({
        "again": format!("cargo xtask record-bootloaders --board {}", script.board()),
        "loader": rig.version()?,
        "script": script.file(),
        "script_sha256": hex::encode(Sha256::digest(&text)),
    });
    // One case is one line: a change of a script shows as the cases that it changes.
    let table = format!(
        "{{\"recorded\": {head},\n\"cases\": [\n{}\n]}}\n",
        lines.join(",\n")
    );
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).io("make", directory)?;
    }
    std::fs::write(&path, table).io("write", &path)?;
    say(&format!(
        "{} cases in {} s: {}",
        cases.len(),
        started.elapsed().as_secs(),
        path.display()
    ));
    Ok(())
}

/// For the progress: which slot's kernel spoke.
fn started_slot(script: Script, seen: &Seen) -> String {
    let words = seen.command_line.as_deref().unwrap_or_default().split(' ');
    let slot = words
        .filter_map(|word| word.strip_prefix(script.slot_parameter()))
        .next();
    slot.map_or_else(
        || "nothing starts".to_owned(),
        |slot| format!("{slot} starts"),
    )
}

fn line(script: Script, case: &Case, seen: &Seen) -> String {
    let redundant = script.has_uboot_copies();
    let copies = case.copies.iter();
    let before: Vec<Value> = copies.map(|copy| notation::of(copy, redundant)).collect();
    let saves = seen.saves.iter();
    let saves: Vec<Value> = saves
        .map(|(copy, bytes)| json!({"copy": copy, "after": notation::of(bytes, redundant)}))
        .collect();
    let slots = case.slots.map(Slot::word);
    json!({"name": case.name, "slots": slots, "before": before, "saves": saves, "kernel": seen.command_line})
        .to_string()
}
