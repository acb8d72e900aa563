//! Images that a mkfs.erofs of this machine makes. `SWITCHBACK_MKFS_EROFS` names it: 1.8 at least, with
//! zstd of the version that this crate links.
//!
//!     SWITCHBACK_MKFS_EROFS=/usr/bin/mkfs.erofs cargo test -p switchback-delta --test erofs -- --ignored
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{apply, make};

/// So much of a real program: enough for clusters that end in code, in tables and in names.
const PROGRAM: usize = 1 << 20;

fn image(mkfs: &str, tree: &Path, options: &[&str]) -> Vec<u8> {
    let out = tree.with_extension("erofs");
    let done = Command::new(mkfs)
        .args(["--quiet", "-T1750000000", "--all-root"])
        .args(["-U", "6d2f1c3e-0a5b-4c7d-9e8f-123456789abc"])
        .args(options)
        .args([&out, tree])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    std::fs::read(out).unwrap()
}

#[test]
#[ignore = "needs mkfs.erofs 1.8"]
fn clusters_of_zstd_come_out_as_mkfs_erofs_made_them() {
    let mkfs = std::env::var("SWITCHBACK_MKFS_EROFS").expect("it names a mkfs.erofs");
    let place = tempfile::tempdir().unwrap();
    let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    program.truncate(PROGRAM);
    let lines = |count: u32| (0..count).map(|n| format!("{n} {}\n", n.wrapping_mul(0x9E37_79B1)));
    let text: String = lines(20_000).collect();
    let tree = place.path().join("tree");
    let fill = |program: &[u8], text: &str| {
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("program"), program).unwrap();
        std::fs::write(tree.join("text"), text).unwrap();
        std::fs::write(tree.join("short"), "a few words").unwrap();
    };
    for options in [
        &["-zzstd", "-C4096"][..],
        &["-zzstd,level=3", "-C4096"],
        &["-zzstd,level=9", "-C4096"],
        &["-zzstd,level=19", "-C4096"],
        &["-zzstd,level=22", "-C4096"],
        &["-zzstd,level=12,dictsize=65536", "-C8192"],
        &["-zzstd", "-C16384"],
        &["-zzstd,level=15", "-C16384"],
        &["-zzstd", "-C65536"],
        &["-zzstd,level=6", "-C65536"],
        &["-zzstd,level=19,dictsize=131072", "-C65536"],
        &["-zzstd,level=3", "-C4096", "-Elegacy-compress"],
        &["-zzstd,level=3", "-C4096", "-Eztailpacking"],
        &["-zzstd,level=3", "-C4096", "-Ededupe"],
    ] {
        fill(&program, &text);
        let old = image(&mkfs, &tree, options);
        let mut changed = program.clone();
        changed.splice(1000..1010, *b"something longer");
        changed.drain(500_000..500_064);
        fill(
            &changed,
            &text.replace("\n1500 ", "\none thousand and a half "),
        );
        let new = image(&mkfs, &tree, options);
        let (blob, repacked) = make(&old, &new);
        println!(
            "{options:?}: {} bytes, delta {}, {repacked:?}",
            new.len(),
            blob.len()
        );
        assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
        assert!(repacked.changed > 3, "{options:?}: {repacked:?}");
        assert_eq!(repacked.reproduced, repacked.changed, "{options:?}");
    }
}
