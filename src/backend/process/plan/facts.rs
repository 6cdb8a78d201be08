//! What a pod may ask about itself: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeMap;

use super::Site;
use crate::{
    backend::process::quantity::parse_millis,
    interlink::{Container, Pod, ResourceFieldRef},
    wire::PodRef,
};

/// The pod, as it may ask about itself.
pub(super) struct Facts<'a> {
    pub(super) pod: &'a PodRef,
    pub(super) manifest: &'a Pod,
    pub(super) site: &'a Site,
}

impl Facts<'_> {
    /// `spec.hostname`, or the pod's name.
    pub(super) fn hostname(&self) -> &str {
        match self.manifest.spec().hostname.as_str() {
            "" => &self.pod.name,
            hostname => hostname,
        }
    }

    /// The value of a `fieldPath`, or none when it is not supported.
    pub(super) fn field(&self, path: &str) -> Option<String> {
        let meta = self.manifest.metadata();
        let spec = self.manifest.spec();
        let address = |key: &str| {
            let said = self
                .manifest
                .json()
                .get("status")
                .and_then(|status| status.get(key)?.as_str());
            said.filter(|ip| !ip.is_empty()).unwrap_or("127.0.0.1").to_owned()
        };
        Some(match path {
            "metadata.name" => self.pod.name.clone(),
            "metadata.namespace" => self.pod.namespace.clone(),
            "metadata.uid" => self.pod.uid.clone(),
            "metadata.labels" => lines(&meta.labels),
            "metadata.annotations" => lines(&meta.annotations),
            "spec.nodeName" => spec.node_name.clone(),
            "spec.serviceAccountName" if spec.service_account_name.is_empty() => "default".to_owned(),
            "spec.serviceAccountName" => spec.service_account_name.clone(),
            "status.podIP" | "status.podIPs" => address("podIP"),
            "status.hostIP" | "status.hostIPs" => address("hostIP"),
            _ => {
                let (map, rest) = match path.strip_prefix("metadata.labels['") {
                    Some(rest) => (&meta.labels, rest),
                    None => (&meta.annotations, path.strip_prefix("metadata.annotations['")?),
                };
                map.get(rest.strip_suffix("']")?).cloned().unwrap_or_default()
            }
        })
    }

    /// The value of a `resourceFieldRef` seen from `container`; what it does not limit is the node's.
    pub(super) fn resource(
        &self,
        wanted: &ResourceFieldRef,
        container: &Container,
    ) -> Result<String, String> {
        let spec = self.manifest.spec();
        let container = if wanted.container_name.is_empty() {
            container
        } else {
            let mut all = spec.containers.iter().chain(&spec.init_containers);
            all.find(|other| other.name == wanted.container_name)
                .ok_or_else(|| format!("there is no container {}", wanted.container_name))?
        };
        let (kind, name) = wanted
            .resource
            .split_once('.')
            .filter(|(kind, _)| matches!(*kind, "limits" | "requests"))
            .ok_or_else(|| {
                format!(
                    "resource {:?} must be limits.NAME or requests.NAME",
                    wanted.resource
                )
            })?;
        let limits = container.resources.limits.get(name);
        let said = match kind {
            "requests" => container.resources.requests.get(name).or(limits),
            _ => limits,
        };
        let millis = match said {
            Some(quantity) => {
                parse_millis(quantity).ok_or_else(|| format!("{quantity:?} is not a quantity"))?
            }
            None => match (kind, name) {
                ("limits", "cpu") => u128::from(self.site.cpu_millis),
                ("limits", "memory") => u128::from(self.site.memory) * 1000,
                _ => 0,
            },
        };
        let divisor = match wanted.divisor.as_str() {
            "" | "0" => 1000,
            text => parse_millis(text)
                .filter(|d| *d > 0)
                .ok_or_else(|| format!("divisor {text:?} is not a quantity"))?,
        };
        Ok(millis.div_ceil(divisor).to_string())
    }
}

/// As the downward API writes labels: one `key="value"` a line.
fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}
