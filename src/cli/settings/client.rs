//! Settings of the client verbs.

use std::path::PathBuf;

use super::{Setting, Sources, parse_path, parse_text, read_token};
use crate::cli::{args::ClientArgs, exit::Failure};

/// Where the hub is and who asks.
#[derive(Debug)]
pub(crate) struct ClientSettings {
    /// The hub's address.
    pub(crate) hub: Setting<String>,
    /// The bearer token.
    pub(crate) token: Option<String>,
    /// CA certificates.
    pub(crate) ca_file: Option<PathBuf>,
    /// -n, if it was given.
    pub(crate) asked_namespace: Option<String>,
}

impl ClientSettings {
    /// Resolves.
    ///
    /// # Errors
    /// When a setting is wrong or the token cannot be read.
    pub(crate) fn resolve(args: &ClientArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let hub = sources.pick(
            ("--hub", args.hub.clone()),
            ("TOWLINE_HUB", parse_text),
            None,
            "http://127.0.0.1:3000".to_owned(),
        )?;
        let hub = Setting {
            value: http_form(&hub.value),
            source: hub.source,
        };
        let token_file = sources.pick(
            ("--token-file", args.token_file.clone().map(Some)),
            ("TOWLINE_TOKEN_FILE", parse_path),
            None,
            None,
        )?;
        let ca_file = sources.pick(
            ("--ca-file", args.ca_file.clone().map(Some)),
            ("TOWLINE_CA_FILE", parse_path),
            None,
            None,
        )?;
        Ok(Self {
            hub,
            token: read_token(&token_file)?,
            ca_file: ca_file.value,
            asked_namespace: args.namespace.clone(),
        })
    }

    /// The namespace in force.
    pub(crate) fn namespace(&self) -> &str {
        self.asked_namespace.as_deref().unwrap_or("default")
    }
}

/// TOWLINE_HUB may hold the link's form: the same variable serves `plugin` and the client verbs.
fn http_form(hub: &str) -> String {
    let rest = match (hub.strip_prefix("ws://"), hub.strip_prefix("wss://")) {
        (Some(rest), _) => format!("http://{rest}"),
        (_, Some(rest)) => format!("https://{rest}"),
        _ => return hub.trim_end_matches('/').to_owned(),
    };
    rest.trim_end_matches('/').trim_end_matches("/ws").to_owned()
}
