//! The life of one accepted link: checks, Welcome, sync, calls, end.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    Hub, HubConfig, Identity, Way,
    peer::Link,
    registry::{Refused, Route, SessionNumber},
    sync::{self, Plan},
    watch::Change,
};
use crate::{
    code::CloseCode,
    connection::{self, BoxFuture, Connection, Ended, HandshakeError, Peer},
    interlink, limits,
    planted::{self, Bug},
    transport::Transport,
    wire::{EventAck, Outbox, Register, Role, Subprotocol, Welcome, feature},
};

/// Why the HTTP way is ended, or not begun.
const LINK_IS_THERE: &str = "the plugin has its own link";

/// Runs one link to its end. In two parts, each in a box: letting it in needs ten times the memory of a link that stands,
/// for a moment.
pub(crate) fn serve<T: Transport>(
    hub: Arc<Hub>,
    transport: T,
    identity: Identity,
    subprotocol: Subprotocol,
) -> impl Future<Output = ()> + Send {
    let admitted = Box::pin(admit(hub, transport, identity, subprotocol));
    async {
        if let Some(standing) = admitted.await {
            standing.await;
        }
    }
}

/// Takes the handshake to Welcome, or refuses. What it gives is the rest of the link's life.
async fn admit<T: Transport>(
    hub: Arc<Hub>,
    transport: T,
    identity: Identity,
    subprotocol: Subprotocol,
) -> Option<BoxFuture<()>> {
    let config = connection::Config {
        compress_level: hub.config.compression_level,
        compress_from: hub.config.compression_threshold,
        squeezed: Some(hub.metrics.squeezed.clone()),
        ..connection::Config::accepting()
    };
    let accepted = match connection::accept_as(transport, config, subprotocol).await {
        Ok(accepted) => accepted,
        Err(error) => {
            hub.metrics.refuse("handshake");
            log_handshake(&identity, &error);
            return None;
        }
    };
    if let Err((code, why)) = check(&accepted.register, &identity, &hub.config.http_only) {
        hub.metrics.refuse(if code == CloseCode::FORBIDDEN {
            "forbidden"
        } else {
            "bad_register"
        });
        tracing::warn!(remote = %identity.remote, code = code.0, reason = ?why, "plugin refused");
        accepted.refuse(code, &why, Duration::ZERO).await;
        return None;
    }
    if hub.is_draining() {
        accepted
            .refuse(CloseCode::DRAIN, "the hub is shutting down", limits::BACKOFF_MIN)
            .await;
        return None;
    }
    let register = accepted.register.clone();
    let name = register.plugin.clone();
    let way = identity.way;
    let attached = match hub
        .registry
        .attach(register.clone(), identity.remote.clone(), way)
    {
        Ok(attached) => attached,
        Err(Refused::Full) => {
            hub.metrics.refuse("too_many_plugins");
            let why = format!(
                "{} plugin names are known already; forget some with `towline plugins forget`",
                limits::HUB_PLUGINS
            );
            accepted
                .refuse(CloseCode::OVERLOADED, &why, limits::BACKOFF_MAX)
                .await;
            return None;
        }
        Err(Refused::HasLink) => {
            accepted
                .refuse(CloseCode::NORMAL, LINK_IS_THERE, Duration::ZERO)
                .await;
            return None;
        }
    };
    hub.plugin_changed(&name);
    // Detaches also when the task of this link is dropped.
    let mut session = Present {
        hub: hub.clone(),
        name: name.clone(),
        number: attached.number,
        connection: None,
        why: None,
    };
    match attached.old {
        None => {}
        // Its creates are let finish: nobody else could tell what became of them. Logs go on over the link.
        Some((old, Way::Http)) if way == Way::Link => {
            old.drain(
                CloseCode::NORMAL,
                LINK_IS_THERE,
                limits::CREATE_TIMEOUT,
                Duration::ZERO,
            );
        }
        Some((old, _)) => {
            hub.metrics.takeovers.inc();
            old.close(
                CloseCode::SUPERSEDED,
                "a newer connection of this plugin name took over",
            );
        }
    }
    let has_two_ways = hub.has_two_ways(&name);
    if has_two_ways && !super::way::is_shared(&register, way) {
        tracing::warn!(plugin = %name, "this plugin is called over HTTP too, and does not say that it looks for pods that came to it that way (feature x-towline-shared): those that it does not know will count as lost");
    }
    if attached.alarm {
        hub.metrics.takeover_alarms.inc();
        tracing::error!(plugin = %name, "two processes use this plugin name and take it from each other; give each its own name");
    }
    if let Some(declared) = small_message(&register) {
        hub.metrics.small_peers.inc();
        tracing::warn!(plugin = %name, declared, usual = limits::MAX_MESSAGE, "plugin takes small messages only; pods with ConfigMaps or Secrets may not get through to it");
    }
    if !attached.first {
        hub.metrics.reconnects.inc();
    }
    let outbox = register.outbox.unwrap_or_default();
    let mut features = in_force(&register.features, &hub.config, identity.is_local());
    if has_two_ways && register.features.iter().any(|name| name == feature::SHARED) {
        features.push(feature::SHARED.to_owned());
    }
    let events = features.iter().any(|name| name == feature::EVENTS) && outbox.epoch != 0;
    let link = Arc::new(Link {
        hub: Arc::downgrade(&hub),
        plugin: name.clone(),
        number: attached.number,
        way,
        epoch: if events { outbox.epoch } else { 0 },
        in_sync: AtomicBool::new(false),
        to_ack: Notify::new(),
    });
    // What Welcome says is an acknowledgement like any other.
    let mark = if hub.store.is_durable() && !planted::is(Bug::EarlyAck) {
        attached.kept
    } else {
        attached.applied
    };
    let applied = EventAck {
        epoch: mark.epoch,
        seq: mark.seq + u64::from(planted::is(Bug::AckBeyondApplied)),
    };
    let connection = accepted.welcome(welcome(features, &applied), link.clone() as Arc<dyn Peer>);
    session.connection = Some(connection.clone());
    let Some(route) = hub.registry.connected(&name, attached.number, connection.clone()) else {
        connection.close(
            CloseCode::SUPERSEDED,
            "a newer connection of this plugin name took over",
        );
        connection.ended().await;
        return None;
    };
    let plan = Plan {
        first_read: !events || !attached.synced || is_behind(&outbox, &applied),
        events,
        read_soon: !attached.read,
    };
    tracing::info!(plugin = %name, %way, remote = %identity.remote, %subprotocol, session = attached.number.get(), first_read = plan.first_read, "plugin connected");
    hub.count_plugins();
    hub.publish_plugin(
        &name,
        if attached.first {
            Change::Added
        } else {
            Change::Modified
        },
    );
    let admitted = Admitted {
        session,
        link,
        connection,
        route,
    };
    Some(Box::pin(admitted.run(plan)))
}

/// A link that stands.
struct Admitted {
    session: Present,
    link: Arc<Link>,
    connection: Connection,
    route: Arc<Route>,
}

impl Admitted {
    /// Keeps it in sync until it has ended. No `async fn`, which would hold all of this twice: as it was given, and as it
    /// is worked with.
    #[allow(clippy::manual_async_fn)]
    fn run(mut self, plan: Plan) -> impl Future<Output = ()> + Send {
        async move {
            let ended = {
                let mut ended = pin!(self.connection.ended());
                let mut work = pin!(async {
                    tokio::join!(
                        sync::run(&self.session.hub, &self.link, &self.route, plan),
                        self.link.acknowledge(&self.connection)
                    );
                    // Only a fenced or ended session comes here; its end follows.
                    std::future::pending::<()>().await;
                });
                // Not select!, which holds what it polls twice.
                poll_fn(|cx| {
                    let ended = ended.as_mut().poll(cx);
                    if ended.is_pending() {
                        let _ = work.as_mut().poll(cx);
                    }
                    ended
                })
                .await
            };
            let read_pauses = self.connection.stats().read_pauses;
            tracing::info!(plugin = %self.link.plugin, way = %self.link.way, code = ended.code.0, reason = ?ended.reason, by_peer = ended.by_peer, read_pauses, "plugin disconnected");
            self.session.end(ended);
        }
    }
}

/// The present session of a plugin, while this is held.
struct Present {
    hub: Arc<Hub>,
    name: String,
    number: SessionNumber,
    connection: Option<Connection>,
    why: Option<String>,
}

impl Present {
    /// Why it ends.
    fn end(&mut self, ended: Ended) {
        self.why = Some(if ended.reason.is_empty() {
            ended.code.meaning().to_owned()
        } else {
            ended.reason
        });
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            // Does nothing to one that has ended.
            connection.close(CloseCode::NORMAL, "");
        }
        let why = self.why.take().unwrap_or_else(|| "the link was dropped".into());
        if self.hub.registry.detach(&self.name, self.number, &why) {
            self.hub.plugin_changed(&self.name);
            self.hub.publish_plugin(&self.name, Change::Modified);
        }
        self.hub.count_plugins();
    }
}

/// What must be right about a Register.
fn check(register: &Register, identity: &Identity, http_only: &[String]) -> Result<(), (CloseCode, String)> {
    let violation = |text: String| Err((CloseCode::VIOLATION, text));
    if register.role() == Role::Observer {
        return violation("observers are not served on the link; use GET /api/v1/events".into());
    }
    let shown: String = register.plugin.chars().take(64).collect();
    if !interlink::is_label(&register.plugin) {
        return violation(format!(
            "plugin name {shown:?} is not an RFC 1123 label (a-z, 0-9, '-')"
        ));
    }
    if identity
        .plugin
        .as_ref()
        .is_some_and(|bound| *bound != register.plugin)
    {
        return Err((
            CloseCode::FORBIDDEN,
            format!("this credential may not be used as plugin {shown}"),
        ));
    }
    if identity.way == Way::Link && http_only.contains(&register.plugin) {
        return Err((
            CloseCode::FORBIDDEN,
            format!("hub.plugins.{shown}.transport is http: no link is taken"),
        ));
    }
    for (what, count) in [
        ("features", register.features.len()),
        ("labels", register.labels.len()),
    ] {
        if count > limits::MAX_LABELS {
            return violation(format!("{count} {what}; {} at most", limits::MAX_LABELS));
        }
    }
    let words = [
        ("type", &register.r#type),
        ("software", &register.software),
        ("instance", &register.instance),
    ];
    let features = register.features.iter().map(|text| ("features", text));
    let labels = register
        .labels
        .iter()
        .flat_map(|(key, value)| [("labels", key), ("labels", value)]);
    for (what, text) in words.into_iter().chain(features).chain(labels) {
        if text.len() > limits::REGISTER_WORD {
            return violation(format!(
                "{what}: a text of {} bytes; {} at most",
                text.len(),
                limits::REGISTER_WORD
            ));
        }
    }
    Ok(())
}

/// The message limit of a plugin that may be too small for pods. None when it is fine, or not declared.
fn small_message(register: &Register) -> Option<u64> {
    let declared = register.limits.as_ref()?.max_message_bytes;
    (declared != 0 && declared < limits::SMALL_MESSAGE).then_some(declared)
}

/// Features that are offered and known here.
fn in_force(offered: &[String], config: &HubConfig, local: bool) -> Vec<String> {
    let known = [
        (feature::FLOW_CONTROL, true),
        (feature::EVENTS, true),
        (feature::ZSTD, config.compression.is_wanted(local)),
        (feature::HTTP, config.http_passthrough),
    ];
    known
        .iter()
        .filter_map(|(name, allowed)| allowed.then_some(name))
        .filter(|name| offered.iter().any(|other| other == *name))
        .map(|name| (*name).to_owned())
        .collect()
}

fn welcome(features: Vec<String>, applied: &EventAck) -> Welcome {
    Welcome {
        session: uuid::Uuid::new_v4().to_string(),
        features,
        applied: Some(*applied),
        hub_version: concat!("towline/", env!("CARGO_PKG_VERSION")).into(),
        // Limits and timers are the session's to tell.
        ..Welcome::default()
    }
}

/// The hub does not have what the plugin believes it has.
fn is_behind(outbox: &Outbox, applied: &EventAck) -> bool {
    applied.epoch != outbox.epoch || outbox.acked_seq > applied.seq
}

fn log_handshake(identity: &Identity, error: &HandshakeError) {
    tracing::warn!(remote = %identity.remote, error = ?error.to_string(), "no plugin registered on an accepted link");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Compression;

    #[test]
    fn a_feature_is_in_force_when_both_sides_have_it_and_when_it_is_allowed() {
        let offered = ["zstd", "x-site-other", "http", "events"].map(str::to_owned);
        let all = HubConfig::default();
        assert_eq!(
            in_force(&offered, &all, false),
            [feature::EVENTS, feature::ZSTD, feature::HTTP]
        );
        let few = HubConfig {
            compression: Compression::Off,
            http_passthrough: false,
            ..HubConfig::default()
        };
        assert_eq!(in_force(&offered, &few, false), [feature::EVENTS]);
        assert_eq!(in_force(&[], &all, false), [""; 0]);
    }

    #[test]
    fn a_link_is_compressed_when_the_plugin_offers_it_and_the_hub_wants_it_there() {
        let is_on = |offers: bool, compression, local| {
            let offered = offers.then(|| feature::ZSTD.to_owned());
            let config = HubConfig {
                compression,
                ..HubConfig::default()
            };
            !in_force(offered.as_slice(), &config, local).is_empty()
        };
        for (compression, elsewhere, here) in [
            (Compression::Auto, true, false),
            (Compression::On, true, true),
            (Compression::Off, false, false),
        ] {
            assert_eq!(is_on(true, compression, false), elsewhere, "{compression:?}");
            assert_eq!(
                is_on(true, compression, true),
                here,
                "{compression:?} on loopback"
            );
            assert!(!is_on(false, compression, false), "{compression:?}, not offered");
            assert!(!is_on(false, compression, true), "{compression:?}, not offered");
        }
    }
}
