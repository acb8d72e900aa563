//! The U-Boot board: what `boot/u-boot/boot.cmd` does with its variables, under a real U-Boot.
//!
//! Most of it needs no kernel: with both slots empty, U-Boot says which slot it would have started
//! and goes on to the next, all in one start of half a second.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its equipment does, its helpers included"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qemu_tests::board::{Board as _, Disk, DiskSpec, ENV_DRIVE, MAIN_DRIVE};
use qemu_tests::cache::Cache;
use qemu_tests::image::Image;
use qemu_tests::machine::{Machine, MachineBuilder};
use qemu_tests::nbd::{CutPoint, CutServer, Survive};
use qemu_tests::rootfs::{Ingredients, RootfsSpec, TinyRootfs, tiny};
use qemu_tests::uboot::{COPY_SIZE, UbootBoard};

const SOON: Duration = Duration::from_secs(60);

/// The script's last words when no slot loads.
const GIVEN_UP: &str = "nothing loads";

/// A board with two slots that hold nothing.
struct Bench {
    board: UbootBoard,
    disk: Disk,
    work: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let board = UbootBoard::new(&Cache::open().unwrap()).unwrap();
        let work = tempfile::tempdir().unwrap();
        let zeros = work.path().join("zeros");
        std::fs::write(&zeros, vec![0; 1 << 20]).unwrap();
        let image = Image::at(zeros).unwrap();
        let disk = board
            .build_disk(&DiskSpec::new(&image, work.path()))
            .unwrap();
        Self { board, disk, work }
    }

    fn machine(&self) -> MachineBuilder {
        self.board
            .machine(&self.disk, "u-boot", self.work.path())
            .no_network()
    }

    /// Starts once and returns what the script said.
    fn run(&self) -> Vec<String> {
        let mut machine = self.machine().start().unwrap();
        machine.wait_line(GIVEN_UP, SOON).unwrap();
        script_lines(&machine)
    }

    fn variables(&self) -> BTreeMap<String, String> {
        self.board.read_env(&self.disk).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }
}

fn script_lines(machine: &Machine) -> Vec<String> {
    let lines = machine.lines();
    lines
        .iter()
        .filter_map(|line| line.text.strip_prefix("SB: "))
        .map(str::to_owned)
        .collect()
}

/// The slots that were tried, in order, and `refill` where the tries were given back.
fn attempts(lines: &[String]) -> Vec<&str> {
    let attempt = |line: &'_ String| {
        if line.ends_with("refilling") {
            return Some("refill");
        }
        ["A", "B"]
            .into_iter()
            .find(|slot| line.starts_with(&format!("slot={slot} order=")))
    };
    lines.iter().filter_map(attempt).collect()
}

#[test]
#[ignore = "starts virtual machines"]
fn slots_are_tried_in_order_once_and_nothing_ends_at_a_prompt() {
    type Changes = &'static [(&'static str, &'static str)];
    let cases: &[(Changes, &[&str])] = &[
        (&[], &["A", "B", "refill"]),
        (&[("BOOT_ORDER", "B A")], &["B", "A", "refill"]),
        // Out of tries, or no number at all: the slot's turn comes after the refill.
        (&[("BOOT_A_LEFT", "0")], &["B", "refill", "A"]),
        (&[("BOOT_A_LEFT", "many")], &["B", "refill", "A"]),
        (
            &[("BOOT_A_LEFT", "0"), ("BOOT_B_LEFT", "0")],
            &["refill", "A", "B"],
        ),
        // A slot outside the order is the last resort, whatever its tries.
        (&[("BOOT_ORDER", "B")], &["B", "refill", "A"]),
        (&[("BOOT_ORDER", "rescue")], &["refill", "A", "B"]),
        (&[("BOOT_ORDER", "rescue B A")], &["B", "A", "refill"]),
        (&[("BOOT_ORDER", "A A B")], &["A", "B", "refill"]),
        (&[("BOOT_ORDER", "")], &["A", "B", "refill"]),
    ];
    let bench = Bench::new();
    let factory = [
        ("BOOT_ORDER", "A B"),
        ("BOOT_A_LEFT", "3"),
        ("BOOT_B_LEFT", "3"),
    ];
    for (changes, expected) in cases {
        bench.board.set(&bench.disk, &factory).unwrap();
        bench.board.set(&bench.disk, changes).unwrap();
        let lines = bench.run();
        assert_eq!(attempts(&lines), *expected, "{changes:?}: {lines:#?}");
    }
}

#[test]
#[ignore = "starts virtual machines"]
fn tries_are_hexadecimal_and_counted_in_one_write_each() {
    let bench = Bench::new();
    let tries = [("BOOT_A_LEFT", "10"), ("BOOT_B_LEFT", "a")];
    bench.board.set(&bench.disk, &tries).unwrap();
    let card =
        CutServer::start_without_cache(bench.disk.env.as_ref().unwrap(), &bench.path("s")).unwrap();
    let mut machine = bench
        .machine()
        .backend(ENV_DRIVE, &card.backend())
        .start()
        .unwrap();
    machine.wait_line(GIVEN_UP, SOON).unwrap();
    machine.power_cut().unwrap();

    let sectors: u64 = card.log().iter().map(|request| request.sectors).sum();
    assert_eq!(sectors, 2 * COPY_SIZE / 512, "two tries, one copy each");
    card.cut(Survive::Nothing).unwrap();
    let variables = bench.variables();
    assert_eq!(
        (&*variables["BOOT_A_LEFT"], &*variables["BOOT_B_LEFT"]),
        ("f", "9")
    );
}

#[test]
#[ignore = "starts virtual machines"]
fn variables_that_are_not_ours_stay_and_no_scratch_variable_is_stored() {
    let bench = Bench::new();
    bench
        .board
        .set(
            &bench.disk,
            &[("BOOT_ORDER", "rescue A B"), ("serial", "0815")],
        )
        .unwrap();
    let before = bench.variables();
    bench.run();
    let after = bench.variables();
    assert_eq!(
        (&*after["BOOT_ORDER"], &*after["serial"]),
        ("rescue A B", "0815")
    );
    let new: Vec<_> = after
        .keys()
        .filter(|name| !before.contains_key(*name))
        .collect();
    // Left there by U-Boot itself while it looks for the script.
    let from_uboot = ["bootfstype", "devplist", "fdtcontroladdr", "fileaddr"];
    assert!(
        new.iter().all(|name| from_uboot.contains(&name.as_str())),
        "{new:?}"
    );
}

#[test]
#[ignore = "starts virtual machines"]
fn a_lost_environment_is_replaced_by_defaults() {
    let bench = Bench::new();
    for copy in [0, 1] {
        bench
            .board
            .write_copy(&bench.disk, copy, 0, &[0xff; 512])
            .unwrap();
    }
    let lines = bench.run();
    assert_eq!(attempts(&lines), ["A", "B", "refill"], "{lines:#?}");
    let variables = bench.variables();
    let ours = ["BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT"].map(|name| &*variables[name]);
    assert_eq!(ours, ["A B", "2", "2"]);
    assert!(
        variables.contains_key("bootcmd"),
        "the next start finds its way to the script"
    );
}

#[test]
#[ignore = "starts virtual machines"]
fn a_damaged_copy_costs_nothing_and_is_written_over() {
    let bench = Bench::new();
    bench.run();
    let [first, second] = bench.board.read_copies(&bench.disk).unwrap();
    // Two saves after a card with one copy: the newer state is in the first one again.
    assert_ne!(first, second);
    bench
        .board
        .write_copy(&bench.disk, 0, 100, &[first[100] ^ 1])
        .unwrap();
    assert_eq!(
        bench.variables()["BOOT_B_LEFT"],
        "3",
        "the older copy is valid"
    );
    bench.run();
    assert_eq!(bench.variables()["BOOT_B_LEFT"], "2");
}

#[test]
#[ignore = "starts virtual machines"]
fn without_a_writable_environment_it_goes_on_and_says_so() {
    let bench = Bench::new();
    let disk = Disk {
        main: bench.disk.main.clone(),
        env: None,
    };
    let machine = bench
        .board
        .machine(&disk, "no-card", bench.work.path())
        .no_network();
    let mut machine = machine.start().unwrap();
    machine.wait_line(GIVEN_UP, SOON).unwrap();
    let lines = script_lines(&machine);
    assert_eq!(attempts(&lines), ["A", "B", "refill"], "{lines:#?}");
    assert_eq!(
        lines.iter().filter(|line| *line == "SAVE FAILED").count(),
        2,
        "{lines:#?}"
    );
}

/// Cuts the power inside each sector of a save, and before and after it.
#[test]
#[ignore = "starts virtual machines"]
fn a_power_cut_in_saveenv_leaves_the_old_or_the_new_environment() {
    let bench = Bench::new();
    let card = bench.disk.env.clone().unwrap();
    let factory = std::fs::read(&card).unwrap();
    let sectors = COPY_SIZE / 512;
    // The ends, where the header and the last byte of the text are, and steps between.
    let points = [1, 2, 3, 8, 9, 10, 11, 16, sectors - 1, sectors];
    for point in points {
        for survive in [Survive::Nothing, Survive::Everything] {
            std::fs::write(&card, &factory).unwrap();
            let server = CutServer::start_without_cache(&card, &bench.path("s")).unwrap();
            let reached = server.cut_at(CutPoint::Change(point));
            let machine = bench
                .machine()
                .backend(ENV_DRIVE, &server.backend())
                .start()
                .unwrap();
            reached.recv_timeout(SOON).unwrap();
            machine.power_cut().unwrap();
            server.cut(survive).unwrap();

            let left = bench.variables()["BOOT_A_LEFT"].clone();
            // The tail of a copy is padding, so the new state may be whole before the save's end.
            let possible: &[&str] = match (point, survive) {
                (1, Survive::Nothing) => &["3"],
                (last, Survive::Everything) if last == sectors => &["2"],
                _ => &["3", "2"],
            };
            assert!(
                possible.contains(&left.as_str()),
                "{point} {survive:?}: {left}"
            );
            assert_eq!(
                attempts(&bench.run()),
                ["A", "B", "refill"],
                "{point} {survive:?}"
            );
        }
    }
}

/// The guest's own marker: which slot runs.
fn boot(machine: &MachineBuilder) -> (String, Vec<String>, Duration) {
    let mut machine = machine.start().unwrap();
    let line = machine.wait_line(tiny::UP, SOON).unwrap();
    let took = machine.uptime();
    let lines = script_lines(&machine);
    machine.power_cut().unwrap();
    (line, lines, took)
}

#[test]
#[ignore = "starts virtual machines"]
fn a_guest_that_nobody_marks_good_runs_out_of_tries_and_the_other_slot_follows() {
    let cache = Cache::open().unwrap();
    let ingredients = Ingredients::prepare(&cache).unwrap();
    let image = TinyRootfs::new(&ingredients)
        .unwrap()
        .image(&RootfsSpec::new("1.0"))
        .unwrap();
    let board = UbootBoard::new(&cache).unwrap();
    let work = tempfile::tempdir().unwrap();
    let spec = DiskSpec::new(&image, work.path()).slot_b(&image);
    let disk = board.build_disk(&spec).unwrap();
    let card = disk.env.clone().unwrap();

    let expected = [
        "A 2 3", "A 1 3", "A 0 3", "B 0 2", "B 0 1", "B 0 0", "A 2 3",
    ];
    for (number, expected) in expected.into_iter().enumerate() {
        // Every other start with both disks on servers that lose what was not flushed.
        let servers = (number % 2 == 1).then(|| {
            let socket = |name: &str| work.path().join(name);
            [
                (
                    MAIN_DRIVE,
                    CutServer::start(&disk.main, &socket("m")).unwrap(),
                ),
                (
                    ENV_DRIVE,
                    CutServer::start_without_cache(&card, &socket("e")).unwrap(),
                ),
            ]
        });
        let mut machine = board.machine(&disk, "u-boot", work.path());
        for (drive, server) in servers.iter().flatten() {
            machine = machine.backend(drive, &server.backend());
        }
        let (up, lines, took) = boot(&machine);
        drop(servers);

        let words: Vec<&str> = expected.split(' ').collect();
        let [slot, a, b] = words[..] else {
            unreachable!("three words each")
        };
        assert!(up.contains(&format!("slot={slot}")), "start {number}: {up}");
        let line = format!("slot={slot} order=A B left A={a} B={b}");
        assert!(lines.contains(&line), "start {number}: {lines:#?}");
        let variables = board.read_env(&disk).unwrap();
        assert_eq!(
            (&*variables["BOOT_A_LEFT"], &*variables["BOOT_B_LEFT"]),
            (a, b)
        );
        let disks = if number % 2 == 1 {
            "cut servers"
        } else {
            "files"
        };
        println!(
            "start {number} on {disks}: {:.2} s, {line}",
            took.as_secs_f64()
        );
    }
}

#[test]
#[ignore = "starts virtual machines"]
fn a_slot_whose_kernel_is_broken_costs_its_try_and_the_other_boots_in_the_same_start() {
    let cache = Cache::open().unwrap();
    let ingredients = Ingredients::prepare(&cache).unwrap();
    let image = TinyRootfs::new(&ingredients)
        .unwrap()
        .image(&RootfsSpec::new("1.0"))
        .unwrap();
    let board = UbootBoard::new(&cache).unwrap();
    let work = tempfile::tempdir().unwrap();
    for (name, broken) in [
        ("zeros", zeros(work.path())),
        ("no kernel magic", noise(&image, work.path())),
    ] {
        let spec = DiskSpec {
            slot_a: &broken,
            slot_b: Some(&image),
            ..DiskSpec::new(&image, work.path())
        };
        let disk = board.build_disk(&spec).unwrap();
        let (up, lines, _) = boot(&board.machine(&disk, "u-boot", work.path()));
        assert!(up.contains("slot=B"), "{name}: {up}");
        assert_eq!(attempts(&lines), ["A", "B"], "{name}: {lines:#?}");
        let variables = board.read_env(&disk).unwrap();
        assert_eq!(
            (&*variables["BOOT_A_LEFT"], &*variables["BOOT_B_LEFT"]),
            ("2", "2"),
            "{name}"
        );
    }
}

fn zeros(directory: &Path) -> Image {
    let path = directory.join("zeros");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    Image::at(path).unwrap()
}

/// The image with its kernel's magic number spoilt, wherever it lies: a file that loads and does not
/// start.
fn noise(image: &Image, directory: &Path) -> Image {
    let mut bytes = std::fs::read(&image.path).unwrap();
    let magic = b"HdrS";
    let at: Vec<usize> = (0..bytes.len() - 4)
        .filter(|at| bytes[*at..*at + 4] == magic[..])
        .collect();
    assert!(!at.is_empty(), "the image holds a kernel");
    for at in at {
        bytes[at..at + 4].fill(0);
    }
    let path = directory.join("noise");
    std::fs::write(&path, bytes).unwrap();
    Image::at(path).unwrap()
}
