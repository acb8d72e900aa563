//! `cargo xtask`: the project's commands.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod conformance;
mod dependencies;
mod dist;
mod fleet;
mod fleet_server;
mod process;
mod record;
mod scenarios;
mod simulate;
mod test;
mod torture;

use std::process::ExitCode;

const VERBS: &str = "\
cargo xtask demo [--board grub|u-boot|all] [--short] [--keep]
                     the whole story in QEMU, told as it happens (--short: good updates only)
cargo xtask test     what must hold: checks, unit tests, power cuts and updates on real bootloaders
cargo xtask test --all
                     the same with the whole matrix: each scenario on every board, the bootloaders' own
                     rules, and mistakes planted in the daemon, which the tests must find
cargo xtask check    format, lints, direction of dependencies, generated files, licences
cargo xtask scenarios [--board grub|u-boot|grub-rauc|all] [NAME PART]
                     only the QEMU scenarios, or those whose name contains this
cargo xtask record-bootloaders [--board grub|grub-rauc|u-boot|all]
                     run the real bootloaders and write down what they do, for the models of them
cargo xtask torture [--minutes N] [--seed S]
                     power cuts on the simulated device: all single ones, double ones, triple ones
                     by chance; 10 minutes unless told (faster: `cargo run --release -p xtask --`)
cargo xtask replay LOG
                     a failure of `torture` again, step by step
cargo xtask torture --qemu [--board grub|u-boot|all] [--minutes N] [--seed S] [--round K]
                           [--first-cut] [--keep] [--directory PLACE]
                     power cuts on real bootloaders, counted; 10 minutes unless told
cargo xtask torture --qemu --cycles N [--board grub|u-boot|all]
                     N updates one after the other leave nothing behind on the boot partition
cargo xtask torture --qemu --matrix
                     each kind of power cut once: what `test` does
cargo xtask bench delta [--pairs a,b,d,c,k,m] [--formats ext4,squashfs,erofs] [--minutes N]
                        [--quick]
                     what an update costs, ours beside what Debian has, on images built here; hours
                     (--quick: small images of two pairs, minutes); N minutes for a peer's program
cargo xtask bench server [--devices N,N]
                     idle polls of the fleet server on one core (1,000, 100,000 and 1,000,000 devices)
cargo xtask fleet [--model N]
                     whole rollouts over model devices under the real planner, and how many a bad release
                     reached, beside waves by time alone and everyone at once (10,000 unless told)
cargo xtask fleet --devices N [--story NAME PART] [--hour SECONDS]
                     N model devices (the real state machine, the daemon's own DDI client) over loopback
                     against the real server: releases that fail in many ways, bad networks and clocks,
                     servers and databases that are killed; an hour is 10 s unless told
cargo xtask fleet --qemu [N]
                     N real guests (3 unless told), their bootloaders, and the fleet server: a good release reaches
                     all of them, a bad one pauses after the first, which goes back
cargo xtask dashboard
                     the fleet server's dashboard in headless Chromium: complaints, keyboard, what a screen
                     reader is told, contrast; pictures below target/reports/dashboard
cargo xtask bench device [--seconds N] [--programs DIRECTORY]
                     memory, wakeups, bytes and calls of the daemon, at rest for N seconds and while it updates,
                     beside the daemons that Debian has (as root: loop devices, a mount namespace);
                     of programs that were built before, if a directory is named
cargo xtask conformance [--suite DIRECTORY | --python-tuf]
                     the device's TUF client: our rendering of the public suite's cases, or the suite
                     from a checkout; or a repository of ours read by python-tuf (both need PyPI)
cargo xtask dist [DIRECTORY]
                     the tree as it is installed on a device: programs, units, completions, manual pages
cargo xtask dist-fleet [DIRECTORY]
                     the same for the fleet: its server with the unit, and the command line for people
cargo xtask deb [--try]
                     a Debian package of it; with --try it is installed, upgraded and removed in a copy
                     of this machine's files
cargo xtask generate write the generated files anew (docs/dbus, snapshots)
cargo xtask tools    say which Debian packages are needed and why, and install what is missing
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{VERBS}");
            Ok(())
        }
        ["demo", rest @ ..] => demo(rest),
        ["test"] => test::run(false),
        ["test", "--all"] => test::run(true),
        ["check"] => check::run(),
        ["scenarios", rest @ ..] => scenarios::run_from(rest),
        ["record-bootloaders", rest @ ..] => record::run_from(rest),
        ["torture", rest @ ..] => torture::run_from(rest),
        ["bench", "server", rest @ ..] => bench::server::run_from(rest),
        ["bench", "delta", rest @ ..] => bench::run_from(rest),
        ["bench", "device", rest @ ..] => bench::device::run_from(rest),
        ["conformance", rest @ ..] => conformance::run_from(rest),
        ["fleet", rest @ ..] => fleet::run_from(rest),
        ["dashboard"] => dashboard(),
        ["replay", log] => simulate::replay_log(log),
        ["dist"] => dist::tree(None).map(drop),
        ["dist", directory] => dist::tree(Some(directory)).map(drop),
        ["dist-fleet"] => dist::fleet(None).map(drop),
        ["dist-fleet", directory] => dist::fleet(Some(directory)).map(drop),
        ["deb"] => dist::deb().map(drop),
        ["deb", "--try"] => dist::try_out(),
        ["generate"] => check::generate(),
        ["tools"] => tools(),
        [unknown, ..] => {
            eprintln!("cargo xtask: no such verb: {unknown}\n\n{VERBS}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(words: &[&str]) -> anyhow::Result<()> {
    let mut options = qemu_tests::demo::Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--keep" => options.keep = true,
            "--short" => options.short = true,
            "--board" => {
                options.boards = boards(words.next().copied())?;
                if options
                    .boards
                    .contains(&qemu_tests::demo::BoardKind::GrubRauc)
                {
                    anyhow::bail!("the demo tells a story with three tries; grub-rauc has one");
                }
            }
            other => anyhow::bail!("demo: unknown argument {other}"),
        }
    }
    Ok(qemu_tests::demo::run(&options)?)
}

/// The boards that `--board` names.
fn boards(word: Option<&str>) -> anyhow::Result<Vec<qemu_tests::demo::BoardKind>> {
    use qemu_tests::demo::BoardKind;
    Ok(match word {
        Some("grub") => vec![BoardKind::Grub],
        Some("u-boot") => vec![BoardKind::Uboot],
        Some("grub-rauc") => vec![BoardKind::GrubRauc],
        Some("all") => vec![BoardKind::Grub, BoardKind::Uboot],
        other => anyhow::bail!("--board takes grub, u-boot or all, not {other:?}"),
    })
}

fn dashboard() -> anyhow::Result<()> {
    qemu_tests::tools::ensure(qemu_tests::tools::BROWSER_TOOLS)?;
    let package = ["test", "--locked", "--package", "switchback-server"];
    let which = [
        "--test",
        "fleet",
        "dashboard::",
        "--",
        "--ignored",
        "--nocapture",
    ];
    process::cargo(&[package.as_slice(), &which].concat())
}

fn tools() -> anyhow::Result<()> {
    Ok(qemu_tests::tools::ensure_all()?)
}
