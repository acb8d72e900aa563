//! The peers: what Debian has, run the way their users run them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use qemu_tests::tools::{Tool, ensure};
use serde::{Deserialize, Serialize};

use super::measure::{OutOfTime, Task, Usage};
use super::{adaptive, files};

/// One way to send an update that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    Zstd,
    Xdelta,
    Bsdiff,
    Zchunk,
    Casync,
    Ostree,
    RaucBundle,
    RaucAdaptive,
    Swupdate,
}

/// What a peer works on.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// The image that runs.
    pub(crate) old: &'a Path,
    /// The image that is to run.
    pub(crate) new: &'a Path,
    /// The trees of both, as tar files.
    pub(crate) old_tree: &'a Path,
    /// See above.
    pub(crate) new_tree: &'a Path,
    /// An empty directory.
    pub(crate) work: &'a Path,
    /// No program runs longer.
    pub(crate) limit: Duration,
}

/// What a peer took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Bytes that a device fetches.
    pub(crate) wire: u64,
    /// At the publisher's; not there where only counted.
    pub(crate) encode: Option<Usage>,
    /// On the device; not there where not tried.
    pub(crate) apply: Option<Usage>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It worked, and what it made is the new image.
    Measured(Figures),
    /// One of its programs was stopped.
    OutOfTime {
        /// After so many seconds.
        seconds: u64,
        /// What it was to do.
        doing: String,
    },
    /// It cannot be installed.
    NotHere(String),
    /// It failed, or made something else.
    Failed(String),
    /// It sends what another one sends.
    SameAs(Peer),
}

impl Outcome {
    /// Whether another try, of programs that may run this long, would end the same.
    pub(crate) const fn holds(&self, limit: Duration) -> bool {
        match self {
            Self::Measured(_) | Self::SameAs(_) => true,
            Self::OutOfTime { seconds, .. } => *seconds >= limit.as_secs(),
            Self::NotHere(_) | Self::Failed(_) => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Peer {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 9] = [
        Self::Zstd,
        Self::Xdelta,
        Self::Bsdiff,
        Self::Zchunk,
        Self::Casync,
        Self::Ostree,
        Self::RaucBundle,
        Self::RaucAdaptive,
        Self::Swupdate,
    ];

    /// Its name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd --patch-from",
            Self::Xdelta => "xdelta3",
            Self::Bsdiff => "bsdiff",
            Self::Zchunk => "zchunk",
            Self::Casync => "casync",
            Self::Ostree => "ostree static delta",
            Self::RaucBundle => "RAUC bundle",
            Self::RaucAdaptive => "RAUC adaptive",
            Self::Swupdate => "SWUpdate delta",
        }
    }

    /// Its name on the command line.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Xdelta => "xdelta",
            Self::Bsdiff => "bsdiff",
            Self::Zchunk => "zchunk",
            Self::Casync => "casync",
            Self::Ostree => "ostree",
            Self::RaucBundle => "rauc-bundle",
            Self::RaucAdaptive => "rauc-adaptive",
            Self::Swupdate => "swupdate",
        }
    }

    /// The peer with this name on the command line.
    pub(crate) fn named(word: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|peer| peer.word() == word);
        found.with_context(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            format!("no such peer: {word}; there are {words}")
        })
    }

    /// What its figures do not say by themselves.
    pub(crate) const fn remark(self) -> Option<&'static str> {
        match self {
            Self::Zchunk => Some("counted by zck_delta_size, not applied"),
            Self::Ostree => Some("files only, no image"),
            Self::RaucBundle => Some("the whole image, not applied"),
            Self::RaucAdaptive => {
                Some("counted: missing 4 KiB blocks, each by zstd -19, and the index of digests")
            }
            Self::Swupdate => Some("it is zchunk's, its .swu not counted"),
            Self::Zstd | Self::Xdelta | Self::Bsdiff | Self::Casync => None,
        }
    }

    /// Needs no delta from the very image that runs.
    pub(crate) const fn any_base(self) -> bool {
        matches!(self, Self::Zchunk | Self::Casync | Self::RaucAdaptive)
    }

    const fn tools(self) -> &'static [Tool] {
        const fn tool(package: &'static str) -> Tool {
            Tool {
                package,
                why: "a peer in the benchmark",
            }
        }
        match self {
            Self::Zstd => const { &[tool("zstd")] },
            Self::Xdelta => const { &[tool("xdelta3")] },
            Self::Bsdiff => const { &[tool("bsdiff")] },
            Self::Zchunk => const { &[tool("zchunk")] },
            Self::Casync => const { &[tool("casync")] },
            Self::Ostree => const { &[tool("ostree")] },
            Self::RaucBundle => const { &[tool("rauc"), tool("openssl"), tool("squashfs-tools")] },
            Self::RaucAdaptive | Self::Swupdate => &[],
        }
    }

    /// Runs it; never fails, says how it went.
    pub(crate) fn measure(self, case: &Case<'_>) -> Outcome {
        if let Err(why) = ensure(self.tools()) {
            return Outcome::NotHere(format!("{why}"));
        }
        let result = files::empty_directory(case.work).and_then(|()| match self {
            Self::Zstd => zstd(case),
            Self::Xdelta => xdelta(case),
            Self::Bsdiff => bsdiff(case),
            Self::Zchunk => zchunk(case),
            Self::Casync => casync(case),
            Self::Ostree => ostree(case),
            Self::RaucBundle => rauc_bundle(case),
            Self::RaucAdaptive => adaptive::count(case.old, case.new).map(Outcome::Measured),
            Self::Swupdate => Ok(Outcome::SameAs(Self::Zchunk)),
        });
        result.unwrap_or_else(|error| match error.downcast_ref() {
            Some(OutOfTime { limit, doing }) => Outcome::OutOfTime {
                seconds: limit.as_secs(),
                doing: (*doing).to_owned(),
            },
            None => Outcome::Failed(format!("{error:#}")),
        })
    }

    /// Versions of the programs that it runs; what is measured with others is measured again.
    pub(crate) fn programs(self) -> anyhow::Result<String> {
        match self {
            Self::RaucAdaptive => Ok(adaptive::WAY.to_owned()),
            Self::Swupdate => Self::Zchunk.programs(),
            _ => {
                ensure(self.tools())?;
                let packages = self.tools().iter().map(|tool| tool.package);
                let (_, said) = Task::new("dpkg-query")
                    .args(["-W", "-f", "${Package} ${Version}\\n"])
                    .args(packages)
                    .done()?;
                Ok(said.trim_end().replace('\n', ", "))
            }
        }
    }
}

/// Encodes, applies, and holds the result against the new image.
fn patch(case: &Case<'_>, encode: Task, apply: Task) -> anyhow::Result<Outcome> {
    let (encode, _) = encode.within(case.limit, "encode").done()?;
    let apply = apply.within(case.limit, "apply");
    let line = apply.line();
    let (apply, _) = apply.done()?;
    if !files::same(&case.work.join("out"), case.new)? {
        bail!("`{line}` did not make {}", case.new.display());
    }
    Ok(Outcome::Measured(Figures {
        wire: files::size(&case.work.join("delta"))?,
        encode: Some(encode),
        apply: Some(apply),
    }))
}

fn zstd(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let common = |task: Task| {
        task.args(["-q", "-f", "--long=31"])
            .joined("--patch-from=", case.old)
    };
    let encode = common(Task::new("zstd").args(["-T1", "-19"]))
        .arg(case.new)
        .arg("-o")
        .arg(case.work.join("delta"));
    let apply = common(Task::new("zstd").args(["-d", "--memory=2048MB"]))
        .arg(case.work.join("delta"))
        .arg("-o")
        .arg(case.work.join("out"));
    patch(case, encode, apply)
}

/// Its window must hold the old image: a power of two from 512 MiB up.
fn xdelta_window(old: u64) -> u64 {
    old.next_power_of_two().max(512 << 20)
}

fn xdelta(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let window = xdelta_window(files::size(case.old)?).to_string();
    let encode = Task::new("xdelta3")
        .args(["-f", "-e", "-9", "-S", "lzma", "-B", &window, "-s"])
        .arg(case.old)
        .arg(case.new)
        .arg(case.work.join("delta"));
    let apply = Task::new("xdelta3")
        .args(["-f", "-d", "-B", &window, "-s"])
        .arg(case.old)
        .arg(case.work.join("delta"))
        .arg(case.work.join("out"));
    patch(case, encode, apply)
}

fn bsdiff(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let task = |program: &str, second: &Path| {
        Task::new(program)
            .arg(case.old)
            .arg(second)
            .arg(case.work.join("delta"))
    };
    let out = case.work.join("out");
    patch(case, task("bsdiff", case.new), task("bspatch", &out))
}

fn zchunk(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let packed = |name: &str| case.work.join(name);
    let pack = |from: &Path, name: &str| {
        Task::new("zck")
            .args(["-u", "-o"])
            .arg(packed(name))
            .arg(from)
            .within(case.limit, "zck")
            .done()
    };
    pack(case.old, "old.zck")?;
    let (usage, _) = pack(case.new, "new.zck")?;
    let (_, said) = Task::new("zck_delta_size")
        .args([packed("old.zck"), packed("new.zck")])
        .within(case.limit, "zck_delta_size")
        .done()?;
    Ok(Outcome::Measured(Figures {
        wire: would_download(&said).with_context(|| format!("zck_delta_size said: {said}"))?,
        encode: Some(usage),
        apply: None,
    }))
}

/// The number in `Would download N of M bytes`.
fn would_download(said: &str) -> Option<u64> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("Would download "))?;
    line.split_whitespace().next()?.parse().ok()
}

fn casync(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let index = case.work.join("new.caibx");
    let store = |name: &str| case.work.join(format!("{name}.castr"));
    let make = |name: &str, index: &Path, from: &Path| {
        Task::new("casync")
            .arg("make")
            .joined("--store=", &store(name))
            .arg(index)
            .arg(from)
            .within(case.limit, "casync make")
            .done()
    };
    make("old", &case.work.join("old.caibx"), case.old)?;
    let (encode, _) = make("new", &index, case.new)?;
    let held = files::listing(&store("old"))?;
    let chunks = files::listing(&store("new"))?;
    let (apply, _) = Task::new("casync")
        .arg("extract")
        .joined("--store=", &store("new"))
        .joined("--seed=", case.old)
        .arg(&index)
        .arg(case.work.join("out"))
        .within(case.limit, "casync extract")
        .done()?;
    if !files::same(&case.work.join("out"), case.new)? {
        bail!("casync extract did not make {}", case.new.display());
    }
    Ok(Outcome::Measured(Figures {
        wire: files::size(&index)? + only_in_second(&held, &chunks),
        encode: Some(encode),
        apply: Some(apply),
    }))
}

/// Bytes of the files that only the second listing names.
fn only_in_second(first: &[(PathBuf, u64)], second: &[(PathBuf, u64)]) -> u64 {
    let names: std::collections::BTreeSet<&PathBuf> = first.iter().map(|(name, _)| name).collect();
    second
        .iter()
        .filter(|(name, _)| !names.contains(name))
        .map(|(_, size)| size)
        .sum()
}

fn ostree(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let server = case.work.join("server");
    let device = case.work.join("device");
    let delta = case.work.join("delta");
    let on = |repository: &Path| Task::new("ostree").joined("--repo=", repository);
    on(&server).args(["init", "--mode=archive"]).done()?;
    let commit = |tar: &Path| -> anyhow::Result<String> {
        let (_, said) = on(&server)
            .args(["commit", "-b", "image", "--tar-autocreate-parents"])
            .arg("--timestamp=2025-06-15 00:00:00 +0000")
            .joined("--tree=tar=", tar)
            .within(case.limit, "ostree commit")
            .done()?;
        let revision = said.split_whitespace().last().map(str::to_owned);
        revision.with_context(|| format!("ostree commit of {} said nothing", tar.display()))
    };
    let (old, new) = (commit(case.old_tree)?, commit(case.new_tree)?);
    let (encode, _) = on(&server)
        .args([
            "static-delta",
            "generate",
            "--inline",
            "--min-fallback-size=0",
        ])
        .args([format!("--from={old}"), format!("--to={new}")])
        .joined("--filename=", &delta)
        .within(case.limit, "ostree static-delta generate")
        .done()?;
    on(&device).args(["init", "--mode=bare-user"]).done()?;
    on(&device)
        .arg("pull-local")
        .arg(&server)
        .arg(&old)
        .within(case.limit, "ostree pull-local")
        .done()?;
    let (apply, _) = on(&device)
        .args(["static-delta", "apply-offline"])
        .arg(&delta)
        .within(case.limit, "ostree static-delta apply-offline")
        .done()?;
    // Every object of the new commit is there and is what it is called.
    on(&device)
        .args(["fsck", "--quiet"])
        .within(case.limit, "ostree fsck")
        .done()?;
    on(&device).args(["ls", &new]).done()?;
    Ok(Outcome::Measured(Figures {
        wire: files::size(&delta)?,
        encode: Some(encode),
        apply: Some(apply),
    }))
}

fn rauc_bundle(case: &Case<'_>) -> anyhow::Result<Outcome> {
    let (key, certificate) = (case.work.join("key.pem"), case.work.join("cert.pem"));
    Task::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
        ])
        .args(["-subj", "/CN=bench", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .done()?;
    let content = case.work.join("content");
    files::empty_directory(&content)?;
    let manifest = "[update]\ncompatible=bench\nversion=2\n\n[bundle]\nformat=plain\n\n\
                    [image.rootfs]\nfilename=rootfs.img\n";
    let path = content.join("manifest.raucm");
    std::fs::write(&path, manifest).with_context(|| path.display().to_string())?;
    let image = content.join("rootfs.img");
    std::fs::copy(case.new, &image).with_context(|| image.display().to_string())?;
    let bundle = case.work.join("bundle.raucb");
    let (usage, _) = Task::new("rauc")
        .arg("bundle")
        .joined("--cert=", &certificate)
        .joined("--key=", &key)
        .args([&content, &bundle])
        .within(case.limit, "rauc bundle")
        .done()?;
    Ok(Outcome::Measured(Figures {
        wire: files::size(&bundle)?,
        encode: Some(usage),
        apply: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::{Duration, Outcome, Peer, only_in_second, would_download, xdelta_window};

    #[test]
    fn reads_what_zchunk_would_download() {
        let said = "Would download 174875 of 177726 bytes\nMatched 129 of 179 chunks\n";
        assert_eq!(would_download(said), Some(174_875));
        assert_eq!(would_download("Matched 1 of 2 chunks\n"), None);
    }

    #[test]
    fn only_what_could_end_otherwise_is_tried_again() {
        let late = Outcome::OutOfTime {
            seconds: 60,
            doing: "encode".into(),
        };
        assert!(late.holds(Duration::from_secs(60)));
        assert!(!late.holds(Duration::from_secs(61)));
        let failed = Outcome::Failed("no room".into());
        assert!(!failed.holds(Duration::from_secs(1)));
        assert!(Outcome::SameAs(Peer::Zchunk).holds(Duration::from_secs(1)));
    }

    #[test]
    fn counts_only_chunks_that_are_new() {
        let old = [("a".into(), 5), ("b".into(), 7)];
        let new = [("b".into(), 7), ("c".into(), 11), ("d".into(), 13)];
        assert_eq!(only_in_second(&old, &new), 24);
    }

    #[test]
    fn window_holds_the_old_image() {
        assert_eq!(xdelta_window(448 << 20), 512 << 20);
        assert_eq!(xdelta_window(640 << 20), 1 << 30);
    }

    #[test]
    fn no_two_peers_share_a_name() {
        let names: std::collections::BTreeSet<_> = Peer::ALL.map(Peer::name).into();
        assert_eq!(names.len(), Peer::ALL.len());
        for peer in Peer::ALL {
            assert_eq!(Peer::named(peer.word()).unwrap(), peer);
        }
        assert!(Peer::named("rsync").is_err());
    }
}
