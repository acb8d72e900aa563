//! Fetched and decoded by the process without rights, as on a device.

mod liars;

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use switchback_manifest::TrustedRelease;
use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{ImageIdentity, InstallFailure};
use switchbackd::cancel::Cancel;
use switchbackd::fetch::{BundlePlace, FetchError};
use switchbackd::fetcher::{Fetcher as _, Order, Remote};
use switchbackd::identity::Identity;
use switchbackd::install::{Choice, Installed, Way, identity};
use switchbackd::slot::{KernelDevices, Layout, Located};
use switchbackd::trust::Asked;

use super::identity::{Devices, hello};
use super::mirror::{Answers, Mirror, files, honest};
use super::publisher::{NOW, Publisher, device};
use super::server::{Piece, answer, settings};

const SIZE: usize = 3 << 20;

/// What the socket unit is on a device: a process for each connection.
struct Units {
    socket: PathBuf,
    started: Arc<Mutex<Vec<Child>>>,
    _directory: tempfile::TempDir,
}

impl Units {
    fn new() -> Self {
        Self::with(|connection| {
            let program = env!("CARGO_BIN_EXE_switchbackd");
            let child = Command::new(program)
                .arg("fetch")
                .stdin(OwnedFd::from(connection))
                .spawn();
            Some(child.unwrap())
        })
    }

    fn with(start: impl Fn(UnixStream) -> Option<Child> + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fetch");
        let listener = UnixListener::bind(&socket).unwrap();
        let started: Arc<Mutex<Vec<Child>>> = Arc::default();
        let all = Arc::clone(&started);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                all.lock().unwrap().extend(start(connection));
            }
        });
        Self {
            socket,
            started,
            _directory: directory,
        }
    }

    fn count(&self) -> usize {
        self.started.lock().unwrap().len()
    }

    /// Whether all that were started end by themselves.
    fn all_end(&self) -> bool {
        let begun = Instant::now();
        let mut started = self.started.lock().unwrap();
        while begun.elapsed() < Duration::from_secs(10) {
            if started
                .iter_mut()
                .all(|child| child.try_wait().unwrap().is_some())
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        for child in self.started.lock().unwrap().iter_mut() {
            let _gone_already = child.kill();
            let _ = child.wait();
        }
    }
}

/// Version 1 runs, version 2 is published, with a delta between them.
struct Story {
    publisher: Publisher,
    images: [Vec<u8>; 2],
    directory: tempfile::TempDir,
    mirror: Mirror,
}

fn image(version: u8) -> Vec<u8> {
    let mut bytes = super::file(SIZE as u32);
    for (at, byte) in bytes.iter_mut().enumerate().skip(SIZE / 2).step_by(40_000) {
        *byte = version.wrapping_add(at as u8);
    }
    bytes
}

impl Story {
    fn new() -> Self {
        let publisher = Publisher::new();
        let images = [image(1), image(2)];
        for (bytes, version) in images.iter().zip(["1.1", "2"]) {
            publisher.publish_image(version, bytes, &[]);
        }
        let mirror = Mirror::new(files(&publisher.path("repo")));
        let story = Self {
            publisher,
            images,
            // Not in /tmp, which may be a file system without direct I/O.
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            mirror,
        };
        fs::write(story.slot("a"), &story.images[0]).unwrap();
        fs::write(story.slot("b"), vec![0; SIZE]).unwrap();
        story
    }

    fn slot(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn layout(&self) -> Layout {
        let [a, b] = ["a", "b"].map(|name| Located {
            path: self.slot(name),
            number: String::new(),
        });
        Layout {
            a,
            b,
            booted: SlotName::A,
            contact: None,
            environment_bad: false,
            devices: Arc::new(KernelDevices),
        }
    }

    fn remote(&self, units: &Units) -> Remote {
        let mut settings = self.mirror.server.settings();
        settings.stall_timeout = Duration::from_secs(5);
        Remote::new(&units.socket, settings, None)
    }

    /// What the mirror offers.
    fn offer(&self, remote: &Remote) -> Box<TrustedRelease> {
        let mut trust = self.publisher.trust(&self.directory.path().join("trust"));
        let now = Timestamp::from_unix(NOW);
        match trust.ask(remote.repository(), &device(), None, 0, now, &mut || {}) {
            Asked::Offer { release, .. } => release,
            other => panic!("{other:?}"),
        }
    }

    fn running(&self, release: &TrustedRelease) -> ImageIdentity {
        ImageIdentity {
            version: "1.1".parse().unwrap(),
            sequence: 2,
            sha256: release.deltas[0].from,
            ..identity(release)
        }
    }

    fn install(
        &self,
        remote: &mut Remote,
        release: &TrustedRelease,
        bundled: bool,
        cancel: &Cancel,
    ) -> (Result<Installed, InstallFailure>, Vec<Choice>) {
        let mut choices = Vec::new();
        let (mut told, mut received) = (0, 0);
        let outcome = remote.install(Order {
            release,
            running: Some(&self.running(release)),
            begun: false,
            bundled,
            layout: &self.layout(),
            cancel,
            chosen: &mut |choice| choices.push(choice),
            progress: &mut |progress| {
                told += 1;
                received = progress.received;
            },
            pause: &mut |_| panic!("the daemon waits for nothing"),
        });
        assert!(outcome.is_err() || told > 3, "{told}");
        // Also while the slot is read back, which is told last.
        if let Ok(installed) = &outcome {
            assert_eq!(received, installed.fetched.bytes);
        }
        (outcome, choices)
    }

    /// Puts the content's answers in front of the mirror's good ones.
    fn content(&self, harm: impl Fn(&str) -> Option<Vec<Piece>> + Send + Sync + 'static) {
        let good = honest(files(&self.publisher.path("repo")));
        let answers: Arc<Answers> = Arc::new(move |question| {
            let content = question.path.contains("/content/");
            let harmed = content.then(|| harm(&question.path)).flatten();
            harmed.unwrap_or_else(|| good(question))
        });
        self.mirror.does(answers);
    }

    fn is_installed(&self) -> bool {
        fs::read(self.slot("b")).unwrap() == self.images[1]
    }
}

fn ways(choices: &[Choice]) -> Vec<Way> {
    choices.iter().map(|choice| choice.way).collect()
}

#[test]
fn an_update_comes_through_the_other_process() {
    let (story, units) = (Story::new(), Units::new());
    let mut remote = story.remote(&units);
    let release = story.offer(&remote);
    let (outcome, choices) = story.install(&mut remote, &release, false, &Cancel::default());
    let installed = outcome.unwrap();
    assert_eq!(ways(&choices), [Way::Delta]);
    assert_eq!(installed.slot.slot(), SlotName::B);
    assert_eq!(installed.fetched.way, Way::Delta);
    assert!(story.is_installed());
    // It was one process, and it ends when nobody asks any more.
    assert_eq!(units.count(), 1);
    remote.rest();
    assert!(units.all_end());
}

#[test]
fn each_way_leads_through_it() {
    let story = Story::new();
    let units = Units::new();
    let release = story.offer(&story.remote(&units));
    let delta = release.deltas[0].blob.path();
    let chunks = release.chunks.as_ref().unwrap().index.path();
    // What is not there is fetched in another way.
    for (missing, way) in [
        (vec![delta.clone()], Way::Chunks),
        (vec![delta, chunks], Way::Full),
    ] {
        fs::write(story.slot("b"), vec![0; SIZE]).unwrap();
        story.content(move |path| {
            let gone = missing.iter().any(|missing| path.ends_with(missing));
            gone.then(|| answer("404 Not Found", "", b""))
        });
        let mut remote = story.remote(&units);
        let (outcome, choices) = story.install(&mut remote, &release, false, &Cancel::default());
        assert_eq!(outcome.unwrap().fetched.way, way);
        assert_eq!(choices.last().unwrap().way, way);
        assert!(story.is_installed());
    }
}

#[test]
fn a_bundle_is_opened_there_too() {
    let (story, units) = (Story::new(), Units::new());
    let path = story.publisher.path("x.bundle");
    let name = path.to_str().unwrap();
    story
        .publisher
        .run_keyless(&["bundle", "--version", "2", "--output", name]);
    let bytes = fs::read(&path).unwrap();
    let served = super::server::Server::of(&bytes, super::server::whole);
    let url = format!("https://localhost:{}/x.bundle", served.port);
    let file = fs::File::open(&path).unwrap();
    let name = name.to_owned();
    for place in [BundlePlace::File { name, file }, BundlePlace::Url(url)] {
        fs::write(story.slot("b"), vec![0; SIZE]).unwrap();
        let both = story.slot("ca.pem");
        let mut text = fs::read_to_string(served.ca_file()).unwrap();
        text += &fs::read_to_string(story.mirror.server.ca_file()).unwrap();
        fs::write(&both, text).unwrap();
        let url = &story.mirror.server.settings().url;
        let mut remote = Remote::new(&units.socket, settings(url, both), None);
        let (product, version) = remote.open_bundle(place).unwrap();
        let mut trust = story.publisher.trust(&story.directory.path().join("trust"));
        let now = Timestamp::from_unix(NOW);
        let asked = trust.bundled(remote.bundle().unwrap(), &product, &version, now);
        let Asked::Bundled(release) = asked else {
            panic!("{asked:?}");
        };
        let before = story.mirror.server.asked().len();
        let (outcome, _) = story.install(&mut remote, &release, true, &Cancel::default());
        outcome.unwrap();
        assert!(story.is_installed());
        assert_eq!(
            story.mirror.server.asked().len(),
            before,
            "the repository was asked"
        );
        remote.close_bundle();
        assert!(remote.bundle().is_none());
    }
    let mut remote = story.remote(&units);
    let name = "nothing".to_owned();
    let file = fs::File::open("/dev/null").unwrap();
    let error = remote
        .open_bundle(BundlePlace::File { name, file })
        .unwrap_err();
    assert!(error.starts_with("nothing: "), "{error}");
}

#[test]
fn one_question_is_enough_for_another_process_too() {
    let (story, units) = (Story::new(), Units::new());
    let good = honest(files(&story.publisher.path("repo")));
    story.mirror.does(Arc::new(move |question| {
        if question.header("if-none-match") == Some("\"one\"") {
            return answer("304 Not Modified", "", b"");
        }
        let mut pieces = good(question);
        if let Some(Piece::Bytes(bytes)) = pieces.first_mut() {
            let text = b"HTTP/1.1 200 OK\r\n";
            if bytes.starts_with(text) {
                bytes.splice(text.len()..text.len(), *b"ETag: \"one\"\r\n");
            }
        }
        pieces
    }));
    let mut remote = story.remote(&units);
    let mut trust = story.publisher.trust(&story.directory.path().join("trust"));
    let now = Timestamp::from_unix(NOW);
    for round in 0..3 {
        let before = story.mirror.server.asked().len();
        let asked = trust.ask(remote.repository(), &device(), None, 0, now, &mut || {});
        assert!(matches!(asked, Asked::Offer { .. }), "{asked:?}");
        let questions = story.mirror.server.asked().len() - before;
        assert_eq!(questions == 1, round > 0, "{questions}");
        remote.rest();
    }
    assert_eq!(units.count(), 3);
}

#[test]
fn called_off_means_at_once_also_while_a_server_stalls() {
    let (story, units) = (Story::new(), Units::new());
    let mut remote = story.remote(&units);
    let release = story.offer(&remote);
    story.content(|_| Some(vec![Piece::Pause(Duration::from_secs(4)), Piece::Cut]));
    let cancel = Cancel::default();
    let later = cancel.clone();
    let begun = Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        later.request();
    });
    let (outcome, _) = story.install(&mut remote, &release, false, &cancel);
    assert!(
        matches!(outcome, Err(InstallFailure::Cancelled)),
        "{outcome:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert!(units.all_end());
    // The next one is not held up by it.
    story.content(|_| None);
    let (outcome, _) = story.install(&mut remote, &release, false, &Cancel::default());
    outcome.unwrap();
}

#[test]
fn a_way_on_which_the_process_dies_is_left() {
    let (story, units) = (Story::new(), Units::new());
    let mut remote = story.remote(&units);
    let release = story.offer(&remote);
    let delta = release.deltas[0].blob.path();
    let started = Arc::clone(&units.started);
    story.content(move |path| {
        if path.ends_with(&delta) {
            for child in started.lock().unwrap().iter_mut() {
                let _gone_already = child.kill();
            }
        }
        None
    });
    let (outcome, choices) = story.install(&mut remote, &release, false, &Cancel::default());
    assert_eq!(outcome.unwrap().fetched.way, Way::Chunks);
    assert_eq!(ways(&choices), [Way::Delta, Way::Delta, Way::Chunks]);
    let reason = &choices[2].reason;
    assert!(
        reason.contains("the process that fetches ended"),
        "{reason}"
    );
    assert!(story.is_installed());
}

#[test]
fn nobody_at_the_socket_is_said_with_the_way_out() {
    let story = Story::new();
    let settings = story.mirror.server.settings();
    let remote = Remote::new(&story.slot("nothing"), settings, None);
    match remote.repository().file("x", 10).unwrap_err() {
        FetchError::Transport { detail, .. } => {
            assert!(
                detail.contains("systemctl status switchback-fetch.socket"),
                "{detail}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_stays_with_the_daemon() {
    let devices = Devices::new();
    let server = devices.server(false, hello);
    let mut settings = server.settings();
    settings.client = Some(devices.identity());
    let key = || Some(Identity::load(&devices.identity()).unwrap());
    let units = Units::new();
    let remote = Remote::new(&units.socket, settings.clone(), key());
    assert_eq!(remote.repository().file("x", 5).unwrap(), b"hello");
    // What the other process is told.
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let listening = Units::with(move |mut connection| {
        let hears = Arc::clone(&hears);
        std::thread::spawn(move || {
            connection
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let mut bytes = Vec::new();
            let _only_time_passed = connection.read_to_end(&mut bytes);
            hears.lock().unwrap().extend(bytes);
        });
        None
    });
    let remote = Remote::new(&listening.socket, settings, key());
    assert!(remote.repository().file("x", 5).is_err());
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(heard.contains("BEGIN CERTIFICATE"), "{heard}");
    assert!(!heard.contains("PRIVATE KEY"), "{heard}");
}
