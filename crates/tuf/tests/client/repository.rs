//! A repository in memory: metadata as JSON values that tests bend, signed on publication.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::signer::Key;

/// Long after every test's `now`.
pub const FAR: &str = "2030-01-01T00:00:00Z";

/// Role names of the top level, in the order of publication.
const TOP_LEVEL: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

pub struct Repository {
    /// The signed part of each role as it will be published next (less one version).
    pub signed: BTreeMap<String, Value>,
    /// Who signs each role.
    pub signers: BTreeMap<String, Vec<Key>>,
    /// What is served.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether snapshot and timestamp sign lengths and hashes too.
    pub with_hashes: bool,
    /// Until when new roles are good.
    expires: String,
    /// The newest published bytes of each role.
    published: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// One key per role, everything at version 1, consistent snapshots.
    pub fn new() -> Self {
        let mut repository = Self::unpublished();
        repository.publish_root();
        repository.publish_all();
        repository
    }

    pub fn unpublished() -> Self {
        Self::unpublished_until(FAR)
    }

    /// As [`unpublished`](Self::unpublished), with roles that are good until then.
    pub fn unpublished_until(expires: &str) -> Self {
        let mut repository = Self {
            signed: BTreeMap::new(),
            signers: BTreeMap::new(),
            files: BTreeMap::new(),
            with_hashes: false,
            expires: expires.into(),
            published: BTreeMap::new(),
        };
        let root = json!({"consistent_snapshot": true, "keys": {}, "roles": {}});
        repository.add("root", "root", root);
        repository.add("targets", "targets", json!({"targets": {}}));
        repository.add("snapshot", "snapshot", json!({"meta": {}}));
        repository.add("timestamp", "timestamp", json!({"meta": {}}));
        for (role, seed) in TOP_LEVEL.into_iter().zip(1..) {
            repository.set_keys(role, 1, vec![Key::ed25519(seed)]);
        }
        repository
    }

    fn add(&mut self, role: &str, kind: &str, mut body: Value) {
        body["_type"] = json!(kind);
        body["spec_version"] = json!("1.0.31");
        body["version"] = json!(0);
        body["expires"] = json!(self.expires);
        self.signed.insert(role.into(), body);
    }

    pub fn role(&mut self, role: &str) -> &mut Value {
        self.signed.get_mut(role).unwrap()
    }

    /// Lists these keys for a top-level role and lets all of them sign.
    pub fn set_keys(&mut self, role: &str, threshold: u64, keys: Vec<Key>) {
        let root = self.role("root");
        for key in &keys {
            root["keys"][&key.id] = key.json();
        }
        let ids: Vec<&String> = keys.iter().map(|key| &key.id).collect();
        root["roles"][role] = json!({"keyids": ids, "threshold": threshold});
        self.signers.insert(role.into(), keys);
    }

    /// Describes an artifact in `role`.
    pub fn add_artifact(&mut self, role: &str, path: &str, content: &[u8]) {
        let sha256 = hex::encode(digest(&SHA256, content));
        self.role(role)["targets"][path] =
            json!({"length": content.len(), "hashes": {"sha256": sha256}});
    }

    /// Lets `delegator` delegate `paths` to `role`, which one new key signs.
    pub fn delegate(&mut self, delegator: &str, role: &str, paths: &[&str], terminating: bool) {
        self.delegate_by(delegator, role, json!({"paths": paths}), terminating);
    }

    /// As [`delegate`](Self::delegate), with the field that says what is covered.
    pub fn delegate_by(&mut self, delegator: &str, role: &str, covers: Value, terminating: bool) {
        if !self.signed.contains_key(role) {
            self.add(role, "targets", json!({"targets": {}}));
            let seed = 100 + u8::try_from(self.signed.len()).unwrap();
            self.signers.insert(role.into(), vec![Key::ed25519(seed)]);
        }
        let (id, key) = {
            let key = &self.signers[role][0];
            (key.id.clone(), key.json())
        };
        let mut delegation = covers;
        delegation["name"] = json!(role);
        delegation["keyids"] = json!([id]);
        delegation["threshold"] = json!(1);
        delegation["terminating"] = json!(terminating);
        let delegator = self.role(delegator);
        if delegator.get("delegations").is_none() {
            delegator["delegations"] = json!({"keys": {}, "roles": []});
        }
        delegator["delegations"]["keys"][&id] = key;
        delegator["delegations"]["roles"]
            .as_array_mut()
            .unwrap()
            .push(delegation);
    }

    /// Signs with the role's keys, next version, and serves it.
    pub fn publish(&mut self, role: &str) {
        let version = self.role(role)["version"].as_u64().unwrap() + 1;
        self.role(role)["version"] = json!(version);
        let bytes = self.sign(role);
        self.serve(role, version, bytes);
    }

    /// Serves these bytes as `version` of `role`.
    pub fn serve(&mut self, role: &str, version: u64, bytes: Vec<u8>) {
        let consistent = self.signed["root"]["consistent_snapshot"] == json!(true);
        let name = match role {
            "timestamp" => "timestamp.json".into(),
            "root" => format!("{version}.root.json"),
            _ if consistent => format!("{version}.{role}.json"),
            _ => format!("{role}.json"),
        };
        self.published.insert(role.into(), bytes.clone());
        self.files.insert(name, bytes);
    }

    /// The envelope of a role, signed by its signers.
    pub fn sign(&self, role: &str) -> Vec<u8> {
        let signers: Vec<&Key> = self.signers[role].iter().collect();
        envelope(&self.signed[role], &signers)
    }

    pub fn publish_root(&mut self) {
        self.publish("root");
    }

    /// All targets roles, then snapshot, then timestamp.
    pub fn publish_all(&mut self) {
        for role in self.targets_roles() {
            self.publish(&role);
        }
        self.publish_snapshot();
        self.publish_timestamp();
    }

    /// The snapshot of what is published.
    pub fn publish_snapshot(&mut self) {
        for role in self.targets_roles() {
            let meta = self.meta(&role);
            self.role("snapshot")["meta"][format!("{role}.json")] = meta;
        }
        self.publish("snapshot");
    }

    pub fn publish_timestamp(&mut self) {
        let meta = self.meta("snapshot");
        self.role("timestamp")["meta"]["snapshot.json"] = meta;
        self.publish("timestamp");
    }

    fn meta(&self, role: &str) -> Value {
        let mut meta = json!({"version": self.signed[role]["version"]});
        if self.with_hashes {
            let bytes = &self.published[role];
            meta["length"] = json!(bytes.len());
            meta["hashes"] = json!({"sha256": hex::encode(digest(&SHA256, bytes))});
        }
        meta
    }

    fn targets_roles(&self) -> Vec<String> {
        let is_targets = |role: &&String| self.signed[*role]["_type"] == json!("targets");
        self.signed.keys().filter(is_targets).cloned().collect()
    }
}

/// Signs in the writer's own way: `serde_json` sorts keys and writes no white space, which is the
/// canonical form for plain ASCII content, but for the line ends in PEM keys that it escapes.
pub fn envelope(signed: &Value, signers: &[&Key]) -> Vec<u8> {
    let message = serde_json::to_string(signed)
        .unwrap()
        .replace("\\n", "\n")
        .into_bytes();
    let signatures: Vec<Value> = signers
        .iter()
        .map(|key| json!({"keyid": key.id, "sig": hex::encode(key.sign(&message))}))
        .collect();
    // Not canonical on the wire, as in the field.
    let envelope = json!({"signed": signed, "signatures": signatures});
    serde_json::to_vec_pretty(&envelope).unwrap()
}
