//! `switchbackd`: see the library for what it does; this only starts it.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use switchbackd::fetcher::{ServeError, serve};
use switchbackd::report::chain;
use switchbackd::settings::{CONFIG_DIRECTORIES, Origin, SettingsError, origins};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const USAGE: &str = "\
switchbackd: the update daemon; started by systemd (`systemctl status switchbackd`)

usage: switchbackd [--config-dir DIR]...   run (default: /usr/lib, /run and /etc/switchback/config.d)
       switchbackd trial-deadline          restart the device if this boot is an undecided trial
       switchbackd boot-checks             run the scripts of health.script-directories, once in each boot; started
                                           by switchback-boot-checks.service
       switchbackd fetch              serve one connection of the daemon, without rights; started by
                                      switchback-fetch.socket
       switchbackd check-config [--json]   read the configuration and say what is wrong
       switchbackd show-config [--json]    each setting, and the file and line that it comes from
       switchbackd --version

exit codes: 0 ended as asked, 1 could not run, 2 wrong usage, 78 wrong configuration
";

#[derive(Clone, Copy)]
enum Verb {
    Run,
    TrialDeadline,
    BootChecks,
    Fetch,
    CheckConfig { json: bool },
    ShowConfig { json: bool },
    Version,
    Help,
}

fn main() -> ExitCode {
    let (verb, directories) = match arguments() {
        Ok(parsed) => parsed,
        Err(wrong) => {
            eprintln!("switchbackd: {wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match verb {
        Verb::Help => print!("{USAGE}"),
        Verb::Version => println!("switchbackd {}", env!("CARGO_PKG_VERSION")),
        Verb::CheckConfig { json } => return check_config(&directories, json),
        Verb::ShowConfig { json } => return show_config(&directories, json),
        Verb::TrialDeadline => {
            log_to_journal();
            return trial_deadline(&directories);
        }
        Verb::BootChecks => return boot_checks(&directories),
        Verb::Fetch => {
            log_to_journal();
            return match fetch() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{}", chain(&error));
                    ExitCode::from(1)
                }
            };
        }
        Verb::Run => {
            log_to_journal();
            return match switchbackd::run(&directories) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{}", chain(&error));
                    ExitCode::from(if matches!(error, switchbackd::RunError::Settings(_)) {
                        78
                    } else {
                        1
                    })
                }
            };
        }
    }
    ExitCode::SUCCESS
}

fn arguments() -> Result<(Verb, Vec<PathBuf>), String> {
    let mut verb = Verb::Run;
    let mut directories = Vec::new();
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config-dir") => {
                let directory = arguments.next().ok_or("--config-dir needs a directory")?;
                directories.push(PathBuf::from(directory));
            }
            Some("--version" | "-V") => verb = Verb::Version,
            Some("--help" | "-h") => verb = Verb::Help,
            Some("trial-deadline") => verb = Verb::TrialDeadline,
            Some("boot-checks") => verb = Verb::BootChecks,
            Some("fetch") => verb = Verb::Fetch,
            Some("check-config") => verb = Verb::CheckConfig { json: false },
            Some("show-config") => verb = Verb::ShowConfig { json: false },
            Some("--json") if matches!(verb, Verb::ShowConfig { .. }) => {
                verb = Verb::ShowConfig { json: true };
            }
            Some("--json") if matches!(verb, Verb::CheckConfig { .. }) => {
                verb = Verb::CheckConfig { json: true };
            }
            _ => return Err(format!("unknown argument {}", argument.display())),
        }
    }
    if directories.is_empty() {
        directories = CONFIG_DIRECTORIES.iter().map(PathBuf::from).collect();
    }
    Ok((verb, directories))
}

fn boot_checks(directories: &[PathBuf]) -> ExitCode {
    match switchbackd::boot_checks(directories) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(switchbackd::RunError::Settings(error)) => wrong_configuration(&error),
        Err(error) => {
            eprintln!("switchbackd: {}", chain(&error));
            ExitCode::from(1)
        }
    }
}

fn wrong_configuration(error: &SettingsError) -> ExitCode {
    eprintln!("switchbackd: {}", chain(error));
    ExitCode::from(78)
}

fn check_config(directories: &[PathBuf], json: bool) -> ExitCode {
    let loaded = switchbackd::settings::load(directories);
    if json {
        let error = loaded.as_ref().err().map(|error| chain(error).to_string());
        let value = serde_json::json!({ "schema": 1, "fine": loaded.is_ok(), "error": error });
        println!("{value:#}");
        return ExitCode::from(if loaded.is_ok() { 0 } else { 78 });
    }
    match loaded {
        Ok(_) => {
            println!("the configuration is fine");
            ExitCode::SUCCESS
        }
        Err(error) => wrong_configuration(&error),
    }
}

/// What is wrong with all of it together is said after it was shown.
fn show_config(directories: &[PathBuf], json: bool) -> ExitCode {
    let origins = match origins(directories) {
        Ok(origins) => origins,
        Err(error) => return wrong_configuration(&error),
    };
    if json {
        println!(
            "{}",
            serde_json::json!({ "schema": 1, "settings": origins })
        );
    } else {
        let shown = |origin: &Origin| format!("{} = {}", origin.key, origin.value);
        let width = origins
            .iter()
            .map(|origin| shown(origin).len().min(60))
            .max();
        let width = width.unwrap_or_default();
        for origin in &origins {
            let place = format!("{}:{}", origin.file.display(), origin.line);
            println!("{:<width$}  # {place}", shown(origin));
        }
    }
    match switchbackd::settings::load(directories) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => wrong_configuration(&error),
    }
}

/// The connection is the standard input.
fn fetch() -> Result<(), ServeError> {
    let connection = std::io::stdin().as_fd().try_clone_to_owned();
    serve(connection.map_err(ServeError::Connection)?.into())
}

fn trial_deadline(directories: &[PathBuf]) -> ExitCode {
    match switchbackd::trial_deadline(directories) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => {
            tracing::error!("this boot is a trial and was not decided in time: restarting");
            restart_by_force()
        }
        // A trial that breaks this very program must not last for ever; a committed slot must
        // not restart for ever. The command line cannot tell them apart, the bootloader can:
        // nothing is done, and the error is said.
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::from(1)
        }
    }
}

fn restart_by_force() -> ExitCode {
    match std::process::Command::new("systemctl")
        .args(["reboot", "--force"])
        .status()
    {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            tracing::error!("systemctl reboot --force: {status}");
            ExitCode::from(1)
        }
        Err(error) => {
            tracing::error!("systemctl reboot --force: {error}");
            ExitCode::from(1)
        }
    }
}

/// The journal with its fields where there is one, else standard error.
fn log_to_journal() {
    let info = tracing_subscriber::filter::LevelFilter::INFO;
    match tracing_journald::layer() {
        Ok(journal) => tracing_subscriber::registry()
            .with(info)
            .with(
                journal
                    .with_field_prefix(None)
                    .with_syslog_identifier("switchbackd".into()),
            )
            .init(),
        Err(_) => tracing_subscriber::registry()
            .with(info)
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(false)
                    .without_time()
                    .with_target(false),
            )
            .init(),
    }
}
