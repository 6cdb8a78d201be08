//! A child process that takes orders on stdin and answers on stdout, a line of JSON each.

use std::{
    ffi::OsStr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::bench::cost;

/// Lines of stderr that are kept for an error.
const KEPT: usize = 8;

/// Runs as long as this lives: it is killed with it, and when the bench itself is killed its stdin ends.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    pid: u32,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    said: Arc<Mutex<Vec<String>>>,
}

/// Figures of a process at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// CPU time so far.
    pub(super) cpu: Duration,
    /// Resident memory in bytes.
    pub(super) resident: u64,
}

impl Process {
    pub(super) fn start<A: AsRef<OsStr>>(
        name: &'static str,
        program: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        // What whoever runs the bench has set for a hub or plugin of their own is not meant for these.
        for (variable, _) in std::env::vars_os() {
            let ours = ["TOWLINE_", "INTERLINK", "SIDECAR"];
            if (variable.to_str()).is_some_and(|text| ours.iter().any(|word| text.starts_with(word))) {
                command.env_remove(variable);
            }
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", program.display()))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (Some(pid), Some(out), Some(err)) = (child.id(), child.stdout.take(), child.stderr.take()) else {
            bail!("{name} has no pipes");
        };
        let heard = Arc::clone(&said);
        // Read to its end, or the child would wait for room in the pipe.
        tokio::spawn(async move {
            let mut lines = BufReader::new(err).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(mut said) = heard.lock() {
                    if said.len() == KEPT {
                        said.remove(0);
                    }
                    said.push(line);
                }
            }
        });
        Ok(Self {
            name,
            pid,
            orders: child.stdin.take(),
            answers: BufReader::new(out).lines(),
            child,
            said,
        })
    }

    /// The last lines of its stderr.
    pub(super) fn said(&self) -> Vec<String> {
        self.said.lock().map(|said| said.clone()).unwrap_or_default()
    }

    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        let what = || format!("{} has ended: {}", self.name, self.said().join("; "));
        Ok(Usage {
            cpu: cost::cpu_of(self.pid).with_context(what)?,
            resident: cost::resident(Some(self.pid)).with_context(what)?,
        })
    }

    /// Gives an order and waits for its answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        order: &impl Serialize,
        patience: Duration,
    ) -> anyhow::Result<T> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let orders = self.orders.as_mut().context("it takes no orders")?;
        if orders.write_all(&line).await.is_err() {
            bail!("{} has ended: {}", self.name, self.said().join("; "));
        }
        self.answer(patience).await
    }

    /// Waits for what it says next.
    pub(super) async fn answer<T: DeserializeOwned>(&mut self, patience: Duration) -> anyhow::Result<T> {
        match timeout(patience, self.answers.next_line()).await {
            Ok(Ok(Some(line))) => {
                serde_json::from_str(&line).with_context(|| format!("{} said {line:?}", self.name))
            }
            Ok(_) => bail!("{} has ended: {}", self.name, self.said().join("; ")),
            Err(_) => bail!(
                "{} did not answer within {patience:?}: {}",
                self.name,
                self.said().join("; ")
            ),
        }
    }

    /// Ends it at once (SIGKILL), and waits until it has gone.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("killing {}", self.name))
    }
}
