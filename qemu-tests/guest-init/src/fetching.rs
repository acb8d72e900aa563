//! What switchback-fetch.socket and its service are in larger guests: a process without rights for each connection.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

const DIRECTORY: &str = "/run/switchback";
const SOCKET: &str = "/run/switchback/fetch";
const PROGRAM: &str = "/usr/bin/switchbackd";
const NOBODY: u32 = 65_534;

/// Listens from now on; processes that end are seen by the supervisor.
pub(crate) fn listen() -> anyhow::Result<()> {
    fs::create_dir_all(DIRECTORY).context(DIRECTORY)?;
    let listener = UnixListener::bind(SOCKET).context(SOCKET)?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let started = Command::new(PROGRAM)
                .arg("fetch")
                .stdin(OwnedFd::from(connection))
                .uid(NOBODY)
                .gid(NOBODY)
                .spawn();
            if let Err(why) = started {
                println!("SB: FETCH {why}");
            }
        }
    });
    Ok(())
}
