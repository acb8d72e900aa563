//! The fleet server's own program, with its own TLS, for guests.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};
use crate::factory::Repository;
use crate::https;
use crate::product::workspace;

/// The server, killed when dropped.
#[derive(Debug)]
pub(super) struct FleetServer {
    child: Child,
    agent: ureq::Agent,
    port: u16,
    token: String,
    /// The authority that signed its certificate.
    pub(super) ca_pem: String,
}

impl Drop for FleetServer {
    fn drop(&mut self) {
        // It is gone already, or it goes now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trouble(why: impl Into<String>) -> Error {
    Error::Server { why: why.into() }
}

impl FleetServer {
    /// Builds it and starts it below `work`, for the releases of `repository`, which devices reach at `content`.
    ///
    /// # Errors
    /// It does not compile, or does not start.
    pub(super) fn start(repository: &Repository, content: &str, work: &Path) -> Result<Self> {
        let root = workspace();
        // The one where tests build it, too: it is the largest program of all.
        let target = root.join("target");
        Run::new("cargo")
            .args([
                "build",
                "--quiet",
                "--locked",
                "--package",
                "switchback-server",
            ])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(&root)
            .check()?;
        let issued = https::issue().map_err(crate::bench::https)?;
        let (certificate, key) = (work.join("fleet.pem"), work.join("fleet.key"));
        std::fs::write(&certificate, &issued.certificate_pem).io("write", &certificate)?;
        std::fs::write(&key, &issued.key_pem).io("write", &key)?;
        let port = free_port().io("find a port for", work)?;
        let program = target.join("debug/switchback-server");
        let mut child = Command::new(&program)
            .args(["serve", "--poll-seconds", "2", "--turn-seconds", "1"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--public-url", &format!("https://10.0.2.2:{port}")])
            .args(["--content-url", content])
            .arg("--data")
            .arg(work.join("fleet"))
            .arg("--tls-certificate")
            .arg(&certificate)
            .arg("--tls-key")
            .arg(&key)
            .arg("--repository")
            .arg(&repository.directory)
            .arg("--repository-root")
            .arg(repository.root())
            .stdout(Stdio::piped())
            .spawn()
            .io("start", &program)?;
        let output = child.stdout.take().ok_or_else(|| trouble("no output"))?;
        let mut lines = BufReader::new(output).lines();
        let token = loop {
            let line = lines
                .next()
                .ok_or_else(|| trouble("the fleet server ended"))?;
            let line = line.io("read from", &program)?;
            if let Some((_, token)) = line.rsplit_once(' ')
                && line.contains("token")
            {
                break token.to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        // A process may hold several providers and then has no default.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Certificate::from_pem(issued.ca_pem.as_bytes());
        let authority = authority.map_err(|error| trouble(error.to_string()))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[authority.to_owned()]))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .tls_config(tls)
            .build()
            .into();
        Ok(Self {
            child,
            agent,
            port,
            token,
            ca_pem: issued.ca_pem,
        })
    }

    /// Where guests find it.
    #[must_use]
    pub(super) fn guest_url(&self) -> String {
        format!("https://10.0.2.2:{}", self.port)
    }

    /// One question as the administrator, sent as JSON if there is a body.
    ///
    /// # Errors
    /// The server says no, with its words.
    pub(super) fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let failed = |why: String| trouble(format!("{method} {path}: {why}"));
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("https://127.0.0.1:{}{path}", self.port))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|error| failed(error.to_string()))?;
        let answer = self.agent.run(request);
        let mut answer = answer.map_err(|error| failed(error.to_string()))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("{} {text}", answer.status())));
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// Asks again and again until `done` gives something.
    ///
    /// # Errors
    /// It does not in time: the last answer is in the message.
    pub(super) fn until<T>(
        &self,
        what: &str,
        path: &str,
        within: Duration,
        done: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            let answer = self.api("GET", path, None)?;
            if let Some(found) = done(&answer) {
                return Ok(found);
            }
            if began.elapsed() > within {
                let seconds = within.as_secs();
                let why = format!("{what}: not within {seconds} s; the server says {answer}");
                return Err(trouble(why));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
