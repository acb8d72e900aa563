//! How a frame's choices become bytes.

pub(crate) mod bits;
pub(crate) mod chance;
pub(crate) mod mix;
pub(crate) mod numbers;
