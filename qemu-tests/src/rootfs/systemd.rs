//! The systemd guest: a small Debian with D-Bus, networkd, a watchdog and a serial login.
//!
//! Once `multi-user.target` is reached it prints `SB: SYSTEMD-UP slot=… version=… uptime=…`. Root
//! is logged in on the serial console. The application is `kiosk.service`.

use std::path::{Path, PathBuf};

use super::staging::{Staging, layers_over};
use super::{Ingredients, RootfsSpec, Variant, sysusers};
use crate::cache::Key;
use crate::command::Run;
use crate::debian::SUITE;
use crate::error::{IoContext as _, Result};
use crate::image::{Image, Layers};
use crate::kernel::Kernel;
use crate::tools::{self, SYSTEMD_TOOLS};

/// The line that the guest prints when it is up starts with this.
pub const UP: &str = "SB: SYSTEMD-UP";

/// Beyond Debian's smallest variant.
const PACKAGES: &[&str] = &["systemd", "systemd-sysv", "dbus", "udev"];

/// Modules that the guest may still want after the initramfs has loaded what it needs to boot.
const MODULES: &[&str] = &[
    "overlay",
    "loop",
    "squashfs",
    "erofs",
    "dm_verity",
    "dm_mod",
    "softdog",
    "autofs4",
];

/// What a device does not need, by tar patterns: package management, manuals, other languages,
/// descriptions of hardware that is not there, generators of units for things that are not there.
const LEFT_OUT: &[&str] = &[
    "./dev/*",
    "./etc/apt",
    "./usr/bin/apt*",
    "./usr/bin/deb*",
    "./usr/bin/dpkg*",
    "./usr/bin/localedef",
    "./usr/bin/perl*",
    "./usr/bin/sqv",
    "./usr/lib/apt",
    "./usr/lib/dpkg",
    "./usr/lib/locale/C.utf8",
    "./usr/lib/systemd/system-generators/systemd-debug-generator",
    "./usr/lib/systemd/system-generators/systemd-gpt-auto-generator",
    "./usr/lib/systemd/system-generators/systemd-hibernate-resume-generator",
    "./usr/lib/systemd/system-generators/systemd-rc-local-generator",
    "./usr/lib/systemd/system-generators/systemd-run-generator",
    "./usr/lib/systemd/system-generators/systemd-ssh-generator",
    "./usr/lib/systemd/system-generators/systemd-system-update-generator",
    "./usr/lib/systemd/system-generators/systemd-sysv-generator",
    "./usr/lib/systemd/system-generators/systemd-tpm2-generator",
    "./usr/lib/tmpfiles.d/systemd-nologin.conf",
    "./usr/lib/udev/hwdb.bin",
    "./usr/lib/udev/hwdb.d",
    "./usr/lib/x86_64-linux-gnu/gconv",
    "./usr/lib/x86_64-linux-gnu/libapt*",
    "./usr/lib/x86_64-linux-gnu/libdb-5*",
    "./usr/lib/x86_64-linux-gnu/libgmp*",
    "./usr/lib/x86_64-linux-gnu/libhogweed*",
    "./usr/lib/x86_64-linux-gnu/libnettle*",
    "./usr/lib/x86_64-linux-gnu/libsqlite3*",
    "./usr/lib/x86_64-linux-gnu/libstdc++*",
    "./usr/lib/x86_64-linux-gnu/perl-base",
    "./usr/share/bash-completion",
    "./usr/share/bug",
    "./usr/share/common-licenses",
    "./usr/share/doc",
    "./usr/share/gcc",
    "./usr/share/i18n",
    "./usr/share/info",
    "./usr/share/keyrings",
    "./usr/share/lintian",
    "./usr/share/locale",
    "./usr/share/man",
    "./usr/share/perl5",
    "./usr/share/zoneinfo",
    "./usr/share/zsh",
    "./var/cache/*",
    "./var/lib/apt",
    "./var/lib/dpkg",
    "./var/log/*",
];

/// Units that cost time in an emulated machine and do nothing for a test.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "getty@tty1.service",
    "hwclock.service",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "run-lock.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hibernate-clear.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-network-generator.service",
    "systemd-networkd-persistent-storage.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-quotacheck-root.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-rfkill.socket",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-udev-load-credentials.service",
    "systemd-update-done.service",
    "systemd-user-sessions.service",
];

/// Files of the guest's own, by path.
const FILES: &[(&str, &str)] = &[
    ("/etc/fstab", include_str!("systemd/fstab")),
    ("/etc/hostname", "board\n"),
    ("/etc/motd", ""),
    ("/root/.bash_profile", include_str!("systemd/bash_profile")),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("/etc/.updated", ""),
    (
        "/etc/systemd/network/10-board.network",
        include_str!("systemd/10-board.network"),
    ),
    (
        "/etc/systemd/system/board-up.service",
        include_str!("systemd/board-up.service"),
    ),
    (
        "/etc/systemd/system/kiosk.service",
        include_str!("systemd/kiosk.service"),
    ),
    (
        "/etc/systemd/system/serial-getty@ttyS0.service.d/10-login.conf",
        include_str!("systemd/serial-login.conf"),
    ),
    (
        "/etc/systemd/system/switchback.slice.d/10-memory.conf",
        include_str!("systemd/slice-memory.conf"),
    ),
    (
        "/etc/systemd/system/systemd-udev-trigger.service.d/10-board.conf",
        include_str!("systemd/udev-trigger.conf"),
    ),
    (
        "/etc/udev/rules.d/70-board.rules",
        include_str!("systemd/70-board.rules"),
    ),
    (
        "/usr/lib/systemd/journald.conf.d/10-board.conf",
        "[Journal]\nStorage=volatile\n",
    ),
    (
        "/usr/lib/systemd/system.conf.d/10-watchdog.conf",
        include_str!("systemd/10-watchdog.conf"),
    ),
];

/// Links of the guest's own: which units start.
const LINKS: &[(&str, &str)] = &[
    (
        "/etc/systemd/system/default.target",
        "/usr/lib/systemd/system/multi-user.target",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/board-up.service",
        "../board-up.service",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/kiosk.service",
        "../kiosk.service",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
        "/usr/lib/systemd/system/systemd-networkd.service",
    ),
];

/// Builder of systemd guests.
#[derive(Debug)]
pub struct SystemdRootfs<'a> {
    ingredients: &'a Ingredients,
    base: PathBuf,
}

impl<'a> SystemdRootfs<'a> {
    /// Fetches the packages that the guest is made of.
    ///
    /// # Errors
    /// mmdebstrap cannot be installed, or a package cannot be fetched.
    pub fn new(ingredients: &'a Ingredients) -> Result<Self> {
        tools::ensure(SYSTEMD_TOOLS)?;
        let mirror = ingredients.archive.mirror();
        let packages = PACKAGES.join(",");
        let key = Key::new("debian-1")
            .text(SUITE)
            .text(&packages)
            .text(mirror);
        let entry = ingredients.cache.entry("debian", &key, |directory| {
            Run::new("mmdebstrap")
                .args(["--quiet", "--variant=minbase"])
                .arg(format!("--include={packages}"))
                .arg(SUITE)
                .arg(directory.join("base.tar"))
                .arg(mirror)
                .check()
        })?;
        Ok(Self {
            ingredients,
            base: entry.join("base.tar"),
        })
    }

    /// The image for `spec`, built when it is new.
    ///
    /// # Errors
    /// A file cannot be read, or making the image failed.
    pub fn image(&self, spec: &RootfsSpec) -> Result<Image> {
        let mut key = self
            .ingredients
            .key("systemd-2")
            .text(self.base.to_string_lossy());
        for words in [LEFT_OUT, MASKED, MODULES] {
            key = key.text(words.join(" "));
        }
        for (name, content) in FILES.iter().chain(LINKS) {
            key = key.text(name).text(content);
        }
        let entry = self
            .ingredients
            .cache
            .entry("systemd", &spec.add_to(key)?, |directory| {
                let scratch =
                    tempfile::tempdir_in(directory).io("make a directory in", directory)?;
                let layers = self.layers(spec, scratch.path())?;
                layers.into_ext4(&directory.join("image.ext4")).map(drop)
            })?;
        Image::at(entry.join("image.ext4"))
    }

    fn layers(&self, spec: &RootfsSpec, scratch: &Path) -> Result<Layers> {
        let staging = Staging::new(scratch)?;
        for (path, content) in FILES {
            staging.text(path, content)?;
        }
        for (path, target) in LINKS {
            staging.link(path, target)?;
        }
        for unit in MASKED {
            staging.link(&format!("/etc/systemd/system/{unit}"), "/dev/null")?;
        }
        modules(&self.ingredients.kernel, &staging)?;
        staging.shared_parts(self.ingredients, spec)?;
        if matches!(spec.variant, Variant::PanicInit | Variant::HangInit) {
            staging.copy(&self.ingredients.guest_init, "/usr/sbin/init")?;
        }

        if let Some(overlay) = &spec.overlay {
            sysusers::stage(&staging, &self.base, overlay)?;
        }
        layers_over(
            Layers::default().base(&self.base, LEFT_OUT),
            &staging,
            spec,
            scratch,
        )
    }
}

/// Stages the few modules, unpacked, with an index of their own.
fn modules(kernel: &Kernel, staging: &Staging) -> Result<()> {
    let version = kernel.version();
    let home = format!("/usr/lib/modules/{version}");
    staging.directory(&home)?;
    let directory = staging.path().join(home.trim_start_matches('/'));
    kernel.unpack_modules(&kernel.close_over(MODULES)?, &directory)?;
    for index in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        staging.copy(&kernel.modules().join(index), &format!("{home}/{index}"))?;
    }
    Run::new("depmod")
        .arg("-b")
        .arg(staging.path().join("usr"))
        .arg(version)
        .check()
}
