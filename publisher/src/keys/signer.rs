//! A key that is not in a file: in a token (PKCS#11), or in a service. A program signs with it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::error::KeyError;
use crate::error::{RepoError, io};

/// No signature is longer.
const MOST: u64 = 4096;

/// Which program signs, and what its key is.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    path: PathBuf,
    program: String,
    arguments: Vec<String>,
    public: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The program and its arguments. The message comes on standard input; the signature, and
    /// nothing else, is to come out on standard output: for ed25519 64 bytes, for ECDSA in DER, for
    /// RSA PSS with SHA-256 and a salt of 32 bytes.
    command: Vec<String>,
    /// The file with the public half, relative to this one.
    public: PathBuf,
}

impl Signer {
    /// Reads the file that names it.
    pub(super) fn read(path: &Path) -> Result<Self, RepoError> {
        let text = fs::read_to_string(path).map_err(io("read", path))?;
        let wrong = |why: String| KeyError::SignerFile {
            path: path.into(),
            why,
        };
        let file: File =
            toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        let mut command = file.command.into_iter();
        let program = command
            .next()
            .ok_or_else(|| wrong("`command` is empty".into()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Ok(Self {
            path: path.into(),
            program,
            arguments: command.collect(),
            public: directory.join(file.public),
        })
    }

    /// The file with the public half.
    pub(super) fn public(&self) -> &Path {
        &self.public
    }

    /// What it failed with, as an error.
    pub(super) fn failed(&self, why: String) -> RepoError {
        KeyError::Signer {
            path: self.path.clone(),
            program: self.program.clone(),
            why,
        }
        .into()
    }

    /// Has it sign. It may ask for a PIN on the terminal; what it says goes there, too.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, RepoError> {
        let failed = |error: std::io::Error| self.failed(error.to_string());
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take();
        let message = message.to_vec();
        // A program that does not read all of it says why by its exit.
        let writing = std::thread::spawn(move || input.map(|mut input| input.write_all(&message)));
        let mut signature = Vec::new();
        if let Some(output) = child.stdout.take() {
            let read = output.take(MOST + 1).read_to_end(&mut signature);
            read.map_err(failed)?;
        }
        let status = child.wait().map_err(failed)?;
        let _ = writing.join();
        if signature.len() as u64 > MOST {
            return Err(self.failed("it gave far more than a signature".into()));
        }
        if !status.success() {
            return Err(self.failed(format!("it ended with {status}")));
        }
        if signature.is_empty() {
            return Err(self.failed("it gave nothing".into()));
        }
        Ok(signature)
    }
}
