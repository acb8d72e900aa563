//! A server of its own for each test, and a client that says what came back.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program, with its token and its address; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) base: String,
    pub(crate) admin: String,
    pub(crate) data: Data,
    arguments: Vec<String>,
}

/// Where a server's data is.
pub(crate) enum Data {
    /// In a directory that goes away with it.
    Own(tempfile::TempDir),
    /// In one of the test.
    Given(PathBuf),
}

impl Data {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(directory) => directory.path(),
            Self::Given(path) => path,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) headers: ureq::http::HeaderMap,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The answer, which must have this status.
    pub(crate) fn with(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

fn agent(tls: Option<ureq::tls::TlsConfig>) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .max_redirects(0);
    match tls {
        Some(tls) => config.tls_config(tls).build().into(),
        None => config.build().into(),
    }
}

/// One request with an `Authorization` header and a body of JSON.
pub(crate) fn request(method: &str, url: &str, auth: &str, body: Option<&str>) -> Answer {
    request_with(method, url, &[("Authorization", auth)], body)
}

pub(crate) fn request_with(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Answer {
    try_request(None, method, url, headers, body)
        .unwrap_or_else(|why| panic!("{method} {url}: {why}"))
}

/// The same, where there may be no answer at all.
pub(crate) fn try_request(
    tls: Option<ureq::tls::TlsConfig>,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Result<Answer, ureq::Error> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    if body.is_some() {
        request = request.header("Content-Type", "application/json");
    }
    let request = request.body(body.unwrap_or_default().to_owned()).unwrap();
    let mut answer = agent(tls).run(request)?;
    Ok(Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.body_mut().read_to_string().unwrap_or_default(),
    })
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        let data = Data::Own(tempfile::tempdir().unwrap());
        Self::first(data, more)
    }

    /// One whose data is in a place of the test.
    pub(crate) fn at(data: &Path, more: &[&str]) -> Self {
        std::fs::create_dir_all(data).unwrap();
        Self::first(Data::Given(data.to_owned()), more)
    }

    fn first(data: Data, more: &[&str]) -> Self {
        let arguments: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        let (child, base, admin) = spawn(data.path(), &arguments);
        Self {
            child,
            base,
            admin: admin.expect("a first start prints a token"),
            data,
            arguments,
        }
    }

    /// `kill -9`, and another one over the same data.
    pub(crate) fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let (child, base, admin) = spawn(self.data.path(), &self.arguments);
        assert_eq!(admin, None, "the token is printed once");
        self.child = child;
        self.base = base;
    }

    /// Sends it a signal, such as `-HUP`.
    pub(crate) fn signal(&self, which: &str) {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args([which, &id]).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.api_as(&self.admin, method, path, body)
    }

    pub(crate) fn api_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let url = format!("{}{path}", self.base);
        let body = body.map(ToString::to_string);
        request(method, &url, &format!("Bearer {token}"), body.as_deref())
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.api("GET", path, None).with(200).json()
    }

    /// A token for somebody.
    pub(crate) fn person(&self, name: &str, role: &str) -> String {
        let body = json!({"name": name, "role": role});
        let given = self
            .api("POST", "/api/v1/people", Some(&body))
            .with(200)
            .json();
        given["token"].as_str().unwrap().to_owned()
    }

    /// A device that was let in.
    pub(crate) fn device(&self, id: &str) -> Device {
        let body = json!({"id": id, "labels": {"site": "lab"}});
        let given = self
            .api("POST", "/api/v1/devices", Some(&body))
            .with(200)
            .json();
        Device {
            base: format!("{}/DEFAULT/controller/v1/{id}", self.base),
            token: given["token"].as_str().unwrap().to_owned(),
        }
    }

    /// A release with one file of these bytes; its identity is its version.
    pub(crate) fn release(&self, version: &str, bytes: &str) {
        let upload = self.api_raw("PUT", &format!("/api/v1/files/image-{version}.swu"), bytes);
        let file = upload.with(200).json();
        let body = json!({"product": "gateway", "version": version, "files": [file]});
        self.api("POST", "/api/v1/releases", Some(&body)).with(200);
    }

    pub(crate) fn api_raw(&self, method: &str, path: &str, body: &str) -> Answer {
        let url = format!("{}{path}", self.base);
        request(method, &url, &format!("Bearer {}", self.admin), Some(body))
    }

    /// A rollout of `gateway/2` with no soak time, and these waves.
    pub(crate) fn rollout(&self, waves: &[&str], more: &Value) -> String {
        let waves: Vec<Value> = waves
            .iter()
            .map(|reach| json!({"reach": reach, "soak": 0}))
            .collect();
        let mut body = json!({"name": "spring", "release": "gateway/2", "plan": {"waves": waves}});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let begun = self
            .api("POST", "/api/v1/rollouts", Some(&body))
            .with(200)
            .json();
        begun["id"].as_str().unwrap().to_owned()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join(LOG)).unwrap_or_default()
    }

    pub(crate) fn phase(&self, rollout: &str) -> String {
        let shown = self.get(&format!("/api/v1/rollouts/{rollout}"));
        shown["rollout"]["phase"].as_str().unwrap().to_owned()
    }

    pub(crate) fn attempt(&self, rollout: &str, device: &str) -> Value {
        self.get(&format!("/api/v1/rollouts/{rollout}/attempts"))[device].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Where a server of tests logs; in its data directory.
const LOG: &str = "log";

fn spawn(data: &Path, arguments: &[String]) -> (Child, String, Option<String>) {
    let mut log = std::fs::File::options();
    let log = log.create(true).append(true).open(data.join(LOG)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchback-server"))
        .args(["serve", "--listen", "127.0.0.1:0", "--poll-seconds", "1"])
        .args(["--turn-seconds", "1", "--data"])
        .arg(data)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let base = first
        .strip_prefix("dashboard: ")
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    // The token comes before the first answer; without one the line never comes.
    let token = (!data.join("seen").exists()).then(|| {
        let line = lines.next().unwrap().unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    });
    std::fs::write(data.join("seen"), "").unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (child, base, token)
}

/// A device as its clients are.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) base: String,
    pub(crate) token: String,
}

impl Device {
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.base);
        request(method, &url, &format!("TargetToken {}", self.token), body)
    }

    pub(crate) fn poll(&self) -> Value {
        self.ask("GET", "", None).with(200).json()
    }

    /// The address of a link, after the device's own.
    pub(crate) fn link(&self, name: &str) -> Option<String> {
        let poll = self.poll();
        let href = poll["_links"][name]["href"].as_str()?.to_owned();
        Some(href.strip_prefix(&self.base).unwrap_or(&href).to_owned())
    }

    /// Polls until a link is there; returns its address.
    pub(crate) fn wait_for(&self, name: &str) -> String {
        eventually(name, || self.link(name))
    }

    /// Takes the offer and returns its number.
    pub(crate) fn take(&self) -> String {
        let path = self.wait_for("deploymentBase");
        let base = self.ask("GET", &path, None).with(200).json();
        base["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn say(&self, action: &str, execution: &str, finished: &str) -> Answer {
        let body = json!({"id": action, "status":
            {"execution": execution, "result": {"finished": finished}, "details": ["said so"]}});
        let path = format!("/deploymentBase/{action}/feedback");
        self.ask("POST", &path, Some(&body.to_string()))
    }

    pub(crate) fn runs(&self, version: &str) {
        let body = json!({"mode": "merge", "data": {"version": version}}).to_string();
        self.ask("PUT", "/configData", Some(&body)).with(200);
    }
}

/// Asks until there is an answer, at most 20 seconds.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Server {
    /// Another one over the same database; it shares the token of the first.
    pub(crate) fn replica(first: &Self, data: tempfile::TempDir, more: &[&str]) -> Self {
        let arguments: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        let (child, base, _) = spawn(data.path(), &arguments);
        Self {
            child,
            base,
            admin: first.admin.clone(),
            data: Data::Own(data),
            arguments,
        }
    }
}

impl Server {
    /// One over data of another, which nobody serves now; `data` goes away with its parent.
    pub(crate) fn over(first: &Self, data: PathBuf) -> Self {
        std::fs::write(data.join("seen"), "").unwrap();
        let (child, base, _) = spawn(&data, &[]);
        Self {
            child,
            base,
            admin: first.admin.clone(),
            data: Data::Given(data),
            arguments: Vec::new(),
        }
    }

    /// Takes a file of any bytes.
    pub(crate) fn upload(&self, name: &str, bytes: &[u8]) -> Value {
        let url = format!("{}/api/v1/files/{name}", self.base);
        let request = ureq::http::Request::builder()
            .method("PUT")
            .uri(url)
            .header("Authorization", format!("Bearer {}", self.admin))
            .body(bytes.to_vec())
            .unwrap();
        let mut answer = agent(None).run(request).unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }
}
