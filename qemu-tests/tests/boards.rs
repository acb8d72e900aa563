//! Guests and boards, booted for real. Minutes rather than seconds, and Debian packages are
//! fetched at the first run, so these run on demand: `cargo test -p qemu-tests -- --ignored`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::LazyLock;
use std::time::Duration;

use qemu_tests::Result;
use qemu_tests::board::{Board as _, Disk, DiskSpec};
use qemu_tests::cache::Cache;
use qemu_tests::disk::DiskImage;
use qemu_tests::grub::{Contract, EnvironmentFile, Firmware, GrubBoard};
use qemu_tests::image::Image;
use qemu_tests::machine::Machine;
use qemu_tests::rootfs::{
    GuestFile, Ingredients, RootfsSpec, SystemdRootfs, TinyRootfs, Variant, systemd, tiny,
};

/// Loader and kernel, on a host that is busy with other builds.
const LOADER: Duration = Duration::from_secs(60);
const BOOT: Duration = Duration::from_secs(240);

static INGREDIENTS: LazyLock<Ingredients> = LazyLock::new(|| {
    Cache::open()
        .and_then(|cache| Ingredients::prepare(&cache))
        .unwrap()
});

fn tiny_image(spec: &RootfsSpec) -> Image {
    TinyRootfs::new(&INGREDIENTS).unwrap().image(spec).unwrap()
}

fn tiny(version: &str, variant: Variant) -> Image {
    tiny_image(&RootfsSpec::new(version).variant(variant))
}

/// A board, its disk, and a directory for its logs.
struct Bench {
    board: GrubBoard,
    disk: Disk,
    work: tempfile::TempDir,
}

impl Bench {
    fn new(firmware: Firmware, contract: Contract, a: &Image, b: Option<&Image>) -> Self {
        let board = GrubBoard::new(INGREDIENTS.cache(), firmware, contract).unwrap();
        let work = tempfile::tempdir().unwrap();
        let mut spec = DiskSpec::new(a, work.path());
        if let Some(b) = b {
            spec = spec.slot_b(b);
        }
        let disk = board.build_disk(&spec).unwrap();
        Self { board, disk, work }
    }

    fn bios(a: &Image, b: Option<&Image>) -> Self {
        Self::new(Firmware::Bios, Contract::Switchback, a, b)
    }

    fn start(&self) -> Machine {
        self.board
            .machine(&self.disk, self.board.name(), self.work.path())
            .start()
            .unwrap()
    }

    fn env(&self, name: &str) -> String {
        self.board
            .read_env(&self.disk)
            .unwrap()
            .remove(name)
            .unwrap_or_default()
    }

    fn set(&self, file: EnvironmentFile, changes: &[(&str, &str)]) {
        self.board.set(&self.disk, file, changes).unwrap();
    }

    /// Starts the machine and pulls the plug when GRUB has named the slot it tries.
    fn loader_only(&self) -> String {
        let mut machine = self.start();
        let line = slot_line(&mut machine).unwrap();
        machine.power_cut().unwrap();
        line
    }
}

/// `A 2 3`: the slot that GRUB tries, and the tries that are left then.
fn slot_line(machine: &mut Machine) -> Result<String> {
    machine.wait_for("SB: slot=… left", LOADER, |line| {
        let (slot, rest) = line.strip_prefix("SB: slot=")?.split_once(" order=")?;
        let (_, left) = rest.split_once(" left A=")?;
        Some(format!("{slot} {}", left.replace("B=", "")))
    })
}

#[test]
#[ignore = "boots machines"]
fn every_guest_comes_up_on_bios_and_uefi() {
    let spec = RootfsSpec::new("1.0");
    let tiny_image = tiny_image(&spec);
    let systemd_image = SystemdRootfs::new(&INGREDIENTS)
        .unwrap()
        .image(&spec)
        .unwrap();
    for (image, up) in [(&tiny_image, tiny::UP), (&systemd_image, systemd::UP)] {
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let bench = Bench::new(firmware, Contract::Switchback, image, None);
            let mut machine = bench.start();
            let line = machine.wait_line(up, BOOT).unwrap();
            assert!(line.contains("slot=A version=1.0"), "{line}");
            println!(
                "{} {up}: {:.1?}, processor {:.1?}, image {} MiB",
                bench.board.name(),
                machine.uptime(),
                machine.cpu_time().unwrap(),
                image.size >> 20
            );
            machine.wait_shell(BOOT).unwrap();
            let line = machine.shell("cat /proc/cmdline", BOOT).unwrap();
            assert!(line.contains("switchback.env=factory"), "{line}");
            machine.shell("test -e /efi/sb1.env", BOOT).unwrap();
            machine
                .shell("grep -q ' /var/lib/switchback ext4 rw' /proc/mounts", BOOT)
                .unwrap();
        }
    }
}

#[test]
#[ignore = "boots machines"]
fn overlay_and_single_files_reach_the_guest() {
    let overlay = tempfile::tempdir().unwrap();
    let place = |path: &str| {
        let place = overlay.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    };
    // Linked against the host's libraries, which the tiny guest has to be given.
    std::fs::copy("/usr/bin/sha256sum", place("usr/bin/dynamic")).unwrap();
    std::fs::write(place("usr/lib/sysusers.d/x.conf"), "g switchback -\n").unwrap();
    let spec = RootfsSpec::new("1.0").overlay(overlay.path()).file(
        "/usr/bin/script",
        GuestFile::program("#!/bin/sh\necho out of the script\n"),
    );
    let systemd_image = SystemdRootfs::new(&INGREDIENTS)
        .unwrap()
        .image(&spec)
        .unwrap();
    for (image, commands) in [
        (
            tiny_image(&spec),
            &["/usr/bin/dynamic /etc/os-release"] as &[&str],
        ),
        (
            systemd_image,
            &[
                "/usr/bin/dynamic /etc/os-release",
                "grep ^switchback: /etc/group",
            ],
        ),
    ] {
        let bench = Bench::bios(&image, None);
        let mut machine = bench.start();
        machine.wait_shell(BOOT).unwrap();
        assert!(
            machine
                .shell("script", BOOT)
                .unwrap()
                .contains("out of the script")
        );
        for command in commands {
            machine.shell(command, BOOT).unwrap();
        }
    }
}

#[test]
#[ignore = "boots machines"]
fn systemd_guest_tells_a_failed_application_from_a_running_one() {
    for (variant, state) in [(Variant::Good, "active"), (Variant::UnhealthyApp, "failed")] {
        let spec = RootfsSpec::new("1.0").variant(variant);
        let image = SystemdRootfs::new(&INGREDIENTS)
            .unwrap()
            .image(&spec)
            .unwrap();
        let bench = Bench::bios(&image, None);
        let mut machine = bench.start();
        machine.wait_shell(BOOT).unwrap();
        let seen = machine
            .shell("systemctl is-active kiosk.service || true", BOOT)
            .unwrap();
        assert!(
            seen.lines().any(|line| line == state),
            "{variant:?}: {seen}"
        );
    }
}

#[test]
#[ignore = "boots machines"]
fn tries_count_down_over_reboots_then_the_other_slot_then_refill() {
    let (a, b) = (tiny("1.0", Variant::Good), tiny("2.0", Variant::Good));
    let bench = Bench::bios(&a, Some(&b));
    let mut machine = bench.start();
    for (expected, up) in [
        ("A 2 3", "slot=A version=1.0"),
        ("A 1 3", "slot=A version=1.0"),
        ("A 0 3", "slot=A version=1.0"),
        ("B 0 2", "slot=B version=2.0"),
    ] {
        assert_eq!(slot_line(&mut machine).unwrap(), expected);
        let line = machine.wait_line(tiny::UP, BOOT).unwrap();
        assert!(line.contains(up), "{line}");
        machine.wait_shell(BOOT).unwrap();
        machine.send_line("reboot").unwrap();
    }
    // From here on the loader alone: reset as soon as it has counted.
    for expected in ["B 0 1", "B 0 0", "A 2 3", "A 1 3"] {
        assert_eq!(slot_line(&mut machine).unwrap(), expected);
        machine.reset().unwrap();
    }
    slot_line(&mut machine).unwrap();
    machine.quit().unwrap();
    assert_eq!(
        (bench.env("a_left"), bench.env("b_left")),
        ("0".into(), "3".into())
    );
}

#[test]
#[ignore = "boots machines"]
fn uefi_counts_like_bios_while_the_power_stays_on() {
    let image = tiny("1.0", Variant::Good);
    let bench = Bench::new(Firmware::Uefi, Contract::Switchback, &image, Some(&image));
    let mut machine = bench.start();
    for expected in ["A 2 3", "A 1 3", "A 0 3", "B 0 2"] {
        assert_eq!(slot_line(&mut machine).unwrap(), expected);
        machine.reset().unwrap();
    }
}

#[test]
#[ignore = "boots machines"]
fn hang_ends_by_the_watchdog_and_costs_a_try() {
    let (a, b) = (tiny("1.0", Variant::HangInit), tiny("1.0", Variant::Good));
    let bench = Bench::bios(&a, Some(&b));
    for file in [EnvironmentFile::Copy1, EnvironmentFile::Copy2] {
        bench.set(file, &[("a_left", "1")]);
    }
    let mut machine = bench.start();
    assert_eq!(slot_line(&mut machine).unwrap(), "A 0 3");
    machine.wait_line("SB: FAULT hang", BOOT).unwrap();
    machine.wait_event("WATCHDOG", BOOT).unwrap();
    assert_eq!(slot_line(&mut machine).unwrap(), "B 0 2");
    machine.wait_line(tiny::UP, BOOT).unwrap();
}

#[test]
#[ignore = "boots machines"]
fn panic_before_any_of_our_code_costs_tries_and_ends_in_the_other_slot() {
    let good = tiny("1.0", Variant::Good);
    let spec = RootfsSpec::new("2.0").variant(Variant::PanicInit);
    let systemd = SystemdRootfs::new(&INGREDIENTS)
        .unwrap()
        .image(&spec)
        .unwrap();
    for broken in [tiny("2.0", Variant::PanicInit), systemd] {
        let bench = Bench::bios(&broken, Some(&good));
        let mut machine = bench.start();
        for expected in ["A 2 3", "A 1 3", "A 0 3", "B 0 2"] {
            assert_eq!(slot_line(&mut machine).unwrap(), expected);
        }
        machine.wait_line(tiny::UP, BOOT).unwrap();
        assert!(
            machine
                .events()
                .iter()
                .all(|event| event.name != "WATCHDOG")
        );
    }
}

#[test]
#[ignore = "boots machines"]
fn empty_slot_is_never_tried() {
    let image = tiny("1.0", Variant::Good);
    let bench = Bench::bios(&image, None);
    for copy in [EnvironmentFile::Copy1, EnvironmentFile::Copy2] {
        bench.set(copy, &[("order", "B A")]);
    }
    let mut machine = bench.start();
    for expected in ["A 2 3", "A 1 3", "A 0 3", "A 2 3"] {
        machine
            .wait_line("SB: slot=B holds no kernel", LOADER)
            .unwrap();
        assert_eq!(slot_line(&mut machine).unwrap(), expected);
        machine.reset().unwrap();
    }
}

#[test]
#[ignore = "boots machines"]
fn kernel_that_does_not_load_costs_a_try_without_a_reset() {
    let broken = RootfsSpec::new("1.0").file("/boot/vmlinuz", GuestFile::text("no kernel"));
    let (a, b) = (tiny_image(&broken), tiny("2.0", Variant::Good));
    let bench = Bench::bios(&a, Some(&b));
    let mut machine = bench.start();
    assert_eq!(slot_line(&mut machine).unwrap(), "A 2 3");
    machine
        .wait_line("SB: slot=A does not load", LOADER)
        .unwrap();
    assert_eq!(slot_line(&mut machine).unwrap(), "B 2 2");
    machine.wait_line(tiny::UP, BOOT).unwrap();
    assert!(machine.events().iter().all(|event| event.name != "RESET"));

    // With nothing else to start, the machine keeps on trying, once in a start.
    let alone = Bench::bios(&a, None);
    let mut machine = alone.start();
    machine
        .wait_line("SB: nothing can be started", LOADER)
        .unwrap();
    machine.wait_event("RESET", LOADER).unwrap();
    assert_eq!(slot_line(&mut machine).unwrap(), "A 1 3");
}

#[test]
#[ignore = "boots machines"]
fn slot_out_of_order_is_not_started_and_unknown_names_are_skipped() {
    let image = tiny("1.0", Variant::Good);
    let bench = Bench::bios(&image, Some(&image));
    for copy in [EnvironmentFile::Copy1, EnvironmentFile::Copy2] {
        bench.set(
            copy,
            &[("order", "rescue B"), ("b_left", "9"), ("id", "1b2c")],
        );
    }
    assert_eq!(bench.loader_only(), "B 3 8");
    assert_eq!(bench.env("order"), "rescue B");
    assert_eq!(bench.env("id"), "1b2c");
}

#[test]
#[ignore = "boots machines"]
fn damaged_copy_is_left_alone_and_the_count_goes_on_in_the_other() {
    let image = tiny("1.0", Variant::Good);
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("header", |block| block[0] ^= 1),
        ("zeros", |block| block.fill(0)),
        ("erased", |block| block.fill(0xff)),
    ];
    for (what, damage) in damages {
        for file in [EnvironmentFile::Copy1, EnvironmentFile::Copy2] {
            let bench = Bench::bios(&image, Some(&image));
            let mut block = bench.board.read_block(&bench.disk, file).unwrap();
            damage(&mut block);
            bench.board.write_block(&bench.disk, file, &block).unwrap();
            for expected in ["A 2 3", "A 1 3", "A 0 3", "B 0 2"] {
                assert_eq!(bench.loader_only(), expected, "{what} in {}", file.name());
            }
            let untouched = bench.board.read_block(&bench.disk, file).unwrap();
            assert!(untouched == block, "{what} in {}", file.name());
        }
    }
}

#[test]
#[ignore = "boots machines"]
fn mixed_copy_is_not_used_and_is_written_next() {
    let image = tiny("1.0", Variant::Good);
    let bench = Bench::bios(&image, Some(&image));
    // The newer copy is a mixture of two writes.
    bench.set(EnvironmentFile::Copy2, &[("seq", "2"), ("a_left", "1")]);
    assert_eq!(bench.loader_only(), "A 2 3");
    let seq = bench
        .board
        .read_file(&bench.disk, EnvironmentFile::Copy2)
        .unwrap();
    assert!(seq.contains(&("seq".into(), "1".into())), "{seq:?}");
    assert!(seq.contains(&("end".into(), "1".into())), "{seq:?}");
}

#[test]
#[ignore = "boots machines"]
fn without_a_readable_environment_it_boots_and_says_so() {
    let image = tiny("1.0", Variant::Good);
    let bench = Bench::bios(&image, None);
    for copy in [EnvironmentFile::Copy1, EnvironmentFile::Copy2] {
        bench
            .board
            .write_block(&bench.disk, copy, &[0; 1024])
            .unwrap();
    }
    let mut machine = bench.start();
    machine.wait_line("SB: SAVE FAILED", LOADER).unwrap();
    machine.wait_line(tiny::UP, BOOT).unwrap();
    machine.wait_shell(BOOT).unwrap();
    let line = machine.shell("cat /proc/cmdline", BOOT).unwrap();
    assert!(line.contains("switchback.env_state=bad"), "{line}");
}

#[test]
#[ignore = "boots machines"]
fn second_disk_with_the_same_labels_does_not_take_over() {
    let (own, foreign) = (tiny("1.0", Variant::Good), tiny("9.9", Variant::Good));
    let bench = Bench::bios(&own, None);
    let clone = Bench::bios(&foreign, None);
    let mut machine = {
        use qemu_tests::machine::{DiskBackend, DriveBus};
        let second = DiskBackend::File(clone.disk.main.clone());
        let builder = bench
            .board
            .machine(&bench.disk, "two-disks", bench.work.path());
        builder
            .drive("second", second, DriveBus::VirtioBlk)
            .start()
            .unwrap()
    };
    assert_eq!(slot_line(&mut machine).unwrap(), "A 2 3");
    machine.quit().unwrap();
    assert_eq!(bench.env("a_left"), "2");
    assert_eq!(clone.env("a_left"), "3");
}

#[test]
#[ignore = "boots machines"]
fn rauc_contract_gives_each_good_slot_one_try() {
    let (a, b) = (tiny("1.0", Variant::Good), tiny("2.0", Variant::Good));
    let bench = Bench::new(Firmware::Bios, Contract::Rauc, &a, Some(&b));
    let mut machine = bench.start();
    for (slot, tried) in [
        ("A", "A_TRY=1 B_OK=1 B_TRY=0"),
        ("B", "A_TRY=1 B_OK=1 B_TRY=1"),
    ] {
        let line = machine
            .wait_line(&format!("SB: slot={slot}"), LOADER)
            .unwrap();
        assert!(line.ends_with(tried), "{line}");
        machine.reset().unwrap();
    }
    machine
        .wait_line("SB: no slot left to try, clearing tries", LOADER)
        .unwrap();
    machine.wait_line("SB: slot=A", LOADER).unwrap();
    machine.wait_line("SB: TINY-UP", BOOT).unwrap();
    machine.quit().unwrap();
    assert_eq!(bench.env("A_TRY"), "1");
    assert_eq!(bench.env("ORDER"), "A B");
}

#[test]
#[ignore = "boots machines"]
fn slots_hold_the_images_bytes() {
    let image = tiny("1.0", Variant::Good);
    let bench = Bench::bios(&image, None);
    let disk = DiskImage::open(&bench.disk.main);
    let (a, b) = (
        disk.partition("slot-a").unwrap(),
        disk.partition("slot-b").unwrap(),
    );
    assert!(disk.read(a.offset, image.size).unwrap() == std::fs::read(&image.path).unwrap());
    assert!(
        disk.read(b.offset, b.length)
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
}
