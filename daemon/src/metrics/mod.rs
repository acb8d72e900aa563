//! Metrics for Prometheus, on a Unix socket and, if a person wants it, on an address.
//!
//! What is served is the driver's last view, written by a pure function: a scrape asks the driver nothing, and one
//! that is slow holds up nothing.

mod render;
mod serve;
mod table;

pub use self::render::render;
pub use self::serve::{Views, serve};
pub use self::table::{Metric, TABLE, table};
