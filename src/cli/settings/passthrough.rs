//! Settings of HTTP pass-through at the hub; all of them from the file.

use super::{
    Row, Setting, Sources,
    file::{HubSection, Switch},
};
use crate::{backend::process::quantity, cli::exit::Failure, http::HttpConfig, limits};

/// What reaches plugins' own endpoints, and how.
#[derive(Debug)]
pub(crate) struct PassthroughSettings {
    /// Whether anything does.
    pub(super) on: Setting<Switch>,
    forward_authorization: Setting<bool>,
    max_body: Setting<u64>,
}

impl PassthroughSettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(super) fn resolve(file: &HubSection, sources: &Sources<'_>) -> Result<Self, Failure> {
        let text = sources.file_only(file.passthrough_max_body.clone().map(Some), None);
        let value = match text.value.map(String::from) {
            None => limits::HTTP_PASSED_BODY,
            Some(text_of) => bytes(&text_of).ok_or_else(|| {
                let source = &text.source;
                Failure::Config(format!(
                    "hub.passthrough_max_body (from {source}): {text_of:?} is not a size above 0; use one such as 64Mi"
                ))
            })?,
        };
        Ok(Self {
            on: sources.file_only(file.http_passthrough, Switch::On),
            forward_authorization: sources.file_only(file.forward_authorization, false),
            max_body: Setting {
                value,
                source: text.source,
            },
        })
    }

    /// The part that the HTTP edge takes.
    pub(crate) fn apply(&self, config: &mut HttpConfig) {
        config.forward_authorization = self.forward_authorization.value;
        config.passthrough_max_body = self.max_body.value;
    }

    /// For `config print`.
    pub(super) fn rows(&self) -> [Row; 3] {
        [
            self.on.row("hub.http_passthrough", self.on.value.word()),
            self.forward_authorization.row(
                "hub.forward_authorization",
                self.forward_authorization.value.to_string(),
            ),
            self.max_body
                .row("hub.passthrough_max_body", quantity::bytes(self.max_body.value)),
        ]
    }
}

fn bytes(text: &str) -> Option<u64> {
    let bytes = u64::try_from(quantity::parse_millis(text)?.div_ceil(1000)).ok()?;
    (bytes > 0).then_some(bytes)
}
