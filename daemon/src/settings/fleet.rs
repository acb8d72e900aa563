//! Which server says when an update is this device's turn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use switchback_ddi::{MAX_ATTRIBUTES, MAX_KEY_CHARS, MAX_VALUE_CHARS};

use super::SettingsError;
use super::fragment::Fleet;
use super::validate::{DAY, duration, invalid};

/// Most of [`FleetSettings::attributes`]: the device has some of its own beside them.
const MOST_ATTRIBUTES: usize = MAX_ATTRIBUTES - 20;

/// Which server says when an update is this device's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// Its address, without a trailing slash; `http://` only to this very device.
    pub url: String,
    /// The tenant of a server that has several.
    pub tenant: String,
    /// What this device is called there; nothing: what it once called itself.
    pub id: Option<String>,
    /// Where the device's token is; nothing where a certificate says who it is, or the token of the
    /// fleet is exchanged for one.
    pub token: Option<TokenFile>,
    /// Where the token of the whole fleet is, which lets a new device in.
    pub enroll_token_file: Option<PathBuf>,
    /// Time between polls as long as the server does not say another.
    pub poll_interval: Duration,
    /// What the device says of itself beside what it runs.
    pub attributes: BTreeMap<String, String>,
}

/// Where a token is, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFile {
    /// This device's.
    Device(PathBuf),
    /// Of a gateway, that speaks for many.
    Gateway(PathBuf),
}

pub(super) fn fleet(table: Fleet) -> Result<Option<FleetSettings>, SettingsError> {
    let Some(url) = table.url.filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let way_out = "write the https:// address of the fleet server, without query or fragment";
    let uri: Option<hyper::Uri> = url.parse().ok();
    let known = uri.is_some_and(|uri| match uri.scheme_str() {
        Some("https") => uri.host().is_some(),
        // A proxy beside the daemon may do the encryption.
        Some("http") => matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]")),
        _ => false,
    });
    if !known || url.len() > 2048 || url.contains(['?', '#', ' ']) {
        return Err(invalid("fleet.url", &url, way_out));
    }
    let tenant = table.tenant.unwrap_or_else(|| "DEFAULT".into());
    check_word("fleet.tenant", &tenant)?;
    let id = table.id.filter(|id| !id.is_empty());
    if let Some(id) = &id {
        check_word("fleet.id", id)?;
    }
    let given = |file: Option<String>| file.filter(|file| !file.is_empty()).map(PathBuf::from);
    let token = match (given(table.token_file), given(table.gateway_token_file)) {
        (Some(_), Some(gateway)) => {
            let way_out = "set this or `fleet.token-file`, not both";
            let gateway = gateway.display().to_string();
            return Err(invalid("fleet.gateway-token-file", &gateway, way_out));
        }
        (Some(device), None) => Some(TokenFile::Device(device)),
        (None, Some(gateway)) => Some(TokenFile::Gateway(gateway)),
        (None, None) => None,
    };
    Ok(Some(FleetSettings {
        url: url.trim_end_matches('/').to_owned(),
        tenant,
        id,
        token,
        enroll_token_file: given(table.enroll_token_file),
        poll_interval: duration(
            "fleet.poll-interval",
            table.poll_interval.as_ref(),
            Duration::from_secs(5 * 60),
            7 * DAY,
        )?
        .max(Duration::from_secs(1)),
        attributes: attributes(table.attributes.unwrap_or_default())?,
    }))
}

/// It becomes a part of addresses.
fn check_word(key: &'static str, text: &str) -> Result<(), SettingsError> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    let dots = text.chars().all(|letter| letter == '.');
    if text.len() > 128 || dots || !text.chars().all(plain) {
        let way_out = "at most 128 letters, digits, \"-\", \"_\", \".\" and \":\" are allowed";
        return Err(invalid(key, text, way_out));
    }
    Ok(())
}

fn attributes(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SettingsError> {
    let key = "fleet.attributes";
    if given.len() > MOST_ATTRIBUTES {
        let way_out = format!("at most {MOST_ATTRIBUTES} are allowed");
        return Err(invalid(key, &given.len().to_string(), way_out));
    }
    for (name, value) in &given {
        if name.is_empty() || name.chars().count() > MAX_KEY_CHARS {
            let way_out = format!("a name has 1 to {MAX_KEY_CHARS} characters");
            return Err(invalid(key, name, way_out));
        }
        if value.chars().count() > MAX_VALUE_CHARS {
            let way_out = format!("a value has at most {MAX_VALUE_CHARS} characters");
            return Err(invalid(key, value, way_out));
        }
        if name.starts_with("switchback.") {
            let way_out = "what begins with \"switchback.\" the device says by itself";
            return Err(invalid(key, name, way_out));
        }
    }
    Ok(given)
}
