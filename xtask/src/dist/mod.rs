//! `dist` and `deb`: what is installed on a device, as a tree and as a Debian package.

#[path = "../../../cli/src/args.rs"]
#[allow(dead_code, reason = "only its shape is asked for here")]
mod arguments;
mod deb;
mod fleet;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use qemu_tests::product::{Product, put, workspace};

pub(crate) use deb::{make as deb, try_out};
pub(crate) use fleet::tree as fleet;

/// Where each shell looks for completions: before and after the program's name.
const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "usr/share/bash-completion/completions/", ""),
    (Shell::Zsh, "usr/share/zsh/site-functions/_", ""),
    (Shell::Fish, "usr/share/fish/vendor_completions.d/", ".fish"),
];

/// Lays the tree out in a directory that is made for it; `target/dist` unless told.
pub(crate) fn tree(directory: Option<&str>) -> anyhow::Result<PathBuf> {
    let root = place(directory, "target/dist")?;
    Product::build()?.install_into(&root)?;
    completions(&root, "switchback", &mut arguments::Arguments::command())?;
    manual(&root)?;
    println!("the tree: {}", root.display());
    Ok(root)
}

/// Where a tree goes: a directory that is to be made, or the usual one, emptied.
fn place(directory: Option<&str>, usual: &str) -> anyhow::Result<PathBuf> {
    let root = directory.map_or_else(|| workspace().join(usual), PathBuf::from);
    match directory {
        Some(_) if root.exists() => bail!(
            "{}: is there already; give a directory that is to be made",
            root.display()
        ),
        None if root.exists() => fs::remove_dir_all(&root).context(usual.to_owned())?,
        _ => {}
    }
    Ok(root)
}

fn completions(root: &Path, name: &str, command: &mut Command) -> anyhow::Result<()> {
    for (shell, before, after) in COMPLETIONS {
        let mut script = Vec::new();
        clap_complete::generate(shell, command, name, &mut script);
        put(&root.join(format!("{before}{name}{after}")), &script, 0o644)?;
    }
    Ok(())
}

/// Pages of the command line from its own definition, the others as they are written.
fn manual(root: &Path) -> anyhow::Result<()> {
    let pages = root.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(arguments::Arguments::command(), &pages)?;
    let written = workspace().join("docs/man");
    for entry in fs::read_dir(&written).with_context(|| written.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let section = name.rsplit('.').next().unwrap_or_default();
        let place = root.join(format!("usr/share/man/man{section}")).join(&name);
        put(&place, &fs::read(&path)?, 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_and_a_completion() {
        let root = tempfile::tempdir().unwrap();
        let command = arguments::Arguments::command();
        completions(root.path(), "switchback", &mut command.clone()).unwrap();
        manual(root.path()).unwrap();
        has_all(root.path(), "switchback", &command);
        assert!(
            root.path()
                .join("usr/share/man/man8/switchbackd.8")
                .is_file()
        );
    }

    #[test]
    fn so_has_every_verb_for_the_fleet() {
        let root = tempfile::tempdir().unwrap();
        fleet::papers(root.path()).unwrap();
        has_all(root.path(), "switchback-fleet", &fleet::command());
        let nested = "usr/share/man/man1/switchback-fleet-rollout-create.1";
        assert!(root.path().join(nested).is_file());
    }

    fn has_all(root: &Path, name: &str, command: &Command) {
        let verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        assert!(verbs.len() > 10, "{verbs:?}");
        for (_, before, after) in COMPLETIONS {
            let place = format!("{before}{name}{after}");
            let script = fs::read_to_string(root.join(&place)).unwrap();
            for verb in &verbs {
                assert!(script.contains(verb), "{place}: {verb}");
            }
        }
        for verb in &verbs {
            let page = format!("usr/share/man/man1/{name}-{verb}.1");
            assert!(root.join(&page).is_file(), "{page}");
        }
    }
}
