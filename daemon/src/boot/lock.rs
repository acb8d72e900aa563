//! Keeping other writers out.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::BootError;

/// Where `fw_setenv` and `fw_printenv` lock; the first directory that exists is the one.
pub(super) const UBOOT_LOCKS: [&str; 2] = ["/var/lock/fw_printenv.lock", "/run/fw_printenv.lock"];

/// A tool holds the lock for milliseconds. Longer than this, it hangs, and must be named.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// A held lock; given back when it goes out of scope.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Locks an environment file itself.
    pub(super) fn on_file(path: &Path) -> Result<Self, BootError> {
        let file = File::open(path).map_err(|source| BootError::Lock {
            path: path.into(),
            source,
        })?;
        wait(file, path)
    }

    /// Locks the file that U-Boot's tools lock.
    pub(super) fn on_tools(paths: &[PathBuf]) -> Result<Self, BootError> {
        let mut refused = None;
        for path in paths {
            match OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
            {
                Ok(file) => return wait(file, path),
                Err(source) => {
                    refused = Some(BootError::Lock {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
        Err(refused.unwrap_or_else(|| BootError::Lock {
            path: PathBuf::new(),
            source: io::Error::from(io::ErrorKind::NotFound),
        }))
    }
}

fn wait(mut file: File, path: &Path) -> Result<Lock, BootError> {
    let start = Instant::now();
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(Lock { _file: locked }),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_, errno)) => {
                return Err(BootError::Lock {
                    path: path.into(),
                    source: errno.into(),
                });
            }
        };
        if start.elapsed() > PATIENCE {
            return Err(BootError::Locked {
                path: path.into(),
                seconds: PATIENCE.as_secs(),
            });
        }
        std::thread::sleep(PAUSE);
    }
}
