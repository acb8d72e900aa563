//! What a device is to install, to stop, or has installed.

use serde::{Deserialize, Serialize};

use crate::poll::Link;

/// The body of `deploymentBase`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentBase {
    /// The action, for the address of feedback.
    pub id: String,
    /// What to install.
    pub deployment: Deployment,
    /// What the device said of it before, where it asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_history: Option<ActionHistory>,
}

/// The body of `installedBase`: as that of `deploymentBase`.
pub type InstalledBase = DeploymentBase;

/// What to install, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Whether to fetch.
    #[serde(default)]
    pub download: Handling,
    /// Whether to install.
    #[serde(default)]
    pub update: Handling,
    /// Whether a maintenance window is open; absent when none is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_window: Option<MaintenanceWindow>,
    /// The pieces of software.
    #[serde(default)]
    pub chunks: Vec<Chunk>,
}

/// How a step is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handling {
    /// Not now.
    Skip,
    /// The device chooses when.
    Attempt,
    /// Now. Also what a word means that this crate does not know: hawkBit's default.
    #[default]
    #[serde(other)]
    Forced,
}

/// Whether the maintenance window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaintenanceWindow {
    /// Open.
    Available,
    /// Closed.
    Unavailable,
}

/// One piece of software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its kind, `os` for an image.
    pub part: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Its files.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<Metadata>,
}

/// A pair of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// What it is about.
    pub key: String,
    /// What is said.
    pub value: String,
}

/// One file. A client must not use the name as a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub filename: String,
    /// Its digests.
    pub hashes: Hashes,
    /// Bytes.
    pub size: u64,
    /// Where it lies.
    #[serde(rename = "_links")]
    pub links: ArtifactLinks,
}

/// Digests of a file, in hexadecimal digits. SHA-1 and MD5 are there because clients of the
/// field ask for them; nothing rests on them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hashes {
    /// SHA-1.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha1: String,
    /// MD5.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub md5: String,
    /// SHA-256.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha256: String,
}

/// Where a file lies. Clients differ in which of these they look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactLinks {
    /// The file over HTTPS, or over what the server is reached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Link>,
    /// The file over HTTP.
    #[serde(rename = "download-http", skip_serializing_if = "Option::is_none")]
    pub download_http: Option<Link>,
    /// Its MD5 as `md5sum` writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5sum: Option<Link>,
    /// The same over HTTP.
    #[serde(rename = "md5sum-http", skip_serializing_if = "Option::is_none")]
    pub md5sum_http: Option<Link>,
}

/// What a device said of an action before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionHistory {
    /// hawkBit's word for the state: `RUNNING`, `FINISHED`, `ERROR`, …
    pub status: String,
    /// Messages, the newest first.
    #[serde(default)]
    pub messages: Vec<String>,
}

/// The body of `cancelAction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelAction {
    /// For the address of feedback.
    pub id: String,
    /// What to stop.
    pub cancel_action: Cancellation,
}

/// What to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// The action.
    pub stop_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_reply_of_hawkbit() {
        let text = r#"{"id":"8","deployment":{"download":"forced","update":"attempt",
            "maintenanceWindow":"available","chunks":[{"part":"os","version":"1.2.0","name":"rootfs",
            "encrypted":true,"artifacts":[{"filename":"img.swu","size":5000000000,
            "hashes":{"sha1":"2d86","md5":"0d1b","sha256":"a03b"},
            "_links":{"download":{"href":"https://cdn/img.swu"}}}],
            "metadata":[{"key":"k","value":"v"}]}]},
            "actionHistory":{"status":"RUNNING","messages":["Reboot"]}}"#;
        let base: DeploymentBase = serde_json::from_str(text).unwrap();
        assert_eq!(base.deployment.update, Handling::Attempt);
        let artifact = &base.deployment.chunks[0].artifacts[0];
        assert_eq!(artifact.size, 5_000_000_000);
        assert!(artifact.links.download_http.is_none());
        let again = serde_json::to_string(&base).unwrap();
        assert_eq!(
            serde_json::from_str::<DeploymentBase>(&again).unwrap(),
            base
        );
    }

    #[test]
    fn a_cancellation_is_written_as_hawkbit_does() {
        let body = CancelAction {
            id: "11".into(),
            cancel_action: Cancellation {
                stop_id: "11".into(),
            },
        };
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"id":"11","cancelAction":{"stopId":"11"}}"#
        );
    }
}
