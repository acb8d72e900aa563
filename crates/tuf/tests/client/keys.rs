//! Signatures: kinds of keys, counting, and what is passed over.

use serde_json::{Value, json};
use switchback_tuf::{ErrorKind, Freshness};

use crate::device::Device;
use crate::repository::{Repository, envelope};
use crate::signer::Key;

/// Signs `role` again with `signers` and serves it as version 2; everything else is published
/// before. Gives what the device says.
fn served_with(repository: &mut Repository, role: &str, edit: impl Fn(&mut Value)) {
    repository.publish_all();
    let version = repository.signed[role]["version"].as_u64().unwrap();
    let mut document: Value = serde_json::from_slice(&repository.sign(role)).unwrap();
    edit(&mut document);
    let bytes = serde_json::to_vec(&document).unwrap();
    repository.serve(role, version, bytes);
}

#[test]
fn every_kind_of_key_signs_every_role() {
    type MakeKey = fn() -> Key;
    let kinds: [(&str, MakeKey); 4] = [
        ("ed25519", || Key::ed25519(50)),
        ("ecdsa", || Key::ecdsa("ec", "ecdsa")),
        ("ecdsa-sha2-nistp256", || {
            Key::ecdsa("ec", "ecdsa-sha2-nistp256")
        }),
        ("rsa", Key::rsa),
    ];
    for (kind, make) in kinds {
        let mut repository = Repository::new();
        let mut device = Device::new(&repository);
        let key = make();
        let id = key.id.clone();
        repository.set_keys("root", 2, vec![Key::ed25519(1), key]);
        repository.publish_root();
        assert_eq!(
            device.refresh(&repository).unwrap(),
            Freshness::Fresh,
            "{kind}"
        );
        assert_eq!(device.trusted()[0], 2, "{kind}");

        // A plausible signature of that kind, over something else.
        repository.publish_root();
        let bytes = &repository.files["3.root.json"];
        let mut document: Value = serde_json::from_slice(bytes).unwrap();
        let other = repository.signers["root"][1].sign(b"something else");
        for signature in document["signatures"].as_array_mut().unwrap() {
            if signature["keyid"] == json!(id) {
                signature["sig"] = json!(hex::encode(&other));
            }
        }
        repository.serve("root", 3, serde_json::to_vec(&document).unwrap());
        let message = device.refused(&repository, ErrorKind::Untrusted);
        assert_eq!(
            message,
            "3.root.json: 1 valid signatures of role root, 2 are needed"
        );
        assert_eq!(device.trusted()[0], 2, "{kind}");
    }
}

#[test]
fn unsigned_metadata_is_refused_and_earlier_roles_are_kept() {
    for (role, trusted) in [
        ("root", [1, 0, 0, 0]),
        ("timestamp", [2, 0, 0, 0]),
        ("snapshot", [2, 2, 0, 0]),
        ("targets", [2, 2, 2, 0]),
    ] {
        let mut repository = Repository::new();
        let mut device = Device::new(&repository);
        repository.publish_root();
        let unsign = |document: &mut Value| document["signatures"] = json!([]);
        served_with(&mut repository, role, unsign);
        device.refused(&repository, ErrorKind::Untrusted);
        assert_eq!(device.trusted(), trusted, "{role}");
    }
}

#[test]
fn a_threshold_needs_distinct_keys() {
    let keys = || vec![Key::ed25519(50), Key::ed25519(51), Key::ed25519(52)];
    for (signers, trusted) in [(3, true), (2, false), (0, false)] {
        let mut repository = Repository::new();
        let mut device = Device::new(&repository);
        repository.set_keys("snapshot", 3, keys());
        repository.publish_root();
        let signing = keys().into_iter().take(signers).collect();
        repository.signers.insert("snapshot".into(), signing);
        repository.publish_all();
        assert_eq!(device.refresh(&repository).is_ok(), trusted, "{signers}");
        assert_eq!(device.trusted()[2] == 2, trusted);
    }
}

#[test]
fn two_signatures_by_one_key_make_the_file_invalid() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    served_with(&mut repository, "snapshot", |document| {
        let signatures = document["signatures"].as_array_mut().unwrap();
        signatures.push(signatures[0].clone());
    });
    let message = device.refused(&repository, ErrorKind::Invalid);
    assert!(
        message.contains("two signatures by the key ed3"),
        "{message}"
    );
    assert_eq!(device.trusted(), [1, 2, 1, 1]);
}

#[test]
fn a_file_stuffed_with_signatures_is_refused() {
    for (extra, refused) in [(255, false), (256, true)] {
        let mut repository = Repository::new();
        let mut device = Device::refreshed(&repository);
        served_with(&mut repository, "snapshot", |document| {
            let signatures = document["signatures"].as_array_mut().unwrap();
            signatures.extend((0..extra).map(|id| json!({"keyid": id.to_string(), "sig": ""})));
        });
        assert_eq!(device.refresh(&repository).is_err(), refused, "{extra}");
    }
}

#[test]
fn a_key_listed_twice_for_a_role_makes_the_root_invalid() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.role("root")["roles"]["snapshot"] =
        json!({"keyids": ["ed3", "ed3", "ed3"], "threshold": 2});
    repository.publish_root();
    device.refused(&repository, ErrorKind::Invalid);
    assert_eq!(device.trusted(), [1, 1, 1, 1]);
}

#[test]
fn one_key_under_two_ids_is_one_signer() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    let twins = vec![Key::ed25519(50), Key::ed25519(50).listed_as("twin")];
    repository.set_keys("snapshot", 2, twins);
    repository.publish_root();
    repository.publish_all();
    let message = device.refused(&repository, ErrorKind::Untrusted);
    assert!(
        message.ends_with("1 valid signatures of role snapshot, 2 are needed"),
        "{message}"
    );
}

#[test]
fn a_threshold_of_zero_is_refused() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.role("root")["roles"]["snapshot"]["threshold"] = json!(0);
    repository.publish_root();
    device.refused(&repository, ErrorKind::Invalid);
}

#[test]
fn a_threshold_out_of_reach_spoils_the_role_but_not_the_root() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.set_keys("snapshot", 6, (50..55).map(Key::ed25519).collect());
    repository.publish_root();
    repository.publish_all();
    device.refused(&repository, ErrorKind::Untrusted);
    assert_eq!(device.trusted()[0], 2);
}

#[test]
fn bad_signatures_beside_enough_good_ones_are_passed_over() {
    for bad in ["", "00", "not hexadecimal", "ff00ff"] {
        let mut repository = Repository::new();
        repository.set_keys("timestamp", 1, vec![Key::ed25519(50), Key::ed25519(51)]);
        repository.publish_root();
        let mut device = Device::new(&repository);
        served_with(&mut repository, "timestamp", |document| {
            document["signatures"][0]["sig"] = json!(bad);
        });
        assert_eq!(
            device.refresh(&repository).unwrap(),
            Freshness::Fresh,
            "{bad:?}"
        );
    }
}

#[test]
fn a_role_may_have_keys_of_unknown_kinds_beside_known_ones() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    let root = repository.role("root");
    root["keys"]["future"] = json!({"keytype": "sphincs+", "scheme": "x", "keyval": {"p": [1]}});
    root["keys"]["ed4"]["keyid_hash_algorithms"] = json!(["md5"]);
    root["keys"]["ed4"]["x-note"] = json!({"deep": [null]});
    root["roles"]["timestamp"]["keyids"] = json!(["future", "ed4", "listed nowhere"]);
    root["roles"]["timestamp"]["x-note"] = json!(1);
    root["x-note"] = json!("unknown fields are signed too");
    repository.publish_root();
    repository.publish_all();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [2, 2, 2, 2]);
}

#[test]
fn metadata_of_another_role_is_refused_though_the_key_fits() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    let timestamp_key = Key::ed25519(4);
    let snapshot = repository.signed["snapshot"].clone();
    repository.serve("timestamp", 2, envelope(&snapshot, &[&timestamp_key]));
    let message = device.refused(&repository, ErrorKind::Invalid);
    assert!(
        message.contains("type \"snapshot\", expected \"timestamp\""),
        "{message}"
    );
}

#[test]
fn targets_signed_by_a_removed_key_are_fetched_again() {
    // Same version in the snapshot, but the stored file has no valid signature any more.
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.set_keys("targets", 1, vec![Key::ed25519(50)]);
    repository.publish_root();
    device.refused(&repository, ErrorKind::Untrusted);
    assert_eq!(device.requests.last().unwrap(), "1.targets.json");
    let bytes = repository.sign("targets");
    repository.serve("targets", 1, bytes);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
}
