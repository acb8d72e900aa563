//! Dependencies point one way: words ← pure crates ← adapters ← programs.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process::cargo_text;

/// For each room, the rooms that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("switchback-types", &[]),
    ("switchback-boot-env", &["switchback-types"]),
    ("switchback-calendar", &[]),
    ("switchback-chunks", &[]),
    ("switchback-delta", &["switchback-types"]),
    ("switchback-tuf", &["switchback-types"]),
    (
        "switchback-tuf-conformance",
        &["switchback-types", "switchback-tuf"],
    ),
    (
        "switchback-manifest",
        &["switchback-types", "switchback-tuf"],
    ),
    ("switchback-update-core", &["switchback-types"]),
    ("switchback-dbus-api", &[]),
    ("switchback-ddi", &[]),
    ("switchback-rollout", &["switchback-types"]),
    (
        "switchback-server",
        &[
            "switchback-types",
            "switchback-ddi",
            "switchback-manifest",
            "switchback-rollout",
            "switchback-tuf",
        ],
    ),
    ("switchback-fleet", &["switchback-types"]),
    (
        "switchbackd",
        &[
            "switchback-types",
            "switchback-boot-env",
            "switchback-calendar",
            "switchback-chunks",
            "switchback-ddi",
            "switchback-delta",
            "switchback-tuf",
            "switchback-manifest",
            "switchback-update-core",
            "switchback-dbus-api",
        ],
    ),
    (
        "switchback",
        &[
            "switchback-types",
            "switchback-dbus-api",
            "switchback-boot-env",
        ],
    ),
    (
        "switchback-repo",
        &[
            "switchback-types",
            "switchback-chunks",
            "switchback-delta",
            "switchback-manifest",
            "switchback-tuf",
        ],
    ),
    // For tests only: nothing that is installed may use it.
    (
        "switchback-testkit",
        &[
            "switchback-types",
            "switchback-boot-env",
            "switchback-ddi",
            "switchback-tuf",
            "switchback-manifest",
            "switchback-update-core",
            "switchbackd",
            "switchback-repo",
        ],
    ),
    ("guest-init", &[]),
    ("qemu-tests", &["switchback-types", "switchback-testkit"]),
    (
        "xtask",
        &[
            "qemu-tests",
            "switchback-dbus-api",
            "switchback-rollout",
            "switchback-testkit",
        ],
    ),
];

/// Rooms that decide and never act.
const PURE: &[&str] = &[
    "switchback-types",
    "switchback-boot-env",
    "switchback-calendar",
    "switchback-chunks",
    "switchback-delta",
    "switchback-tuf",
    "switchback-manifest",
    "switchback-update-core",
    "switchback-ddi",
    "switchback-rollout",
];

/// What would let a pure room act: threads, sockets, logs, chance.
const NEVER_IN_PURE: &[&str] = &[
    "tokio",
    "tracing",
    "rand",
    "getrandom",
    "nix",
    "libc",
    "zbus",
    "hyper",
    "ureq",
    "reqwest",
];

/// What the device's programs never contain, at any depth: a second crypto library, a second
/// HTTP stack.
const NEVER_ON_DEVICE: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl-sys",
    "tough",
    "ureq",
    "reqwest",
];

/// The programs that go onto devices.
const ON_DEVICE: &[&str] = &["switchbackd", "switchback"];

/// Holds all of these over cargo's own metadata.
pub(crate) fn check() -> anyhow::Result<()> {
    let text = cargo_text(&["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    let metadata: Value = serde_json::from_str(&text)?;
    let mut wrong = Vec::new();
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("cargo metadata lists no packages")?;
    let names: Vec<&str> = packages
        .iter()
        .filter_map(|package| package.get("name").and_then(Value::as_str))
        .collect();
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for package in packages {
        let name = text_of(package, "name");
        let Some(allowed) = rules.get(name) else {
            wrong.push(format!(
                "{name}: not in the table of xtask/src/dependencies.rs"
            ));
            continue;
        };
        for dependency in package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let used = text_of(dependency, "name");
            let for_tests = text_of(dependency, "kind") == "dev";
            if names.contains(&used) && !for_tests && !allowed.contains(&used) {
                wrong.push(format!("{name} may not use {used}"));
            }
            if PURE.contains(&name) && !for_tests && NEVER_IN_PURE.contains(&used) {
                wrong.push(format!("{name} is pure and may not use {used}"));
            }
        }
    }
    for program in ON_DEVICE {
        let tree = cargo_text(&[
            "tree",
            "--package",
            program,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--locked",
        ])?;
        for line in tree.lines() {
            let used = line.split(' ').next().unwrap_or_default();
            if NEVER_ON_DEVICE.contains(&used) {
                wrong.push(format!("{program} contains {used}"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    if !wrong.is_empty() {
        bail!(
            "dependencies point the wrong way:\n  {}",
            wrong.join("\n  ")
        );
    }
    println!("dependencies point one way: {} rooms", packages.len());
    Ok(())
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
