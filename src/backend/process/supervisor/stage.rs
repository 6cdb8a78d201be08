//! The processes that become something else: the command, a hook, a trial.

use std::{
    env, fs,
    fs::File,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
};
use serde::{Deserialize, Serialize};

use super::{TARGET, root};
use crate::backend::process::spec::{self, RunSpec};

/// Where commands are looked for when the container has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the command could not be started; goes through a pipe to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) exit_code: i32,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Failure {
    fn start(message: impl Into<String>) -> Self {
        Self {
            exit_code: 128,
            reason: "StartError".into(),
            message: message.into(),
        }
    }
}

/// Becomes the command. Its stdin is the pipe for a [`Failure`]; the copy closes itself when the command starts.
pub(super) fn exec(dir: &Path) -> ExitCode {
    let Ok(report) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::from(128);
    };
    let failure = start(dir);
    let _ = serde_json::to_writer(File::from(report), &failure);
    ExitCode::from(u8::try_from(failure.exit_code).unwrap_or(128))
}

fn start(dir: &Path) -> Failure {
    let spec = match read(dir) {
        Ok(spec) => spec,
        Err(message) => return Failure::start(message),
    };
    if let Err(error) = nix::unistd::setsid() {
        return Failure::start(format!("cannot begin a session: {error}"));
    }
    if !spec.mounts.is_empty()
        && let Err(message) = root::enter(
            &dir.join("root"),
            dir.ancestors().nth(3).unwrap_or(dir),
            &spec.mounts,
        )
    {
        return Failure::start(message);
    }
    become_command(&spec, &spec.argv)
}

/// Becomes a hook, in the namespaces of the container. What it says goes to stderr.
pub(super) fn hook(dir: &Path, pick: impl Fn(&RunSpec) -> Option<&[String]>) -> ExitCode {
    let failed = |message: String| {
        eprintln!("{message}");
        ExitCode::from(127)
    };
    let spec = match read(dir) {
        Ok(spec) => spec,
        Err(message) => return failed(message),
    };
    let Some(argv) = pick(&spec) else {
        return failed("no such hook".into());
    };
    if let Err(error) = join() {
        return failed(format!("cannot join the container's namespaces: {error}"));
    }
    let _ = nix::unistd::setsid();
    failed(become_command(&spec, argv).message)
}

/// Tries what a container with mounts needs. Says on stderr why it cannot be.
pub(super) fn probe(scratch: &Path) -> ExitCode {
    match root::enter(scratch, scratch, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn read(dir: &Path) -> Result<RunSpec, String> {
    match spec::read_record(dir, spec::SPEC) {
        Ok(Some(spec)) => Ok(spec),
        Ok(None) => Err("the run has no spec".into()),
        Err(error) => Err(format!("cannot read the spec: {error}")),
    }
}

fn join() -> io::Result<()> {
    let target = env::var(TARGET).map_err(io::Error::other)?;
    let differing = |name: &str| -> io::Result<Option<File>> {
        let theirs = format!("/proc/{target}/ns/{name}");
        let same = fs::read_link(&theirs)? == fs::read_link(format!("/proc/self/ns/{name}"))?;
        if same {
            Ok(None)
        } else {
            File::open(theirs).map(Some)
        }
    };
    let (user, mounts) = (differing("user")?, differing("mnt")?);
    if let Some(user) = user {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
    }
    if let Some(mounts) = mounts {
        setns(mounts, CloneFlags::CLONE_NEWNS)?;
    }
    Ok(())
}

fn become_command(spec: &RunSpec, argv: &[String]) -> Failure {
    let Some((program, arguments)) = argv.split_first() else {
        return Failure::start("no command");
    };
    // The supervisor has blocked what it waits for; the command starts with nothing blocked.
    if let Err(error) = SigSet::empty().thread_set_mask() {
        return Failure::start(format!("cannot unblock signals: {error}"));
    }
    // A container without a supervisor would be nobody's.
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return Failure::start(format!("cannot tie the command to its supervisor: {error}"));
    }
    if spec.no_new_privileges
        && let Err(error) = prctl::set_no_new_privs()
    {
        return Failure::start(format!("cannot give up gaining privileges: {error}"));
    }
    let working_dir = spec
        .working_dir
        .as_deref()
        .filter(|dir| !dir.is_empty())
        .unwrap_or("/");
    if let Err(error) = env::set_current_dir(working_dir) {
        return Failure::start(format!(
            "workingDir {working_dir:?}: {error}; it must exist on this machine or be a volume's mountPath"
        ));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    if !spec.env.iter().any(|(name, _)| name == "PATH") {
        command.env("PATH", PATH);
    }
    command
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    let error = command.exec();
    explain(program, &error)
}

/// Exit code and reason are what containerd gives: 126 and 127 are left to shells, so that a command that was never
/// started can be told from one that ran and did not find another.
fn explain(program: &str, error: &io::Error) -> Failure {
    Failure::start(match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') && Path::new(program).exists() => format!(
            "command {program:?}: the interpreter that it names (its #! line or loader) does not exist"
        ),
        io::ErrorKind::NotFound if program.contains('/') => {
            format!("command {program:?}: no such file on this machine; the image is not used here")
        }
        io::ErrorKind::NotFound => {
            format!("command {program:?}: not found in PATH; the image is not used here")
        }
        io::ErrorKind::PermissionDenied => {
            format!("command {program:?}: not executable (permission denied)")
        }
        _ => format!("command {program:?}: {error}"),
    })
}
