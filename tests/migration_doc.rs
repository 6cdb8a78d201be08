//! docs/MIGRATION.md is true: its commands are understood, its settings are read, its templates make what stands beside
//! them, and its Go templates are recognised as such.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // shared with the tests of the command line
#[path = "cli/process.rs"]
mod process;

use std::{collections::HashMap, fs, sync::Arc};

use clap::Parser as _;
use serde_json::json;
use towline::{
    cli::Args,
    interlink::{PodCreateRequests, RetrievedPodData},
    jobscript::{BadTemplate, JobScriptConfig, JobScripts, Template},
};

use process::{code, run, stderr, stdout};

const DOCUMENT: &str = include_str!("../docs/MIGRATION.md");

/// Described ahead of the code: each of these must still fail, so that it is taken out of here when it works.
const AHEAD: [&str; 0] = [];

fn is_ahead(text: &str) -> bool {
    AHEAD.iter().any(|word| text.contains(word))
}

/// What stands in the fenced blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    let parts = DOCUMENT.split(open.as_str()).skip(1);
    parts.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The pod of the table's outputs.
fn pod() -> RetrievedPodData {
    let body = json!({
        "pod": {
            "metadata": {
                "name": "train-7",
                "namespace": "lab",
                "uid": "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11",
                "labels": {"team": "vision", "run": "7"},
                "annotations": {"slurm-job.vk.io/flags": "--partition=gpu"},
            },
            "spec": {
                "nodeName": "hpc",
                "containers": [{
                    "name": "main",
                    "image": "alpine:3.20",
                    "command": ["/bin/sh", "-c"],
                    "args": ["echo it's on; sleep 5"],
                    "env": [{"name": "EPOCHS", "value": "3"}],
                    "volumeMounts": [
                        {"name": "settings", "mountPath": "/etc/settings"},
                        {"name": "door", "mountPath": "/etc/door"},
                    ],
                }],
                "volumes": [
                    {"name": "settings", "configMap": {"name": "settings"}},
                    {"name": "door", "secret": {"secretName": "door"}},
                ],
            },
        },
        "configmaps": [{"metadata": {"name": "settings"}, "data": {"a.conf": "depth=3"}}],
        "secrets": [{"metadata": {"name": "door"}, "data": {"key": "c2VzYW1l"}}],
    });
    let request: PodCreateRequests = serde_json::from_value(body).unwrap();
    request.retrieve()
}

/// The script that a hub with this template makes of the pod.
async fn script(template: &str) -> String {
    let compiled = Template::compile(template.to_owned()).unwrap_or_else(|bad| panic!("{template}: {bad}"));
    let scripts = JobScripts::new(JobScriptConfig {
        template: Some(Arc::new(compiled)),
        ..JobScriptConfig::default()
    });
    let filled = scripts.fill("", pod(), &HashMap::new()).await;
    filled
        .unwrap_or_else(|status| panic!("{template}: {status}"))
        .job_script
}

#[test]
fn every_command_is_understood() {
    let mut seen = 0;
    for block in blocks("console") {
        for line in block.lines() {
            let command = line
                .strip_prefix("$ ")
                .unwrap_or_else(|| panic!("no command: {line}"));
            if !command.starts_with("towline ") {
                continue;
            }
            seen += 1;
            let parsed = Args::try_parse_from(command.split_whitespace());
            assert_eq!(
                parsed.is_err(),
                is_ahead(command),
                "{command}: {:?}",
                parsed.err()
            );
        }
    }
    assert!(seen > 10, "only {seen} commands found");
}

#[test]
fn every_file_of_settings_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let interlink = dir.path().join("InterLinkConfig.yaml");
    fs::write(
        &interlink,
        "InterlinkAddress: http://127.0.0.1\nInterlinkPort: 3000\n",
    )
    .unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "abc").unwrap();
    let mut seen = 0;
    for block in blocks("yaml") {
        if !block.starts_with("hub:") {
            // The virtual kubelet's.
            assert!(block.starts_with("InterlinkURL:"), "{block}");
            continue;
        }
        seen += 1;
        let text = block
            .replace("/etc/interlink/InterLinkConfig.yaml", interlink.to_str().unwrap())
            .replace("/etc/towline/token", token.to_str().unwrap());
        let file = dir.path().join("towline.yaml");
        fs::write(&file, text).unwrap();
        let output = run(&["config", "check", "hub", "--config", file.to_str().unwrap()]);
        let expected = if is_ahead(block) { 78 } else { 0 };
        assert_eq!(code(&output), expected, "{block}: {}", stderr(&output));
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn every_row_of_the_table_makes_what_stands_beside_it() {
    let (_, table) = DOCUMENT
        .split_once("| Go | minijinja | output |\n|---|---|---|\n")
        .unwrap();
    let mut seen = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<String> = row
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|"))
            .collect();
        let [go, ours, output] = &cells[..] else {
            panic!("{row}");
        };
        let refused = Template::compile(go.clone());
        assert!(matches!(refused, Err(BadTemplate::Go { line: 1, .. })), "{go}");
        assert_eq!(&script(ours).await, output, "{ours}");
        seen += 1;
    }
    assert!(seen > 15, "only {seen} rows found");
}

#[tokio::test]
async fn every_whole_template_makes_the_text_after_it() {
    let (ours, texts) = (blocks("jinja"), blocks("text"));
    assert_eq!(ours.len(), texts.len());
    for (template, text) in ours.iter().zip(texts) {
        assert_eq!(script(template).await, text, "{template}");
    }
    for template in blocks("gotemplate") {
        assert!(matches!(
            Template::compile(template.to_owned()),
            Err(BadTemplate::Go { .. })
        ));
    }
}

#[test]
fn every_field_of_interlinks_file_has_its_row() {
    let text = "InterlinkAddress: http://127.0.0.1\nInterlinkPort: 3000\nSidecarURL: http://p\nSidecarPort: 4000\n\
                VerboseLogging: true\nErrorsOnlyLogging: false\nDataRootFolder: /x\nPprof: {Enabled: true}\n\
                JobScriptBuildConfig: {volumes_options: {image_dir: /i}}\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("InterLinkConfig.yaml");
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    for args in [
        &["config", "print", "hub", "--interlink-config", path][..],
        &["config", "print", "--interlink-config", path],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let printed = stdout(&output);
        let row = |key: &str| {
            printed
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap()
                .to_owned()
        };
        for (key, value) in [
            ("hub.listen ", "127.0.0.1:3000"),
            ("hub.sidecar ", "http://p:4000"),
            ("hub.jobscript.build_config", "(set)"),
        ] {
            let row = row(key);
            assert!(
                row.contains(value) && row.contains(&format!("file {path}")),
                "{row}"
            );
        }
    }
    let (_, table) = DOCUMENT
        .split_once("## InterLinkConfig.yaml, field by field")
        .unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    for line in text.lines() {
        let key = line.split(':').next().unwrap();
        assert!(table.contains(&format!("`{key}`")), "{key}");
    }
}
