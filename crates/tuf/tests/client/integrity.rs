//! Lengths, hashes, limits, and documents that say two things at once.

use std::error::Error as _;

use serde_json::json;
use switchback_tuf::{ErrorKind, Freshness, TufError};

use crate::device::Device;
use crate::repository::Repository;

#[test]
fn a_wrong_signed_hash_or_length_is_refused() {
    let wrong_hash = json!({"sha256": "00".repeat(32)});
    let half_wrong = json!({"sha512": "00".repeat(64)});
    let unknown_only = json!({"md5": "00"});
    for (role, parent, trusted) in [
        ("snapshot", "timestamp", [1, 3, 2, 2]),
        ("targets", "snapshot", [1, 3, 3, 2]),
    ] {
        for (field, value, says) in [
            ("hashes", &wrong_hash, "sha256"),
            ("hashes", &half_wrong, "sha512"),
            ("hashes", &unknown_only, "none of the hashes"),
            ("length", &json!(1_000_000), "1000000 are signed"),
        ] {
            let mut repository = Repository::new();
            repository.with_hashes = true;
            repository.publish_all();
            let mut device = Device::refreshed(&repository);
            repository.publish_all();
            repository.role(parent)["meta"][format!("{role}.json")][field] = value.clone();
            repository.role(parent)["version"] = json!(2);
            repository.publish(parent);
            if parent == "snapshot" {
                repository.role("timestamp")["version"] = json!(2);
                repository.publish_timestamp();
            }
            let message = device.refused(&repository, ErrorKind::Invalid);
            assert!(message.contains(says), "{message}");
            assert_eq!(device.trusted(), trusted, "{role} {field}");
        }
    }
}

#[test]
fn endless_data_is_refused() {
    for (role, limit) in [
        ("2.root", 512 * 1024),
        ("timestamp", 16 * 1024),
        ("2.snapshot", 2 * 1024 * 1024),
        ("2.targets", 5 * 1024 * 1024),
    ] {
        let mut repository = Repository::new();
        let mut device = Device::refreshed(&repository);
        repository.publish_root();
        repository.publish_all();
        let file = repository.files.get_mut(&format!("{role}.json")).unwrap();
        // Trailing white space is valid JSON: only the limit can refuse it.
        file.resize(limit, b' ');
        let full = repository.files.clone();
        repository
            .files
            .get_mut(&format!("{role}.json"))
            .unwrap()
            .push(b' ');
        let message = device.refused(&repository, ErrorKind::Limit);
        assert!(
            message.contains(&format!("at most {limit} are accepted")),
            "{message}"
        );
        repository.files = full;
        assert_eq!(
            device.refresh(&repository).unwrap(),
            Freshness::Fresh,
            "{role}"
        );
    }
}

#[test]
fn bytes_beyond_the_signed_length_are_refused_unparsed() {
    let mut repository = Repository::new();
    repository.with_hashes = true;
    repository.publish_all();
    repository
        .files
        .get_mut("2.targets.json")
        .unwrap()
        .push(b' ');
    Device::new(&repository).refused(&repository, ErrorKind::Limit);
}

#[test]
fn a_key_given_twice_in_an_object_is_refused() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.publish_all();
    let text = String::from_utf8(repository.files["timestamp.json"].clone()).unwrap();
    let doubled = text.replacen("\"version\"", "\"version\": 1, \"version\"", 1);
    assert_ne!(text, doubled);
    repository
        .files
        .insert("timestamp.json".into(), doubled.into_bytes());
    let error = device.refresh(&repository).unwrap_err();
    assert!(matches!(&error, TufError::Json { file, .. } if file == "timestamp.json"));
    let source = error.source().unwrap().to_string();
    assert!(source.contains("given twice"), "{source}");
    assert!(
        !error.to_string().contains(&source),
        "a source is not repeated"
    );
}

#[test]
fn documents_of_the_wrong_shape_are_refused_by_name() {
    for (edit, says) in [
        (json!({"version": 0}), "nonzero"),
        (json!({"version": 2.0}), "only whole"),
        (json!({"version": -1}), "integer `-1`"),
        (json!({"version": "2"}), "string \"2\""),
        (json!({"expires": "tomorrow"}), "not a time"),
        (
            json!({"spec_version": "2.0.0"}),
            "specification version \"2.0.0\"",
        ),
        (json!({"meta": {}}), "snapshot.json"),
        (
            json!({"meta": {"snapshot.json": {"version": 1, "hashes": {"sha256": "xy"}}}}),
            "sha256",
        ),
        (json!({"x": 0.5}), "only whole"),
    ] {
        let mut repository = Repository::new();
        let mut device = Device::refreshed(&repository);
        let timestamp = repository.role("timestamp");
        timestamp["version"] = json!(2);
        for (key, value) in edit.as_object().unwrap() {
            timestamp[key] = value.clone();
        }
        let bytes = repository.sign("timestamp");
        repository.serve("timestamp", 2, bytes);
        let error = device.refresh(&repository).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("timestamp.json: "), "{error}");
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(
            format!("{error}: {source}").contains(says),
            "{edit}: {error}: {source}"
        );
    }
}

#[test]
fn an_older_minor_version_of_the_specification_is_accepted() {
    let mut repository = Repository::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        repository.role(role)["spec_version"] = json!("1.0");
    }
    repository.publish_root();
    repository.publish_all();
    assert_eq!(
        Device::new(&repository).refresh(&repository).unwrap(),
        Freshness::Fresh
    );
}

#[test]
fn an_artifact_must_have_the_signed_content() {
    let mut repository = Repository::new();
    repository.add_artifact("targets", "releases/gw/1.0/release.json", b"signed");
    repository.publish_all();
    let path = "releases/gw/1.0/release.json";
    let target = Device::new(&repository)
        .find(&repository, &[path])
        .unwrap()
        .unwrap();
    assert_eq!(target.length(), 6);
    let hash = target.sha256().unwrap();
    assert_eq!(
        target.url_path().unwrap(),
        format!("releases/gw/1.0/{hash}.release.json")
    );

    let verified = target.verify(b"signed".to_vec()).unwrap();
    assert_eq!(
        (verified.path().as_str(), verified.bytes()),
        (path, &b"signed"[..])
    );
    for (bytes, says) in [
        (&b"sIgned"[..], "its sha256 is"),
        (b"signe", "has 5 bytes, 6 are signed"),
        (b"signed!", "has 7 bytes, 6 are signed"),
        (b"", "has 0 bytes"),
    ] {
        let error = target.verify(bytes.to_vec()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn artifacts_are_named_and_checked_by_any_known_hash() {
    let content = b"artifact";
    let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, content));
    let sha512 = hex::encode(ring::digest::digest(&ring::digest::SHA512, content));
    for (hashes, prefix) in [
        (json!({"sha256": sha256}), Some(&sha256)),
        (json!({"sha512": sha512}), Some(&sha512)),
        (
            json!({"sha256": sha256, "sha512": sha512, "md5": "x"}),
            Some(&sha256),
        ),
        (json!({"sha256": sha256, "sha512": "00".repeat(64)}), None),
        (json!({"bogus": "00"}), None),
    ] {
        let mut repository = Repository::new();
        repository.role("targets")["targets"]["a.bin"] =
            json!({"length": 8, "hashes": hashes, "custom": {"note": 1}});
        repository.publish_all();
        let target = Device::new(&repository)
            .find(&repository, &["a.bin"])
            .unwrap()
            .unwrap();
        assert_eq!(target.custom(), Some(&json!({"note": 1})));
        let verified = target.verify(content.to_vec());
        assert_eq!(verified.is_ok(), prefix.is_some(), "{hashes}");
        if let Some(prefix) = prefix {
            assert_eq!(target.url_path().unwrap(), format!("{prefix}.a.bin"));
        }
    }
}
