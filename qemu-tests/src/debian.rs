//! Packages of Debian 13 (trixie), whatever the host's release is, without touching its dpkg.
//!
//! apt-get is pointed at a state directory of our own; packages are downloaded, checked by apt
//! against the signed archive, and unpacked with `dpkg-deb -x`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Key};
use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};

/// The release that guests are made of.
pub const SUITE: &str = "trixie";

/// The archive when the host names none.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// The archive of security updates when the host names none.
const DEFAULT_SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security";

/// Places where Debian hosts name their mirror, newest style first.
const HOST_SOURCES: [&str; 2] = [
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list",
];

/// The archive of [`SUITE`] for amd64.
#[derive(Debug)]
pub struct Archive {
    cache: Cache,
    mirror: String,
    home: PathBuf,
}

impl Archive {
    /// Opens the archive; the package lists are fetched on first use and kept.
    ///
    /// # Errors
    /// The state directory cannot be made, or `apt-get update` failed.
    pub fn open(cache: &Cache) -> Result<Self> {
        let mirror = host_mirror();
        let key = Key::new("apt-1").text(SUITE).text(&mirror);
        let home = cache.entry("apt", &key, |home| fetch_lists(home, &mirror))?;
        Ok(Self {
            cache: cache.clone(),
            mirror,
            home,
        })
    }

    /// The mirror in use.
    #[must_use]
    pub fn mirror(&self) -> &str {
        &self.mirror
    }

    /// The field `name` of a package's newest version, e.g. `Depends`.
    ///
    /// # Errors
    /// The archive has no such package or field.
    pub fn field(&self, package: &str, name: &str) -> Result<String> {
        let shown = apt("apt-cache", &self.home).args(["show", "--no-all-versions", package]);
        let record = shown.text()?;
        let prefix = format!("{name}: ");
        let value = record.lines().find_map(|line| line.strip_prefix(&prefix));
        value.map(str::to_owned).ok_or_else(|| Error::Malformed {
            path: PathBuf::from(package),
            why: format!("package without the field {name}"),
        })
    }

    /// Unpacks a package's newest version into a directory of the cache.
    ///
    /// # Errors
    /// The package cannot be downloaded or unpacked.
    pub fn unpack(&self, package: &str) -> Result<PathBuf> {
        let version = self.field(package, "Version")?;
        let key = Key::new("unpack-1").text(SUITE).text(package).text(version);
        self.cache.entry("packages", &key, |directory| {
            let download = tempfile::tempdir_in(self.cache.root())
                .io("make a directory in", self.cache.root())?;
            let deb = match self.download(package, download.path()) {
                Ok(deb) => deb,
                // The kept lists name a version that the mirror has replaced meanwhile.
                Err(_) => {
                    apt("apt-get", &self.home).arg("update").check()?;
                    self.download(package, download.path())?
                }
            };
            Run::new("dpkg-deb")
                .arg("-x")
                .arg(&deb)
                .arg(directory)
                .check()
        })
    }

    fn download(&self, package: &str, into: &Path) -> Result<PathBuf> {
        apt("apt-get", &self.home)
            .args(["download", package])
            .current_dir(into)
            .check()?;
        let mut entries = fs::read_dir(into).io("list", into)?;
        let deb = entries.next().ok_or_else(|| Error::Malformed {
            path: into.to_owned(),
            why: format!("apt-get download {package} left no file"),
        })?;
        Ok(deb.io("list", into)?.path())
    }
}

/// Writes a source list of our own and fetches the package lists.
fn fetch_lists(home: &Path, mirror: &str) -> Result<()> {
    for directory in ["state/lists/partial", "cache/archives/partial"] {
        let path = home.join(directory);
        fs::create_dir_all(&path).io("make", &path)?;
    }
    let source = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {SUITE} main\n"
    );
    for (name, content) in [("status", ""), ("sources.list", source.as_str())] {
        let path = home.join(name);
        fs::write(&path, content).io("write", &path)?;
    }
    apt("apt-get", home).arg("update").check()
}

/// An apt program that sees only the state below `home`.
fn apt(program: &str, home: &Path) -> Run {
    let home = home.display();
    Run::new(program).args([
        "-o".to_owned(),
        format!("Dir::State={home}/state"),
        "-o".to_owned(),
        format!("Dir::State::status={home}/status"),
        "-o".to_owned(),
        format!("Dir::Cache={home}/cache"),
        "-o".to_owned(),
        format!("Dir::Etc::SourceList={home}/sources.list"),
        "-o".to_owned(),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        "-o".to_owned(),
        "APT::Architecture=amd64".to_owned(),
        "-o".to_owned(),
        "APT::Architectures=amd64".to_owned(),
        // The download directory belongs to us, not to the user that apt would change to.
        "-o".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ])
}

/// The mirror that the host itself uses, so that a local one is honoured.
#[must_use]
pub fn host_mirror() -> String {
    host_archive("/debian").unwrap_or_else(|| DEFAULT_MIRROR.to_owned())
}

/// The same for security updates.
#[must_use]
pub fn host_security_mirror() -> String {
    host_archive("/debian-security").unwrap_or_else(|| DEFAULT_SECURITY_MIRROR.to_owned())
}

fn host_archive(ending: &str) -> Option<String> {
    HOST_SOURCES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|text| mirror_in(&text, ending))
}

/// The first archive whose address ends so (not a third party's) in a sources file of either style.
fn mirror_in(sources: &str, ending: &str) -> Option<String> {
    sources
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with(ending))
        .map(|word| word.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn finds_the_debian_mirror_in_both_styles() {
        let deb822 = "Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian\n\
                      \nTypes: deb\nURIs: http://mirror.example/debian-security\n";
        assert_eq!(
            mirror_in(deb822, "/debian").as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(
            mirror_in(deb822, "/debian-security").as_deref(),
            Some("http://mirror.example/debian-security")
        );
        let one_line = "deb https://other.example/tool tool main\n\
                        deb [arch=amd64] https://m.example/debian/ bookworm main\n";
        assert_eq!(
            mirror_in(one_line, "/debian").as_deref(),
            Some("https://m.example/debian")
        );
        assert_eq!(
            mirror_in("deb http://m.example/debian-security x main\n", "/debian"),
            None
        );
    }
}
