//! The cut server under a real kernel: what a Linux guest flushed is there after a power cut, what
//! it did not flush is not, and the guest finds the environment where `fw_env.config` says.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its equipment does, its helpers included"
)]

use std::process::Command;
use std::time::Duration;

use qemu_tests::board::{Board as _, DiskSpec, ENV_DRIVE, MAIN_DRIVE};
use qemu_tests::cache::Cache;
use qemu_tests::disk::DiskImage;
use qemu_tests::nbd::{CutServer, Kind, Survive};
use qemu_tests::rootfs::{Ingredients, RootfsSpec, SystemdRootfs, systemd};
use qemu_tests::uboot::{COPIES, COPY_SIZE, UbootBoard};

const BOOT: Duration = Duration::from_secs(180);
const COMMAND: Duration = Duration::from_secs(30);

/// The first device and offset that the shipped `fw_env.config` names.
fn shipped_environment() -> Vec<(String, u64, u64)> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    include_str!("../../boot/u-boot/fw_env.config")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[0].to_owned(), number(words[1]), number(words[2]))
        })
        .collect()
}

#[test]
#[ignore = "starts virtual machines"]
fn a_guest_keeps_what_it_flushed_and_loses_the_rest() {
    let cache = Cache::open().unwrap();
    let ingredients = Ingredients::prepare(&cache).unwrap();
    let image = SystemdRootfs::new(&ingredients)
        .unwrap()
        .image(&RootfsSpec::new("1.0"))
        .unwrap();
    let board = UbootBoard::new(&cache).unwrap();
    let work = tempfile::tempdir().unwrap();
    let disk = board
        .build_disk(&DiskSpec::new(&image, work.path()))
        .unwrap();
    let env = disk.env.clone().unwrap();

    let main_server = CutServer::start(&disk.main, &work.path().join("m")).unwrap();
    let env_server = CutServer::start_without_cache(&env, &work.path().join("e")).unwrap();
    let mut machine = board
        .machine(&disk, "power-cut", work.path())
        .backend(MAIN_DRIVE, &main_server.backend())
        .backend(ENV_DRIVE, &env_server.backend())
        .start()
        .unwrap();
    machine.wait_line(systemd::UP, BOOT).unwrap();
    println!("up after {:.2} s", machine.uptime().as_secs_f64());
    machine.wait_shell(BOOT).unwrap();

    // The environment, read by the guest at the place that the product's file names.
    let expected: Vec<_> = COPIES
        .map(|at| ("/dev/mmcblk0".to_owned(), at, COPY_SIZE))
        .into_iter()
        .collect();
    assert_eq!(shipped_environment(), expected);
    let (device, offset, _) = &expected[1];
    let read = format!(
        "dd if={device} bs=1 skip={} count=300 status=none | tr '\\0' '\\n'",
        offset + 5
    );
    let text = machine.shell(&read, COMMAND).unwrap();
    assert!(text.contains("BOOT_A_LEFT=2"), "{text}");

    // Slot b is a partition that nothing else writes: direct writes, no file system in between.
    let slot = DiskImage::open(&disk.main).partition("slot-b").unwrap();
    let write = |letter: char, block: u64, more: &str| {
        format!(
            "head -c 4096 /dev/zero | tr '\\0' {letter} | dd of=/dev/disk/by-partlabel/slot-b \
             bs=4096 seek={block} oflag=direct status=none {more}"
        )
    };
    machine
        .shell(&write('f', 0, "conv=fsync"), COMMAND)
        .unwrap();
    machine.shell(&write('l', 1, ""), COMMAND).unwrap();
    let unflushed = main_server.traffic().unflushed;
    machine.power_cut().unwrap();
    let flushes = main_server
        .log()
        .iter()
        .filter(|entry| entry.kind == Kind::Flush)
        .count();
    let report = main_server.cut(Survive::Nothing).unwrap();
    assert!(
        unflushed >= 8 && report.unflushed >= 8 && flushes > 0,
        "{report:?}, {flushes}"
    );
    let bytes = DiskImage::open(&disk.main).read(slot.offset, 8192).unwrap();
    assert!(
        bytes[..4096].iter().all(|byte| *byte == b'f'),
        "flushed and lost"
    );
    assert!(
        bytes[4096..].iter().all(|byte| *byte == 0),
        "not flushed and kept"
    );

    // What is left is a disk that a file system's recovery takes.
    let data = DiskImage::open(&disk.main).partition("data").unwrap();
    let copy = work.path().join("data");
    let content = DiskImage::open(&disk.main)
        .read(data.offset, data.length)
        .unwrap();
    std::fs::write(&copy, content).unwrap();
    let check = Command::new("/sbin/e2fsck")
        .args(["-fp"])
        .arg(&copy)
        .output()
        .unwrap();
    // 0: clean, 1: the journal was replayed.
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(matches!(check.status.code(), Some(0 | 1)), "{said}");
}
