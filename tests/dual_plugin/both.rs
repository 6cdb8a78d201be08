//! Both ways at the same time: one pod is one pod.

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use towline::sidecar::SidecarConfig;

use crate::{
    client::{ask, pod, retrieved, uid},
    fake::{Fake, Served},
    site::{Site, config},
    upstream::{Quirks, Upstream},
};

/// A hub with a plugin of two ways behind it. The site's own bridge is another plugin.
async fn two_ways(fake: Fake) -> (Site, Served, Upstream, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(Quirks::default()).await;
    let site = Site::start(config(&upstream.address, dir.path())).await;
    let hub = format!("http://{}", site.address);
    let served = Served::start(fake, Some(&hub), SidecarConfig::default()).await;
    site.until("the plugin is connected", || {
        let plugins = site.hub.plugins();
        plugins.iter().any(|plugin| plugin.name == "site" && plugin.ready)
    })
    .await;
    (site, served, upstream, dir)
}

fn of_a_kubelet(pod: &Value) -> Value {
    json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""})
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_of_one_pod_by_both_ways_at_once_are_one_job() {
    let fake = Fake {
        gate: Some(Semaphore::new(0)),
        ..Fake::default()
    };
    let (site, served, _upstream, _dir) = two_ways(fake).await;
    let pod = pod(&uid(1), "true");
    let (address, body) = (served.address.clone(), retrieved(&pod));
    let by_rest = tokio::task::spawn_blocking(move || ask(&address, "POST", "/create", &body));
    let kubelets = of_a_kubelet(&pod);
    let by_link = site.ask("POST", "/nodes/site/create", &kubelets);
    let begun = async {
        // Both may be inside, or one on its way: the handler is asked once in any case.
        while served.fake.creates.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        served.fake.gate.as_ref().unwrap().add_permits(1);
    };
    let (by_rest, (code, by_link), ()) = tokio::join!(by_rest, by_link, begun);
    let by_rest = by_rest.unwrap();
    assert_eq!((by_rest.code, code), (200, 200), "{} {by_link}", by_rest.text());
    assert_eq!(by_rest.json(), serde_json::from_str::<Value>(&by_link).unwrap());
    assert_eq!(by_rest.json()["PodJID"], "job of talker");
    assert_eq!(served.fake.creates.lock().unwrap().len(), 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_one_way_is_known_by_the_other() {
    let (site, served, _upstream, _dir) = two_ways(Fake::default()).await;
    let (by_rest, by_link) = (pod(&uid(1), "true"), pod(&uid(2), "true"));
    let rest = ask(&served.address, "POST", "/create", &retrieved(&by_rest));
    assert_eq!(rest.code, 200, "{}", rest.text());
    let (code, body) = site
        .ask("POST", "/nodes/site/create", &of_a_kubelet(&by_rest))
        .await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&body).unwrap()),
        (200, rest.json())
    );
    let (code, body) = site
        .ask("POST", "/nodes/site/create", &of_a_kubelet(&by_link))
        .await;
    assert_eq!(code, 200, "{body}");
    let status = ask(&served.address, "GET", "/status", &json!([by_rest, by_link])).json();
    assert_eq!(status.as_array().unwrap().len(), 2, "{status}");
    // Ended by REST, it can be created anew: nothing of it is remembered.
    assert_eq!(ask(&served.address, "POST", "/delete", &by_link).code, 200);
    assert_eq!(
        ask(&served.address, "POST", "/create", &retrieved(&by_link)).code,
        200
    );
    assert_eq!(served.fake.creates.lock().unwrap().len(), 3);
    served.stop().await;
}
