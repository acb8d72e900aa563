//! Artifacts: what is fetched, what is believed, and what is left in the target directory.

use ring::digest::{Algorithm, SHA256, SHA512, digest};
use serde_json::json;

use crate::stage::{Stage, artifact};

rendered! {
    test_client_downloads_expected_file,
    test_client_downloads_expected_file_in_sub_dir,
    test_repository_substitutes_target_file,
    test_multiple_changes_to_target,
    test_download_with_hash_algorithms in HASHES,
    test_download_with_unknown_hash_algorithm,
    test_artifact_cache,
}

const PATH: &str = "file.bin";
const CONTENT: &[u8] = b"what is in the file";

fn test_client_downloads_expected_file(stage: &mut Stage) {
    stage.init();
    stage.add_artifact("targets", PATH, CONTENT);
    stage.repository.publish_all();
    stage.refreshes();
    stage.holds_artifacts(&[]);
    stage.downloads(PATH);
    stage.holds_artifacts(&[CONTENT]);
}

fn test_client_downloads_expected_file_in_sub_dir(stage: &mut Stage) {
    stage.init();
    stage.add_artifact("targets", "some/where/file.bin", CONTENT);
    stage.repository.publish_all();
    stage.downloads("some/where/file.bin");
    stage.holds_artifacts(&[CONTENT]);
    let name = artifact(
        "some/where/file.bin",
        &hex::encode(digest(&SHA256, CONTENT)),
    );
    assert_eq!(stage.requests().last(), Some(&name));
}

fn test_repository_substitutes_target_file(stage: &mut Stage) {
    stage.init();
    stage.add_artifact("targets", PATH, CONTENT);
    stage.add_artifact("targets", "other.bin", b"other");
    stage.repository.publish_all();
    stage.downloads(PATH);
    stage.holds_artifacts(&[CONTENT]);
    for content in stage.contents.values_mut() {
        *content = b"evil".to_vec();
    }
    // Fine if nothing is fetched, as what is held is still right.
    drop(stage.tries_to_download(&[PATH]));
    stage.holds_artifacts(&[CONTENT]);
    stage.fails_to_download(&["other.bin"], "has 4 bytes, 5 are signed");
    stage.holds_artifacts(&[CONTENT]);
}

/// The client sees some of many honest changes, and a dishonest one after each of these.
fn test_multiple_changes_to_target(stage: &mut Stage) {
    stage.init();
    stage.add_artifact("targets", PATH, CONTENT);
    stage.repository.publish_all();
    stage.downloads(PATH);
    stage.holds_artifacts(&[CONTENT]);
    let mut others = Vec::new();
    for round in 0..11 {
        let content = format!("content of round {round}").into_bytes();
        let other = format!("another one of round {round}").into_bytes();
        let other_path = format!("other-{round}");
        stage.add_artifact("targets", PATH, &content);
        stage.add_artifact("targets", &other_path, &other);
        stage.repository.publish_all();
        if round % 5 != 0 {
            continue;
        }
        let held = |content, others: &[Vec<u8>]| -> Vec<Vec<u8>> { [&[content], others].concat() };
        let check = |stage: &Stage, held: Vec<Vec<u8>>| {
            let held: Vec<&[u8]> = held.iter().map(Vec::as_slice).collect();
            stage.holds_artifacts(&held);
        };
        stage.downloads(PATH);
        check(stage, held(content.clone(), &others));
        stage.downloads(&other_path);
        others.push(other);
        check(stage, held(content.clone(), &others));
        stage.contents.insert(PATH.into(), b"evil".to_vec());
        stage.repository.publish_all();
        // Fine if nothing is fetched, as above.
        drop(stage.tries_to_download(&[PATH]));
        check(stage, held(content, &others));
    }
}

type Hash = (&'static str, &'static Algorithm);

/// The suite has numbers for names here.
static HASHES: &[(&str, &[Hash])] = &[
    ("hashes0", &[("sha256", &SHA256)]),
    ("hashes1", &[("sha512", &SHA512)]),
    ("hashes2", &[("sha256", &SHA256), ("sha512", &SHA512)]),
];

fn test_download_with_hash_algorithms(stage: &mut Stage, &(_, hashes): &(&str, &[Hash])) {
    stage.add_artifact("targets", PATH, CONTENT);
    let listed = &mut stage.repository.role("targets")["targets"][PATH]["hashes"];
    *listed = json!({});
    let mut names = Vec::new();
    for (name, algorithm) in hashes {
        let digest = hex::encode(digest(algorithm, CONTENT));
        names.push(artifact(PATH, &digest));
        listed[name] = json!(digest);
    }
    stage.repository.publish_all();
    stage.init();
    stage.downloads(PATH);
    stage.holds_artifacts(&[CONTENT]);
    // Any of the digests will do as a name, once.
    let artifacts = artifact_requests(stage);
    assert_eq!(artifacts.len(), 1);
    assert!(names.contains(&artifacts[0]), "{artifacts:?}");
}

/// It is served, under that digest; but nothing can be said about what it is.
fn test_download_with_unknown_hash_algorithm(stage: &mut Stage) {
    stage.add_artifact("targets", PATH, CONTENT);
    let digest = hex::encode(digest(&SHA512, CONTENT));
    stage.repository.role("targets")["targets"][PATH]["hashes"] = json!({"unknown": digest});
    stage.repository.publish_all();
    stage.init();
    stage.fails_to_download(&[PATH], "none of the hashes known here");
    stage.holds_artifacts(&[]);
}

fn test_artifact_cache(stage: &mut Stage) {
    stage.init();
    stage.add_artifact("targets", PATH, CONTENT);
    stage.repository.publish_all();
    stage.downloads(PATH);
    assert_eq!(artifact_requests(stage).len(), 1);
    stage.downloads(PATH);
    assert_eq!(artifact_requests(stage).len(), 0);
}

fn artifact_requests(stage: &Stage) -> Vec<String> {
    let mut requests = stage.requests();
    requests.retain(|name| name.starts_with("targets/"));
    requests
}
