#![allow(clippy::unwrap_used)]

use super::*;

fn read(text: &str) -> InterLinkConfig {
    parse(text, &|_| None).unwrap()
}

fn wrong(text: &str) -> String {
    parse(text, &|_| None).unwrap_err()
}

/// Each line of the table: the address and port of a file, and where a hub listens then.
#[test]
fn an_address_is_read_as_interlink_reads_it() {
    for (address, port, listen) in [
        ("http://0.0.0.0", "\"3000\"", "0.0.0.0:3000"),
        ("http://127.0.0.1", "3000", "127.0.0.1:3000"),
        ("http://localhost/", "3000", "localhost:3000"),
        ("http://[::1]", "\"3000\"", "[::1]:3000"),
        ("unix:///run/interlink.sock", "\"\"", "unix:///run/interlink.sock"),
        (
            "unix:///run/interlink.sock",
            "\"0\"",
            "unix:///run/interlink.sock",
        ),
    ] {
        let config = read(&format!(
            "InterlinkAddress: \"{address}\"\nInterlinkPort: {port}\n"
        ));
        assert_eq!(config.listen.as_deref(), Some(listen), "{address}");
        assert_eq!(config.tls, None);
    }
    for (text, why) in [
        (
            "InterlinkAddress: 0.0.0.0\nInterlinkPort: 3000",
            "does not begin with",
        ),
        ("InterlinkAddress: http://0.0.0.0", "InterlinkPort: is empty"),
        ("InterlinkAddress: [a]", "InterlinkAddress: expected a text"),
    ] {
        let text = wrong(text);
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_sidecar_is_built_as_interlink_builds_it() {
    for (url, port, sidecar) in [
        ("http://plugin", "4000", "http://plugin:4000"),
        ("http://plugin/", "\"4000\"", "http://plugin:4000"),
        ("http://plugin", "\"\"", "http://plugin"),
        ("unix:///run/plugin.sock", "\"0\"", "unix:///run/plugin.sock"),
        (
            "https://plugin.example.org",
            "443",
            "https://plugin.example.org:443",
        ),
    ] {
        let config = read(&format!("SidecarURL: {url}\nSidecarPort: {port}\n"));
        assert_eq!(config.sidecar.as_deref(), Some(sidecar));
    }
    assert!(wrong("SidecarURL: plugin\nSidecarPort: 4000").contains("does not begin with"));
    assert!(
        wrong("SidecarURL: http://plugin:4000\nSidecarPort: 4000").contains("SidecarURL and SidecarPort")
    );
}

#[test]
fn a_certificate_is_shown_where_interlink_shows_one() {
    let tls = "TLS: {Enabled: true, CertFile: /c.pem, KeyFile: /k.pem}\nInterlinkPort: 3000\n";
    let config = read(&format!("InterlinkAddress: https://0.0.0.0\n{tls}"));
    assert_eq!(config.tls, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!(config.listen.as_deref(), Some("0.0.0.0:3000"));
    let config = read(&format!("InterlinkAddress: http://0.0.0.0\n{tls}"));
    assert_eq!(config.tls, None);
    assert!(config.unused[0].contains("not https://"), "{:?}", config.unused);
    let half = wrong("InterlinkAddress: https://0.0.0.0\nInterlinkPort: 3000\nTLS: {Enabled: true}");
    assert!(half.contains("CertFile"), "{half}");
    assert!(wrong("TLS: {Enabled: maybe}").contains("TLS.Enabled"));
}

#[test]
fn a_ca_for_clients_is_never_overlooked() {
    for address in ["http://0.0.0.0", "https://0.0.0.0", "unix:///run/i.sock"] {
        let config = read(&format!(
            "InterlinkAddress: {address}\nInterlinkPort: 3000\n\
             TLS: {{Enabled: true, CertFile: /c.pem, KeyFile: /k.pem, CACertFile: /ca.pem}}\n"
        ));
        assert_eq!(config.client_ca, Some("/ca.pem".into()), "{address}");
    }
    let config = read("InterlinkAddress: unix:///i.sock\nTLS: {Enabled: false, CACertFile: /ca.pem}");
    assert_eq!(config.client_ca, None);
}

#[test]
fn interlinks_own_variables_override_its_file() {
    let environment = |name: &str| match name {
        "INTERLINKURL" => Some("http://127.0.0.1".to_owned()),
        "INTERLINKPORT" => Some("3005".to_owned()),
        "SIDECARURL" => Some("http://other".to_owned()),
        "SIDECARPORT" => Some(String::new()),
        _ => None,
    };
    let text = "InterlinkAddress: unix:///i.sock\nSidecarURL: http://plugin\nSidecarPort: 4000\n";
    let config = parse(text, &environment).unwrap();
    assert_eq!(config.listen.as_deref(), Some("127.0.0.1:3005"));
    assert_eq!(config.listen_from, Some("INTERLINKURL"));
    assert_eq!(config.sidecar.as_deref(), Some("http://other:4000"));
}

#[test]
fn what_is_not_used_is_told_and_a_slip_is_named() {
    let config = read(
        "SidecarURL: http://p\nSidecarPort: 4000\nVerboseLogging: true\nsidecarURL: http://q\nNew: {a: [1]}\n\
         TLS: {Enabled: false, MinVersion: 1.3}\n",
    );
    assert_eq!(
        config.unused,
        [
            "New",
            "VerboseLogging",
            "sidecarURL (interLink reads SidecarURL)",
            "TLS.MinVersion"
        ]
    );
}

#[test]
fn another_file_is_not_taken_for_it() {
    assert!(wrong("").contains("none of interLink's keys"));
    assert!(wrong("hub: {listen: 127.0.0.1:3000}").contains("InterLinkConfig.yaml"));
    let map = "apiVersion: v1\nkind: ConfigMap\ndata:\n  InterLinkConfig.yaml: |\n    InterlinkAddress: a\n";
    assert!(wrong(map).contains("ConfigMap"));
    assert!(!wrong("a: [").is_empty());
}

#[test]
fn job_scripts_are_read_with_what_their_server_is_told() {
    let config = read(
        "InterlinkAddress: unix:///i.sock\nJobScriptTemplate: /etc/interlink/job.sh\nJobScriptBuildConfig:\n  \
         apptainer_options: {executable: /usr/bin/apptainer, fakeroot: true}\n",
    );
    assert_eq!(config.template, Some("/etc/interlink/job.sh".into()));
    assert!(config.build_config.is_some());
    let inline = wrong("InterlinkAddress: unix:///i.sock\nJobScriptTemplate: |\n  #!/bin/bash\n  echo\n");
    assert!(inline.contains("path of its file"), "{inline}");
    let odd = read("JobScriptBuildConfig: {apptainer_options: {fake: 1}}");
    assert_eq!(odd.unused, ["JobScriptBuildConfig.apptainer_options.fake"]);
    let odd = wrong("JobScriptBuildConfig: {apptainer_options: {fakeroot: [1]}}");
    assert!(odd.contains("JobScriptBuildConfig"), "{odd}");
}
