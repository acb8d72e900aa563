//! Looking at files without the daemon: decodes, explains, writes nothing.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::{Map, Value, json};
use switchback_boot_env::fw_env_config::{FwEnvConfig, Place};
use switchback_boot_env::uboot::{self, Environment, FlagScheme};
use switchback_boot_env::{Vars, grub};

use crate::client::print;
use crate::exit::{self, Failure};

/// More than any environment has.
const MAX_ENVIRONMENT: usize = 1 << 20;
/// How far around a place an environment is looked for when there is none in it.
const WINDOW: usize = 0x8_0000;

/// What was found.
struct Found {
    variables: Option<Vars>,
    problems: Vec<String>,
}

pub(crate) fn run(
    config: Option<&Path>,
    grubenv: Option<&Path>,
    json: bool,
) -> Result<u8, Failure> {
    let found = match (config, grubenv) {
        (Some(config), _) => u_boot(config)?,
        (None, Some(grubenv)) => grub_block(grubenv)?,
        (None, None) => return Err(Failure::new(exit::USAGE, "give --config or --grubenv")),
    };
    print(json, &found.to_json(), || found.to_text());
    Ok(if found.problems.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    })
}

impl Found {
    fn pairs(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut pairs: Vec<_> = self
            .variables
            .iter()
            .flat_map(Vars::iter)
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        pairs.sort();
        pairs
    }

    fn to_json(&self) -> Value {
        let variables: Map<String, Value> = self
            .pairs()
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        json!({ "variables": variables, "problems": self.problems })
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.pairs() {
            let _ = writeln!(text, "{name}={value}");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "problem: {problem}");
        }
        text
    }
}

fn read(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, Failure> {
    let refuse =
        |error: std::io::Error| Failure::new(exit::FAILED, format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(refuse)?;
    file.seek(SeekFrom::Start(offset)).map_err(refuse)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

fn u_boot(config: &Path) -> Result<Found, Failure> {
    let text = read(config, 0, MAX_ENVIRONMENT)?;
    let parsed = FwEnvConfig::parse(&text)
        .map_err(|error| Failure::new(exit::FAILED, format!("{}: {error}", config.display())))?;
    let copy = |place: &Place| {
        read(
            Path::new(&place.device),
            place.offset,
            place.size.min(MAX_ENVIRONMENT),
        )
    };
    let environment = match &parsed {
        FwEnvConfig::Single(place) => Environment::single(&copy(place)?),
        FwEnvConfig::Redundant([first, second]) => {
            Environment::redundant(&copy(first)?, &copy(second)?, FlagScheme::Incremental)
        }
    };
    match environment {
        Ok(environment) => Ok(Found {
            variables: Some(environment.vars),
            problems: Vec::new(),
        }),
        Err(why) => {
            let mut problems = vec![format!("{}: {why}", config.display())];
            for place in parsed.places() {
                problems.extend(elsewhere(config, place)?);
            }
            Ok(Found {
                variables: None,
                problems,
            })
        }
    }
}

/// What lies around a place that holds no environment of the configured size and kind.
fn elsewhere(config: &Path, place: &Place) -> Result<Vec<String>, Failure> {
    let back = u64::try_from(WINDOW / 2).unwrap_or_default();
    let base = place.offset.saturating_sub(back);
    let window = read(Path::new(&place.device), base, WINDOW)?;
    Ok(uboot::diagnose(&window, base)
        .iter()
        .map(|finding| {
            format!(
                "{}: {finding}; {} says offset {:#x}, size {:#x}",
                place.device,
                config.display(),
                place.offset,
                place.size
            )
        })
        .collect())
}

fn grub_block(path: &Path) -> Result<Found, Failure> {
    let block = read(path, 0, MAX_ENVIRONMENT)?;
    let file = path.display().to_string();
    let problems = grub::problems(&block)
        .iter()
        .map(|problem| {
            let remedy = problem.remedy(&file, &block, &grub::new_vars());
            format!("{file}: {problem}; {remedy}")
        })
        .collect();
    Ok(Found {
        variables: grub::parse(&block).ok(),
        problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_file_is_named() {
        let failure = grub_block(Path::new("/nonexistent/grubenv")).err().unwrap();
        assert_eq!(failure.code, exit::FAILED);
    }
}
