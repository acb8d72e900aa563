//! What is installed where the fleet server runs, and where people ask it.

#[path = "../../../fleet/src/args.rs"]
#[allow(dead_code, reason = "only its shape is asked for here")]
mod arguments;

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use qemu_tests::product::{put, workspace};

use crate::process::{cargo, target};

/// The programs, for a server: fast first.
const PROGRAMS: [&str; 2] = ["switchback-server", "switchback-fleet"];

pub(super) fn command() -> clap::Command {
    arguments::Arguments::command()
}

/// Lays the tree out in a directory that is made for it; `target/dist-fleet` unless told.
pub(crate) fn tree(directory: Option<&str>) -> anyhow::Result<PathBuf> {
    let root = super::place(directory, "target/dist-fleet")?;
    let build = ["build", "--locked", "--profile", "server"];
    let packages = PROGRAMS.iter().flat_map(|name| ["--package", name]);
    cargo(&build.into_iter().chain(packages).collect::<Vec<_>>())?;
    for program in PROGRAMS {
        let bytes = fs::read(target().join("server").join(program))?;
        put(&root.join("usr/bin").join(program), &bytes, 0o755)?;
    }
    let unit = "switchback-server.service";
    let bytes = fs::read(workspace().join("server/systemd").join(unit))?;
    put(
        &root.join("usr/lib/systemd/system").join(unit),
        &bytes,
        0o644,
    )?;
    papers(&root)?;
    println!("the tree: {}", root.display());
    Ok(root)
}

/// Completions and pages, from the command line's own definition.
pub(super) fn papers(root: &Path) -> anyhow::Result<()> {
    super::completions(root, "switchback-fleet", &mut command())?;
    let pages = root.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(command(), &pages)?;
    Ok(())
}
