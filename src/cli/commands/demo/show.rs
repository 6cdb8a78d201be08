//! What the person who runs the demo sees: the pod's events and its logs as they come, then the end.

use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::cli::{
    client::{Client, Lines, Query, pod_path},
    commands::create,
    exit::Failure,
    follow::{self, FollowError, LogOptions, Reader},
    manifest::Manifests,
    output::{Out, PodRow, Table, container_table, plain, style::Style, time},
};

const POD: &str = include_str!("pod.yaml");
const NAME: &str = "demo";
const NAMESPACE: &str = "default";

/// Creates the pod and shows it until it ends; true if it succeeded.
pub(super) async fn pod(client: &Client) -> anyhow::Result<bool> {
    let style = Style::stdout();
    let mut manifests = Manifests::default();
    manifests.add("demo", POD)?;
    let request = manifests
        .requests(&create::defaults(Some(NAMESPACE.to_owned())))?
        .remove(0);
    // Opened before the create, so that no event is missed.
    let query = Query::default().with("watch", true).with("kind", "pod");
    let events = client.lines("/api/v1/events", &query).await?;
    say(
        style,
        &format!("posting pod {NAME} to /create, as a virtual kubelet does"),
    )?;
    create::create(client, &request)
        .await
        .context("the plugin refused the demo's pod")?;
    let mut logs = JoinSet::new();
    for (index, container) in containers(&request.body).enumerate() {
        let reader = Prefixed {
            prefix: style.nth(index, &format!("[{container}]")),
            line: Vec::new(),
        };
        logs.spawn(log(client.clone(), container, reader));
    }
    let last = watch(events, &request.uid, style).await?;
    while let Some(log) = logs.join_next().await {
        match log? {
            Ok(()) => {}
            // An init container that failed: the others never wrote a log.
            Err(FollowError::Client(error)) if error.is_not_found() => {}
            Err(error) => return Err(anyhow::Error::new(error).context("cannot follow the log")),
        }
    }
    // The answer may be newer than the event.
    let last = match client.get(&pod_path(NAMESPACE, NAME), &Query::default()).await {
        Ok(pod) => serde_json::from_value(pod)?,
        Err(_) => last,
    };
    end(&last, style)?;
    Ok(last.phase == "Succeeded")
}

fn containers(body: &Value) -> impl Iterator<Item = String> {
    let spec = &body["pod"]["spec"];
    let all = [&spec["initContainers"], &spec["containers"]]
        .into_iter()
        .filter_map(Value::as_array)
        .flatten();
    all.filter_map(|container| container["name"].as_str().map(str::to_owned))
}

async fn log(client: Client, container: String, mut reader: Prefixed) -> Result<(), FollowError> {
    let options = LogOptions {
        container: Some(container),
        follow: true,
        ..LogOptions::default()
    };
    let result = follow::read(&client, NAMESPACE, NAME, &options, &mut reader).await;
    reader.flush()?;
    result
}

/// Prints each change of the pod until it is terminal.
async fn watch(mut events: Lines, uid: &str, style: Style) -> anyhow::Result<PodRow> {
    let mut before = String::new();
    loop {
        let Some(mut event) = events
            .next()
            .await
            .map_err(|error| Failure::Unavailable(error.to_string()))?
        else {
            return Err(Failure::Unavailable("the hub ended the events".to_owned()).into());
        };
        let object = event["object"].take();
        if object["uid"] != uid {
            continue;
        }
        let cells = container_cells(&object);
        let pod: PodRow = serde_json::from_value(object)?;
        let now = format!("{}{cells}", pod.phase);
        if now != before {
            say(style, &format!("pod {NAME} is {now}"))?;
            before = now;
        }
        if event["type"] == "DELETED" {
            return Err(Failure::Failed("the demo's pod was deleted".to_owned()).into());
        }
        if pod.is_terminal() {
            return Ok(pod);
        }
    }
}

/// `: prepare running, ticker waiting`.
fn container_cells(pod: &Value) -> String {
    let all = [&pod["init_containers"], &pod["containers"]]
        .into_iter()
        .filter_map(Value::as_array)
        .flatten();
    let words: Vec<String> = all
        .filter_map(|status| {
            let (word, state) = status["state"]
                .as_object()?
                .iter()
                .find(|(_, state)| !state.is_null())?;
            let exit = state["exitCode"]
                .as_i64()
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            Some(format!("{} {word}{exit}", status["name"].as_str()?))
        })
        .collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join(", "))
    }
}

fn say(style: Style, text: &str) -> io::Result<()> {
    Out.text(&format!("{} {}", style.bold("==>"), plain(text)))
}

fn end(pod: &PodRow, style: Style) -> io::Result<()> {
    let now = time::now();
    let mut table = Table::new(&PodRow::heads(false, false));
    table.row(pod.cells(false, false, now));
    let phase = style.bold(&format!("Final phase: {}", plain(&pod.phase)));
    Out.text(&format!(
        "\n{}\n{}\n{phase}",
        container_table(pod, now).render(),
        table.render()
    ))
}

/// Lines with the container's name before each; a line is printed when it is whole.
struct Prefixed {
    prefix: String,
    line: Vec<u8>,
}

impl Prefixed {
    /// The longest line that is held back to be printed whole.
    const LONGEST: usize = 64 << 10;

    fn flush(&mut self) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        let text = format!("{} {}", self.prefix, plain(&String::from_utf8_lossy(&self.line)));
        self.line.clear();
        Out.text(&text)
    }
}

impl Reader for Prefixed {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() >= Self::LONGEST {
                self.flush()?;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn say(&mut self, text: &str) {
        // In one write: the other readers print too.
        let _ = io::stderr().write_all(format!("{} ({text})\n", self.prefix).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_demos_pod_is_complete() {
        let mut manifests = Manifests::default();
        manifests.add("demo", POD).unwrap();
        let requests = manifests.requests(&create::defaults(None)).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(
            containers(&requests[0].body).collect::<Vec<_>>(),
            ["prepare", "ticker", "watcher"]
        );
        assert_eq!(requests[0].body["configmaps"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn changes_name_each_containers_state() {
        let pod = serde_json::json!({"containers": [
            {"name": "a", "state": {"terminated": {"exitCode": 3}}},
            {"name": "b", "state": {"waiting": {}, "running": null}}]});
        assert_eq!(container_cells(&pod), ": a terminated (3), b waiting");
    }
}
