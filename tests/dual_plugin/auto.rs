//! `--transport auto`: REST from the first moment, the link when it comes, and each trouble told once.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::Instant,
};

use serde_json::json;
use towline::transport::accept_key;

use crate::{
    client::{PATIENCE, ask, plugin, pod, retrieved, uid},
    process::{Running, address, run, stderr, stdout, towline},
};

const UNTIL_IT_WORKS: [&str; 4] = ["--reconnect-min", "100ms", "--reconnect-max", "200ms"];

fn auto(state: &Path, hub: &str, more: &[&str]) -> (Running, String) {
    let args = [&["--transport", "auto", "--hub", hub][..], &UNTIL_IT_WORKS, more].concat();
    plugin(state, &args)
}

fn is_served(rest: &str) {
    let ping = ask(rest, "GET", "/status", &json!([]));
    assert_eq!((ping.code, &ping.json()["status"]), (200, &json!("ok")));
}

/// Runs the command until it shows this.
fn shows(args: &[&str], expected: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let output = run(args);
        if stdout(&output) == expected {
            return;
        }
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(
            Instant::now() < until,
            "{args:?} never shows {expected:?}, but {said}"
        );
    }
}

#[test]
fn rest_is_served_while_the_hub_is_away_and_both_ways_when_it_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let hub = format!("unix://{}", dir.path().join("hub.sock").display());
    let levels = ["--log-level", "info,towline::plugin::fallback=debug"];
    let (mut plugin, rest) = auto(&dir.path().join("state"), &hub, &levels);
    is_served(&rest);
    let began = plugin.wait_for("falling back");
    assert!(began.contains("cause=unreachable"), "{began}");
    assert!(began.contains(&format!("in_force=\"REST at {rest}\"")), "{began}");
    // More tries fail, and none is told again.
    for _ in 0..2 {
        let line = plugin.wait_for("still no link");
        assert!(line.contains("DEBUG"), "{line}");
    }
    let created = ask(&rest, "POST", "/create", &retrieved(&pod(&uid(1), "echo here")));
    assert_eq!(created.code, 200, "{}", created.text());

    let (first_hub, _) = Running::start(towline(&["hub", "--listen", &hub]), "listening on");
    let ended = plugin.wait_for("the fallback has ended");
    assert!(ended.contains("cause=unreachable"), "{ended}");
    assert!(
        ended.contains(&format!("in_force=\"the link, and REST at {rest}\"")),
        "{ended}"
    );
    is_served(&rest);
    // What was created by REST is at the hub, and its log too.
    shows(
        &["get", "pods", "-A", "-o", "name", "--hub", &hub],
        "pod/talker\n",
    );
    shows(&["logs", "talker", "-n", "vk", "--hub", &hub], "here\n");

    drop(first_hub);
    let lost = plugin.wait_for("falling back");
    assert!(lost.contains("cause=lost"), "{lost}");
    is_served(&rest);
    let _ = ask(&rest, "POST", "/delete", &pod(&uid(1), ""));
}

/// An answer to an upgrade.
type Says = Box<dyn Fn(&str) -> String + Send>;

/// What answers the first dial with these bytes, and hands every further one to the hub.
fn stranger_then(hub: &str, answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hub = hub.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if first.read(&mut byte).unwrap() == 0 {
                break;
            }
            request.push(byte[0]);
        }
        first
            .write_all(answer(&String::from_utf8(request).unwrap()).as_bytes())
            .unwrap();
        drop(first);
        for near in listener.incoming() {
            let near = near.unwrap();
            let far = TcpStream::connect(&hub).unwrap();
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    address
}

fn refusal(line: &str) -> impl Fn(&str) -> String + Send + use<> {
    let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    move |_| answer.clone()
}

/// An upgrade that is good but for the subprotocol, which it does not take.
fn without_subprotocol(request: &str) -> String {
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    )
}

#[test]
fn a_server_that_has_no_link_is_told_and_tried_until_it_has_one() {
    let (_hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
    let hub = address(&line);
    let cases: [(&str, Says); 4] = [
        ("404", Box::new(refusal("404 Not Found"))),
        ("426", Box::new(refusal("426 Upgrade Required"))),
        ("400", Box::new(refusal("400 Bad Request"))),
        ("subprotocol", Box::new(without_subprotocol)),
    ];
    for (says, answer) in cases {
        let dir = tempfile::tempdir().unwrap();
        let stranger = stranger_then(&hub, answer);
        let (mut plugin, rest) = auto(dir.path(), &format!("http://{stranger}"), &[]);
        let began = plugin.wait_for("falling back");
        assert!(
            began.contains("cause=unsupported") && began.contains(says),
            "{began}"
        );
        is_served(&rest);
        let ended = plugin.wait_for("the fallback has ended");
        assert!(ended.contains("cause=unsupported"), "{ended}");
    }
}

#[test]
fn a_handshake_that_fails_and_a_token_that_is_refused_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "right").unwrap();
    let mut hub = towline(&["hub", "--listen", "127.0.0.1:0", "--token-file"]);
    hub.arg(&token);
    let (_hub, line) = Running::start(hub, "listening on");
    let hub = address(&line);
    // TLS to a port that has none; no token; and a name that the hub's own rules refuse is none of them.
    let tls = hub.replace("http://", "https://");
    for (hub, cause) in [(tls.as_str(), "handshake"), (hub.as_str(), "credentials")] {
        let state = tempfile::tempdir().unwrap();
        let (mut plugin, rest) = auto(state.path(), hub, &[]);
        let began = plugin.wait_for("falling back");
        assert!(began.contains(&format!("cause={cause}")), "{began}");
        is_served(&rest);
    }
}

#[test]
fn a_token_file_that_is_missing_is_told_and_read_again_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (token, late) = (dir.path().join("token"), dir.path().join("late"));
    std::fs::write(&token, "right\n").unwrap();
    let mut hub = towline(&["hub", "--listen", "127.0.0.1:0", "--token-file"]);
    hub.arg(&token);
    let (_hub, line) = Running::start(hub, "listening on");
    let state = dir.path().join("state");
    let (mut plugin, rest) = auto(&state, &address(&line), &["--token-file", late.to_str().unwrap()]);
    let began = plugin.wait_for("falling back");
    assert!(began.contains("cause=credentials"), "{began}");
    assert!(began.contains("cannot read the token file"), "{began}");
    is_served(&rest);
    // Whole or not there: it is read at any moment.
    std::fs::rename(&token, &late).unwrap();
    plugin.wait_for("the fallback has ended");
}

#[test]
fn by_the_link_alone_a_missing_token_file_does_not_end_the_plugin_either() {
    let dir = tempfile::tempdir().unwrap();
    let (_hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
    let late = dir.path().join("late");
    let args = ["--hub", &address(&line), "--token-file", late.to_str().unwrap()];
    let args = [&args[..], &UNTIL_IT_WORKS].concat();
    let command = crate::client::command(&dir.path().join("state"), &args);
    let (mut plugin, line) = Running::start(command, "cannot connect to the hub");
    assert!(line.contains("cannot read the token file"), "{line}");
    std::fs::write(dir.path().join("whole"), "any\n").unwrap();
    std::fs::rename(dir.path().join("whole"), &late).unwrap();
    plugin.wait_for("connected to the hub");
}

#[test]
fn interlinks_own_variables_set_the_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (_hub, line) = Running::start(towline(&["hub", "--listen", "127.0.0.1:0"]), "listening on");
    let mut command = crate::client::command(&dir.path().join("state"), &[]);
    command
        .env("INTERLINK_TRANSPORT", "auto")
        .env("INTERLINK_WS_URL", address(&line).replace("http://", "ws://"));
    let (mut plugin, line) = Running::start(command, "REST for an interLink API server");
    is_served(&address(line.trim()));
    plugin.wait_for("connected to the hub");
}
