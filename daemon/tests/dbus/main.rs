//! The service on a real private bus, driven by clients; and its description in `docs/dbus/`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod clients;
mod gates;
mod orders;
mod rig;
mod rights;

use std::path::Path;

use switchbackd::bus;

#[test]
fn description_in_the_docs_is_up_to_date() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dbus/org.switchback.Update1.xml");
    let now = bus::describe();
    if std::env::var_os("SWITCHBACK_GENERATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/dbus is out of date: run `cargo xtask generate`"
    );
}
