//! One hub or plugin as a child process: what it says and how it ends goes into the history.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use nix::sys::signal::Signal as Unix;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    sync::watch,
};

use crate::{
    history::{History, Role, Signal, What},
    processes,
};

/// A command that starts the binary, after `around` (such as `nsenter ...`), without settings from outside.
pub(crate) fn towline(around: &[String]) -> Command {
    let binary = env!("CARGO_BIN_EXE_towline");
    let mut command = match around.split_first() {
        Some((program, rest)) => {
            let mut command = Command::new(program);
            command.args(rest).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOWLINE_")) {
        command.env_remove(name);
    }
    command
}

/// It runs until it is told to end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) role: Role,
    pub(crate) pid: i32,
    ordered: Arc<Mutex<Option<Signal>>>,
    /// Its first http:// address, once it listens.
    address: watch::Receiver<String>,
    gone: watch::Receiver<bool>,
    history: Arc<History>,
}

impl Peer {
    pub(crate) fn start(mut command: Command, role: Role, log: &Path, history: &Arc<History>) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        history.note(What::Started { role, pid });
        let ordered: Arc<Mutex<Option<Signal>>> = Arc::default();
        let (says, address) = watch::channel(String::new());
        let (ends, gone) = watch::channel(false);
        let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = Arc::clone(history);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = talk.next_line().await {
                let _ = writeln!(log, "[{pid}] {line}");
                if line.contains("panicked at") || line.contains("RUST_BACKTRACE") {
                    heard.note(What::Panic { role, text: line });
                } else if let Some((_, rest)) = line.split_once("listening on http://")
                    && says.borrow().is_empty()
                {
                    says.send_replace(rest.split([' ', ',']).next().unwrap().to_owned());
                }
            }
        });
        let (why, told) = (Arc::clone(&ordered), Arc::clone(history));
        tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            // Its last words come first.
            let _ = reading.await;
            told.note(What::Exited {
                role,
                code: status.code(),
                ordered: *why.lock().unwrap(),
            });
            ends.send_replace(true);
        });
        Self {
            role,
            pid,
            ordered,
            address,
            gone,
            history: Arc::clone(history),
        }
    }

    /// Waits until it listens.
    pub(crate) async fn address(&self) -> String {
        let mut address = self.address.clone();
        let said = address.wait_for(|address| !address.is_empty()).await;
        said.expect("it ended before it listened").clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let unix = match signal {
            Signal::Kill => Unix::SIGKILL,
            Signal::Term => Unix::SIGTERM,
            Signal::Stop => Unix::SIGSTOP,
            Signal::Cont => Unix::SIGCONT,
        };
        if matches!(signal, Signal::Kill | Signal::Term) {
            *self.ordered.lock().unwrap() = Some(signal);
        }
        self.history.note(What::Ordered {
            role: self.role,
            signal,
        });
        processes::signal(self.pid, unix);
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(&self) {
        let mut gone = self.gone.clone();
        let _ = gone.wait_for(|gone| *gone).await;
    }
}
