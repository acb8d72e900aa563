//! Scripts in directories, as greenboot has them: `required.d` decides, `wanted.d` advises.
//!
//! They run once in each boot, in `switchback-boot-checks.service`: with all rights, which the daemon does
//! not have, and before `boot-complete.target`, which is not reached if a required one fails. What they
//! said is kept for the daemon in a file that lasts as long as the boot.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use super::checks::{CheckState, Standing};
use crate::command;
use crate::report::chain;
use crate::settings::ScriptSettings;

/// Where the results of this boot are.
pub const RESULTS: &str = "/run/switchback/boot-checks.json";

/// The results are a few lines for each script.
const MOST_RESULTS: u64 = 1024 * 1024;
/// So many scripts are run.
const MOST_SCRIPTS: usize = 500;
/// Before one that failed is run again.
const PAUSE: Duration = Duration::from_secs(5);

/// One script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file.
    pub path: PathBuf,
    /// Whether it decides.
    pub required: bool,
}

/// What one script said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The file.
    pub path: PathBuf,
    /// Whether it decides.
    pub required: bool,
    /// Whether it exited with 0.
    pub passed: bool,
    /// When.
    pub at: Timestamp,
    /// What it printed at its end, or why it did not run.
    pub detail: String,
}

/// All scripts, the required ones first, each kind in the order of the directories and of the names.
///
/// As in greenboot a script is a file that ends in `.sh`, or any other that may be executed.
#[must_use]
pub fn list(settings: &ScriptSettings) -> Vec<Script> {
    let mut found = Vec::new();
    for (kind, required) in [("required.d", true), ("wanted.d", false)] {
        for directory in &settings.directories {
            let Ok(entries) = std::fs::read_dir(directory.join(kind)) else {
                continue;
            };
            let files: BTreeSet<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            let run = files.into_iter().filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                !settings.skip.iter().any(|skipped| *skipped == name) && is_script(path)
            });
            found.extend(run.map(|path| Script { path, required }));
        }
    }
    found.truncate(MOST_SCRIPTS);
    found
}

fn is_script(path: &Path) -> bool {
    let metadata = std::fs::metadata(path).ok();
    metadata.is_some_and(|metadata| {
        let executable = metadata.permissions().mode() & 0o111 != 0;
        metadata.is_file() && (is_shell(path) || executable)
    })
}

fn is_shell(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sh")
}

/// Runs all of them, one after the other, and notes after each what was said so far. Gives whether every
/// required one passed.
///
/// # Errors
/// The results cannot be written.
pub fn run(
    settings: &ScriptSettings,
    results: &Path,
    now: &mut dyn FnMut() -> Timestamp,
) -> std::io::Result<bool> {
    let mut all = Vec::new();
    note(results, &all)?;
    for script in list(settings) {
        let (passed, detail) = one(&script.path, settings);
        let kind = if script.required {
            "required"
        } else {
            "wanted"
        };
        let path = script.path.display();
        match (passed, script.required) {
            (true, _) => println!("{kind} check {path}: passed"),
            (false, true) => eprintln!("{kind} check {path}: failed: {detail}"),
            (false, false) => {
                eprintln!("{kind} check {path}: failed, which decides nothing: {detail}");
            }
        }
        all.push(Said {
            path: script.path,
            required: script.required,
            passed,
            at: now(),
            detail,
        });
        note(results, &all)?;
    }
    Ok(all.iter().all(|said| said.passed || !said.required))
}

/// Runs one until it passes, as often as is allowed.
fn one(path: &Path, settings: &ScriptSettings) -> (bool, String) {
    let path_text = path.display().to_string();
    let program = if is_shell(path) {
        let bash = ["/bin/bash", "/usr/bin/bash"];
        let bash = bash.into_iter().find(|shell| Path::new(shell).exists());
        vec![bash.unwrap_or("/bin/sh").to_owned(), path_text]
    } else {
        vec![path_text]
    };
    let mut left = settings.retries;
    loop {
        match command::run(&program, settings.timeout) {
            Ok(output) => return (true, output),
            Err(error) if left == 0 => return (false, chain(&error)),
            Err(error) => {
                eprintln!("{}: {}; it is run again", path.display(), chain(&error));
                left -= 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Whole or not at all: the daemon may be reading.
fn note(results: &Path, all: &[Said]) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(all)?;
    let new = results.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, results)
}

/// What the scripts of this boot said so far; nothing if none ran.
#[must_use]
pub(super) fn results(path: &Path) -> Vec<CheckState> {
    let fits = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MOST_RESULTS);
    let bytes = if fits {
        std::fs::read(path).unwrap_or_default()
    } else {
        Vec::new()
    };
    let said: Vec<Said> = serde_json::from_slice(&bytes).unwrap_or_default();
    said.into_iter()
        .map(|said| CheckState {
            name: said.path.display().to_string(),
            kind: "script",
            required: said.required,
            standing: if said.passed {
                Standing::Passing
            } else {
                Standing::Failing
            },
            since: said.at,
            detail: said.detail,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(root: &Path) -> ScriptSettings {
        ScriptSettings {
            directories: vec![root.join("usr/check"), root.join("etc/check")],
            skip: vec!["30-not-here.sh".into()],
            timeout: Duration::from_secs(20),
            retries: 0,
        }
    }

    fn write(root: &Path, path: &str, text: &str, mode: u32) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn said(root: &Path) -> (bool, Vec<(String, bool, &'static str)>) {
        let results_file = root.join("results.json");
        let mut now = || Timestamp::from_unix(7);
        let passed = run(&settings(root), &results_file, &mut now).unwrap();
        let states = results(&results_file);
        let shown = states.into_iter().map(|state| {
            let path = Path::new(&state.name).strip_prefix(root).unwrap();
            (
                path.display().to_string(),
                state.required,
                state.standing.as_str(),
            )
        });
        (passed, shown.collect())
    }

    #[test]
    fn scripts_of_greenboot_run_unchanged() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(said(root), (true, Vec::new()));
        // Not executable, and no line that names a shell: greenboot gives it to bash.
        write(
            root,
            "usr/check/required.d/02_a.sh",
            "[[ -d / ]] && echo fine\n",
            0o644,
        );
        write(
            root,
            "etc/check/required.d/01_b",
            "#!/bin/sh\nexit 0\n",
            0o755,
        );
        write(root, "etc/check/required.d/README", "not a script", 0o644);
        write(
            root,
            "etc/check/required.d/30-not-here.sh",
            "exit 1\n",
            0o755,
        );
        write(
            root,
            "etc/check/wanted.d/leds.sh",
            "echo dark; exit 3\n",
            0o755,
        );
        let (passed, shown) = said(root);
        assert!(passed, "what is wanted decides nothing");
        assert_eq!(
            shown,
            [
                ("usr/check/required.d/02_a.sh".into(), true, "passing"),
                ("etc/check/required.d/01_b".into(), true, "passing"),
                ("etc/check/wanted.d/leds.sh".into(), false, "failing"),
            ]
        );
        let leds = results(&root.join("results.json")).pop().unwrap();
        assert!(leds.detail.contains("exit status: 3 (dark)"), "{leds:?}");

        write(root, "etc/check/required.d/99_disk.sh", "exit 1\n", 0o755);
        let (passed, shown) = said(root);
        assert!(!passed);
        assert_eq!(shown.len(), 4);
    }

    #[test]
    fn one_that_hangs_is_ended_and_one_that_recovers_is_run_again() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            root,
            "usr/check/required.d/hangs.sh",
            "exec sleep 100\n",
            0o755,
        );
        let quick = ScriptSettings {
            timeout: Duration::from_millis(200),
            ..settings(root)
        };
        let (passed, detail) = one(&root.join("usr/check/required.d/hangs.sh"), &quick);
        assert!(!passed && detail.contains("did not end"), "{detail}");
        let twice = format!(
            "test -e {0}/seen || {{ touch {0}/seen; exit 1; }}\n",
            root.display()
        );
        write(root, "usr/check/required.d/twice.sh", &twice, 0o755);
        let patient = ScriptSettings {
            retries: 1,
            ..settings(root)
        };
        assert!(one(&root.join("usr/check/required.d/twice.sh"), &patient).0);
    }

    #[test]
    fn damaged_results_say_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[{\"path\":").unwrap();
        assert_eq!(results(file.path()), []);
    }
}
