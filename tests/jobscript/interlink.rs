//! interLink's own configuration, in the forms that its guides give it, through the binary.

use std::{fs, os::unix::net::UnixStream, path::Path};

use tempfile::TempDir;

use super::process::{Running, code, run, stderr, stdout, towline};

/// A form of the file, with HOME as this directory.
fn form(name: &str, home: &TempDir) -> String {
    let from = format!(
        "{}/tests/payloads/interlink/{name}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = fs::read_to_string(&from).unwrap();
    let to = home.path().join("InterLinkConfig.yaml");
    fs::write(&to, text.replace("HOME", home.path().to_str().unwrap())).unwrap();
    to.to_str().unwrap().to_owned()
}

/// Value and source of each setting.
fn printed(args: &[&str]) -> Vec<(String, String, String)> {
    let output = run(&[&["config", "print", "hub"], args].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let columns = |line: &str| {
        let cells: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        (cells[0].to_owned(), cells[1].to_owned(), cells[2].to_owned())
    };
    text.lines().skip(1).map(columns).collect()
}

fn row<'a>(rows: &'a [(String, String, String)], key: &str) -> (&'a str, &'a str) {
    let (_, value, source) = rows.iter().find(|(name, ..)| name == key).unwrap();
    (value, source)
}

#[test]
fn every_form_is_read_and_named_as_the_source() {
    let home = tempfile::tempdir().unwrap();
    let path = |tail: &str| format!("unix://{}/{tail}", home.path().display());
    for (name, flags, listen, sidecar) in [
        (
            "installer",
            &[][..],
            path(".interlink/.interlink.sock"),
            path(".interlink/.plugin.sock"),
        ),
        (
            "cluster",
            &["--insecure"],
            "0.0.0.0:3000".to_owned(),
            "http://172.17.0.1:4000".to_owned(),
        ),
        (
            "tunnel",
            &[],
            "unix:///tmp/interlink.sock".to_owned(),
            "http://remote-plugin:4000".to_owned(),
        ),
    ] {
        let file = form(name, &home);
        let rows = printed(&[&["--interlink-config", &file], flags].concat());
        let source = format!("file {file}");
        assert_eq!(row(&rows, "hub.listen"), (&*listen, &*source), "{name}");
        assert_eq!(row(&rows, "hub.sidecar"), (&*sidecar, &*source), "{name}");
        assert_eq!(row(&rows, "hub.sidecar_name"), ("default", "default"));
        assert_eq!(
            row(&rows, "hub.interlink_config"),
            (&*file, "flag --interlink-config")
        );
        assert_eq!(row(&rows, "hub.tls_cert"), ("-", "default"));
    }
}

#[test]
fn flags_environment_and_towlines_own_file_come_first() {
    let home = tempfile::tempdir().unwrap();
    let file = form("full", &home);
    fs::write(home.path().join("job.sh.j2"), "#!/bin/sh\n").unwrap();
    fs::write(home.path().join("other.j2"), "#!/bin/sh\n").unwrap();
    let own = home.path().join("towline.yaml");
    let text = format!(
        "hub:\n  listen: 127.0.0.1:5000\n  interlink_config: {file}\n  jobscript: {{template: {}/other.j2}}\n",
        home.path().display()
    );
    fs::write(&own, text).unwrap();
    let own = own.to_str().unwrap();
    let rows = printed(&["--config", own, "--sidecar-name", "site1"]);
    let source = format!("file {own}");
    assert_eq!(row(&rows, "hub.listen"), ("127.0.0.1:5000", &*source));
    assert!(row(&rows, "hub.jobscript.template").0.ends_with("other.j2"));
    let theirs = format!("file {file}");
    assert_eq!(row(&rows, "hub.jobscript.build_config"), ("(set)", &*theirs));
    assert_eq!(row(&rows, "hub.sidecar_name"), ("site1", "flag --sidecar-name"));
    // interLink's own variables stand for its file.
    let mut command = towline(&["config", "print", "hub"]);
    command
        .env("INTERLINKCONFIGPATH", &file)
        .env("INTERLINKPORT", "3999");
    let text = stdout(&command.output().unwrap());
    assert!(
        text.contains("127.0.0.1:3999") && text.contains("environment INTERLINKPORT"),
        "{text}"
    );
    assert!(text.contains("environment INTERLINKCONFIGPATH"), "{text}");
    assert!(!text.contains("your-token"), "{text}");
}

#[test]
fn off_loopback_it_needs_a_token_as_ever() {
    let home = tempfile::tempdir().unwrap();
    let file = form("cluster", &home);
    let output = run(&["hub", "--interlink-config", &file]);
    assert_eq!(code(&output), 78);
    assert!(
        stderr(&output).contains("0.0.0.0:3000 without a token"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_file_that_asks_for_client_certificates_does_not_start_open() {
    let home = tempfile::tempdir().unwrap();
    let certs = home.path().join(".interlink/certs");
    fs::create_dir_all(&certs).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(certs.join("server-cert.pem"), made.cert.pem()).unwrap();
    fs::write(certs.join("server-key.pem"), made.signing_key.serialize_pem()).unwrap();
    let file = form("mtls", &home);
    for flags in [&[][..], &["--insecure"], &["--listen", "127.0.0.1:0"]] {
        let output = run(&[&["hub", "--interlink-config", &file], flags].concat());
        assert_eq!(code(&output), 78, "{flags:?}");
        let text = stderr(&output);
        assert!(
            text.contains("TLS.CACertFile") && text.contains("--token-file"),
            "{text}"
        );
    }
    let token = home.path().join("token");
    fs::write(&token, "abc").unwrap();
    let token = token.to_str().unwrap();
    let rows = printed(&["--interlink-config", &file, "--token-file", token]);
    assert!(row(&rows, "hub.tls_cert").0.ends_with("server-cert.pem"));
    let command = towline(&[
        "hub",
        "--interlink-config",
        &file,
        "--token-file",
        token,
        "--listen",
        "127.0.0.1:0",
    ]);
    let (mut hub, line) = Running::start(command, "listening on");
    assert!(line.contains("https://"), "{line}");
    hub.wait_for("client certificates (TLS.CACertFile) are not checked here");
}

#[test]
fn a_hub_starts_from_the_installers_file_and_tells_once_what_it_does_not_use() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".interlink")).unwrap();
    let file = form("installer", &home);
    let mut command = towline(&["hub"]);
    command.env("INTERLINKCONFIGPATH", &file);
    let (mut hub, line) = Running::start(command, "listening on");
    assert!(line.contains(".interlink/.interlink.sock"), "{line}");
    let note = hub.wait_for("not used here");
    assert!(
        note.contains("DataRootFolder, ErrorsOnlyLogging, VerboseLogging"),
        "{note}"
    );
    UnixStream::connect(Path::new(home.path()).join(".interlink/.interlink.sock")).unwrap();
}

#[test]
fn what_is_wrong_in_it_is_named_with_the_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("InterLinkConfig.yaml");
    let path = file.to_str().unwrap();
    for (text, word) in [
        (
            "InterlinkAddress: http://hub.lab\nInterlinkPort: 3000\n",
            "InterlinkAddress",
        ),
        (
            "InterlinkAddress: http://127.0.0.1\nInterlinkPort: many\n",
            "InterlinkAddress",
        ),
        ("hub: {}\n", "none of interLink's keys"),
        ("JobScriptTemplate: /nonexistent/job.sh\n", "/nonexistent/job.sh"),
        ("a: [\n", "line"),
    ] {
        fs::write(&file, text).unwrap();
        let output = run(&["config", "check", "hub", "--interlink-config", path]);
        assert_eq!(code(&output), 78, "{text}");
        let told = stderr(&output);
        assert!(told.contains(path) && told.contains(word), "{told}");
    }
    fs::write(&file, "JobScriptTemplate: /nonexistent\nSidecarURL: http://p\n").unwrap();
    let other = home.path().join("ours.j2");
    fs::write(&other, "{{ pod.metadata.name }}").unwrap();
    let flag = ["--jobscript-template", other.to_str().unwrap()];
    let output = run(&[&["config", "check", "hub", "--interlink-config", path], &flag[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}
