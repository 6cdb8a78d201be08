//! sup
use std::{path::Path, process::ExitCode};

/// What this machine lets a process do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Ok when a container can have a private root (volumes at their mountPath), else why not and what to do.
    pub mounts: Result<(), String>,
}

/// `towline supervise DIR`: must be called before any thread is started.
pub fn main(run_dir: &Path) -> ExitCode {
    let _ = run_dir;
    todo!()
}

/// Asks the machine, by trying it in a process of `program` (the binary with the hidden subcommand).
pub fn probe(program: &Path) -> Capabilities {
    let _ = program;
    todo!()
}
