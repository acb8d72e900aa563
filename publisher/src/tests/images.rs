//! Real images, made by the tools that people make them with.

use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::world::{World, noise};

/// Held while a process is being started.
static STARTING: Mutex<()> = Mutex::new(());

/// Runs a command to its end. A child has the parent's locked files until it has become another
/// program: [`no_child_starts`] waits for that.
pub(super) fn output(command: &mut Command) -> std::io::Result<Output> {
    let child = {
        let _starting = STARTING.lock();
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn()
    };
    child?.wait_with_output()
}

/// Returns when no other test is starting a process: a lock that was let go is free then.
pub(crate) fn no_child_starts() {
    drop(STARTING.lock());
}

/// Runs a tool; what it needs is named when it is not there.
pub(super) fn run(program: &str, package: &str, arguments: &[&str], time: &str) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("E2FSPROGS_FAKE_TIME", time)
        .env_remove("SOURCE_DATE_EPOCH");
    let output = output(&mut command)
        .unwrap_or_else(|error| panic!("{program} (Debian package {package}): {error}"));
    assert!(output.status.success(), "{program}: {output:?}");
}

/// A directory tree with some files, directories, a link, and a file of many blocks.
pub(super) fn tree(world: &World, name: &str) -> PathBuf {
    let root = world.path(name);
    fs::create_dir_all(root.join("etc/app")).unwrap();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("etc/app/config"), b"speed = 1\n".repeat(30)).unwrap();
    for number in 0..40_u64 {
        let bytes = noise(1000 + number, 20_000);
        fs::write(root.join(format!("usr/bin/tool-{number:02}")), bytes).unwrap();
    }
    fs::write(root.join("usr/bin/large"), noise(7, 900_000)).unwrap();
    for directory in ["etc/app", "usr/bin"] {
        for file in fs::read_dir(root.join(directory)).unwrap() {
            not_yet_read(&file.unwrap().path());
        }
    }
    std::os::unix::fs::symlink("large", root.join("usr/bin/link")).unwrap();
    root
}

/// Has the system think that a file was read later than it was changed: then reading it again
/// does not change its times.
fn not_yet_read(file: &Path) {
    let later = SystemTime::now() + Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_times(FileTimes::new().set_accessed(later))
        .unwrap();
}

/// What identifies an ext4 image beside its files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) uuid: &'static str,
    pub(super) hash_seed: &'static str,
    pub(super) time: &'static str,
    pub(super) features: &'static str,
}

pub(super) const IDENTITY: Identity = Identity {
    uuid: "6d2f1c3e-0a5b-4c7d-9e8f-123456789abc",
    hash_seed: "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff",
    time: "1795000000",
    features: "^has_journal",
};

/// An ext4 image of 8 MiB of a tree.
pub(super) fn ext4(tree: &Path, image: &Path, identity: Identity) -> Vec<u8> {
    let extended = format!("hash_seed={},root_owner=0:0", identity.hash_seed);
    let arguments = [
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        "1024",
        "-I",
        "256",
        "-U",
        identity.uuid,
        "-E",
        &extended,
        "-O",
        identity.features,
        "-d",
        tree.to_str().unwrap(),
        image.to_str().unwrap(),
        "8M",
    ];
    run("mke2fs", "e2fsprogs", &arguments, identity.time);
    fs::read(image).unwrap()
}

/// A squashfs image of a tree.
pub(super) fn squashfs(tree: &Path, image: &Path, more: &[&str]) -> Vec<u8> {
    let mut arguments = vec![
        tree.to_str().unwrap(),
        image.to_str().unwrap(),
        "-quiet",
        "-no-progress",
        "-noappend",
        "-all-root",
    ];
    arguments.extend(more);
    run("mksquashfs", "squashfs-tools", &arguments, "0");
    fs::read(image).unwrap()
}

/// An erofs image of a tree.
pub(super) fn erofs(tree: &Path, image: &Path, more: &[&str]) -> Vec<u8> {
    let mut arguments = vec!["--quiet"];
    arguments.extend(more);
    arguments.extend([image.to_str().unwrap(), tree.to_str().unwrap()]);
    run("mkfs.erofs", "erofs-utils", &arguments, "0");
    fs::read(image).unwrap()
}
