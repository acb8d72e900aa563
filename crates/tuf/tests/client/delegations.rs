//! The search through delegations: who is asked, in which order, and who is believed.

use serde_json::json;
use switchback_tuf::ErrorKind;

use crate::device::Device;
use crate::repository::Repository;
use crate::signer::Key;

/// Delegator, role, pattern, terminating.
type Delegation = (&'static str, &'static str, &'static str, bool);

/// The graphs of the public conformance suite, and the roles asked for, in order, when a path
/// that nobody describes is searched.
const GRAPHS: &[(&str, &[Delegation], &[&str])] = &[
    ("basic", &[("targets", "A", "*", false)], &["A"]),
    (
        "single level",
        &[("targets", "A", "*", false), ("targets", "B", "*", false)],
        &["A", "B"],
    ),
    (
        "two levels",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
        ],
        &["A", "B", "C"],
    ),
    (
        "depth before breadth",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", false),
            ("A", "D", "*", false),
        ],
        &["A", "C", "D", "B"],
    ),
    (
        "three levels",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", false),
            ("C", "D", "*", false),
        ],
        &["A", "C", "D", "B"],
    ),
    (
        "terminating on the second level",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", true),
            ("A", "D", "*", false),
        ],
        &["A", "C"],
    ),
    (
        "terminating with more below",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", true),
            ("C", "D", "*", false),
        ],
        &["A", "C", "D"],
    ),
    (
        "terminating after others",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", true),
            ("targets", "C", "*", false),
        ],
        &["A", "B"],
    ),
    (
        "terminating but not covering",
        &[("targets", "A", "*.py", true), ("targets", "B", "*", false)],
        &["B"],
    ),
    (
        "branches that do not match",
        &[
            ("targets", "A", "*.py", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", false),
        ],
        &["B"],
    ),
    (
        "cycle",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
            ("C", "D", "*", false),
            ("D", "B", "*", false),
        ],
        &["A", "B", "C", "D"],
    ),
    (
        "self",
        &[("targets", "A", "*", false), ("A", "A", "*", false)],
        &["A"],
    ),
    (
        "two roles delegate to a third",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
            ("A", "C", "*", false),
        ],
        &["A", "C", "B"],
    ),
    (
        "two roles delegate different paths to a third",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
            ("A", "C", "*.py", false),
        ],
        &["A", "B", "C"],
    ),
];

fn graph(delegations: &[Delegation]) -> Repository {
    let mut repository = Repository::unpublished();
    for (delegator, role, pattern, terminating) in delegations {
        repository.delegate(delegator, role, &[pattern], *terminating);
    }
    repository
}

fn published(mut repository: Repository) -> Repository {
    repository.publish_root();
    repository.publish_all();
    repository
}

fn asked_for(device: &Device) -> Vec<String> {
    device.requests[4..].to_vec()
}

fn files(roles: &[&str]) -> Vec<String> {
    roles.iter().map(|role| format!("1.{role}.json")).collect()
}

#[test]
fn roles_are_visited_depth_first_and_once() {
    for (name, delegations, roles) in GRAPHS {
        let repository = published(graph(delegations));
        let mut device = Device::new(&repository);
        assert_eq!(
            device.find(&repository, &["missingpath"]).unwrap(),
            None,
            "{name}"
        );
        assert_eq!(asked_for(&device), files(roles), "{name}");
        // All of them are cached: nothing is asked for twice.
        device.find(&repository, &["missingpath"]).unwrap();
        assert_eq!(device.requests, ["2.root.json", "timestamp.json"], "{name}");
    }
}

#[test]
fn an_artifact_is_found_only_where_its_path_is_delegated() {
    for (path, holder, roles, found) in [
        ("targetfile", "targets", &[][..], true),
        ("README.md", "A", &["A"], true),
        ("releases/x/x_v1", "C", &["B", "C"], true),
        ("releases/y/y_v1.zip", "D", &["B", "D"], true),
        ("releases/z/z_v1.zip", "D", &["B"], false),
        ("releases/README.md", "A", &[], false),
        ("foo-1.tgz", "A", &["A"], true),
        ("foo-alpha.tgz", "A", &[], false),
        ("README.MD", "A", &[], false),
    ] {
        let mut repository = Repository::unpublished();
        repository.delegate("targets", "A", &["*.doc", "*.md", "foo-?.tgz"], false);
        repository.delegate("targets", "B", &["releases/*/*"], false);
        repository.delegate("B", "C", &["releases/x/*"], false);
        repository.delegate("B", "D", &["releases/y/*.zip"], false);
        repository.add_artifact(holder, path, b"content");
        let repository = published(repository);
        let mut device = Device::new(&repository);
        let target = device.find(&repository, &[path]).unwrap();
        assert_eq!(target.is_some(), found, "{path}");
        assert_eq!(asked_for(&device), files(roles), "{path}");
        if let Some(target) = target {
            assert_eq!(target.role().as_str(), holder);
            target.verify(b"content".to_vec()).unwrap();
        }
    }
}

#[test]
fn path_hash_prefixes_delegate_bins() {
    let hash = ring::digest::digest(&ring::digest::SHA256, b"a/b.bin");
    let hash = hex::encode(hash);
    for (prefixes, roles) in [
        (json!([hash[..2]]), &["bin"][..]),
        (json!([hash]), &["bin"]),
        (json!(["", "zz"]), &["bin"]),
        (json!([hash[1..3]]), &[]),
        (json!([]), &[]),
    ] {
        let mut repository = Repository::unpublished();
        let covers = json!({"path_hash_prefixes": prefixes});
        repository.delegate_by("targets", "bin", covers, false);
        repository.add_artifact("bin", "a/b.bin", b"b");
        let repository = published(repository);
        let mut device = Device::new(&repository);
        let target = device.find(&repository, &["a/b.bin"]).unwrap();
        assert_eq!(target.is_some(), !roles.is_empty(), "{prefixes}");
        assert_eq!(asked_for(&device), files(roles), "{prefixes}");
    }
}

#[test]
fn a_delegation_covers_by_patterns_or_by_prefixes_and_never_both() {
    for covers in [
        json!({}),
        json!({"paths": ["*"], "path_hash_prefixes": ["a"]}),
    ] {
        let mut repository = Repository::unpublished();
        repository.delegate_by("targets", "a", covers, false);
        let repository = published(repository);
        Device::new(&repository).refused(&repository, ErrorKind::Invalid);
    }
}

#[test]
fn nobody_delegates_to_a_top_level_role() {
    for name in ["root", "timestamp", "snapshot", "targets", ""] {
        let mut repository = Repository::unpublished();
        repository.delegate("targets", "a", &["*"], false);
        repository.role("targets")["delegations"]["roles"][0]["name"] = json!(name);
        let repository = published(repository);
        Device::new(&repository).refused(&repository, ErrorKind::Invalid);
    }
}

#[test]
fn unusual_role_names_stay_one_path_component() {
    for (role, file) in [
        ("?", "1.%3F.json"),
        ("#", "1.%23.json"),
        ("/delegatedrole", "1.%2Fdelegatedrole.json"),
        ("../delegatedrole", "1...%2Fdelegatedrole.json"),
    ] {
        let mut repository = Repository::unpublished();
        repository.delegate("targets", role, &["*"], false);
        let mut repository = published(repository);
        let bytes = repository.files.remove(&format!("1.{role}.json")).unwrap();
        repository.files.insert(file.into(), bytes);
        let mut device = Device::new(&repository);
        assert_eq!(device.find(&repository, &["x"]).unwrap(), None);
        assert_eq!(asked_for(&device), [file]);
    }
}

#[test]
fn a_cached_role_is_verified_for_each_delegator() {
    // Both parents delegate to one role with different keys; one of them signed it.
    let mut repository = graph(&[
        ("targets", "parent-a", "team-a/*", false),
        ("targets", "parent-b", "team-b/*", false),
        ("parent-a", "release", "team-a/*", false),
        ("parent-b", "release", "team-b/*", false),
    ]);
    repository.add_artifact("release", "team-a/x", b"a");
    repository.add_artifact("release", "team-b/x", b"b");
    let other = Key::ed25519(77);
    let delegations = &mut repository.role("parent-b")["delegations"];
    delegations["keys"] = json!({"other": other.json()});
    delegations["roles"][0]["keyids"] = json!(["other"]);
    let repository = published(repository);

    let mut device = Device::new(&repository);
    assert!(device.find(&repository, &["team-a/x"]).unwrap().is_some());
    let error = device
        .find(&repository, &["team-a/x", "team-b/x"])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
}

#[test]
fn a_role_that_the_snapshot_does_not_list_is_not_asked_for() {
    let mut repository = published(graph(&[("targets", "a", "*", false)]));
    repository.role("snapshot")["meta"]
        .as_object_mut()
        .unwrap()
        .remove("a.json");
    repository.role("snapshot")["version"] = json!(0);
    repository.publish("snapshot");
    let mut device = Device::new(&repository);
    device.refresh(&repository).unwrap();
    let error = device.find(&repository, &["x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert_eq!(device.requests, ["2.root.json", "timestamp.json"]);
}

#[test]
fn delegated_metadata_is_held_to_hash_length_version_and_signatures() {
    let base = || {
        let mut repository = graph(&[("targets", "a", "*", false)]);
        repository.with_hashes = true;
        repository.add_artifact("a", "x", b"x");
        repository
    };
    let fine = published(base());
    assert!(Device::new(&fine).find(&fine, &["x"]).unwrap().is_some());

    let mut longer = published(base());
    longer.files.get_mut("1.a.json").unwrap().push(b' ');
    let mut shorter = published(base());
    shorter.files.get_mut("1.a.json").unwrap().pop();
    let mut flipped = published(base());
    flipped.files.get_mut("1.a.json").unwrap()[10] ^= 1;
    let mut missing = published(base());
    missing.files.remove("1.a.json");
    let mut stranger = base();
    stranger.signers.insert("a".into(), vec![Key::ed25519(99)]);
    let stranger = published(stranger);
    let mut older = base();
    older.with_hashes = false;
    let mut older = published(older);
    let first = older.files["1.a.json"].clone();
    older.publish_all();
    older.files.insert("2.a.json".into(), first);
    for (repository, kind) in [
        (longer, ErrorKind::Limit),
        (shorter, ErrorKind::Invalid),
        (flipped, ErrorKind::Invalid),
        (missing, ErrorKind::Missing),
        (stranger, ErrorKind::Untrusted),
        (older, ErrorKind::Invalid),
    ] {
        let mut device = Device::new(&repository);
        let error = device.find(&repository, &["x"]).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(".a.json: "), "{error}");
        assert_eq!(device.state.documents().count(), 4, "nothing of it is kept");
    }
}

#[test]
fn one_key_signs_once_for_a_delegated_role_too() {
    let mut repository = graph(&[("targets", "a", "*", false)]);
    let delegations = &mut repository.role("targets")["delegations"];
    let key = delegations["roles"][0]["keyids"][0].clone();
    let value = delegations["keys"][key.as_str().unwrap()].clone();
    delegations["keys"]["twin"] = value;
    delegations["roles"][0]["keyids"] = json!([key, "twin"]);
    delegations["roles"][0]["threshold"] = json!(2);
    let seed = 100 + 5;
    let signers = vec![Key::ed25519(seed), Key::ed25519(seed).listed_as("twin")];
    assert_eq!(json!(signers[0].id), key);
    repository.signers.insert("a".into(), signers);
    let repository = published(repository);
    let error = Device::new(&repository)
        .find(&repository, &["x"])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "1.a.json: 1 valid signatures of role a, 2 are needed"
    );
}

#[test]
fn the_search_ends_at_the_limit() {
    let names: Vec<String> = (0..8).map(|number| format!("r{number}")).collect();
    let mut repository = Repository::unpublished();
    for name in &names {
        repository.delegate("targets", name, &["*"], false);
    }
    let repository = published(repository);
    let mut device = Device::new(&repository);
    device.limits.delegations = 8;
    assert_eq!(device.find(&repository, &["x"]).unwrap(), None);
    device.limits.delegations = 7;
    let error = device.find(&repository, &["x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(
        error.to_string(),
        "x: not found in the first 7 delegated roles; search stopped"
    );
}
