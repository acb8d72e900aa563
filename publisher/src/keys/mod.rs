//! The keys directory: private keys, the pinned root and the signing policy.
//!
//! ```text
//! keys/  root.pem targets.pem releases.pem channels.pem snapshot.pem timestamp.pem
//!        root.ann.pem   further keys of a role, under any name between the dots
//!        root.hsm.toml  the same, where a program signs: for keys in tokens and in services
//!        root.json      the first root: devices are shipped with it, and every verb that signs
//!                       checks the repository against it
//!        policy.json    how long signatures hold
//! ```
//! A machine needs only the keys of the roles that it signs; the keys of root and targets belong
//! somewhere offline.

pub mod change;
pub mod elsewhere;
mod error;
pub mod list;
mod role_key;
mod signer;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::error::KeyError;
pub use self::role_key::RoleKey;
pub(crate) use self::role_key::{KeyId, public_key};
use crate::error::{RepoError, io};
use crate::role::{Lifetimes, Role};
use crate::store::sync_directory;

/// A directory of keys.
#[derive(Debug, Clone)]
pub struct Keys {
    directory: PathBuf,
}

/// A key that was made.
#[derive(Debug, Clone, Serialize)]
pub struct MadeKey {
    /// Whose it is going to be.
    pub role: Role,
    /// Its name in metadata.
    pub id: String,
    /// The file with the private half.
    pub private: PathBuf,
    /// The file with the public half.
    pub public: PathBuf,
}

impl std::fmt::Display for MadeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (private, public) = (self.private.display(), self.public.display());
        writeln!(f, "key {} for {}", self.id, self.role)?;
        writeln!(f, "  {private} stays here")?;
        write!(
            f,
            "  {public} is for `switchback-repo keys add {} FILE`",
            self.role
        )
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    schema: u32,
    /// Seconds per role.
    lifetimes: Lifetimes,
}

impl Keys {
    /// The keys in `directory`, read when they are needed.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Where the key of a role lies.
    #[must_use]
    pub fn path(&self, role: Role) -> PathBuf {
        self.directory.join(format!("{role}.pem"))
    }

    /// Where the pinned root lies.
    #[must_use]
    pub fn pinned_root_path(&self) -> PathBuf {
        self.directory.join("root.json")
    }

    /// Makes the directory, closed to others, and one ed25519 key for each role that has none.
    ///
    /// # Errors
    /// [`RepoError::Io`], [`RepoError::KeyGeneration`].
    pub fn create(&self) -> Result<(), RepoError> {
        fs::create_dir_all(&self.directory).map_err(io("create", &self.directory))?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))
            .map_err(io("close", &self.directory))?;
        for role in Role::ALL {
            if !self.path(role).exists() {
                self.create_key(role)?;
            }
        }
        Ok(())
    }

    fn create_key(&self, role: Role) -> Result<(), RepoError> {
        self.write(&self.path(role), &role_key::generate(role)?, 0o600)
    }

    /// Writes a file of this directory whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), RepoError> {
        let temporary = path.with_extension("tmp");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove", &temporary)(error));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .map_err(io("create", &temporary))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(io("write", &temporary))?;
        fs::rename(&temporary, path).map_err(io("rename into place", path))?;
        sync_directory(&self.directory)
    }

    /// The pinned root's bytes.
    ///
    /// # Errors
    /// [`RepoError::NoPinnedRoot`], [`RepoError::Io`].
    pub fn pinned_root(&self) -> Result<Vec<u8>, RepoError> {
        let path = self.pinned_root_path();
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RepoError::NoPinnedRoot { path },
            _ => io("read", &path)(error),
        })
    }

    /// Pins a root: what devices are shipped with.
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub fn pin_root(&self, bytes: &[u8]) -> Result<(), RepoError> {
        self.write(&self.pinned_root_path(), bytes, 0o644)
    }

    /// How long signatures hold, as `init` was told.
    ///
    /// # Errors
    /// [`RepoError::Policy`], [`RepoError::Io`].
    pub fn lifetimes(&self) -> Result<Lifetimes, RepoError> {
        let path = self.directory.join("policy.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Lifetimes::default());
            }
            Err(error) => return Err(io("read", &path)(error)),
        };
        let policy: Policy =
            serde_json::from_slice(&bytes).map_err(|source| RepoError::Policy { path, source })?;
        Ok(policy.lifetimes)
    }

    /// Records how long signatures hold.
    ///
    /// # Errors
    /// [`RepoError::Policy`], [`RepoError::Io`].
    pub fn set_lifetimes(&self, lifetimes: &Lifetimes) -> Result<(), RepoError> {
        let path = self.directory.join("policy.json");
        let policy = Policy {
            schema: 1,
            lifetimes: *lifetimes,
        };
        let text = serde_json::to_string_pretty(&policy).map_err(|source| RepoError::Policy {
            path: path.clone(),
            source,
        })?;
        self.write(&path, format!("{text}\n").as_bytes(), 0o644)
    }

    /// Reads the first private key of a role.
    ///
    /// # Errors
    /// [`RepoError::KeyMissing`], [`RepoError::KeyMode`], [`RepoError::KeyUnusable`],
    /// [`RepoError::Io`].
    pub fn load(&self, role: Role) -> Result<RoleKey, RepoError> {
        let path = self.path(role);
        match path.try_exists() {
            Ok(false) => Err(RepoError::KeyMissing { role, path }),
            _ => RoleKey::read(path),
        }
    }

    /// Reads all private keys of a role that are here: `ROLE.pem`, every `ROLE.*.pem`, and every `ROLE.*.toml`
    /// that names a program to sign.
    ///
    /// # Errors
    /// As [`load`](Self::load): one at least must be here, and all must be usable.
    pub fn load_all(&self, role: Role) -> Result<Vec<RoleKey>, RepoError> {
        let keys = self.at_hand(role)?;
        if keys.is_empty() {
            let path = self.path(role);
            return Err(RepoError::KeyMissing { role, path });
        }
        Ok(keys)
    }

    /// The same, of which there may be none.
    pub(crate) fn at_hand(&self, role: Role) -> Result<Vec<RoleKey>, RepoError> {
        let mut paths = Vec::new();
        let prefix = format!("{role}.");
        for entry in fs::read_dir(&self.directory).map_err(io("read", &self.directory))? {
            let path = entry.map_err(io("read", &self.directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let of_role = name.filter(|name| name.starts_with(&prefix));
            if of_role.is_some_and(|name| name.ends_with(".pem") || name.ends_with(".toml")) {
                paths.push(path);
            }
        }
        paths.sort();
        let read = |path: PathBuf| match path.extension().is_some_and(|kind| kind == "toml") {
            true => RoleKey::read_signer(path),
            false => RoleKey::read(path),
        };
        paths.into_iter().map(read).collect()
    }

    /// Makes a key that nothing lists yet, and writes its public half beside it.
    ///
    /// # Errors
    /// As reading and writing keys; [`KeyError::KeyFileTaken`].
    pub(crate) fn create_with_public(&self, role: Role, name: &str) -> Result<MadeKey, RepoError> {
        let private = self.create_further(role, name)?;
        let key = RoleKey::read(private.clone())?;
        let public = private.with_extension("pub");
        self.write(&public, key.public_pem().as_bytes(), 0o644)?;
        Ok(MadeKey {
            role,
            id: hex::encode(key.id()),
            private,
            public,
        })
    }

    /// Makes a further key of a role, under a name of its own, and gives its path.
    ///
    /// # Errors
    /// [`KeyError::KeyFileTaken`], [`RepoError::Io`], [`RepoError::KeyGeneration`].
    pub(crate) fn create_further(&self, role: Role, name: &str) -> Result<PathBuf, RepoError> {
        let path = self.directory.join(format!("{role}.{name}.pem"));
        if path.exists() {
            return Err(KeyError::KeyFileTaken { path }.into());
        }
        fs::create_dir_all(&self.directory).map_err(io("create", &self.directory))?;
        self.write(&path, &role_key::generate(role)?, 0o600)?;
        Ok(path)
    }
}
