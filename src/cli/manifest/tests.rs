#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const FILE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello, "bad key": x}
binaryData: {raw: "/wA="}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: not-used}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: s3cret}
data: {user: bWU=}
---
apiVersion: v1
kind: Pod
metadata: {name: demo, labels: {app: x}}
spec:
  containers:
  - name: main
    command: [/bin/sh]
    envFrom:
    - {prefix: P_, configMapRef: {name: settings}}
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: login, key: password}}}
    - {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: MAYBE, valueFrom: {configMapKeyRef: {name: nowhere, key: k, optional: true}}}
  volumes:
  - name: both
    projected:
      defaultMode: 0640
      sources:
      - configMap: {name: settings, items: [{key: greeting, path: sub/greeting.txt}, {key: raw, path: raw}]}
      - secret: {name: login}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
"#;

fn defaults() -> Defaults {
    Defaults {
        namespace: None,
        now: "2026-09-01T10:00:00Z".to_owned(),
        uid: || "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11".to_owned(),
    }
}

fn requests(text: &str) -> Result<Vec<CreateRequest>, ManifestError> {
    let mut manifests = Manifests::default();
    manifests.add("f.yaml", text)?;
    manifests.requests(&defaults())
}

fn error(text: &str) -> String {
    requests(text).unwrap_err().to_string()
}

#[test]
fn a_pod_gets_what_a_cluster_would_give_it() {
    let request = requests(FILE).unwrap().remove(0);
    let metadata = &request.body["pod"]["metadata"];
    assert_eq!(
        (request.namespace.as_str(), request.name.as_str()),
        ("default", "demo")
    );
    assert_eq!(metadata["uid"], "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11");
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["creationTimestamp"], "2026-09-01T10:00:00Z");
    assert_eq!(
        request.body["pod"]["spec"]["volumes"][0]["projected"]["defaultMode"],
        0o640
    );
}

#[test]
fn only_the_objects_that_the_pod_refers_to_are_sent() {
    let body = requests(FILE).unwrap().remove(0).body;
    let names = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|o| o["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&body["configmaps"]), ["settings"]);
    assert_eq!(names(&body["secrets"]), ["login"]);
    assert_eq!(names(&body["projectedvolumesmaps"]), ["both"]);
    assert_eq!(
        body["secrets"][0]["data"],
        json!({"user": "bWU=", "password": "czNjcmV0"})
    );
    assert!(body["secrets"][0].get("stringData").is_none());
}

#[test]
fn a_projected_volume_is_one_config_map_of_its_files() {
    let body = requests(FILE).unwrap().remove(0).body;
    let map = &body["projectedvolumesmaps"][0];
    assert_eq!(
        map["data"],
        json!({"sub/greeting.txt": "hello", "password": "s3cret", "user": "me", "labels": "app=\"x\""})
    );
    assert_eq!(map["binaryData"], json!({"raw": "/wA="}));
}

#[test]
fn the_environment_is_resolved_as_far_as_it_is_known() {
    let body = requests(FILE).unwrap().remove(0).body;
    let container = &body["pod"]["spec"]["containers"][0];
    assert!(container.get("envFrom").is_none());
    assert_eq!(
        container["env"],
        json!([
            {"name": "P_greeting", "value": "hello"},
            {"name": "PASSWORD", "value": "s3cret"},
            {"name": "ME", "value": "demo"},
            {"name": "APP", "value": "x"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ])
    );
}

#[test]
fn json_and_lists_are_read_too() {
    let pod = json!({"kind": "Pod", "metadata": {"name": "a", "uid": "u"}, "spec": {"containers": [{"name": "c"}]}});
    let text = format!("{pod}\n{}", json!({"kind": "List", "items": [pod]}));
    let requests = requests(&text).unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].uid, "u");
    assert_eq!(requests[1].place, "f.yaml: document 2, item 1");
}

#[test]
fn yaml_may_begin_with_a_brace_and_what_is_neither_is_told_as_json() {
    let flow = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}";
    assert_eq!(read::objects("f", flow).unwrap().len(), 1);
    let neither = read::objects("f", "{\"kind\": ").unwrap_err().to_string();
    assert!(neither.contains("line 1 column"), "{neither}");
}

#[test]
fn errors_name_the_file_and_the_document() {
    let service = "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n---\nkind: Service\nmetadata: {name: b}";
    assert!(
        error(service).starts_with("f.yaml: document 2: kind Service"),
        "{}",
        error(service)
    );
    assert!(error("kind: Pod\nmetadata: {}\nspec: {}").contains("metadata.name is missing"));
    assert!(error("kind: Pod\nmetadata: {name: A_b}").contains("not a DNS name"));
    assert!(error("kind: Pod\nmetadata: {name: a}").contains("spec.containers"));
    assert!(error("just text").contains("document 1: not an object"));
    assert!(error("# nothing").contains("has no objects"));
    let unclosed = error("kind: [Pod\npassword: s3cret");
    assert!(
        unclosed.contains("line") && !unclosed.contains("s3cret"),
        "{unclosed}"
    );
}

#[test]
fn a_missing_config_map_is_told_before_anything_is_sent() {
    let text = "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}], volumes: [{name: v, configMap: {name: gone}}]}";
    assert!(error(text).contains("refers to ConfigMap gone in namespace default"));
    assert!(requests(&text.replace("name: gone", "name: gone, optional: true")).is_ok());
}

#[test]
fn a_namespace_on_the_command_line_must_agree() {
    let mut manifests = Manifests::default();
    manifests
        .add(
            "f",
            "kind: Pod\nmetadata: {name: a, namespace: x}\nspec: {containers: [{name: c}]}",
        )
        .unwrap();
    let other = Defaults {
        namespace: Some("y".to_owned()),
        ..defaults()
    };
    assert!(
        manifests
            .requests(&other)
            .unwrap_err()
            .to_string()
            .contains("-n says y")
    );
    assert_eq!(manifests.requests(&defaults()).unwrap()[0].namespace, "x");
}
