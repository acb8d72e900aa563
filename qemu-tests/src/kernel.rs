//! The guests' kernel: Debian's generic one, and the modules it needs to reach a root.
//!
//! The cloud kernels are smaller but have no MMC drivers, which the U-Boot board needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Key};
use crate::command::Run;
use crate::debian::Archive;
use crate::error::{Error, IoContext as _, Result};

/// The package that always depends on the newest generic kernel.
const META_PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel package with its module index.
#[derive(Debug, Clone)]
pub struct Kernel {
    version: String,
    root: PathBuf,
}

/// A kernel module that is a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The file below the version's module directory, e.g. `kernel/fs/ext4/ext4.ko.xz`.
    pub path: String,
}

impl Kernel {
    /// Downloads and unpacks the newest generic kernel of the archive.
    ///
    /// # Errors
    /// The archive has none, or it cannot be unpacked or indexed.
    pub fn fetch(cache: &Cache, archive: &Archive) -> Result<Self> {
        let depends = archive.field(META_PACKAGE, "Depends")?;
        let package = depends.split_whitespace().next().unwrap_or_default();
        let version = package
            .strip_prefix("linux-image-")
            .ok_or_else(|| Error::Malformed {
                path: PathBuf::from(META_PACKAGE),
                why: format!("depends on `{depends}`, which is no kernel package"),
            })?;
        let unpacked = archive.unpack(package)?;
        let key = Key::new("kernel-1").text(unpacked.to_string_lossy());
        let root = cache.entry("kernel", &key, |root| index(&unpacked, root, version))?;
        Ok(Self {
            version: version.to_owned(),
            root,
        })
    }

    /// The version as in `uname -r`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The compressed kernel image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// The directory that module paths are relative to.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.root.join("usr/lib/modules").join(&self.version)
    }

    /// The modules named and all they depend on, each after what it depends on. Names that are
    /// built into the kernel need no file and are left out.
    ///
    /// # Errors
    /// A name is neither a module nor built in, or the index cannot be read.
    pub fn close_over(&self, names: &[&str]) -> Result<Vec<Module>> {
        let read = |name: &str| {
            let path = self.modules().join(name);
            fs::read_to_string(&path).io("read", &path)
        };
        let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
        let index = ModuleIndex::parse(&dependencies, &builtin);
        let mut ordered = Vec::new();
        for name in names {
            index
                .add(name, &mut ordered)
                .map_err(|module| Error::NoModule {
                    kernel: self.version.clone(),
                    module,
                })?;
        }
        Ok(ordered)
    }

    /// Writes modules decompressed into `directory`, under their paths without `.xz`.
    ///
    /// # Errors
    /// A module cannot be unpacked or written.
    pub fn unpack_modules(&self, modules: &[Module], directory: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for module in modules {
            let packed = self.modules().join(&module.path);
            let bytes = if module.path.ends_with(".xz") {
                Run::new("xz").arg("-dc").arg(&packed).stdout()?
            } else {
                fs::read(&packed).io("read", &packed)?
            };
            let path = PathBuf::from(module.path.trim_end_matches(".xz"));
            let file = directory.join(&path);
            let parent = file.parent().unwrap_or(directory);
            fs::create_dir_all(parent).io("make", parent)?;
            fs::write(&file, bytes).io("write", &file)?;
            written.push(path);
        }
        Ok(written)
    }
}

/// Copies the package's files and adds `modules.dep`, which Debian makes at installation.
fn index(unpacked: &Path, root: &Path, version: &str) -> Result<()> {
    Run::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(unpacked.join("boot"))
        .arg(root)
        .check()?;
    let usr = root.join("usr");
    fs::create_dir(&usr).io("make", &usr)?;
    Run::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(unpacked.join("usr/lib"))
        .arg(usr)
        .check()?;
    let link = root.join("lib");
    std::os::unix::fs::symlink("usr/lib", &link).io("link", &link)?;
    Run::new("depmod").arg("-b").arg(root).arg(version).check()
}

/// `modules.dep` and `modules.builtin`, by module name.
#[derive(Debug)]
struct ModuleIndex<'a> {
    /// Path and the paths it depends on.
    files: BTreeMap<String, (&'a str, Vec<&'a str>)>,
    builtin: BTreeSet<String>,
}

impl<'a> ModuleIndex<'a> {
    fn parse(dependencies: &'a str, builtin: &str) -> Self {
        let files = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(path, needs)| {
                (
                    module_name(path),
                    (path, needs.split_whitespace().collect()),
                )
            })
            .collect();
        Self {
            files,
            builtin: builtin.lines().map(module_name).collect(),
        }
    }

    /// Adds `name` and before it what it needs; `Err` is the name that does not exist.
    fn add(&self, name: &str, ordered: &mut Vec<Module>) -> Result<(), String> {
        let name = name.replace('-', "_");
        if self.builtin.contains(&name) || ordered.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let Some((path, needs)) = self.files.get(&name) else {
            return Err(name);
        };
        for needed in needs {
            self.add(&module_name(needed), ordered)?;
        }
        ordered.push(Module {
            name,
            path: (*path).to_owned(),
        });
        Ok(())
    }
}

/// `kernel/net/core/failover.ko.xz` → `failover`; dashes and underscores are the same to the
/// kernel.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::ModuleIndex;

    const DEP: &str = "kernel/a/net-failover.ko.xz: kernel/b/failover.ko.xz\n\
                       kernel/b/failover.ko.xz:\n\
                       kernel/c/virtio_net.ko.xz: kernel/a/net-failover.ko.xz kernel/b/failover.ko.xz\n";

    fn order(names: &[&str]) -> Result<Vec<String>, String> {
        let index = ModuleIndex::parse(DEP, "kernel/d/virtio_pci.ko\n");
        let mut ordered = Vec::new();
        for name in names {
            index.add(name, &mut ordered)?;
        }
        Ok(ordered.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn modules_come_after_what_they_need_and_once() {
        assert_eq!(
            order(&["virtio-net", "failover", "virtio_pci"]).unwrap(),
            ["failover", "net_failover", "virtio_net"]
        );
    }

    #[test]
    fn unknown_module_is_named() {
        assert_eq!(order(&["no-such"]), Err("no_such".to_owned()));
    }
}
