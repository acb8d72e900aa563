//! What is wrong with keys and signatures.

use std::path::PathBuf;

use crate::role::Role;

/// Why keys do not fit together. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Fewer keys signed than must.
    #[error(
        "the {role} role needs {need} signatures of keys that the repository lists for it, and {have} would sign; \
             bring more of its keys (ROLE.NAME.pem), or have it signed elsewhere with --set-aside"
    )]
    TooFewSignatures {
        /// Whose.
        role: Role,
        /// Listed keys that would sign.
        have: u64,
        /// How many must.
        need: u64,
    },
    /// A new key would overwrite another.
    #[error("{} exists; give the new key another name", path.display())]
    KeyFileTaken {
        /// The file.
        path: PathBuf,
    },
    /// A program that was to sign did not.
    #[error("{}: `{program}` did not sign: {why}", path.display())]
    Signer {
        /// The file that names it.
        path: PathBuf,
        /// The program.
        program: String,
        /// What happened.
        why: String,
    },
    /// A file that names a program to sign cannot be understood.
    #[error("{}: {why}; write `command = [\"PROGRAM\", \"ARGUMENT\"]` and `public = \"FILE.pub\"`", path.display())]
    SignerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file holds neither half of a key.
    #[error("{} holds no key in PEM form: a public one (ed25519, ECDSA P-256 or RSA), or a private one in PKCS#8", path.display())]
    PublicKeyUnusable {
        /// The file.
        path: PathBuf,
    },
    /// A role's keys cannot be changed so.
    #[error("the keys of the {role} role were not changed: {detail}")]
    KeyChange {
        /// Whose keys.
        role: Role,
        /// Why not, and the way out.
        detail: String,
    },
    /// A file that others signed cannot be taken.
    #[error("{} was not taken: {detail}", path.display())]
    NotTaken {
        /// The file.
        path: PathBuf,
        /// Why not, and the way out.
        detail: String,
    },
}
