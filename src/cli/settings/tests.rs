#![allow(clippy::unwrap_used)]

mod hub_ways;
mod upstream;
mod ways;

use super::*;
use crate::{
    cli::args::{ClientArgs, CompressionArgs, HubArgs, PluginArgs},
    connection::Compression,
};

fn nothing(_: &str) -> Option<String> {
    None
}

fn with_file<'a>(text: &str, environment: &'a dyn Fn(&str) -> Option<String>) -> Sources<'a> {
    Sources {
        environment,
        file: FileSettings::parse(text).unwrap(),
        path: Some(PathBuf::from("/f.yaml")),
    }
}

fn row(rows: &[Row], key: &str) -> (String, String) {
    let row = rows.iter().find(|row| row.key == key).unwrap();
    (row.value.clone(), row.source.to_string())
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let environment = |name: &str| (name == "TOWLINE_LISTEN").then(|| "127.0.0.1:2".to_owned());
    let file = "hub: {listen: '127.0.0.1:3', create_hold: 20s}";
    let listen = |args: &HubArgs, sources: &Sources<'_>| {
        row(&HubSettings::resolve(args, sources).unwrap().rows(), "hub.listen")
    };
    let flag = HubArgs {
        listen: vec!["127.0.0.1:1".to_owned()],
        ..HubArgs::default()
    };
    let none = HubArgs::default();
    assert_eq!(
        listen(&flag, &with_file(file, &environment)),
        ("127.0.0.1:1".into(), "flag --listen".into())
    );
    assert_eq!(
        listen(&none, &with_file(file, &environment)),
        ("127.0.0.1:2".into(), "environment TOWLINE_LISTEN".into())
    );
    assert_eq!(
        listen(&none, &with_file(file, &nothing)),
        ("127.0.0.1:3".into(), "file /f.yaml".into())
    );
    assert_eq!(
        listen(&none, &Sources::only(&nothing)),
        ("127.0.0.1:3000".into(), "default".into())
    );
    let rows = HubSettings::resolve(&none, &with_file(file, &nothing))
        .unwrap()
        .rows();
    assert_eq!(
        row(&rows, "hub.create_hold"),
        ("20s".into(), "file /f.yaml".into())
    );
}

#[test]
fn an_unknown_key_or_a_wrong_value_is_told_with_its_line() {
    let error = FileSettings::parse("hub:\n  listen: 127.0.0.1:1\n  lissten: x\n").unwrap_err();
    assert!(error.contains("lissten") && error.contains("line 3"), "{error}");
    let error = FileSettings::parse("hub:\n  create_hold: soon\n").unwrap_err();
    assert!(error.contains("soon") && error.contains("line 2"), "{error}");
    assert!(FileSettings::parse("").is_ok());
}

#[test]
fn only_a_listener_that_a_browser_reaches_without_a_token_checks_the_name() {
    let resolve = |file: &str| HubSettings::resolve(&HubArgs::default(), &with_file(file, &nothing));
    let hosts = |file: &str, listen: &str| resolve(file).unwrap().hosts(&Listen::parse(listen).unwrap());
    assert_eq!(hosts("", "127.0.0.1:3000"), Some(vec![]));
    assert_eq!(hosts("", "[::1]:3000"), Some(vec![]));
    assert_eq!(hosts("", "unix:///run/hub.sock"), None);
    assert_eq!(hosts("hub: {token_file: /t}", "127.0.0.1:3000"), None);
    assert_eq!(hosts("hub: {insecure: true}", "0.0.0.0:3000"), None);
    let named = "hub: {insecure: true, allowed_hosts: hub.lab}";
    assert_eq!(hosts(named, "0.0.0.0:3000"), Some(vec!["hub.lab".to_owned()]));
    assert_eq!(hosts(named, "unix:///run/hub.sock"), None);
    for wrong in ["http://hub.lab", "hub.lab:3000", "a b"] {
        let error = resolve(&format!("hub: {{allowed_hosts: ['{wrong}']}}"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("hub.allowed_hosts") && error.contains(wrong),
            "{error}"
        );
    }
}

#[test]
fn off_loopback_needs_a_token_or_insecure() {
    let resolve = |args: &[&str], insecure| {
        let listen = args.iter().map(|&text| text.to_owned()).collect();
        HubSettings::resolve(
            &HubArgs {
                listen,
                insecure,
                ..HubArgs::default()
            },
            &Sources::only(&nothing),
        )
    };
    let error = resolve(&["127.0.0.1:3000", "0.0.0.0:3000"], false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("0.0.0.0:3000") && error.contains("--token-file") && error.contains("--insecure"),
        "{error}"
    );
    // A line end in the token file, and the virtual kubelet cannot make one call.
    assert!(
        error.contains("openssl rand -hex 32 | tr -d '\\n' > FILE"),
        "{error}"
    );
    assert!(resolve(&["0.0.0.0:3000"], true).is_ok());
    assert!(resolve(&["unix:///run/t.sock", "[::1]:3000", "localhost:0"], false).is_ok());
    assert!(resolve(&[":3000"], false).is_err());
    assert!(
        resolve(&["3000"], false)
            .unwrap_err()
            .to_string()
            .contains("HOST:PORT")
    );
}

#[test]
fn one_variable_serves_the_link_and_the_client() {
    let http = |name: &str| (name == "TOWLINE_HUB").then(|| "https://hub.example:8443/".to_owned());
    let args = PluginArgs {
        name: Some("p".to_owned()),
        state_dir: Some("/s".into()),
        ..PluginArgs::default()
    };
    let settings = PluginSettings::resolve(&args, &Sources::only(&http)).unwrap();
    assert_eq!(settings.hub.value, "wss://hub.example:8443/ws");
    let link = |name: &str| (name == "TOWLINE_HUB").then(|| "ws://127.0.0.1:3000/ws".to_owned());
    let settings = ClientSettings::resolve(&ClientArgs::default(), &Sources::only(&link)).unwrap();
    assert_eq!(settings.hub.value, "http://127.0.0.1:3000");
}

#[test]
fn a_plugin_needs_a_name_that_fits_paths_and_urls() {
    let resolve = |name: Option<&str>| {
        let args = PluginArgs {
            name: name.map(str::to_owned),
            state_dir: Some("/s".into()),
            ..PluginArgs::default()
        };
        PluginSettings::resolve(&args, &Sources::only(&nothing)).map(|settings| settings.name.value)
    };
    assert_eq!(resolve(Some("slurm-1")).unwrap(), "slurm-1");
    assert!(resolve(None).unwrap_err().to_string().contains("--name"));
    for bad in ["../x", "A", "-a", "a.b", ""] {
        assert!(resolve(Some(bad)).is_err(), "{bad}");
    }
}

#[test]
fn the_state_directory_follows_xdg() {
    let at = |variables: &'static [(&str, &str)]| {
        let environment = move |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        plugin::default_state_dir(&environment, "p").ok()
    };
    assert_eq!(
        at(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]),
        Some("/x/towline/p".into())
    );
    assert_eq!(
        at(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
        Some("/h/.local/state/towline/p".into())
    );
    assert_eq!(at(&[]), None);
}

#[test]
fn what_the_node_announces_is_the_machines_unless_it_is_said() {
    let resolve = |args: PluginArgs, file: &str| {
        let args = PluginArgs {
            name: Some("p".to_owned()),
            state_dir: Some("/s".into()),
            ..args
        };
        PluginSettings::resolve(&args, &with_file(file, &nothing))
    };
    let file = "plugin: {cpu: 4, memory: 2Gi, pods: 7}";
    let rows = resolve(PluginArgs::default(), file).unwrap().rows();
    let from_file = |value: &str| (value.to_owned(), "file /f.yaml".to_owned());
    assert_eq!(row(&rows, "plugin.cpu"), from_file("4"));
    assert_eq!(row(&rows, "plugin.memory"), from_file("2Gi"));
    assert_eq!(row(&rows, "plugin.pods"), from_file("7"));
    let flag = PluginArgs {
        cpu: Some("2500m".to_owned()),
        ..PluginArgs::default()
    };
    let settings = resolve(flag, file).unwrap();
    assert_eq!(settings.cpu_millis.value, Some(2500));
    let machine = resolve(PluginArgs::default(), "").unwrap();
    assert_eq!((machine.cpu_millis.value, machine.memory.value), (None, None));
    assert_eq!(
        row(&machine.rows(), "plugin.pods"),
        ("110".into(), "default".into())
    );
    for (file, key) in [
        ("plugin: {cpu: 0}", "plugin.cpu"),
        ("plugin: {memory: much}", "plugin.memory"),
        ("plugin: {pods: 1.5}", "plugin.pods"),
    ] {
        let text = resolve(PluginArgs::default(), file).unwrap_err().to_string();
        assert!(text.starts_with(key) && text.contains("/f.yaml"), "{text}");
    }
}

#[test]
fn labels_are_pairs() {
    let args = PluginArgs {
        name: Some("p".to_owned()),
        state_dir: Some("/s".into()),
        labels: vec!["node=slurm".to_owned(), "x".to_owned()],
        ..PluginArgs::default()
    };
    assert!(
        PluginSettings::resolve(&args, &Sources::only(&nothing))
            .unwrap_err()
            .to_string()
            .contains("KEY=VALUE")
    );
}

#[test]
fn a_token_is_one_visible_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read_token(&Setting {
            value: Some(path.clone()),
            source: Source::Flag("--token-file"),
        })
    };
    assert_eq!(read("abc\n").unwrap().as_deref(), Some("abc"));
    assert!(read("\n").unwrap_err().to_string().contains("is empty"));
    assert!(read("a b").is_err());
}

#[test]
fn compression_is_auto_at_both_ends_unless_told() {
    let plugin = |text: &str, flag: Option<&str>| {
        let args = PluginArgs {
            name: Some("p".to_owned()),
            state_dir: Some(PathBuf::from("/s")),
            compression: CompressionArgs {
                when: flag.map(str::to_owned),
                ..CompressionArgs::default()
            },
            ..PluginArgs::default()
        };
        PluginSettings::resolve(&args, &with_file(text, &nothing))
            .map(|settings| row(&settings.rows(), "plugin.compression").0)
            .map_err(|error| error.to_string())
    };
    assert_eq!(plugin("", None).unwrap(), "auto");
    assert_eq!(plugin("plugin: {compression: on}", None).unwrap(), "on");
    assert_eq!(plugin("plugin: {compression: on}", Some("off")).unwrap(), "off");
    let error = plugin("", Some("gzip")).unwrap_err();
    assert!(
        error.contains("\"gzip\"") && error.contains("auto, on or off"),
        "{error}"
    );
    let hub = |text: &str, flag: Option<&str>| {
        let args = HubArgs {
            compression: CompressionArgs {
                when: flag.map(str::to_owned),
                ..CompressionArgs::default()
            },
            ..HubArgs::default()
        };
        let settings = HubSettings::resolve(&args, &with_file(text, &nothing)).unwrap();
        let config = settings.hub_config();
        assert_eq!(
            row(&settings.rows(), "hub.compression").0,
            config.compression.word()
        );
        config.compression
    };
    assert_eq!(hub("", None), Compression::Auto);
    assert_eq!(hub("hub: {compression: off}", None), Compression::Off);
    assert_eq!(hub("hub: {compression: off}", Some("on")), Compression::On);
}

#[test]
fn level_and_threshold_of_compression_are_resolved_and_their_bounds_told() {
    let hub = |text: &str, variables: &'static [(&'static str, &'static str)]| {
        let environment = move |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        HubSettings::resolve(&HubArgs::default(), &with_file(text, &environment))
            .map(|settings| settings.hub_config())
            .map(|config| (config.compression_level, config.compression_threshold))
            .map_err(|error| error.to_string())
    };
    let file = "hub: {compression_level: 3, compression_threshold: 4096}";
    assert_eq!(hub("", &[]), Ok((1, 1_024)));
    assert_eq!(hub(file, &[]), Ok((3, 4_096)));
    assert_eq!(hub(file, &[("TOWLINE_COMPRESSION_LEVEL", "9")]), Ok((9, 4_096)));
    let plugin = |level: &str, threshold: &str| {
        let args = PluginArgs {
            name: Some("p".to_owned()),
            state_dir: Some(PathBuf::from("/s")),
            compression: CompressionArgs {
                level: Some(level.to_owned()),
                threshold: Some(threshold.to_owned()),
                ..CompressionArgs::default()
            },
            ..PluginArgs::default()
        };
        PluginSettings::resolve(&args, &with_file("", &nothing))
            .map(|settings| row(&settings.rows(), "plugin.compression_threshold").0)
            .map_err(|error| error.to_string())
    };
    assert_eq!(plugin("9", "64"), Ok("64".to_owned()));
    assert_eq!(
        plugin("19", "64").unwrap_err(),
        "plugin.compression_level (from flag --compression-level): \"19\" must be a whole number, 1 to 9"
    );
    assert_eq!(
        plugin("1", "63").unwrap_err(),
        "plugin.compression_threshold (from flag --compression-threshold): \"63\" must be a whole number, 64 to 1048576 \
         bytes"
    );
    assert!(
        hub("hub: {compression_level: high}", &[])
            .unwrap_err()
            .starts_with("hub.compression_level (from file ")
    );
}

#[test]
fn http_is_passed_through_unless_told_and_its_bounds_are_sizes() {
    let read = |text: &str| HubSettings::resolve(&HubArgs::default(), &with_file(text, &nothing));
    let value = |text: &str, key| row(&read(text).unwrap().rows(), key).0;
    assert_eq!(value("", "hub.http_passthrough"), "on");
    assert_eq!(value("", "hub.forward_authorization"), "false");
    assert_eq!(value("", "hub.passthrough_max_body"), "64Mi");
    let off = "hub: {http_passthrough: off, forward_authorization: true, passthrough_max_body: 1Gi}";
    assert_eq!(value(off, "hub.http_passthrough"), "off");
    assert!(!read(off).unwrap().hub_config().http_passthrough);
    let mut http = crate::http::HttpConfig::default();
    read(off).unwrap().passthrough.apply(&mut http);
    assert_eq!(
        (http.forward_authorization, http.passthrough_max_body),
        (true, 1 << 30)
    );
    for (text, shown) in [("0", "0"), ("many", "many"), ("-1", "-1")] {
        let error = read(&format!("hub: {{passthrough_max_body: {text}}}"))
            .unwrap_err()
            .to_string();
        let parts = ["hub.passthrough_max_body", shown, "64Mi"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}
