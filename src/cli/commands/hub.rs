//! `towline hub`

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ways::Ways;
#[cfg(feature = "grpc")]
use crate::transport::ServerTls;
use crate::{
    cli::{
        args::HubArgs,
        exit::{Exit, Failure},
        settings::{HubSettings, Listen, Sources, environment, read_token},
        stop,
    },
    http::{self, HttpConfig, Surface, Token},
    hub::Hub,
    limits,
    transport::Listener,
};

/// The end of a hub takes at most the drain of its links and this.
const REST: Duration = Duration::from_millis(1500);

pub(super) async fn run(args: HubArgs) -> anyhow::Result<Exit> {
    let settings = HubSettings::resolve(&args, &Sources::load(args.config.as_deref(), &environment)?)?;
    let stop = stop::on_signals()?;
    let hub = RunningHub::start(&settings).await?;
    for (address, surface) in &hub.listeners {
        eprintln!("towline hub: listening on {address} ({})", describe(*surface));
    }
    for address in &hub.grpc {
        eprintln!("towline hub: listening on {address} (plugins over gRPC)");
    }
    if settings.insecure.value && settings.token_file.value.is_none() {
        eprintln!("towline hub: warning: everyone who reaches these addresses may use it (--insecure)");
    }
    if settings.state_dir.value.is_none() {
        eprintln!(
            "towline hub: no --state-dir: a restart forgets pods, creates that wait and deletes kept for absent plugins"
        );
    }
    for note in settings
        .jobscript
        .notes()
        .into_iter()
        .chain(settings.interlink.notes())
    {
        eprintln!("towline hub: {note}");
    }
    stop.cancelled().await;
    eprintln!("towline hub: stopping (a second signal ends it at once)");
    hub.stop(limits::DRAIN_GRACE).await;
    Ok(Exit::Ok)
}

/// A hub with its listeners.
pub(super) struct RunningHub {
    hub: Arc<Hub>,
    /// Where it listens, and what it serves there.
    pub(super) listeners: Vec<(String, Surface)>,
    /// Where it takes links over gRPC.
    grpc: Vec<String>,
    servers: JoinSet<()>,
    ways: Ways,
    closing: CancellationToken,
}

impl RunningHub {
    /// Binds every address, then serves.
    ///
    /// # Errors
    /// Names the setting or the address, and what to do.
    pub(super) async fn start(settings: &HubSettings) -> anyhow::Result<Self> {
        let token = read_token(&settings.token_file)?
            .map(|token| Token::new(&token))
            .transpose()
            .map_err(|error| Failure::Config(format!("hub.token_file: {error}")))?;
        let tls = settings.tls()?;
        let hub = Hub::new(settings.hub_config()).map_err(Failure::Config)?;
        let ways = Ways::start(&hub, settings).await?;
        let mut config = HttpConfig {
            token,
            job_scripts: Arc::new(settings.jobscript.job_scripts()?),
            ..HttpConfig::default()
        };
        settings.passthrough.apply(&mut config);
        let mut running = Self {
            hub,
            listeners: Vec::new(),
            grpc: Vec::new(),
            servers: JoinSet::new(),
            ways,
            closing: CancellationToken::new(),
        };
        for (addresses, surface) in surfaces(settings) {
            for address in addresses {
                let (listener, shown) = bind(address, tls.as_ref(), ["http", "https", ""]).await?;
                running.listeners.push((shown, surface));
                let config = HttpConfig {
                    allowed_hosts: settings.hosts(address),
                    ..config.clone()
                };
                let max_connections = config.max_connections;
                let router = http::router(Arc::clone(&running.hub), config, surface);
                running.servers.spawn(http::serve(
                    listener,
                    router,
                    max_connections,
                    running.closing.clone().cancelled_owned(),
                ));
            }
        }
        #[cfg(feature = "grpc")]
        {
            let tls = tls.as_deref().map(ServerTls::for_grpc);
            for address in &settings.grpc_listen.value {
                let (listener, shown) = bind(address, tls.as_ref(), ["grpc", "grpcs", "grpc+"]).await?;
                running.grpc.push(shown);
                let config = HttpConfig {
                    allowed_hosts: settings.hosts(address),
                    ..config.clone()
                };
                running.servers.spawn(http::serve_grpc(
                    listener,
                    Arc::clone(&running.hub),
                    config,
                    limits::GRPC_CONNECTIONS,
                    running.closing.clone().cancelled_owned(),
                ));
            }
        }
        Ok(running)
    }

    /// Ends it: the links drain for at most `grace`, open requests and followed logs end in that time too.
    pub(super) async fn stop(mut self, grace: Duration) {
        self.closing.cancel();
        let servers = async { while self.servers.join_next().await.is_some() {} };
        // The bridges first: what the hub then says of its end is no loss to them.
        let all = async { tokio::join!(self.ways.end(), self.hub.drain(grace), servers) };
        if tokio::time::timeout(grace + REST, all).await.is_err() {
            tracing::warn!("the drain took too long, ending anyway");
        }
    }
}

/// Listens, and says where: with the scheme for plain and for TLS, or with what goes before `unix:`.
async fn bind(
    address: &Listen,
    tls: Option<&Arc<rustls::ServerConfig>>,
    [plain, secure, unix]: [&str; 3],
) -> Result<(Listener, String), Failure> {
    let encrypted = tls.cloned().filter(|_| matches!(address, Listen::Tcp(_)));
    let scheme = if encrypted.is_some() { secure } else { plain };
    let listener = Listener::bind(&address.to_string(), encrypted)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let local = listener.local_addr();
    let shown = if local.starts_with("unix:") {
        format!("{unix}{local}")
    } else {
        format!("{scheme}://{local}")
    };
    Ok((listener, shown))
}

/// What each address serves: what has no listener of its own is on `listen`.
fn surfaces(settings: &HubSettings) -> [(&[Listen], Surface); 3] {
    let (link, admin) = (&settings.link_listen.value, &settings.admin_listen.value);
    let main = Surface {
        rest: true,
        link: link.is_empty(),
        admin: admin.is_empty(),
    };
    // The client verbs need both: `create` speaks REST.
    let for_admins = Surface {
        rest: true,
        link: false,
        admin: true,
    };
    [
        (&settings.listen.value, main),
        (link, Surface::LINK),
        (admin, for_admins),
    ]
}

fn describe(surface: Surface) -> String {
    let parts = [
        (surface.rest, "interLink REST"),
        (surface.link, "plugins at /ws"),
        (surface.admin, "API and metrics"),
    ];
    parts
        .iter()
        .filter(|part| part.0)
        .map(|part| part.1)
        .collect::<Vec<_>>()
        .join(", ")
}
