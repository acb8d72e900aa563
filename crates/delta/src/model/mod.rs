//! How well each byte of a changed stretch was to be expected.

mod arm;
mod corrections;
pub(crate) mod guess;
pub(crate) mod literal;
pub(crate) mod surprise;
mod x86;
