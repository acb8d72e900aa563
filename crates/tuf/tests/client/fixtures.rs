//! The seeds of the fuzz bodies: written by the signer here, so that they stay valid.
//!
//! `UPDATE_CORPUS=1 cargo test -p switchback-tuf --test client fixtures` writes them anew.

use std::path::PathBuf;

use serde_json::json;

use crate::device::Device;
use crate::repository::Repository;

fn check(name: &str, content: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(&path, content).unwrap();
    }
    assert!(
        std::fs::read(&path).unwrap() == content,
        "{} is out of date",
        path.display()
    );
}

fn session(repository: &Repository, files: &[&str]) -> Vec<u8> {
    let bytes = |name: &&str| match repository.files.get(*name) {
        Some(bytes) => {
            // Compact: easier for a fuzzer to hit what matters.
            let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            serde_json::to_vec(&value).unwrap()
        }
        None => Vec::new(),
    };
    files.iter().map(bytes).collect::<Vec<_>>().join(&0)
}

#[test]
fn the_corpus_is_what_the_signer_writes() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["a/*"], false);
    repository.add_artifact("a", "a/b.bin", b"");
    repository.publish_root();
    let first = repository.files["timestamp.json"].clone();
    repository.publish_all();
    let walk = ["1.root.json", "2.root.json", "none", "timestamp.json"];
    let then = ["2.snapshot.json", "2.targets.json", "1.a.json"];
    let again = ["none", "timestamp.json"];
    check(
        "session/delegation",
        &session(&repository, &[&walk[..], &then].concat()),
    );
    check(
        "session/two-refreshes",
        &session(&repository, &[&walk[..], &then, &again].concat()),
    );
    repository.files.insert("old".into(), first);
    let back = ["none", "old"];
    check(
        "session/rollback",
        &session(&repository, &[&walk[..], &then, &back].concat()),
    );

    let mut device = Device::new(&repository);
    device.find(&repository, &["a/b.bin"]).unwrap().unwrap();
    assert_eq!(device.state.documents().count(), 5);
    check("stored_state/whole", &device.state.to_bytes());
    assert_eq!(repository.signed["a"]["version"], json!(1));
}
