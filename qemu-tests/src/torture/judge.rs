//! Whether what a device ended with is right, read from its disks with other programs than its own.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::plan::Start;
use super::prepare::{Prepared, boot_files};
use super::watch::Watch;
use crate::board::Disk;
use crate::command::Run;
use crate::disk::DiskImage;
use crate::error::{Error, IoContext as _, Result};
use crate::image::Image;

/// The daemon's record: magic, layout, generation, length, checksum (`daemon/src/journal`).
const MAGIC: &[u8] = b"SBRECORD";
const HEADER: usize = 28;
const CONTENT: usize = HEADER + 32;

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Version 2 is committed.
    Committed,
    /// Version 2 is committed; in between the old slot had come up, and the device went back.
    Returned,
    /// Version 1 runs, as it must after what happened.
    RolledBack,
    /// Nothing came up.
    Brick(String),
    /// Something is not as it must be.
    Wrong(String),
}

/// What must hold after each cut, before the power comes back.
pub(super) fn after_cut(bed: &Prepared<'_>, disk: &Disk) -> Result<Option<String>> {
    let whole = bed.board.whole_copies(disk)?;
    if whole == 0 {
        return Ok(Some("no copy of the boot environment is whole".to_owned()));
    }
    Ok((!holds(disk, "slot-a", &bed.one)?)
        .then(|| "slot a is not version 1 any more, byte for byte".to_owned()))
}

/// How many tries a slot has left, as the environment says it.
pub(super) fn tries_left(env: &BTreeMap<String, String>, slot: &str) -> String {
    let names = match slot {
        "A" => ["a_left", "BOOT_A_LEFT"],
        _ => ["b_left", "BOOT_B_LEFT"],
    };
    let found = names.iter().find_map(|name| env.get(*name));
    found.cloned().unwrap_or_default()
}

/// Judges a settled device, which is switched off. `cuts` came in this round.
pub(super) fn settled(
    bed: &Prepared<'_>,
    disk: &Disk,
    watch: &Watch,
    up: &(String, String),
    start: Start,
    cuts: usize,
    work: &Path,
) -> Result<Verdict> {
    let mut wrong: Vec<String> = watch.alarms.clone();
    let mut must = |holds: bool, why: &dyn Fn() -> String| {
        if !holds {
            wrong.push(why());
        }
    };
    let (slot, version) = (up.0.as_str(), up.1.as_str());
    let record = record(disk, work)?;
    let text = |pointer: &str| {
        record
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("nothing")
    };

    let right = (slot == "A" && version == "1") || (slot == "B" && version == "2");
    must(right, &|| format!("version {version} runs in slot {slot}"));
    must(text("/state/phase/phase") == "idle", &|| {
        format!("the daemon's phase is {}", text("/state/phase/phase"))
    });
    let slot_name = slot.to_lowercase();
    must(text("/state/primary") == slot_name, &|| {
        format!(
            "slot {slot} runs, the journal calls {} primary",
            text("/state/primary")
        )
    });
    let content = text(&format!("/state/{slot_name}/content/state")) == "holds"
        && text(&format!("/state/{slot_name}/content/image/version")) == version;
    must(content, &|| {
        format!("the journal does not know that slot {slot} holds version {version}")
    });

    must(holds(disk, "slot-a", &bed.one)?, &|| {
        "slot a is not version 1 any more".to_owned()
    });
    if version == "2" {
        let same = holds(disk, "slot-b", &bed.two)?;
        must(same, &|| {
            "slot b is not version 2, byte for byte".to_owned()
        });
    }

    let env = bed.board.read_env(disk)?;
    let whole = bed.board.whole_copies(disk)?;
    must(whole == 2, &|| {
        format!("{whole} copies of the boot environment are whole, not 2")
    });
    let value = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| env.get(*name))
            .cloned()
            .unwrap_or_default()
    };
    let order = value(["order", "BOOT_ORDER"]);
    must(order.starts_with(slot), &|| {
        format!("slot {slot} runs, the order is \"{order}\"")
    });
    let left = tries_left(&env, slot);
    must(left == "3", &|| {
        format!("slot {slot} runs and has \"{left}\" tries left, not 3")
    });
    let files = boot_files(disk)?;
    must(files == bed.boot_files, &|| {
        format!(
            "{files:?} files on the boot partition, {:?} before",
            bed.boot_files
        )
    });

    let history = history(&record);
    let mut actions: Vec<&str> = history.iter().map(|entry| entry.action).collect();
    actions.sort_unstable();
    let count = actions.len();
    actions.dedup();
    must(actions.len() == count, &|| {
        format!("an action stands twice in the history: {history:?}")
    });
    let committed = history.iter().any(|entry| entry.outcome == "committed");
    let back = history
        .iter()
        .rev()
        .find(|entry| entry.outcome == "rolled-back");
    let failed = record
        .pointer("/state/failed")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);

    let good = start != Start::Unhealthy;
    if version == "2" {
        must(good, &|| "an unhealthy version was committed".to_owned());
        must(committed && back.is_none() && failed == 0, &|| {
            format!("version 2 runs, the history says {history:?}, {failed} image(s) failed")
        });
    } else {
        let reason = back.map_or("nothing", |entry| entry.reason);
        // A version that was committed may lose its tries to cuts, and then those of its return.
        let left = history
            .last()
            .is_some_and(|entry| entry.kind == "return" && entry.outcome == "rolled-back");
        must(
            (!committed || left) && back.is_some() && failed == 1,
            &|| format!("version 1 runs, the history says {history:?}, {failed} image(s) failed"),
        );
        // Three tries, and only a cut can cost one.
        let eaten = reason == "tries-exhausted" && cuts >= 3;
        must(eaten || (!good && reason == "unhealthy"), &|| {
            format!("rolled back because of {reason} after {cuts} cut(s)")
        });
    }
    Ok(if !wrong.is_empty() {
        Verdict::Wrong(wrong.join("; "))
    } else if version != "2" {
        Verdict::RolledBack
    } else if watch.strayed {
        Verdict::Returned
    } else {
        Verdict::Committed
    })
}

/// A line of the device's history.
#[derive(Debug)]
#[allow(dead_code, reason = "shown with Debug")]
struct Line<'a> {
    action: &'a str,
    kind: &'a str,
    outcome: &'a str,
    reason: &'a str,
}

fn history(record: &Value) -> Vec<Line<'_>> {
    let entries = record.pointer("/state/history").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            Line {
                action: field("action"),
                kind: field("kind"),
                outcome: field("outcome"),
                reason: field("reason"),
            }
        })
        .collect()
}

/// Whether a slot begins with this image, byte for byte.
fn holds(disk: &Disk, slot: &str, image: &Image) -> Result<bool> {
    let drive = DiskImage::open(&disk.main);
    let extent = drive.partition(slot)?;
    let wanted = std::fs::read(&image.path).io("read", &image.path)?;
    Ok(drive.read(extent.offset, image.size)? == wanted)
}

/// The newest whole copy of the daemon's record on the data partition, whose own journal is
/// replayed first, as a mount would do.
fn record(disk: &Disk, work: &Path) -> Result<Value> {
    let drive = DiskImage::open(&disk.main);
    let data = drive.partition("data")?;
    let copy = work.join("data.img");
    let bytes = drive.read(data.offset, data.length)?;
    std::fs::write(&copy, bytes).io("write", &copy)?;
    // 1: errors corrected, which replaying the journal counts as.
    Run::new("sh")
        .args(["-c", "e2fsck -fp \"$1\" || test $? = 1", "sh"])
        .arg(&copy)
        .check()?;
    let mut newest: Option<(u64, Value)> = None;
    for name in ["journal.0", "journal.1"] {
        let request = format!("cat /{name}");
        let bytes = Run::new("debugfs")
            .args(["-R", &request])
            .arg(&copy)
            .stdout()?;
        if let Some((generation, value)) = decode(&bytes)
            && newest.as_ref().is_none_or(|(known, _)| *known < generation)
        {
            newest = Some((generation, value));
        }
    }
    newest
        .map(|(_, value)| value)
        .ok_or_else(|| Error::Malformed {
            path: copy,
            why: "no copy of the daemon's journal is whole".to_owned(),
        })
}

fn decode(bytes: &[u8]) -> Option<(u64, Value)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let content = bytes.get(CONTENT..)?;
    let sum = Sha256::new()
        .chain_update(header)
        .chain_update(content)
        .finalize();
    if !header.starts_with(MAGIC) || !rest.starts_with(&sum) {
        return None;
    }
    let generation = header.get(12..)?.first_chunk::<8>()?;
    let value = serde_json::from_slice(content).ok()?;
    Some((u64::from_le_bytes(*generation), value))
}

#[cfg(test)]
mod tests {
    use super::{decode, history};
    use sha2::{Digest as _, Sha256};

    fn encode(generation: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = b"SBRECORD\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        let sum = Sha256::new()
            .chain_update(&bytes)
            .chain_update(content)
            .finalize();
        bytes.extend_from_slice(&sum);
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn record_is_taken_whole_or_not_at_all() {
        let mut bytes = encode(
            9,
            br#"{"state":{"history":[{"action":"x","outcome":"committed"}]}}"#,
        );
        let (generation, value) = decode(&bytes).unwrap();
        assert_eq!(generation, 9);
        let lines = history(&value);
        assert_eq!(
            (lines.len(), lines[0].outcome, lines[0].reason),
            (1, "committed", "")
        );
        bytes[70] ^= 1;
        assert!(decode(&bytes).is_none());
        assert!(decode(&bytes[..40]).is_none());
    }
}
