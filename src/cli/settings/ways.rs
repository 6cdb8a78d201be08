//! Settings of the hub's HTTP ways: which plugins it calls over REST, and how.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{
    Row, Setting, Source, Sources, Transport, check_interval, check_trusted,
    file::{Quantity, Span, WaySection},
    shown_labels, shown_path, trusting,
};
use crate::{
    backend::{RestConfig, process::quantity::parse_millis, rest::Ping},
    cli::exit::Failure,
    interlink::is_label,
    limits,
    transport::TlsConfig,
};

/// One plugin of `hub.plugins`.
#[derive(Debug)]
pub(crate) struct WaySettings {
    /// Its name at this hub.
    pub(crate) name: String,
    /// Where its REST is; empty when it has none.
    pub(crate) url: Setting<String>,
    /// Which ways.
    pub(crate) transport: Setting<Transport>,
    /// Its kind, in one word.
    pub(crate) kind: Setting<String>,
    /// It is asked for status no more often.
    pub(crate) status_interval: Setting<Duration>,
    /// How it is pinged.
    pub(crate) ping: Setting<Ping>,
    /// Its own Follow is used.
    pub(crate) follow: Setting<bool>,
    /// A create is a list of one.
    pub(crate) legacy_list: Setting<bool>,
    /// CA certificates for https.
    pub(crate) ca_file: Setting<Option<PathBuf>>,
    /// For placement.
    pub(crate) labels: Setting<BTreeMap<String, String>>,
    /// Announced when the plugin does not say.
    pub(crate) cpu: Setting<String>,
    /// Announced when the plugin does not say.
    pub(crate) memory: Setting<String>,
    /// Announced when the plugin does not say.
    pub(crate) pods: Setting<String>,
}

impl WaySettings {
    /// Resolves all plugins that the flags, the environment or the file name, and the one of interLink's own config.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(super) fn resolve(
        typed: &[String],
        sources: &Sources<'_>,
        sidecar: Option<(String, Setting<String>)>,
    ) -> Result<Vec<Self>, Failure> {
        const VARIABLE: &str = "TOWLINE_PLUGIN_URLS";
        let typed = urls("--plugin-url", typed.iter().map(String::as_str))?;
        let text = (sources.environment)(VARIABLE).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let environment = urls(VARIABLE, parts)?;
        let file = sources.file.hub.plugins.clone().unwrap_or_default();
        let names: BTreeSet<&String> = typed
            .keys()
            .chain(environment.keys())
            .chain(file.keys())
            .chain(sidecar.as_ref().map(|(name, _)| name))
            .collect();
        let one = |name: &String| {
            let section = file.get(name).cloned().unwrap_or_default();
            let url = match (typed.get(name), environment.get(name)) {
                (Some(url), _) => Setting {
                    value: url.clone(),
                    source: Source::Flag("--plugin-url"),
                },
                (None, Some(url)) => Setting {
                    value: url.clone(),
                    source: Source::Environment(VARIABLE),
                },
                (None, None) => match (&section.url, &sidecar) {
                    (None, Some((named, url))) if named == name => url.clone(),
                    _ => sources.file_only(section.url.clone(), String::new()),
                },
            };
            Self::one(name, url, section, sources)
        };
        names.into_iter().map(one).collect()
    }

    fn one(
        name: &str,
        url: Setting<String>,
        file: WaySection,
        sources: &Sources<'_>,
    ) -> Result<Self, Failure> {
        if !is_label(name) {
            return Err(Failure::Config(format!(
                "hub.plugins: {name:?} is no name of a plugin: it must be 1 to 63 of a-z, 0-9 and -, not - at either end"
            )));
        }
        let transport = transport(name, &url, sources.file_only(file.transport, String::new()))?;
        let kind = sources.file_only(file.kind, "rest".to_owned());
        if !is_label(&kind.value) {
            let value = &kind.value;
            return Err(wrong(
                name,
                "type",
                &kind.source,
                &format!("{value:?} must be one word of a-z, 0-9 and -"),
            ));
        }
        let span = file.status_interval.map(|Span(span)| span);
        let status_interval = sources.file_only(span, RestConfig::interval_of(&kind.value));
        check_interval(&format!("hub.plugins.{name}.status_interval"), &status_interval)?;
        let labels = sources.file_only(file.labels, BTreeMap::new());
        if labels.value.len() > limits::MAX_LABELS {
            let text = format!(
                "{} labels, at most {} are allowed",
                labels.value.len(),
                limits::MAX_LABELS
            );
            return Err(wrong(name, "labels", &labels.source, &text));
        }
        let ping = sources.file_only(file.upstream_ping, "auto".to_owned());
        let quantity = |key, file: Option<Quantity>| {
            let setting = sources.file_only(file.map(String::from), String::new());
            let (value, source) = (&setting.value, &setting.source);
            if value.is_empty() || parse_millis(value).is_some_and(|millis| millis > 0) {
                return Ok(setting);
            }
            let text = format!("{value:?} is not a quantity above 0; use a number such as 4, 3500m or 16Gi");
            Err(wrong(name, key, source, &text))
        };
        Ok(Self {
            name: name.to_owned(),
            transport,
            status_interval,
            ping: Setting {
                value: Ping::parse(&ping.value)
                    .map_err(|why| wrong(name, "upstream_ping", &ping.source, &why))?,
                source: ping.source,
            },
            follow: sources.file_only(file.upstream_follow, false),
            legacy_list: sources.file_only(file.legacy_list, false),
            ca_file: sources.file_only(file.ca_file.map(Some), None),
            labels,
            cpu: quantity("cpu", file.cpu)?,
            memory: quantity("memory", file.memory)?,
            pods: quantity("pods", file.pods)?,
            url,
            kind,
        })
    }

    /// Whom to trust on https.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub(crate) fn tls(&self) -> Result<TlsConfig, Failure> {
        check_trusted(&format!("hub.plugins.{}.ca_file", self.name), &self.ca_file)?;
        Ok(trusting(&self.ca_file))
    }

    /// For `config print`.
    pub(super) fn rows(&self) -> Vec<Row> {
        let key = |key: &str| format!("hub.plugins.{}.{key}", self.name);
        vec![
            self.url.row(key("url"), self.url.value.as_str()),
            self.transport.row(key("transport"), self.transport.value.word()),
            self.kind.row(key("type"), self.kind.value.as_str()),
            self.status_interval.row(
                key("status_interval"),
                format!("{:?}", self.status_interval.value),
            ),
            self.ping.row(key("upstream_ping"), self.ping.value.word()),
            self.follow
                .row(key("upstream_follow"), self.follow.value.to_string()),
            self.legacy_list
                .row(key("legacy_list"), self.legacy_list.value.to_string()),
            self.ca_file.row(key("ca_file"), shown_path(&self.ca_file.value)),
            self.labels.row(key("labels"), shown_labels(&self.labels.value)),
            self.cpu.row(key("cpu"), self.cpu.value.as_str()),
            self.memory.row(key("memory"), self.memory.value.as_str()),
            self.pods.row(key("pods"), self.pods.value.as_str()),
        ]
    }
}

/// NAME=URL, several.
fn urls<'a>(source: &str, texts: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for text in texts {
        let Some((name, url)) = text
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && !url.is_empty())
        else {
            // Never the text itself: it may be a URL with a password.
            return Err(Failure::Config(format!(
                "{source}: is not NAME=URL, for example site1=http://127.0.0.1:4000"
            )));
        };
        if found.insert(name.to_owned(), url.to_owned()).is_some() {
            return Err(Failure::Config(format!(
                "{source}: plugin {name:?} is given twice"
            )));
        }
    }
    Ok(found)
}

/// Which ways there are, with a URL that fits.
fn transport(
    name: &str,
    url: &Setting<String>,
    said: Setting<String>,
) -> Result<Setting<Transport>, Failure> {
    let has_url = !url.value.is_empty();
    let value = match said.value.as_str() {
        "" if has_url => Transport::Auto,
        "" => Transport::Ws,
        word => Transport::parse(word).map_err(|why| wrong(name, "transport", &said.source, &why))?,
    };
    if value != Transport::Ws && !has_url {
        let text = format!(
            "{} needs hub.plugins.{name}.url, such as http://127.0.0.1:4000 or unix:///run/plugin.sock; or use ws",
            value.word()
        );
        return Err(wrong(name, "transport", &said.source, &text));
    }
    if !url.value.is_empty() {
        // The error never shows a password.
        let checked = RestConfig::new(&url.value, "").check();
        let shown = checked.map_err(|error| {
            let text = error.to_string();
            wrong(name, "url", &url.source, text.trim_start_matches("upstream: "))
        })?;
        let scheme = url
            .value
            .split("://")
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !["http", "https", "unix"].contains(&scheme.as_str()) {
            let text =
                format!("{shown} is written as a link; the plugin's REST is at http://, https:// or unix://");
            return Err(wrong(name, "url", &url.source, &text));
        }
    }
    Ok(Setting {
        value,
        source: said.source,
    })
}

fn wrong(name: &str, key: &str, source: &Source, text: &str) -> Failure {
    Failure::Config(format!("hub.plugins.{name}.{key} (from {source}): {text}"))
}
