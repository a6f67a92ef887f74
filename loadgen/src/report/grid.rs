//! Columns that line up.

use serde::Serialize;

/// Rows of cells, printed so that columns line up: text to the left, numbers to the right.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Grid {
    heading: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
    /// How many columns from the left are text, and stand to the left.
    text_columns: usize,
}

impl Grid {
    /// A grid whose first `text_columns` columns are text.
    pub(crate) fn new(text_columns: usize) -> Self {
        Self { heading: None, rows: Vec::new(), text_columns }
    }

    /// Names the columns. A grid of nothing else is empty.
    pub(crate) fn heading<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.heading = Some(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a row.
    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines that begin with two spaces and end without one; none if there is no row.
    pub(crate) fn text(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let rows = || self.heading.iter().chain(&self.rows);
        let width = |column| {
            let cells = rows().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let column_count = rows().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..column_count).map(width).collect();
        let mut text = String::new();
        for row in rows() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += "  ";
                line += &match column < self.text_columns {
                    true => format!("{cell:<width$}"),
                    false => format!("{cell:>width$}"),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut grid = Grid::new(1);
        grid.heading(["", "µs", "count"]);
        assert_eq!(grid.text(), "");
        grid.row(["connect", "1.00", "12"]);
        grid.row(["up"]);
        assert_eq!(grid.text(), "             µs  count\n  connect  1.00     12\n  up\n");
    }
}
