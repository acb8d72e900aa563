//! The Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use qemu_tests::product::{put, workspace};

use super::tree;
use crate::process::run;

const NAME: &str = "switchback";

/// Enables what the package brings when it is new, starts the daemon once it is configured.
const POSTINST: &str = r#"#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers switchback.conf || true
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        journalctl --update-catalog || true
        if [ -z "$2" ]; then
            systemctl preset switchbackd.service switchback-fetch.socket switchback-boot-checks.service switchback-trial-deadline.timer
        fi
        systemctl restart switchback-fetch.socket
        if switchbackd check-config >/dev/null 2>&1; then
            systemctl restart switchbackd.service
        else
            echo "switchback: the daemon is not started before it is configured: \`switchbackd check-config\`"
        fi
    fi
fi
"#;

const PRERM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now switchbackd.service switchback-fetch.socket switchback-boot-checks.service switchback-trial-deadline.timer || true
fi
"#;

/// What a device has learned is gone only when it is asked for.
const POSTRM: &str = r#"#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
if [ "$1" = purge ]; then
    rm -rf /var/lib/switchback
    rmdir --ignore-fail-on-non-empty /etc/switchback/config.d /etc/switchback 2>/dev/null || true
fi
"#;

/// Builds it below `target/deb`.
pub(crate) fn make() -> anyhow::Result<PathBuf> {
    let root = tree(None)?;
    let output = workspace().join("target/deb");
    fs::create_dir_all(&output)?;
    let package = package(&root, env!("CARGO_PKG_VERSION"), &output)?;
    println!("the package: {}", package.display());
    Ok(package)
}

fn package(root: &Path, version: &str, output: &Path) -> anyhow::Result<PathBuf> {
    let architecture = text(Command::new("dpkg").arg("--print-architecture"))?;
    let glibc = newest_glibc(root)?;
    let doc = root.join("usr/share/doc").join(NAME).join("README");
    put(&doc, b"See switchback(1) and switchbackd(8).\n", 0o644)?;
    let size = kibibytes(root)?;
    let control = format!(
        "Package: {NAME}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: The Switchback developers <developers@switchback.invalid>\n\
         Installed-Size: {size}\nDepends: libc6 (>= {glibc}), libgcc-s1, systemd (>= 252), dbus\n\
         Section: admin\nPriority: optional\n\
         Description: updates the system image, and switches back when it goes wrong\n \
         Takes signed releases into the root partition that does not run, starts it by way\n \
         of the bootloader on trial, and goes back unless it proves its health.\n"
    );
    put(&root.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    for (name, script) in [("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)] {
        put(&root.join("DEBIAN").join(name), script.as_bytes(), 0o755)?;
    }
    let file = output.join(format!("{NAME}_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "--build"])
        .arg(root)
        .arg(&file);
    // The same files make the same package.
    build.env("SOURCE_DATE_EPOCH", "0");
    run(build.stdout(std::process::Stdio::null()))?;
    Ok(file)
}

/// Installs, upgrades, removes and purges the package in a copy of this machine's files that is thrown away.
pub(crate) fn try_out() -> anyhow::Result<()> {
    let old = make()?;
    let root = workspace().join("target/dist");
    let newer = format!("{}+1", env!("CARGO_PKG_VERSION"));
    let output = workspace().join("target/deb");
    let new = package(&root, &newer, &output)?;
    let place = tempfile::tempdir_in(&output)?;
    let script = format!(
        r#"set -e
mount -t tmpfs none {place}
mkdir {place}/upper {place}/work {place}/root
mount -t overlay none -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {place}/root
cp {old} {new} {place}/root/tmp/
exec chroot {place}/root sh -ec '
cd /tmp
dpkg --install $(basename {old})
switchback --version
switchbackd --version
getent group switchback
test -s /usr/share/man/man8/switchbackd.8
mkdir -p /etc/switchback/config.d /var/lib/switchback
echo kept > /etc/switchback/config.d/50-mine.toml
echo kept > /var/lib/switchback/trust.0
dpkg --install $(basename {new})
dpkg --remove switchback
test ! -e /usr/bin/switchbackd
test -e /etc/switchback/config.d/50-mine.toml
test -e /var/lib/switchback/trust.0
dpkg --purge switchback
test ! -e /var/lib/switchback
test -e /etc/switchback/config.d/50-mine.toml
test -z "$(find / -xdev -path /proc -prune -o -path /tmp -prune -o -name "*switchback*" -newer /tmp/$(basename {old}) -print | grep -v /etc/switchback | grep -v /etc/group | grep -v /var/lib/dpkg | grep -v {output})"
echo "installed, upgraded, removed and purged"
'
"#,
        place = place.path().display(),
        old = old.display(),
        new = new.display(),
        output = output.display(),
    );
    run(Command::new("unshare").args(["--mount", "sh", "-c", &script]))
}

/// The newest version of the C library that a program asks for.
fn newest_glibc(root: &Path) -> anyhow::Result<String> {
    let mut newest = (2, 0);
    for entry in fs::read_dir(root.join("usr/bin"))? {
        let bytes = fs::read(entry?.path())?;
        newest = newest.max(glibc_in(&bytes));
    }
    if newest == (2, 0) {
        bail!("no program here asks for the C library");
    }
    Ok(format!("{}.{}", newest.0, newest.1))
}

fn glibc_in(bytes: &[u8]) -> (u32, u32) {
    const TAG: &[u8] = b"GLIBC_";
    let mut newest = (2, 0);
    for (at, _) in bytes
        .windows(TAG.len())
        .enumerate()
        .filter(|(_, window)| *window == TAG)
    {
        let rest = bytes.get(at + TAG.len()..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|byte| !byte.is_ascii_digit() && *byte != b'.');
        let text = std::str::from_utf8(rest.get(..end.unwrap_or(0)).unwrap_or_default());
        let mut numbers = text.unwrap_or_default().split('.').map(str::parse::<u32>);
        if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) {
            newest = newest.max((major, minor));
        }
    }
    newest
}

fn kibibytes(root: &Path) -> anyhow::Result<u64> {
    let listed = text(
        Command::new("du")
            .args(["--apparent-size", "-sk"])
            .arg(root),
    )?;
    let number = listed.split_whitespace().next().unwrap_or_default();
    number.parse().context("du")
}

fn text(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{:?} ended with {}", command.get_program(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_that_is_asked_for_is_found() {
        let bytes = b"x\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0";
        assert_eq!(glibc_in(bytes), (2, 34));
        assert_eq!(glibc_in(b"nothing"), (2, 0));
    }
}
