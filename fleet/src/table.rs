//! Text from devices and servers, in columns.

/// Rows of one table; the first column is as wide as its widest cell.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { rows: vec![heads] }
    }

    pub(crate) fn add<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)).into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// All of it; the last column is as long as it is.
    pub(crate) fn text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Without what a terminal would act on: devices say what they like.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The same, with its lines.
pub(crate) fn plain_lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(plain)
}

/// So many of something.
pub(crate) fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first digits of a digest; anything else as it is.
pub(crate) fn short(identity: &str) -> String {
    let is_digest = identity.len() == 64 && identity.chars().all(|c| c.is_ascii_hexdigit());
    let text = match identity {
        "" => "-",
        text if is_digest => text.get(..12).unwrap_or(text),
        text => text,
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must() {
        let mut table = Table::new(&["A", "LONG"]);
        assert!(table.is_empty());
        table.add(["wide one".to_owned(), "x".to_owned()]);
        table.add(["é".to_owned(), "\u{1b}[31mred\n".to_owned()]);
        assert_eq!(
            table.text(),
            "A         LONG\nwide one  x\né         \u{fffd}[31mred\u{fffd}\n"
        );
    }
}
