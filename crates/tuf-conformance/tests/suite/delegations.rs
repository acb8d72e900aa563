//! Delegated roles: who is asked, in which order, who is believed, and names that look like more.

use serde_json::json;

use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_unusual_role_name in UNUSUAL,
    test_graph_traversal in GRAPHS,
    test_targetfile_search in SEARCHES,
    test_cached_role_is_verified_against_current_delegator,
    test_delegation_not_in_snapshot,
}

/// The search has come to its end.
const NOBODY: &str = "nobody speaks about it";

/// Role names, and how they look in a request.
const UNUSUAL: &[(&str, &str)] = &[
    ("?", "%3F"),
    ("#", "%23"),
    ("/delegatedrole", "%2Fdelegatedrole"),
    ("../delegatedrole", "..%2Fdelegatedrole"),
];

fn test_unusual_role_name(stage: &mut Stage, &(role, quoted): &(&str, &str)) {
    stage.repository.delegate("targets", role, &["*"], false);
    stage.repository.publish_all();
    stage.init();
    stage.fails_to_download(&["nowhere"], NOBODY);
    asked_for_delegated(stage, &[quoted]);
    // A fifth file, and in the same directory as the others.
    assert_eq!(stage.trusted().len(), 5);
    assert_eq!(stage.strays(), [""; 0]);
}

/// Asserts that after the top level the last task asked for these roles' first versions.
fn asked_for_delegated(stage: &Stage, roles: &[&str]) {
    let mut names = vec![
        "2.root.json".to_owned(),
        "timestamp.json".to_owned(),
        "2.snapshot.json".to_owned(),
        "2.targets.json".to_owned(),
    ];
    names.extend(roles.iter().map(|role| format!("1.{role}.json")));
    let mut requests = stage.requests();
    requests.retain(|name| !name.starts_with("targets/"));
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("metadata/{name}"))
        .collect();
    assert_eq!(requests, names);
}

/// Delegator, role, pattern, and whether the search ends there.
type Delegation = (&'static str, &'static str, &'static str, bool);
/// In the order in which they are asked for.
type Asked = &'static [&'static str];

const T_A: Delegation = ("targets", "A", "*", false);
const T_B: Delegation = ("targets", "B", "*", false);
const A_C: Delegation = ("A", "C", "*", false);
const A_C_ENDING: Delegation = ("A", "C", "*", true);
const A_C_PY: Delegation = ("A", "C", "*.py", false);
const A_D: Delegation = ("A", "D", "*", false);
const B_C: Delegation = ("B", "C", "*", false);
const C_D: Delegation = ("C", "D", "*", false);
const D_B: Delegation = ("D", "B", "*", false);

const GRAPHS: &[(&str, &[Delegation], Asked)] = &[
    ("basic-delegation", &[T_A], &["A"]),
    ("single-level-delegations", &[T_A, T_B], &["A", "B"]),
    ("two-level-delegations", &[T_A, T_B, B_C], &["A", "B", "C"]),
    (
        "two-level-test-DFS-order-of-traversal",
        &[T_A, T_B, A_C, A_D],
        &["A", "C", "D", "B"],
    ),
    (
        "three-level-delegation-test-DFS-order-of-traversal",
        &[T_A, T_B, A_C, C_D],
        &["A", "C", "D", "B"],
    ),
    (
        "two-level-terminating-ignores-all-but-roles-descendants",
        &[T_A, T_B, A_C_ENDING, A_D],
        &["A", "C"],
    ),
    (
        "three-level-terminating-ignores-all-but-roles-descendants",
        &[T_A, T_B, A_C_ENDING, C_D],
        &["A", "C", "D"],
    ),
    (
        "two-level-ignores-all-branches-not-matching-paths",
        &[("targets", "A", "*.py", false), T_B, A_C],
        &["B"],
    ),
    (
        "three-level-ignores-all-branches-not-matching-paths",
        &[T_A, T_B, A_C_PY, C_D],
        &["A", "B"],
    ),
    (
        "cyclic-graph",
        &[T_A, T_B, B_C, C_D, D_B],
        &["A", "B", "C", "D"],
    ),
    (
        "two-roles-delegating-to-a-third",
        &[T_A, T_B, B_C, A_C],
        &["A", "C", "B"],
    ),
    (
        "two-roles-delegating-to-a-third-different-paths",
        &[T_A, T_B, B_C, A_C_PY],
        &["A", "B", "C"],
    ),
];

fn test_graph_traversal(
    stage: &mut Stage,
    &(_, delegations, asked): &(&str, &[Delegation], Asked),
) {
    stage.init();
    for &(delegator, role, pattern, terminating) in delegations {
        let repository = &mut stage.repository;
        repository.delegate(delegator, role, &[pattern], terminating);
    }
    stage.repository.publish_all();
    stage.fails_to_download(&["nowhere"], NOBODY);
    asked_for_delegated(stage, asked);
}

/// Who describes which artifact; not everybody may.
const DESCRIBED: &[(&str, &str)] = &[
    ("targets", "targetfile"),
    ("A", "README.md"),
    ("A", "releases/README.md"),
    ("A", "foo-1.tgz"),
    ("A", "foo-alpha.tgz"),
    ("C", "releases/x/x_v1"),
    ("D", "releases/y/y_v1.zip"),
    ("D", "releases/z/z_v1.zip"),
];

/// Name, path, whether it is found, and who is asked on the way.
type Search = (&'static str, &'static str, bool, Asked);

const SEARCHES: &[Search] = &[
    ("no delegations", "targetfile", true, &[]),
    ("targetpath matches wildcard", "README.md", true, &["A"]),
    (
        "targetpath with separators x",
        "releases/x/x_v1",
        true,
        &["B", "C"],
    ),
    (
        "targetpath with separators y",
        "releases/y/y_v1.zip",
        true,
        &["B", "D"],
    ),
    (
        "targetpath is not delegated by all roles in the chain",
        "releases/z/z_v1.zip",
        false,
        &["B"],
    ),
    (
        "wildcard does not match path separator",
        "releases/README.md",
        false,
        &[],
    ),
    (
        "targetpath matches question mark wildcard",
        "foo-1.tgz",
        true,
        &["A"],
    ),
    (
        "targetpath does not match question mark wildcard",
        "foo-alpha.tgz",
        false,
        &[],
    ),
    (
        "targetpath matching is case sensitive",
        "README.MD",
        false,
        &[],
    ),
];

fn test_targetfile_search(stage: &mut Stage, &(_, path, found, asked): &Search) {
    stage.init();
    let repository = &mut stage.repository;
    repository.delegate("targets", "A", &["*.doc", "*.md", "foo-?.tgz"], false);
    repository.delegate("targets", "B", &["releases/*/*"], false);
    repository.delegate("B", "C", &["releases/x/*"], false);
    repository.delegate("B", "D", &["releases/y/*.zip"], false);
    for (role, path) in DESCRIBED {
        stage.add_artifact(role, path, format!("{path} of {role}").as_bytes());
    }
    stage.repository.publish_all();
    if found {
        stage.downloads(path);
        let content = stage.contents[path].clone();
        stage.holds_artifacts(&[&content]);
    } else {
        stage.fails_to_download(&[path], NOBODY);
        stage.holds_artifacts(&[]);
    }
    asked_for_delegated(stage, asked);
}

/// Two roles delegate to one of the same name, each with a key of its own; the first one's key signs. It
/// is not for the second one to believe it, although it was believed a moment ago.
fn test_cached_role_is_verified_against_current_delegator(stage: &mut Stage) {
    stage.init();
    let repository = &mut stage.repository;
    repository.delegate("targets", "parent-a", &["team-a/*"], false);
    repository.delegate("parent-a", "release", &["team-a/*"], false);
    let second = vec![Key::ed25519(50)];
    let first = repository.signers.insert("release".into(), second).unwrap();
    repository.delegate("targets", "parent-b", &["team-b/*"], false);
    repository.delegate("parent-b", "release", &["team-b/*"], false);
    repository.signers.insert("release".into(), first);
    stage.add_artifact("release", "team-a/root.json", b"good");
    stage.add_artifact("release", "team-b/root.json", b"evil");
    stage.repository.publish_all();
    let both = ["team-a/root.json", "team-b/root.json"];
    stage.fails_to_download(&both, "0 valid signatures of role release");
    stage.holds_artifacts(&[b"good"]);
}

fn test_delegation_not_in_snapshot(stage: &mut Stage) {
    stage.init();
    let repository = &mut stage.repository;
    repository.delegate("targets", "delegated", &["delegated/*"], false);
    repository.publish("delegated");
    repository.publish("targets");
    repository.role("snapshot")["meta"] = json!({"targets.json": {"version": 2}});
    repository.publish("snapshot");
    repository.publish_timestamp();
    stage.refreshes();
    stage.fails_to_download(&["delegated/file"], "does not list role delegated");
    stage.asked_for(&["2.root.json", "timestamp.json"]);
    assert_eq!(stage.version("delegated"), None);
}
