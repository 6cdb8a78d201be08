//! What a pod may ask about itself: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeMap;

use super::Site;
use crate::{
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

/// A Kubernetes quantity in thousandths of its unit.
pub(super) fn parse_millis(text: &str) -> Option<u128> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 18 || fraction.len() > 18 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let scaled = whole * scale + fraction;
    let factor: u128 = match suffix {
        "m" => return Some(scaled.div_ceil(scale)),
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    Some(scaled.checked_mul(factor)?.checked_mul(1000)?.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths() {
        assert_eq!(parse_millis("500m"), Some(500));
        assert_eq!(parse_millis("2"), Some(2000));
        assert_eq!(parse_millis("1.5"), Some(1500));
        assert_eq!(parse_millis("48Mi"), Some((48 << 20) * 1000));
        for bad in ["", "Mi", "x", "1x", "-1", "1.2.3"] {
            assert_eq!(parse_millis(bad), None, "{bad}");
        }
    }
}
