//! The plugin's end of a run: start it, watch it, stop it, find it again after a restart.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::libc::O_NONBLOCK;
use tokio::sync::watch;

use super::spec::{self, Exit, RunSpec, RunState, Started, Stop};
use crate::{
    code::{Code, reason},
    wire::Status,
};

/// How soon a change is seen: at first, and when nothing has happened for a while. Polling, not inotify: an HPC
/// home is often a network file system, and inotify instances are few (128 a user).
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(200);

/// One instance of a container, under its supervisor. Dropping it lets the run go on.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    seen: RunState,
    /// Turns true when the supervisor process has ended; only for a run that this process started.
    ended: Option<watch::Receiver<bool>>,
}

impl Run {
    /// Starts a run in the new directory `dir` under `program supervise DIR`. The spec must be whole: it is not
    /// looked at here. Answers when the supervisor was started; what becomes of the command is told by
    /// [`Run::changed`].
    ///
    /// # Errors
    /// When the directory cannot be written, was used before, or the program cannot be started.
    pub async fn start(dir: &Path, spec: &RunSpec, program: &Path) -> Result<Self, Status> {
        let lock = prepare(dir, spec)?;
        let mut command = tokio::process::Command::new(program);
        command.arg("supervise").arg(dir).current_dir("/").env_clear();
        for kept in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        let talk = create_new(&dir.join(spec::TALK)).map_err(|error| failed("create", dir, &error))?;
        // The lock goes to the supervisor with its stdin: it is held without a break from here to its end.
        command
            .stdin(Stdio::from(lock))
            .stdout(Stdio::null())
            .stderr(Stdio::from(talk));
        let mut child = command
            .spawn()
            .map_err(|error| failed("start the supervisor", program, &error))?;
        drop(command);
        let (tell, ended) = watch::channel(false);
        tokio::spawn(async move {
            // Also reaps it. An error here would mean that it is not our child: the same answer.
            let _ = child.wait().await;
            tell.send_replace(true);
        });
        Ok(Self {
            dir: dir.to_owned(),
            seen: RunState::Starting,
            ended: Some(ended),
        })
    }

    /// Finds a run again: alive, ended, or lost (an [`Exit`] with reason ContainerLost).
    ///
    /// # Errors
    /// When there is no such run, or its files cannot be read.
    pub fn attach(dir: &Path) -> Result<Self, Status> {
        if !dir.join(spec::SPEC).exists() && !dir.join(spec::EXIT).exists() {
            return Err(Status::new(
                Code::NotFound,
                reason::POD_NOT_FOUND,
                format!("no run in {}", dir.display()),
            ));
        }
        let seen = look(dir).map_err(|error| failed("read", dir, &error))?;
        Ok(Self {
            dir: dir.to_owned(),
            seen,
            ended: None,
        })
    }

    /// The directory of the run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it stands now.
    pub fn state(&self) -> RunState {
        match &self.seen {
            RunState::Exited(exit) => RunState::Exited(exit.clone()),
            seen => look(&self.dir).unwrap_or_else(|_| seen.clone()),
        }
    }

    /// Waits until it stands elsewhere than [`Run::changed`] last told (at first: than at start or attach). Answers
    /// at once, again and again, when it has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: a change is told by the next call.
    pub async fn changed(&mut self) -> RunState {
        let mut pause = LOOK_MIN;
        loop {
            let now = self.state();
            if now != self.seen || matches!(now, RunState::Exited(_)) {
                self.seen = now.clone();
                return now;
            }
            match &mut self.ended {
                Some(ended) if !*ended.borrow() => {
                    let _ = tokio::time::timeout(pause, ended.changed()).await;
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Asks for the end: preStop, SIGTERM, the grace period, SIGKILL. Repeating it may only shorten the grace.
    ///
    /// # Errors
    /// When the wish cannot be written.
    pub fn stop(&self, grace_seconds: u64) -> Result<(), Status> {
        spec::write_record(&self.dir, spec::STOP, &Stop { grace_seconds })
            .map_err(|error| failed("write the stop record in", &self.dir, &error))?;
        wake(&self.dir);
        Ok(())
    }

    /// Asks for the end at once. A failure is logged: the supervisor then goes by its spec.
    pub fn kill(&self) {
        if let Err(status) = self.stop(0) {
            tracing::error!(dir = %self.dir.display(), %status, "a run could not be killed");
        }
    }
}

fn prepare(dir: &Path, spec: &RunSpec) -> Result<File, Status> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| failed("create", dir, &error))?;
    let path = dir.join(spec::LOCK);
    let logs = dir.join(spec::LOG);
    // Only the first start of a directory gets past this: a run is never started twice.
    let lock = create_new(&path).map_err(|error| failed("create", &path, &error))?;
    lock.lock().map_err(|error| failed("lock", &path, &error))?;
    spec::write_record(dir, spec::SPEC, spec).map_err(|error| failed("write the spec in", dir, &error))?;
    // A run that was begun must be found again, or it would be begun once more: its directory with its parents, up to
    // the pod's, which was made durable with the pod's record.
    for parent in dir.ancestors().skip(1).take(3) {
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| failed("sync", parent, &error))?;
    }
    // Last: a run with a log directory is one that readers wait for.
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&logs)
        .map_err(|error| failed("create", &logs, &error))?;
    Ok(lock)
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Whether the command of a run may have been started. False only when that is sure: no supervisor lives, and none
/// has come as far as its control file, which it makes durable before it starts the command. Such a run may be begun
/// again.
///
/// # Errors
/// When the files cannot be looked at.
pub(crate) fn was_begun(dir: &Path) -> io::Result<bool> {
    // In this order: a supervisor that lets go of its lock meanwhile has made its files before.
    if alive(dir)? {
        return Ok(true);
    }
    for file in [spec::CONTROL, spec::STARTED, spec::EXIT] {
        if dir.join(file).try_exists()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Records the end of a run that could not be begun, so that it stays ended over a restart.
pub(crate) fn record_failure(dir: &Path, exit: &Exit) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    spec::write_record(dir, spec::EXIT, exit)
}

/// Looks at the files. The lock is tried before the exit record is read for the last time: a supervisor writes the
/// record before it lets the lock go.
pub(crate) fn look(dir: &Path) -> io::Result<RunState> {
    if let Some(exit) = spec::read_record::<Exit>(dir, spec::EXIT)? {
        return Ok(RunState::Exited(exit));
    }
    let started = spec::read_record::<Started>(dir, spec::STARTED)?;
    if alive(dir)? {
        return Ok(match started {
            Some(Started {
                started_at,
                ready: true,
            }) => RunState::Running { started_at },
            _ => RunState::Starting,
        });
    }
    if let Some(exit) = spec::read_record::<Exit>(dir, spec::EXIT)? {
        return Ok(RunState::Exited(exit));
    }
    let finished_at = fs::metadata(dir).and_then(|meta| meta.modified())?;
    let mut exit = Exit::not_started(
        137,
        "ContainerLost",
        format!(
            "lost: the supervisor ended without an exit record (was the machine restarted, or the supervisor killed?); \
             what it said is in {}",
            dir.join(spec::TALK).display()
        ),
    );
    exit.finished_at = finished_at;
    exit.started_at = started.map(|started| started.started_at);
    exit.started = started.is_some();
    Ok(RunState::Exited(exit))
}

/// True while the supervisor lives.
fn alive(dir: &Path) -> io::Result<bool> {
    match File::open(dir.join(spec::LOCK)) {
        Ok(lock) => match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Wakes the supervisor. One that does not listen yet looks at the stop record before it waits.
fn wake(dir: &Path) {
    let control = OpenOptions::new()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(dir.join(spec::CONTROL));
    if let Ok(mut control) = control {
        let _ = control.write(b"!");
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Status {
    let text = format!("cannot {what} {}: {error}", path.display());
    tracing::error!(path = %path.display(), %error, "a run's files or supervisor failed");
    let code = match error.kind() {
        io::ErrorKind::AlreadyExists => Code::FailedPrecondition,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(code, reason::PLUGIN_ERROR, text)
}
