//! Everything is served by a mirror that wants to do harm. The worst that it can do is delay, and that is said.
//!
//! Its encryption is good, as if its key were an attacker's: nothing depends on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchback_types::Timestamp;
use switchbackd::fetch::HttpSource;
use switchbackd::trust::{Asked, Trust};

use super::publisher::{NOW, Publisher, device};
use super::server::{Answer, Piece, Question, Server, answer, whole};

pub(super) const DAY: i64 = 24 * 60 * 60;

/// What is served under which path.
pub(super) type Files = BTreeMap<String, Vec<u8>>;
pub(super) type Answers = dyn Fn(&Question) -> Answer + Send + Sync;

/// A mirror whose behaviour can be changed.
pub(super) struct Mirror {
    pub(super) server: Server,
    answers: Arc<Mutex<Arc<Answers>>>,
}

impl Mirror {
    pub(super) fn new(files: Files) -> Self {
        let answers: Arc<Mutex<Arc<Answers>>> = Arc::new(Mutex::new(honest(files)));
        let current = Arc::clone(&answers);
        let server = Server::start(move |question| {
            let answers = Arc::clone(&current.lock().unwrap());
            answers(question)
        });
        Self { server, answers }
    }

    pub(super) fn does(&self, answers: Arc<Answers>) {
        *self.answers.lock().unwrap() = answers;
    }

    /// What a device that comes with this memory makes of it.
    fn asked(&self, trust: &mut Trust, at: i64) -> Asked {
        ask(trust, &self.source(), at)
    }

    pub(super) fn source(&self) -> HttpSource {
        let mut settings = self.server.settings();
        settings.stall_timeout = Duration::from_secs(1);
        HttpSource::new(&settings).unwrap()
    }
}

pub(super) fn ask(trust: &mut Trust, source: &HttpSource, at: i64) -> Asked {
    trust.ask(
        source,
        &device(),
        None,
        1,
        Timestamp::from_unix(at),
        &mut || {},
    )
}

pub(super) fn files(root: &Path) -> Files {
    let mut found = Files::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn file<'a>(files: &'a Files, question: &Question) -> Option<&'a Vec<u8>> {
    files.get(question.path.strip_prefix("/repository/")?)
}

pub(super) fn honest(files: Files) -> Arc<Answers> {
    Arc::new(move |question| match file(&files, question) {
        Some(bytes) => whole(bytes, question),
        None => answer("404 Not Found", "", b""),
    })
}

/// As an honest one, but for what `harm` makes of a file.
fn harmful(
    files: Files,
    harm: impl Fn(&Question, &[u8]) -> Option<Answer> + Send + Sync + 'static,
) -> Arc<Answers> {
    let good = honest(files.clone());
    Arc::new(move |question| {
        let bytes = file(&files, question);
        let harmed = bytes.and_then(|bytes| harm(question, bytes));
        harmed.unwrap_or_else(|| good(question))
    })
}

/// Three days, as the publisher left them: version 1, 2 and 3 in the channel.
pub(super) struct Story {
    pub(super) publisher: Publisher,
    pub(super) days: [Files; 3],
}

impl Story {
    pub(super) fn new() -> Self {
        let publisher = Publisher::new();
        let first = files(&publisher.path("repo"));
        publisher.publish("2");
        let second = files(&publisher.path("repo"));
        publisher.publish("3");
        let third = files(&publisher.path("repo"));
        Self {
            publisher,
            days: [first, second, third],
        }
    }
}

pub(super) fn offered(asked: &Asked) -> Option<&str> {
    match asked {
        Asked::Offer { release, .. } => Some(release.version.as_str()),
        _ => None,
    }
}

pub(super) fn said(asked: &Asked) -> (&'static str, &str) {
    match asked {
        Asked::Unreachable(text) => ("unreachable", text),
        Asked::Untrusted(text) => ("untrusted", text),
        Asked::Stale(text) => ("stale", text),
        other => panic!("{other:?}"),
    }
}

/// Devices that saw the second day meet the mirror, twice; then an honest one.
fn only_delays(story: &Story, harm: Arc<Answers>, expected: &str, part: &str) {
    let mirror = Mirror::new(story.days[1].clone());
    let state = tempfile::tempdir().unwrap();
    let mut trust = story.publisher.trust(state.path());
    assert_eq!(offered(&mirror.asked(&mut trust, NOW)), Some("2"));
    mirror.does(harm);
    for _ in 0..2 {
        let asked = mirror.asked(&mut trust, NOW + DAY);
        let (kind, text) = said(&asked);
        assert_eq!(kind, expected, "{text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    // Also after a restart nothing of it is left.
    drop(trust);
    let mut trust = story.publisher.trust(state.path());
    mirror.does(honest(story.days[2].clone()));
    assert_eq!(offered(&mirror.asked(&mut trust, NOW + DAY)), Some("3"));
}

#[test]
fn a_mirror_that_goes_back_is_refused() {
    let story = Story::new();
    let old = honest(story.days[0].clone());
    only_delays(&story, old, "untrusted", "timestamp.json");
}

#[test]
fn a_mirror_that_mixes_old_and_new_is_refused() {
    let story = Story::new();
    let [_, second, third] = &story.days;
    // The newest timestamp, and under the names that it leads to what was there the day before.
    for role in ["snapshot", "releases", "channels"] {
        let ending = format!(".{role}.json");
        let old = second
            .iter()
            .filter(|(name, _)| name.ends_with(&ending))
            .max_by_key(|(name, _)| version_in(name))
            .unwrap()
            .1
            .clone();
        let mixes = harmful(third.clone(), move |question, _| {
            question
                .path
                .ends_with(&ending)
                .then(|| whole(&old, question))
        });
        only_delays(&story, mixes, "untrusted", &format!(".{role}.json"));
    }
}

fn version_in(name: &str) -> u64 {
    let file = name.rsplit('/').next().unwrap();
    file.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn a_mirror_that_swaps_documents_is_refused() {
    let story = Story::new();
    let document = |day: usize, part: &str| {
        let files = &story.days[day];
        let found = files.iter().find(|(name, _)| name.contains(part));
        found.unwrap().1.clone()
    };
    let other = document(0, "targets/releases/kiosk/1/");
    let swaps = harmful(story.days[2].clone(), move |question, _| {
        let release = question.path.contains("targets/releases/kiosk/3/");
        release.then(|| whole(&other, question))
    });
    only_delays(&story, swaps, "untrusted", "releases/kiosk/3");
}

#[test]
fn a_mirror_that_changes_or_cuts_any_file_is_refused() {
    let story = Story::new();
    let parts = ["timestamp.json", ".snapshot.json", "channels/", "releases/"];
    for part in parts {
        let changes = harmful(story.days[2].clone(), move |question, bytes| {
            let mut bytes = bytes.to_vec();
            // A digit of a signature, a digest or a text: somewhere in the middle.
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            question
                .path
                .contains(part)
                .then(|| whole(&bytes, question))
        });
        only_delays(&story, changes, "untrusted", "");
        let cuts = harmful(story.days[2].clone(), move |question, bytes| {
            let cut = question.path.contains(part);
            cut.then(|| {
                let mut pieces = whole(bytes, question);
                if let Some(Piece::Bytes(bytes)) = pieces.first_mut() {
                    bytes.truncate(bytes.len() - 10);
                }
                pieces.push(Piece::Close);
                pieces
            })
        });
        only_delays(&story, cuts, "unreachable", "the file is truncated");
    }
}

#[test]
fn a_mirror_that_never_ends_or_drips_is_left() {
    let story = Story::new();
    let endless = harmful(story.days[2].clone(), |question, _| {
        question.path.ends_with("timestamp.json").then(|| {
            let mut pieces = vec![Piece::Bytes(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            )];
            let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
            pieces.extend((0..1000).map(|_| Piece::Bytes(chunk.clone())));
            pieces
        })
    });
    only_delays(&story, endless, "unreachable", "nothing of it was used");
    let drips = harmful(story.days[2].clone(), |question, bytes| {
        question.path.ends_with("timestamp.json").then(|| {
            let mut pieces = Vec::new();
            for piece in whole(bytes, question) {
                if let Piece::Bytes(bytes) = piece {
                    let (head, rest) = bytes.split_at(100);
                    pieces.push(Piece::Bytes(head.to_vec()));
                    for byte in rest {
                        pieces.push(Piece::Pause(Duration::from_millis(600)));
                        pieces.push(Piece::Bytes(vec![*byte]));
                    }
                }
            }
            pieces
        })
    });
    only_delays(&story, drips, "unreachable", "bytes in");
}

#[test]
fn a_mirror_that_freezes_is_noticed_when_signatures_end() {
    let story = Story::new();
    let mirror = Mirror::new(story.days[1].clone());
    let state = tempfile::tempdir().unwrap();
    let mut trust = story.publisher.trust(state.path());
    // Day by day the same: the device cannot know that there is more, until the timestamp's two weeks are over.
    for day in [0, 5, 13] {
        assert_eq!(
            offered(&mirror.asked(&mut trust, NOW + day * DAY)),
            Some("2")
        );
    }
    let asked = mirror.asked(&mut trust, NOW + 15 * DAY);
    let (kind, text) = said(&asked);
    assert_eq!(kind, "stale", "{text}");
    assert!(text.contains("timestamp"), "{text}");
    // A publisher who signs afresh, behind an honest mirror, ends it.
    *story.publisher.now.borrow_mut() = NOW + 15 * DAY;
    story.publisher.run(&["refresh"]);
    mirror.does(honest(files(&story.publisher.path("repo"))));
    assert_eq!(
        offered(&mirror.asked(&mut trust, NOW + 15 * DAY)),
        Some("3")
    );
}
