//! Colour, only on a terminal that has it (`NO_COLOR` and `CLICOLOR` are heard), and lines that fit
//! the terminal.

use std::fmt::Display;

use console::{Style, Term};

/// What is as it should be.
pub(crate) fn good(text: impl Display) -> String {
    Style::new().green().apply_to(text).to_string()
}

/// What stands in the way, or went wrong.
pub(crate) fn bad(text: impl Display) -> String {
    Style::new().red().bold().apply_to(text).to_string()
}

/// What matters most in its line.
pub(crate) fn strong(text: impl Display) -> String {
    Style::new().bold().apply_to(text).to_string()
}

/// What is there to be looked up.
pub(crate) fn faint(text: impl Display) -> String {
    Style::new().dim().apply_to(text).to_string()
}

/// Columns of the terminal; nothing elsewhere, where lines are as long as they are.
pub(crate) fn columns() -> Option<usize> {
    let (_, columns) = Term::stdout().size_checked()?;
    Some(usize::from(columns))
}

/// The text, wrapped so that it begins in column `indent` of each line.
pub(crate) fn wrapped(text: &str, indent: usize, columns: Option<usize>) -> String {
    /// A column that is narrower is no help.
    const NARROW: usize = 24;
    let Some(room) = columns.and_then(|columns| columns.checked_sub(indent)) else {
        return text.to_owned();
    };
    if room < NARROW {
        return text.to_owned();
    }
    let lines = textwrap::wrap(text, room);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_where_there_is_a_terminal_and_room() {
        let text = "the battery has 12 %, at least 30 % are wanted";
        assert_eq!(wrapped(text, 4, None), text);
        assert_eq!(wrapped(text, 60, Some(70)), text, "too narrow to help");
        assert_eq!(
            wrapped(text, 4, Some(30)),
            "the battery has 12 %, at\n    least 30 % are wanted"
        );
    }
}
