//! Clients of others, as Debian has them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::harness::{Server, eventually};

/// A signed update file with one image that is written to `target`.
const MAKE: &str = r#"
set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 30 -subj /CN=lab \
    -addext extendedKeyUsage=emailProtection,codeSigning -addext keyUsage=digitalSignature,keyCertSign
head -c 300000 /dev/urandom > image
sum=$(sha256sum image | cut -d' ' -f1)
head -c 300000 /dev/zero > target
cat > sw-description <<END
software = { version = "2"; hardware-compatibility = [ "1.0" ];
  images: ( { filename = "image"; type = "raw"; device = "$PWD/target"; sha256 = "$sum"; } ); }
END
openssl cms -sign -in sw-description -out sw-description.sig -signer c.pem -inkey k.pem \
    -outform DER -nosmimecap -binary
printf '%s\n' sw-description sw-description.sig image | cpio -o -H crc > image-2.swu
"#;

/// A program that ends with this.
pub(crate) struct Client(pub(crate) Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn suricatta(work: &Path, server: &Server, token: &str, state: &[&str]) -> Client {
    let options = format!(
        "-t DEFAULT -u {} -i d1 -p 1 -k {token} {}",
        server.base,
        state.join(" ")
    );
    let log = std::fs::File::create(work.join("log")).unwrap();
    let child = Command::new("swupdate")
        .args(["-M", "-H", "lab:1.0", "-k", "c.pem", "-u", &options])
        .current_dir(work)
        .env("TMPDIR", work)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Client(child)
}

/// A whole update by SWUpdate's suricatta: it installs, is started again with the word that it
/// came up well, and reports that.
#[test]
fn swupdate_updates_itself() {
    if Command::new("swupdate").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("SWITCHBACK_WITHOUT_SWUPDATE").is_some(),
            "swupdate is not installed (cargo xtask tools); SWITCHBACK_WITHOUT_SWUPDATE=1 goes without"
        );
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .args(["-c", MAKE])
        .current_dir(work.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let server = Server::start();
    let bytes = std::fs::read(work.path().join("image-2.swu")).unwrap();
    let file = server.upload("image-2.swu", &bytes);
    let body = json!({"product": "lab", "version": "2", "files": [file]});
    server
        .api("POST", "/api/v1/releases", Some(&body))
        .with(200);
    let device = server.device("d1");
    let body = json!({"name": "lab", "release": "lab/2"});
    let begun = server
        .api("POST", "/api/v1/rollouts", Some(&body))
        .with(200)
        .json();
    let rollout = begun["id"].as_str().unwrap();
    let log = || std::fs::read_to_string(work.path().join("log")).unwrap_or_default();
    let client = suricatta(work.path(), &server, &device.token, &[]);
    eventually("the image is written", || {
        let same = || {
            std::fs::read(work.path().join("target")).ok()
                == std::fs::read(work.path().join("image")).ok()
        };
        let installed = log().contains("SWUPDATE successful") || same();
        installed.then_some(())
    });
    assert_eq!(
        server.attempt(rollout, "d1")["outcome"],
        "pending",
        "{}",
        log()
    );
    drop(client);
    let _client = suricatta(work.path(), &server, &device.token, &["-c", "2"]);
    eventually("it reports that it is well", || {
        let outcome = server.attempt(rollout, "d1")["outcome"].clone();
        (outcome == "succeeded").then_some(())
    });
    let shown = server.get("/api/v1/devices/d1");
    let messages = shown["messages"].to_string();
    assert!(
        messages.contains("Installing Update Chunk Artifacts"),
        "{messages}"
    );
}
