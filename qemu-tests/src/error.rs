//! What can go wrong on the way from packages to a booted guest.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the test equipment; never the verdict of a test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The attempt, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// A program could not be started at all.
    #[error("cannot start `{program}`; is its package installed?")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// A program ran and failed.
    #[error("`{line}` ended with {status}:\n{stderr}")]
    Command {
        /// Program and arguments.
        line: String,
        /// Exit code or signal.
        status: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },

    /// Host packages are missing and could not be installed from here.
    #[error("missing Debian packages; run: apt-get install --no-install-recommends {}", packages.join(" "))]
    MissingPackages {
        /// Names of the packages.
        packages: Vec<String>,
    },

    /// Bytes that should follow a format do not.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        why: String,
    },

    /// A kernel module is asked for that the kernel package does not have.
    #[error("kernel {kernel} has no module `{module}`, neither built in nor as a file")]
    NoModule {
        /// The kernel's version.
        kernel: String,
        /// The module's name.
        module: String,
    },

    /// The image does not fit into its place on the disk.
    #[error("{} is {size} bytes, but {place} holds {room}; make {place} larger", image.display())]
    TooLarge {
        /// The image.
        image: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The partition.
        place: String,
        /// The partition's size in bytes.
        room: u64,
    },

    /// A guest did not show an awaited line on its serial console.
    #[error("{machine}: {why} while waiting for `{awaited}`; last serial lines:\n{tail}\nwhole log: {}", log.display())]
    Console {
        /// The machine's name.
        machine: String,
        /// `deadline of 30s passed`, `the machine ended`.
        why: String,
        /// What was awaited.
        awaited: String,
        /// The last lines of the console.
        tail: String,
        /// The file with everything the console showed.
        log: PathBuf,
    },

    /// A guest's shell command did not succeed.
    #[error("{machine}: `{command}` in the guest ended with {code}:\n{output}")]
    GuestCommand {
        /// The machine's name.
        machine: String,
        /// What was typed.
        command: String,
        /// Its exit code.
        code: i32,
        /// What it printed.
        output: String,
    },

    /// QEMU's control connection failed.
    #[error("QEMU control connection: {why}")]
    Qmp {
        /// What failed.
        why: String,
    },

    /// A server of the test rig, or what was seen through it, is not as it should be.
    #[error("{why}")]
    Server {
        /// What is wrong.
        why: String,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the attempt and the file in I/O errors.
pub(crate) trait IoContext<T> {
    /// Turns an I/O error into [`Error::Io`].
    fn io(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn io(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing,
            path: path.as_ref().to_owned(),
            source,
        })
    }
}
