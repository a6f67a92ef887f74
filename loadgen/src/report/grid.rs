//! Columns that line up.

/// Rows of cells, printed so that columns line up: the first to the left, the others to the right.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    rows: Vec<Vec<String>>,
    /// How many columns from the left are text, and stand to the left.
    text_columns: usize,
}

impl Grid {
    /// A grid whose first `text_columns` columns are text.
    pub(crate) fn new(text_columns: usize) -> Self {
        Self { rows: Vec::new(), text_columns }
    }

    /// Adds a row.
    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Lines that begin with two spaces and end without one.
    pub(crate) fn text(&self) -> String {
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let column_count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..column_count).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
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
        grid.row(["", "µs", "count"]);
        grid.row(["connect", "1.00", "12"]);
        grid.row(["up"]);
        assert_eq!(grid.text(), "             µs  count\n  connect  1.00     12\n  up\n");
    }
}
