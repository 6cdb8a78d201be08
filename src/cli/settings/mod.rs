//! From what was typed to what holds: flag > environment > file > default, each value with its source.
//!
//! Knows every setting's name, form and default; starts nothing. Learn [`Setting`] and [`Sources`].

mod address;
mod client;
mod compression;
mod file;
mod hub;
mod interlink_config;
mod interlink_file;
mod jobscript;
mod passthrough;
mod plugin;
mod transport;
mod ways;

pub(crate) use address::Listen;
pub(crate) use client::ClientSettings;
pub(crate) use file::FileSettings;
pub(crate) use hub::HubSettings;
pub(crate) use passthrough::PassthroughSettings;
pub(crate) use plugin::PluginSettings;
pub(crate) use transport::Transport;
pub(crate) use ways::WaySettings;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{exit::Failure, output::time::parse_duration};
use crate::transport::TlsConfig;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A flag.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// The file of settings.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A resolved value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    /// The value in force.
    pub(crate) value: T,
    /// Who set it.
    pub(crate) source: Source,
}

impl<T> Setting<T> {
    /// Its line of `config print`; an empty value is shown as `-`.
    fn row(&self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Row {
        let value = value.into();
        Row {
            key: key.into(),
            value: if value.is_empty() { "-".to_owned() } else { value },
            source: self.source.clone(),
        }
    }
}

/// One line of `config print`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// As in the file: hub.listen.
    pub(crate) key: Cow<'static, str>,
    /// For people.
    pub(crate) value: String,
    /// Who set it.
    pub(crate) source: Source,
}

/// Reads the text of a variable.
type Parse<T> = fn(&str) -> Result<T, String>;

/// How settings are looked up: the environment and the file.
pub(crate) struct Sources<'a> {
    /// A variable's value; an empty one counts as absent.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The file, if there is one.
    pub(crate) file: FileSettings,
    /// Where the file is.
    pub(crate) path: Option<PathBuf>,
}

impl<'a> Sources<'a> {
    /// Reads the file that the flag or TOWLINE_CONFIG names, if any.
    pub(crate) fn load(
        flag: Option<&Path>,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let named = environment("TOWLINE_CONFIG").filter(|value| !value.is_empty());
        let path = flag.map(Path::to_owned).or(named.map(PathBuf::from));
        let file = match &path {
            Some(path) => FileSettings::read(path)?,
            None => FileSettings::default(),
        };
        Ok(Self {
            environment,
            file,
            path,
        })
    }

    /// Without a file.
    pub(crate) fn only(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            environment,
            file: FileSettings::default(),
            path: None,
        }
    }

    /// Picks one value: the flag's, the variable's (parsed), the file's, or the default.
    pub(crate) fn pick<T>(
        &self,
        flag: (&'static str, Option<T>),
        variable: (&'static str, Parse<T>),
        file: Option<T>,
        default: T,
    ) -> Result<Setting<T>, Failure> {
        if let (name, Some(value)) = flag {
            return Ok(Setting {
                value,
                source: Source::Flag(name),
            });
        }
        let (name, parse) = variable;
        if let Some(text) = (self.environment)(name).filter(|text| !text.is_empty()) {
            let value = parse(&text).map_err(|why| Failure::Config(format!("{name}: {why}")))?;
            return Ok(Setting {
                value,
                source: Source::Environment(name),
            });
        }
        Ok(self.file_only(file, default))
    }

    /// The variable that counts for [`Sources::pick`]: ours, unless only interLink's is set.
    pub(crate) fn twin(&self, ours: &'static str, interlinks: &'static str) -> &'static str {
        let is_set = |name| (self.environment)(name).is_some_and(|text| !text.is_empty());
        if !is_set(ours) && is_set(interlinks) {
            interlinks
        } else {
            ours
        }
    }

    /// Picks a text.
    fn text(
        &self,
        flag: &'static str,
        typed: &Option<String>,
        variable: &'static str,
        file: Option<String>,
        default: &str,
    ) -> Result<Setting<String>, Failure> {
        self.pick(
            (flag, typed.clone()),
            (variable, parse_text),
            file,
            default.to_owned(),
        )
    }

    /// Picks a duration such as 2s.
    fn span(
        &self,
        flag: &'static str,
        typed: &Option<String>,
        variable: &'static str,
        file: Option<file::Span>,
        default: Duration,
    ) -> Result<Setting<Duration>, Failure> {
        let typed = typed.as_deref().map(parse_duration).transpose();
        let typed = typed.map_err(|why| Failure::Config(format!("{flag}: {why}")))?;
        self.pick(
            (flag, typed),
            (variable, parse_duration),
            file.map(|file::Span(span)| span),
            default,
        )
    }

    /// Picks a value that only the file can set.
    pub(crate) fn file_only<T>(&self, file: Option<T>, default: T) -> Setting<T> {
        match (file, &self.path) {
            (Some(value), Some(path)) => Setting {
                value,
                source: Source::File(path.clone()),
            },
            _ => Setting {
                value: default,
                source: Source::Default,
            },
        }
    }
}

/// The process's environment.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The text of a file with a bearer token, trimmed.
///
/// # Errors
/// When it cannot be read, is empty, or is no token.
pub(crate) fn read_token(setting: &Setting<Option<PathBuf>>) -> Result<Option<String>, Failure> {
    let Some(path) = &setting.value else {
        return Ok(None);
    };
    let place = || format!("token file {} (from {})", path.display(), setting.source);
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::Config(format!("{}: {error}", place())))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::Config(format!(
            "{}: is empty; write a token into it, e.g. `openssl rand -hex 32 | tr -d '\\n'`",
            place()
        )));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Config(format!(
            "{}: a token is one word of visible ASCII",
            place()
        )));
    }
    Ok(Some(token.to_owned()))
}

fn parse_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn parse_path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok(Some(PathBuf::from(text)))
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Whether a plugin may be asked for status this often.
fn check_interval(key: &str, setting: &Setting<Duration>) -> Result<(), Failure> {
    let (value, source) = (setting.value, &setting.source);
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&value) {
        return Ok(());
    }
    Err(Failure::Config(format!(
        "{key} (from {source}): {value:?} must be 1s to 1h"
    )))
}

/// Trusts these CA certificates instead of the system's, if some are named.
fn trusting(ca_file: &Setting<Option<PathBuf>>) -> TlsConfig {
    TlsConfig {
        ca_file: ca_file.value.clone(),
        ..TlsConfig::default()
    }
}

/// Whether that file is there and right.
fn check_trusted(key: &str, ca_file: &Setting<Option<PathBuf>>) -> Result<(), Failure> {
    if ca_file.value.is_none() {
        return Ok(());
    }
    let source = &ca_file.source;
    let wrong = |error| Failure::Config(format!("{key} (from {source}): {error}"));
    trusting(ca_file).client_config().map(drop).map_err(wrong)
}

/// As `--label` takes them, separated by commas.
fn shown_labels(labels: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    all.join(",")
}

fn shown_path(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map_or("-".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests;
