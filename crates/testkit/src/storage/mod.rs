//! Storage with two sides: *live*, what running programs see, and *durable*, what a power cut
//! leaves. The fault model, as hostile as a real device may be:
//!
//! - a disk keeps any part of what was not synced, in any order, in whole sectors;
//! - a file system may make a name durable before the content, and names in any order;
//! - what was synced stays.

mod chance;
mod disk;
mod names;

pub use self::chance::Chance;
pub use self::disk::{Disk, SECTOR};
pub use self::names::Names;

/// What becomes of one thing that is not durable yet when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Gone.
    Lost,
    /// Made it.
    Kept,
    /// Only so many bytes of it made it.
    Torn(usize),
}
