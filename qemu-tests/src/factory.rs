//! What a factory does beyond filling the slots: it puts what belongs to this one device on the
//! data partition, and signs releases with the publisher's own program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::board::Disk;
use crate::command::Run;
use crate::disk::DiskImage;
use crate::error::{IoContext as _, Result};
use crate::https::HttpsServer;
use crate::image::Image;
use crate::product::{CHANNEL, COMPATIBLE, Contract, DATA, PRODUCT, Product};

/// A repository with its keys.
#[derive(Debug)]
pub struct Repository {
    program: PathBuf,
    /// What the web server serves.
    pub directory: PathBuf,
    keys: PathBuf,
}

impl Repository {
    /// Makes keys and an empty repository below `work`.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn create(product: &Product, work: &Path) -> Result<Self> {
        Self::create_named(product, work, "repository")
    }

    /// As [`create`](Self::create), under another name: other keys for the same content.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn create_named(product: &Product, work: &Path, name: &str) -> Result<Self> {
        let repository = Self {
            program: product.program("switchback-repo"),
            directory: work.join(name),
            keys: work.join(format!("{name}-keys")),
        };
        repository
            .run("init")
            .args(["--product", PRODUCT])
            .check()?;
        Ok(repository)
    }

    fn run(&self, verb: &str) -> Run {
        let mut words = verb.split(' ');
        let run = Run::new(&self.program.to_string_lossy()).arg("--quiet");
        let run = run.args(words.by_ref());
        run.arg("--repo")
            .arg(&self.directory)
            .arg("--keys")
            .arg(&self.keys)
    }

    /// Publishes an image into the channel, as a whole only.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn publish(&self, image: &Image, version: &str) -> Result<()> {
        self.publish_as(image, version, COMPATIBLE, &["--no-chunks", "--deltas=0"])
    }

    /// The same with a delta from the version before.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn publish_with_delta(&self, image: &Image, version: &str) -> Result<()> {
        self.publish_as(image, version, COMPATIBLE, &["--no-chunks", "--deltas=1"])
    }

    /// The same in chunks, and without deltas.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn publish_in_chunks(&self, image: &Image, version: &str) -> Result<()> {
        self.publish_as(image, version, COMPATIBLE, &["--deltas=0"])
    }

    /// Publishes an image into no channel, with a delta from version `from`, and writes a bundle of
    /// both to where the web server serves it. Gives its path there.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn bundle(&self, image: &Image, version: &str, from: &str) -> Result<String> {
        self.run("publish")
            .arg("--image")
            .arg(&image.path)
            .args(["--version", version, "--compatible", COMPATIBLE])
            .args(["--level", "3", "--deltas=0", "--delta-from", from])
            .check()?;
        let name = format!("{version}.bundle");
        Run::new(&self.program.to_string_lossy())
            .args(["--quiet", "bundle", "--version", version, "--from", from])
            .arg("--repo")
            .arg(&self.directory)
            .arg("--output")
            .arg(self.directory.join(&name))
            .check()?;
        Ok(name)
    }

    /// Publishes an image that is made for another kind of hardware.
    ///
    /// # Errors
    /// `switchback-repo` refuses.
    pub fn publish_for(&self, image: &Image, version: &str, compatible: &str) -> Result<()> {
        self.publish_as(image, version, compatible, &["--no-chunks", "--deltas=0"])
    }

    fn publish_as(
        &self,
        image: &Image,
        version: &str,
        compatible: &str,
        ways: &[&str],
    ) -> Result<()> {
        self.run("publish")
            .arg("--image")
            .arg(&image.path)
            .args([
                "--version",
                version,
                "--compatible",
                compatible,
                "--channel",
                CHANNEL,
            ])
            // The guests are about behaviour; a low level keeps the tests quick.
            .args(["--level", "3"])
            .args(ways)
            .check()
    }

    /// The first root: what devices are shipped with.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.join("metadata/1.root.json")
    }
}

/// How a device is to behave beside what its image says.
#[derive(Debug, Clone)]
pub struct DeviceSettings {
    /// Time between polls.
    pub poll_interval: &'static str,
    /// How long a read may stall.
    pub stall_timeout: &'static str,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self {
            poll_interval: "3s",
            stall_timeout: "10s",
        }
    }
}

/// Puts the repository's address, its certificate and its root on a device's data partition.
///
/// # Errors
/// The disk cannot be written.
pub fn provision(
    disk: &Disk,
    server: &HttpsServer,
    repository: &Repository,
    settings: &DeviceSettings,
) -> Result<()> {
    let text = format!(
        "[repository]\nurl = \"{}\"\nca-file = \"{DATA}/ca.pem\"\nroot-file = \
         \"{DATA}/root.json\"\npoll-interval = \"{}\"\nstall-timeout = \"{}\"\n",
        server.guest_url(),
        settings.poll_interval,
        settings.stall_timeout,
    );
    let root = repository.root();
    let root = fs::read(&root).io("read", &root)?;
    put_on_data(
        disk,
        &["config.d"],
        &[
            ("config.d/50-repository.toml", text.as_bytes()),
            ("ca.pem", server.ca_pem().as_bytes()),
            ("root.json", &root),
        ],
    )
}

/// Writes files into the data partition of a disk that no machine runs from.
///
/// # Errors
/// The disk cannot be written.
pub fn put_on_data(disk: &Disk, directories: &[&str], files: &[(&str, &[u8])]) -> Result<()> {
    let extent = DiskImage::open(&disk.main).partition("data")?;
    let scratch = tempfile::tempdir().io("make a directory for", &disk.main)?;
    let mut script = String::new();
    for directory in directories {
        script.push_str(&format!("mkdir {directory}\n"));
    }
    for (number, (path, bytes)) in files.iter().enumerate() {
        let file = scratch.path().join(number.to_string());
        fs::write(&file, bytes).io("write", &file)?;
        script.push_str(&format!("write {} {path}\n", file.display()));
    }
    let commands = scratch.path().join("commands");
    fs::write(&commands, script).io("write", &commands)?;
    Run::new("debugfs")
        .arg("-w")
        .arg("-f")
        .arg(&commands)
        .arg(format!("{}?offset={}", disk.main.display(), extent.offset))
        .check()
}

/// Gives the device a second, valid environment beside the one that its bootloader reads, and a
/// configuration that names the wrong one.
///
/// # Errors
/// The disk cannot be written.
pub fn put_other_environment(disk: &Disk, contract: Contract) -> Result<()> {
    let scratch = tempfile::tempdir().io("make a directory for", &disk.main)?;
    let path = scratch.path().join("other");
    match contract {
        Contract::RaucUboot => {
            let text = scratch.path().join("text");
            let variables =
                "BOOT_ORDER=A B\nBOOT_A_LEFT=2\nBOOT_B_LEFT=3\nswitchback_id=elsewhere\n";
            fs::write(&text, variables).io("write", &text)?;
            Run::new("mkenvimage")
                .args(["-r", "-s", "0x4000", "-o"])
                .arg(&path)
                .arg(&text)
                .check()?;
            let copy = fs::read(&path).io("read", &path)?;
            let places = format!("{DATA}/other.env 0x0 0x4000\n{DATA}/other.env 0x4000 0x4000\n");
            let settings = format!("[boot]\nfw-env-config = \"{DATA}/other.config\"\n");
            put_on_data(
                disk,
                &[],
                &[
                    ("other.env", &[copy.clone(), copy].concat()),
                    ("other.config", places.as_bytes()),
                    ("config.d/60-other.toml", settings.as_bytes()),
                ],
            )
        }
        Contract::SwitchbackGrub | Contract::RaucGrub => {
            let mut blocks = Vec::new();
            for seq in ["0", "1"] {
                let pairs = ["order=A B", "a_left=2", "b_left=3", "id=elsewhere"];
                Run::new("grub-editenv").arg(&path).arg("create").check()?;
                Run::new("grub-editenv")
                    .arg(&path)
                    .args(["set", &format!("seq={seq}")])
                    .args(pairs)
                    .arg(format!("end={seq}"))
                    .check()?;
                blocks.push(fs::read(&path).io("read", &path)?);
                fs::remove_file(&path).io("remove", &path)?;
            }
            let settings = format!("[boot]\ngrubenv = [\"{DATA}/sb1.env\", \"{DATA}/sb2.env\"]\n");
            let [first, second] = blocks.as_slice() else {
                return Ok(());
            };
            put_on_data(
                disk,
                &[],
                &[
                    ("sb1.env", first),
                    ("sb2.env", second),
                    ("config.d/60-other.toml", settings.as_bytes()),
                ],
            )
        }
    }
}
