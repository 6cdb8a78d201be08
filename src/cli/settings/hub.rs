//! Settings of `towline hub`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    Listen, PassthroughSettings, Row, Setting, Sources, Transport, WaySettings,
    compression::CompressionSettings, file::Span, file::Switch, file::WhenOffline,
    interlink_file::InterLinkFile, jobscript::JobScriptSettings, parse_bool, parse_path, shown_path,
};
use crate::{
    cli::{args::HubArgs, exit::Failure},
    hub::{DeleteWhenOffline, HubConfig, StateDir},
    limits,
    transport::ServerTls,
};

/// All settings of a hub.
#[derive(Debug)]
pub(crate) struct HubSettings {
    /// REST, and all that has no listener of its own.
    pub(crate) listen: Setting<Vec<Listen>>,
    /// The plugins' link; empty: on `listen`.
    pub(crate) link_listen: Setting<Vec<Listen>>,
    /// API, health, metrics; empty: on `listen`.
    pub(crate) admin_listen: Setting<Vec<Listen>>,
    /// The plugins' link over gRPC; empty: nowhere.
    pub(crate) grpc_listen: Setting<Vec<Listen>>,
    /// The shared bearer token's file.
    pub(crate) token_file: Setting<Option<PathBuf>>,
    /// Certificate chain.
    pub(crate) tls_cert: Setting<Option<PathBuf>>,
    /// Private key.
    pub(crate) tls_key: Setting<Option<PathBuf>>,
    /// Where the hub's state survives a restart.
    pub(crate) state_dir: Setting<Option<PathBuf>>,
    /// The key that seals secrets there.
    pub(crate) state_key_file: Setting<Option<PathBuf>>,
    /// Names by which the hub may be called besides those of this machine.
    pub(crate) allowed_hosts: Setting<Vec<String>>,
    /// Off loopback without a token.
    pub(crate) insecure: Setting<bool>,
    create_hold: Setting<Duration>,
    ping_grace: Setting<Duration>,
    log_hold: Setting<Duration>,
    anti_entropy: Setting<Duration>,
    delete_when_offline: Setting<WhenOffline>,
    compression: CompressionSettings,
    /// Plugins' own endpoints.
    pub(crate) passthrough: PassthroughSettings,
    /// Job scripts.
    pub(crate) jobscript: JobScriptSettings,
    /// interLink's own configuration, for what is set nowhere else.
    pub(crate) interlink: InterLinkFile,
    /// The plugins that have settings of their own.
    pub(crate) plugins: Vec<WaySettings>,
}

impl HubSettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(crate) fn resolve(args: &HubArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let file = sources.file.hub.clone();
        let interlink = InterLinkFile::load(args, sources)?;
        let addresses =
            |flag, typed: &[String], variable, key, file: Option<Vec<String>>, default: &[&str]| {
                let default = default.iter().map(|&text| text.to_owned()).collect();
                let typed = (!typed.is_empty()).then(|| typed.to_vec());
                let texts = sources.pick((flag, typed), (variable, parse_list), file, default)?;
                parse_addresses(key, texts)
            };
        let path = |flag, typed: &Option<PathBuf>, variable, file: Option<PathBuf>| {
            sources.pick(
                (flag, typed.clone().map(Some)),
                (variable, parse_path),
                file.map(Some),
                None,
            )
        };
        let listen = file.listen.map(Into::into);
        let link = file.link_listen.map(Into::into);
        let admin = file.admin_listen.map(Into::into);
        let compression = CompressionSettings::of_hub(&args.compression, sources)?;
        let grpc = file.grpc_listen.map(Into::into);
        let passthrough = PassthroughSettings::resolve(&sources.file.hub, sources)?;
        let span = |file: Option<Span>, default| sources.file_only(file.map(|span| span.0), default);
        let mut settings = Self {
            listen: addresses(
                "--listen",
                &args.listen,
                "TOWLINE_LISTEN",
                "hub.listen",
                listen,
                &["127.0.0.1:3000"],
            )?,
            link_listen: addresses(
                "--link-listen",
                &args.link_listen,
                "TOWLINE_LINK_LISTEN",
                "hub.link_listen",
                link,
                &[],
            )?,
            admin_listen: addresses(
                "--admin-listen",
                &args.admin_listen,
                "TOWLINE_ADMIN_LISTEN",
                "hub.admin_listen",
                admin,
                &[],
            )?,
            grpc_listen: addresses(
                "--grpc-listen",
                &args.grpc_listen,
                "TOWLINE_GRPC_LISTEN",
                "hub.grpc_listen",
                grpc,
                &[],
            )?,
            token_file: path(
                "--token-file",
                &args.token_file,
                "TOWLINE_TOKEN_FILE",
                file.token_file,
            )?,
            tls_cert: path("--tls-cert", &args.tls_cert, "TOWLINE_TLS_CERT", file.tls_cert)?,
            tls_key: path("--tls-key", &args.tls_key, "TOWLINE_TLS_KEY", file.tls_key)?,
            state_dir: path(
                "--state-dir",
                &args.state_dir,
                "TOWLINE_HUB_STATE_DIR",
                file.state_dir,
            )?,
            state_key_file: path(
                "--state-key-file",
                &args.state_key_file,
                "TOWLINE_STATE_KEY_FILE",
                file.state_key_file,
            )?,
            allowed_hosts: sources.pick(
                (
                    "--allowed-host",
                    (!args.allowed_hosts.is_empty()).then(|| args.allowed_hosts.clone()),
                ),
                ("TOWLINE_ALLOWED_HOSTS", parse_list),
                file.allowed_hosts.map(Into::into),
                Vec::new(),
            )?,
            insecure: sources.pick(
                ("--insecure", args.insecure.then_some(true)),
                ("TOWLINE_INSECURE", parse_bool),
                file.insecure,
                false,
            )?,
            create_hold: span(file.create_hold, limits::CREATE_HOLD),
            ping_grace: span(file.ping_grace, limits::PING_GRACE),
            log_hold: span(file.log_hold, limits::LOG_HOLD),
            anti_entropy: span(file.anti_entropy, limits::ANTI_ENTROPY),
            delete_when_offline: sources.file_only(file.delete_when_offline, WhenOffline::Durable),
            compression,
            passthrough,
            jobscript: JobScriptSettings::resolve(args, sources, file.jobscript)?,
            plugins: WaySettings::resolve(&args.plugin_urls, sources, interlink.sidecar())?,
            interlink,
        };
        InterLinkFile::fill(&mut settings)?;
        settings.validate()?;
        Ok(settings)
    }

    fn validate(&self) -> Result<(), Failure> {
        if let Some(name) = self.allowed_hosts.value.iter().find(|name| !is_host(name)) {
            return Err(Failure::Config(format!(
                "hub.allowed_hosts (from {}): {name:?} is no host name: give it without scheme, port and path",
                self.allowed_hosts.source
            )));
        }
        if self.listen.value.is_empty() {
            return Err(Failure::Config(
                "hub.listen: is empty; give at least one address".to_owned(),
            ));
        }
        if self.tls_cert.value.is_some() != self.tls_key.value.is_some() {
            return Err(Failure::Config(
                "tls_cert and tls_key belong together: give both or neither".to_owned(),
            ));
        }
        if self.state_key_file.value.is_some() && self.state_dir.value.is_none() {
            return Err(Failure::Config(
                "hub.state_key_file: is of no use without a state_dir; give --state-dir too".to_owned(),
            ));
        }
        self.interlink.check(self.token_file.value.is_some())?;
        if cfg!(not(feature = "grpc")) && !self.grpc_listen.value.is_empty() {
            return Err(Failure::Config(format!(
                "hub.grpc_listen (from {}): this build has no gRPC; leave it out, or take a build with the feature grpc",
                self.grpc_listen.source
            )));
        }
        let listeners = [
            &self.listen,
            &self.link_listen,
            &self.admin_listen,
            &self.grpc_listen,
        ];
        let open = listeners
            .iter()
            .flat_map(|setting| &setting.value)
            .find(|listen| !listen.is_local());
        if let Some(address) = open.filter(|_| self.token_file.value.is_none() && !self.insecure.value) {
            return Err(Failure::Config(format!(
                "refusing to listen on {address} without a token: everyone who reaches it could run pods and read their \
                 logs and secrets. Give --token-file FILE (`openssl rand -hex 32 | tr -d '\\n' > FILE`: the virtual \
                 kubelet fails on a line end), listen on 127.0.0.1, or, if the network itself is trusted, add --insecure"
            )));
        }
        let hold = self.create_hold.value;
        if hold > limits::CREATE_TIMEOUT {
            return Err(Failure::Config(format!(
                "hub.create_hold: {}s is over {}s; the virtual kubelet gives up after 120s",
                hold.as_secs(),
                limits::CREATE_TIMEOUT.as_secs()
            )));
        }
        Ok(())
    }

    /// The names by which a listener may be called; none: by any. A page in a browser reaches what listens on loopback,
    /// and only a token or this keeps it out. A Unix socket it cannot reach.
    pub(crate) fn hosts(&self, listen: &Listen) -> Option<Vec<String>> {
        let named = !self.allowed_hosts.value.is_empty();
        let open = listen.is_local() && self.token_file.value.is_none();
        let checked = matches!(listen, Listen::Tcp(_)) && (open || named);
        checked.then(|| self.allowed_hosts.value.clone())
    }

    /// What the TCP listeners show, if they speak TLS.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub(crate) fn tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>, Failure> {
        let (Some(cert_file), Some(key_file)) = (self.tls_cert.value.clone(), self.tls_key.value.clone())
        else {
            return Ok(None);
        };
        let tls = ServerTls { cert_file, key_file };
        tls.server_config()
            .map(Some)
            .map_err(|error| Failure::Config(format!("hub.tls_cert, hub.tls_key: {error}")))
    }

    /// The part that the hub itself takes.
    pub(crate) fn hub_config(&self) -> HubConfig {
        HubConfig {
            create_hold: self.create_hold.value,
            ping_grace: self.ping_grace.value,
            log_hold: self.log_hold.value,
            delete_when_offline: match self.delete_when_offline.value {
                WhenOffline::Durable => DeleteWhenOffline::Durable,
                WhenOffline::Refuse => DeleteWhenOffline::Refuse,
            },
            anti_entropy: self.anti_entropy.value,
            compression: self.compression.when.value,
            compression_level: self.compression.level.value,
            compression_threshold: self.compression.threshold.value,
            http_passthrough: self.passthrough.on.value == Switch::On,
            http_only: (self.plugins.iter())
                .filter(|plugin| plugin.transport.value == Transport::Http)
                .map(|plugin| plugin.name.clone())
                .collect(),
            state_dir: match self.state_dir.value.clone() {
                None => StateDir::None,
                Some(dir) => StateDir::Path {
                    dir,
                    key_file: self.state_key_file.value.clone(),
                },
            },
            ..HubConfig::default()
        }
    }

    /// For `config print`.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = self.own_rows();
        rows.extend(self.jobscript.rows());
        rows.extend(self.interlink.rows());
        rows
    }

    fn own_rows(&self) -> Vec<Row> {
        let addresses = |key, setting: &Setting<Vec<Listen>>| {
            let all: Vec<String> = setting.value.iter().map(Listen::to_string).collect();
            let value = if all.is_empty() {
                "(as hub.listen)".to_owned()
            } else {
                all.join(",")
            };
            setting.row(key, value)
        };
        let path = |key, setting: &Setting<Option<PathBuf>>| setting.row(key, shown_path(&setting.value));
        let span =
            |key, setting: &Setting<Duration>| setting.row(key, format!("{}s", setting.value.as_secs_f64()));
        let offline = match self.delete_when_offline.value {
            WhenOffline::Durable => "durable",
            WhenOffline::Refuse => "refuse",
        };
        let grpc: Vec<String> = self.grpc_listen.value.iter().map(Listen::to_string).collect();
        let grpc = if grpc.is_empty() {
            "(nowhere)".to_owned()
        } else {
            grpc.join(",")
        };
        let mut rows = vec![
            addresses("hub.listen", &self.listen),
            addresses("hub.link_listen", &self.link_listen),
            addresses("hub.admin_listen", &self.admin_listen),
            self.grpc_listen.row("hub.grpc_listen", grpc),
            path("hub.token_file", &self.token_file),
            path("hub.tls_cert", &self.tls_cert),
            path("hub.tls_key", &self.tls_key),
            path("hub.state_dir", &self.state_dir),
            path("hub.state_key_file", &self.state_key_file),
            self.allowed_hosts
                .row("hub.allowed_hosts", self.allowed_hosts.value.join(",")),
            self.insecure.row("hub.insecure", self.insecure.value.to_string()),
            span("hub.create_hold", &self.create_hold),
            span("hub.ping_grace", &self.ping_grace),
            span("hub.log_hold", &self.log_hold),
            span("hub.anti_entropy", &self.anti_entropy),
            self.delete_when_offline.row("hub.delete_when_offline", offline),
        ];
        rows.extend(self.compression.rows());
        rows.extend(self.passthrough.rows());
        rows.extend(self.plugins.iter().flat_map(WaySettings::rows));
        rows
    }
}

/// A host name or an IP address, bare.
fn is_host(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    !name.is_empty() && (name.bytes().all(plain) || address.parse::<std::net::IpAddr>().is_ok())
}

pub(super) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    Ok(text
        .split(',')
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect())
}

fn parse_addresses(key: &str, texts: Setting<Vec<String>>) -> Result<Setting<Vec<Listen>>, Failure> {
    let value = texts
        .value
        .iter()
        .map(|text| Listen::parse(text))
        .collect::<Result<_, _>>()
        .map_err(|why| Failure::Config(format!("{key} (from {}): {why}", texts.source)))?;
    Ok(Setting {
        value,
        source: texts.source,
    })
}
