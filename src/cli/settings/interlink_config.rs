//! InterLinkConfig.yaml, the configuration of interLink's API server, read for what a hub has in common with it.
//!
//! It is somebody else's file: what is in it and not used here is told, and is no error. Learn [`parse`].

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::{jobscript::BuildConfig, transport::Endpoint};

/// Keys that are used, as interLink spells them.
const USED: [&str; 7] = [
    "InterlinkAddress",
    "InterlinkPort",
    "SidecarURL",
    "SidecarPort",
    "TLS",
    "JobScriptTemplate",
    "JobScriptBuildConfig",
];
/// Keys that interLink itself has besides.
const OTHERS: [&str; 4] = ["VerboseLogging", "ErrorsOnlyLogging", "DataRootFolder", "Pprof"];

/// What a hub uses of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct InterLinkConfig {
    /// InterlinkAddress and InterlinkPort: `HOST:PORT` or `unix:///PATH`.
    pub(crate) listen: Option<String>,
    /// The variable that this came from, if not from the file.
    pub(crate) listen_from: Option<&'static str>,
    /// Certificate and key, if that address is https.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Clients must show a certificate of this CA.
    pub(crate) client_ca: Option<PathBuf>,
    /// SidecarURL and SidecarPort: `http://HOST:PORT` or `unix:///PATH`.
    pub(crate) sidecar: Option<String>,
    /// JobScriptTemplate: a file.
    pub(crate) template: Option<PathBuf>,
    /// JobScriptBuildConfig.
    pub(crate) build_config: Option<BuildConfig>,
    /// What is not used, for people.
    pub(crate) unused: Vec<String>,
}

/// Reads the text of the file; interLink's own variables override it, as they do there.
///
/// # Errors
/// Says the key and what is wrong with it.
pub(crate) fn parse(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<InterLinkConfig, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let keys: Option<Map<String, Value>> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.without_snippet().to_string())?;
    let keys = keys.unwrap_or_default();
    if !USED.iter().any(|key| keys.contains_key(*key)) {
        return Err(if keys.contains_key("data") && keys.contains_key("kind") {
            "this is a Kubernetes ConfigMap; give the file that is in it".to_owned()
        } else {
            "it has none of interLink's keys (InterlinkAddress, SidecarURL, ...); is it InterLinkConfig.yaml?"
                .to_owned()
        });
    }
    let set = |variable: &str| environment(variable).filter(|value| !value.is_empty());
    let said = |key: &str, variable: &str| match set(variable) {
        Some(value) => Ok(value),
        None => plain(&keys, key, key),
    };
    let address = said("InterlinkAddress", "INTERLINKURL")?;
    let port = said("InterlinkPort", "INTERLINKPORT")?;
    let tls = keys.get("TLS").filter(|tls| !tls.is_null());
    let tls = tls.map(read_tls).transpose()?.unwrap_or_default();
    let listen = listen(&address, &port)?;
    let encrypted = address.starts_with("https://");
    if encrypted && (tls.cert.is_empty() || tls.key.is_empty()) {
        return Err("InterlinkAddress is https://, which needs TLS.CertFile and TLS.KeyFile".to_owned());
    }
    let mut unused = unused(&keys);
    unused.extend(tls.unknown);
    if tls.enabled && !encrypted && !tls.cert.is_empty() {
        unused.push("TLS (InterlinkAddress is not https://, so interLink serves without it too)".to_owned());
    }
    let template = plain(&keys, "JobScriptTemplate", "JobScriptTemplate")?;
    if template.contains('\n') {
        let text = "JobScriptTemplate: this is a template; interLink and towline take the path of its file";
        return Err(text.to_owned());
    }
    let build_config = match keys.get("JobScriptBuildConfig") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let read = BuildConfig::of_others(value.clone());
            let (config, unknown) = read.map_err(|error| format!("JobScriptBuildConfig: {error}"))?;
            unused.extend(unknown.iter().map(|key| format!("JobScriptBuildConfig.{key}")));
            Some(config)
        }
    };
    Ok(InterLinkConfig {
        listen,
        listen_from: ["INTERLINKURL", "INTERLINKPORT"]
            .into_iter()
            .find(|variable| set(variable).is_some()),
        tls: encrypted.then(|| (tls.cert.into(), tls.key.into())),
        client_ca: (tls.enabled && !tls.ca.is_empty()).then(|| tls.ca.into()),
        sidecar: sidecar(
            &said("SidecarURL", "SIDECARURL")?,
            &said("SidecarPort", "SIDECARPORT")?,
        )?,
        template: (!template.is_empty()).then(|| template.into()),
        build_config,
        unused,
    })
}

/// Where interLink would listen.
fn listen(address: &str, port: &str) -> Result<Option<String>, String> {
    if address.is_empty() || address.starts_with("unix://") {
        return Ok(Some(address.to_owned()).filter(|address| !address.is_empty()));
    }
    let host = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"))
        .ok_or_else(|| {
            format!("InterlinkAddress: {address:?} does not begin with http://, https:// or unix://")
        })?;
    if port.is_empty() {
        return Err("InterlinkPort: is empty; give the port to listen on".to_owned());
    }
    Ok(Some(format!("{}:{port}", host.trim_end_matches('/'))))
}

/// Where interLink would call its plugin.
fn sidecar(url: &str, port: &str) -> Result<Option<String>, String> {
    if url.is_empty() {
        return Ok(None);
    }
    let whole = if url.starts_with("http://") || url.starts_with("https://") {
        let url = url.trim_end_matches('/');
        match port {
            "" => url.to_owned(),
            port => format!("{url}:{port}"),
        }
    } else if url.starts_with("unix://") {
        url.to_owned()
    } else {
        return Err("SidecarURL: does not begin with http:// or unix://".to_owned());
    };
    Endpoint::parse(&whole).map_err(|error| format!("SidecarURL and SidecarPort: {error}"))?;
    Ok(Some(whole))
}

/// The section TLS.
#[derive(Default)]
struct Tls {
    enabled: bool,
    cert: String,
    key: String,
    ca: String,
    unknown: Vec<String>,
}

fn read_tls(section: &Value) -> Result<Tls, String> {
    let Value::Object(keys) = section else {
        return Err("TLS: expected a section with Enabled, CertFile and KeyFile".to_owned());
    };
    let enabled = match keys.get("Enabled") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(enabled)) => *enabled,
        Some(_) => return Err("TLS.Enabled: is neither true nor false".to_owned()),
    };
    let file = |key| plain(keys, key, &format!("TLS.{key}"));
    let is_ours = |key: &str| ["Enabled", "CertFile", "KeyFile", "CACertFile"].contains(&key);
    Ok(Tls {
        enabled,
        cert: file("CertFile")?,
        key: file("KeyFile")?,
        ca: file("CACertFile")?,
        unknown: keys
            .keys()
            .filter(|key| !is_ours(key))
            .map(|key| format!("TLS.{key}"))
            .collect(),
    })
}

/// A text or a number as text; nothing is an empty one.
fn plain(keys: &Map<String, Value>, key: &str, shown: &str) -> Result<String, String> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.trim().to_owned()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("{shown}: expected a text")),
    }
}

/// The other keys, and what they may have been meant as.
fn unused(keys: &Map<String, Value>) -> Vec<String> {
    let known = || USED.iter().chain(&OTHERS);
    keys.keys()
        .filter(|key| !USED.contains(&key.as_str()))
        .map(|key| {
            let meant = known().find(|known| **known != key && known.eq_ignore_ascii_case(key));
            meant.map_or_else(|| key.clone(), |meant| format!("{key} (interLink reads {meant})"))
        })
        .collect()
}

#[cfg(test)]
#[path = "interlink_config_tests.rs"]
mod tests;
