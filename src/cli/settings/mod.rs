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
mod value;
mod ways;

pub(crate) use address::Listen;
pub(crate) use client::ClientSettings;
pub(crate) use file::FileSettings;
pub(crate) use hub::HubSettings;
pub(crate) use passthrough::PassthroughSettings;
pub(crate) use plugin::PluginSettings;
pub(crate) use transport::Transport;
pub(crate) use value::read_token;
pub(crate) use ways::WaySettings;

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use value::{
    check_interval, check_trusted, parse_bool, parse_path, parse_text, shown_labels, shown_path, trusting,
};

use super::{exit::Failure, output::time::parse_duration};

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

#[cfg(test)]
mod tests;
