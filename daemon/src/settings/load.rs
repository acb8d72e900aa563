//! Finds the files and puts them together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::fragment::Fragment;
use super::origin::origins;
use super::validate::validate;
use super::{Settings, SettingsError};

/// Where fragments live. A file in a later directory replaces the file of the same name in an
/// earlier one; an empty file or a link to `/dev/null` takes it away. What is left is merged in
/// the order of the file names.
pub const CONFIG_DIRECTORIES: [&str; 3] = [
    "/usr/lib/switchback/config.d",
    "/run/switchback/config.d",
    "/etc/switchback/config.d",
];

/// A file larger than this is not a configuration.
const MAX_FRAGMENT: u64 = 256 * 1024;

/// Reads, merges and validates the configuration.
///
/// # Errors
/// Names the file and line, or the setting and its value, and what would be right.
pub fn load(directories: &[PathBuf]) -> Result<Settings, SettingsError> {
    let mut merged = Fragment::default();
    for path in fragments(directories)?.into_values() {
        let text = read(&path)?;
        merged.merge(parse(&path, &text)?);
    }
    validate(merged, directories).map_err(|error| placed(error, directories))
}

/// With the file and the line in which the setting stands that is wrong.
fn placed(error: SettingsError, directories: &[PathBuf]) -> SettingsError {
    let SettingsError::Invalid {
        key,
        value,
        message,
        ..
    } = error
    else {
        return error;
    };
    // They were read a moment ago.
    let origins = origins(directories).unwrap_or_default();
    let mut candidates: Vec<_> = origins
        .iter()
        .filter(|origin| {
            // `update.window[0].start` is an `update.window.start`.
            let parts = origin.key.split(['[', ']']).step_by(2);
            let plain: String = parts.collect();
            let rest = plain.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .collect();
    // Of a list, the item that has the value.
    candidates.sort_by_key(|origin| !origin.value.contains(&value));
    let place = candidates
        .first()
        .map(|origin| format!("{}:{}: ", origin.file.display(), origin.line));
    SettingsError::Invalid {
        place,
        key,
        value,
        message,
    }
}

/// The settings that one file by itself gives.
#[cfg(feature = "fuzzing")]
pub(crate) fn from_text(text: &str) -> Result<Settings, SettingsError> {
    validate(parse(Path::new("/etc/x.toml"), text)?, &[])
}

pub(super) fn fragments(
    directories: &[PathBuf],
) -> Result<BTreeMap<OsString, PathBuf>, SettingsError> {
    let mut found = BTreeMap::new();
    for directory in directories {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(SettingsError::Read {
                    path: directory.clone(),
                    source,
                });
            }
        };
        for entry in entries {
            let entry = entry.map_err(|source| SettingsError::Read {
                path: directory.clone(),
                source,
            })?;
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                found.insert(entry.file_name(), path);
            }
        }
    }
    Ok(found)
}

pub(super) fn read(path: &Path) -> Result<String, SettingsError> {
    let refuse = |source| SettingsError::Read {
        path: path.into(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(refuse)?;
    // A character device is how a fragment is masked: /dev/null reads as empty.
    if metadata.len() > MAX_FRAGMENT {
        let message = format!(
            "{} bytes, at most {MAX_FRAGMENT} are allowed",
            metadata.len()
        );
        return Err(SettingsError::Syntax {
            path: path.into(),
            line: 1,
            message,
        });
    }
    std::fs::read_to_string(path).map_err(refuse)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Fragment, SettingsError> {
    toml::from_str(text).map_err(|error| SettingsError::Syntax {
        path: path.into(),
        line: line_of(text, error.span()),
        message: suggested(error.message()),
    })
}

/// The message, with the name that was likely meant where a name is unknown.
fn suggested(message: &str) -> String {
    /// Less alike is no suggestion.
    const ALIKE: f64 = 0.8;
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names
        .next()
        .filter(|_| message.starts_with("unknown field"))
    else {
        return message.to_owned();
    };
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    let best = names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match best.filter(|name| likeness(name) >= ALIKE) {
        Some(name) => format!("unknown setting `{unknown}`: did you mean `{name}`?"),
        None => message.replacen("unknown field", "unknown setting", 1),
    }
}

/// The line of a place, from 1.
pub(super) fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = text.bytes().take(span.map_or(0, |span| span.start));
    before.filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use switchback_boot_env::contract::{BootNames, SlotVariables};

    use super::*;

    #[test]
    fn misspelt_setting_is_told_with_the_one_that_was_meant() {
        for (text, told) in [
            (
                "[boot]\ntrys = 1\n",
                "unknown setting `trys`: did you mean `tries`?",
            ),
            (
                "[repositry]\n",
                "unknown setting `repositry`: did you mean `repository`?",
            ),
            (
                "[gates]\nbatery-at-least = 3\n",
                "did you mean `battery-at-least`?",
            ),
            ("[boot]\nx = 1\n", "unknown setting `x`, expected one of"),
        ] {
            let error = parse(Path::new("/etc/x.toml"), text).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    const GOOD: &str = r#"
        [device]
        product = "kiosk"
        compatible = "board-1"
        [repository]
        url = "https://updates.example/"
    "#;

    fn with(files: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let root = tempfile::tempdir().unwrap();
        let directories: Vec<PathBuf> = ["usr", "run", "etc"]
            .iter()
            .map(|name| root.path().join(name))
            .collect();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        load(&directories)
    }

    #[test]
    fn later_files_win_setting_by_setting() {
        let settings = with(&[
            ("usr/10-board.toml", GOOD),
            (
                "etc/50-local.toml",
                "[device]\nchannel = \"beta\"\n[boot]\ntries = 5\n",
            ),
        ])
        .unwrap();
        assert_eq!(settings.device.channel.as_str(), "beta");
        assert_eq!(settings.device.product.as_str(), "kiosk");
        assert_eq!(settings.boot.tries, 5);
        assert_eq!(settings.repository.url, "https://updates.example");
    }

    #[test]
    fn same_name_in_a_later_directory_replaces() {
        let masked = with(&[("usr/10-board.toml", GOOD), ("etc/10-board.toml", "")]);
        assert!(matches!(
            masked,
            Err(SettingsError::Missing {
                key: "device.product",
                ..
            })
        ));
    }

    #[test]
    fn errors_name_file_and_line() {
        for (text, line, part) in [
            ("[device]\nprodcut = \"x\"\n", 2, "prodcut"),
            ("[device]\nproduct = \"x\n", 2, ""),
            ("[device]\nproduct = 5\n", 2, "string"),
            ("[device]\n[device]\n", 2, "duplicate"),
            ("[boot]\ntries = 300\n", 2, "300"),
        ] {
            match with(&[("etc/20-x.toml", text)]) {
                Err(SettingsError::Syntax {
                    path,
                    line: found,
                    message,
                }) => {
                    assert!(path.ends_with("20-x.toml"));
                    assert_eq!(found, line, "{text}: {message}");
                    assert!(message.contains(part), "{text}: {message}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn inactive_slot_is_looked_at_once_a_week_or_as_said() {
        let week = 7 * 24 * 60 * 60;
        for (text, seconds) in [
            ("", Some(week)),
            ("verify-interval = \"2w\"", Some(2 * week)),
            ("verify-interval = \"1d 12h\"", Some(36 * 60 * 60)),
            ("verify-interval = \"90m\"", Some(90 * 60)),
            ("verify-interval = \"0s\"", None),
        ] {
            let text = format!("[slots]\n{text}\n");
            let files = [
                ("usr/10-board.toml", GOOD),
                ("etc/20-x.toml", text.as_str()),
            ];
            let interval = with(&files).unwrap().slots.verify_interval;
            assert_eq!(
                interval.map(|interval| interval.as_secs()),
                seconds,
                "{text}"
            );
        }
    }

    #[test]
    fn a_board_with_a_boot_count_names_its_variables() {
        let boot = |text: &str| {
            let text = format!("[boot]\ncontract = \"bootcount\"\n{text}");
            with(&[("usr/10-board.toml", GOOD), ("etc/20-x.toml", &text)])
                .map(|settings| settings.boot.slot_variables)
        };
        let mender = "bootname-a = \"2\"\nbootname-b = \"3\"\n";
        assert_eq!(boot(mender).unwrap(), SlotVariables::default());
        let own = "slot-variable = \"rootpart\"\nslot-variable-hex = \"\"\n";
        let expected = SlotVariables::new("rootpart", None, &BootNames::default()).unwrap();
        assert_eq!(boot(own).unwrap(), expected);
        for (text, key) in [
            // The bootnames A and B are no numbers of partitions.
            ("", "boot.bootname-a"),
            ("slot-variable = \"bootcount\"\n", "boot.slot-variable"),
        ] {
            match boot(text) {
                Err(SettingsError::Invalid { key: found, .. }) => assert_eq!(found, key),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (text, key) in [
            ("[repository]\nurl = \"http://x\"\n", "repository.url"),
            (
                "[repository]\npoll-interval = \"soon\"\n",
                "repository.poll-interval",
            ),
            ("[boot]\ntries = 0\n", "boot.tries"),
            ("[boot]\ncontract = \"lilo\"\n", "boot.contract"),
            (
                "[slots]\na = \"PARTLABEL=x\"\nb = \"PARTLABEL=x\"\n",
                "slots.b",
            ),
            (
                "[slots]\nverify-interval = \"weekly\"\n",
                "slots.verify-interval",
            ),
            ("[device]\ncompatible = \"board-1 \"\n", "device.compatible"),
            ("[health]\nsettle = \"2h\"\n", "health.settle"),
            ("[health]\nretries = 101\n", "health.retries"),
            ("[health]\nunits = [\"kiosk\"]\n", "health.units"),
            (
                "[health]\nwanted-units = [\"-x.service\"]\n",
                "health.wanted-units",
            ),
            ("[health]\nbus-names = [\":1.7\"]\n", "health.bus-names"),
            (
                "[health]\nscript-directories = [\"checks\"]\n",
                "health.script-directories",
            ),
            (
                "[[health.http]]\nname = \"x\"\nurl = \"http://example.org/\"\n",
                "health.http.url",
            ),
            (
                "[[health.http]]\nname = \"x\"\nurl = \"http://[::1]/\"\nstatus = 99\n",
                "health.http.status",
            ),
            (
                "[[health.command]]\nname = \"x\"\ncommand = [\"\"]\n",
                "health.command",
            ),
            (
                "[[health.command]]\nname = \"x\"\ncommand = [\"a\"]\ntimeout = \"0s\"\n",
                "health.command.timeout",
            ),
            ("[metrics]\nsocket = \"metrics.sock\"\n", "metrics.socket"),
            (
                "[traces]\nendpoint = \"collector:4318\"\n",
                "traces.endpoint",
            ),
            ("[fleet]\nurl = \"http://fleet.example\"\n", "fleet.url"),
            (
                "[fleet]\nurl = \"https://fleet.example\"\nid = \"a/b\"\n",
                "fleet.id",
            ),
            (
                "[fleet]\nurl = \"https://h\"\n[fleet.attributes]\n\"switchback.slot\" = \"a\"\n",
                "fleet.attributes",
            ),
            ("[metrics]\nlisten = \"9464\"\n", "metrics.listen"),
            ("[restart]\ncommand = []\n", "restart.command"),
        ] {
            match with(&[("usr/10-board.toml", GOOD), ("etc/20-x.toml", text)]) {
                Err(SettingsError::Invalid { key: found, .. }) => assert_eq!(found, key, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
