//! The demo: the whole story of a device on a real bootloader, told as it happens.
//!
//! Every line about the device is read from it: from the bootloader's console, from the system's
//! journal, from D-Bus through the CLI. Nothing is assumed.

mod device;
mod figures;
mod story;
mod telling;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::board::Board;
use crate::cache::Cache;
use crate::error::{IoContext as _, Result};
use crate::grub::{self, Firmware, GrubBoard};
use crate::image::Image;
use crate::product::{Contract, Guest, Product, workspace};
use crate::report::{Entry, Report};
use crate::rootfs::{Ingredients, RootfsSpec, SystemdRootfs, Variant};
use crate::tools;
use crate::uboot::UbootBoard;

/// A board to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardKind {
    /// GRUB, our own contract.
    Grub,
    /// U-Boot with its own environment, RAUC's variables.
    Uboot,
    /// GRUB with RAUC's contract: a board that comes from there, its script untouched.
    GrubRauc,
}

impl BoardKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grub, Self::Uboot, Self::GrubRauc];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grub => "grub",
            Self::Uboot => "u-boot",
            Self::GrubRauc => "grub-rauc",
        }
    }

    /// The contract that its boot script keeps.
    #[must_use]
    pub const fn contract(self) -> Contract {
        match self {
            Self::Grub => Contract::SwitchbackGrub,
            Self::Uboot => Contract::RaucUboot,
            Self::GrubRauc => Contract::RaucGrub,
        }
    }

    /// The board that starts soonest: for the matrix.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn quick(self, cache: &Cache) -> Result<Box<dyn Board + Sync>> {
        self.with_firmware(cache, Firmware::Bios)
    }

    /// The board as devices have it: for the demo.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn real(self, cache: &Cache) -> Result<Box<dyn Board + Sync>> {
        self.with_firmware(cache, Firmware::Uefi)
    }

    fn with_firmware(self, cache: &Cache, firmware: Firmware) -> Result<Box<dyn Board + Sync>> {
        Ok(match self {
            Self::Grub => Box::new(GrubBoard::new(cache, firmware, grub::Contract::Switchback)?),
            Self::Uboot => Box::new(UbootBoard::new(cache)?),
            Self::GrubRauc => Box::new(GrubBoard::new(cache, firmware, grub::Contract::Rauc)?),
        })
    }
}

/// What the demo is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The boards, one after another.
    pub boards: Vec<BoardKind>,
    /// Leave the device's disk.
    pub keep: bool,
    /// Only the chapters of good updates: for the test command.
    pub short: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            boards: vec![BoardKind::Grub],
            keep: false,
            short: false,
        }
    }
}

/// The versions of the story.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) versions: BTreeMap<usize, Image>,
}

impl Images {
    pub(crate) fn version(&self, number: usize) -> Result<&Image> {
        self.versions
            .get(&number)
            .ok_or_else(|| crate::Error::Server {
                why: format!("there is no version {number}"),
            })
    }
}

/// Runs the demo.
///
/// # Errors
/// Something was not as the story says; the message has the last lines of the console.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::new("demo");
    run_into(options, &mut report)?;
    println!("\nreport: {}", report.path().display());
    Ok(())
}

/// Runs the demo into a report that exists already.
///
/// # Errors
/// As [`run`].
pub fn run_into(options: &Options, report: &mut Report) -> Result<()> {
    let started = Instant::now();
    println!("Switchback: swap the image, and switch back when it goes wrong.\n");
    tools::ensure_all()?;
    step(
        started,
        "building switchbackd, switchback and switchback-repo (release)",
    );
    let product = Product::build()?;
    step(
        started,
        "fetching Debian's kernel and packages for the guests (kept in target/qemu)",
    );
    let cache = Cache::open()?;
    let ingredients = Ingredients::prepare(&cache)?;
    let rootfs = SystemdRootfs::new(&ingredients)?;
    for kind in &options.boards {
        step(
            started,
            &format!(
                "building the {} board and the versions of its system",
                kind.name()
            ),
        );
        let board = kind.real(&cache)?;
        let work = workspace().join("target/demo").join(kind.name());
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir_all(&work).io("make", &work)?;
        let overlay = product.stage(Guest::Systemd, kind.contract(), &work)?;
        device::add_observers(&overlay)?;
        let images = images(&rootfs, &overlay, options.short)?;
        let story = story::Story::begin(&*board, &product, &images, &work, started)?;
        let finished = story.tell(&images, options.short)?;
        for row in &finished.rows {
            report.add(row.entry(kind.name()))?;
        }
        report.add(Entry {
            name: format!("{}: figures", kind.name()),
            expected: "measured in the guest".into(),
            observed: "see figures".into(),
            ok: true,
            figures: finished.figures.clone(),
        })?;
        println!("{}", finished.table());
        leave(options.keep, &*board, &finished, &work);
    }
    Ok(())
}

fn step(started: Instant, what: &str) {
    println!("[{:6.1} s] {what}", started.elapsed().as_secs_f64());
}

fn images(rootfs: &SystemdRootfs<'_>, overlay: &Path, short: bool) -> Result<Images> {
    let variants = [
        (1, Variant::Good),
        (2, Variant::Good),
        (3, Variant::UnhealthyApp),
        (4, Variant::PanicInit),
        (5, Variant::HangInit),
        (6, Variant::Good),
    ];
    // Those that the short story does not tell are not built.
    let told = variants.iter().filter(|(number, _)| !short || *number <= 2);
    let versions = told.map(|(number, variant)| {
        let spec = RootfsSpec::new(number.to_string())
            .variant(*variant)
            .overlay(overlay);
        Ok((*number, rootfs.image(&spec)?))
    });
    Ok(Images {
        versions: versions.collect::<Result<_>>()?,
    })
}

/// Says how to go on with the device, or removes its disk.
fn leave(keep: bool, board: &dyn Board, finished: &story::Finished, work: &Path) {
    println!("logs: {}", work.display());
    if keep {
        let builder = board.machine(&finished.disk, "kept", work);
        println!(
            "the disk is kept; start it with the line below (a root shell is on the console; \
             Ctrl-A X ends it):\n  {}",
            builder.command_line()
        );
        return;
    }
    let files: [Option<&PathBuf>; 2] = [Some(&finished.disk.main), finished.disk.env.as_ref()];
    for file in files.into_iter().flatten() {
        let _ = std::fs::remove_file(file);
    }
    let _ = std::fs::remove_dir_all(work.join("repository"));
}
