//! Boots a guest on a board and shows its console: `boot grub-bios|grub-uefi tiny|systemd`.
//!
//! Lines typed here go to the guest's console.

use std::time::{Duration, Instant};

use qemu_tests::board::{Board as _, DiskSpec};
use qemu_tests::cache::Cache;
use qemu_tests::grub::{Contract, Firmware, GrubBoard};
use qemu_tests::rootfs::{Ingredients, RootfsSpec, SystemdRootfs, TinyRootfs, systemd, tiny};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (firmware, is_tiny) = match words.as_slice() {
        ["grub-bios", "tiny"] => (Firmware::Bios, true),
        ["grub-uefi", "tiny"] => (Firmware::Uefi, true),
        ["grub-bios", "systemd"] => (Firmware::Bios, false),
        ["grub-uefi", "systemd"] => (Firmware::Uefi, false),
        _ => return Err("usage: boot grub-bios|grub-uefi tiny|systemd".into()),
    };

    let started = Instant::now();
    let step = |what: &str| println!("[{:6.2}s] {what}", started.elapsed().as_secs_f64());
    let cache = Cache::open()?;
    let ingredients = Ingredients::prepare(&cache)?;
    step("ingredients ready");
    let spec = RootfsSpec::new("1.0");
    let (image, up) = if is_tiny {
        (TinyRootfs::new(&ingredients)?.image(&spec)?, tiny::UP)
    } else {
        (SystemdRootfs::new(&ingredients)?.image(&spec)?, systemd::UP)
    };
    step(&format!("image of {} MiB ready", image.size >> 20));
    let board = GrubBoard::new(&cache, firmware, Contract::Switchback)?;
    let work = tempfile::tempdir()?;
    let disk = board.build_disk(&DiskSpec::new(&image, work.path()))?;
    step("disk ready");

    let mut machine = board.machine(&disk, board.name(), work.path()).start()?;
    let outcome = machine.wait_line(up, Duration::from_secs(120));
    for line in machine.lines() {
        println!("{:7.2} {}", line.at.as_secs_f64(), line.text);
    }
    outcome?;
    step(&format!(
        "up after {:.2?}, processor time {:.2?}",
        machine.uptime(),
        machine.cpu_time()?
    ));
    machine.wait_shell(Duration::from_secs(60))?;
    for line in std::io::stdin().lines() {
        println!("{}", machine.shell(&line?, Duration::from_secs(60))?);
    }
    Ok(())
}
