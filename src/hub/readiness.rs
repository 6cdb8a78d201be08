//! The checks of `/readyz`.

use super::{Check, Hub};
use crate::limits;

impl Hub {
    /// The checks of `/readyz`. A hub without plugins is ready: plugins come through the same listener.
    pub fn checks(&self) -> Vec<Check> {
        let draining = self.is_draining();
        let plugins = self.registry.connected_count();
        let pods = self.read_pods(|pods| pods.iter().count());
        vec![
            Check {
                name: "serving",
                ok: !draining,
                detail: if draining {
                    "shutting down"
                } else {
                    "takes links and requests"
                }
                .into(),
            },
            Check {
                name: "store",
                ok: self.store.health().is_ok(),
                detail: match self.store.health() {
                    Err(why) => format!("the state directory cannot be written: {why}"),
                    Ok(()) if self.store.is_durable() => "the state directory is written".into(),
                    Ok(()) => "none: a restart forgets (--state-dir)".into(),
                },
            },
            Check {
                name: "plugins",
                ok: true,
                detail: format!("{plugins} connected"),
            },
            Check {
                name: "pods",
                ok: pods < limits::HUB_PODS,
                detail: format!("{pods} of at most {} known", limits::HUB_PODS),
            },
            Check {
                name: "logs",
                ok: self.log_slots.available_permits() > 0,
                detail: format!(
                    "{} of {} log streams free",
                    self.log_slots.available_permits(),
                    self.config.max_log_streams()
                ),
            },
        ]
    }
}
