//! Where each setting comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SettingsError;
use super::load::{fragments, line_of, parse, read};

/// One setting, as it is written in the file that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its name: `repository.url`, or `health.command[0].name`.
    pub key: String,
    /// Its value, in TOML.
    pub value: String,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// All settings that any file names, in the order of their names.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub fn origins(directories: &[PathBuf]) -> Result<Vec<Origin>, SettingsError> {
    let mut found = BTreeMap::new();
    for path in fragments(directories)?.into_values() {
        let text = read(&path)?;
        // Says what is wrong in words for people, unknown settings included.
        parse(&path, &text)?;
        let table = DeTable::parse(&text).map_err(|error| SettingsError::Syntax {
            path: path.clone(),
            line: line_of(&text, error.span()),
            message: error.message().to_owned(),
        })?;
        let file = File {
            path: &path,
            text: &text,
        };
        file.table("", table.get_ref(), &mut found);
    }
    Ok(found.into_values().collect())
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn table(&self, prefix: &str, table: &DeTable<'_>, found: &mut BTreeMap<String, Origin>) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                prefix => format!("{prefix}.{}", name.get_ref()),
            };
            match value.get_ref() {
                DeValue::Table(table) => self.table(&key, table, found),
                DeValue::Array(list) if list.iter().any(is_table) => {
                    // The list of a later file takes the place of the whole list.
                    let start = format!("{key}[");
                    found.retain(|known, _| !known.starts_with(&start));
                    for (number, item) in list.iter().enumerate() {
                        if let DeValue::Table(table) = item.get_ref() {
                            self.table(&format!("{key}[{number}]"), table, found);
                        }
                    }
                }
                _ => {
                    let origin = Origin {
                        key: key.clone(),
                        value: self.text.get(value.span()).unwrap_or_default().into(),
                        file: self.path.into(),
                        line: line_of(self.text, Some(name.span())),
                    };
                    found.insert(key, origin);
                }
            }
        }
    }
}

fn is_table(item: &Spanned<DeValue<'_>>) -> bool {
    matches!(item.get_ref(), DeValue::Table(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_counts_is_named_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        let directories = ["usr", "etc"].map(|name| root.path().join(name));
        for directory in &directories {
            std::fs::create_dir(directory).unwrap();
        }
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        write(
            "usr/00.toml",
            "[boot]\ntries = 3\ngrubenv = [\"/a\",\n \"/b\"]\n[[health.command]]\nname = \"one\"\ncommand = [\"x\"]\n\
             [[health.command]]\nname = \"two\"\ncommand = [\"y\"]\n",
        );
        write(
            "etc/50.toml",
            "# ours\n[device]\nproduct = 'kiosk'\n[boot]\ntries = 5\n[[health.command]]\nname = \"three\"\ncommand = [\"z\"]\n",
        );
        let found = origins(&directories).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|origin| {
                let file = origin.file.file_name().unwrap().to_string_lossy();
                format!("{} = {} ({file}:{})", origin.key, origin.value, origin.line)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "boot.grubenv = [\"/a\",\n \"/b\"] (00.toml:3)",
                "boot.tries = 5 (50.toml:5)",
                "device.product = 'kiosk' (50.toml:3)",
                "health.command[0].command = [\"z\"] (50.toml:8)",
                "health.command[0].name = \"three\" (50.toml:7)",
            ]
        );
        write("etc/60.toml", "[boot]\ntrys = 1\n");
        let error = origins(&directories).unwrap_err().to_string();
        assert!(
            error.contains("60.toml:2") && error.contains("trys"),
            "{error}"
        );
    }

    #[test]
    fn the_shipped_default_names_its_own_settings() {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/usr/lib/switchback/config.d");
        let found = origins(&[directory]).unwrap();
        assert!(found.len() > 20, "{found:?}");
        assert!(found.iter().all(|origin| !origin.value.is_empty()));
    }
}
