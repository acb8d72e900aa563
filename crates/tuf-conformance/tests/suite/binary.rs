//! What is the binary's own: its arguments, and how it ends when nothing is as it should be. The cases
//! themselves go through it too.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::stage::{Stage, Through};

fn run(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tuf-conformance-client"))
        .arg("--metadata-dir")
        .arg(directory.join("metadata"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn every_failure_ends_with_1_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.json");
    let root = root.to_str().unwrap();
    // Nobody listens there.
    let url = ["--metadata-url", "http://127.0.0.1:1/"];
    let fails = |arguments: &[&str], reason: &str| {
        let (code, said) = run(directory.path(), arguments);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    };
    fails(&["init", root], "root.json");
    fails(&[url[0], url[1], "refresh"], "trusted.state");
    std::fs::write(root, "not a root").unwrap();
    fails(&["init", root], "root");

    let repository = Stage::new(Through::Library).repository;
    let good = &repository.files["1.root.json"];
    std::fs::write(root, good).unwrap();
    assert_eq!(run(directory.path(), &["init", root]), (0, String::new()));
    fails(&[url[0], url[1], "refresh"], "onnect");
    // What was trusted stays.
    let held = std::fs::read(directory.path().join("metadata/root.json")).unwrap();
    assert_eq!(held, *good);
    assert!(serde_json::from_slice::<Value>(&held).is_ok());
}
