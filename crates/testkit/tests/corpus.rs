//! The fuzz targets' bodies over their committed inputs, on the stable compiler.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Bytes of an input that are cut off or changed, one after another.
const PLACES: usize = 64;

/// The directory of a target's crate, its name, its body.
type Target = (&'static str, &'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    (
        "crates/calendar",
        "calendar",
        switchback_calendar::fuzz::calendar,
    ),
    (
        "crates/chunks",
        "chunk_index",
        switchback_chunks::fuzz::chunk_index,
    ),
    (
        "crates/chunks",
        "chunk_parts",
        switchback_chunks::fuzz::chunk_parts,
    ),
    (
        "crates/chunks",
        "chunk_round_trip",
        switchback_chunks::fuzz::chunk_round_trip,
    ),
    (
        "crates/delta",
        "delta_raw",
        switchback_delta::fuzz::delta_raw,
    ),
    (
        "crates/delta",
        "delta_parts",
        switchback_delta::fuzz::delta_parts,
    ),
    (
        "crates/delta",
        "delta_round_trip",
        switchback_delta::fuzz::delta_round_trip,
    ),
    (
        "crates/delta",
        "delta_blocks",
        switchback_delta::fuzz::delta_blocks,
    ),
    (
        "crates/delta",
        "image_layout",
        switchback_delta::fuzz::image_layout,
    ),
    (
        "crates/boot-env",
        "grub_block",
        switchback_boot_env::fuzz::grub_block,
    ),
    (
        "crates/boot-env",
        "grub_pair",
        switchback_boot_env::fuzz::grub_pair,
    ),
    (
        "crates/boot-env",
        "uboot_environment",
        switchback_boot_env::fuzz::uboot_environment,
    ),
    (
        "crates/boot-env",
        "fw_env_config",
        switchback_boot_env::fuzz::fw_env_config,
    ),
    (
        "crates/boot-env",
        "contracts",
        switchback_boot_env::fuzz::contracts,
    ),
    (
        "crates/boot-env",
        "cmdline",
        switchback_boot_env::fuzz::cmdline,
    ),
    (
        "crates/manifest",
        "release",
        switchback_manifest::fuzz::release,
    ),
    (
        "crates/manifest",
        "channel",
        switchback_manifest::fuzz::channel,
    ),
    (
        "crates/manifest",
        "segment_list",
        switchback_manifest::fuzz::segment_list,
    ),
    (
        "crates/manifest",
        "frame_table",
        switchback_manifest::fuzz::frame_table,
    ),
    (
        "crates/tuf",
        "stored_state",
        switchback_tuf::fuzz::stored_state,
    ),
    ("crates/tuf", "public_key", switchback_tuf::fuzz::public_key),
    ("crates/tuf", "canonical", switchback_tuf::fuzz::canonical),
    ("crates/tuf", "session", switchback_tuf::fuzz::session),
    ("crates/ddi", "feedback", switchback_ddi::fuzz::feedback),
    (
        "crates/ddi",
        "config_data",
        switchback_ddi::fuzz::config_data,
    ),
    ("crates/ddi", "reply", switchback_ddi::fuzz::reply),
    ("crates/rollout", "filter", switchback_rollout::fuzz::filter),
    ("daemon", "record", switchbackd::fuzz::record),
    ("daemon", "journal", switchbackd::fuzz::journal),
    ("daemon", "settings", switchbackd::fuzz::settings),
    ("daemon", "bundle", switchbackd::fuzz::bundle),
    ("daemon", "fetcher", switchbackd::fuzz::fetcher),
    ("daemon", "multipart", switchbackd::fuzz::multipart),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The committed inputs of a target, each with its path.
fn corpus(room: &str, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = workspace().join(room).join("corpus").join(name);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|why| panic!("{}: {why}; every target has a corpus", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Says which input it is if the body panics.
struct Input<'a>(&'a Path, &'a str, usize);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(path, what, place) = self;
            println!("{}, {what} {place}", path.display());
        }
    }
}

#[test]
fn the_corpus_breaks_no_promise_neither_cut_off_nor_damaged() {
    for (room, name, body) in TARGETS {
        let inputs = corpus(room, name);
        assert!(inputs.len() >= 2, "{room}: {name}: {}", inputs.len());
        for (path, bytes) in inputs {
            let whole = Input(&path, "whole", bytes.len());
            body(&bytes);
            drop(whole);
            for place in (0..bytes.len()).step_by(bytes.len().div_ceil(PLACES).max(1)) {
                let cut = Input(&path, "cut at", place);
                body(bytes.get(..place).unwrap());
                drop(cut);
                let flipped = Input(&path, "flipped at", place);
                let mut damaged = bytes.clone();
                *damaged.get_mut(place).unwrap() ^= 1;
                body(&damaged);
                drop(flipped);
            }
        }
    }
}

#[test]
fn every_fuzz_target_is_one_of_these_and_is_built() {
    let folder = workspace().join("fuzz/fuzz_targets");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let names: BTreeSet<String> = TARGETS.iter().map(|(_, name, _)| (*name).into()).collect();
    assert_eq!(files, names);
    let manifest = std::fs::read_to_string(workspace().join("fuzz/Cargo.toml")).unwrap();
    for name in names {
        let file = workspace().join(format!("fuzz/fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("::fuzz::{name}(data)")), "{name}");
        let path = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "{name}: not in fuzz/Cargo.toml");
    }
}
