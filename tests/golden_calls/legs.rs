//! Four legs: a plugin with a binary link, one with a JSON link, a REST plugin behind a bridge with a link, and one that the
//! hub calls over HTTP. What the virtual kubelet asks is answered alike over all, for every sample.

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use towline::{
    plugin::{CancellationToken, Plugin, PluginConfig},
    wire::Subprotocol,
};

use super::script::{Native, Script, json_of, sample};
use crate::site::{HubProcess, Link};

#[derive(Debug, Clone, Copy)]
enum Leg {
    Binary,
    Json,
    Bridge,
    Http,
}

/// What keeps a plugin there.
enum Plugged {
    Native {
        _stop: CancellationToken,
        _running: JoinHandle<()>,
    },
    Bridge {
        _link: Link,
        _served: JoinHandle<()>,
    },
    Http {
        _served: JoinHandle<()>,
    },
}

struct Asking {
    hub: HubProcess,
    answers: Vec<(String, u16, String)>,
}

impl Asking {
    async fn ask(&mut self, what: &str, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (code, text) = self.hub.ask(method, path, body).await;
        self.answers.push((what.to_owned(), code, text.clone()));
        (code, text)
    }

    /// Waits until the answer has this word, and keeps it.
    async fn until(&mut self, what: &str, path: &str, body: &Value, word: &str) {
        let method = if path == "/status" { "GET" } else { "POST" };
        let hub = &self.hub;
        hub.until(word, async || hub.ask(method, path, body).await.1.contains(word))
            .await;
        self.ask(what, method, path, body).await;
    }
}

async fn plug(
    leg: Leg,
    hub: &HubProcess,
    script: &std::sync::Arc<Script>,
    upstream: (String, JoinHandle<()>),
    dir: &std::path::Path,
) -> Plugged {
    let (address, served) = upstream;
    let codec = match leg {
        Leg::Binary => Subprotocol::Proto,
        Leg::Json => Subprotocol::Json,
        Leg::Bridge => {
            let link = Link::start(hub, &address, dir, false).await;
            return Plugged::Bridge {
                _link: link,
                _served: served,
            };
        }
        Leg::Http => return Plugged::Http { _served: served },
    };
    let config = PluginConfig {
        codec,
        ..PluginConfig::new(format!("ws://{}/ws", hub.address), "p1")
    };
    let stop = CancellationToken::new();
    let running = Plugin::new(config, Native(script.clone())).run(stop.clone());
    let running = tokio::spawn(async move { running.await.unwrap() });
    Plugged::Native {
        _stop: stop,
        _running: running,
    }
}

fn create_of(pod: &Value) -> Value {
    json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""})
}

fn with_uid(pod: &Value, n: u8) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-0000000000{n:02x}"));
    pod
}

/// All samples over one leg: the answers, and the creates and deletes as the plugin got them.
async fn over(leg: Leg) -> (Vec<(String, u16, String)>, Vec<(String, Value)>) {
    let script = Script::new();
    let upstream = script.clone().serve().await;
    let dir = tempfile::tempdir().unwrap();
    let plugins = match leg {
        Leg::Http => json!({"p1": {"url": upstream.0, "transport": "http", "status_interval": "1s"}}),
        _ => json!({}),
    };
    let hub = HubProcess::start(&plugins, dir.path()).await;
    let _plugged = plug(leg, &hub, &script, upstream, dir.path()).await;
    hub.by(if matches!(leg, Leg::Http) { "http" } else { "link" })
        .await;
    let mut vk = Asking {
        hub,
        answers: Vec::new(),
    };
    pings(&mut vk, &script).await;
    let micro = json_of("vk_create_req.microservice.json");
    creates(&mut vk, &script, &micro).await;
    states(&mut vk, &script, &micro["pod"]).await;
    logs(&mut vk, &script).await;
    deletes(&mut vk, &script, &micro["pod"]).await;
    for ping in script.pings() {
        assert_eq!(ping, sample("ping_req.json"));
    }
    (vk.answers, script.asked())
}

async fn pings(vk: &mut Asking, script: &Script) {
    for name in ["ping_resp.apptainer.txt", "ping_resp.kubernetes.json"] {
        script.ping(sample(name));
        vk.ask(name, "POST", "/pinglink", &Value::Null).await;
    }
    script.ping(sample("ping_resp.slurm.json"));
    vk.until("ping_resp.slurm.json", "/pinglink", &Value::Null, "nvidia")
        .await;
}

async fn creates(vk: &mut Asking, script: &Script, micro: &Value) {
    script.create(Some((200, sample("create_resp.object.json"))));
    vk.ask("create", "POST", "/create", micro).await;
    vk.ask("create again", "POST", "/create", micro).await;
    script.create(None);
    for (n, name) in [
        "current_object",
        "gpu",
        "projected",
        "microservice",
        "legacy_list",
    ]
    .into_iter()
    .enumerate()
    {
        let body = json_of(&format!("create_req.{name}.json"));
        let body = if body.is_array() { &body[0] } else { &body };
        let pod = with_uid(&body["pod"], u8::try_from(n).unwrap());
        let (code, text) = vk.ask(name, "POST", "/create", &create_of(&pod)).await;
        assert_eq!(code, 200, "{name}: {text}");
    }
    for (n, (code, name)) in [
        (504, "error.slurm_504.txt"),
        (500, "error.fastapi_500.json"),
        (404, "error.htcondor_404.json"),
        (500, "error.api_passthrough.txt"),
    ]
    .into_iter()
    .enumerate()
    {
        script.create(Some((code, sample(name))));
        let pod = with_uid(&micro["pod"], 0x10 + u8::try_from(n).unwrap());
        let (code, text) = vk.ask(name, "POST", "/create", &create_of(&pod)).await;
        assert!(code == 422 && !text.is_empty(), "{name}: {code} {text}");
    }
    script.create(None);
}

async fn states(vk: &mut Asking, script: &Script, pod: &Value) {
    let asked = json!([pod]);
    for name in ["null", "not_found.apptainer", "hazard_empty_containers"] {
        let name = format!("status_resp.{name}.json");
        script.status(sample(&name), false).await;
        vk.ask(&name, "GET", "/status", &asked).await;
    }
    for (name, word) in [
        ("waiting", "waiting"),
        ("running", "running"),
        ("failed_timeout", "time limit"),
    ] {
        let name = format!("status_resp.{name}.json");
        script.status(sample(&name), true).await;
        vk.until(&name, "/status", &asked, word).await;
    }
    let other = with_uid(pod, 0x20);
    vk.ask("create for succeeded", "POST", "/create", &create_of(&other))
        .await;
    let mut over = json_of("status_resp.succeeded.json");
    over[0]["UID"] = other["metadata"]["uid"].clone();
    script.status(over.to_string().into(), true).await;
    vk.until(
        "status_resp.succeeded.json",
        "/status",
        &json!([other]),
        "\"exitCode\":0",
    )
    .await;
    vk.ask("status_req.json", "GET", "/status", &json_of("status_req.json"))
        .await;
    vk.ask("status of none", "GET", "/status", &json!([])).await;
}

async fn logs(vk: &mut Asking, script: &Script) {
    // Its pod is there and has ended, so that a followed log ends.
    let plain = json_of("logs_req.json");
    let pod = json!({"metadata": {"uid": plain["PodUID"], "name": plain["PodName"], "namespace": plain["Namespace"]},
        "spec": {"restartPolicy": "Never", "containers": [{"name": plain["ContainerName"], "image": "i"}]}});
    vk.ask("create of the log's pod", "POST", "/create", &create_of(&pod))
        .await;
    let container = json!({"name": plain["ContainerName"], "state": {"terminated": {"exitCode": 7}}});
    let state = json!([{"name": plain["PodName"], "UID": plain["PodUID"], "namespace": plain["Namespace"], "JID": "",
        "containers": [container]}]);
    script.status(state.to_string().into(), true).await;
    vk.until("the log's pod", "/status", &json!([pod]), "\"exitCode\":7")
        .await;
    for name in [
        "logs_req",
        "logs_req.follow_tail",
        "logs_req.invalid_tail_and_bytes",
        "logs_req.invalid_uid",
    ] {
        let name = format!("{name}.json");
        vk.ask(&name, "GET", "/getLogs", &json_of(&name)).await;
    }
    let mut previous = plain;
    previous["Opts"]["Previous"] = json!(true);
    let (code, text) = vk.ask("no former run", "GET", "/getLogs", &previous).await;
    assert!(code == 404 && text.contains("no former run"), "{code} {text}");
}

async fn deletes(vk: &mut Asking, script: &Script, pod: &Value) {
    script.delete(Some((500, sample("error.fastapi_500.json"))));
    let (code, text) = vk.ask("delete that fails", "DELETE", "/delete", pod).await;
    assert!(code >= 500 && text.contains("Forbidden"), "{code} {text}");
    script.delete(Some((200, sample("delete_resp.slurm.txt"))));
    vk.ask("delete_resp.slurm.txt", "DELETE", "/delete", pod).await;
    for (n, name) in ["delete_resp.fastapi.json", "delete_resp.htcondor.json"]
        .into_iter()
        .enumerate()
    {
        script.delete(Some((200, sample(name))));
        let body = json_of(&format!("create_req.{}.json", ["gpu", "projected"][n]));
        let pod = with_uid(&body["pod"], 1 + u8::try_from(n).unwrap());
        vk.ask(name, "DELETE", "/delete", &pod).await;
    }
    script.delete(Some((404, sample("error.htcondor_404.json"))));
    vk.ask(
        "delete_req.json",
        "DELETE",
        "/delete",
        &json_of("delete_req.json"),
    )
    .await;
    vk.until("status after the delete", "/status", &json!([pod]), "[]")
        .await;
}

#[tokio::test]
async fn every_sample_is_answered_alike_over_links_the_bridge_and_http() {
    let (answers, asked) = over(Leg::Binary).await;
    assert!(
        answers.len() > 35 && asked.len() > 15,
        "{} {}",
        answers.len(),
        asked.len()
    );
    for leg in [Leg::Json, Leg::Bridge, Leg::Http] {
        let (others, other_asked) = over(leg).await;
        for (one, other) in answers.iter().zip(&others) {
            assert_eq!(one, other, "{leg:?}");
        }
        assert_eq!(answers.len(), others.len(), "{leg:?}");
        for (one, other) in asked.iter().zip(&other_asked) {
            assert_eq!(one, other, "{leg:?}");
        }
        assert_eq!(asked.len(), other_asked.len(), "{leg:?}");
    }
    let what_the_plugin_gets = asked.iter().map(|(_, body)| body);
    assert!(
        what_the_plugin_gets
            .clone()
            .any(|body| *body == json_of("create_req.microservice.json")),
        "as interLink's own server forwards it: {:#}",
        asked[0].1
    );
    let mut names: Vec<String> =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/payloads/golden"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
    names.retain(|name| name != "README.md" && !super::script::used(name));
    assert_eq!(names, [""; 0], "samples that nothing here uses");
}
