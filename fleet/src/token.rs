//! Where the token comes from: never the command line, which everybody on the machine can read.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::exit::{Failure, NOT_PERMITTED, USAGE};

/// The credential of systemd, and its file in that directory.
const CREDENTIAL: &str = "switchback-fleet-token";
/// Longest file in bytes.
const MAX_BYTES: u64 = 4096;

/// Finds it: the file that is named, the environment, a credential, the file of this person.
pub(crate) fn find(
    named: Option<&Path>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<String, Failure> {
    if let Some(path) = named {
        return read(path);
    }
    if let Some(token) = environment("SWITCHBACK_TOKEN").filter(|token| !token.is_empty()) {
        return clean(&token.to_string_lossy(), "SWITCHBACK_TOKEN");
    }
    let credential =
        environment("CREDENTIALS_DIRECTORY").map(|place| PathBuf::from(place).join(CREDENTIAL));
    let configuration = environment("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".config")))
        .map(|place| place.join("switchback/fleet-token"));
    let mut places = credential.iter().chain(&configuration);
    match places.find(|path| path.exists()) {
        Some(path) => read(path),
        None => {
            let own = configuration.unwrap_or_else(|| "a file".into());
            Err(Failure::new(
                NOT_PERMITTED,
                format!(
                    "there is no token: put yours into {} (mode 600), or name a file with \
                     --token-file",
                    own.display()
                ),
            ))
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let cannot = |why: std::io::Error| Failure::new(USAGE, format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let facts = file.metadata().map_err(cannot)?;
    if facts.is_file() && facts.mode() & 0o077 != 0 {
        return Err(Failure::new(
            NOT_PERMITTED,
            format!(
                "others can read {0}: `chmod 600 {0}`, and ask for another token",
                path.display()
            ),
        ));
    }
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    clean(&text, &path.display().to_string())
}

fn clean(text: &str, from: &str) -> Result<String, Failure> {
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Failure::new(USAGE, format!("{from}: holds no token")));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_nearest_one_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let own = put("config/switchback/fleet-token", "own\n");
        let named = put("named", " named \n");
        let at = place.path().to_owned();
        let with = |variables: &'static [(&'static str, &'static str)]| {
            let at = at.clone();
            move |name: &str| {
                let mut all = variables.iter();
                let value = all.find(|(found, _)| *found == name)?.1;
                Some(match value.strip_prefix("@") {
                    Some(rest) => at.join(rest).into_os_string(),
                    None => value.into(),
                })
            }
        };
        let home = with(&[("XDG_CONFIG_HOME", "@config")]);
        let all = with(&[
            ("XDG_CONFIG_HOME", "@config"),
            ("SWITCHBACK_TOKEN", "spoken"),
        ]);
        let unit = with(&[
            ("CREDENTIALS_DIRECTORY", "@unit"),
            ("XDG_CONFIG_HOME", "@config"),
        ]);
        assert_eq!(find(Some(&named), &all), Ok("named".into()));
        assert_eq!(find(None, &all), Ok("spoken".into()));
        assert_eq!(find(None, &unit), Ok("own".into()));
        put("unit/switchback-fleet-token", "given");
        assert_eq!(find(None, &unit), Ok("given".into()));
        assert_eq!(find(None, &home), Ok("own".into()));
        // What others can read is not used, what is none is not sent.
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(find(None, &home).unwrap_err().code, NOT_PERMITTED);
        put("config/switchback/fleet-token", "two words");
        assert_eq!(find(None, &home).unwrap_err().code, USAGE);
        assert_eq!(find(None, |_| None).unwrap_err().code, NOT_PERMITTED);
    }
}
