//! What a release carries beside its image: what it is made of, and where it comes from.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use switchback_manifest::{BlobRef, MAX_PAPER_BYTES};
use switchback_types::Digest;

use crate::content::put_blob;
use crate::error::{RepoError, io};
use crate::store::Store;

/// Papers, read and looked at.
pub(crate) struct Papers {
    sbom: Option<Vec<u8>>,
    provenance: Option<Provenance>,
}

struct Provenance {
    path: PathBuf,
    bytes: Vec<u8>,
    /// SHA-256 of what it speaks about, as it writes them.
    subjects: Vec<String>,
}

impl Papers {
    /// Reads them before the image is compressed.
    ///
    /// # Errors
    /// [`RepoError::Paper`] if one is not what it should be; [`RepoError::Io`].
    pub(crate) fn read(sbom: Option<&Path>, provenance: Option<&Path>) -> Result<Self, RepoError> {
        Ok(Self {
            sbom: sbom.map(read_sbom).transpose()?,
            provenance: provenance.map(read_provenance).transpose()?,
        })
    }

    /// Stores them, once it is known what the image is.
    ///
    /// # Errors
    /// [`RepoError::Paper`] if the provenance speaks of other images; [`RepoError::Io`].
    pub(crate) fn store(
        self,
        store: &Store,
        image: &Digest,
    ) -> Result<(Option<BlobRef>, Option<BlobRef>), RepoError> {
        if let Some(provenance) = &self.provenance {
            let image = image.to_string();
            let subjects = &provenance.subjects;
            if !subjects
                .iter()
                .any(|subject| subject.eq_ignore_ascii_case(&image))
            {
                let detail = format!(
                    "it speaks of {}, the image is {image}",
                    match subjects.len() {
                        0 => "nothing with a SHA-256".into(),
                        _ => subjects.join(", "),
                    }
                );
                return Err(wrong(&provenance.path, detail));
            }
        }
        let stored = |bytes: Vec<u8>| put_blob(store, &bytes);
        Ok((
            self.sbom.map(stored).transpose()?,
            self.provenance
                .map(|provenance| stored(provenance.bytes))
                .transpose()?,
        ))
    }
}

fn wrong(path: &Path, detail: impl Into<String>) -> RepoError {
    RepoError::Paper {
        path: path.into(),
        detail: detail.into(),
    }
}

fn read_json(path: &Path) -> Result<(Vec<u8>, Value), RepoError> {
    let bytes = fs::read(path).map_err(io("read", path))?;
    if bytes.len() as u64 > MAX_PAPER_BYTES {
        let detail = format!(
            "it has {} bytes, at most {MAX_PAPER_BYTES} are allowed",
            bytes.len()
        );
        return Err(wrong(path, detail));
    }
    let value = serde_json::from_slice(&bytes);
    let value = value.map_err(|error| wrong(path, format!("it is not JSON: {error}")))?;
    Ok((bytes, value))
}

fn read_sbom(path: &Path) -> Result<Vec<u8>, RepoError> {
    let (bytes, value) = read_json(path)?;
    let spdx = value.get("spdxVersion").is_some() || value.get("@context").is_some();
    let cyclone = value.get("bomFormat").and_then(Value::as_str) == Some("CycloneDX");
    if !spdx && !cyclone {
        return Err(wrong(path, "it is neither SPDX nor CycloneDX in JSON"));
    }
    Ok(bytes)
}

fn read_provenance(path: &Path) -> Result<Provenance, RepoError> {
    let (bytes, value) = read_json(path)?;
    let kind = value
        .get("_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !kind.starts_with("https://in-toto.io/Statement/") {
        let detail = match value.get("payload") {
            Some(_) => {
                "it is a signed envelope; give the statement in it (`payload`, decoded from Base64)"
            }
            None => "it is no in-toto statement",
        };
        return Err(wrong(path, detail));
    }
    let subjects = value.get("subject").and_then(Value::as_array);
    let subjects = subjects
        .into_iter()
        .flatten()
        .filter_map(|subject| subject.pointer("/digest/sha256")?.as_str())
        .map(ToOwned::to_owned)
        .collect();
    Ok(Provenance {
        path: path.into(),
        bytes,
        subjects,
    })
}
