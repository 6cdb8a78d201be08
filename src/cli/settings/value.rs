//! Values that several settings have: read, checked and shown.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::Setting;
use crate::{cli::exit::Failure, transport::TlsConfig};

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

pub(super) fn parse_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(super) fn parse_path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok(Some(PathBuf::from(text)))
}

pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Whether a plugin may be asked for status this often.
pub(super) fn check_interval(key: &str, setting: &Setting<Duration>) -> Result<(), Failure> {
    let (value, source) = (setting.value, &setting.source);
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&value) {
        return Ok(());
    }
    Err(Failure::Config(format!(
        "{key} (from {source}): {value:?} must be 1s to 1h"
    )))
}

/// Trusts these CA certificates instead of the system's, if some are named.
pub(super) fn trusting(ca_file: &Setting<Option<PathBuf>>) -> TlsConfig {
    TlsConfig {
        ca_file: ca_file.value.clone(),
        ..TlsConfig::default()
    }
}

/// Whether that file is there and right.
pub(super) fn check_trusted(key: &str, ca_file: &Setting<Option<PathBuf>>) -> Result<(), Failure> {
    if ca_file.value.is_none() {
        return Ok(());
    }
    let source = &ca_file.source;
    let wrong = |error| Failure::Config(format!("{key} (from {source}): {error}"));
    trusting(ca_file).client_config().map(drop).map_err(wrong)
}

/// As `--label` takes them, separated by commas.
pub(super) fn shown_labels(labels: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    all.join(",")
}

pub(super) fn shown_path(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map_or("-".to_owned(), |path| path.display().to_string())
}
