//! What metadata says about other metadata, and fields that no specification knows.

use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_basic_metadata_hash_support,
    test_targets_hash_mismatch,
    test_snapshot_hash_mismatch,
    test_metadata_bytes_match,
    test_custom_fields,
    test_deprecated_keyid_hash_algorithms,
}

/// Nobody's digest.
const WRONG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn test_basic_metadata_hash_support(stage: &mut Stage) {
    stage.repository.with_hashes = true;
    stage.repository.publish_all();
    stage.init();
    stage.refreshes();
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 2),
        ("targets", 2),
        ("timestamp", 2),
    ]);
}

fn test_targets_hash_mismatch(stage: &mut Stage) {
    stage.repository.with_hashes = true;
    stage.repository.publish_all();
    stage.init();
    stage.refreshes();
    let repository = &mut stage.repository;
    repository.publish("targets");
    let meta = json!({"version": 3, "hashes": {"sha256": WRONG}});
    repository.role("snapshot")["meta"]["targets.json"] = meta;
    repository.publish("snapshot");
    repository.publish_timestamp();
    stage.fails_to_refresh("3.targets.json: its sha256");
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 3),
        ("targets", 2),
        ("timestamp", 3),
    ]);
}

fn test_snapshot_hash_mismatch(stage: &mut Stage) {
    stage.repository.with_hashes = true;
    stage.repository.publish_all();
    stage.init();
    stage.refreshes();
    let repository = &mut stage.repository;
    repository.publish_snapshot();
    let meta = json!({"version": 3, "hashes": {"sha256": WRONG}});
    repository.role("timestamp")["meta"]["snapshot.json"] = meta;
    repository.publish("timestamp");
    stage.fails_to_refresh("3.snapshot.json: its sha256");
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 2),
        ("targets", 2),
        ("timestamp", 3),
    ]);
}

/// The same JSON, but not the same bytes as anybody would write.
fn test_metadata_bytes_match(stage: &mut Stage) {
    stage.init();
    let unusual = [stage.newest("timestamp"), b" "].concat();
    stage.repository.serve("timestamp", 1, unusual.clone());
    stage.refreshes();
    assert_eq!(stage.held("timestamp").unwrap(), unusual);
}

fn test_custom_fields(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    let key = listed(50, "extra-field", json!({"a": 1, "b": 2}));
    let repository = &mut stage.repository;
    repository.set_keys("root", 1, vec![Key::ed25519(1), key.1]);
    let root = repository.role("root");
    root["keys"][&key.0]["extra-field"] = json!({"a": 1, "b": 2});
    root["roles"]["root"]["another-field"] = json!("value");
    root["custom-field"] = json!("value");
    repository.publish_root();
    stage.refreshes();
    assert_eq!(stage.version("root"), Some(2));
}

/// A field of old that is not in the specification: what it says, however wrong, has no effect.
fn test_deprecated_keyid_hash_algorithms(stage: &mut Stage) {
    stage.init();
    let (id, key) = listed(50, "keyid_hash_algorithms", json!("md5"));
    let repository = &mut stage.repository;
    repository.set_keys("snapshot", 1, vec![key]);
    let root = repository.role("root");
    root["keys"][id]["keyid_hash_algorithms"] = json!("md5");
    repository.publish_root();
    repository.publish_snapshot();
    repository.publish_timestamp();
    stage.refreshes();
    stage.trusts(&[
        ("root", 2),
        ("snapshot", 2),
        ("targets", 1),
        ("timestamp", 2),
    ]);
}

/// A key whose id is the digest of its canonical form, with this field.
fn listed(seed: u8, field: &str, value: serde_json::Value) -> (String, Key) {
    let key = Key::ed25519(seed);
    let mut json = key.json();
    json[field] = value;
    let id = hex::encode(digest(&SHA256, json.to_string().as_bytes()));
    (id.clone(), key.listed_as(&id))
}
