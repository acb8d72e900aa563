//! Boards with real bootloaders in QEMU, for tests and for the demo.
//!
//! From Debian packages to a booted guest, without root, loop devices or mounts:
//!
//! - [`tools`]: what must be installed on the host;
//! - [`rootfs`]: guests, built into slot images ([`image`]) with Debian's kernel ([`kernel`]);
//! - [`board`]: what a board is to a test; [`grub`] is the one with GRUB, [`uboot`] the one with
//!   U-Boot;
//! - [`disk`]: partition tables, and the bytes inside a disk;
//! - [`machine`]: a running QEMU, its console, its control connection, its power;
//! - [`nbd`]: a disk that loses unflushed writes when the power is cut;
//! - [`https`]: the repository's web server, with faults on demand;
//! - [`product`], [`factory`], [`bench`]: the programs under test, a device, its repository;
//! - [`fleet`]: several devices and the fleet server;
//! - [`torture`]: power cuts, counted;
//! - [`scenario`]: what befalls the device, as data; [`report`]: what came of it;
//! - [`record`]: what the real bootloaders do with an environment, for the models of them;
//! - [`demo`]: the whole story, told as it happens.
//!
//! What is built is kept in `target/qemu` ([`cache`]) under a hash of all that went in: the first
//! run takes minutes, the next one seconds.
//!
//! ```no_run
//! use qemu_tests::board::{Board as _, DiskSpec};
//! use qemu_tests::cache::Cache;
//! use qemu_tests::grub::{Contract, Firmware, GrubBoard};
//! use qemu_tests::rootfs::{Ingredients, RootfsSpec, TinyRootfs, tiny};
//! # fn main() -> qemu_tests::Result<()> {
//! let cache = Cache::open()?;
//! let ingredients = Ingredients::prepare(&cache)?;
//! let image = TinyRootfs::new(&ingredients)?.image(&RootfsSpec::new("1.0"))?;
//! let board = GrubBoard::new(&cache, Firmware::Bios, Contract::Switchback)?;
//! let work = std::path::Path::new("/tmp");
//! let disk = board.build_disk(&DiskSpec::new(&image, work))?;
//! let mut machine = board.machine(&disk, "example", work).start()?;
//! machine.wait_line(tiny::UP, std::time::Duration::from_secs(60))?;
//! # Ok(()) }
//! ```

pub mod bench;
pub mod board;
pub mod cache;
mod command;
mod cpio;
pub mod debian;
pub mod demo;
pub mod disk;
mod error;
pub mod factory;
pub mod fleet;
pub mod grub;
pub mod https;
pub mod image;
mod initramfs;
pub mod kernel;
pub mod machine;
pub mod nbd;
pub mod product;
mod program;
pub mod record;
pub mod report;
pub mod rootfs;
pub mod scenario;
pub mod tools;
pub mod torture;
pub mod uboot;

pub use error::{Error, Result};
