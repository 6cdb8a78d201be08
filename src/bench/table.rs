//! Columns of figures: words to the left, figures to the right; for a terminal and as Markdown.

/// A table under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Names of the columns.
    pub heads: Vec<String>,
    /// The rows, each as long as the heads. An empty cell stays empty.
    pub rows: Vec<Vec<String>>,
    /// How many columns hold words; those after them hold figures.
    pub words: usize,
}

impl Figures {
    /// A table without rows.
    pub fn new(words: usize, heads: &[&str]) -> Self {
        Self {
            heads: heads.iter().map(|head| (*head).to_owned()).collect(),
            rows: Vec::new(),
            words,
        }
    }

    /// For a terminal: two spaces between columns.
    pub fn text(&self) -> String {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| width(head)).collect();
        for row in &self.rows {
            for (most, cell) in widths.iter_mut().zip(row) {
                *most = (*most).max(width(cell));
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&self.heads).chain(&self.rows) {
            let mut line = String::new();
            for (at, (cell, most)) in row.iter().zip(&widths).enumerate() {
                let gap = if at == 0 { "" } else { "  " };
                let pad = " ".repeat(most - width(cell));
                line += &if at < self.words {
                    format!("{gap}{cell}{pad}")
                } else {
                    format!("{gap}{pad}{cell}")
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<String> = (0..self.heads.len())
            .map(|at| if at < self.words { "---" } else { "---:" }.to_owned())
            .collect();
        let mut text = line(&self.heads) + &line(&rule);
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            text += &line(&cells);
        }
        text
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A figure with three digits that count, or the whole number when it is larger.
pub fn three_digits(figure: f64) -> String {
    let places = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{figure:.places$}")
}

/// A rate: `1234`, `56.7k`, `1.23M`.
pub fn rate(figure: f64) -> String {
    match figure {
        large if large >= 1e6 => format!("{}M", three_digits(large / 1e6)),
        large if large >= 1e4 => format!("{}k", three_digits(large / 1e3)),
        small => format!("{small:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let mut table = Figures::new(1, &["PEER", "CPU", "/S"]);
        table.rows.push(vec!["a".into(), "1.25".into(), "10.0k".into()]);
        table
            .rows
            .push(vec!["longer".into(), "12.5".into(), String::new()]);
        assert_eq!(
            table.text(),
            "PEER     CPU     /S\na       1.25  10.0k\nlonger  12.5\n"
        );
        assert_eq!(
            table.markdown(),
            "| PEER | CPU | /S |\n| --- | ---: | ---: |\n| a | 1.25 | 10.0k |\n| longer | 12.5 |  |\n"
        );
    }

    #[test]
    fn figures_are_as_long_as_they_are_worth() {
        for (figure, text) in [
            (0.1234, "0.123"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (1234.5, "1234"),
        ] {
            assert_eq!(three_digits(figure), text);
        }
        for (figure, text) in [(999.4, "999"), (12_345.0, "12.3k"), (1_234_567.0, "1.23M")] {
            assert_eq!(rate(figure), text);
        }
    }
}
