//! `--interlink-config`: interLink's own configuration as the last place where a hub's setting is looked for.

use std::path::{Path, PathBuf};

use super::{
    HubSettings, Listen, Row, Setting, Source, Sources,
    interlink_config::{self, InterLinkConfig},
    parse_path, parse_text, shown_path,
};
use crate::cli::{args::HubArgs, exit::Failure};

/// The file, where it is, and who named it.
#[derive(Debug)]
pub(crate) struct InterLinkFile {
    path: Setting<Option<PathBuf>>,
    sidecar_name: Setting<String>,
    config: InterLinkConfig,
}

impl InterLinkFile {
    /// Reads the file that `--interlink-config`, its twins or interLink's own INTERLINKCONFIGPATH name, if any.
    ///
    /// # Errors
    /// Names the file, the key and what is wrong.
    pub(crate) fn load(args: &HubArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let mut path = sources.pick(
            ("--interlink-config", args.interlink_config.clone().map(Some)),
            ("TOWLINE_INTERLINK_CONFIG", parse_path),
            sources.file.hub.interlink_config.clone().map(Some),
            None,
        )?;
        let theirs = (sources.environment)("INTERLINKCONFIGPATH").filter(|path| !path.is_empty());
        if let (None, Some(theirs)) = (&path.value, theirs) {
            path = Setting {
                value: Some(PathBuf::from(theirs)),
                source: Source::Environment("INTERLINKCONFIGPATH"),
            };
        }
        let config = match &path.value {
            None => InterLinkConfig::default(),
            Some(file) => {
                let wrong = |why: String| {
                    let source = &path.source;
                    Failure::Config(format!(
                        "interLink's config {} (from {source}): {why}",
                        file.display()
                    ))
                };
                let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
                interlink_config::parse(&text, sources.environment).map_err(wrong)?
            }
        };
        let sidecar_name = sources.pick(
            ("--sidecar-name", args.sidecar_name.clone()),
            ("TOWLINE_SIDECAR_NAME", parse_text),
            sources.file.hub.sidecar_name.clone(),
            "default".to_owned(),
        )?;
        Ok(Self {
            path,
            sidecar_name,
            config,
        })
    }

    /// The plugin that it names (SidecarURL): its name here, and its address.
    pub(super) fn sidecar(&self) -> Option<(String, Setting<String>)> {
        let url = Setting {
            value: self.config.sidecar.clone()?,
            source: Source::File(self.path.value.clone()?),
        };
        Some((self.sidecar_name.value.clone(), url))
    }

    /// Whether a hub may start with it. It must not be open where interLink's own server asks for certificates.
    ///
    /// # Errors
    /// Says what to give instead.
    pub(crate) fn check(&self, has_token: bool) -> Result<(), Failure> {
        match &self.config.client_ca {
            Some(ca) if !has_token => Err(Failure::Config(format!(
                "interLink's config asks every client for a certificate of {} (TLS.CACertFile), which this hub does not \
                 check: give it a token in its place (--token-file FILE here, VKTokenFile at the virtual kubelet), or take \
                 TLS.CACertFile out of a copy of that file",
                ca.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Sets what neither flag, environment nor towline's own file has set.
    ///
    /// # Errors
    /// When the address is none that can be listened on.
    pub(super) fn fill(settings: &mut HubSettings) -> Result<(), Failure> {
        let Self { path, config, .. } = &settings.interlink;
        let Some(path) = &path.value else {
            return Ok(());
        };
        let InterLinkConfig {
            listen,
            listen_from,
            tls,
            template,
            build_config,
            ..
        } = config;
        if let Some(text) = listen {
            let listen = Listen::parse(text).map_err(|why| {
                let path = path.display();
                Failure::Config(format!("interLink's config {path}: InterlinkAddress: {why}"))
            });
            // An address that is overridden need not be good here.
            if settings.listen.source == Source::Default {
                settings.listen = Setting {
                    value: vec![listen?],
                    source: listen_from.map_or_else(|| Source::File(path.clone()), Source::Environment),
                };
            }
        }
        // A certificate of one file does not go with a key of another.
        if settings.tls_cert.value.is_none() && settings.tls_key.value.is_none() {
            let (cert, key) = tls.clone().unzip();
            fill(&mut settings.tls_cert, cert.map(Some), path);
            fill(&mut settings.tls_key, key.map(Some), path);
        }
        let scripts = &mut settings.jobscript;
        fill(&mut scripts.template, template.clone().map(Some), path);
        fill(&mut scripts.build_config, build_config.clone().map(Some), path);
        Ok(())
    }

    /// What whoever starts the hub should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Some(path), false) = (&self.path.value, self.config.unused.is_empty()) {
            let unused = self.config.unused.join(", ");
            notes.push(format!("{}: not used here: {unused}", path.display()));
        }
        if self.config.client_ca.is_some() {
            let text = "warning: client certificates (TLS.CACertFile) are not checked here; the token is";
            notes.push(text.to_owned());
        }
        notes
    }

    /// For `config print`.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let sidecar = self.sidecar().map_or_else(
            || Setting {
                value: String::new(),
                source: Source::Default,
            },
            |(_, url)| url,
        );
        vec![
            self.path
                .row("hub.interlink_config", shown_path(&self.path.value)),
            sidecar.row("hub.sidecar", sidecar.value.as_str()),
            self.sidecar_name
                .row("hub.sidecar_name", self.sidecar_name.value.as_str()),
        ]
    }
}

fn fill<T>(setting: &mut Setting<T>, value: Option<T>, path: &Path) {
    if let (Source::Default, Some(value)) = (&setting.source, value) {
        *setting = Setting {
            value,
            source: Source::File(path.to_owned()),
        };
    }
}
