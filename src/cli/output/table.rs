//! Columns as kubectl prints them: upper-case heads, three spaces between, nothing after the last.

use super::plain;

/// A table that can go on printing rows with the widths of the first ones.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<&'static str>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self {
            heads: heads.to_vec(),
            widths: heads.iter().map(|head| head.len()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. An empty cell is shown as `<none>`.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let cells: Vec<String> = cells.iter().map(|cell| shown(cell)).collect();
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The whole table.
    pub(crate) fn render(&self) -> String {
        let mut text = line(&self.heads, &self.widths);
        for row in &self.rows {
            text.push_str(&line(row, &self.widths));
        }
        text
    }

    /// One more row, in the widths so far.
    pub(crate) fn more(&self, cells: &[String]) -> String {
        line(
            &cells.iter().map(|cell| shown(cell)).collect::<Vec<_>>(),
            &self.widths,
        )
    }
}

fn shown(cell: &str) -> String {
    let cell = plain(cell);
    if cell.is_empty() {
        "<none>".to_owned()
    } else {
        cell
    }
}

fn line<T: AsRef<str>>(cells: &[T], widths: &[usize]) -> String {
    let mut text = String::new();
    for (index, cell) in cells.iter().enumerate() {
        let cell = cell.as_ref();
        text.push_str(cell);
        if index + 1 < cells.len() {
            let pad = widths[index].saturating_sub(cell.chars().count()) + 3;
            text.extend(std::iter::repeat_n(' ', pad));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_later_rows_keep_the_widths() {
        let mut table = Table::new(&["NAME", "AGE"]);
        table.row(vec!["long-name".to_owned(), "5s".to_owned()]);
        table.row(vec!["é".to_owned(), String::new()]);
        assert_eq!(
            table.render(),
            "NAME        AGE\nlong-name   5s\né           <none>\n"
        );
        assert_eq!(table.more(&["x".to_owned(), "1m".to_owned()]), "x           1m\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["A"]);
        table.row(vec!["x\x1b[2Jy".to_owned()]);
        assert!(!table.render().contains('\x1b'));
    }
}
