//! Everything that was asked, answered, seen and done, in order: lines of JSON in the temp dir, kept on failure.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde::Serialize;

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Hub,
    Plugin,
}

/// A call of the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    Create,
    Delete,
    Status,
    /// Until its answer begins.
    Logs,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Answered {
        http: u16,
        text: String,
    },
    /// The connection went, or could not be made.
    Broken(String),
    /// Neither, long after the deadline.
    Hung,
}

/// What a status call said of a pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seen {
    /// The hub does not know it.
    Absent,
    Waiting,
    Running,
    Terminated {
        code: i64,
    },
}

/// Who follows a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// GET /getLogs: one connection.
    Kubectl,
    /// `towline logs -f`: goes on over a restart of the hub.
    Towline,
}

/// How a reader ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadEnd {
    /// With the last chunk, or exit code 0.
    Whole,
    /// With an error.
    Broken(String),
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signal {
    Kill,
    Term,
    Stop,
    Cont,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum What {
    /// A pod is about to be created: it prints the numbers below `lines` (None: without end) and exits with `exit`.
    Pod {
        uid: String,
        lines: Option<u64>,
        exit: i64,
    },
    Begin {
        call: u64,
        op: Op,
        uid: String,
    },
    End {
        call: u64,
        outcome: Outcome,
    },
    Seen {
        uid: String,
        seen: Seen,
    },
    Reader {
        reader: u64,
        uid: String,
        kind: Kind,
    },
    Bytes {
        reader: u64,
        text: String,
    },
    ReaderEnd {
        reader: u64,
        end: ReadEnd,
    },
    /// Written before it is done.
    Ordered {
        role: Role,
        signal: Signal,
    },
    Started {
        role: Role,
        pid: i32,
    },
    /// Who calls it from now on finds it.
    Listens {
        role: Role,
    },
    Exited {
        role: Role,
        /// None: by a signal.
        code: Option<i32>,
        ordered: Option<Signal>,
    },
    /// For people: what the row does to network or disk.
    Fault {
        text: String,
    },
    /// A line on stderr that speaks of a panic.
    Panic {
        role: Role,
        text: String,
    },
    /// How often the pod's script was started, at the end.
    Starts {
        uid: String,
        count: usize,
    },
    /// The hub shows the pod at the end.
    Listed {
        uid: String,
    },
    /// A process that should be gone.
    Left {
        text: String,
    },
    Gauge {
        name: String,
        value: i64,
    },
    Usage {
        role: Role,
        peak_kib: u64,
        fds: u64,
        threads: u64,
    },
}

/// When, in milliseconds from the start, and what.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// The history that is being written.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    written: Mutex<(Vec<Entry>, File)>,
    next: AtomicU64,
}

impl History {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            began: Instant::now(),
            written: Mutex::new((Vec::new(), File::create(path).unwrap())),
            next: AtomicU64::new(1),
        }
    }

    /// A number for a call or reader.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn note(&self, what: What) {
        let mut written = self.written.lock().unwrap();
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let entry = Entry { at, what };
        let mut line = serde_json::to_vec(&entry).unwrap();
        line.push(b'\n');
        written.1.write_all(&line).unwrap();
        written.0.push(entry);
    }

    pub(crate) fn fault(&self, text: impl Into<String>) {
        self.note(What::Fault { text: text.into() });
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.written.lock().unwrap().0.clone()
    }
}
