//! `conformance`: the device's TUF client against the cases of the public suite.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::process::{cargo, run};

const PACKAGE: &str = "switchback-tuf-conformance";

/// From the command line: our own rendering of the cases; with `--suite DIR` the public suite itself, from a
/// checkout that the user has; with `--python-tuf` the other way round, a repository of ours for python-tuf.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    match words {
        [] => cargo(&["test", "--locked", "--package", PACKAGE]),
        ["--suite", directory] => suite(&std::path::absolute(directory)?),
        ["--python-tuf"] => python_tuf(),
        _ => bail!("conformance: usage: [--suite DIRECTORY | --python-tuf]"),
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
    if Command::new("faketime").arg("--version").output().is_err() {
        bail!("`faketime` is missing: apt-get install faketime");
    }
    cargo(&["build", "--locked", "--package", PACKAGE])?;
    let environment = environment("suite", &[directory.as_os_str()])?;
    let report = environment.join("report.xml");
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

/// Publishes with `switchback-repo` and reads with python-tuf.
fn python_tuf() -> anyhow::Result<()> {
    cargo(&["build", "--locked", "--package", "switchback-repo"])?;
    let environment = environment("python-tuf", &["tuf==7.0.0".as_ref()])?;
    let place = environment.join("published");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::create_dir_all(&place)?;
    let image = place.join("image");
    std::fs::write(&image, vec![b'x'; 1 << 20])?;
    let publish = |verb: &[&str]| {
        let mut program = Command::new("target/debug/switchback-repo");
        program.arg("--quiet").args(verb);
        program.arg("--repo").arg(place.join("repository"));
        program.arg("--keys").arg(place.join("keys"));
        program
    };
    run(publish(&["init", "--product", "gw"]).stdout(Stdio::null()))?;
    for version in ["1", "2"] {
        let words = ["publish", "--version", version, "--compatible", "board"];
        run(publish(&words)
            .args(["--channel", "stable", "--image"])
            .arg(&image)
            .stdout(Stdio::null()))?;
    }
    run(Command::new(environment.join("bin/python"))
        .arg("crates/tuf-conformance/python-tuf/read.py")
        .arg(place.join("repository"))
        .arg(place.join("keys/root.json"))
        .args(["channels/gw/stable.json"])
        .args(["releases/gw/1/release.json", "releases/gw/2/release.json"]))
}

/// A directory below `target` with a Python of its own that has these packages.
fn environment(name: &str, packages: &[&OsStr]) -> anyhow::Result<PathBuf> {
    let environment = std::path::absolute("target/conformance")?.join(name);
    let done = environment.join("installed");
    if !done.exists() {
        println!(
            "installing packages from PyPI into {}",
            environment.display()
        );
        // Without Debian's python3-venv this says what to install.
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet"]).args(packages))?;
        std::fs::write(done, "")?;
    }
    Ok(environment)
}
