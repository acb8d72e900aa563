//! What a case plays with: a repository on its server, and a client with directories of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use switchback_tuf_conformance::Client;
use switchback_types::Timestamp;
use tempfile::TempDir;

use crate::repository::Repository;
use crate::server::Server;

/// When everything expires: the clock of the machine does not come to it.
const FAR: &str = "2999-01-01T00:00:00Z";

/// How the client is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    Library,
    Binary,
}

/// What the client is told to do.
#[derive(Clone, Copy)]
enum Task<'a> {
    Init(&'a [u8]),
    Refresh,
    Download(&'a [&'a str]),
}

/// Done, or what the client said of its failure.
pub type Outcome = Result<(), String>;

pub struct Stage {
    pub repository: Repository,
    /// What is served of artifacts, by path, under each of the digests that metadata has of it.
    pub contents: BTreeMap<String, Vec<u8>>,
    /// The clock, which only the library is given: the binary reads the machine's.
    pub now: Timestamp,
    through: Through,
    server: Server,
    directory: TempDir,
    /// All the metadata that the client was given or may have fetched.
    sent: Vec<Vec<u8>>,
}

/// So many days after the first of the tests' days.
pub fn day(number: i64) -> Timestamp {
    let first: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    first.plus_seconds(number * 24 * 60 * 60)
}

impl Stage {
    /// One key for each role, everything at version 1, and a client that knows nothing yet.
    pub fn new(through: Through) -> Self {
        let mut stage = Self::unpublished(through);
        stage.repository.publish_root();
        stage.repository.publish_all();
        stage
    }

    fn unpublished(through: Through) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("metadata")).unwrap();
        fs::create_dir(directory.path().join("targets")).unwrap();
        Self {
            repository: Repository::unpublished_until(FAR),
            contents: BTreeMap::new(),
            now: day(0),
            through,
            server: Server::start(),
            directory,
            sent: Vec::new(),
        }
    }

    /// Another one, of the same kind, with a repository that has published nothing.
    pub fn anew_unpublished(&self) -> Self {
        Self::unpublished(self.through)
    }

    /// Whether the client takes its clock from here.
    pub fn gives_the_clock(&self) -> bool {
        self.through == Through::Library
    }

    /// Describes an artifact, and serves it.
    pub fn add_artifact(&mut self, role: &str, path: &str, content: &[u8]) {
        self.repository.add_artifact(role, path, content);
        self.contents.insert(path.into(), content.into());
    }

    /// Changes the newest document of a role after it was signed.
    pub fn edit(&mut self, role: &str, edit: impl FnOnce(&mut Value)) {
        let mut document: Value = serde_json::from_slice(self.newest(role)).unwrap();
        edit(&mut document);
        let version = self.repository.signed[role]["version"].as_u64().unwrap();
        let bytes = serde_json::to_vec(&document).unwrap();
        self.repository.serve(role, version, bytes);
    }

    /// What is served as the newest version of a role.
    pub fn newest(&self, role: &str) -> &[u8] {
        let name = match role {
            "timestamp" => "timestamp.json".into(),
            _ => format!("{}.{role}.json", self.repository.signed[role]["version"]),
        };
        &self.repository.files[&name]
    }

    /// Gives the client the first root to trust.
    pub fn init(&mut self) {
        let root = self.repository.files["1.root.json"].clone();
        self.init_with(&root)
            .expect("the client does not take the root");
    }

    /// The same with any bytes.
    pub fn init_with(&mut self, root: &[u8]) -> Outcome {
        self.run(Task::Init(root))
    }

    pub fn refreshes(&mut self) {
        self.run(Task::Refresh).expect("the refresh failed");
    }

    /// Refreshes, which must fail for this reason.
    pub fn fails_to_refresh(&mut self, reason: &str) {
        fails(&self.run(Task::Refresh), reason);
    }

    pub fn downloads(&mut self, path: &str) {
        let outcome = self.tries_to_download(&[path]);
        outcome.expect("the download failed");
    }

    /// Downloads these, which must fail for this reason.
    pub fn fails_to_download(&mut self, paths: &[&str], reason: &str) {
        fails(&self.tries_to_download(paths), reason);
    }

    /// One after another, by one client.
    pub fn tries_to_download(&mut self, paths: &[&str]) -> Outcome {
        self.run(Task::Download(paths))
    }

    fn run(&mut self, task: Task<'_>) -> Outcome {
        let files = self.files();
        self.sent.extend(files.values().cloned());
        if let Task::Init(root) = task {
            self.sent.push(root.into());
        }
        {
            let mut state = self.server.state();
            state.files = files;
            state.requests.clear();
        }
        let outcome = match self.through {
            Through::Library => self.call(task),
            Through::Binary => self.spawn(task),
        };
        // True of every case: metadata is kept as it came, to the byte.
        for name in self.names("metadata", ".json") {
            let bytes = fs::read(self.directory("metadata").join(&name)).unwrap();
            assert!(self.sent.contains(&bytes), "{name} was never served so");
        }
        outcome
    }

    fn call(&self, task: Task<'_>) -> Outcome {
        let metadata = self.directory("metadata");
        let client = Client::new(&metadata, &self.server.url("metadata"), self.now);
        let done = match task {
            Task::Init(root) => client.init(root),
            Task::Refresh => client.refresh().map(drop),
            Task::Download(paths) => {
                let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
                let url = self.server.url("targets");
                client.download(&paths, &url, &self.directory("targets"))
            }
        };
        done.map_err(|error| format!("{error:#}"))
    }

    fn spawn(&self, task: Task<'_>) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuf-conformance-client"));
        command
            .arg("--metadata-dir")
            .arg(self.directory("metadata"));
        let url = self.server.url("metadata");
        match task {
            Task::Init(root) => {
                let file = self.directory("root");
                fs::write(&file, root).unwrap();
                command.arg("init").arg(file);
            }
            Task::Refresh => {
                command.args(["--metadata-url", &url, "refresh"]);
            }
            Task::Download(paths) => {
                command.args(["--metadata-url", &url]);
                for path in paths {
                    command.args(["--target-name", path]);
                }
                command.arg("--target-dir").arg(self.directory("targets"));
                let url = self.server.url("targets");
                command.args(["--target-base-url", &url, "download"]);
            }
        }
        let output = command.output().unwrap();
        match output.status.code() {
            Some(0) => Ok(()),
            Some(1) => Err(String::from_utf8(output.stderr).unwrap()),
            _ => panic!("the client ended with {}", output.status),
        }
    }

    /// Metadata and artifacts by the names that they are served under.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (name, bytes) in &self.repository.files {
            files.insert(format!("metadata/{name}"), bytes.clone());
        }
        for role in self.repository.signed.values() {
            for (path, content) in &self.contents {
                let hashes = &role["targets"][path]["hashes"];
                for digest in hashes.as_object().into_iter().flatten().map(|hash| hash.1) {
                    let name = artifact(path, digest.as_str().unwrap());
                    files.insert(name, content.clone());
                }
            }
        }
        files
    }

    /// What the last task asked for, in order.
    pub fn requests(&self) -> Vec<String> {
        self.server.state().requests.clone()
    }

    /// Asserts that the last task asked for these metadata files, and for nothing else.
    pub fn asked_for(&self, names: &[&str]) {
        let names: Vec<String> = names
            .iter()
            .map(|name| format!("metadata/{name}"))
            .collect();
        assert_eq!(self.requests(), names);
    }

    /// The roles and versions that the client's directory holds, in the order of the files' names.
    pub fn trusted(&self) -> Vec<(String, u64)> {
        let version = |name: String| {
            let role = name.trim_end_matches(".json").to_owned();
            let bytes = fs::read(self.directory("metadata").join(name)).unwrap();
            let document: Value = serde_json::from_slice(&bytes).unwrap();
            (role, document["signed"]["version"].as_u64().unwrap())
        };
        let names = self.names("metadata", ".json");
        names.into_iter().map(version).collect()
    }

    /// Asserts that the client trusts these roles in these versions, and no others.
    pub fn trusts(&self, expected: &[(&str, u64)]) {
        let trusted = self.trusted();
        let trusted: Vec<(&str, u64)> = trusted
            .iter()
            .map(|(role, version)| (role.as_str(), *version))
            .collect();
        assert_eq!(trusted, expected);
    }

    /// What the client holds of a role.
    pub fn held(&self, role: &str) -> Option<Vec<u8>> {
        fs::read(self.directory("metadata").join(format!("{role}.json"))).ok()
    }

    /// The version that the client trusts of a role.
    pub fn version(&self, role: &str) -> Option<u64> {
        let document: Value = serde_json::from_slice(&self.held(role)?).unwrap();
        document["signed"]["version"].as_u64()
    }

    /// Asserts that the target directory holds these contents, whatever the names, and nothing else.
    pub fn holds_artifacts(&self, expected: &[&[u8]]) {
        let directory = self.directory("targets");
        let names = self.names("targets", "");
        let mut contents: Vec<_> = names
            .iter()
            .map(|name| fs::read(directory.join(name)).unwrap())
            .collect();
        let mut expected = expected.to_vec();
        contents.sort();
        expected.sort_unstable();
        assert_eq!(contents, expected);
    }

    /// All that is beside the client's two directories: nothing may come to be there.
    pub fn strays(&self) -> Vec<String> {
        let mut names = names(self.directory.path());
        names.retain(|name| !["metadata", "targets", "root"].contains(&name.as_str()));
        names
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn names(&self, directory: &str, end: &str) -> Vec<String> {
        let mut names = names(&self.directory(directory));
        names.retain(|name| name.ends_with(end));
        names
    }
}

fn fails(outcome: &Outcome, reason: &str) {
    let said = outcome.as_ref().expect_err("the client is content");
    assert!(said.contains(reason), "{reason}: {said}");
}

/// The name that an artifact is served under, with consistent snapshots.
pub fn artifact(path: &str, digest: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("targets/{directory}/{digest}.{name}"),
        None => format!("targets/{digest}.{path}"),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
