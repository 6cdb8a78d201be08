//! What commands print: tables, JSON, YAML. Pure but for [`Out`]; data goes to stdout, talk to stderr.

mod object;
mod plugins;
mod pods;
pub(crate) mod style;
mod table;
pub(crate) mod time;

pub(crate) use object::{json, yaml};
pub(crate) use plugins::PluginRow;
pub(crate) use pods::{PodRow, container_table, describe};
pub(crate) use table::Table;

use std::io::{self, Write};

use clap::ValueEnum;

/// How `get` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns.
    Table,
    /// More columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Only kind/name.
    Name,
}

/// Stdout. An error of a closed pipe travels up as `io::Error`, and ends the command quietly.
#[derive(Debug)]
pub(crate) struct Out;

impl Out {
    /// Writes all of it and flushes: a reader sees it now.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Writes a text, with a line end if it has none.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// Text from a peer, made safe for a terminal: control characters are shown, not obeyed.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}
