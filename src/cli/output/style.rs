//! Colour, only for terminals and only if wanted.

use std::io::IsTerminal as _;

/// Whether to colour, decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

/// Colours that can be told apart on dark and light grounds.
const PALETTE: [&str; 5] = ["36", "35", "33", "34", "32"];

impl Style {
    /// For text on stdout: colour on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb.
    pub(crate) fn stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            colour: wanted && able && std::io::stdout().is_terminal(),
        }
    }

    /// The text in the n-th colour.
    pub(crate) fn nth(self, n: usize, text: &str) -> String {
        self.paint(PALETTE[n % PALETTE.len()], text)
    }

    /// The text in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
