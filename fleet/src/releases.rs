//! Releases.

use std::path::Path;

use serde_json::{Value, json};

use crate::args::Release;
use crate::client::Client;
use crate::exit::{Failure, USAGE};
use crate::table::{Table, short};
use crate::{all, part, show, text};

pub(crate) fn run(client: &Client, verb: Release, json: bool) -> Result<u8, Failure> {
    match verb {
        Release::List => show(&client.get("/api/v1/releases")?, json, |answer| {
            let mut table = Table::new(&["RELEASE", "IDENTITY", "SIGNED", "NOTES"]);
            for one in all(answer) {
                let signed = one.get("signed").and_then(Value::as_bool) == Some(true);
                table.add([
                    text(one, "name").to_owned(),
                    short(text(one, "identity")),
                    if signed { "yes" } else { "by its own format" }.to_owned(),
                    text(one, "notes").to_owned(),
                ]);
            }
            if table.is_empty() {
                return "No release: `switchback-fleet release register PRODUCT VERSION` names one \
                        of the signed repository.\n"
                    .into();
            }
            table.text()
        }),
        Release::Register { product, version } => {
            let body = json!({"product": product, "version": version});
            let answer = client.tell("POST", "/api/v1/releases/signed", &body)?;
            show(&answer, json, begun)
        }
        Release::Upload {
            product,
            version,
            files,
            identity,
            notes,
        } => {
            let uploaded: Result<Vec<Value>, Failure> =
                files.iter().map(|file| upload(client, file)).collect();
            let body = json!({"product": product, "version": version, "identity": identity,
                "files": uploaded?, "notes": notes});
            let answer = client.tell("POST", "/api/v1/releases", &body)?;
            show(&answer, json, begun)
        }
    }
}

fn upload(client: &Client, file: &Path) -> Result<Value, Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::new(USAGE, format!("{}: no file", file.display())))?;
    client.upload(&format!("/api/v1/files/{}", part(name)), file)
}

fn begun(release: &Value) -> String {
    let name = text(release, "name");
    format!("{name} can be rolled out: `switchback-fleet rollout create NAME {name}`\n")
}
