//! The fields of a pod that a process cannot have: which are refused, and which are told and then ignored. The table
//! for people is in docs/PROCESS_BACKEND.md.

use serde_json::Value;

use super::ContainerPlan;
use crate::{
    backend::process::{names, termination::Termination},
    interlink::Pod,
};

/// Where a container says why it ended, when the pod does not say where.
const TERMINATION_PATH: &str = "/dev/termination-log";

/// As whom containers run: the plugin's own user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    /// User id.
    pub(crate) uid: u64,
    /// Group id.
    pub(crate) gid: u64,
}

/// Fields of the spec that have no effect, when they are there and not empty.
const OF_POD: [&str; 11] = [
    "dnsConfig",
    "ephemeralContainers",
    "hostAliases",
    "hostUsers",
    "imagePullSecrets",
    "readinessGates",
    "resources",
    "runtimeClassName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
];
/// The same of a container.
const OF_CONTAINER: [&str; 8] = [
    "livenessProbe",
    "readinessProbe",
    "resizePolicy",
    "restartPolicyRules",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "tty",
];
/// Of a securityContext, what [`check`] looks at itself.
const HEEDED: [&str; 4] = [
    "allowPrivilegeEscalation",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
];

/// The containers as they came, beside [`crate::interlink::Container`].
pub(super) fn raw<'a>(pod: &'a Pod, list: &str) -> &'a [Value] {
    pod.json()["spec"][list].as_array().map_or(&[], Vec::as_slice)
}

/// Takes over what the typed container does not have.
pub(super) fn add(plan: &mut ContainerPlan, raw: &Value) -> Result<(), String> {
    plan.no_new_privileges = raw["securityContext"]["allowPrivilegeEscalation"] == false;
    plan.termination = Termination {
        or_log: raw["terminationMessagePolicy"] == "FallbackToLogsOnError",
    };
    let path = raw["terminationMessagePath"]
        .as_str()
        .filter(|path| !path.is_empty())
        .unwrap_or(TERMINATION_PATH);
    names::check_target(path)
        .map_err(|wrong| format!("container {}: terminationMessagePath {path:?} {wrong}", plan.name))?;
    plan.termination_path = path.trim_end_matches('/').to_owned();
    Ok(())
}

/// What of a pod has no effect here.
pub(super) fn check(pod: &Value, user: User) -> Result<Vec<String>, String> {
    let spec = &pod["spec"];
    if spec["os"]["name"].as_str().is_some_and(|name| name != "linux") {
        return Err("spec.os: this plugin runs Linux processes".to_owned());
    }
    let mut ignored: Vec<String> = OF_POD
        .iter()
        .filter(|field| says_something(&spec[**field]))
        .map(|field| format!("spec.{field}"))
        .collect();
    ignored.extend(ignored_of_security("spec", &spec["securityContext"]));
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            check_user(
                name,
                &spec["securityContext"],
                &container["securityContext"],
                user,
                &mut ignored,
            )?;
            check_devices(name, container)?;
            ignored.extend(
                OF_CONTAINER
                    .iter()
                    .filter(|field| says_something(&container[**field]))
                    .map(|field| format!("{name}.{field}")),
            );
            if says_something(&container["lifecycle"]["stopSignal"])
                && container["lifecycle"]["stopSignal"] != "SIGTERM"
            {
                ignored.push(format!("{name}.lifecycle.stopSignal"));
            }
            ignored.extend(ignored_of_security(name, &container["securityContext"]));
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        for field in ["medium", "sizeLimit"] {
            if says_something(&volume["emptyDir"][field]) {
                let name = volume["name"].as_str().unwrap_or_default();
                ignored.push(format!("volume {name}.emptyDir.{field}"));
            }
        }
    }
    Ok(ignored)
}

/// Containers run as the plugin's user. A user that the pod asks for in vain is told; where the plugin is root that
/// would give it rights that it gave up, so it is refused.
fn check_user(
    name: &str,
    of_pod: &Value,
    own: &Value,
    user: User,
    ignored: &mut Vec<String>,
) -> Result<(), String> {
    let asked = |field: &str| match &own[field] {
        Value::Null => &of_pod[field],
        own => own,
    };
    let is_root = user.uid == 0;
    if is_root && asked("runAsNonRoot") == true {
        return Err(format!(
            "container {name}: runAsNonRoot, but containers run as the plugin's user, which is root; run the \
             plugin as another user"
        ));
    }
    for (field, has) in [("runAsUser", user.uid), ("runAsGroup", user.gid)] {
        match asked(field).as_u64() {
            Some(id) if id != has && is_root => {
                return Err(format!(
                    "container {name}: {field} {id}, but containers run as the plugin's user, which is root \
                     ({field} {has}); run the plugin as that user, or leave {field} out"
                ));
            }
            Some(id) if id != has => ignored.push(format!("{name}.securityContext.{field}")),
            _ => {}
        }
    }
    Ok(())
}

fn check_devices(name: &str, container: &Value) -> Result<(), String> {
    for (field, value) in [
        ("volumeDevices", &container["volumeDevices"]),
        ("resources.claims", &container["resources"]["claims"]),
    ] {
        if says_something(value) {
            return Err(format!(
                "container {name}: {field} is not supported: a process sees the devices of this machine, and is \
                 given none"
            ));
        }
    }
    Ok(())
}

fn ignored_of_security(owner: &str, context: &Value) -> Vec<String> {
    let fields = context.as_object().into_iter().flatten();
    fields
        .filter(|(field, value)| !HEEDED.contains(&field.as_str()) && says_something(value))
        .map(|(field, _)| format!("{owner}.securityContext.{field}"))
        .collect()
}

/// False for what is as good as absent.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const ROOT: User = User { uid: 0, gid: 0 };
    const ALICE: User = User { uid: 501, gid: 100 };

    fn container(fields: Value) -> Value {
        let mut container = json!({"name": "main", "command": ["x"]});
        for (key, value) in fields.as_object().unwrap() {
            container[key] = value.clone();
        }
        json!({"spec": {"containers": [container]}})
    }

    #[test]
    fn a_plain_pod_has_nothing_that_is_ignored() {
        let pod = json!({"spec": {"securityContext": {}, "hostAliases": null, "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "main", "tty": false, "resources": {"limits": {"cpu": "1"}},
                "securityContext": {"runAsUser": 501, "allowPrivilegeEscalation": false, "privileged": false}}]}});
        assert!(check(&pod, ALICE).unwrap().is_empty());
    }

    #[test]
    fn what_has_no_effect_is_told_by_its_field() {
        let pod = json!({"spec": {
            "hostAliases": [{"ip": "1.2.3.4"}], "securityContext": {"fsGroup": 5, "runAsUser": 7},
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{"name": "main", "livenessProbe": {"exec": {}}, "lifecycle": {"stopSignal": "SIGINT"},
                "securityContext": {"readOnlyRootFilesystem": true}}]}});
        let expected = [
            "spec.hostAliases",
            "spec.securityContext.fsGroup",
            "main.securityContext.runAsUser",
            "main.livenessProbe",
            "main.lifecycle.stopSignal",
            "main.securityContext.readOnlyRootFilesystem",
            "volume v.emptyDir.sizeLimit",
        ];
        assert_eq!(check(&pod, ALICE).unwrap(), expected);
    }

    #[test]
    fn a_user_that_root_cannot_give_is_refused_and_the_container_overrules_the_pod() {
        let pod = container(json!({"securityContext": {"runAsUser": 1000}}));
        let text = check(&pod, ROOT).unwrap_err();
        assert!(text.contains("container main: runAsUser 1000"), "{text}");
        let pod = container(json!({"securityContext": {"runAsNonRoot": true}}));
        assert!(check(&pod, ROOT).unwrap_err().contains("runAsNonRoot"));
        assert!(check(&pod, ALICE).unwrap().is_empty());
        let mut pod = container(json!({"securityContext": {"runAsUser": 0, "runAsNonRoot": false}}));
        pod["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsNonRoot": true});
        assert!(check(&pod, ROOT).unwrap().is_empty());
    }

    #[test]
    fn what_a_process_cannot_be_given_is_refused() {
        for (fields, word) in [
            (json!({"volumeDevices": [{"name": "d"}]}), "volumeDevices"),
            (
                json!({"resources": {"claims": [{"name": "gpu"}]}}),
                "resources.claims",
            ),
        ] {
            let text = check(&container(fields), ALICE).unwrap_err();
            assert!(text.contains(word), "{text}");
        }
        let windows = json!({"spec": {"os": {"name": "windows"}, "containers": []}});
        assert!(check(&windows, ALICE).unwrap_err().contains("spec.os"));
    }
}
