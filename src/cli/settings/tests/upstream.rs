//! Settings of the REST bridge.

use super::*;

#[test]
fn the_bridge_knows_its_upstream_and_how_often_to_ask_it() {
    let rows = |args: &PluginArgs, file: &str, environment: &dyn Fn(&str) -> Option<String>| {
        PluginSettings::resolve(args, &with_file(file, environment)).map(|settings| settings.rows())
    };
    let home = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    let file = "plugin: {name: s, backend: rest, upstream: 'http://127.0.0.1:4000'";
    let read = |more: &str| rows(&PluginArgs::default(), &format!("{file}{more}}}"), &home).unwrap();
    let value = |rows: &[Row], key| row(rows, key).0;
    let plain = read("");
    assert_eq!(value(&plain, "plugin.type"), "rest");
    assert_eq!(value(&plain, "plugin.status_interval"), "2s");
    assert_eq!(value(&plain, "plugin.upstream_ping"), "auto");
    let slurm = read(", type: slurm");
    assert_eq!(value(&slurm, "plugin.status_interval"), "10.5s");
    assert_eq!(
        value(
            &read(", type: slurm, status_interval: 3s"),
            "plugin.status_interval"
        ),
        "3s"
    );
    let set = read(", upstream_ping: none, upstream_follow: true, legacy_list: true");
    for (key, expected) in [
        ("plugin.upstream_ping", "none"),
        ("plugin.upstream_follow", "true"),
        ("plugin.legacy_list", "true"),
    ] {
        assert_eq!(value(&set, key), expected);
    }
    let environment = |name: &str| match name {
        "TOWLINE_UPSTREAM" => Some("unix:///run/plugin.sock".to_owned()),
        "TOWLINE_STATUS_INTERVAL" => Some("5s".to_owned()),
        "TOWLINE_UPSTREAM_FOLLOW" => Some("true".to_owned()),
        other => home(other),
    };
    let flags = PluginArgs {
        upstream_ping: Some("status".to_owned()),
        ..PluginArgs::default()
    };
    let over = rows(&flags, &format!("{file}}}"), &environment).unwrap();
    assert_eq!(value(&over, "plugin.upstream"), "unix:///run/plugin.sock");
    assert_eq!(value(&over, "plugin.status_interval"), "5s");
    assert_eq!(
        row(&over, "plugin.upstream_ping"),
        ("status".into(), "flag --upstream-ping".into())
    );
    for (file, says) in [
        (
            "plugin: {name: s, backend: rest}",
            "--upstream http://127.0.0.1:4000",
        ),
        (
            "plugin: {name: s, backend: rest, upstream: '127.0.0.1:4000'}",
            "scheme",
        ),
        (
            "plugin: {name: s, backend: rest, upstream: 'ws://h/ws'}",
            "is a link",
        ),
        ("plugin: {name: s, upstream: 'http://h'}", "only --backend rest"),
        ("plugin: {name: s, backend: docker}", "use process or rest"),
        (
            "plugin: {name: s, backend: rest, upstream: 'http://h', upstream_ping: x}",
            "auto, status or none",
        ),
        (
            "plugin: {name: s, backend: rest, upstream: 'http://h', status_interval: 1ms}",
            "1s to 1h",
        ),
    ] {
        let error = rows(&PluginArgs::default(), file, &home).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
