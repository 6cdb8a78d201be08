//! The walls of the house (docs/ARCHITECTURE.md): a module uses only what stands below it, and each foreign
//! crate has one owner; and no queue is without a bound.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the two roles may use: the same, and never each other.
const ROLE: &[&str] = &[
    "connection",
    "transport",
    "interlink",
    "wire",
    "code",
    "limits",
    "planted",
];

/// What each module of `src/` may use of the crate. Down only: never up, never sideways.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("code", &[]),
    ("limits", &[]),
    ("planted", &[]),
    ("wire", &["code", "limits"]),
    ("session", &["wire", "code", "limits", "planted"]),
    ("interlink", &["wire", "code", "limits"]),
    ("envelope", &["interlink", "wire", "code", "limits"]),
    ("transport", &["wire", "code", "limits"]),
    ("upstream", &["transport", "wire", "code", "limits"]),
    ("server", &["transport", "interlink", "wire", "code", "limits"]),
    (
        "sidecar",
        &[
            "plugin",
            "server",
            "transport",
            "interlink",
            "wire",
            "code",
            "limits",
        ],
    ),
    (
        "connection",
        &[
            "session",
            "envelope",
            "transport",
            "wire",
            "code",
            "limits",
            "planted",
        ],
    ),
    ("plugin", ROLE),
    (
        "backend",
        &[
            "plugin",
            "upstream",
            "transport",
            "interlink",
            "wire",
            "code",
            "limits",
        ],
    ),
    ("hub", ROLE),
    (
        "jobscript",
        &["upstream", "transport", "interlink", "wire", "code", "limits"],
    ),
    (
        "http",
        &[
            "hub",
            "server",
            "jobscript",
            "transport",
            "interlink",
            "wire",
            "code",
            "limits",
        ],
    ),
    (
        "bench",
        &[
            "http",
            "hub",
            "plugin",
            "connection",
            "transport",
            "session",
            "interlink",
            "envelope",
            "wire",
            "code",
            "limits",
        ],
    ),
    (
        "cli",
        &[
            "bench",
            "sidecar",
            "http",
            "hub",
            "jobscript",
            "backend",
            "plugin",
            "connection",
            "transport",
            "interlink",
            "wire",
            "code",
            "limits",
        ],
    ),
    ("main", &["cli"]),
];

/// Which module owns a foreign crate.
const OWNERS: [(&str, &str); 13] = [
    ("prost", "wire bench"),
    ("prost_types", "wire"),
    ("zstd", "wire bench"),
    ("tokio_tungstenite", "transport bench"),
    ("h2", "transport"),
    ("tokio_rustls", "transport"),
    ("rustls_native_certs", "transport"),
    ("axum", "http bench"),
    ("utoipa", "http hub"),
    ("prometheus_client", "hub"),
    ("clap", "cli"),
    ("nix", "backend bench"),
    ("minijinja", "jobscript"),
];

/// Modules without clock, socket or runtime, and what would bring one in.
const PURE: [&str; 7] = [
    "code",
    "limits",
    "planted",
    "wire",
    "session",
    "interlink",
    "envelope",
];
const IMPURE: [&str; 8] = [
    "tokio::",
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime",
];

/// Queues that nothing bounds.
const UNBOUNDED: [&str; 3] = ["unbounded_channel", "UnboundedSender", "UnboundedReceiver"];

/// What the HTTP edge must not see of wire.
const LINK_TYPES: [&str; 4] = ["wire::Packet", "wire::Frame", "wire::frame", "wire::codec"];

#[test]
fn no_module_uses_what_stands_above_or_beside_it() {
    let mut wrong = Vec::new();
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(
        sources.len() > 20,
        "only {} files found: the test looks in the wrong place",
        sources.len()
    );
    for (module, file, text) in sources {
        if module != "lib" {
            wrong.extend(
                violations(&module, &text)
                    .into_iter()
                    .map(|what| format!("{}: {what}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_an_import_that_points_up() {
    let seen = |module: &str, text: &str| !violations(module, text).is_empty();
    assert!(seen("wire", "use crate::session::Session;"));
    assert!(seen(
        "hub",
        "use crate::{\n    code::Code,\n    plugin::{Handler, Events},\n};"
    ));
    assert!(seen("plugin", "fn f() { crate::hub::Hub::default(); }"));
    assert!(seen("session", "use crate::interlink::Pod;"));
    assert!(seen("http", "use crate::wire::{PodRef, Frame};"));
    assert!(seen("http", "use crate::session::Session;"));
    assert!(seen("unheard_of", "use crate::wire::PodRef;"));
}

#[test]
fn the_check_sees_a_strangers_crate_a_clock_in_the_core_and_an_unbounded_queue() {
    let seen = |module: &str, text: &str| !violations(module, text).is_empty();
    assert!(seen("hub", "use axum::Router;"));
    assert!(seen("session", "let now = Instant::now();"));
    assert!(seen("interlink", "use tokio::sync::mpsc;"));
    assert!(seen("connection", "use prost::Message;"));
    assert!(seen(
        "hub",
        "let (tell, told) = tokio::sync::mpsc::unbounded_channel();"
    ));
}

#[test]
fn the_check_lets_good_code_pass() {
    let good = |module: &str, text: &str| assert_eq!(violations(module, text), Vec::<String>::new());
    good(
        "hub",
        "use crate::{connection::Connection, wire::{PodRef, Status}};\n// use crate::http::Edge;",
    );
    good(
        "http",
        "use crate::wire::{PodRef, LogOptions};\nuse axum::Router;",
    );
    good(
        "session",
        "//! Told by [`crate::connection`].\nuse std::time::Instant;",
    );
    good(
        "session",
        "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { let now = Instant::now(); }\n}",
    );
    good("wire", "use super::relaxum::X; let axum_like = 1;");
}

/// All that is wrong in one file.
fn violations(module: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut wrong = Vec::new();
    let allowed = MAY_USE
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, below)| *below);
    for path in crate_paths(&code) {
        let first = path.split("::").next().unwrap_or_default();
        let is_module = MAY_USE.iter().any(|(name, _)| *name == first);
        let is_allowed = first == module || allowed.is_some_and(|below| below.contains(&first));
        if is_module && !is_allowed {
            wrong.push(format!(
                "{module} uses crate::{path}, which does not stand below it"
            ));
        }
        if module == "http"
            && LINK_TYPES
                .iter()
                .any(|link| path == *link || path.starts_with(&format!("{link}::")))
        {
            wrong.push(format!("http sees crate::{path}, which belongs below connection"));
        }
    }
    for (foreign, owner) in OWNERS {
        if !owner.split(' ').any(|name| name == module) && mentions(&code, &format!("{foreign}::")) {
            wrong.push(format!("{module} uses the crate {foreign}, which {owner} owns"));
        }
    }
    let shipped = code.split("mod tests {").next().unwrap_or_default();
    for word in UNBOUNDED.iter().filter(|word| shipped.contains(**word)) {
        wrong.push(format!("{module} has a queue without a bound: {word}"));
    }
    if PURE.contains(&module) {
        for word in IMPURE.iter().filter(|word| mentions(shipped, word)) {
            wrong.push(format!("{module} is pure, yet it says {word}"));
        }
    }
    wrong
}

/// Whether the code says this word, not as the tail of a longer one.
fn mentions(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(is_part))
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("//") {
        // Not the slashes of a URL in a string.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path that begins with `crate::`, groups in braces taken apart.
fn crate_paths(code: &str) -> Vec<String> {
    const ROOT: &str = "crate::";
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(ROOT) {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            read_tree("", &code[at + ROOT.len()..], &mut paths);
        }
    }
    paths
}

/// Reads one use tree, gives back what follows it.
fn read_tree<'a>(prefix: &str, code: &'a str, paths: &mut Vec<String>) -> &'a str {
    let mut rest = code.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        rest = group.trim_start();
        while !rest.is_empty() && !rest.starts_with('}') {
            let before = rest.len();
            rest = read_tree(prefix, rest, paths).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if rest.len() == before {
                break;
            }
        }
        return rest.strip_prefix('}').unwrap_or(rest);
    }
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
        .unwrap_or(rest.len());
    let path = if prefix.is_empty() {
        rest[..end].to_owned()
    } else {
        format!("{prefix}::{}", &rest[..end])
    };
    match rest[end..].strip_prefix("::") {
        Some(deeper) if !deeper.starts_with('<') => read_tree(&path, deeper, paths),
        _ => {
            paths.push(path);
            // An alias belongs to the tree.
            match rest[end..].trim_start().strip_prefix("as ") {
                Some(alias) => alias
                    .trim_start()
                    .trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
                None => &rest[end..],
            }
        }
    }
}

/// Every Rust file below `src`: its top module, its path, its text.
fn sources(src: &Path) -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("src can be read");
        for path in entries.map(|entry| entry.expect("src can be read").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let inside = path.strip_prefix(src).expect("it was found below src");
                // Test modules in files of their own may use a clock and the levels around them.
                let is_test = inside.components().any(|part| {
                    let name = part.as_os_str().to_string_lossy();
                    name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs")
                });
                if !is_test {
                    let top = inside.iter().next().expect("a file has a name").to_string_lossy();
                    let text = fs::read_to_string(&path).expect("src can be read");
                    found.push((top.trim_end_matches(".rs").to_owned(), path.clone(), text));
                }
            }
        }
    }
    found
}
