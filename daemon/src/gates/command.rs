//! Programs of the image's builder that say whether now is a good time: 0 is yes.

use switchback_update_core::Gate;

use super::{closed, open};
use crate::command::{self, CommandError};
use crate::report::chain;
use crate::settings::GateCommand;

/// Longest word of a program that is shown.
const MAX_DETAIL: usize = 256;

pub(super) fn read(gate: &GateCommand) -> Gate {
    let name = format!("command {}", gate.name);
    let way_out = format!(
        "it is asked again until `{}` succeeds",
        gate.command.join(" ")
    );
    match command::run(&gate.command, gate.timeout) {
        Ok(output) => {
            let detail = match first_line(&output).as_str() {
                "" => format!("{} says yes", gate.name),
                line => format!("{}: {line}", gate.name),
            };
            open(name, gate.before, detail)
        }
        Err(CommandError::Failed { output, .. }) => {
            let said = first_line(output.trim_matches([' ', '(', ')']));
            let detail = match said.as_str() {
                "" => format!("{} says no", gate.name),
                line => format!("{}: {line}", gate.name),
            };
            closed(name, gate.before, "command-says-no", detail, way_out)
        }
        Err(error) => {
            let detail = format!("{}: {}", gate.name, chain(&error));
            closed(name, gate.before, "command-failed", detail, way_out)
        }
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|character| !character.is_control())
        .take(MAX_DETAIL)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use switchback_update_core::{Before, GateState};

    use super::*;

    fn ask(script: &str) -> GateState {
        read(&GateCommand {
            name: "idle".into(),
            command: vec!["sh".into(), "-c".into(), script.into()],
            timeout: Duration::from_millis(500),
            before: Before::Both,
        })
        .state
    }

    #[test]
    fn program_says_yes_no_or_nothing_in_time() {
        assert!(
            matches!(ask("echo nobody is here"), GateState::Open { detail } if detail == "idle: nobody is here")
        );
        let told = |script: &str| match ask(script) {
            GateState::Closed { code, detail, .. } => (code, detail),
            GateState::Open { detail } => ("open".into(), detail),
        };
        let no = told("echo somebody plays; exit 1");
        assert_eq!(
            no,
            ("command-says-no".into(), "idle: somebody plays".into())
        );
        assert_eq!(told("exit 1").1, "idle says no");
        assert_eq!(told("exec sleep 60").0, "command-failed");
    }
}
