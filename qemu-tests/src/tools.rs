//! Host packages that the boards need, and why.
//!
//! A fresh Debian 12 has none of them. Nothing else is taken from the host but these programs;
//! guests are made of packages that are downloaded and unpacked beside it ([`crate::debian`]).

use crate::command::Run;
use crate::error::{Error, Result};

/// One Debian package and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The package's name.
    pub package: &'static str,
    /// What is used of it.
    pub why: &'static str,
}

const fn tool(package: &'static str, why: &'static str) -> Tool {
    Tool { package, why }
}

/// Needed for every guest, on every board.
pub const GUEST_TOOLS: &[Tool] = &[
    tool("qemu-system-x86", "the machine"),
    tool("e2fsprogs", "mke2fs -d: slot images without mounting"),
    tool(
        "fakeroot",
        "files in images belong to root although nobody here is root",
    ),
    tool("xz-utils", "kernel modules are packed with xz"),
    tool("kmod", "depmod: which module needs which"),
    tool("gdisk", "sgdisk: partition tables"),
    tool("dosfstools", "mkfs.vfat: boot partitions"),
    tool(
        "mtools",
        "mcopy: files into boot partitions without mounting",
    ),
];

/// Needed for the systemd guest.
pub const SYSTEMD_TOOLS: &[Tool] = &[tool("mmdebstrap", "a Debian root without root")];

/// Needed for the GRUB board.
pub const GRUB_TOOLS: &[Tool] = &[
    tool("grub-common", "grub-mkimage and grub-editenv"),
    tool("grub-efi-amd64-bin", "GRUB modules for UEFI"),
    tool("grub-pc-bin", "GRUB modules for BIOS"),
    tool("ovmf", "UEFI firmware"),
];

/// Packages that unit tests compare with.
pub const TEST_TOOLS: &[Tool] = &[
    tool("systemd", "systemd-analyze: what calendar expressions mean"),
    tool(
        "prometheus",
        "promtool: metrics and alert rules as Prometheus reads them",
    ),
    tool("tzdata", "time zones for the same test"),
    tool("dbus-daemon", "a private bus for the D-Bus tests"),
    tool("polkitd", "who may give orders, on that bus"),
    tool("python3-dbus", "an application that somebody else wrote"),
    tool("python3-gi", "its main loop"),
    tool(
        "softhsm2",
        "a token to sign with, for the publisher's tests",
    ),
    tool("openssl", "keys of other kinds, for the same tests"),
    tool("opensc", "pkcs11-tool: signs with that token"),
    tool(
        "nginx-light",
        "a web server with HTTP/2 and ranges for the HTTP client",
    ),
    tool(
        "python3",
        "http.server: a web server without ranges for the HTTP client",
    ),
    tool(
        "squashfs-tools",
        "mksquashfs: images that the publisher looks into",
    ),
    tool(
        "erofs-utils",
        "mkfs.erofs: images that the publisher looks into",
    ),
    tool(
        "postgresql",
        "a cluster of its own for the fleet server's tests",
    ),
    tool(
        "swupdate",
        "a client of others for the fleet server's tests",
    ),
    tool("cpio", "makes update files for that client"),
    tool("curl", "a client of others for the fleet server's TLS"),
];

/// Needed to look at the dashboard: heavy, so only for that command.
pub const BROWSER_TOOLS: &[Tool] = &[
    tool("chromium", "a browser for the dashboard"),
    tool("fonts-dejavu-core", "letters for it"),
];

/// Needed for the U-Boot board.
pub const UBOOT_TOOLS: &[Tool] = &[
    tool("u-boot-tools", "mkimage and mkenvimage"),
    tool(
        "libubootenv-tool",
        "fw_printenv: the environment as other programs see it",
    ),
];

/// Everything that any test or demo needs.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_all() -> Result<()> {
    let all = [
        GUEST_TOOLS,
        SYSTEMD_TOOLS,
        GRUB_TOOLS,
        UBOOT_TOOLS,
        TEST_TOOLS,
    ]
    .concat();
    ensure(&all)
}

/// Makes sure that all packages of `tools` are installed: as root they are installed, else the
/// error names the command.
///
/// # Errors
/// Packages are missing and this user cannot install them, or apt-get failed.
pub fn ensure(tools: &[Tool]) -> Result<()> {
    let missing = missing(tools)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::MissingPackages { packages: missing });
    }
    println!("These Debian packages are needed and will be installed:");
    for tool in tools
        .iter()
        .filter(|tool| missing.iter().any(|name| name == tool.package))
    {
        println!("  {:<22} {}", tool.package, tool.why);
    }
    apt_get().arg("update").check()?;
    apt_get()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing)
        .check()
}

fn apt_get() -> Run {
    Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive")
}

/// Packages of `tools` that are not installed.
fn missing(tools: &[Tool]) -> Result<Vec<String>> {
    // Unlike a query by name, the full list does not fail for packages that dpkg has never seen.
    let list = Run::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .text()?;
    let installed: std::collections::BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    let absent = |tool: &&Tool| !installed.contains(tool.package);
    Ok(tools
        .iter()
        .filter(absent)
        .map(|tool| tool.package.to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{missing, tool};

    #[test]
    fn only_absent_packages_are_missing() {
        let tools = [
            tool("dpkg", "always there"),
            tool("no-such-package-anywhere", "never there"),
        ];
        assert_eq!(missing(&tools).unwrap(), ["no-such-package-anywhere"]);
    }
}
