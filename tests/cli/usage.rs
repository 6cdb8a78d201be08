//! Help, wrong usage, settings, exit codes.

use nix::sys::signal::Signal;

use super::process::{Running, address, code, run, stderr, stdout, towline};

#[test]
fn help_documents_verbs_environment_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
    let text = stdout(&help);
    for word in [
        "demo",
        "hub",
        "plugin",
        "logs",
        "completion",
        "TOWLINE_HUB",
        "69",
        "77",
        "78",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(!text.contains("supervise"));
}

#[test]
fn wrong_usage_is_2() {
    for args in [
        &["lgos"][..],
        &[],
        &["logs"],
        &["get", "nodes"],
        &["logs", "p", "--since", "x"],
        &["logs", "p", "--tail", "-5"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_hub_that_is_not_there_is_69_and_told_with_the_remedy() {
    let output = run(&["get", "pods", "--hub", "http://127.0.0.1:1"]);
    assert_eq!(code(&output), 69);
    let text = stderr(&output);
    assert!(
        text.contains("http://127.0.0.1:1") && text.contains("towline hub"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    for args in [["logs", "web"], ["status", "web"], ["get", "plugins"]] {
        let output = run(&[&args[..], &["--hub", "http://127.0.0.1:1"]].concat());
        assert_eq!(code(&output), 69, "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn wrong_settings_are_78_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("towline.yaml");
    std::fs::write(&file, "hub:\n  listen: 127.0.0.1:0\n  lissten: x\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["hub", "--listen", "0.0.0.0:0"], "--insecure"),
        (&["hub", "--listen", "nowhere"], "HOST:PORT"),
        (&["hub", "--config", file], "lissten"),
        (&["config", "check", "--config", file], "line 3"),
        (&["plugin"], "--name"),
        (
            &["get", "pods", "--token-file", "/nonexistent/token"],
            "/nonexistent/token",
        ),
    ];
    for (args, word) in cases {
        let output = run(args);
        assert_eq!(code(&output), 78, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(word), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn config_print_says_where_each_value_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("towline.yaml");
    std::fs::write(
        &file,
        "hub: {listen: '127.0.0.1:1', create_hold: 20s, anti_entropy: 1m}\nplugin: {name: p}\n",
    )
    .unwrap();
    let output = towline(&["config", "print", "--config", file.to_str().unwrap()])
        .env("TOWLINE_LISTEN", "127.0.0.1:2")
        .output()
        .unwrap();
    let text = stdout(&output);
    let row = |key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .to_owned()
    };
    assert!(
        row("hub.listen ").contains("127.0.0.1:2")
            && row("hub.listen ").ends_with("environment TOWLINE_LISTEN")
    );
    assert!(row("hub.create_hold").contains("20s") && row("hub.create_hold").contains("towline.yaml"));
    assert!(row("hub.log_hold").ends_with("default"));
    assert!(row("hub.anti_entropy").contains("60s") && row("hub.anti_entropy").contains("towline.yaml"));
    assert!(row("plugin.name").contains('p'));
}

#[test]
fn version_and_completion_print_on_stdout() {
    let version: serde_json::Value = serde_json::from_slice(&run(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(&run(&["completion", shell])).contains("towline"),
            "{shell}"
        );
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["hub", "--listen", &address]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn the_token_is_asked_for_and_its_lack_is_77() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let token = token.to_str().unwrap();
    let socket = format!("unix://{}", dir.path().join("hub.sock").display());
    let (hub, line) = Running::start(
        towline(&["hub", "--listen", &socket, "--token-file", token]),
        "listening on",
    );
    assert_eq!(address(&line), socket);
    let denied = run(&["get", "pods", "--hub", &socket]);
    assert_eq!(code(&denied), 77, "{}", stderr(&denied));
    assert!(stderr(&denied).contains("--token-file"));
    let good = run(&["get", "pods", "--hub", &socket, "--token-file", token]);
    assert_eq!(
        (code(&good), stdout(&good).as_str()),
        (0, ""),
        "{}",
        stderr(&good)
    );
    hub.signal(Signal::SIGTERM);
    assert_eq!(hub.end().0, Some(0));
    assert!(!dir.path().join("hub.sock").exists());
}

#[test]
fn a_hub_on_loopback_is_not_called_by_any_name() {
    use std::io::{Read as _, Write as _};
    let args = ["hub", "--listen", "127.0.0.1:0", "--allowed-host", "hub.lab"];
    let (_hub, line) = Running::start(towline(&args), "listening on");
    let address = address(&line);
    let answer = |host: &str| {
        let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://")).unwrap();
        let head = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(answer("evil.example").starts_with("HTTP/1.1 421 "));
    assert!(answer("hub.lab:3000").starts_with("HTTP/1.1 200 "));
    let listed = run(&["get", "pods", "--hub", &address.replace("127.0.0.1", "localhost")]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    for args in [&["completion", "bash"][..], &["--help"], &["config", "print"]] {
        let mut child = towline(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
    }
}
