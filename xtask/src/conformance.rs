//! `conformance`: the device's TUF client against the cases of the public suite.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process::cargo;

const PACKAGE: &str = "switchback-tuf-conformance";

/// From the command line: our own rendering of the cases, or with `--suite DIR` the public suite itself, from a
/// checkout that the user has.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    match words {
        [] => cargo(&["test", "--locked", "--package", PACKAGE]),
        ["--suite", directory] => suite(&std::path::absolute(directory)?),
        _ => bail!("conformance: usage: [--suite DIRECTORY]"),
    }
}

/// In an environment of Python's own below `target`. None may fail, be left out, or be expected to fail.
fn suite(directory: &Path) -> anyhow::Result<()> {
    if !directory.join("tuf_conformance").is_dir() {
        bail!(
            "{}: holds no directory `tuf_conformance`; give a checkout of \
             https://github.com/theupdateframework/tuf-conformance",
            directory.display()
        );
    }
    for (program, package) in [("python3", "python3"), ("faketime", "faketime")] {
        let found = Command::new(program).arg("--version").output();
        if found.is_err() {
            bail!("`{program}` is missing: apt-get install {package}");
        }
    }
    cargo(&["build", "--locked", "--package", PACKAGE])?;
    let place = std::path::absolute("target/conformance")?;
    let environment = place.join("environment");
    if !environment.join("bin/pytest").exists() {
        println!(
            "installing the suite's packages from PyPI into {}",
            environment.display()
        );
        // Without Debian's python3-venv this says what to install.
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet"]).arg(directory))?;
    }
    let report = place.join("report.xml");
    let client: PathBuf = std::path::absolute("target/debug/tuf-conformance-client")?;
    run(Command::new(environment.join("bin/pytest"))
        .args(["--quiet", "tuf_conformance", "-p", "no:cacheprovider"])
        .arg("--entrypoint")
        .arg(&client)
        .arg(format!("--junit-xml={}", report.display()))
        .current_dir(directory))?;
    let text = std::fs::read_to_string(&report).context("the suite wrote no report")?;
    let count = |of: &str| -> anyhow::Result<u32> {
        let (_, after) = text
            .split_once(&format!(" {of}=\""))
            .with_context(|| format!("{}: says nothing of {of}", report.display()))?;
        let number = after.split('"').next().unwrap_or_default();
        Ok(number.parse()?)
    };
    // Those that are expected to fail count as left out.
    let (all, skipped) = (count("tests")?, count("skipped")?);
    println!("conformance: {all} cases of the public suite passed, {skipped} were left out");
    if skipped > 0 {
        bail!("{skipped} cases were left out");
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}
