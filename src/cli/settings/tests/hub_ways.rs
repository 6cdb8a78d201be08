//! Settings of the hub's HTTP ways.

use super::*;

fn rows(
    args: &HubArgs,
    file: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Row>, Failure> {
    HubSettings::resolve(args, &with_file(file, environment)).map(|settings| settings.rows())
}

#[test]
fn a_plugin_with_a_url_has_both_ways_and_every_value_is_shown_with_its_source() {
    let file = "hub: {plugins: {s: {url: 'http://127.0.0.1:4000', type: slurm, cpu: 4}, t: {}}}";
    let read = rows(&HubArgs::default(), file, &nothing).unwrap();
    for (key, value) in [
        ("hub.plugins.s.url", "http://127.0.0.1:4000"),
        ("hub.plugins.s.transport", "auto"),
        ("hub.plugins.s.status_interval", "10.5s"),
        ("hub.plugins.s.upstream_ping", "auto"),
        ("hub.plugins.s.cpu", "4"),
        ("hub.plugins.s.labels", "-"),
        ("hub.plugins.t.transport", "ws"),
    ] {
        assert_eq!(row(&read, key).0, value, "{key}");
    }
    assert_eq!(row(&read, "hub.plugins.s.type").1, "file /f.yaml");
}

#[test]
fn a_bridge_may_be_told_that_its_plugin_is_shared() {
    let home = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    let file = "plugin: {name: s, backend: rest, upstream: 'http://h', upstream_shared: true}";
    let settings = PluginSettings::resolve(&PluginArgs::default(), &with_file(file, &home)).unwrap();
    assert_eq!(row(&settings.rows(), "plugin.upstream_shared").0, "true");
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_name_by_name() {
    let environment =
        |name: &str| (name == "TOWLINE_PLUGIN_URLS").then(|| "a=http://env-a, b=http://env-b".to_owned());
    let args = HubArgs {
        plugin_urls: vec!["a=http://flag-a".to_owned()],
        ..HubArgs::default()
    };
    let file = "hub: {plugins: {a: {url: 'http://file-a', transport: http}, c: {url: 'http://file-c'}}}";
    let read = rows(&args, file, &environment).unwrap();
    for (key, value, source) in [
        ("hub.plugins.a.url", "http://flag-a", "flag --plugin-url"),
        ("hub.plugins.a.transport", "http", "file /f.yaml"),
        (
            "hub.plugins.b.url",
            "http://env-b",
            "environment TOWLINE_PLUGIN_URLS",
        ),
        ("hub.plugins.c.url", "http://file-c", "file /f.yaml"),
    ] {
        assert_eq!(row(&read, key), (value.to_owned(), source.to_owned()), "{key}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_plugin_and_what_to_do() {
    let wrong = |section: &str| {
        let file = format!("hub: {{plugins: {{{section}}}}}");
        rows(&HubArgs::default(), &file, &nothing)
            .unwrap_err()
            .to_string()
    };
    for (section, says) in [
        ("s: {transport: auto}", "auto needs hub.plugins.s.url"),
        ("s: {transport: http}", "http needs hub.plugins.s.url"),
        ("s: {transport: grpc}", "use ws, http or auto"),
        (
            "s: {url: '127.0.0.1:4000'}",
            "hub.plugins.s.url (from file /f.yaml): bad address",
        ),
        ("s: {url: 'ws://h/ws'}", "is written as a link"),
        ("S: {url: 'http://h'}", "\"S\" is no name of a plugin"),
        ("s: {url: 'http://h', status_interval: 1ms}", "1s to 1h"),
        ("s: {url: 'http://h', upstream_ping: x}", "auto, status or none"),
        ("s: {url: 'http://h', memory: much}", "hub.plugins.s.memory"),
        ("s: {url: 'http://h', type: 'a b'}", "hub.plugins.s.type"),
    ] {
        let error = wrong(section);
        assert!(error.contains(says), "{error}");
    }
    let file = "hub: {plugins: {s: {url: 'https://h', ca_file: /none/ca.pem}}}";
    let settings = HubSettings::resolve(&HubArgs::default(), &with_file(file, &nothing)).unwrap();
    let error = settings.plugins[0].tls().unwrap_err().to_string();
    assert!(
        error.starts_with("hub.plugins.s.ca_file (from file /f.yaml)") && error.contains("/none/ca.pem"),
        "{error}"
    );
    assert!(!wrong("s: {url: 'http://me:hunter2@h'}").contains("hunter2"));
    let typed = |url: &str| {
        let args = HubArgs {
            plugin_urls: vec![url.to_owned()],
            ..HubArgs::default()
        };
        rows(&args, "", &nothing).unwrap_err().to_string()
    };
    assert!(typed("http://me:hunter2@h").starts_with("--plugin-url: is not NAME=URL"));
    let unknown = FileSettings::parse("hub: {plugins: {s: {uri: 'http://h'}}}").unwrap_err();
    assert!(unknown.contains("uri"), "{unknown}");
}
