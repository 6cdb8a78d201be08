//! The children of this process. It is a subreaper: a descendant whose parent has ended becomes its child, however
//! it was detached.

use std::{fs, process};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Reaps one child that has ended.
pub(super) fn reap() -> Option<(Pid, WaitStatus)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => {
                return status.pid().map(|pid| (pid, status));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Kills the present children; true while there are any. Only children are killed, never grandchildren: a child's
/// pid cannot be used again before it is reaped here, and a grandchild becomes a child when its parent dies.
pub(super) fn kill_all() -> bool {
    let children = children();
    for pid in &children {
        let _ = kill(*pid, Signal::SIGKILL);
    }
    !children.is_empty()
}

fn children() -> Vec<Pid> {
    let own = process::id();
    // Absent without CONFIG_PROC_CHILDREN.
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(list) => list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .map(Pid::from_raw)
            .collect(),
        Err(_) => scan(own),
    }
}

fn scan(own: u32) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent(*pid) == Some(own))
        .map(Pid::from_raw)
        .collect()
}

/// The fourth field of `/proc/PID/stat`, proc_pid_stat(5); the second may hold spaces and parentheses.
fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
