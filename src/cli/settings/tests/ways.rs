//! How a plugin is reached.

use super::*;

type Environment = &'static [(&'static str, &'static str)];

fn resolve(args: PluginArgs, environment: Environment, file: &str) -> Result<PluginSettings, String> {
    let look_up = move |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let args = PluginArgs {
        name: Some("p".to_owned()),
        state_dir: Some("/s".into()),
        ..args
    };
    PluginSettings::resolve(&args, &with_file(file, &look_up)).map_err(|failure| failure.to_string())
}

fn shown(args: PluginArgs, environment: Environment, file: &str, key: &str) -> (String, String) {
    row(&resolve(args, environment, file).unwrap().rows(), key)
}

#[test]
fn towlines_variables_win_over_interlinks_and_a_flag_over_both() {
    let flag = || PluginArgs {
        hub: Some("wss://flag".to_owned()),
        transport: Some("ws".to_owned()),
        ..PluginArgs::default()
    };
    const BOTH: Environment = &[
        ("TOWLINE_HUB", "https://ours"),
        ("INTERLINK_WS_URL", "wss://interlinks/link"),
        ("TOWLINE_TRANSPORT", "auto"),
        ("INTERLINK_TRANSPORT", "http"),
    ];
    const THEIRS: Environment = &[
        ("TOWLINE_HUB", ""),
        ("INTERLINK_WS_URL", "wss://interlinks/link"),
        ("INTERLINK_TRANSPORT", "http"),
    ];
    let file = "plugin: {hub: 'ws://file', transport: auto}";
    let cases: [(PluginArgs, Environment, &str, [&str; 4]); 5] = [
        (
            flag(),
            BOTH,
            file,
            ["wss://flag/ws", "flag --hub", "ws", "flag --transport"],
        ),
        (
            PluginArgs::default(),
            BOTH,
            file,
            [
                "wss://ours/ws",
                "environment TOWLINE_HUB",
                "auto",
                "environment TOWLINE_TRANSPORT",
            ],
        ),
        (
            PluginArgs::default(),
            THEIRS,
            file,
            [
                "wss://interlinks/link",
                "environment INTERLINK_WS_URL",
                "http",
                "environment INTERLINK_TRANSPORT",
            ],
        ),
        (
            PluginArgs::default(),
            &[],
            file,
            ["ws://file/ws", "file /f.yaml", "auto", "file /f.yaml"],
        ),
        (
            PluginArgs::default(),
            &[],
            "",
            ["ws://127.0.0.1:3000/ws", "default", "ws", "default"],
        ),
    ];
    for (args, environment, file, [hub, of_hub, transport, of_transport]) in cases {
        let settings = resolve(args, environment, file).unwrap();
        let rows = settings.rows();
        assert_eq!(row(&rows, "plugin.hub"), (hub.into(), of_hub.into()));
        assert_eq!(
            row(&rows, "plugin.transport"),
            (transport.into(), of_transport.into())
        );
    }
}

#[test]
fn every_setting_of_the_ways_has_a_flag_a_variable_and_a_place_in_the_file() {
    let flags = || PluginArgs {
        listen: Some("127.0.0.1:1".to_owned()),
        listen_token_file: Some("/flag".into()),
        insecure: true,
        reconnect_min: Some("1s".to_owned()),
        reconnect_max: Some("11s".to_owned()),
        ping_interval: Some("21s".to_owned()),
        codec: Some("json".to_owned()),
        ..PluginArgs::default()
    };
    const VARIABLES: Environment = &[
        ("TOWLINE_PLUGIN_LISTEN", "unix:///run/p.sock"),
        ("TOWLINE_LISTEN_TOKEN_FILE", "/variable"),
        ("TOWLINE_PLUGIN_INSECURE", "yes"),
        ("TOWLINE_RECONNECT_MIN", "2s"),
        ("TOWLINE_RECONNECT_MAX", "12s"),
        ("TOWLINE_PING_INTERVAL", "22s"),
        ("TOWLINE_CODEC", "json"),
    ];
    let file = "plugin: {listen: '127.0.0.1:3', listen_token_file: /file, insecure: true, reconnect_min: 3s, \
        reconnect_max: 13s, ping_interval: 23s, codec: json}";
    for (key, [flag, variable, in_file, default]) in [
        (
            "plugin.listen",
            [
                "127.0.0.1:1",
                "unix:///run/p.sock",
                "127.0.0.1:3",
                "127.0.0.1:4000",
            ],
        ),
        ("plugin.listen_token_file", ["/flag", "/variable", "/file", "-"]),
        ("plugin.insecure", ["true", "true", "true", "false"]),
        ("plugin.reconnect_min", ["1s", "2s", "3s", "1s"]),
        ("plugin.reconnect_max", ["11s", "12s", "13s", "20s"]),
        ("plugin.ping_interval", ["21s", "22s", "23s", "-"]),
        ("plugin.codec", ["json", "json", "json", "proto"]),
    ] {
        let (value, source) = shown(flags(), VARIABLES, file, key);
        assert_eq!(value, flag);
        assert!(source.starts_with("flag --"), "{key}: {source}");
        let (value, source) = shown(PluginArgs::default(), VARIABLES, file, key);
        assert_eq!(value, variable);
        assert!(source.starts_with("environment TOWLINE_"), "{key}: {source}");
        let from_file = shown(PluginArgs::default(), &[], file, key);
        assert_eq!(from_file, (in_file.to_owned(), "file /f.yaml".to_owned()));
        let by_default = shown(PluginArgs::default(), &[], "", key);
        assert_eq!(by_default, (default.to_owned(), "default".to_owned()));
    }
}

#[test]
fn what_cannot_be_right_is_told_with_its_key_value_source_and_remedy() {
    for (file, words) in [
        (
            "{transport: both}",
            &["plugin.transport", "\"both\"", "ws, http or auto"][..],
        ),
        ("{codec: xml}", &["plugin.codec", "\"xml\"", "proto or json"]),
        ("{listen: nowhere}", &["plugin.listen", "nowhere", "HOST:PORT"]),
        (
            "{reconnect_min: 1ms}",
            &["plugin.reconnect_min", "1ms", "100ms to 600s"],
        ),
        (
            "{reconnect_min: 5s, reconnect_max: 4s}",
            &["plugin.reconnect_max", "4s", "5s to 600s"],
        ),
        (
            "{ping_interval: 500ms}",
            &["plugin.ping_interval", "500ms", "1s to 600s"],
        ),
        (
            "{transport: http, listen: '0.0.0.0:4000'}",
            &["0.0.0.0:4000", "--listen-token-file", "--insecure"],
        ),
    ] {
        let error = resolve(PluginArgs::default(), &[], &format!("plugin: {file}")).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{file}: {error}");
        }
    }
    // Where nothing is listened on, nobody reaches it.
    assert!(resolve(PluginArgs::default(), &[], "plugin: {listen: '0.0.0.0:4000'}").is_ok());
    for more in ["insecure: true", "listen_token_file: /t"] {
        let file = format!("plugin: {{transport: auto, listen: '0.0.0.0:4000', {more}}}");
        assert!(resolve(PluginArgs::default(), &[], &file).is_ok(), "{more}");
    }
}

#[test]
fn only_rest_that_a_browser_reaches_without_a_token_checks_the_name() {
    let hosts = |file: &str| {
        let file = format!("plugin: {{transport: http, {file}}}");
        resolve(PluginArgs::default(), &[], &file).unwrap().ways.hosts()
    };
    assert_eq!(hosts("listen: '127.0.0.1:4000'"), Some(Vec::new()));
    assert_eq!(hosts("listen_token_file: /t"), None);
    assert_eq!(hosts("listen: 'unix:///run/p.sock'"), None);
    assert_eq!(hosts("listen: '0.0.0.0:4000', insecure: true"), None);
}
