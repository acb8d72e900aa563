//! The report as JSON: written after each outcome, and read again by the next run, which measures only what
//! is not in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::goals::{Row, judge};
use super::measure::Task;
use super::peers::{Outcome, Peer};

/// Changes when rows of an older report cannot be read.
const SCHEMA: u64 = 4;
/// So much of a digest tells images and programs apart.
const DIGITS: usize = 16;

/// Something measured: of what, with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry<T> {
    /// Digest of the files that it was measured on.
    pub(crate) of: String,
    /// The programs: their versions, or their digest.
    pub(crate) programs: String,
    /// Elapsed seconds for all of it, checks included.
    pub(crate) took: f64,
    /// What was found.
    pub(crate) found: T,
}

impl<T> Entry<T> {
    /// Whether it was measured on the same files with the same programs.
    pub(crate) fn is_of(&self, of: &str, programs: &str) -> bool {
        self.of == of && self.programs == programs
    }
}

/// The file and what is in it.
#[derive(Debug)]
pub(crate) struct Report {
    path: PathBuf,
    quick: bool,
    rows: Vec<Row>,
}

impl Report {
    /// What an earlier run left; nothing where there was none or an older xtask wrote it.
    pub(crate) fn open(path: &Path, quick: bool) -> anyhow::Result<Self> {
        let rows = match std::fs::read(path) {
            Ok(bytes) => rows_in(&bytes).with_context(|| path.display().to_string())?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self {
            path: path.to_owned(),
            quick,
            rows,
        })
    }

    /// The row of this name, if it was measured.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name() == name)
    }

    /// All rows.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A peer's outcome on these files, from whichever row: files only are the same in every format.
    pub(crate) fn outcome(
        &self,
        peer: Peer,
        of: &str,
        programs: &str,
    ) -> Option<&Entry<(Peer, Outcome)>> {
        let entries = self.rows.iter().flat_map(|row| &row.peers);
        let mut same = entries.filter(|entry| entry.found.0 == peer && entry.is_of(of, programs));
        same.next()
    }

    /// Puts a row in its place and writes the file.
    pub(crate) fn put(&mut self, row: Row) -> anyhow::Result<()> {
        let held = self.rows.iter_mut().find(|held| held.name() == row.name());
        match held {
            Some(held) => *held = row,
            None => self.rows.push(row),
        }
        self.rows.sort_by_key(Row::place);
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let path = &self.path;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        let value = json(&self.rows, self.quick)?;
        // An interrupted run leaves the old report or the new one.
        let unfinished = path.with_extension("new");
        std::fs::write(&unfinished, format!("{value:#}\n"))
            .with_context(|| unfinished.display().to_string())?;
        std::fs::rename(&unfinished, path).with_context(|| path.display().to_string())
    }
}

/// The rows of a report of this schema.
fn rows_in(bytes: &[u8]) -> anyhow::Result<Vec<Row>> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    if value.get("schema") != Some(&SCHEMA.into()) {
        return Ok(Vec::new());
    }
    let images = value.get_mut("images").map(Value::take);
    Ok(serde_json::from_value(images.unwrap_or(json!([])))?)
}

/// The whole of it: the rows as they are, with what is found by looking at them.
fn json(rows: &[Row], quick: bool) -> anyhow::Result<Value> {
    let mut images = Vec::new();
    for row in rows {
        let mut value = serde_json::to_value(row)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("image".into(), row.name().into());
            fields.insert("what".into(), row.pair.what().into());
            fields.insert("held_out".into(), row.pair.held_out().into());
            fields.insert("wire_bytes".into(), row.ours.found.wire().into());
            let best = row.best().map(|(peer, _)| peer.name());
            fields.insert("best_peer".into(), best.into());
            let best = row.best_any_base().map(|(peer, _)| peer.name());
            fields.insert("best_any_base_peer".into(), best.into());
            fields.insert("wire_ratio".into(), row.ratio().into());
            fields.insert("apply_ratio".into(), row.apply_ratio().into());
            fields.insert("apply_cpu_ratio".into(), row.apply_cpu_ratio().into());
        }
        images.push(value);
    }
    let goals: Vec<Value> = judge(rows)
        .into_iter()
        .map(|goal| json!({ "goal": goal.text, "met": goal.met, "seen": goal.seen }))
        .collect();
    Ok(json!({ "schema": SCHEMA, "quick": quick, "images": images, "goals": goals }))
}

/// The same for files that never change while they have their names; it is kept beside each.
pub(crate) fn kept_digest(paths: &[&Path]) -> anyhow::Result<String> {
    let mut digests = Vec::new();
    for path in paths {
        let beside = path.with_extension("digest");
        let digest = match std::fs::read_to_string(&beside) {
            Ok(digest) if digest.len() == DIGITS => digest,
            _ => {
                let digest = digest(&[path])?;
                std::fs::write(&beside, &digest).with_context(|| beside.display().to_string())?;
                digest
            }
        };
        digests.push(digest);
    }
    Ok(digests.join("-"))
}

/// What tells files apart that have the same names.
pub(crate) fn digest(paths: &[&Path]) -> anyhow::Result<String> {
    let mut digests = Vec::new();
    for path in paths {
        let (_, said) = Task::new("sha256sum").arg(*path).done()?;
        match said.get(..DIGITS) {
            Some(digits) => digests.push(digits.to_owned()),
            None => bail!("sha256sum said: {said}"),
        }
    }
    Ok(digests.join("-"))
}

#[cfg(test)]
mod tests {
    use super::{Report, digest, kept_digest};
    use crate::bench::goals::tests::row;
    use crate::bench::pairs::Pair;
    use crate::bench::peers::Peer;

    #[test]
    fn next_run_reads_what_was_written() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("reports/bench.json");
        let mut report = Report::open(&path, true).unwrap();
        let peers = [(Peer::Zstd, 4000)];
        report.put(row(Pair::Kernel, 1000, &peers)).unwrap();
        report.put(row(Pair::Point, 500, &peers)).unwrap();
        report.put(row(Pair::Point, 1000, &peers)).unwrap();
        let next = Report::open(&path, true).unwrap();
        assert_eq!(next.rows(), report.rows());
        let names: Vec<_> = next.rows().iter().map(super::Row::name).collect();
        assert_eq!(names, ["a.ext4", "k.ext4"]);
        assert_eq!(next.row("a.ext4").unwrap().ours.found.content, 1000);

        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.pointer("/images/0/wire_bytes").unwrap(), 2000);
        assert_eq!(
            value.pointer("/images/0/best_peer").unwrap(),
            "zstd --patch-from"
        );
        assert_eq!(value.pointer("/images/0/wire_ratio").unwrap(), 0.5);
    }

    #[test]
    fn outcome_is_found_only_for_the_same_files_and_programs() {
        let place = tempfile::tempdir().unwrap();
        let mut report = Report::open(&place.path().join("bench.json"), false).unwrap();
        let row = row(Pair::Point, 1000, &[(Peer::Zstd, 4000)]);
        let entry = row.peers.first().unwrap().clone();
        report.put(row).unwrap();
        let found = |peer, of, programs| report.outcome(peer, of, programs);
        assert_eq!(found(Peer::Zstd, &entry.of, &entry.programs), Some(&entry));
        assert_eq!(found(Peer::Zstd, "others", &entry.programs), None);
        assert_eq!(found(Peer::Zstd, &entry.of, "newer"), None);
        assert_eq!(found(Peer::Bsdiff, &entry.of, &entry.programs), None);
    }

    #[test]
    fn report_of_another_schema_counts_for_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bench.json");
        std::fs::write(&path, "{\"schema\":1,\"images\":[{}]}").unwrap();
        assert!(Report::open(&path, false).unwrap().rows().is_empty());
        std::fs::write(&path, "{\"schema\":4,\"images\":[{}]}").unwrap();
        assert!(Report::open(&path, false).is_err());
    }

    #[test]
    fn digest_is_of_the_bytes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(digest(&[&path]).unwrap(), "ba7816bf8f01cfea");
        assert_eq!(kept_digest(&[&path]).unwrap(), "ba7816bf8f01cfea");
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(kept_digest(&[&path]).unwrap(), "ba7816bf8f01cfea");
        std::fs::write(&path, "abc").unwrap();
        let twice = digest(&[&path, &path]).unwrap();
        assert_eq!(twice, "ba7816bf8f01cfea-ba7816bf8f01cfea");
        assert!(digest(&[&place.path().join("none")]).is_err());
    }
}
