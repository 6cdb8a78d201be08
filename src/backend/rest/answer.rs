//! What the plugin answers, as loosely as plugins write it.
//!
//! Pure: bytes in, interLink's types out. A list of one object is that object, keys have several spellings, and what
//! is no JSON is text.

use serde_json::Value;

use crate::{
    interlink::{PingResponse, PodStatus},
    wire::{Accelerator, AcceleratorList, NodeStatus, Taint, TaintList},
};

/// The job of a create's answer; empty when the plugin does not say.
pub(super) fn job_of(body: &[u8], uid: &str) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    let answers = match value {
        Value::Array(answers) => answers,
        one => vec![one],
    };
    let ours = answers
        .iter()
        .find(|answer| text(answer, &["poduid", "uid"]) == uid)
        .or(answers.first());
    ours.map(|answer| text(answer, &["podjid", "jid", "jobid", "job_id"]))
        .unwrap_or_default()
}

/// The first field that has one of these names, whatever its case.
fn text(answer: &Value, names: &[&str]) -> String {
    let Value::Object(fields) = answer else {
        return String::new();
    };
    names
        .iter()
        .filter_map(|name| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)))
        .find_map(|(_, value)| match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

/// The pods of a status answer. One that cannot be read is no news, and does not spoil the others.
pub(super) fn statuses(body: &[u8]) -> Option<Vec<PodStatus>> {
    let items = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(items)) => items,
        Ok(one @ Value::Object(_)) => vec![one],
        Ok(Value::Null) => Vec::new(),
        _ => return None,
    };
    Some(items.into_iter().filter_map(status).collect())
}

fn status(item: Value) -> Option<PodStatus> {
    let uid = text(&item, &["uid", "poduid"]);
    let jid = text(&item, &["jid", "jobid", "podjid", "job_id"]);
    let mut fields = match item {
        Value::Object(fields) => fields,
        _ => return None,
    };
    // Known under their one name below.
    fields.retain(|key, _| {
        !["uid", "jid", "jobid"]
            .iter()
            .any(|name| key.eq_ignore_ascii_case(name))
    });
    match serde_json::from_value::<PodStatus>(Value::Object(fields)) {
        Ok(status) => Some(PodStatus { uid, jid, ..status }),
        Err(_) => {
            tracing::warn!(
                uid,
                "a pod's status of the upstream cannot be read: it is no news"
            );
            None
        }
    }
}

/// What a ping's answer says of the node. Text, a list of pods, or nothing: healthy, and no word of what it has.
pub(super) fn node(body: &[u8]) -> NodeStatus {
    let ready = NodeStatus {
        ready: true,
        ..NodeStatus::default()
    };
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(value @ Value::Object(_)) => serde_json::from_value::<PingResponse>(value).ok(),
        _ => None,
    };
    let Some(said) = said else {
        return ready;
    };
    let resources = said.resources.unwrap_or_default();
    NodeStatus {
        cpu: resources.cpu,
        memory: resources.memory,
        pods: resources.pods,
        accelerators: resources.accelerators.map(|list| AcceleratorList {
            items: list
                .into_iter()
                .filter_map(|item| {
                    Some(Accelerator {
                        available: item.available.parse().ok()?,
                        resource_type: item.resource_type,
                    })
                })
                .collect(),
        }),
        taints: said.taints.map(|list| TaintList {
            items: list
                .into_iter()
                .map(|taint| Taint {
                    key: taint.key,
                    value: taint.value,
                    effect: taint.effect,
                })
                .collect(),
        }),
        ..ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_found_in_every_spelling() {
        for body in [
            r#"{"PodUID": "u", "PodJID": "42"}"#,
            r#"[{"PodUID": "u", "PodJID": "42"}]"#,
            r#"[{"PodUID": "other", "PodJID": "1"}, {"uid": "u", "jobid": 42}]"#,
            r#"{"podUid": "u", "job_id": "42"}"#,
        ] {
            assert_eq!(job_of(body.as_bytes(), "u"), "42", "{body}");
        }
        for body in ["", "submitted", "null", "{}", "[]", r#"{"PodJID": null}"#] {
            assert_eq!(job_of(body.as_bytes(), "u"), "", "{body}");
        }
    }

    #[test]
    fn a_status_is_read_in_every_spelling_and_a_broken_one_spoils_nothing() {
        let body = br#"[{"uid": "a", "jobid": 7, "containers": null}, {"UID": "b", "containers": 3}, "x",
            {"UID": "c", "uid": "c", "JID": "9", "containers": []}]"#;
        let read = statuses(body).unwrap_or_default();
        let seen: Vec<_> = read
            .iter()
            .map(|pod| (pod.uid.as_str(), pod.jid.as_str()))
            .collect();
        assert_eq!(seen, [("a", "7"), ("c", "9")]);
        assert_eq!(statuses(br#"{"UID": "a"}"#).map(|list| list.len()), Some(1));
        assert_eq!(statuses(b"null").map(|list| list.len()), Some(0));
        assert!(statuses(b"running").is_none());
    }

    #[test]
    fn a_text_ping_is_healthy_and_a_json_one_tells_what_there_is() {
        for body in [
            &b"Apptainer plugin running"[..],
            b"[]",
            b"",
            b"null",
            b"\"alive\"",
        ] {
            assert!(node(body).ready);
        }
        let said = node(
            br#"{"status": "ok", "resources": {"cpu": 128, "memory": "512Gi", "pods": "1000",
            "accelerators": [{"resourceType": "nvidia.com/gpu", "available": "8"}]},
            "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}"#,
        );
        assert_eq!((said.cpu.as_str(), said.pods.as_str()), ("128", "1000"));
        assert_eq!(said.accelerators.map(|list| list.items[0].available), Some(8));
        assert_eq!(said.taints.map(|list| list.items.len()), Some(1));
        assert!(node(b"{\"status\": \"ok\"}").taints.is_none());
    }
}
