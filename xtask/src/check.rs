//! `check`: what a reviewer should not have to look for.

use crate::dependencies;
use crate::process::{cargo, cargo_with};

/// Format, lints, direction of dependencies, generated files; licences where cargo-deny is there.
pub(crate) fn run() -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    dependencies::check()?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ])?;
    // The D-Bus description is compared by a test of the daemon, the snapshots by all tests.
    cargo(&[
        "test",
        "--quiet",
        "--locked",
        "--package",
        "switchbackd",
        "--test",
        "dbus",
    ])?;
    let has_deny = std::process::Command::new("cargo-deny")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if has_deny {
        cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])?;
    } else {
        println!("cargo-deny is not installed: licences and bans (deny.toml) were not checked");
    }
    Ok(())
}

/// Writes the generated files anew.
pub(crate) fn generate() -> anyhow::Result<()> {
    cargo_with(
        &[
            "test",
            "--quiet",
            "--package",
            "switchbackd",
            "--test",
            "dbus",
            "--test",
            "observability",
        ],
        &[("SWITCHBACK_GENERATE", "1")],
    )?;
    cargo_with(
        &[
            "test",
            "--quiet",
            "--package",
            "switchback-server",
            "--test",
            "fleet",
            "description",
        ],
        &[("SWITCHBACK_GENERATE", "1")],
    )?;
    cargo_with(
        &["test", "--quiet", "--workspace", "--exclude", "qemu-tests"],
        &[("INSTA_UPDATE", "always")],
    )
}
