//! Deltas between images that mke2fs made: metadata checksums are not sent.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use switchback_delta::{Options, Outcome, encode};

fn image(folder: &Path, tree: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    fs::File::create(&path).unwrap().set_len(8 << 20).unwrap();
    let id = "11111111-2222-3333-4444-555555555555";
    let output = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-b", "4096", "-U", id, "-m", "0"])
        .args(["-O", "^has_journal,metadata_csum", "-E"])
        .arg(format!("hash_seed={id},lazy_itable_init=0,root_owner=0:0"))
        .arg("-d")
        .args([tree, path.as_path()])
        .env("E2FSPROGS_FAKE_TIME", "1750000000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(path).unwrap()
}

fn fill(tree: &Path) {
    for number in 0..60_u32 {
        let folder = tree.join(format!("folder-{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        let line = format!("{number} is the number of this file, {}\n", number * 7919);
        fs::write(folder.join(format!("file-{number}")), line.repeat(300)).unwrap();
    }
}

/// The encoder proves each delta by decoding it, so its size is all that is left to ask.
fn size(old: &[u8], new: &[u8]) -> usize {
    match encode(old, new, &Options::default(), &|_| true).unwrap() {
        Outcome::Delta { blob, .. } => blob.len(),
        Outcome::NotWorthIt { estimate } => panic!("not worth it: {estimate}"),
    }
}

#[test]
fn a_changed_line_and_a_new_file_cost_little() {
    if !Path::new("/sbin/mke2fs").exists() {
        eprintln!("skipped: there is no /sbin/mke2fs");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fill(&tree);
    // All times alike: the tree's own differ from run to run.
    let touch = || {
        let status = Command::new("find")
            .arg(&tree)
            .args(["-exec", "touch", "-d", "@1750000000", "{}", "+"])
            .status();
        assert!(status.unwrap().success());
    };
    touch();
    let first = image(folder.path(), &tree, "first");
    fs::write(tree.join("folder-3/file-3"), "a line instead of many\n").unwrap();
    touch();
    let second = image(folder.path(), &tree, "second");
    let changed = size(&first, &second);
    assert!(changed < 700, "{changed}");
    fs::write(tree.join("folder-0/another"), "a new file\n").unwrap();
    touch();
    let third = image(folder.path(), &tree, "third");
    let added = size(&second, &third);
    assert!(added < 1500, "{added}");
}
