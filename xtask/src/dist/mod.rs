//! `dist` and `deb`: what is installed on a device, as a tree and as a Debian package.

#[path = "../../../cli/src/args.rs"]
#[allow(dead_code, reason = "only its shape is asked for here")]
mod arguments;
mod deb;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use clap_complete::Shell;
use qemu_tests::product::{Product, put, workspace};

pub(crate) use deb::{make as deb, try_out};

/// Where each shell looks for completions.
const COMPLETIONS: [(Shell, &str); 3] = [
    (
        Shell::Bash,
        "usr/share/bash-completion/completions/switchback",
    ),
    (Shell::Zsh, "usr/share/zsh/site-functions/_switchback"),
    (
        Shell::Fish,
        "usr/share/fish/vendor_completions.d/switchback.fish",
    ),
];

/// Lays the tree out in a directory that is made for it; `target/dist` unless told.
pub(crate) fn tree(directory: Option<&str>) -> anyhow::Result<PathBuf> {
    let root = directory.map_or_else(|| workspace().join("target/dist"), PathBuf::from);
    match directory {
        Some(_) if root.exists() => bail!(
            "{}: is there already; give a directory that is to be made",
            root.display()
        ),
        None if root.exists() => fs::remove_dir_all(&root).context("target/dist")?,
        _ => {}
    }
    Product::build()?.install_into(&root)?;
    completions(&root)?;
    manual(&root)?;
    println!("the tree: {}", root.display());
    Ok(root)
}

fn completions(root: &Path) -> anyhow::Result<()> {
    for (shell, place) in COMPLETIONS {
        let mut script = Vec::new();
        let mut command = arguments::Arguments::command();
        clap_complete::generate(shell, &mut command, "switchback", &mut script);
        put(&root.join(place), &script, 0o644)?;
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
        completions(root.path()).unwrap();
        manual(root.path()).unwrap();
        let verbs: Vec<String> = arguments::Arguments::command()
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect();
        assert!(verbs.len() > 10, "{verbs:?}");
        for (_, place) in COMPLETIONS {
            let script = fs::read_to_string(root.path().join(place)).unwrap();
            for verb in &verbs {
                assert!(script.contains(verb.as_str()), "{place}: {verb}");
            }
        }
        for verb in &verbs {
            let page = format!("usr/share/man/man1/switchback-{verb}.1");
            assert!(root.path().join(&page).is_file(), "{page}");
        }
        assert!(
            root.path()
                .join("usr/share/man/man8/switchbackd.8")
                .is_file()
        );
    }
}
