//! The first program of the test guests, in three lives:
//!
//! 1. in the initramfs (`/modules.list` exists): load modules, start the watchdog, find the root
//!    partition named on the kernel command line, hand over to its init;
//! 2. as `/sbin/init` of the tiny guest: mount, network, start the daemon, feed the watchdog;
//! 3. as `/sbin/reboot` of the tiny guest: ask life 2 for an orderly restart.
//!
//! It is test equipment and is never part of a product image. Everything a test waits for is
//! printed on the console as one line that starts with `SB: `.

mod cmdline;
mod fetching;
mod initramfs;
mod reboot;
mod run;
mod supervisor;
mod tiny;

use std::path::Path;

fn main() {
    let mut args = std::env::args_os();
    let called_as = args.next().unwrap_or_default();
    let is_first_process = std::process::id() == 1;

    if Path::new(&called_as)
        .file_name()
        .is_some_and(|name| name == "reboot")
    {
        if let Err(why) = reboot::ask() {
            eprintln!("reboot: {why:#}");
            std::process::exit(1);
        }
    } else if !is_first_process {
        let why = run::exec(args);
        eprintln!("guest-init: {why:#}");
        std::process::exit(127);
    } else if Path::new(initramfs::MODULE_LIST).exists() {
        // Returning ends PID 1: the kernel panics, and panic=-1 restarts the machine.
        let why = initramfs::hand_over();
        println!("SB: INITRAMFS FAILED {why:#}");
    } else if let Err(why) = tiny::live() {
        println!("SB: TINY FAILED {why:#}");
    }
}
