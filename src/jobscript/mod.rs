//! Job scripts: what fills `jobScript` of a create before a plugin gets it, as interLink's API server does: the script
//! server of the create's `jobscriptURL`, else a local template, else nothing.
//!
//! Knows a create's body, the template language and how a script server is asked; knows nothing of plugins, placement or
//! who asks. Learn [`JobScripts`] (made once, fills each create), [`Origin`] (which servers may be asked) and [`Template`].

mod build_config;
mod go;
mod origin;
mod server;
mod shell;
mod template;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

pub use self::{
    build_config::BuildConfig,
    origin::{BadUrl, Origin},
    template::{BadTemplate, Template},
};
use self::{origin::Place, server::Servers};
use crate::{code::Code, interlink::RetrievedPodData, limits, wire::Status};

/// Settings.
#[derive(Debug, Clone)]
pub struct JobScriptConfig {
    /// The only servers that a create's `jobscriptURL` may name. Empty: none.
    pub allowed_origins: Vec<Origin>,
    /// Makes the script of a create without such a URL.
    pub template: Option<Arc<Template>>,
    /// What `jobConfig` is for a create with such a URL. None: Go's zero value, as for every other create.
    pub build_config: Option<BuildConfig>,
    /// How long a script may take.
    pub timeout: Duration,
}

impl Default for JobScriptConfig {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            template: None,
            build_config: None,
            timeout: limits::JOBSCRIPT_TIMEOUT,
        }
    }
}

/// Makes job scripts.
#[derive(Debug)]
pub struct JobScripts {
    config: JobScriptConfig,
    servers: Servers,
    turns: Semaphore,
}

impl Default for JobScripts {
    fn default() -> Self {
        Self::new(JobScriptConfig::default())
    }
}

impl JobScripts {
    /// With these settings.
    pub fn new(config: JobScriptConfig) -> Self {
        Self {
            config,
            servers: Servers::default(),
            turns: Semaphore::new(limits::JOBSCRIPTS_AT_ONCE),
        }
    }

    /// Fills `jobScript`: from `url` if there is one, else from the template. `metadata` travels on to a script server.
    ///
    /// # Errors
    /// FAILED_PRECONDITION for what asking again does not mend: a URL that may not be used, a server that refuses, a
    /// template that lacks something. UNAVAILABLE and DEADLINE_EXCEEDED for a server that stayed away or was slow.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn fill(
        &self,
        url: &str,
        mut pod: RetrievedPodData,
        metadata: &HashMap<String, String>,
    ) -> Result<RetrievedPodData, Status> {
        if self.makes_none(url) {
            return Ok(pod);
        }
        let place = match url {
            "" => None,
            url => Some(self.allowed(url)?),
        };
        let until = Instant::now() + self.config.timeout;
        let Ok(turn) = timeout_at(until, self.turns.acquire()).await else {
            return Err(Status::new(
                Code::Unavailable,
                "",
                format!(
                    "no job script within {} s: {} creates wait for theirs",
                    self.config.timeout.as_secs_f32(),
                    limits::JOBSCRIPTS_AT_ONCE
                ),
            ));
        };
        match (place, &self.config.template) {
            (Some(place), _) => {
                if let Some(config) = &self.config.build_config {
                    pod.job_config = config.to_value().into();
                }
                pod.job_script = self
                    .servers
                    .script(&place, &pod, metadata, until, self.config.timeout)
                    .await?;
            }
            (None, Some(template)) => pod = rendered(template.clone(), pod).await?,
            (None, None) => {}
        }
        drop(turn);
        Ok(pod)
    }

    /// Whether a create with this `jobscriptURL` gets no script.
    pub fn makes_none(&self, url: &str) -> bool {
        url.is_empty() && self.config.template.is_none()
    }

    /// What the URL names, if it may be asked.
    fn allowed(&self, url: &str) -> Result<Place, Status> {
        let refused = |why: &dyn fmt::Display| {
            let text = format!("the create's jobscriptURL is refused: {why}");
            Status::new(Code::FailedPrecondition, "", text)
        };
        let place = Place::parse(url).map_err(|bad| refused(&bad))?;
        let allowed = &self.config.allowed_origins;
        if allowed.contains(&place.origin) {
            return Ok(place);
        }
        let names: Vec<String> = allowed.iter().map(Origin::to_string).collect();
        let others = if names.is_empty() {
            "none is allowed".to_owned()
        } else {
            format!("allowed: {}", names.join(", "))
        };
        Err(refused(&format_args!(
            "{} is not among the hub's hub.jobscript.allowed_origins ({others})",
            place.origin
        )))
    }
}

/// On a thread of its own: rendering is nothing but work.
async fn rendered(template: Arc<Template>, mut pod: RetrievedPodData) -> Result<RetrievedPodData, Status> {
    let work = tokio::task::spawn_blocking(move || {
        pod.job_script = template.render(&pod)?;
        Ok(pod)
    });
    work.await.unwrap_or_else(|_| {
        let text = "the job script template could not be rendered: the template engine failed";
        Err(Status::new(Code::Internal, "", text))
    })
}
