//! Users and groups that an overlay declares in sysusers.d(5).
//!
//! The guest's `/etc` is read-only when it boots, so they are made when the image is: lines are
//! added to the base's passwd and group. Only what packages of services use is understood: `u` and
//! `g` lines with an automatic or a numeric id.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::staging::Staging;
use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};

/// Automatic ids count down from here, as systemd's do.
const HIGHEST_SYSTEM_ID: u32 = 999;

/// Stages passwd, group and shadow files with the users and groups of `overlay` added to those in
/// the tar file `base`.
pub(super) fn stage(staging: &Staging, base: &Path, overlay: &Path) -> Result<()> {
    let declarations = read_declarations(&overlay.join("usr/lib/sysusers.d"))?;
    if declarations.is_empty() {
        return Ok(());
    }
    let member = |name: &str| {
        Run::new("tar")
            .arg("-xOf")
            .arg(base)
            .arg(format!("./etc/{name}"))
            .text()
    };
    let mut accounts = Accounts {
        passwd: member("passwd")?,
        group: member("group")?,
        shadow: member("shadow")?,
    };
    for (file, text) in declarations {
        accounts.declare(&text).map_err(|why| Error::Malformed {
            path: file.into(),
            why,
        })?;
    }
    staging.text("/etc/passwd", &accounts.passwd)?;
    staging.text("/etc/group", &accounts.group)?;
    staging.file(
        "/etc/shadow",
        &super::GuestFile {
            bytes: accounts.shadow.into(),
            mode: 0o640,
        },
    )
}

/// The files of a directory that may be missing, by name.
fn read_declarations(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if directory.exists() {
        for entry in fs::read_dir(directory).io("list", directory)? {
            let path = entry.io("list", directory)?.path();
            let text = fs::read_to_string(&path).io("read", &path)?;
            files.insert(path.display().to_string(), text);
        }
    }
    Ok(files)
}

/// The texts of passwd(5), group(5) and shadow(5).
#[derive(Debug)]
struct Accounts {
    passwd: String,
    group: String,
    shadow: String,
}

impl Accounts {
    /// Adds what the lines of one file declare; `Err` says which line is not understood.
    fn declare(&mut self, declarations: &str) -> Result<(), String> {
        for line in declarations.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (kind, name, id) = (words.next(), words.next(), words.next().unwrap_or("-"));
            let (Some(kind @ ("u" | "u!" | "g")), Some(name)) = (kind, name) else {
                return Err(format!("`{line}` is neither a user nor a group line"));
            };
            if has(&self.group, name) {
                continue;
            }
            let id = match id {
                "-" => self.free_id().ok_or("all system ids are in use")?,
                number => number
                    .parse()
                    .map_err(|_| format!("`{line}`: no numeric id"))?,
            };
            self.group.push_str(&format!("{name}:x:{id}:\n"));
            if kind != "g" {
                self.passwd
                    .push_str(&format!("{name}:x:{id}:{id}::/:/usr/sbin/nologin\n"));
                self.shadow.push_str(&format!("{name}:!*:::::::\n"));
            }
        }
        Ok(())
    }

    fn free_id(&self) -> Option<u32> {
        let used = |id: u32| {
            let id = id.to_string();
            let lines = self.passwd.lines().chain(self.group.lines());
            lines
                .filter_map(|line| line.split(':').nth(2))
                .any(|field| field == id)
        };
        (1..=HIGHEST_SYSTEM_ID).rev().find(|id| !used(*id))
    }
}

fn has(accounts: &str, name: &str) -> bool {
    accounts
        .lines()
        .any(|line| line.split(':').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::Accounts;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\nsystemd-network:x:998:998::/:/x\n".into(),
            group: "root:x:0:\nsystemd-journal:x:999:\nsystemd-network:x:998:\n".into(),
            shadow: "root:*:1:::::::\n".into(),
        }
    }

    #[test]
    fn groups_and_users_get_free_ids() {
        let mut accounts = accounts();
        accounts
            .declare("# words\n\ng switchback -\nu fetch - \"Fetches\"\ng fixed 77\n")
            .unwrap();
        assert!(
            accounts.group.contains("switchback:x:997:\n"),
            "{accounts:?}"
        );
        assert!(accounts.passwd.contains("fetch:x:996:996:"), "{accounts:?}");
        assert!(accounts.group.contains("fixed:x:77:\n"), "{accounts:?}");
        assert!(!accounts.passwd.contains("switchback"), "{accounts:?}");
    }

    #[test]
    fn existing_names_are_kept_and_strange_lines_refused() {
        let mut accounts = accounts();
        accounts.declare("g systemd-journal -\n").unwrap();
        assert_eq!(accounts.group.matches("systemd-journal").count(), 1);
        assert!(accounts.declare("r - 500-900\n").is_err());
    }
}
