//! Signatures: thresholds, what counts twice and what does not, and kinds of keys.

use serde_json::{Value, json};

use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_snapshot_does_not_meet_threshold,
    test_snapshot_has_too_few_keys,
    test_duplicate_keys,
    test_duplicate_sig_keyids,
    test_keytype_and_scheme in KINDS,
    test_invalid_sig_in_valid_metadata,
}

fn test_snapshot_does_not_meet_threshold(stage: &mut Stage) {
    let keys = vec![Key::ed25519(50), Key::ed25519(51), Key::ed25519(52)];
    stage.repository.set_keys("snapshot", 3, keys);
    stage.repository.publish_root();
    stage.repository.publish_all();
    stage.init();
    stage.refreshes();
    stage.repository.signers.get_mut("snapshot").unwrap().pop();
    stage.repository.publish_all();
    stage.fails_to_refresh("2 valid signatures of role snapshot, 3 are needed");
    stage.trusts(&[
        ("root", 2),
        ("snapshot", 2),
        ("targets", 2),
        ("timestamp", 3),
    ]);
}

/// Nobody can sign such a snapshot, but the root that says so is in order.
fn test_snapshot_has_too_few_keys(stage: &mut Stage) {
    stage.init();
    let keys = (50..55).map(Key::ed25519).collect();
    stage.repository.set_keys("snapshot", 6, keys);
    stage.repository.publish_root();
    stage.repository.publish_snapshot();
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("5 valid signatures of role snapshot, 6 are needed");
    stage.trusts(&[("root", 2), ("timestamp", 2)]);
}

/// One key is listed nine times for the role, and signs nine times; six are needed. Whether the root or
/// the snapshot is refused for it is free.
fn test_duplicate_keys(stage: &mut Stage) {
    stage.init();
    let repository = &mut stage.repository;
    repository.set_keys("snapshot", 6, vec![Key::ed25519(3), Key::ed25519(50)]);
    let ids = &mut repository.role("root")["roles"]["snapshot"]["keyids"];
    ids.as_array_mut().unwrap().extend(vec![json!("ed50"); 8]);
    repository.publish_root();
    repository.publish_snapshot();
    repository.publish_timestamp();
    stage.edit("snapshot", |document| {
        let again = signature(document, "ed50").clone();
        let signatures = document["signatures"].as_array_mut().unwrap();
        signatures.extend(vec![again; 8]);
    });
    stage.fails_to_refresh("names the key ed50 twice");
    assert_eq!(stage.version("snapshot"), None);
}

/// Refused though there are enough without it.
fn test_duplicate_sig_keyids(stage: &mut Stage) {
    stage.init();
    stage.edit("snapshot", |document| {
        let again = document["signatures"][0].clone();
        document["signatures"].as_array_mut().unwrap().push(again);
    });
    stage.fails_to_refresh("two signatures by the key ed3");
    stage.trusts(&[("root", 1), ("timestamp", 1)]);
}

type MakeKey = fn() -> Key;

const KINDS: &[(&str, MakeKey)] = &[
    ("rsa/rsassa-pss-sha256", Key::rsa),
    ("ecdsa/ecdsa-sha2-nistp256", || Key::ecdsa("ec", "ecdsa")),
    ("ed25519/ed25519", || Key::ed25519(50)),
];

fn test_keytype_and_scheme(stage: &mut Stage, &(_, make): &(&str, MakeKey)) {
    stage.init();
    let key = make();
    let id = key.id.clone();
    let repository = &mut stage.repository;
    repository.set_keys("root", 2, vec![Key::ed25519(1), key]);
    repository.publish_root();
    stage.refreshes();
    assert_eq!(stage.version("root"), Some(2));

    // Plausible, but over something else.
    stage.repository.publish_root();
    let other = stage.repository.signers["root"][1].sign(b"something else");
    stage.edit("root", |document| {
        signature(document, &id)["sig"] = json!(hex::encode(other));
    });
    stage.fails_to_refresh("1 valid signatures of role root, 2 are needed");
    assert_eq!(stage.version("root"), Some(2));
}

/// One of two signatures is enough, whatever the other is.
fn test_invalid_sig_in_valid_metadata(stage: &mut Stage) {
    stage.init();
    let mut first: Value = serde_json::from_slice(stage.newest("timestamp")).unwrap();
    let of_version_1 = signature(&mut first, "ed4")["sig"].clone();
    let repository = &mut stage.repository;
    repository.set_keys("timestamp", 1, vec![Key::ed25519(4), Key::ed25519(50)]);
    repository.publish_root();
    for (version, wrong) in [(2, of_version_1), (3, json!(""))] {
        stage.repository.publish_timestamp();
        stage.edit("timestamp", |document| {
            signature(document, "ed4")["sig"] = wrong;
        });
        stage.refreshes();
        assert_eq!(stage.version("timestamp"), Some(version));
    }
}

fn signature<'a>(document: &'a mut Value, id: &str) -> &'a mut Value {
    let mut signatures = document["signatures"].as_array_mut().unwrap().iter_mut();
    signatures
        .find(|signature| signature["keyid"] == json!(id))
        .unwrap()
}
