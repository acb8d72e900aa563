//! Room reserved.

pub mod nbd;
