//! A device whose key is in a token: SoftHSM in the place of a TPM.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
};
use switchbackd::fetch::{Files as _, HttpSource};
use switchbackd::settings::ClientIdentity;

use super::identity::{Devices, hello};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "SWITCHBACK_TEST_TOKEN";

fn run(program: &str, words: &[&str], directory: &Path) {
    let done = Command::new(program)
        .args(words)
        .env("SOFTHSM2_CONF", directory.join("softhsm2.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{program} {words:?}: {said}");
}

/// The token's library finds the token by an environment variable: the test runs itself again with it.
#[test]
fn a_key_in_a_token_is_used_and_never_read() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    fs::create_dir(place.join("tokens")).unwrap();
    let configuration = format!("directories.tokendir = {}/tokens\n", place.display());
    fs::write(place.join("softhsm2.conf"), configuration).unwrap();
    fs::write(place.join("pin"), "1234\n").unwrap();
    let label = ["--label", "the device", "--so-pin", "4321", "--pin", "1234"];
    run(
        "softhsm2-util",
        &[&["--init-token", "--free"][..], &label].concat(),
        place,
    );
    let rsa = place.join("rsa.pem");
    let words = [
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
    ];
    run(
        "openssl",
        &[&words[..], &[rsa.to_str().unwrap()]].concat(),
        place,
    );
    let rsa = fs::read_to_string(rsa).unwrap();
    for (number, key) in [
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::from_pem_and_sign_algo(&rsa, &PKCS_RSA_SHA256).unwrap(),
    ]
    .iter()
    .enumerate()
    {
        let file = place.join(format!("key-{number}.pem"));
        fs::write(&file, key.serialize_pem()).unwrap();
        let (file, name, id) = (
            file.to_str().unwrap(),
            format!("key {number}"),
            format!("0{number}"),
        );
        let words = [
            "--import",
            file,
            "--token",
            "the device",
            "--pin",
            "1234",
            "--label",
            &name,
            "--id",
            &id,
        ];
        run("softhsm2-util", &words, place);
    }
    let done = Command::new(std::env::current_exe().unwrap())
        .args([
            "token::with_the_token",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("SOFTHSM2_CONF", place.join("softhsm2.conf"))
        .env(TOKEN, place)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
}

#[test]
#[ignore = "run by the test above, with a token"]
fn with_the_token() {
    let place = std::env::var(TOKEN).unwrap();
    let place = Path::new(&place);
    let devices = Devices::new();
    let server = devices.server(false, hello);
    let pin = place.join("pin");
    let address = |object: &str| {
        let pin = pin.display();
        format!(
            "pkcs11:token=the%20device;object={object}?module-path={MODULE}&pin-source=file:{pin}"
        )
    };
    let mut settings = server.settings();
    for number in 0..3 {
        let pem = fs::read_to_string(place.join(format!("key-{number}.pem"))).unwrap();
        let key = match number {
            2 => KeyPair::from_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256).unwrap(),
            _ => KeyPair::from_pem(&pem).unwrap(),
        };
        let certificate = place.join("certificate.pem");
        let params = CertificateParams::new(["device-1".to_owned()]).unwrap();
        let signed = params.signed_by(&key, devices.authority()).unwrap();
        fs::write(&certificate, signed.pem()).unwrap();
        settings.client = Some(ClientIdentity {
            certificate,
            key: address(&format!("key%20{number}")).into(),
        });
        let source = HttpSource::new(&settings).unwrap();
        assert_eq!(source.file("x", 5).unwrap(), b"hello", "key {number}");
    }
    let mut fails = |key: String, part: &str| {
        let certificate = place.join("certificate.pem");
        let key = key.into();
        settings.client = Some(ClientIdentity { certificate, key });
        let error = HttpSource::new(&settings).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    fails(address("another"), "no such private key");
    fails(
        address("key%200").replace("the%20device", "another"),
        "the token is not there",
    );
    fails(
        address("key%200").replace("/pin", "/softhsm2.conf"),
        "softhsm2.conf",
    );
    fails(
        address("key%200").replace("libsofthsm2", "nothing"),
        "nothing.so",
    );
}
