//! Ours: a real repository, and the device's own installer.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cgroup::Limit;
use super::files;
use super::measure::{Task, Usage};
use super::record;
use crate::process::cargo;

/// So many times each of what is compared; the fastest counts.
const ROUNDS: usize = 3;
/// Limits that the installer is run under.
pub(crate) const LIMITS: [u64; 2] = [16 << 20, 24 << 20];
/// The image written and read as plainly as can be.
const BASELINE: &str =
    "dd if=\"$0\" of=\"$1\" bs=1M conv=fsync,notrunc status=none && sha256sum \"$1\"";

/// Our programs, built for release.
#[derive(Debug)]
pub(crate) struct Programs {
    publisher: PathBuf,
    apply: PathBuf,
    commit: String,
    digest: String,
}

/// Whether an installation came through under a limit of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Held {
    Yes,
    No,
    /// No limit can be set on this machine.
    NotTried,
}

/// What ours took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ours {
    /// The commit that our programs were built from; `+` after it: and changes.
    pub(crate) commit: String,
    /// `Delta` or `Full`, as the device chose.
    pub(crate) way: String,
    /// Bytes of the delta, or of the image's frames.
    pub(crate) content: u64,
    /// Bytes of content for a device of which nobody knows what runs: by chunks, or whole.
    pub(crate) any_base: u64,
    /// Bytes of signed metadata and documents.
    pub(crate) metadata: u64,
    /// The whole of `publish`.
    pub(crate) encode: Usage,
    /// The installer: reading, decoding, writing, reading back.
    pub(crate) apply: Usage,
    /// `dd` and `sha256sum` of the same image.
    pub(crate) baseline: Usage,
    /// For each of [`LIMITS`].
    pub(crate) held: [Held; 2],
}

impl Ours {
    /// All that a device fetches.
    pub(crate) fn wire(&self) -> u64 {
        self.content + self.metadata
    }
}

/// One installation, as the installer tells it.
#[derive(Debug, PartialEq)]
struct Told {
    way: String,
    bytes: u64,
    usage: Usage,
}

impl Programs {
    /// Builds them where this program itself was built.
    pub(crate) fn build() -> anyhow::Result<Self> {
        cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "switchback-repo",
            "--package",
            "switchbackd",
            "--bin",
            "switchback-repo",
            "--example",
            "apply",
        ])?;
        let own = std::env::current_exe().context("where this program is")?;
        let target = own.ancestors().nth(2).context("cargo's target directory")?;
        let publisher = target.join("release/switchback-repo");
        let apply = target.join("release/examples/apply");
        Ok(Self {
            commit: commit()?,
            digest: record::digest(&[&publisher, &apply])?,
            publisher,
            apply,
        })
    }

    /// What tells them from other builds.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Publishes the old image, then the new one, and installs it on a device with the old one.
    pub(crate) fn measure(&self, old: &Path, new: &Path, work: &Path) -> anyhow::Result<Ours> {
        files::empty_directory(work)?;
        let (repository, slot) = (work.join("repository"), work.join("slot"));
        self.verb("init", work)
            .args(["--product", "bench"])
            .done()?;
        // Nothing of its pack is sent; a low level saves minutes.
        let task = self.publish(old, "1", "0", work);
        task.args(["--level", "1"]).done()?;
        let before = fetched_by_now(&repository)?;
        let (encode, _) = self.publish(new, "2", "1", work).done()?;
        let metadata = changed(&before, &fetched_by_now(&repository)?);

        let length = files::size(new)?;
        let (mut best, mut baseline) = (None::<Told>, None::<Usage>);
        let faster = |one: &Usage, known: Option<Usage>| {
            known.is_none_or(|known| one.seconds < known.seconds)
        };
        for _ in 0..ROUNDS {
            files::make_slot(&slot, length)?;
            let plain = Task::new("sh").args(["-c", BASELINE]).args([new, &slot]);
            let (plain, _) = plain.done()?;
            if faster(&plain, baseline) {
                baseline = Some(plain);
            }
            let task = Task::new(&self.apply);
            let told = install(task, &repository, old, new, &slot, &[])?;
            if faster(&told.usage, best.as_ref().map(|best| best.usage)) {
                best = Some(told);
            }
        }
        let (best, baseline) = best.zip(baseline).context("no installation was made")?;
        let task = Task::new(&self.apply);
        let any_base = install(task, &repository, old, new, &slot, &["any"])?;
        let held = LIMITS.map(|limit| match Limit::new(limit) {
            None => Held::NotTried,
            Some(group) => {
                let task = group.enter().arg(&self.apply);
                match install(task, &repository, old, new, &slot, &[]) {
                    Ok(_) => Held::Yes,
                    Err(error) => {
                        println!("    under {} MiB: {error:#}", limit >> 20);
                        Held::No
                    }
                }
            }
        });
        Ok(Ours {
            commit: self.commit.clone(),
            way: best.way,
            content: best.bytes,
            any_base: any_base.bytes,
            metadata,
            encode,
            apply: best.usage,
            baseline,
            held,
        })
    }

    fn verb(&self, verb: &str, work: &Path) -> Task {
        Task::new(&self.publisher)
            .args(["--quiet", verb])
            .joined("--repo=", &work.join("repository"))
            .joined("--keys=", &work.join("keys"))
    }

    fn publish(&self, image: &Path, version: &str, deltas: &str, work: &Path) -> Task {
        self.verb("publish", work)
            .joined("--image=", image)
            .args(["--version", version, "--deltas", deltas])
            .args(["--compatible", "bench", "--channel", "stable"])
    }
}

/// The commit of this workspace.
fn commit() -> anyhow::Result<String> {
    let git = |words: &[&str]| -> anyhow::Result<String> {
        let (_, said) = Task::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(words.iter().copied())
            .done()?;
        Ok(said.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    // What these programs are made of.
    let places = ["crates", "daemon", "publisher", "Cargo.lock"].map(|place| format!(":/{place}"));
    let mut words = vec!["status", "--porcelain", "--"];
    words.extend(places.iter().map(String::as_str));
    let changes = git(&words)?;
    Ok(if changes.is_empty() {
        commit
    } else {
        format!("{commit}+")
    })
}

/// Installs version 2 into a slot that holds nothing of use.
fn install(
    task: Task,
    repository: &Path,
    old: &Path,
    new: &Path,
    slot: &Path,
    more: &[&'static str],
) -> anyhow::Result<Told> {
    files::make_slot(slot, files::size(new)?)?;
    let task = task.arg(repository).arg("2").args([old, slot]).args(more);
    let (usage, said) = task.done()?;
    if !files::same(slot, new)? {
        bail!("`{}` did not make {}", task.line(), new.display());
    }
    told(&said, usage).with_context(|| format!("`{}` said: {said}", task.line()))
}

/// The installer's last line, with its own measure of its memory. The time is that of the whole
/// process, start included.
fn told(said: &str, usage: Usage) -> Option<Told> {
    let value: Value = serde_json::from_str(said.lines().last()?).ok()?;
    Some(Told {
        way: value.get("way")?.as_str()?.to_owned(),
        bytes: value.get("bytes")?.as_u64()?,
        usage: Usage {
            peak: value.get("peak")?.as_u64()?,
            ..usage
        },
    })
}

/// Files that a device reads before it fetches content: signed metadata and documents.
fn fetched_by_now(repository: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for part in ["metadata", "targets/releases", "targets/channels"] {
        for (path, _) in files::listing(&repository.join(part))? {
            let path = Path::new(part).join(path);
            let whole = repository.join(&path);
            let bytes = std::fs::read(&whole).with_context(|| whole.display().to_string())?;
            found.push((path, bytes));
        }
    }
    Ok(found)
}

/// Bytes of the files that are new or have changed: a device has the others.
fn changed(before: &[(PathBuf, Vec<u8>)], now: &[(PathBuf, Vec<u8>)]) -> u64 {
    now.iter()
        .filter(|file| !before.contains(file))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{Told, Usage, changed, told};

    const USAGE: Usage = Usage {
        seconds: 2.0,
        peak: 1,
        cpu: 1.5,
    };

    #[test]
    fn reads_the_last_line_of_the_installer() {
        let said = "version 2 by a delta\n\
                    {\"way\":\"Delta\",\"bytes\":567,\"segments\":9,\"seconds\":1.5,\"peak\":4096}\n";
        let expected = Told {
            way: "Delta".into(),
            bytes: 567,
            usage: Usage {
                peak: 4096,
                ..USAGE
            },
        };
        assert_eq!(told(said, USAGE), Some(expected));
        assert_eq!(told("nothing\n", USAGE), None);
    }

    #[test]
    fn counts_new_and_changed_files_once() {
        let before = [("a".into(), vec![1; 3]), ("b".into(), vec![1; 5])];
        let now = [
            ("a".into(), vec![1; 3]),
            ("b".into(), vec![2; 5]),
            ("c".into(), vec![1; 7]),
        ];
        assert_eq!(changed(&before, &now), 12);
    }
}
