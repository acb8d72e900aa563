//! The pairs of images: what they are of, built from Debian's packages and kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use qemu_tests::cache::{Cache, Key};
use qemu_tests::debian::{host_mirror, host_security_mirror};
use serde::{Deserialize, Serialize};

use super::files;
use super::measure::Task;

/// What changes between an old and a new image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pair {
    /// A point release: security and other updates.
    Point,
    /// One application binary.
    Binary,
    /// One line of one configuration file.
    Config,
    /// The distribution's next release.
    Upgrade,
    /// Kernel and modules.
    Kernel,
    /// A point release for another processor.
    Arm,
}

impl Pair {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 6] = [
        Self::Point,
        Self::Binary,
        Self::Config,
        Self::Upgrade,
        Self::Kernel,
        Self::Arm,
    ];

    /// Its name on the command line.
    pub(crate) const fn letter(self) -> &'static str {
        match self {
            Self::Point => "a",
            Self::Binary => "b",
            Self::Config => "d",
            Self::Upgrade => "c",
            Self::Kernel => "k",
            Self::Arm => "m",
        }
    }

    /// What it is, for people.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Point => "point release",
            Self::Binary => "one application binary changed",
            Self::Config => "one config file changed",
            Self::Upgrade => "distribution upgrade",
            Self::Kernel => "kernel and modules in the image",
            Self::Arm => "point release on arm64",
        }
    }

    /// Nothing was tuned on these.
    pub(crate) const fn held_out(self) -> bool {
        matches!(self, Self::Kernel | Self::Arm)
    }

    /// The pair with this name.
    pub(crate) fn named(word: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|pair| pair.letter() == word);
        found.with_context(|| format!("no such pair: {word}; there are a, b, d, c, k and m"))
    }
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Not compressed, of a fixed size.
    Ext4,
    /// Compressed by zstd, 128 KiB blocks.
    Squashfs,
    /// Compressed by lz4hc, 4 KiB clusters.
    Erofs,
}

impl Format {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Ext4, Self::Squashfs, Self::Erofs];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }

    /// The format with this name.
    pub(crate) fn named(word: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|format| format.name() == word);
        found.with_context(|| format!("no such format: {word}; there are ext4, squashfs and erofs"))
    }
}

/// How much is in the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Extent {
    /// An edge device: 250 packages.
    Whole,
    /// For a try: little more than systemd.
    Small,
}

/// The newest release when the benchmark was made, and the one after it.
const OLD_SUITE: &str = "bookworm";
const NEW_SUITE: &str = "trixie";
/// What an edge device has beyond Debian's smallest variant.
const PACKAGES: &str = "systemd,systemd-sysv,udev,dbus,nginx-light,python3,openssh-server,curl,\
    ca-certificates,iproute2,iptables,network-manager,bluez,chrony,sqlite3,python3-cryptography,\
    python3-yaml,git,vim-tiny,avahi-daemon,libubootenv-tool,modemmanager,gnupg,wpasupplicant,\
    e2fsprogs,tcpdump,jq,rsync";
/// What the pairs of a try change, and an init.
const FEW_PACKAGES: &str = "systemd-sysv,nginx-light,python3-minimal";
/// What the smallest variant would bring where packages are unpacked only.
const BASICS: &str = "base-files,bash,coreutils,dash,findutils,grep,gzip,sed,tar,util-linux";
/// The application: a large program that security updates build again.
const APPLICATION: (&str, &str) = ("python3.11-minimal", "usr/bin/python3.11");
/// The kernel without drivers for hardware that no image of this size would carry.
const KERNEL: &str = "linux-image-cloud-amd64";
/// All times in trees and images.
const EPOCH: &str = "1750000000";
/// All identifiers of file systems.
const UUID: &str = "11111111-2222-3333-4444-555555555555";
/// Sizes of ext4 images are multiples of this.
const STEP: u64 = 64 << 20;

/// Where packages come from, and where what is made of them is kept.
#[derive(Debug)]
pub(crate) struct Workshop {
    cache: Cache,
    extent: Extent,
    mirror: String,
    security: String,
}

/// Both trees of a pair, as tar files.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    /// What runs.
    pub(crate) old: PathBuf,
    /// What is to run.
    pub(crate) new: PathBuf,
}

/// Which versions of the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The last point release.
    Released,
    /// With security and other updates.
    Updated,
}

/// A recipe for mmdebstrap.
#[derive(Debug)]
struct Recipe {
    suite: &'static str,
    state: State,
    variant: &'static str,
    architecture: &'static str,
    packages: String,
}

impl Recipe {
    /// Nothing is installed, packages are laid out only: scripts of another processor cannot run.
    fn unpacked(self) -> Self {
        Self {
            variant: "extract",
            ..self
        }
    }
}

/// What a tree is made of.
#[derive(Debug)]
struct Source {
    base: Recipe,
    /// A word that `tree.sh` knows.
    change: String,
    /// What the change takes files from.
    from: Option<Recipe>,
}

impl Source {
    fn of(base: Recipe) -> Self {
        Self {
            base,
            change: "none".into(),
            from: None,
        }
    }

    fn with(self, change: &str, from: Option<Recipe>) -> Self {
        Self {
            change: change.into(),
            from,
            ..self
        }
    }
}

impl Workshop {
    /// With everything that is made kept below `place`.
    pub(crate) fn open(place: &Path, extent: Extent) -> anyhow::Result<Self> {
        Ok(Self {
            cache: Cache::at(place.to_owned())?,
            extent,
            mirror: host_mirror(),
            security: host_security_mirror(),
        })
    }

    /// How much is in its images.
    pub(crate) const fn extent(&self) -> Extent {
        self.extent
    }

    /// Both trees of a pair.
    pub(crate) fn trees(&self, pair: Pair) -> anyhow::Result<Trees> {
        let released = |packages: &str| recipe(State::Released, packages);
        let updated = |packages: &str| recipe(State::Updated, packages);
        let all = match self.extent {
            Extent::Whole => PACKAGES,
            Extent::Small => FEW_PACKAGES,
        };
        let plain = || Source::of(released(all));
        let (old, new) = match pair {
            Pair::Point => (plain(), Source::of(updated(all))),
            Pair::Config => (plain(), plain().with("config", None)),
            Pair::Binary => {
                let change = format!("binary {}", APPLICATION.1);
                let from = updated(APPLICATION.0).unpacked();
                (plain(), plain().with(&change, Some(from)))
            }
            Pair::Upgrade => {
                let mut next = released(all);
                next.suite = NEW_SUITE;
                (plain(), Source::of(next))
            }
            Pair::Kernel => {
                let kernel = |from: Recipe| plain().with("kernel", Some(from.unpacked()));
                (kernel(released(KERNEL)), kernel(updated(KERNEL)))
            }
            Pair::Arm => {
                let packages = format!("{BASICS},{all}");
                let arm = |recipe: Recipe| {
                    let mut recipe = recipe.unpacked();
                    recipe.architecture = "arm64";
                    Source::of(recipe)
                };
                (arm(released(&packages)), arm(updated(&packages)))
            }
        };
        let trees = Trees {
            old: self.tree(&old)?,
            new: self.tree(&new)?,
        };
        if files::same(&trees.old, &trees.new)? {
            bail!(
                "pair {}: the archive at {} has only one version of all of it now",
                pair.letter(),
                self.mirror
            );
        }
        Ok(trees)
    }

    /// What mmdebstrap makes of a recipe.
    fn base(&self, recipe: &Recipe) -> anyhow::Result<PathBuf> {
        let Recipe {
            suite,
            state,
            variant,
            architecture,
            packages,
        } = recipe;
        let mut sources = vec![format!("deb {} {suite} main", self.mirror)];
        if *state == State::Updated {
            sources.push(format!("deb {} {suite}-security main", self.security));
            sources.push(format!("deb {} {suite}-updates main", self.mirror));
        }
        let key = Key::new("bench-debian-1")
            .text(variant)
            .text(architecture)
            .text(packages)
            .text(sources.join("\n"));
        let entry = self.cache.entry("debian", &key, |directory| {
            println!("  fetching {suite} {architecture}, {variant}: {packages}");
            let task = Task::new("mmdebstrap")
                .args(["--quiet", "--skip=check/qemu"])
                .arg(format!("--variant={variant}"))
                .arg(format!("--architectures={architecture}"))
                .arg(format!("--include={packages}"))
                .args(
                    ["doc", "man", "locale"]
                        .map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*")),
                )
                .arg(suite)
                .arg(directory.join("base.tar"))
                .args(&sources)
                .env("SOURCE_DATE_EPOCH", EPOCH);
            task.done().map(drop).map_err(foreign)
        })?;
        Ok(entry.join("base.tar"))
    }

    /// A tree of a pair: what mmdebstrap made, with a change.
    fn tree(&self, source: &Source) -> anyhow::Result<PathBuf> {
        let Source { base, change, from } = source;
        let base = self.base(base)?;
        let from = from.as_ref().map(|from| self.base(from)).transpose()?;
        let mut key = Key::new(include_str!("tree.sh"))
            .text(base.to_string_lossy())
            .text(change);
        let mut words = vec![base.into_os_string(), change.into()];
        if let Some(from) = from {
            key = key.text(from.to_string_lossy());
            words.push(from.into_os_string());
        }
        let entry = self.cache.entry("trees", &key, |directory| {
            println!("  making a tree: {change}");
            let scratch = scratch_in(directory)?;
            shell(include_str!("tree.sh"), "tree.sh")
                .arg(directory.join("tree.tar"))
                .arg(scratch.path())
                .args(&words)
                .done()
                .map(drop)
                .map_err(foreign)
        })?;
        Ok(entry.join("tree.tar"))
    }

    /// Both images of a pair.
    pub(crate) fn images(
        &self,
        trees: &Trees,
        format: Format,
    ) -> anyhow::Result<(PathBuf, PathBuf)> {
        let mut largest = 0;
        for tar in [&trees.old, &trees.new] {
            largest = largest.max(files::size(tar)?);
        }
        let bytes = size_for(largest, self.extent);
        Ok((
            self.image(&trees.old, format, bytes)?,
            self.image(&trees.new, format, bytes)?,
        ))
    }

    fn image(&self, tar: &Path, format: Format, bytes: u64) -> anyhow::Result<PathBuf> {
        let name = format.name();
        let key = Key::new(include_str!("image.sh"))
            .text(name)
            .text(tar.to_string_lossy())
            .text(bytes.to_string());
        let entry = self.cache.entry(name, &key, |directory| {
            println!("  making an image: {name}");
            let scratch = scratch_in(directory)?;
            shell(include_str!("image.sh"), "image.sh")
                .arg(name)
                .arg(directory.join("image"))
                .arg(scratch.path())
                .arg(tar)
                .arg(bytes.to_string())
                .done()
                .map(drop)
                .map_err(foreign)
        })?;
        Ok(entry.join("image"))
    }
}

fn recipe(state: State, packages: &str) -> Recipe {
    Recipe {
        suite: OLD_SUITE,
        state,
        variant: "minbase",
        architecture: "amd64",
        packages: packages.to_owned(),
    }
}

/// As large as a slot: 448 MiB, or 128 MiB for a try, unless the files need more.
fn size_for(files: u64, extent: Extent) -> u64 {
    let least = match extent {
        Extent::Whole => 448 << 20,
        Extent::Small => 128 << 20,
    };
    let needed = files + files / 8 + (16 << 20);
    least.max(needed.div_ceil(STEP) * STEP)
}

/// A script in which files belong to root, whoever runs it.
fn shell(script: &str, name: &str) -> Task {
    let task = if is_root() {
        Task::new("sh")
    } else {
        Task::new("fakeroot").args(["--", "sh"])
    };
    task.args(["-c", script, name])
        .env("EPOCH", EPOCH)
        .env("FS_UUID", UUID)
}

/// Whether files can be given away without help.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn scratch_in(directory: &Path) -> qemu_tests::Result<tempfile::TempDir> {
    tempfile::tempdir_in(directory).map_err(|source| qemu_tests::Error::Io {
        doing: "make a directory in",
        path: directory.to_owned(),
        source,
    })
}

/// For the cache, whose builders fail with its own kind of error.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn foreign(error: anyhow::Error) -> qemu_tests::Error {
    qemu_tests::Error::Server {
        why: format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, Format, Pair, size_for};

    #[test]
    fn pairs_and_formats_go_by_their_names() {
        for pair in Pair::ALL {
            assert_eq!(Pair::named(pair.letter()).unwrap(), pair);
        }
        for format in Format::ALL {
            assert_eq!(Format::named(format.name()).unwrap(), format);
        }
        assert!(Pair::named("z").is_err());
        assert!(Format::named("btrfs").is_err());
    }

    #[test]
    fn slots_are_as_large_as_in_the_lab_unless_the_files_need_more() {
        assert_eq!(size_for(345 << 20, Extent::Whole), 448 << 20);
        assert_eq!(size_for(90 << 20, Extent::Small), 128 << 20);
        assert_eq!(size_for(500 << 20, Extent::Whole), 640 << 20);
    }
}
