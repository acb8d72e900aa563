//! TLS by the server itself, and devices that are known by their certificates.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;

use crate::authority::{Authority, Pair, Secure, client, write_pair};
use crate::clients::Client;
use crate::harness::{Server, eventually, request_with, try_request};

#[test]
fn a_certificate_is_a_device() {
    let secure = Secure::start(&[]);
    let (d1, d2) = (secure.devices.device("d1"), secure.devices.device("d2"));
    // It needs no token and nobody let it in before: who signed it did.
    let poll = secure.poll("d1", &d1).with(200).json();
    let link = poll["_links"]["configData"]["href"].as_str().unwrap();
    assert_eq!(
        link,
        format!(
            "https://{}/DEFAULT/controller/v1/d1/configData",
            secure.host()
        )
    );
    let shown = secure.admin("GET", "/api/v1/devices/d1", None).with(200);
    assert_eq!(shown.json()["state"], "active");
    let audit = secure.admin("GET", "/api/v1/audit", None).json();
    assert_eq!(
        (&audit[0]["who"], &audit[0]["detail"]),
        (&json!("device certificate"), &json!("d1"))
    );
    // It speaks for nobody else, known or not, whatever token it shows.
    secure.poll("d2", &d2).with(200);
    for other in ["d2", "d3"] {
        let refused = secure.poll(other, &d1).with(403);
        assert_eq!(
            refused.body,
            format!("the certificate is of d1, not of {other}")
        );
    }
    let body = json!({"id": "d4"}).to_string();
    let given = secure
        .admin("POST", "/api/v1/devices", Some(&body))
        .with(200);
    let token = format!("TargetToken {}", given.json()["token"].as_str().unwrap());
    let url = format!("{}/DEFAULT/controller/v1/d4", secure.server.base);
    let ask = |pair: Option<&Pair>| {
        let headers = [("Authorization", token.as_str())];
        let tls = client(&secure.web, pair);
        try_request(Some(tls), "GET", &url, &headers, None).unwrap()
    };
    ask(Some(&d1)).with(403);
    ask(None).with(200);
    // A certificate is no person's.
    let me = format!("{}/api/v1/me", secure.server.base);
    let tls = client(&secure.web, Some(&d1));
    try_request(Some(tls), "GET", &me, &[], None)
        .unwrap()
        .with(401);
    // Nor does one come back that a person keeps out.
    secure
        .admin("POST", "/api/v1/devices/d1/revoke", None)
        .with(204);
    let refused = secure.poll("d1", &d1).with(403);
    assert_eq!(refused.body, "d1 is not let in any more");
    // A name that no device can have.
    let odd = secure.devices.device("no/such name");
    let refused = secure.poll("d5", &odd).with(403);
    assert!(refused.body.contains("common name (CN)"), "{refused:?}");
}

#[test]
fn a_certified_device_waits_for_a_person_where_all_do() {
    let secure = Secure::start(&["--approve-devices"]);
    let d1 = secure.devices.device("d1");
    let refused = secure.poll("d1", &d1).with(403);
    assert_eq!(refused.body, "a person must let d1 in first");
    secure
        .admin("POST", "/api/v1/devices/d1/approve", None)
        .with(204);
    secure.poll("d1", &d1).with(200);
}

/// The handshake itself ends, with an alert that says why.
#[test]
fn certificates_that_are_not_good_are_refused_by_name() {
    let secure = Secure::start(&[]);
    let foreign = Authority::new("others").device("d1");
    // An authority that calls itself like the right one.
    let forged = Authority::new("devices").device("d1");
    let mut params = Authority::params("d1");
    params.not_before = (SystemTime::now() - Duration::from_secs(7200)).into();
    params.not_after = (SystemTime::now() - Duration::from_secs(3600)).into();
    let expired = secure.devices.sign(&params);
    let mut params = Authority::params("d1");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let of_a_server = secure.devices.sign(&params);
    for (pair, alert) in [
        (&foreign, "UnknownCA"),
        (&forged, "DecryptError"),
        (&expired, "CertificateExpired"),
        (&of_a_server, "UnsupportedCertificate"),
    ] {
        let why = secure.try_poll("d1", pair).unwrap_err().to_string();
        assert!(why.contains(alert), "{alert}: {why}");
    }
    let metrics = secure.admin("GET", "/metrics", None).with(200).body;
    let counted = "switchback_refused_handshakes_total 4";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    // What an alert is made of: when the server's own certificate ends.
    let ends = "switchback_certificate_ends_timestamp_seconds 6";
    assert!(
        metrics.lines().any(|line| line.starts_with(ends)),
        "{metrics}"
    );
    secure.admin("GET", "/api/v1/devices/d1", None).with(404);
}

/// A session is taken up again without a look at the certificate; its end is looked at all the
/// same, at each request.
#[test]
fn a_certificate_ends_within_its_connection() {
    let secure = Secure::start(&[]);
    let mut params = Authority::params("d1");
    params.not_after = (SystemTime::now() + Duration::from_secs(4)).into();
    let brief = secure.devices.sign(&params);
    let tls = client(&secure.web, Some(&brief));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .into();
    let url = format!("{}/DEFAULT/controller/v1/d1", secure.server.base);
    let ask = || {
        let mut answer = agent.get(&url).call().unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), body)
    };
    assert_eq!(ask().0, 200);
    let end = eventually("its end", || {
        let answer = ask();
        (answer.0 != 200).then_some(answer)
    });
    assert_eq!(end, (403, "the certificate has ended".to_owned()));
}

#[test]
fn plain_http_is_told_so() {
    let secure = Secure::start(&[]);
    let url = format!("http://{}/", secure.host());
    let answer = request_with("GET", &url, &[], None).with(400);
    assert_eq!(
        answer.body,
        "this port speaks HTTPS: the address begins with https://\n"
    );
    let big = "x".repeat(60_000);
    request_with("POST", &url, &[], Some(&big)).with(400);
}

/// Who never ends its handshake, or asks nothing after it, is cut off and holds up nobody.
#[test]
fn handshakes_that_never_end_hold_up_nobody() {
    let secure = Secure::start(&[]);
    let d1 = secure.devices.device("d1");
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(secure.host()).unwrap();
            // The first bytes of a handshake, or none at all.
            if number % 2 == 0 {
                stream.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
            }
            stream
        })
        .collect();
    let started = Instant::now();
    // One that shakes hands, agrees on HTTP/2, and asks nothing.
    let mut silent = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-alpn",
            "h2",
            "-connect",
            secure.host(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    secure.poll("d1", &d1).with(200);
    assert!(started.elapsed() < Duration::from_secs(2));
    for stream in &mut slow[..2] {
        stream
            .set_read_timeout(Some(Duration::from_secs(15)))
            .unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let passed = started.elapsed();
    assert!(
        passed > Duration::from_secs(8) && passed < Duration::from_secs(14),
        "{passed:?}"
    );
    eventually("the silent one is cut off", || silent.try_wait().unwrap());
}

/// Certificate and key are renewed while the server runs, one file after the other.
#[test]
fn a_renewed_certificate_is_taken_without_a_restart() {
    let secure = Secure::start(&[]);
    let url = format!("{}/style.css", secure.server.base);
    let sees = |trusts: &Authority| {
        let tls = client(trusts, None);
        try_request(Some(tls), "GET", &url, &[], None).is_ok()
    };
    let next = Authority::new("next");
    assert!(sees(&secure.web) && !sees(&next));
    let renewed = next.server();
    // Half of it: what was there before stays.
    std::fs::write(secure.path("certificate.pem"), &renewed.certificate).unwrap();
    secure.server.signal("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert!(sees(&secure.web));
    std::fs::write(secure.path("key.pem"), &renewed.key).unwrap();
    secure.server.signal("-HUP");
    eventually("the new one", || sees(&next).then_some(()));
    assert!(!sees(&secure.web));
    // Without a signal it takes some seconds.
    write_pair(secure.files.path(), &secure.web.server());
    eventually("the old authority's again", || {
        sees(&secure.web).then_some(())
    });
}

/// When whom to trust changes, connections of before answer what they were asked and end.
#[test]
fn devices_of_an_authority_that_is_trusted_no_more() {
    let secure = Secure::start(&[]);
    let d1 = secure.devices.device("d1");
    let tls = client(&secure.web, Some(&d1));
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
    let url = format!("{}/DEFAULT/controller/v1/d1", secure.server.base);
    agent.get(&url).call().unwrap();
    let next = Authority::new("next devices");
    std::fs::write(secure.path("devices.pem"), next.0.pem()).unwrap();
    secure.server.signal("-HUP");
    eventually("it is refused", || agent.get(&url).call().err());
    assert!(secure.try_poll("d1", &d1).is_err());
    secure.poll("d1", &next.device("d1")).with(200);
}

/// curl, as Debian has it: both versions of HTTP, both of TLS.
#[test]
fn curl_speaks_all_of_it() {
    let secure = Secure::start(&[]);
    let d1 = secure.devices.device("d1");
    std::fs::write(secure.path("d1.pem"), &d1.certificate).unwrap();
    std::fs::write(secure.path("d1.key"), &d1.key).unwrap();
    let url = format!("{}/DEFAULT/controller/v1/d1", secure.server.base);
    for (options, version) in [
        (["--http2", "--tlsv1.3"].as_slice(), "2"),
        (&["--http1.1", "--tlsv1.3"], "1.1"),
        (&["--http2", "--tlsv1.2", "--tls-max", "1.2"], "2"),
        (&["--http1.1", "--tlsv1.2", "--tls-max", "1.2"], "1.1"),
    ] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20"])
            .args(["--cacert", "web.pem", "--cert", "d1.pem", "--key", "d1.key"])
            .args(["--write-out", "\n%{http_version} %{http_code}"])
            .args(options)
            .arg(&url)
            .current_dir(secure.files.path())
            .output()
            .expect("curl");
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let (body, end) = text.rsplit_once('\n').unwrap();
        assert_eq!(end, format!("{version} 200"), "{options:?}: {error}");
        let own = format!("{url}/configData");
        assert!(body.contains(&own), "{options:?}: {body}");
    }
}

/// Headers that say who somebody is are believed of listed proxies alone.
#[test]
fn only_a_listed_proxy_is_believed() {
    let headers = [
        ("X-Ssl-Client-Cn", "d1"),
        ("X-Forwarded-For", "192.0.2.9"),
        ("X-Forwarded-Proto", "https"),
    ];
    let ask = |server: &Server, device: &str| {
        let url = format!("{}/DEFAULT/controller/v1/{device}", server.base);
        request_with("GET", &url, &headers, None)
    };
    ask(&Server::start(), "d1").with(401);
    let elsewhere = ["--trusted-proxy", "10.0.0.0/8"];
    let header = ["--proxy-device-header", "X-Ssl-Client-Cn"];
    ask(&Server::with(&[elsewhere, header].concat()), "d1").with(401);
    let here = ["--trusted-proxy", "127.0.0.1"];
    // Listed, but nobody said that it checks certificates.
    let server = Server::with(&here);
    ask(&server, "d1").with(401);
    // Those behind it are counted one by one.
    for _ in 0..40 {
        ask(&server, "d1");
    }
    ask(&server, "d1").with(429);
    server.api("GET", "/api/v1/devices", None).with(200);
    let server = Server::with(&[here, header].concat());
    let poll = ask(&server, "d1").with(200).body;
    assert!(poll.contains("https://127.0.0.1"), "{poll}");
    ask(&server, "d2").with(403);
}

/// SWUpdate as Debian has it, with a certificate and no token.
#[test]
fn swupdate_is_known_by_its_certificate() {
    let secure = Secure::start(&[]);
    let d1 = secure.devices.device("d1");
    std::fs::write(secure.path("d1.pem"), &d1.certificate).unwrap();
    std::fs::write(secure.path("d1.key"), &d1.key).unwrap();
    let configuration = format!(
        "globals: {{ verbose = true; }};\nsuricatta: {{ tenant = \"DEFAULT\"; id = \"d1\"; \
         polldelay = 1; url = \"{}\"; cafile = \"web.pem\"; sslkey = \"d1.key\"; \
         sslcert = \"d1.pem\"; }};",
        secure.server.base
    );
    std::fs::write(secure.path("swupdate.cfg"), configuration).unwrap();
    let log = std::fs::File::create(secure.path("log")).unwrap();
    // It wants a certificate for updates that it is not offered here.
    let client = Command::new("swupdate")
        .args([
            "-f",
            "swupdate.cfg",
            "-M",
            "-H",
            "lab:1.0",
            "-k",
            "web.pem",
            "-u",
            "",
        ])
        .current_dir(secure.files.path())
        .env("TMPDIR", secure.files.path())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    let Ok(client) = client else {
        assert!(std::env::var_os("SWITCHBACK_WITHOUT_SWUPDATE").is_some());
        return;
    };
    let _client = Client(client);
    eventually("it polls twice", || {
        let metrics = secure.admin("GET", "/metrics", None).with(200).body;
        metrics.lines().find_map(|line| {
            let count = line.strip_prefix("switchback_polls_total ")?;
            (count.parse::<u32>().ok()? >= 2).then_some(())
        })
    });
    let shown = secure.admin("GET", "/api/v1/devices/d1", None).with(200);
    assert_eq!(shown.json()["state"], "active");
}
