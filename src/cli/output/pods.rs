//! Pods as rows, and one pod in full.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::{Table, plain, time};

/// What a table shows of a pod. Unknown and absent fields are fine: the hub may be older or newer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodRow {
    /// Its uid.
    pub(crate) uid: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    plugin: String,
    job_id: String,
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub(crate) phase: String,
    /// One line for people.
    pub(crate) reason: String,
    ready: String,
    restarts: u64,
    created_at: String,
    observed_at: Option<String>,
    deletion_requested_at: Option<String>,
    containers: Value,
    init_containers: Value,
}

impl PodRow {
    /// The heads of the columns.
    pub(crate) fn heads(wide: bool, all_namespaces: bool) -> Vec<&'static str> {
        let mut heads = Vec::new();
        if all_namespaces {
            heads.push("NAMESPACE");
        }
        heads.extend(["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
        if wide {
            heads.extend(["PLUGIN", "JOB-ID", "UID", "REASON"]);
        }
        heads
    }

    /// The cells.
    pub(crate) fn cells(&self, wide: bool, all_namespaces: bool, now: i64) -> Vec<String> {
        let mut cells = Vec::new();
        if all_namespaces {
            cells.push(self.namespace.clone());
        }
        cells.extend([
            self.name.clone(),
            self.ready.clone(),
            self.status(),
            self.restarts.to_string(),
            time::age(Some(&self.created_at), now),
        ]);
        if wide {
            cells.extend([
                self.plugin.clone(),
                self.job_id.clone(),
                self.uid.clone(),
                self.reason.clone(),
            ]);
        }
        cells
    }

    /// Whether nothing will change any more.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// As kubectl: while it is not done, that it is being deleted or the word that says why it waits; else the phase.
    pub(crate) fn status(&self) -> String {
        if self.deletion_requested_at.is_some() && !self.is_terminal() {
            return "Terminating".to_owned();
        }
        // A reason is a word, a text, or both: `CrashLoopBackOff: back-off 10 s ..`.
        let word = self.reason.split(": ").next().unwrap_or_default();
        if !word.is_empty() && !word.contains(char::is_whitespace) && !self.is_terminal() {
            word.to_owned()
        } else {
            self.phase.clone()
        }
    }
}

/// One pod in full.
pub(crate) fn describe(pod: &PodRow, now: i64) -> String {
    let mut text = String::new();
    let created = format!(
        "{} ({} ago)",
        pod.created_at,
        time::age(Some(&pod.created_at), now)
    );
    let observed = match &pod.observed_at {
        Some(at) => format!("{at} ({} ago)", time::age(Some(at), now)),
        None => "not yet".to_owned(),
    };
    let deleting = pod.deletion_requested_at.as_ref().map_or_else(String::new, |at| {
        format!("asked for {at} ({} ago)", time::age(Some(at), now))
    });
    let status = if deleting.is_empty() {
        pod.phase.clone()
    } else {
        pod.status()
    };
    let fields = [
        ("Name", &pod.name),
        ("Namespace", &pod.namespace),
        ("UID", &pod.uid),
        ("Plugin", &pod.plugin),
        ("Job", &pod.job_id),
        ("Status", &status),
        ("Reason", &pod.reason),
        ("Ready", &pod.ready),
        ("Created", &created),
        ("Observed", &observed),
        ("Deleting", &deleting),
    ];
    for (label, value) in fields {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<12}{}", format!("{label}:"), plain(value));
        }
    }
    let containers = container_table(pod, now);
    if !containers.is_empty() {
        text.push('\n');
        text.push_str(&containers.render());
    }
    text
}

/// The containers of a pod, init containers first.
pub(crate) fn container_table(pod: &PodRow, now: i64) -> Table {
    let mut table = Table::new(&["CONTAINER", "KIND", "STATE", "EXIT", "RESTARTS", "AGE", "DETAIL"]);
    for (kind, list) in [("init", &pod.init_containers), ("main", &pod.containers)] {
        for status in list.as_array().into_iter().flatten() {
            table.row(container_cells(kind, status, now));
        }
    }
    table
}

/// One v1.ContainerStatus.
fn container_cells(kind: &str, status: &Value, now: i64) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = &status["state"];
    let (word, exit, since, detail) = if let Some(ended) = state.get("terminated").filter(|v| !v.is_null()) {
        let signal = ended["signal"].as_i64().filter(|&signal| signal != 0);
        let mut detail = vec![text(&ended["reason"]), text(&ended["message"])];
        detail.extend(signal.map(|signal| format!("signal {signal}")));
        detail.retain(|part| !part.is_empty());
        (
            "Terminated",
            ended["exitCode"].to_string(),
            text(&ended["finishedAt"]),
            detail.join(": "),
        )
    } else if let Some(running) = state.get("running").filter(|v| !v.is_null()) {
        (
            "Running",
            "-".to_owned(),
            text(&running["startedAt"]),
            "-".to_owned(),
        )
    } else if let Some(waiting) = state.get("waiting").filter(|v| !v.is_null()) {
        let mut detail = vec![text(&waiting["reason"]), text(&waiting["message"])];
        detail.retain(|part| !part.is_empty());
        ("Waiting", "-".to_owned(), String::new(), detail.join(": "))
    } else {
        ("Unknown", "-".to_owned(), String::new(), "-".to_owned())
    };
    let age = if since.is_empty() {
        "-".to_owned()
    } else {
        time::age(Some(&since), now)
    };
    vec![
        text(&status["name"]),
        kind.to_owned(),
        word.to_owned(),
        exit,
        status["restartCount"].as_u64().unwrap_or(0).to_string(),
        age,
        detail,
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod() -> PodRow {
        serde_json::from_value(serde_json::json!({
            "uid": "u", "namespace": "default", "name": "demo", "plugin": "p", "phase": "Running",
            "reason": "CrashLoopBackOff", "ready": "1/2", "restarts": 3, "created_at": "1970-01-01T00:00:00Z",
            "containers": [
                {"name": "a", "restartCount": 1, "state": {"terminated": {"exitCode": 137, "message": "OOMKilled",
                    "finishedAt": "1970-01-01T00:00:10Z"}}},
                {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            "init_containers": [{"name": "i", "state": {"running": {"startedAt": "1970-01-01T00:00:05Z"}}}],
        }))
        .unwrap()
    }

    #[test]
    fn a_word_that_says_why_stands_for_the_phase_until_the_end() {
        let mut pod = pod();
        assert_eq!(
            pod.cells(false, false, 60),
            ["demo", "1/2", "CrashLoopBackOff", "3", "60s"]
        );
        pod.reason = "CrashLoopBackOff: back-off 10 s before container b is started again".to_owned();
        assert_eq!(pod.status(), "CrashLoopBackOff");
        pod.reason = "waits for its plugin".to_owned();
        assert_eq!(pod.status(), "Running");
        pod.phase = "Failed".to_owned();
        assert_eq!(pod.status(), "Failed");
        assert_eq!(pod.cells(true, true, 60).len(), PodRow::heads(true, true).len());
    }

    #[test]
    fn a_pod_being_deleted_is_terminating_until_it_is_over() {
        let mut pod = pod();
        pod.deletion_requested_at = Some("1970-01-01T00:00:30Z".to_owned());
        assert_eq!(pod.status(), "Terminating");
        let text = describe(&pod, 60);
        assert!(text.contains("Status:     Terminating\n"), "{text}");
        assert!(text.contains("1970-01-01T00:00:30Z (30s ago)"), "{text}");
        pod.phase = "Succeeded".to_owned();
        assert_eq!(pod.status(), "Succeeded");
    }

    #[test]
    fn containers_show_their_end_and_why() {
        let text = describe(&pod(), 20);
        assert!(
            text.contains("a           main   Terminated   137    1          10s   OOMKilled"),
            "{text}"
        );
        assert!(text.find("i ").unwrap() < text.find("OOMKilled").unwrap());
    }
}
