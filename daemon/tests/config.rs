//! The configuration, as a person at a device looks at it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn run(words: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchbackd"))
        .args(words)
        .arg("--config-dir")
        .arg(directory)
        .output()
        .unwrap()
}

#[test]
fn each_setting_is_shown_with_its_place_and_what_is_wrong_is_said_after_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("10-board.toml");
    std::fs::write(
        &file,
        "[device]\nproduct = \"kiosk\"\ncompatible = \"board\"\n[repository]\nurl = \"https://updates.example\"\n",
    )
    .unwrap();
    let shown = run(&["show-config"], directory.path());
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8(shown.stdout).unwrap();
    let line = "device.product = \"kiosk\"";
    let place = format!("  # {}:2", file.display());
    assert!(
        text.lines()
            .any(|shown| shown.starts_with(line) && shown.ends_with(&place)),
        "{text}"
    );
    let shown = run(&["show-config", "--json"], directory.path());
    let value: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["settings"][1]["key"], "device.product");
    assert_eq!(value["settings"][1]["line"], 2);

    // What is missing is not missing in one file: all that is there is shown.
    std::fs::write(&file, "[device]\nproduct = \"kiosk\"\n").unwrap();
    let shown = run(&["show-config"], directory.path());
    assert_eq!(shown.status.code(), Some(78));
    assert!(String::from_utf8(shown.stdout).unwrap().contains("product"));
    let said = String::from_utf8(shown.stderr).unwrap();
    assert!(said.contains("`device.compatible`"), "{said}");

    std::fs::write(&file, "[device]\nprodcut = \"kiosk\"\n").unwrap();
    for verb in ["show-config", "check-config"] {
        let refused = run(&[verb], directory.path());
        assert_eq!(refused.status.code(), Some(78));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            said.contains("10-board.toml:2") && said.contains("prodcut"),
            "{said}"
        );
        assert!(said.contains("did you mean `product`?"), "{said}");
    }
    let refused = run(&["check-config", "--json"], directory.path());
    assert_eq!(refused.status.code(), Some(78));
    let value: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(
        (&value["schema"], &value["fine"]),
        (&1.into(), &false.into())
    );
    assert!(value["error"].as_str().unwrap().contains("10-board.toml:2"));
}

/// A credential is a file that systemd hands over in a directory of the service's own.
#[test]
fn certificate_and_key_may_be_credentials() {
    use switchbackd::identity::Identity;
    use switchbackd::settings::ClientIdentity;
    let settings = |name: &str| ClientIdentity {
        certificate: format!("credential:{name}").into(),
        key: "credential:key".into(),
    };
    // No test of this program sets the variable: nothing was handed over.
    let error = Identity::load(&settings("certificate"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("LoadCredential=certificate"), "{error}");
    for name in ["", "..", "a/b"] {
        let error = Identity::load(&settings(name)).unwrap_err().to_string();
        assert!(error.contains("a plain name"), "{error}");
    }
}
