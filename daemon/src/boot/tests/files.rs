//! The real files.

use std::io::ErrorKind;

use crate::boot::lock::Lock;
use crate::boot::{BootError, EnvFiles as _, FileKind, RealFiles};

#[test]
fn writes_in_place_and_never_creates_or_shortens_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("env");
    for result in [
        RealFiles.write(&path, 0, b"x"),
        RealFiles.probe_writable(&path),
        RealFiles.shorten(&path, 0),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert!(!path.exists());

    std::fs::write(&path, b"0123456789").unwrap();
    let before = RealFiles.facts(&path).unwrap();
    RealFiles.write(&path, 2, b"abc").unwrap();
    RealFiles.probe_writable(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"01abc56789");
    let after = RealFiles.facts(&path).unwrap();
    assert_eq!((after.identity, after.length), (before.identity, 10));
    assert_eq!(RealFiles.read(&path, 8, 100).unwrap(), b"89");
    RealFiles.shorten(&path, 20).unwrap();
    RealFiles.shorten(&path, 4).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"01ab");
}

#[test]
fn sees_holes_and_kinds_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("env");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(1024 * 1024)
        .unwrap();
    let facts = RealFiles.facts(&path).unwrap();
    assert_eq!((facts.kind, facts.length), (FileKind::Regular, 1024 * 1024));
    assert!(facts.allocated < facts.length);
    assert_eq!(
        RealFiles.facts("/dev/null".as_ref()).unwrap().kind,
        FileKind::CharacterDevice
    );
    assert_eq!(
        RealFiles.facts(directory.path()).unwrap().kind,
        FileKind::Other
    );
    let shared_memory = RealFiles.facts("/dev/shm".as_ref()).unwrap();
    assert_eq!(shared_memory.unsuitable_for_grub.as_deref(), Some("tmpfs"));
}

#[test]
fn lock_keeps_another_holder_out_until_it_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let missing = directory.path().join("nowhere/lock");
    let held = Lock::on_tools(&[missing.clone(), path.clone()]).unwrap();
    assert!(path.exists());
    let waiter = std::thread::spawn({
        let path = path.clone();
        move || Lock::on_file(&path).map(drop)
    });
    drop(held);
    waiter.join().unwrap().unwrap();
    let error = Lock::on_tools(std::slice::from_ref(&missing)).unwrap_err();
    assert!(matches!(error, BootError::Lock { path, .. } if path == missing));
}
