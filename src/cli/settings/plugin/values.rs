//! The forms of a plugin's values: what is right, and what is said of what is wrong.

use std::collections::BTreeMap;

use super::{Failure, Setting, Source, quantity as quantities};
use crate::transport::Endpoint;

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

/// The link's URL, made of what was given: http means ws, https means wss, and without a path /ws is meant. What says
/// ws or wss is taken as it is.
pub(super) fn link_form(hub: &Setting<String>) -> Result<String, Failure> {
    let Setting { value: url, source } = hub;
    // The endpoint names the part that is wrong, and never repeats a password.
    let endpoint = Endpoint::parse_hub(url).map_err(|error| {
        Failure::Config(format!(
            "plugin.hub (from {source}): {error}; it is the hub's link, such as ws://127.0.0.1:3000/ws or \
             wss://hub.example.org (also as https://hub.example.org), or over gRPC grpcs://hub.example.org:3001"
        ))
    })?;
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(url.clone());
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        scheme @ ("grpc" | "grpcs" | "grpc+unix") => return Ok(format!("{scheme}://{rest}")),
        _ => return Ok(url.clone()),
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    Ok(format!("{scheme}://{authority}{}", endpoint.path_or("/ws")))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn link(url: &str) -> Result<String, String> {
        let setting = Setting {
            value: url.to_owned(),
            source: Source::Flag("--hub"),
        };
        link_form(&setting).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_link_is_derived_from_what_people_write() {
        for (written, derived) in [
            ("http://hub.example.org", "ws://hub.example.org/ws"),
            ("http://hub.example.org:3000/", "ws://hub.example.org:3000/ws"),
            ("https://hub.example.org", "wss://hub.example.org/ws"),
            (
                "HTTPS://hub.example.org:8443/link",
                "wss://hub.example.org:8443/link",
            ),
            ("http://[::1]:3000", "ws://[::1]:3000/ws"),
            ("https://hub.example.org?site=1", "wss://hub.example.org/?site=1"),
            ("ws://hub.example.org:3000/ws", "ws://hub.example.org:3000/ws"),
            ("ws://hub.example.org", "ws://hub.example.org/ws"),
            ("wss://hub.example.org/a/b?c=1", "wss://hub.example.org/a/b?c=1"),
            ("unix:///run/hub.sock", "unix:///run/hub.sock"),
            ("grpc://hub.example.org:3001", "grpc://hub.example.org:3001"),
            ("grpcs://hub.example.org", "grpcs://hub.example.org"),
            ("unix:///run/hub.sock:/link", "unix:///run/hub.sock:/link"),
        ] {
            assert_eq!(link(written).as_deref(), Ok(derived), "{written}");
        }
    }

    #[test]
    fn a_bad_url_is_told_by_its_bad_part() {
        for (written, says) in [
            ("hub.example.org:3000", "it needs a scheme"),
            ("ftp://hub.example.org", "unknown scheme"),
            ("https://", "it has no host"),
            ("https:///ws", "it has no host"),
            ("grpc://hub.example.org/ws", "has no path"),
            ("wss://hub.example.org:http/ws", "its port is not a number"),
            ("ws://::1:3000", "write an IPv6 address as [::1]:3000"),
            ("http://me:hunter2@hub.example.org", "no user or password here"),
            ("http://hub example.org", "a space or a control character"),
            ("unix://run/hub.sock", "a path from the root"),
        ] {
            let text = link(written).unwrap_err();
            assert!(text.starts_with("plugin.hub (from flag --hub): "), "{text}");
            assert!(text.contains(says), "{written}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
