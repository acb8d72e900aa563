//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of the
//! daemon is broken.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use switchback_boot_env::contract::ContractKind;
use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{BootId, BootObservation, Event, Facts, SlotBoot, step};

use crate::fetch::multipart::{Multipart, boundary};
use crate::fetch::{Bundle, BundlePlace, Files as _, Source as _};
use crate::fetcher::{Fetcher as _, Remote};
use crate::journal::parts;
use crate::settings::{self, RepositorySettings};

/// One copy of a record: what is accepted is what would be written.
pub fn record(data: &[u8]) {
    if let Ok((generation, content)) = parts::decode(data) {
        assert_eq!(parts::encode(generation, content), data);
    }
}

/// The content of the journal: whatever state it holds, the daemon starts with it in either slot,
/// and the next state can be written and is read back the same.
pub fn journal(data: &[u8]) {
    let Some(state) = parts::parse(data) else {
        return;
    };
    for booted in SlotName::ALL {
        for seen in [
            SlotBoot::Bad,
            SlotBoot::Exhausted,
            SlotBoot::Ready { left: 2 },
        ] {
            let facts = Facts {
                now: Timestamp::EPOCH,
                booted,
                boot_id: BootId::new("another"),
                tries: 3,
                restart_automatically: true,
            };
            let observation = BootObservation {
                primary: Some(booted),
                a: seen,
                b: seen,
            };
            let next = step(&state, &Event::Started(observation), &facts).next;
            let bytes = parts::write(&next).expect("a state can be written");
            assert_eq!(parts::parse(&bytes), Some(next));
        }
    }
}

/// A bundle: it is refused, or it gives files that are no longer than allowed, and ends.
pub fn bundle(data: &[u8]) {
    const LIMIT: u64 = 4096;
    let reader = Box::new(std::io::Cursor::new(data.to_vec()));
    let Ok(bundle) = Bundle::open("fuzzed", reader) else {
        return;
    };
    let _ = bundle.release();
    for path in [
        "metadata/1.root.json",
        "content/a",
        "content/b",
        "content/a",
    ] {
        if let Ok(bytes) = bundle.file(path, LIMIT) {
            assert!(bytes.len() <= 4096);
        }
        if let Ok(mut stream) = bundle.stream(path, 1) {
            let read = std::io::copy(&mut stream, &mut std::io::sink());
            assert!(read.is_err() || read.is_ok_and(|read| read <= data.len() as u64));
        }
    }
}

/// What a process says that fetches and was taken over: the daemon takes no file longer than it asked for, shows text
/// in one line, and goes on.
pub fn fetcher(data: &[u8]) {
    // More than a socket holds would have to be written while it is read.
    let data = data.get(..data.len().min(64 * 1024)).unwrap_or_default();
    let Ok((ours, mut theirs)) = std::os::unix::net::UnixStream::pair() else {
        return;
    };
    theirs.write_all(data).expect("there is room");
    theirs
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    let repository = RepositorySettings {
        url: "https://repository".into(),
        ca_file: PathBuf::new(),
        root_file: PathBuf::new(),
        poll_interval: Duration::ZERO,
        stall_timeout: Duration::ZERO,
        max_rate: None,
        proxy: None,
        client: None,
    };
    let mut remote = Remote::over(ours, repository).expect("a socket can be used");
    for _ in 0..3 {
        match remote.repository().unless("x", 1000, Some("tag")) {
            Ok(Some(named)) => assert!(named.bytes.len() <= 1000),
            Ok(None) => {}
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
    let bundle = BundlePlace::Url("https://bundle".into());
    if let Err(error) = remote.open_bundle(bundle) {
        assert!(!error.contains(char::is_control));
    }
}

/// An answer with several ranges: the first line is its `Content-Type`, the rest its content. What it
/// gives are as many bytes as each part says, in ascending order, and no more parts than asked for.
pub fn multipart(data: &[u8]) {
    const PARTS: usize = 4;
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (kind, content) = data.split_at(end);
    let Some(boundary) = core::str::from_utf8(kind).ok().and_then(boundary) else {
        return;
    };
    let content = content.get(1..).unwrap_or_default();
    let mut multipart = Multipart::new(content, boundary, PARTS);
    let (mut parts, mut read, mut at) = (0, 0, 0);
    while let Ok(Some(range)) = multipart.next() {
        parts += 1;
        assert!(parts <= PARTS && at <= range.start && range.start < range.end);
        at = range.end;
        let mut buffer = [0; 100];
        let mut left = range.end - range.start;
        if parts == 2 {
            // Left for `next` to pass.
            continue;
        }
        loop {
            match multipart.read(&mut buffer) {
                Ok(0) => {
                    assert_eq!(left, 0);
                    break;
                }
                Ok(count) => {
                    left -= count as u64;
                    read += count;
                }
                Err(_) => return,
            }
        }
    }
    assert!(read <= data.len());
    multipart.end();
}

/// A configuration file: what is refused is explained, what is accepted can be used.
pub fn settings(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    match settings::from_text(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(settings) => {
            let boot = settings.boot;
            assert!(boot.tries > 0);
            assert!(
                boot.tries <= boot.contract.max_tries() || boot.contract == ContractKind::RaucGrub
            );
            assert_ne!(
                boot.bootnames.name(SlotName::A),
                boot.bootnames.name(SlotName::B)
            );
        }
    }
}
