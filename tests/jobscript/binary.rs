//! The binary: what stops its start, and that nothing of a script or its URL is in its log.

use std::fs;

use serde_json::json;
use towline::plugin::{CancellationToken, Plugin, PluginConfig};

use super::{
    process::{Running, address, code, run, stderr, stdout, towline},
    server::ScriptServer,
    site::{Notes, create},
};

#[test]
fn a_go_template_stops_the_start_with_a_pointer_to_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("job.sh");
    fs::write(&file, "#!/bin/bash\n#SBATCH --job-name={{ .Pod.Name }}\n").unwrap();
    let path = file.to_str().unwrap();
    for args in [
        &["hub", "--listen", "127.0.0.1:0", "--jobscript-template", path][..],
        &["config", "check", "hub", "--jobscript-template", path],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 78, "{}", stderr(&output));
        let text = stderr(&output);
        for word in [path, "flag --jobscript-template", "line 2", "docs/MIGRATION.md"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    fs::write(&file, "{% for c in container %}").unwrap();
    let output = run(&["config", "check", "hub", "--jobscript-template", path]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("line 1"), "{}", stderr(&output));
}

#[test]
fn settings_of_job_scripts_are_printed_with_their_source_and_wrong_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("towline.yaml");
    let text = "hub:\n  jobscript:\n    allowed_origins: [https://A.example.org:443, http://127.0.0.1:9]\n    timeout: 5s\n    \
                build_config: {singularity_hub: {master_token: sesame}}\n";
    fs::write(&file, text).unwrap();
    let output = run(&["config", "print", "hub", "--config", file.to_str().unwrap()]);
    let text = stdout(&output);
    assert!(
        text.contains("https://a.example.org,http://127.0.0.1:9"),
        "{text}"
    );
    assert!(
        text.contains("hub.jobscript.timeout") && text.contains("(set)"),
        "{text}"
    );
    assert!(!text.contains("sesame"), "{text}");
    for (origin, word) in [
        ("https://a.example.org/path", "without a path"),
        ("a.example.org", "https://scripts.example.org"),
        ("https://me:sesame@a.example.org", "user or password"),
    ] {
        let output = run(&["config", "check", "hub", "--jobscript-origin", origin]);
        assert_eq!(code(&output), 78);
        let text = stderr(&output);
        assert!(
            text.contains("--jobscript-origin") && text.contains(word),
            "{text}"
        );
        assert!(!text.contains("sesame"), "{text}");
    }
    let mut command = towline(&["config", "check", "hub"]);
    command.env(
        "TOWLINE_JOBSCRIPT_ORIGINS",
        "https://a.example.org, ftp://b.example.org",
    );
    let text = stderr(&command.output().unwrap());
    assert!(
        text.contains("TOWLINE_JOBSCRIPT_ORIGINS") && text.contains("ftp://b.example.org"),
        "{text}"
    );
}

#[tokio::test]
async fn neither_script_nor_url_nor_secret_is_in_the_log() {
    let server = ScriptServer::start().await;
    let mut command = towline(&[
        "hub",
        "--listen",
        "127.0.0.1:0",
        "--jobscript-origin",
        &server.origin(),
    ]);
    command.env("TOWLINE_LOG", "trace");
    let (mut hub, line) = Running::start(command, "listening on");
    let address = address(&line);
    let (notes, mut payloads) = Notes::new();
    let stop = CancellationToken::new();
    let link = PluginConfig::new(format!("{}/ws", address.replace("http:", "ws:")), "site-a");
    let plugin = tokio::spawn(Plugin::new(link, notes).run(stop.clone()));
    for (n, path) in [
        (1, "/script?key=sesame"),
        (2, "/fails?key=sesame"),
        (3, "/elsewhere?key=sesame"),
    ] {
        let url = match n {
            3 => format!("http://127.0.0.1:1{path}"),
            _ => server.url(path),
        };
        let mut body: serde_json::Value = serde_json::from_slice(&create(n, &url)).unwrap();
        body["secrets"] = json!([{"metadata": {"name": "s"}, "data": {"k": "c2VzYW1l"}}]);
        let answer = ask(&address, "/create", &body.to_string()).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), n == 1, "{answer}");
        assert!(!answer.contains("sesame"), "{answer}");
    }
    assert_eq!(
        payloads.recv().await.unwrap()["jobScript"],
        "#!/bin/sh\necho from the server\n"
    );
    stop.cancel();
    plugin.await.unwrap().unwrap();
    hub.signal(nix::sys::signal::Signal::SIGTERM);
    let talk = hub.rest_of_talk().join("\n");
    assert!(talk.contains("a job script was refused"), "{talk}");
    for secret in ["sesame", "c2VzYW1l", "from the server", "no such queue"] {
        let line = talk.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}

/// One request, with what the plugin needs to come: a create waits for it.
async fn ask(address: &str, path: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = address.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
