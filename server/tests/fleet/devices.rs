//! Letting devices in, and out.

use serde_json::json;

use crate::harness::{Device, Server, request, request_with};

#[test]
fn the_fleets_token_is_exchanged_for_one_of_its_own() {
    let server = Server::start();
    let fleet = server.person("line-3", "enroll");
    let new = json!({"id": "d1"});
    let given = server
        .api_as(&fleet, "POST", "/api/v1/enroll", Some(&new))
        .with(200)
        .json();
    let token = given["token"].as_str().unwrap();
    let url = format!("{}/DEFAULT/controller/v1/d1", server.base);
    request("GET", &url, &format!("TargetToken {token}"), None).with(200);
    // Whoever knows the fleet's token cannot take over a device that is there, nor look around.
    server
        .api_as(&fleet, "POST", "/api/v1/enroll", Some(&new))
        .with(409);
    for path in [
        "/api/v1/devices",
        "/api/v1/fleet",
        "/metrics",
        "/api/v1/audit",
    ] {
        server.api_as(&fleet, "GET", path, None).with(403);
    }
    request("GET", &url, &format!("TargetToken {fleet}"), None).with(401);
    // One that chose its token may ask again, as its answer may have been lost; nobody else.
    let own = "0123456789abcdef0123456789abcdef";
    for _ in 0..2 {
        let new = json!({"id": "d2", "token": own});
        let given = server.api_as(&fleet, "POST", "/api/v1/enroll", Some(&new));
        assert_eq!(given.with(200).json()["token"], own);
    }
    for (id, token, status) in [
        ("d2", "f123456789abcdef0123456789abcdef", 409),
        ("d1", own, 409),
        ("d3", "short", 400),
    ] {
        let new = json!({"id": id, "token": token});
        server
            .api_as(&fleet, "POST", "/api/v1/enroll", Some(&new))
            .with(status);
    }
    let url = format!("{}/DEFAULT/controller/v1/d2", server.base);
    request("GET", &url, &format!("TargetToken {own}"), None).with(200);
    for bad in ["", "../x", "a/b", "..", "a b"] {
        server
            .api_as(&fleet, "POST", "/api/v1/enroll", Some(&json!({"id": bad})))
            .with(400);
    }
}

#[test]
fn a_person_lets_devices_in_where_that_is_wanted() {
    let server = Server::with(&["--approve-devices"]);
    let fleet = server.person("line-3", "enroll");
    let given = server.api_as(&fleet, "POST", "/api/v1/enroll", Some(&json!({"id": "d1"})));
    let given = given.with(200).json();
    assert_eq!(given["state"], "pending");
    let auth = format!("TargetToken {}", given["token"].as_str().unwrap());
    let url = format!("{}/DEFAULT/controller/v1/d1", server.base);
    request("GET", &url, &auth, None).with(403);
    server
        .api("POST", "/api/v1/devices/d1/approve", None)
        .with(204);
    request("GET", &url, &auth, None).with(200);
}

#[test]
fn tokens_are_changed_and_taken_back() {
    let mut server = Server::start();
    let mut device = server.device("d1");
    let fresh = device.ask("POST", "/token", None).with(200).json();
    let fresh = fresh["token"].as_str().unwrap().to_owned();
    // The old one holds until the new one was used: an answer may be lost.
    device.ask("GET", "", None).with(200);
    let old = std::mem::replace(&mut device.token, fresh);
    device.ask("GET", "", None).with(200);
    let stale = crate::harness::Device {
        token: old,
        base: device.base.clone(),
    };
    stale.ask("GET", "", None).with(401);
    server.kill_and_start_again();
    device.base = format!("{}/DEFAULT/controller/v1/d1", server.base);
    device.ask("GET", "", None).with(200);
    server
        .api("POST", "/api/v1/devices/d1/revoke", None)
        .with(204);
    device.ask("GET", "", None).with(403);
}

#[test]
fn an_idle_poll_is_short_and_can_be_answered_with_nothing() {
    let server = Server::start();
    let device = server.device("d1");
    assert!(
        device.link("configData").is_some(),
        "nothing is known of it"
    );
    device.runs("1");
    let idle = device.ask("GET", "", None).with(200);
    assert_eq!(idle.body, r#"{"config":{"polling":{"sleep":"00:00:01"}}}"#);
    let tag = idle.headers["etag"].to_str().unwrap().to_owned();
    let auth = format!("TargetToken {}", device.token);
    let headers = [
        ("Authorization", auth.as_str()),
        ("If-None-Match", tag.as_str()),
    ];
    let again = request_with("GET", &device.base, &headers, None).with(304);
    assert_eq!(again.body, "");
    // With the last slash as well.
    device.ask("GET", "/", None).with(200);
}

/// C067: the base of all addresses is the configured one, whatever a proxy or a client says.
#[test]
fn addresses_are_those_that_devices_come_by() {
    let server = Server::with(&["--public-url", "https://fleet.example/updates/"]);
    server.release("2", "new image");
    let device = server.device("d1");
    server.rollout(&["100%"], &json!({}));
    let auth = format!("TargetToken {}", device.token);
    let headers = [
        ("Authorization", auth.as_str()),
        ("Host", "evil.example"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "evil.example"),
    ];
    let href = crate::harness::eventually("an offer", || {
        let poll = request_with("GET", &device.base, &headers, None)
            .with(200)
            .json();
        poll["_links"]["deploymentBase"]["href"]
            .as_str()
            .map(str::to_owned)
    });
    let base = "https://fleet.example/updates/DEFAULT/controller/v1/d1/deploymentBase/";
    assert!(href.starts_with(base), "{href}");
    // Without it: the host that the client came by, and nothing from forwarded headers.
    let server = Server::start();
    let device = server.device("d1");
    let href = device.poll()["_links"]["configData"]["href"].clone();
    assert_eq!(href, format!("{}/configData", device.base));
}

#[test]
fn files_come_in_parts() {
    let server = Server::start();
    server.release("2", "0123456789abcdefghij");
    let device = server.device("d1");
    let stranger = server.device("d2");
    let more = json!({"group": "id == d1"});
    server.rollout(&["100%"], &more);
    let path = device.wait_for("deploymentBase");
    let offer = device.ask("GET", &path, None).with(200).json();
    let artifact = &offer["deployment"]["chunks"][0]["artifacts"][0];
    let href = artifact["_links"]["download-http"]["href"]
        .as_str()
        .unwrap();
    let auth = format!("TargetToken {}", device.token);
    let part = |range: &str, more: (&str, &str)| {
        let headers = [("Authorization", auth.as_str()), ("Range", range), more];
        request_with("GET", href, &headers, None)
    };
    assert_eq!(part("", ("", "")).with(200).body, "0123456789abcdefghij");
    assert_eq!(part("bytes=10-12", ("", "")).with(206).body, "abc");
    assert_eq!(part("bytes=-3", ("", "")).with(206).body, "hij");
    part("bytes=20-", ("", "")).with(416);
    part("", ("If-Match", "\"other\"")).with(412);
    // A file that changed meanwhile comes whole.
    assert_eq!(
        part("bytes=1-2", ("If-Range", "\"old\""))
            .with(200)
            .body
            .len(),
        20
    );
    let many = part("bytes=15-16,0-1", ("", "")).with(206);
    let kind = many.headers["content-type"].to_str().unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let octets = "Content-Type: application/octet-stream\r\nContent-Range: bytes";
    assert_eq!(
        many.body,
        format!(
            "\r\n--{boundary}\r\n{octets} 0-1/20\r\n\r\n01\
             \r\n--{boundary}\r\n{octets} 15-16/20\r\n\r\nfg\r\n--{boundary}--\r\n"
        )
    );
    let sum = artifact["_links"]["md5sum"]["href"].as_str().unwrap();
    let sum = request("GET", sum, &auth, None).with(200);
    assert_eq!(
        sum.body,
        format!(
            "{}  image-2.swu\n",
            artifact["hashes"]["md5"].as_str().unwrap()
        )
    );
    // Nobody fetches what was not offered, nor by another name.
    let theirs = href.replace("/d1/", "/d2/");
    let other = format!("TargetToken {}", stranger.token);
    request("GET", &theirs, &other, None).with(404);
    request("GET", href, &other, None).with(401);
    for name in ["..%2F..%2Ffleet.db", "%2Fetc%2Fpasswd", "image-3.swu"] {
        request("GET", &href.replace("image-2.swu", name), &auth, None).with(404);
    }
}

/// One exchange in CBOR.
fn in_cbor(method: &str, device: &Device, path: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", device.base))
        .header("Authorization", format!("TargetToken {}", device.token))
        .header("Accept", "application/cbor")
        .header("Content-Type", "application/cbor")
        .body(body.to_vec())
        .unwrap();
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let mut answer = ureq::Agent::from(config.build()).run(request).unwrap();
    let kind = answer.headers().get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    let bytes = answer.body_mut().read_to_vec().unwrap();
    (answer.status().as_u16(), kind.unwrap_or_default(), bytes)
}

#[test]
fn the_same_documents_in_cbor() {
    let server = Server::start();
    let device = server.device("d1");
    let mut attributes = Vec::new();
    let said = json!({"mode": "merge", "data": {"version": "1", "site": "lab"}});
    ciborium::into_writer(&said, &mut attributes).unwrap();
    let (status, ..) = in_cbor("PUT", &device, "/configData", &attributes);
    assert_eq!(status, 200);
    let shown = server.get("/api/v1/devices/d1");
    assert_eq!(shown["labels"]["version"], "1", "{shown}");

    let (status, kind, bytes) = in_cbor("GET", &device, "", &[]);
    assert_eq!((status, kind.as_str()), (200, "application/cbor"));
    let poll: serde_json::Value = ciborium::from_reader(&bytes[..]).unwrap();
    assert_eq!(poll["config"], device.poll()["config"]);
    let (status, _, why) = in_cbor("PUT", &device, "/configData", &[0x9b, 0xff, 0xff]);
    assert_eq!(status, 400);
    assert!(String::from_utf8(why).unwrap().contains("in CBOR"));
    let (status, ..) = in_cbor(
        "PUT",
        &device,
        "/configData",
        &vec![0x81; switchback_ddi::MAX_BODY_BYTES + 1],
    );
    assert_eq!(status, 413);
}
