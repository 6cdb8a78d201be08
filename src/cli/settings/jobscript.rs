//! Settings of job scripts: `hub.jobscript`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{Row, Setting, Sources, file::JobScriptSection, hub::parse_list, parse_path, shown_path};
use crate::{
    cli::{args::HubArgs, exit::Failure},
    jobscript::{BuildConfig, JobScriptConfig, JobScripts, Origin, Template},
    limits,
};

/// All settings of job scripts.
#[derive(Debug)]
pub(crate) struct JobScriptSettings {
    /// The servers that a jobscriptURL may name.
    pub(crate) allowed_origins: Setting<Vec<Origin>>,
    /// The local template's file.
    pub(crate) template: Setting<Option<PathBuf>>,
    /// What a script server is told of the site.
    pub(crate) build_config: Setting<Option<BuildConfig>>,
    timeout: Setting<Duration>,
}

impl JobScriptSettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(crate) fn resolve(
        args: &HubArgs,
        sources: &Sources<'_>,
        file: JobScriptSection,
    ) -> Result<Self, Failure> {
        let typed = (!args.jobscript_origins.is_empty()).then(|| args.jobscript_origins.clone());
        let origins = sources.pick(
            ("--jobscript-origin", typed),
            ("TOWLINE_JOBSCRIPT_ORIGINS", parse_list),
            file.allowed_origins.map(Into::into),
            Vec::new(),
        )?;
        let settings = Self {
            allowed_origins: parse_origins(origins)?,
            template: sources.pick(
                ("--jobscript-template", args.jobscript_template.clone().map(Some)),
                ("TOWLINE_JOBSCRIPT_TEMPLATE", parse_path),
                file.template.map(Some),
                None,
            )?,
            build_config: sources.file_only(file.build_config.map(Some), None),
            timeout: sources.file_only(file.timeout.map(|span| span.0), limits::JOBSCRIPT_TIMEOUT),
        };
        let timeout = settings.timeout.value;
        if timeout.is_zero() || timeout > limits::JOBSCRIPT_TIMEOUT_MAX {
            return Err(Failure::Config(format!(
                "hub.jobscript.timeout: {}s is not between 0 and {}s; the virtual kubelet gives a create 120s in all",
                timeout.as_secs_f64(),
                limits::JOBSCRIPT_TIMEOUT_MAX.as_secs()
            )));
        }
        Ok(settings)
    }

    /// Reads and compiles the template.
    ///
    /// # Errors
    /// Names its file and the line.
    pub(crate) fn job_scripts(&self) -> Result<JobScripts, Failure> {
        let template = match &self.template.value {
            None => None,
            Some(path) => {
                let wrong = |why: &dyn std::fmt::Display| {
                    let source = &self.template.source;
                    let path = path.display();
                    Failure::Config(format!("hub.jobscript.template (from {source}): {path}: {why}"))
                };
                let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
                if size > limits::JOBSCRIPT_TEMPLATE {
                    return Err(wrong(&"is over 1 MiB: that is no template"));
                }
                let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
                Some(Arc::new(Template::compile(text).map_err(|bad| wrong(&bad))?))
            }
        };
        Ok(JobScripts::new(JobScriptConfig {
            allowed_origins: self.allowed_origins.value.clone(),
            template,
            build_config: self.build_config.value.clone(),
            timeout: self.timeout.value,
        }))
    }

    /// What whoever starts the hub should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let clear: Vec<String> = self
            .allowed_origins
            .value
            .iter()
            .map(Origin::to_string)
            .filter(|origin| origin.starts_with("http:") && !is_here(origin))
            .collect();
        if clear.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "warning: pods go with their secrets in the clear to {}; https:// would not",
            clear.join(", ")
        )]
    }

    /// For `config print`.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let origins: Vec<String> = self.allowed_origins.value.iter().map(Origin::to_string).collect();
        let timeout = format!("{}s", self.timeout.value.as_secs_f64());
        // It holds a token.
        let build_config = self.build_config.value.as_ref().map_or("", |_| "(set)");
        vec![
            self.allowed_origins
                .row("hub.jobscript.allowed_origins", origins.join(",")),
            self.template
                .row("hub.jobscript.template", shown_path(&self.template.value)),
            self.timeout.row("hub.jobscript.timeout", timeout),
            self.build_config.row("hub.jobscript.build_config", build_config),
        ]
    }
}

/// Whether the bytes stay on this machine.
fn is_here(origin: &str) -> bool {
    crate::transport::Endpoint::parse(origin).is_ok_and(|endpoint| endpoint.is_local())
}

fn parse_origins(texts: Setting<Vec<String>>) -> Result<Setting<Vec<Origin>>, Failure> {
    let mut value: Vec<Origin> = Vec::new();
    for text in &texts.value {
        let origin = text.parse().map_err(|why| {
            let shown = if text.contains('@') { "..." } else { text };
            let source = &texts.source;
            Failure::Config(format!(
                "hub.jobscript.allowed_origins (from {source}): {shown:?}: {why}; write it as https://scripts.example.org"
            ))
        })?;
        if !value.contains(&origin) {
            value.push(origin);
        }
    }
    Ok(Setting {
        value,
        source: texts.source,
    })
}
