//! One process per run: it owns the container's processes, namespaces, pipe, log and exit record, and outlives the
//! plugin.
//!
//! Knows Linux; knows nothing of pods, of the link, or of tokio: it is a single thread in a process of its own,
//! entered by the hidden subcommand `supervise`. The same subcommand runs three more stages, told apart by
//! `STAGE` in the environment, each in a process of its own so that no code runs between fork and exec:
//!
//! ```text
//! plugin -spawn-> supervise (setsid, subreaper, event loop: watch)
//!                   |-spawn-> stage exec       new session, private root, then becomes the command
//!                   |-spawn-> stage post_start joins the container's namespaces, then becomes the hook
//!                   '-spawn-> stage pre_stop   the same
//! ```
//! Learn [`main`] and `watch::Watch`.

mod children;
mod root;
mod stage;
mod watch;

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::spec::{self, Exit, RunSpec};

/// Environment variable that names the stage.
const STAGE: &str = "TOWLINE_SUPERVISE_STAGE";
/// Environment variable with the pid of the container's first process, for hooks.
const TARGET: &str = "TOWLINE_SUPERVISE_TARGET";
/// How long a full disk may hold up the exit record.
const RECORD_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What this machine lets a process do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Ok when a container can have a private root (volumes at their mountPath), else why not and what to do.
    pub mounts: Result<(), String>,
}

/// `towline supervise DIR`. Must be called before any thread is started: namespaces are entered by single-threaded
/// processes only.
pub fn main(run_dir: &Path) -> ExitCode {
    match std::env::var(STAGE).as_deref() {
        Ok("exec") => stage::exec(run_dir),
        Ok("post_start") => stage::hook(run_dir, |spec| spec.post_start.as_deref()),
        Ok("pre_stop") => stage::hook(run_dir, |spec| spec.pre_stop.as_deref()),
        Ok("probe") => stage::probe(run_dir),
        Ok(other) => {
            eprintln!("towline supervise: {STAGE} has the unknown value {other:?}; unset it");
            ExitCode::FAILURE
        }
        Err(_) => supervise(run_dir),
    }
}

/// Asks the machine by trying it, in a process of `program` (the binary with the subcommand). Blocks for some
/// milliseconds.
pub fn probe(program: &Path) -> Capabilities {
    let tried = Command::new(program)
        .arg("supervise")
        .arg(std::env::temp_dir())
        .env_clear()
        .envs(std::env::var_os("LD_LIBRARY_PATH").map(|value| ("LD_LIBRARY_PATH", value)))
        .env(STAGE, "probe")
        .stdin(Stdio::null())
        .output();
    let mounts = match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("cannot start {}: {error}", program.display())),
    };
    Capabilities { mounts }
}

fn supervise(dir: &Path) -> ExitCode {
    // Fails only for the leader of a process group, which then is a shell's job already.
    let _ = nix::unistd::setsid();
    // Held until the process ends, after the exit record.
    let _lock = match lock(dir) {
        Ok(lock) => lock,
        Err(error) => {
            eprintln!(
                "towline supervise {}: not a run, or supervised already: {error}",
                dir.display()
            );
            return ExitCode::FAILURE;
        }
    };
    let exit = match spec::read_record::<RunSpec>(dir, spec::SPEC) {
        Ok(Some(run)) => watch::Watch::start(dir, run).map_or_else(
            |error| Exit::not_started(128, "StartError", format!("cannot start: {error}")),
            watch::Watch::run,
        ),
        Ok(None) => Exit::not_started(128, "StartError", "cannot start: no spec"),
        Err(error) => Exit::not_started(128, "StartError", format!("cannot start: spec: {error}")),
    };
    record(dir, &exit)
}

/// The lock comes as stdin from [`super::run::Run::start`]; a supervisor started by hand takes it itself.
fn lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(spec::LOCK);
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let given = File::from(stdin.as_fd().try_clone_to_owned()?);
        let (ours, theirs) = (given.metadata()?, std::fs::metadata(&path));
        if theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino())) {
            given.try_lock()?;
            return Ok(given);
        }
    }
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.try_lock()?;
    Ok(file)
}

fn record(dir: &Path, exit: &Exit) -> ExitCode {
    let begun = Instant::now();
    while let Err(error) = spec::write_record(dir, spec::EXIT, exit) {
        // A pod that was deleted needs no record.
        if error.kind() == io::ErrorKind::NotFound || begun.elapsed() > RECORD_PATIENCE {
            eprintln!(
                "towline supervise {}: cannot write the exit record: {error}",
                dir.display()
            );
            return ExitCode::FAILURE;
        }
        thread::sleep(Duration::from_secs(1));
    }
    ExitCode::SUCCESS
}
