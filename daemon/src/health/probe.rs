//! Asks each kind of check.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checks::{Ask, CheckState};
use super::{Reached, scripts};
use crate::command::{self, CommandError};
use crate::fetch::{HttpProbe, probe};
use crate::report::chain;
use crate::settings::{CheckKind, CheckSettings, HttpSettings};
use crate::system_bus::SystemBus;

/// systemd answers at once, or something is very wrong.
const UNIT_LIMIT: Duration = Duration::from_secs(10);
/// It is there if systemd is the first process.
const SYSTEMD: &str = "/run/systemd/system";
/// As much of an answer as is searched for a text.
const MAX_BODY: usize = 64 * 1024;

/// The machine that is asked.
pub(super) struct Probes<'a> {
    reached: &'a Reached,
    bus: &'a SystemBus,
    results: PathBuf,
}

impl<'a> Probes<'a> {
    pub(super) fn new(reached: &'a Reached, bus: &'a SystemBus, results: &Path) -> Self {
        Self {
            reached,
            bus,
            results: results.into(),
        }
    }
}

impl Ask for Probes<'_> {
    fn ask(&mut self, check: &CheckSettings) -> Result<String, String> {
        match &check.kind {
            CheckKind::Unit(unit) => is_active(unit).map(|()| String::new()),
            CheckKind::BootComplete if !Path::new(SYSTEMD).exists() => {
                Ok("systemd does not run here".into())
            }
            CheckKind::BootComplete => match is_active("boot-complete.target") {
                Ok(()) => Ok(String::new()),
                Err(detail) => Err(format!(
                    "{detail}: `systemctl list-dependencies boot-complete.target` names the check that failed or still runs"
                )),
            },
            CheckKind::Command(program) => command::run(program, check.timeout)
                .map(|_| String::new())
                .map_err(|error| chain(&error)),
            CheckKind::Http(settings) => http(settings, check.timeout),
            CheckKind::BusName(name) => has_owner(self.bus, name, check.timeout),
            CheckKind::Repository if self.reached.is_noted() => Ok(String::new()),
            CheckKind::Repository => {
                Err("the repository has not been reached since this boot".into())
            }
        }
    }

    fn scripts(&mut self) -> Vec<CheckState> {
        scripts::results(&self.results)
    }
}

fn has_owner(bus: &SystemBus, name: &str, limit: Duration) -> Result<String, String> {
    match bus.has_owner(name, limit) {
        Ok(true) => Ok(String::new()),
        Ok(false) => Err(format!("{name} has no owner on the system bus")),
        Err(why) => Err(format!("the system bus: {why}")),
    }
}

fn is_active(unit: &str) -> Result<(), String> {
    let command = ["systemctl", "is-active", unit].map(String::from);
    match command::run(&command, UNIT_LIMIT) {
        Ok(_) => Ok(()),
        Err(CommandError::Failed { output, .. }) => {
            let state = output.trim_matches([' ', '(', ')']);
            let state = if state.is_empty() { "unknown" } else { state };
            Err(format!("{unit} is {state}"))
        }
        Err(error) => Err(format!("{unit}: {}", chain(&error))),
    }
}

fn http(settings: &HttpSettings, timeout: Duration) -> Result<String, String> {
    let answer = probe(&HttpProbe {
        url: &settings.url,
        ca_file: settings.ca_file.as_deref(),
        timeout,
        most: MAX_BODY,
    })?;
    if answer.status != settings.status {
        let (found, wanted) = (answer.status, settings.status);
        return Err(format!("answered {found}, not {wanted}"));
    }
    let Some(text) = &settings.body else {
        return Ok(String::new());
    };
    let found = answer
        .body
        .windows(text.len())
        .any(|part| part == text.as_bytes());
    if found {
        Ok(String::new())
    } else {
        Err(format!("the answer does not contain {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::*;

    fn check(kind: CheckKind) -> CheckSettings {
        CheckSettings {
            name: "kiosk".into(),
            required: true,
            retries: 0,
            timeout: Duration::from_secs(5),
            kind,
        }
    }

    fn ask(kind: CheckKind) -> Result<String, String> {
        let reached = Reached::default();
        let bus = SystemBus::none();
        Probes::new(&reached, &bus, Path::new("/nonexistent")).ask(&check(kind))
    }

    #[test]
    fn names_the_command_that_failed() {
        let detail = ask(CheckKind::Command(vec!["false".into()])).unwrap_err();
        assert_eq!(detail, "false: exit status: 1");
        ask(CheckKind::Command(vec!["true".into()])).unwrap();
    }

    #[test]
    fn update_that_cuts_the_device_off_is_not_healthy() {
        let reached = Reached::default();
        let bus = SystemBus::none();
        let mut probes = Probes::new(&reached, &bus, Path::new("/nonexistent"));
        let repository = check(CheckKind::Repository);
        assert!(probes.ask(&repository).is_err());
        reached.note();
        assert!(probes.ask(&repository).is_ok());
    }

    /// Answers each question with these bytes.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        format!("http://{address}/health")
    }

    fn asked(url: &str, status: u16, body: Option<&str>) -> Result<String, String> {
        ask(CheckKind::Http(HttpSettings {
            url: url.into(),
            status,
            body: body.map(String::from),
            ca_file: None,
        }))
    }

    #[test]
    fn http_answers_with_the_status_and_the_text() {
        let url = server("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"ready\": true}\n");
        asked(&url, 200, Some("\"ready\": true")).unwrap();
        assert_eq!(
            asked(&url, 200, Some("done")).unwrap_err(),
            "the answer does not contain \"done\""
        );
        assert_eq!(asked(&url, 204, None).unwrap_err(), "answered 200, not 204");
        // Where it points to is not followed: that is what was asked for.
        let away = server(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        );
        asked(&away, 302, None).unwrap();
        let gone = asked("http://127.0.0.1:1/", 200, None).unwrap_err();
        assert!(gone.contains("refused"), "{gone}");
    }

    #[test]
    fn http_that_never_answers_or_never_ends_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let settings = HttpSettings {
            url,
            status: 200,
            body: None,
            ca_file: None,
        };
        let begun = std::time::Instant::now();
        let silent = http(&settings, Duration::from_millis(300)).unwrap_err();
        assert!(silent.contains("no answer"), "{silent}");
        assert!(begun.elapsed() < Duration::from_secs(3));
        let endless = server("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin");
        let settings = HttpSettings {
            url: endless,
            body: Some("begin".into()),
            ..settings
        };
        assert!(http(&settings, Duration::from_millis(300)).is_err());
    }

    #[test]
    fn a_name_without_an_owner_and_a_bus_that_is_not_there_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .arg(format!("--address=unix:path={}", socket.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed (apt-get install dbus-daemon)");
        let mut address = String::new();
        let mut output = BufReader::new(daemon.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        // As in the daemon: another thread than the one that asks.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let bus = SystemBus::at(handle, address.trim());
        let limit = Duration::from_secs(20);
        // The bus itself always has its name.
        let asked = has_owner(&bus, "org.freedesktop.DBus", limit);
        let kiosk = has_owner(&bus, "org.example.Kiosk1", limit);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        asked.unwrap();
        assert_eq!(
            kiosk.unwrap_err(),
            "org.example.Kiosk1 has no owner on the system bus"
        );
        std::fs::remove_file(&socket).ok();
        let gone = has_owner(&bus, "org.example.Kiosk1", limit).unwrap_err();
        assert!(gone.starts_with("the system bus: "), "{gone}");
    }
}
