//! Job scripts: a create's `jobscriptURL` and the hub's template fill `jobScript` of what the plugin gets. With a hub on
//! real sockets, a script server that does what its path says, and a plugin that notes its payloads.
#![cfg(all(feature = "hub", feature = "plugin"))]
#![allow(clippy::unwrap_used)]

#[path = "jobscript/binary.rs"]
mod binary;
#[allow(dead_code)] // shared with the tests of the HTTP edge
#[path = "http/client.rs"]
mod client;
#[path = "jobscript/interlink.rs"]
mod interlink;
#[allow(dead_code)] // shared with the tests of the command line
#[path = "cli/process.rs"]
mod process;
#[path = "jobscript/server.rs"]
mod server;
#[path = "jobscript/site.rs"]
mod site;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use towline::{
    hub::{HubConfig, MemoryFile, StateDir},
    jobscript::{BuildConfig, JobScriptConfig, JobScripts, Template},
};

use server::ScriptServer;
use site::{Site, create, sample};

/// A script server, and a hub that may ask it.
async fn with_server() -> (ScriptServer, Site) {
    let server = ScriptServer::start().await;
    let site = Site::start(JobScriptConfig {
        allowed_origins: vec![server.origin().parse().unwrap()],
        ..JobScriptConfig::default()
    })
    .await;
    (server, site)
}

async fn with_template(text: &str) -> Site {
    let template = Template::compile(text.to_owned()).unwrap();
    Site::start(JobScriptConfig {
        template: Some(Arc::new(template)),
        ..JobScriptConfig::default()
    })
    .await
}

#[tokio::test]
async fn a_script_server_gets_what_the_plugin_would_and_its_answer_is_the_script() {
    let (server, site) = with_server().await;
    let url = server.url("/script?pool=a");
    let answer = site.create(&create(1, &url)).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let payload = site.payload().await;
    assert_eq!(payload["jobScript"], "#!/bin/sh\necho from the server\n");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].head.starts_with("POST /script?pool=a HTTP/1.1\r\n"),
        "{}",
        asked[0].head
    );
    assert!(asked[0].head.contains("content-type: application/json\r\n"));
    assert!(
        asked[0].head.contains("interlink-http-session: CreatePod#1\r\n"),
        "{}",
        asked[0].head
    );
    assert!(!asked[0].head.contains("authorization"));
    // But for the script itself both get the same.
    let mut expected = payload.clone();
    expected.as_object_mut().unwrap().remove("jobScript").unwrap();
    assert_eq!(asked[0].body(), expected);
}

#[tokio::test]
async fn the_sites_build_config_goes_to_server_and_plugin_with_a_url_and_only_then() {
    let server = ScriptServer::start().await;
    let config = json!({"volumes_options": {"scratch_area": "/scratch"}});
    let site = Site::start(JobScriptConfig {
        allowed_origins: vec![server.origin().parse().unwrap()],
        build_config: Some(serde_json::from_value::<BuildConfig>(config).unwrap()),
        ..JobScriptConfig::default()
    })
    .await;
    assert_eq!(site.create(&create(1, &server.url("/script"))).await.0, 200);
    assert_eq!(
        site.payload().await["jobConfig"]["Volumes"]["scratch_area"],
        "/scratch"
    );
    assert_eq!(
        server.asked()[0].body()["jobConfig"]["Volumes"]["scratch_area"],
        "/scratch"
    );
    assert_eq!(site.create(&create(2, "")).await.0, 200);
    assert_eq!(site.payload().await["jobConfig"]["Volumes"]["scratch_area"], "");
}

#[tokio::test]
async fn a_template_fills_the_script_and_a_url_comes_before_it() {
    let server = ScriptServer::start().await;
    let text = "#!/bin/sh\n#SBATCH -J {{ pod.metadata.name }}\n{% for c in container %}echo {{ c.name|shellquote }}\n{% endfor %}";
    let site = Site::start(JobScriptConfig {
        allowed_origins: vec![server.origin().parse().unwrap()],
        template: Some(Arc::new(Template::compile(text.to_owned()).unwrap())),
        ..JobScriptConfig::default()
    })
    .await;
    assert_eq!(site.create(&create(1, "")).await.0, 200);
    let expected = "#!/bin/sh\n#SBATCH -J pod-1\necho 'main'\n";
    assert_eq!(site.payload().await["jobScript"], expected);
    assert_eq!(site.create(&create(2, &server.url("/script"))).await.0, 200);
    assert_eq!(
        site.payload().await["jobScript"],
        "#!/bin/sh\necho from the server\n"
    );
}

/// Nothing is lost or added where no script is made: the plugin gets what interLink's own server sends.
#[tokio::test]
async fn without_url_and_template_the_payload_is_interlinks_own() {
    let site = Site::start(JobScriptConfig::default()).await;
    let answer = site.create(&sample("vk_create_req.microservice")).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let expected: Value = serde_json::from_slice(&sample("create_req.microservice")).unwrap();
    assert_eq!(site.payload().await, expected);
}

#[tokio::test]
async fn an_empty_script_is_left_out_as_interlink_does() {
    let (server, site) = with_server().await;
    assert_eq!(site.create(&create(1, &server.url("/empty"))).await.0, 200);
    assert!(site.payload().await.get("jobScript").is_none());
}

#[tokio::test]
async fn a_url_of_another_origin_is_refused_and_never_asked() {
    let (server, site) = with_server().await;
    let other = ScriptServer::start().await;
    let port = server.origin().rsplit(':').next().unwrap().to_owned();
    for url in [
        other.url("/script"),
        format!("http://localhost:{port}/script"),
        format!("https://127.0.0.1:{port}/script"),
        format!("http://127.0.0.1:{port}@evil.example.org/script"),
        "http://127.0.0.1/script".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let (code, text) = site.create(&create(1, &url)).await;
        assert_eq!(code, 422, "{url}: {text}");
        assert!(text.contains("jobscriptURL"), "{url}: {text}");
        assert!(!text.contains("script?"), "{text}");
    }
    let (_, text) = site.create(&create(1, &other.url("/script"))).await;
    assert!(text.contains(&other.origin()), "{text}");
    assert!(text.contains("hub.jobscript.allowed_origins"), "{text}");
    assert!(text.contains(&server.origin()), "{text}");
    assert!(server.asked().is_empty() && other.asked().is_empty());
    site.nothing_came();
}

#[tokio::test]
async fn without_allowed_origins_every_url_is_refused() {
    let site = with_template("#!/bin/sh\n").await;
    let (code, text) = site.create(&create(1, "https://scripts.example.org/build")).await;
    assert_eq!(code, 422);
    assert!(
        text.contains("https://scripts.example.org") && text.contains("none is allowed"),
        "{text}"
    );
    site.nothing_came();
}

#[tokio::test]
async fn what_a_server_answers_other_than_a_script_refuses_the_create() {
    let (server, site) = with_server().await;
    let other = ScriptServer::start().await;
    server.redirect_to(&other.url("/script"));
    for (path, words) in [
        ("/redirect", &["HTTP 302", "redirect"][..]),
        ("/large", &["more than 4 MiB"]),
        ("/binary", &["UTF-8"]),
        ("/fails", &["HTTP 500", "no such queue: gpu"]),
        ("/fastapi", &["HTTP 422", "no such queue: tpu"]),
    ] {
        let (code, text) = site.create(&create(1, &server.url(path))).await;
        assert_eq!(code, 422, "{path}: {text}");
        for word in words {
            assert!(text.contains(word), "{path}: {text}");
        }
    }
    assert!(other.asked().is_empty(), "a redirect was followed");
    site.nothing_came();
}

#[tokio::test]
async fn a_server_that_is_slow_ends_the_create_in_its_time() {
    let server = ScriptServer::start().await;
    let site = Site::start(JobScriptConfig {
        allowed_origins: vec![server.origin().parse().unwrap()],
        timeout: Duration::from_millis(100),
        ..JobScriptConfig::default()
    })
    .await;
    for path in ["/silent", "/stalls"] {
        let (code, text) = site.create(&create(1, &server.url(path))).await;
        assert_eq!(code, 504, "{path}: {text}");
        assert!(
            text.contains(&server.origin()) && text.contains("0.1 s"),
            "{text}"
        );
    }
    site.nothing_came();
}

#[tokio::test]
async fn a_server_that_is_away_or_busy_is_asked_again_within_the_time() {
    let (server, site) = with_server().await;
    // Busy, closed without an answer, then well.
    let (code, text) = site.create(&create(1, &server.url("/third"))).await;
    assert_eq!(code, 200, "{text}");
    assert_eq!(server.asked().len(), 3);
    site.payload().await;

    let gone = ScriptServer::start().await.gone();
    let site = Site::start(JobScriptConfig {
        allowed_origins: vec![gone.parse().unwrap()],
        timeout: Duration::from_millis(50),
        ..JobScriptConfig::default()
    })
    .await;
    let (code, text) = site.create(&create(1, &format!("{gone}/script"))).await;
    assert_eq!(code, 503, "{text}");
    assert!(
        text.contains(&gone) && text.contains("cannot be reached"),
        "{text}"
    );
}

#[tokio::test]
async fn a_create_that_is_repeated_is_answered_as_before_without_a_new_script() {
    let (server, site) = with_server().await;
    let body = create(1, &server.url("/script"));
    let first = site.create(&body).await;
    assert_eq!(first.0, 200);
    site.payload().await;
    let origin = server.gone();
    // The server is away now, and another URL is in the second body.
    assert_eq!(site.create(&body).await, first);
    assert_eq!(site.create(&create(1, &format!("{origin}/other"))).await, first);
    site.nothing_came();
}

#[tokio::test]
async fn creates_of_one_pod_at_once_ask_for_one_script() {
    let (server, site) = with_server().await;
    let body = create(1, &server.url("/held"));
    let (first, second, ()) = tokio::join!(site.create(&body), site.create(&body), async {
        server.was_asked().await;
        server.let_go();
    });
    assert_eq!((first.0, &first), (200, &second));
    assert_eq!(server.asked().len(), 1);
    site.payload().await;
    site.nothing_came();
}

#[tokio::test]
async fn a_delete_while_the_script_is_made_ends_the_create() {
    let (server, site) = with_server().await;
    let body = create(1, &server.url("/held"));
    let (created, ()) = tokio::join!(site.create(&body), async {
        server.was_asked().await;
        assert_eq!(site.delete(&body).await, 200);
    });
    assert_eq!(created.0, 409, "{}", created.1);
    server.let_go();
    site.nothing_came();
}

#[tokio::test]
async fn a_template_that_lacks_something_refuses_the_create_with_its_line() {
    let site = with_template("#!/bin/sh\n#SBATCH -p {{ pod.metadata.annotations.partition }}\n").await;
    let (code, text) = site.create(&create(1, "")).await;
    assert_eq!(code, 422, "{text}");
    assert!(
        text.contains("line 2") && text.contains("pod.metadata.annotations"),
        "{text}"
    );
    site.nothing_came();
    // A create that failed so may be made again.
    let (code, _) = site.create(&create(1, "")).await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn a_script_is_kept_with_its_create_over_a_restart_of_the_hub() {
    let (file, server) = (MemoryFile::default(), ScriptServer::start().await);
    let hub = HubConfig {
        create_hold: Duration::from_millis(50),
        state_dir: StateDir::Memory(file.clone()),
        ..HubConfig::default()
    };
    let scripts = JobScriptConfig {
        allowed_origins: vec![server.origin().parse().unwrap()],
        ..JobScriptConfig::default()
    };
    let mut site = Site::with(hub.clone(), scripts.clone()).await;
    site.leave().await;
    // The plugin stays away: the create is promised.
    let body = create(1, &server.url("/script"));
    let (code, text) = site.create(&body).await;
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("\"PodJID\":\"\""), "{text}");
    site.nothing_came();
    server.gone();
    drop(site);
    file.crash(1);
    let site = Site::with(hub, scripts).await;
    assert_eq!(
        site.payload().await["jobScript"],
        "#!/bin/sh\necho from the server\n"
    );
}

#[test]
fn making_scripts_is_shown_without_what_is_in_them() {
    let config = JobScriptConfig {
        template: Some(Arc::new(Template::compile("secret text".to_owned()).unwrap())),
        build_config: Some(
            serde_json::from_value(json!({"singularity_hub": {"master_token": "sesame"}})).unwrap(),
        ),
        ..JobScriptConfig::default()
    };
    let shown = format!("{:?}", JobScripts::new(config));
    assert!(
        !shown.contains("secret text") && !shown.contains("sesame"),
        "{shown}"
    );
}
