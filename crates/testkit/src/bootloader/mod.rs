//! Models of the boot scripts, trusted only because they repeat what was recorded from the real
//! ones.
//!
//! Each model takes the environment as it lies on the storage and what the slots hold, and gives
//! the writes in their order, byte for byte, and the slot that starts. `cargo xtask
//! record-bootloaders` runs the same inputs through the real GRUB and the real U-Boot and writes
//! the tables in `recorded/`; `tests/recorded.rs` compares.
//!
//! What the models leave out: storage that fails to be read or written, and with U-Boot what its
//! shell stumbles over: an id with a quote or a backslash, and a stored `bootcmd` that does not lead
//! to the script. Of these, the tables hold some as a warning, their names beginning with `beyond
//! the model`.

mod bootcount;
mod envblk;
mod grub;
mod grub_rauc;
mod uboot;

use switchback_types::SlotName;

/// Which boot script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loader {
    /// `boot/grub/grub.cfg`: two copies, counted tries.
    SwitchbackGrub,
    /// `boot/grub/grub-rauc.cfg`: one file, one try.
    RaucGrub,
    /// `boot/u-boot/boot.cmd`: two copies, counted tries.
    RaucUboot,
    /// U-Boot's own boot count and `boot/u-boot/bootcount.cmd`: two copies, trials only are counted.
    Bootcount,
}

/// What the loader finds in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotState {
    /// A kernel and an initrd that start.
    Loads,
    /// No kernel: no file system, or none with `/boot/vmlinuz`.
    Unloadable,
    /// Both files are there, and the kernel is none.
    Broken,
    /// The kernel is there, and no initrd.
    NoInitrd,
    /// The kernel is there, and the initrd cannot be loaded.
    BadInitrd,
}

/// The environment as bytes, as on the storage: two blocks of 1,024 bytes for
/// [`Loader::SwitchbackGrub`], one for [`Loader::RaucGrub`], two copies of any one size for
/// [`Loader::RaucUboot`] and [`Loader::Bootcount`].
pub type Copies = Vec<Vec<u8>>;

/// One thing that the loader does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// One write of one whole copy.
    Save {
        /// Which copy, from 0.
        copy: usize,
        /// All its bytes.
        bytes: Vec<u8>,
    },
    /// A kernel starts; the loader is gone.
    Start(Start),
}

/// What the kernel is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Start {
    /// The slot that starts.
    pub slot: SlotName,
    /// `switchback.env_state=bad` is on the command line.
    pub environment_bad: bool,
    /// The value of `switchback.env=` on the command line; none where it is missing or empty.
    pub contact: Option<String>,
}

/// One run of the loader, from reset to the kernel or to its own reset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Saves, and a start as the last one. Without a start nothing loaded: the loader resets the
    /// machine and starts over.
    pub acts: Vec<Act>,
}

impl Run {
    /// The start, if the run ended with one.
    #[must_use]
    pub fn start(&self) -> Option<&Start> {
        match self.acts.last() {
            Some(Act::Start(start)) => Some(start),
            _ => None,
        }
    }
}

/// What `loader` does with an environment and the two slots, A first. A copy that is missing is
/// taken for an empty one.
#[must_use]
pub fn run(loader: Loader, copies: &[Vec<u8>], slots: [SlotState; 2]) -> Run {
    match loader {
        Loader::SwitchbackGrub => grub::run(copies, slots),
        Loader::RaucGrub => grub_rauc::run(copies, slots),
        Loader::RaucUboot => uboot::run(copies, slots),
        Loader::Bootcount => bootcount::run(copies, slots),
    }
}

/// What this slot is.
const fn state_of(slots: [SlotState; 2], slot: SlotName) -> SlotState {
    let [a, b] = slots;
    match slot {
        SlotName::A => a,
        SlotName::B => b,
    }
}

/// The slot that a word of the order names for the scripts, which know `A` and `B` only.
fn slot_named(word: &[u8]) -> Option<SlotName> {
    match word {
        b"A" => Some(SlotName::A),
        b"B" => Some(SlotName::B),
        _ => None,
    }
}

/// A value on the kernel's command line: up to the first blank.
fn on_command_line(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let word = text.split([' ', '\t', '\n', '\r']).next();
    word.filter(|word| !word.is_empty()).map(str::to_owned)
}
