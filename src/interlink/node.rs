//! The answer to a ping: what a node has, small and stable, because the virtual kubelet copies it into an
//! annotation.

use serde::{Deserialize, Serialize};

use super::lenient;
use crate::wire::NodeStatus;

/// POST /pinglink's answer. Everything is optional; an absent list leaves the node's as it is, an empty one
/// clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PingResponse {
    /// A word for people.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<PingResources>,
    /// Taints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<PingTaint>>,
}

/// Capacity, in Kubernetes quantities; empty means not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PingResources {
    /// For example 64 or 3500m.
    #[serde(
        deserialize_with = "lenient::quantity",
        skip_serializing_if = "String::is_empty"
    )]
    pub cpu: String,
    /// For example 256Gi.
    #[serde(
        deserialize_with = "lenient::quantity",
        skip_serializing_if = "String::is_empty"
    )]
    pub memory: String,
    /// How many pods.
    #[serde(
        deserialize_with = "lenient::quantity",
        skip_serializing_if = "String::is_empty"
    )]
    pub pods: String,
    /// Devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerators: Option<Vec<PingAccelerator>>,
}

/// One kind of device.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PingAccelerator {
    /// Kubernetes resource name.
    #[serde(deserialize_with = "lenient::null")]
    pub resource_type: String,
    /// How many, as a quantity.
    #[serde(deserialize_with = "lenient::quantity")]
    pub available: String,
}

/// A node taint.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct PingTaint {
    /// Key.
    #[serde(deserialize_with = "lenient::null")]
    pub key: String,
    /// Value; may be empty.
    #[serde(deserialize_with = "lenient::null")]
    pub value: String,
    /// NoSchedule, PreferNoSchedule or NoExecute.
    #[serde(deserialize_with = "lenient::null")]
    pub effect: String,
}

impl From<&NodeStatus> for PingResponse {
    fn from(node: &NodeStatus) -> Self {
        let accelerators = node.accelerators.as_ref().map(|list| {
            let one = |item: &crate::wire::Accelerator| PingAccelerator {
                resource_type: item.resource_type.clone(),
                available: item.available.to_string(),
            };
            sorted(list.items.iter().map(one))
        });
        let resources = PingResources {
            cpu: node.cpu.clone(),
            memory: node.memory.clone(),
            pods: node.pods.clone(),
            accelerators,
        };
        let taints = node.taints.as_ref().map(|list| {
            let one = |item: &crate::wire::Taint| PingTaint {
                key: item.key.clone(),
                value: item.value.clone(),
                effect: item.effect.clone(),
            };
            sorted(list.items.iter().map(one))
        });
        Self {
            status: if node.ready { "ok" } else { "not ready" }.to_owned(),
            resources: (resources != PingResources::default()).then_some(resources),
            taints,
        }
    }
}

/// The order must not change from ping to ping.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::wire::{Accelerator, AcceleratorList, Taint, TaintList};

    fn gpu(name: &str, available: u64) -> Accelerator {
        Accelerator {
            resource_type: name.to_owned(),
            available,
        }
    }

    #[test]
    fn an_absent_list_is_not_an_empty_one() {
        let silent = NodeStatus {
            ready: true,
            ..Default::default()
        };
        assert_eq!(
            serde_json::to_value(PingResponse::from(&silent)).unwrap(),
            json!({"status": "ok"})
        );
        let none = NodeStatus {
            ready: true,
            accelerators: Some(AcceleratorList::default()),
            taints: Some(TaintList::default()),
            ..Default::default()
        };
        assert_eq!(
            serde_json::to_value(PingResponse::from(&none)).unwrap(),
            json!({"status": "ok", "resources": {"accelerators": []}, "taints": []})
        );
    }

    #[test]
    fn the_answer_has_interlinks_shape_and_a_stable_order() {
        let taint = Taint {
            key: "site/slow".into(),
            value: "true".into(),
            effect: "NoSchedule".into(),
        };
        let mut node = NodeStatus {
            ready: true,
            cpu: "64".into(),
            memory: "256Gi".into(),
            pods: "100".into(),
            accelerators: Some(AcceleratorList {
                items: vec![gpu("b/gpu", 2), gpu("a/gpu", 4)],
            }),
            taints: Some(TaintList { items: vec![taint] }),
            ..Default::default()
        };
        let first = serde_json::to_string(&PingResponse::from(&node)).unwrap();
        assert_eq!(
            first,
            concat!(
                r#"{"status":"ok","resources":{"cpu":"64","memory":"256Gi","pods":"100","accelerators":["#,
                r#"{"resourceType":"a/gpu","available":"4"},{"resourceType":"b/gpu","available":"2"}]},"#,
                r#""taints":[{"key":"site/slow","value":"true","effect":"NoSchedule"}]}"#
            )
        );
        node.accelerators.as_mut().unwrap().items.reverse();
        assert_eq!(serde_json::to_string(&PingResponse::from(&node)).unwrap(), first);
    }

    #[test]
    fn a_plugins_own_answer_is_read_with_numbers_too() {
        let read: PingResponse = serde_json::from_value(json!({"status": "ok", "resources": {"cpu": 128,
            "accelerators": [{"resourceType": "nvidia.com/gpu", "available": 8}]}, "taints": null}))
        .unwrap();
        let resources = read.resources.unwrap();
        assert_eq!(resources.cpu, "128");
        assert_eq!(resources.accelerators.unwrap()[0].available, "8");
        assert_eq!(read.taints, None);
    }
}
