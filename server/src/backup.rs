//! Everything in one file, taken while the server serves, and put back elsewhere.
//!
//! The file is a tar archive: the database as one transaction sees it, then the files that were
//! uploaded. A file is there before a release names it, so the second holds all that the first
//! speaks of.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::app::now;
use crate::start::{lock, make_data_directory};
use crate::store::sqlite;

/// What comes first in an archive.
const HEAD: &str = "switchback-fleet-backup.json";
/// The database.
const DATABASE: &str = "fleet.db";
/// The uploaded files.
const FILES: &str = "artifacts";
/// What was seen of signed repositories.
const SEEN: &str = "seen-";
/// What this program writes, and the newest that it reads.
const SCHEMA: u32 = 1;
/// Longest head in bytes.
const MAX_HEAD: u64 = 4096;
/// Devices know their orders by number. Those that were given after the backup are known to
/// devices and not to what is restored: none of them is given again. Some clients count to 2^31.
const SKIPPED_ACTIONS: i64 = 10_000_000;

/// Where everything is, and where it goes.
#[derive(Debug, Clone, Args)]
pub struct Backup {
    /// The file to make; it must not be there yet.
    pub file: PathBuf,
    /// The server's data directory.
    #[arg(long, env = "SWITCHBACK_DATA", default_value = "switchback-data")]
    pub data: PathBuf,
    /// As given to the server: PostgreSQL is backed up by its own programs.
    #[arg(long, env = "SWITCHBACK_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// The database alone, without uploaded files.
    #[arg(long)]
    pub without_files: bool,
}

/// Where everything goes back.
#[derive(Debug, Clone, Args)]
pub struct Restore {
    /// What `backup` made.
    pub file: PathBuf,
    /// The data directory to fill; no server may be at it, and no fleet in it.
    #[arg(long, env = "SWITCHBACK_DATA", default_value = "switchback-data")]
    pub data: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Head {
    schema: u32,
    /// Seconds since 1970.
    made_at: i64,
    /// Of the program that made it.
    version: String,
}

/// Removed when it goes out of scope, unless it was given its name.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a backup. What was acknowledged before it began is in it.
///
/// # Errors
/// Names what cannot be read or written; then there is no file.
pub async fn backup(options: &Backup) -> anyhow::Result<()> {
    if options.database.is_some() {
        bail!(
            "the database is PostgreSQL's: `pg_dump --format=custom --file=fleet.dump URL` backs it \
             up and `pg_restore` puts it back; uploaded files are in {}",
            options.data.join(FILES).display()
        );
    }
    let database = options.data.join(DATABASE);
    if !database.exists() {
        bail!("there is no fleet in {}", options.data.display());
    }
    if options.file.exists() {
        bail!("{} is there already", options.file.display());
    }
    let beside = |end: &str| {
        let mut name = options.file.clone().into_os_string();
        name.push(end);
        Passing(PathBuf::from(name))
    };
    let (snapshot, archive) = (beside(".db-part"), beside(".part"));
    for Passing(path) in [&snapshot, &archive] {
        // Of a backup that was broken off.
        let _ = std::fs::remove_file(path);
    }
    // Made by us first: it holds secrets, and is for nobody else to read.
    create(&snapshot.0)?;
    sqlite::copy(&database, &snapshot.0).await?;
    write_archive(options, &snapshot.0, &archive.0)?;
    std::fs::rename(&archive.0, &options.file).context("the file cannot be given its name")?;
    sync_directory_of(&options.file)
}

fn create(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn write_archive(options: &Backup, snapshot: &Path, archive: &Path) -> anyhow::Result<()> {
    let file = create(archive)?;
    let mut tar = tar::Builder::new(BufWriter::new(file));
    let head = Head {
        schema: SCHEMA,
        made_at: now().unix(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let head = serde_json::to_vec(&head)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(head.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, HEAD, head.as_slice())?;
    tar.append_path_with_name(snapshot, DATABASE)?;
    for entry in std::fs::read_dir(&options.data)? {
        let name = entry?.file_name();
        let is_memory = name.to_str().is_some_and(|name| {
            name.strip_prefix(SEEN)
                .is_some_and(|rest| is_hexadecimal(rest, 16))
        });
        if is_memory {
            tar.append_path_with_name(options.data.join(&name), &name)?;
        }
    }
    let files = options.data.join(FILES);
    if !options.without_files && files.exists() {
        for entry in std::fs::read_dir(&files)? {
            let name = entry?.file_name();
            // Others are uploads that have not ended.
            if name.to_str().is_some_and(|name| is_hexadecimal(name, 64)) {
                tar.append_path_with_name(files.join(&name), Path::new(FILES).join(&name))?;
            }
        }
    }
    let mut file = tar.into_inner()?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(())
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    let good = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.len() == digits && text.chars().all(good)
}

fn sync_directory_of(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// Puts a backup back. The database comes last: before that there is no fleet.
///
/// # Errors
/// Names what is wrong with the file or the directory.
pub async fn restore(options: &Restore) -> anyhow::Result<()> {
    let Restore { file, data } = options;
    let archive = File::open(file).with_context(|| file.display().to_string())?;
    make_data_directory(&data.join(FILES))?;
    let _lock = lock(data)?;
    if data.join(DATABASE).exists() {
        bail!(
            "there is a fleet in {} already: name another directory, or move that one away",
            data.display()
        );
    }
    let fresh = Passing(data.join("restored.db-part"));
    let _ = std::fs::remove_file(&fresh.0);
    let head = read_archive(archive, data, &fresh.0)
        .with_context(|| format!("{} is no whole backup", file.display()))?;
    sqlite::check(&fresh.0, SKIPPED_ACTIONS)
        .await
        .with_context(|| format!("the database in {}", file.display()))?;
    File::open(&fresh.0)?.sync_all()?;
    File::open(data.join(FILES))?.sync_all()?;
    std::fs::rename(&fresh.0, data.join(DATABASE))?;
    sync_directory_of(&data.join(DATABASE))?;
    let age = (now().unix() - head.made_at).max(0) / 60;
    println!(
        "restored what switchback-server {} kept {age} minutes ago into {}",
        head.version,
        data.display()
    );
    Ok(())
}

fn read_archive(archive: File, data: &Path, database: &Path) -> anyhow::Result<Head> {
    let mut tar = tar::Archive::new(BufReader::new(archive));
    let mut entries = tar.entries()?;
    let first = entries.next().context("it is empty")??;
    if first.path()?.as_os_str() != HEAD {
        bail!("it does not begin with {HEAD}");
    }
    let mut text = Vec::new();
    first.take(MAX_HEAD).read_to_end(&mut text)?;
    let head: Head = serde_json::from_slice(&text).context(HEAD)?;
    if head.schema > SCHEMA {
        bail!(
            "it is of switchback-server {}, which is newer",
            head.version
        );
    }
    let mut has_database = false;
    for entry in entries {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() {
            bail!("{name:?} is no file");
        }
        let digest = name.strip_prefix("artifacts/");
        let seen = name.strip_prefix(SEEN);
        match (name.as_str(), digest, seen) {
            (DATABASE, ..) if !has_database => {
                has_database = true;
                put(&mut entry, database)?;
            }
            (_, Some(digest), _) if is_hexadecimal(digest, 64) => {
                let found = put(&mut entry, &data.join(&name))?;
                if found != digest {
                    let _ = std::fs::remove_file(data.join(&name));
                    bail!("{name} is damaged: its SHA-256 is {found}");
                }
            }
            (_, _, Some(rest)) if is_hexadecimal(rest, 16) => {
                put(&mut entry, &data.join(&name))?;
            }
            _ => bail!("{name:?} does not belong there"),
        }
    }
    if !has_database {
        bail!("there is no {DATABASE} in it");
    }
    Ok(head)
}

/// Writes a file and returns its SHA-256.
fn put(from: &mut impl Read, path: &Path) -> anyhow::Result<String> {
    let _ = std::fs::remove_file(path);
    let mut file = create(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0_u8; 256 * 1024];
    loop {
        let length = from.read(&mut piece)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
            break;
        };
        digest.update(read);
        file.write_all(read)?;
    }
    file.sync_all()?;
    Ok(hex::encode(digest.finalize()))
}
