//! What a person sees: the program against the real server, and devices that speak DDI.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use switchback_server::start::{self, Serve};

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    serve: Serve,
}

/// A server of its own, and what was typed at it.
struct Session {
    place: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    base: String,
    transcript: String,
}

impl Session {
    fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), &[])
    }

    fn with(place: tempfile::TempDir, tls: &[&str]) -> Self {
        let data = place.path().join("data");
        let words = ["serve", "--listen", "127.0.0.1:0", "--poll-seconds", "1"];
        let more = ["--turn-seconds", "1", "--data", data.to_str().unwrap()];
        let Words { serve } = Words::parse_from(words.iter().chain(&more).chain(tls));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let ready = runtime.block_on(start::prepare(serve)).unwrap();
        let base = format!("{}://{}", ready.scheme, ready.address);
        let token = ready.first_token.clone().unwrap();
        runtime.spawn(ready.run());
        let session = Self {
            place,
            _runtime: runtime,
            base,
            transcript: String::new(),
        };
        session.put_token("token", &token);
        session
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn put_token(&self, name: &str, token: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("{token}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchback-fleet"));
        command
            .args(words(line))
            .current_dir(self.place.path())
            .env_clear()
            .env("SWITCHBACK_SERVER", &self.base)
            .env("SWITCHBACK_TOKEN_FILE", self.path("token"))
            .stdin(Stdio::null());
        command
    }

    /// Types a line; what it printed, and its exit code.
    fn run(&mut self, line: &str) -> (String, i32) {
        let output = self.command(line).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        let _ = write!(
            self.transcript,
            "$ switchback-fleet {line}\n{out}{error}(exit {code})\n\n"
        );
        (out, code)
    }

    /// The transcript, without what is another each time.
    fn shown(&self) -> String {
        let text = self.transcript.replace(&self.base, "http://[server]");
        let mut shown = String::new();
        for line in text.lines() {
            let mut rest = line;
            while !rest.is_empty() {
                let (word, after) = match rest.find([' ', ';', ',', ':', '`', '"', '(', ')']) {
                    Some(0) => rest.split_at(rest.chars().next().unwrap().len_utf8()),
                    Some(end) if is_time(rest) => rest.split_at(20.min(rest.len()).max(end)),
                    Some(end) => rest.split_at(end),
                    None => (rest, ""),
                };
                shown.push_str(&constant(word));
                rest = after;
            }
            shown.push('\n');
        }
        // How long ago, and so how wide a column is, depends on the machine.
        for seconds in (1..60).rev() {
            shown = shown.replace(&format!("{seconds} s ago"), "0 s ago");
        }
        while shown.contains("   ") {
            shown = shown.replace("   ", "  ");
        }
        shown
    }
}

/// As a shell takes a line apart, as far as is needed here.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.into()),
        }
    }
    words
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && &bytes[..3] == b"202" && bytes[10] == b'T' && bytes[19] == b'Z'
}

fn constant(word: &str) -> String {
    if let Some(word) = word.strip_suffix('.') {
        return format!("{}.", constant(word));
    }
    let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit());
    match word.len() {
        64 if hexadecimal => "[secret]".into(),
        // As wide as what they stand for.
        16 if hexadecimal => "[number-of-each]".into(),
        20 if is_time(word) => "[time-of-the-moment]".into(),
        _ => word.to_owned(),
    }
}

/// A device that says what it is told to.
struct Device {
    base: String,
    token: String,
}

impl Device {
    fn name(&self) -> &str {
        self.base.rsplit('/').next().unwrap()
    }

    /// Whether it, and not the other, was offered something within a while.
    fn has_offer(&self) -> bool {
        (0..60).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            !self.ask("GET", "", None)["_links"]["deploymentBase"].is_null()
        })
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("TargetToken {}", self.token))
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .unwrap();
        let mut answer = ureq::run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    fn runs(&self, version: &str) {
        let body = json!({"mode": "merge", "data": {"version": version, "hw": "rev1"}});
        self.ask("PUT", "/configData", Some(&body));
    }

    /// Waits for the offer, takes it, and says how it ended.
    fn take(&self, finished: &str) {
        let started = Instant::now();
        let link = loop {
            let poll = self.ask("GET", "", None);
            if let Some(link) = poll["_links"]["deploymentBase"]["href"].as_str() {
                break link.to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no offer");
            std::thread::sleep(Duration::from_millis(50));
        };
        let path = link.strip_prefix(&self.base).unwrap();
        let offer = self.ask("GET", path, None);
        let action = offer["id"].as_str().unwrap();
        let body = json!({"id": action, "status": {"execution": "closed",
            "result": {"finished": finished}, "details": ["slot b \u{1b}[31mwas red"]}});
        self.ask(
            "POST",
            &format!("/deploymentBase/{action}/feedback"),
            Some(&body),
        );
    }
}

impl Session {
    fn device(&mut self, id: &str) -> Device {
        let (out, code) = self.run(&format!("device add {id} site=lab"));
        assert_eq!(code, 0);
        Device {
            base: format!("{}/DEFAULT/controller/v1/{id}", self.base),
            token: out.lines().last().unwrap().to_owned(),
        }
    }
}

#[test]
fn a_day_with_a_fleet() {
    let mut session = Session::start();
    session.run("whoami");
    session.run("status");
    session.run("release list");
    session.run("rollout list");
    std::fs::write(session.path("image-2.swu"), "image bytes").unwrap();
    session.run("release upload gateway 2 image-2.swu --notes 'the second'");
    session.run("release list");
    let d1 = session.device("d-1");
    let d2 = session.device("d-2");
    for device in [&d1, &d2] {
        device.runs("1");
    }
    session.run("device list --filter 'site == lab' --limit 1");
    // One after the other; the second one does not make it.
    let (out, _) = session
        .run("rollout create spring gateway/2 --wave 1:0s --wave 100% --gate bad=0 --deadline 2h");
    let id = out.split(' ').next().unwrap().to_owned();
    let mut watching = session
        .command(&format!("rollout watch {id}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("wave 1"), "{first}");
    let (lucky, other) = if d1.has_offer() { (d1, d2) } else { (d2, d1) };
    lucky.take("success");
    lucky.runs("2");
    other.take("failure");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let last = rest.last().unwrap();
    assert_eq!(
        last,
        "paused, wave 2: 2 offered, 2 reached, 1 well, 1 failed, 0 went back, 0 silent; \
         failed: 1 of 2 devices reached, 5% allowed"
    );
    assert_eq!(watching.wait().unwrap().code(), Some(7));
    session.run("status");
    session.run(&format!("rollout show {id}"));
    session.run(&format!("rollout watch {id}"));
    session.run(&format!("device show {}", other.name()));
    session.run("drift");
    session.run(&format!("rollout retry {id} --device {}", other.name()));
    session.run("rollback 'site == lab'");
    session.run(&format!("rollout stop {id}"));
    std::fs::write(
        session.path("summer.json"),
        r#"{"name": "summer", "release": "gateway/2", "needs_approval": true}"#,
    )
    .unwrap();
    let (out, _) = session.run("rollout create --from summer.json");
    let id = out.split(' ').next().unwrap().to_owned();
    session.run(&format!("rollout approve {id}"));
    session.run(&format!("rollout deny {id}"));
    session.run("rollout list");
    session.run("token give ci publisher --days 90");
    session.run("token list");
    session.run("webhook add https://hooks.example/fleet");
    session.run("webhook list");
    session.run("audit --limit 4");
    // Which of the two was first is by chance.
    let shown = session.shown().replace(lucky.name(), "[d]");
    insta::assert_snapshot!(shown.replace(other.name(), "[d]"));
}

/// What is refused says why, and what to type next.
#[test]
fn faults() {
    let mut session = Session::start();
    for (line, code) in [
        ("rollout show nothing", 6),
        ("device show nothing", 6),
        ("rollout create x gateway/9", 2),
        ("rollout create x", 2),
        ("rollout create x gateway/9 --wave 5%:soon", 2),
        ("rollout create x gateway/9 --gate failed=few", 2),
        ("device list --filter 'site = = lab'", 2),
        ("release register gateway 9", 2),
        ("release upload gateway 2 none.swu", 2),
        ("rollback all", 5),
        ("token give ann reader", 2),
        ("token take admin", 5),
        ("devices", 2),
        ("rollout show nothing --json", 6),
        ("--server http://fleet.example whoami", 2),
        ("--server fleet.example whoami", 2),
        ("--server http://127.0.0.1:1 whoami", 3),
    ] {
        assert_eq!(session.run(line).1, code, "{line}");
    }
    let (out, _) = session.run("token give ann viewer --days 3");
    session.put_token("anns", out.lines().last().unwrap());
    assert_eq!(session.run("--token-file anns device forget d1").1, 4);
    // A refusal is heard before all of it is sent.
    std::fs::write(session.path("big.swu"), vec![0; 30 << 20]).unwrap();
    let upload = "--token-file anns release upload gateway 3 big.swu";
    assert_eq!(session.run(upload).1, 4);
    session.put_token("wrong", &"0".repeat(64));
    assert_eq!(session.run("--token-file wrong status").1, 4);
    std::fs::set_permissions(session.path("anns"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(session.run("--token-file anns status").1, 4);
    insta::assert_snapshot!(session.shown());
}

/// Each answer of the API as it is, for programs.
#[test]
fn json_is_what_the_api_says() {
    let mut session = Session::start();
    let mut json = |line: &str| -> Value {
        let (out, code) = session.run(&format!("{line} --json"));
        assert_eq!(code, 0, "{line}: {out}");
        serde_json::from_str(&out).unwrap()
    };
    let added = json("device add d1 site=lab");
    assert_eq!(
        (&added["id"], &added["state"]),
        (&json!("d1"), &json!("active"))
    );
    assert_eq!(json("device list")["total"], 1);
    assert_eq!(json("device show d1")["labels"], json!({"site": "lab"}));
    assert_eq!(json("device label d1 site=roof"), Value::Null);
    assert_eq!(json("device show d1")["labels"], json!({"site": "roof"}));
    json("device revoke d1");
    assert_eq!(json("device show d1")["state"], "revoked");
    json("device approve d1");
    json("device token d1");
    assert_eq!(json("status")["fleet"]["devices"], 1);
    assert_eq!(json("drift"), json!([]));
    let hook = json("webhook add https://hooks.example/x");
    assert_eq!(json("webhook list")[0]["id"], hook["id"]);
    json(&format!("webhook remove {}", hook["id"].as_str().unwrap()));
    json("token give ci publisher");
    assert_eq!(json("token list").as_array().unwrap().len(), 2);
    json("token take ci");
    json("device forget d1");
    assert_eq!(json("device list")["total"], 0);
    let audit = json("audit --limit 3");
    assert_eq!(audit.as_array().unwrap().len(), 3);
    assert_eq!(audit[0]["what"], "device.delete");
}

/// A server whose certificate is of a CA that this machine does not know.
#[test]
fn over_tls_by_a_named_ca() {
    let place = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let put = |name: &str, text: String| {
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = put("certificate.pem", certificate.pem());
    let key = put("key.pem", key.serialize_pem());
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let mut session = Session::with(place, &tls);
    assert!(session.base.starts_with("https://"));
    assert_eq!(session.run("whoami").1, 3);
    assert_eq!(session.run("--ca key.pem whoami").1, 2);
    assert_eq!(session.run("--ca none.pem whoami").1, 2);
    assert_eq!(session.run("--ca certificate.pem whoami").1, 0);
    assert!(
        session
            .transcript
            .contains("invalid peer certificate: UnknownIssuer"),
        "{}",
        session.transcript
    );
}
