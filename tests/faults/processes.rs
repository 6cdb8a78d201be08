//! Processes of this machine as /proc shows them: what a cluster left, and what a process uses.

use std::{fs, path::Path, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Every process whose command line names `dir`, with that line.
pub(crate) fn naming(dir: &Path) -> Vec<(i32, String)> {
    let dir = dir.to_str().unwrap();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Empty for a process that has ended.
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(dir) {
            found.push((pid, line));
        }
    }
    found
}

/// Ends all of them: a test that fails must leave nothing behind.
pub(crate) fn end_all(dir: &Path) {
    for _ in 0..100 {
        let left = naming(dir);
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            signal(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) peak_kib: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
}

pub(crate) fn usage(pid: i32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some(Usage {
        peak_kib: number("VmHWM:")?,
        fds: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        threads: number("Threads:")?,
    })
}
