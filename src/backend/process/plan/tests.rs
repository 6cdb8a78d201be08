#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;

const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

fn read(payload: &Value) -> Result<Plan, Status> {
    let pod = PodRef::new(UID, "ns", "pod-1");
    let site = Site {
        cpu_millis: 4000,
        memory: 8 << 30,
        pods: "/state/pods".into(),
    };
    Plan::read(&pod, payload.to_string().as_bytes(), &site)
}

/// The plan of a pod with this spec and nothing delivered.
pub(crate) fn plan_of(spec: Value) -> Result<Plan, Status> {
    read(&json!({"pod": {"metadata": {"name": "pod-1", "uid": UID}, "spec": spec}}))
}

fn with_maps(spec: Value) -> Result<Plan, Status> {
    read(&json!({
        "pod": {
            "metadata": {"name": "pod-1", "namespace": "ns", "uid": UID, "labels": {"app": "demo"},
                "annotations": {"note": "hi"}},
            "spec": spec
        },
        "container": [{
            "name": "main",
            "configMaps": [{"metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}, "binaryData": {"bin": "AAE="}}],
            "secrets": [{"metadata": {"name": "sec"}, "data": {"key": "czNjcjN0"}}],
            "projectedvolumemaps": [{"metadata": {"name": "api"}, "data": {"token": "tok", "ca.crt": "ca"}}],
            "emptyDirs": null
        }]
    }))
}

fn refusal(plan: Result<Plan, Status>) -> String {
    let status = plan.err().unwrap();
    assert!(status.not_started);
    assert_eq!(
        (status.kind(), status.reason.as_str()),
        (Code::FailedPrecondition, "BAD_POD"),
        "{status}"
    );
    status.message
}

fn env_of<'a>(plan: &'a Plan, name: &str) -> Option<&'a str> {
    env::lookup(&plan.containers[0].env, name)
}

fn file(plan: &Plan, path: &str) -> (String, u32) {
    let file = plan.volumes[0]
        .files
        .iter()
        .find(|file| file.path == path)
        .unwrap();
    (String::from_utf8_lossy(&file.bytes).into_owned(), file.mode)
}

#[test]
fn a_container_without_command_is_refused_with_the_fix() {
    let text = refusal(plan_of(
        json!({"containers": [{"name": "web", "image": "nginx"}]}),
    ));
    assert!(
        text.contains("container web has no command") && text.contains("set `command`"),
        "{text}"
    );
}

#[test]
fn the_environment_is_clean_and_expanded_in_order() {
    let plan = with_maps(json!({"nodeName": "n1", "containers": [{
        "name": "main", "command": ["sh", "$(A)"], "args": ["$(LATE) $$(A) $(NONE)", "$(TOWLINE_VOLUMES)"],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "no", "optional": true}}],
        "env": [
            {"name": "A", "value": "x$(P_a)$(LATE)"},
            {"name": "LATE", "value": "$(A)!"},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "key"}}},
            {"name": "OPT", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "zz", "optional": true}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
        ],
        "resources": {"limits": {"memory": "48Mi"}}
    }]}))
    .unwrap();
    let expected = [
        ("HOSTNAME", "pod-1"),
        ("P_a", "1"),
        ("A", "x1$(LATE)"),
        ("LATE", "x1$(LATE)!"),
        ("S", "s3cr3t"),
        ("APP", "demo"),
        ("NOTE", "hi"),
        ("NODE", "n1"),
        ("MEM", "48"),
        ("CPU", "4"),
    ];
    for (name, value) in expected {
        assert_eq!(env_of(&plan, name), Some(value), "{name}");
    }
    assert_eq!(env_of(&plan, "OPT"), None);
    assert_eq!(env_of(&plan, "CARGO_MANIFEST_DIR"), None);
    let volumes = format!("/state/pods/{UID}/volumes");
    assert_eq!(
        plan.containers[0].argv,
        ["sh", "x1$(LATE)", "x1$(LATE)! $(A) $(NONE)", volumes.as_str()]
    );
}

#[test]
fn a_missing_source_is_refused_unless_optional() {
    let spec = |env: Value, from: Value| json!({"containers": [{"name": "main", "command": ["x"], "env": env, "envFrom": from}]});
    let key = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "zz"}}}]);
    assert!(refusal(with_maps(spec(key, json!([])))).contains("key zz of ConfigMap cm"));
    let from = json!([{"secretRef": {"name": "gone"}}]);
    assert!(refusal(with_maps(spec(json!([]), from))).contains("Secret gone"));
}

fn mounted(volume: Value, mount: Value) -> Result<Plan, Status> {
    let mut volume = volume;
    volume["name"] = json!(volume.get("name").and_then(Value::as_str).unwrap_or("v"));
    let mut first = json!({"name": volume["name"], "mountPath": "/mnt/v"});
    for (key, value) in mount.as_object().unwrap() {
        first[key] = value.clone();
    }
    with_maps(json!({"volumes": [volume], "containers": [
        {"name": "main", "command": ["x"], "env": [{"name": "E", "value": "deep"}], "volumeMounts": [first]}]}))
}

#[test]
fn a_config_map_becomes_files_with_modes_and_items() {
    let plan = mounted(json!({"configMap": {"name": "cm"}}), json!({})).unwrap();
    assert_eq!(plan.volumes[0].files.len(), 3);
    assert_eq!(file(&plan, "bin"), ("\0\u{1}".to_owned(), 0o644));
    let items = json!([{"key": "a", "path": "deep/er", "mode": 256}, {"key": "b", "path": "b"}]);
    let plan = mounted(
        json!({"configMap": {"name": "cm", "defaultMode": 493, "items": items}}),
        json!({}),
    )
    .unwrap();
    assert_eq!(file(&plan, "deep/er"), ("1".to_owned(), 0o400));
    assert_eq!(file(&plan, "b"), ("2".to_owned(), 0o755));
    assert!(plan.containers[0].mounts[0].read_only);
}

#[test]
fn secrets_have_the_usual_mode_and_projected_volumes_are_joined() {
    let plan = mounted(json!({"secret": {"secretName": "sec"}}), json!({})).unwrap();
    assert_eq!(file(&plan, "key"), ("s3cr3t".to_owned(), 0o644));
    let sources = json!([
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"configMap": {"name": "kube-root-ca.crt"}}
    ]);
    let plan = mounted(
        json!({"name": "api", "projected": {"sources": sources}}),
        json!({}),
    )
    .unwrap();
    assert_eq!(file(&plan, "token"), ("tok".to_owned(), 0o644));
    assert_eq!(file(&plan, "ca.crt"), ("ca".to_owned(), 0o644));
    assert_eq!(file(&plan, "labels"), ("app=\"demo\"".to_owned(), 0o644));
}

#[test]
fn what_a_mounted_volume_lacks_is_refused_by_name() {
    let cases = [
        (
            json!({"configMap": {"name": "gone"}}),
            json!({}),
            "ConfigMap gone did not come",
        ),
        (
            json!({"secret": {"secretName": "gone"}}),
            json!({}),
            "Secret gone did not come",
        ),
        (
            json!({"hostPath": {"path": "/"}}),
            json!({}),
            "kind hostPath is not supported",
        ),
        (
            json!({"nfs": {"server": "x"}}),
            json!({}),
            "kind nfs is not supported",
        ),
        (
            json!({"configMap": {"name": "cm", "items": [{"key": "a", "path": "../x"}]}}),
            json!({}),
            "'..'",
        ),
        (
            json!({"configMap": {"name": "cm", "items": [{"key": "zz", "path": "x"}]}}),
            json!({}),
            "no key zz",
        ),
        (
            json!({"configMap": {"name": "cm"}}),
            json!({"subPath": "zz"}),
            "the volume has no \"zz\"",
        ),
        (json!({"emptyDir": {}}), json!({"subPath": "../x"}), "'..'"),
        (
            json!({"emptyDir": {}}),
            json!({"mountPath": "relative"}),
            "must be absolute",
        ),
        (
            json!({"emptyDir": {}}),
            json!({"name": "other"}),
            "no such volume",
        ),
        (json!({"name": "../v", "emptyDir": {}}), json!({}), "RFC 1123"),
    ];
    for (volume, mount, expected) in cases {
        let text = refusal(mounted(volume, mount));
        assert!(text.contains(expected), "{text}");
    }
    let optional = mounted(
        json!({"configMap": {"name": "gone", "optional": true}}),
        json!({}),
    )
    .unwrap();
    assert!(optional.volumes[0].files.is_empty());
}

#[test]
fn sub_path_expr_is_expanded_and_then_checked() {
    let plan = mounted(json!({"emptyDir": {}}), json!({"subPathExpr": "$(E)/x"})).unwrap();
    assert_eq!(plan.containers[0].mounts[0].sub_path, "deep/x");
    assert!(
        refusal(mounted(
            json!({"emptyDir": {}}),
            json!({"subPathExpr": "../$(E)"})
        ))
        .contains("'..'")
    );
}

#[test]
fn two_mounts_at_one_path_are_refused() {
    let text = refusal(plan_of(
        json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [
        {"name": "main", "command": ["x"], "volumeMounts": [
            {"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a/"}]}]}),
    ));
    assert!(text.contains("another volume is mounted there"), "{text}");
}

#[test]
fn an_unmounted_volume_of_any_kind_is_let_be() {
    let spec = json!({"volumes": [{"name": "v", "nfs": {}}, {"name": "w", "configMap": {"name": "cm"}}],
        "containers": [{"name": "main", "command": ["x"]}]});
    let plan = with_maps(spec).unwrap();
    assert_eq!((plan.volumes.len(), plan.volumes[0].name.as_str()), (1, "w"));
}

#[test]
fn hooks_are_commands_and_sidecars_are_init_containers_that_always_restart() {
    let plan = plan_of(json!({
        "initContainers": [{"name": "side", "command": ["x"], "restartPolicy": "Always"}],
        "containers": [{"name": "main", "command": ["x"], "lifecycle": {
            "postStart": {"exec": {"command": ["hello"]}}, "preStop": {"sleep": {"seconds": 3}}}}]}))
    .unwrap();
    assert_eq!(plan.containers[0].kind, Kind::Sidecar);
    assert_eq!(
        plan.containers[1].post_start.as_deref(),
        Some(&["hello".to_owned()][..])
    );
    assert_eq!(
        plan.containers[1].pre_stop.as_deref(),
        Some(&["sleep".to_owned(), "3".to_owned()][..])
    );
    let http = json!({"containers": [{"name": "main", "command": ["x"],
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}}}]});
    assert!(refusal(plan_of(http)).contains("use exec"));
}

#[test]
fn a_log_is_of_the_named_or_the_first_main_container() {
    let plan = plan_of(json!({"initContainers": [{"name": "i", "command": ["x"]}],
        "containers": [{"name": "a", "command": ["x"]}, {"name": "b", "command": ["x"]}]}))
    .unwrap();
    assert_eq!(plan.log_of("").unwrap(), "a");
    assert_eq!(plan.log_of("i").unwrap(), "i");
    assert!(plan.log_of("z").unwrap_err().message.contains("it has i, a, b"));
}

#[test]
fn broken_payloads_are_refused_without_quoting_them() {
    let pod = PodRef::new(UID, "ns", "pod-1");
    let site = Site {
        cpu_millis: 1,
        memory: 1,
        pods: "/s".into(),
    };
    for bad in [
        "",
        "{",
        "[]",
        r#"{"pod": 3}"#,
        r#"{"pod": {"spec": {"containers": "s3cr3t"}}}"#,
    ] {
        let status = Plan::read(&pod, bad.as_bytes(), &site).err().unwrap();
        assert!(!status.message.contains("s3cr3t"), "{status}");
    }
}
