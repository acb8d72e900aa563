//! The keys directory: private keys, the pinned root and the signing policy.
//!
//! ```text
//! keys/  root.pem targets.pem releases.pem channels.pem snapshot.pem timestamp.pem
//!        root.json      the first root: devices are shipped with it, and every verb that signs
//!                       checks the repository against it
//!        policy.json    how long signatures hold
//! ```
//! A machine needs only the keys of the roles that it signs; the keys of root and targets belong
//! somewhere offline.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::Ed25519KeyPair;
use serde::{Deserialize, Serialize};
use tough::async_trait;
use tough::key_source::KeySource;
use tough::schema::key::Key;
use tough::sign::{Sign, parse_keypair};

use crate::error::{RepoError, io};
use crate::role::{Lifetimes, Role};
use crate::store::sync_directory;

type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A directory of keys.
#[derive(Debug, Clone)]
pub struct Keys {
    directory: PathBuf,
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
        let document = Ed25519KeyPair::generate()
            // Version 1 of PKCS#8, which every other program reads too.
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(|_| RepoError::KeyGeneration { role })?;
        let text = pem::encode(&pem::Pem::new("PRIVATE KEY", document.as_ref()));
        self.write(&self.path(role), text.as_bytes(), 0o600)
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

    /// Reads the private key of a role.
    ///
    /// # Errors
    /// [`RepoError::KeyMissing`], [`RepoError::KeyMode`], [`RepoError::KeyUnusable`],
    /// [`RepoError::Io`].
    pub fn load(&self, role: Role) -> Result<RoleKey, RepoError> {
        let path = self.path(role);
        let metadata = fs::metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RepoError::KeyMissing {
                role,
                path: path.clone(),
            },
            _ => io("read", &path)(error),
        })?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(RepoError::KeyMode { path, mode });
        }
        let text = fs::read(&path).map_err(io("read", &path))?;
        let unusable = || RepoError::KeyUnusable { path: path.clone() };
        let pem = pem::parse(&text).map_err(|_| unusable())?;
        // The signing library reads RSA keys as PEM and all others without it.
        let bytes = match parse_keypair(pem.contents()) {
            Ok(_) => pem.into_contents(),
            Err(_) => text,
        };
        let public = parse_keypair(&bytes).map_err(|_| unusable())?.tuf_key();
        Ok(RoleKey {
            path,
            public,
            bytes,
        })
    }
}

/// The private key of one role.
#[derive(Clone)]
pub struct RoleKey {
    path: PathBuf,
    public: Key,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for RoleKey {
    /// Never shows the private half.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl RoleKey {
    /// The public half, as metadata lists it.
    #[must_use]
    pub fn public(&self) -> &Key {
        &self.public
    }

    /// The file that it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl KeySource for RoleKey {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, BoxError> {
        Ok(Box::new(parse_keypair(&self.bytes)?))
    }

    async fn write(&self, _value: &str, _key_id: &str) -> Result<(), BoxError> {
        Err(format!("{} is only read", self.path.display()).into())
    }
}
