//! Plain lists: a header, a line for each thing, columns as wide as they must be.

use comfy_table::{Table, presets::NOTHING};

/// The list as text, without blanks at the ends of its lines.
pub fn list(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().copied());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    trimmed(&table)
}

/// The table's lines without the blanks that fill its last column.
pub fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `-` stands where there is nothing.
pub fn or_dash(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() { "-".into() } else { text }
}
