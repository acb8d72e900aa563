//! Health checks ask web servers on this device, encrypted ones too.

use std::time::Duration;

use switchbackd::fetch::{HttpProbe, probe};

use super::server::{Server, whole};

#[test]
fn encrypted_server_is_asked_once_and_must_be_the_right_one() {
    let server = Server::of(b"{\"ready\": true}", whole);
    let url = format!("https://localhost:{}/health", server.port);
    let ca_file = server.ca_file();
    let question = HttpProbe {
        url: &url,
        ca_file: Some(&ca_file),
        timeout: Duration::from_secs(20),
        most: 8,
    };
    let answer = probe(&question).unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, &b"{\"ready\""[..])
    );
    assert_eq!(server.asked().len(), 1);

    // Nobody vouches for it: not answered at all.
    let other = Server::of(b"", whole);
    let other_ca = other.ca_file();
    let stranger = HttpProbe {
        ca_file: Some(&other_ca),
        ..question
    };
    let error = probe(&stranger).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let missing = HttpProbe {
        ca_file: Some("/nonexistent/ca.pem".as_ref()),
        ..question
    };
    let error = probe(&missing).unwrap_err();
    assert!(error.starts_with("/nonexistent/ca.pem: "), "{error}");
}
