//! QEMU as a child that never outlives this process.
//!
//! Three nets: the guard kills on drop; the kernel kills when our process dies in any way, even by
//! SIGKILL (parent-death signal, set by `setpriv`, which then becomes QEMU, so that the pid stays);
//! and a terminal's Ctrl-C reaches the whole process group.

use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

use crate::error::{Error, Result};

/// A request to start a program, with where the answer goes.
type Request = (Command, Sender<std::io::Result<Child>>);

/// The kernel sends the parent-death signal when the *thread* that started the child ends. Tests
/// run on short-lived threads and hand machines around, so one thread that never ends starts all.
static STARTER: LazyLock<Mutex<Sender<Request>>> = LazyLock::new(|| {
    let (sender, requests) = channel::<Request>();
    thread::spawn(move || {
        for (mut command, answer) in requests {
            // Nobody to take the answer: the child is dropped and with it its guard.
            if let Err(unclaimed) = answer.send(command.spawn()) {
                drop(unclaimed.0.map(Guard::new));
            }
        }
    });
    Mutex::new(sender)
});

/// A running child, killed on drop.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    fn new(child: Child) -> Self {
        Self(child)
    }

    /// Starts `command`, whose program must be given with [`tied`].
    pub(crate) fn start(command: Command, program: &str) -> Result<Self> {
        let failed = |source| Error::Start {
            program: program.to_owned(),
            source,
        };
        let (answer, child) = channel();
        let starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || failed(std::io::Error::other("the starting thread has ended"));
        starter.send((command, answer)).map_err(|_| gone())?;
        child
            .recv()
            .map_err(|_| gone())?
            .map(Self::new)
            .map_err(failed)
    }

    /// The child itself, to take its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Kills at once, without any clean-up on the child's side.
    pub(crate) fn kill(&mut self) -> std::io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when the child has ended already.
        let _ended = self.kill();
    }
}

/// A command for `program` that dies with this process.
pub(crate) fn tied(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

#[cfg(test)]
mod tests {
    use super::{Guard, tied};

    #[test]
    fn child_outlives_the_thread_that_asked_for_it_but_not_its_guard() {
        let asked = std::thread::spawn(|| {
            let mut command = tied("sleep");
            command.arg("60");
            Guard::start(command, "sleep").unwrap()
        });
        let mut guard = asked.join().unwrap();
        assert!(guard.child().try_wait().unwrap().is_none());
        let id = guard.child().id();
        drop(guard);
        assert!(!std::path::Path::new(&format!("/proc/{id}/stat")).exists());
    }
}
