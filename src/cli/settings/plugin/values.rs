//! The forms of a plugin's values: what is right, and what is said of what is wrong.

use std::collections::BTreeMap;

use super::{Compression, Failure, Setting, Source, quantity as quantities};

/// A quantity above nothing, in thousandths; none when nobody said anything.
pub(super) fn quantity(key: &str, setting: &Setting<String>) -> Result<Setting<Option<u64>>, Failure> {
    let (text, source) = (&setting.value, setting.source.clone());
    if source == Source::Default {
        return Ok(Setting { value: None, source });
    }
    let value = quantities::parse_millis(text)
        .and_then(|millis| u64::try_from(millis).ok())
        .filter(|millis| *millis > 0);
    match value {
        Some(millis) => Ok(Setting {
            value: Some(millis),
            source,
        }),
        None => Err(Failure::Config(format!(
            "{key} (from {source}): {text:?} is not a quantity above 0; use a number such as 4, 3500m or 16Gi"
        ))),
    }
}

/// The link's URL. http and https forms of the hub are taken too: TOWLINE_HUB serves both kinds of command.
pub(super) fn link_form(hub: &Setting<String>) -> Result<String, Failure> {
    let url = hub.value.trim_end_matches('/');
    let wrong = || {
        let (value, source) = (&hub.value, &hub.source);
        Failure::Config(format!(
            "plugin.hub (from {source}): {value:?} is no link; use ws://HOST:PORT/ws or wss://"
        ))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let scheme = match scheme {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        "unix" => return Ok(url.to_owned()),
        _ => return Err(wrong()),
    };
    if rest.is_empty() {
        return Err(wrong());
    }
    let path = if rest.contains('/') { "" } else { "/ws" };
    Ok(format!("{scheme}://{rest}{path}"))
}

/// A name is a part of URLs and paths.
pub(super) fn validate_name(name: &Setting<String>) -> Result<(), Failure> {
    let text = &name.value;
    if text.is_empty() {
        return Err(Failure::Config(
            "plugin.name: is missing; give --name NAME, TOWLINE_NAME, or name in the file".to_owned(),
        ));
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() > 63 || !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(Failure::Config(format!(
            "plugin.name (from {}): {text:?} must be 1 to 63 of a-z, 0-9 and -, not at either end",
            name.source
        )));
    }
    Ok(())
}

pub(super) fn parse_labels(texts: &[String]) -> Result<BTreeMap<String, String>, String> {
    texts
        .iter()
        .map(|text| {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or(text)?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        })
        .collect::<Result<_, &String>>()
        .map_err(|text| format!("{text:?} is not KEY=VALUE"))
}

pub(super) fn parse_compression(text: &Setting<String>) -> Result<Compression, Failure> {
    match text.value.as_str() {
        "auto" => Ok(Compression::Auto),
        "on" => Ok(Compression::On),
        "off" => Ok(Compression::Off),
        other => Err(Failure::Config(format!(
            "plugin.compression (from {}): {other:?} is not known; use auto, on or off",
            text.source
        ))),
    }
}
