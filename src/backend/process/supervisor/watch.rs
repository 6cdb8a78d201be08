//! The supervisor's event loop.
//!
//! ```text
//! RUNNING -stop-> PRE_STOP -hook done / grace over-> TERMINATING -grace over-> KILLING
//!    |               |  (no hook: at once)               |                        |
//!    '---------------'------- the command ends ----------'------------------------'--> leftovers killed, pipe drained
//! ```
//! A stop with no grace goes to KILLING from anywhere. SIGTERM goes to the command alone, SIGKILL to everything.

mod hooks;
mod output;
mod stop;
mod verdict;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, PipeReader, Read},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    libc::O_NONBLOCK,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        stat::Mode,
        wait::WaitStatus,
    },
    unistd::{Pid, mkfifo},
};

use super::{STAGE, TARGET, children, stage::Failure};
use crate::backend::process::{
    log::writer::LogWriter,
    spec::{self, Exit, RunSpec, Started},
};

/// Read from the pipe at once, in bytes: what a pipe holds.
const BATCH: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    PreStop { until: Instant },
    Terminating { until: Instant },
    Killing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    PostStart,
    PreStop,
}

/// One run under way.
#[derive(Debug)]
pub(super) struct Watch {
    dir: PathBuf,
    spec: RunSpec,
    log: LogWriter,
    signals: SignalFd,
    control: File,
    /// None when every writer has closed it.
    output: Option<PipeReader>,
    /// None when the command has been started, or has failed to.
    report: Option<PipeReader>,
    main: Pid,
    ended: Option<WaitStatus>,
    phase: Phase,
    hook: Option<(Pid, Hook)>,
    started_at: Option<SystemTime>,
    failure: Option<Failure>,
    /// Why it was ended, when that was not asked for.
    fault: Option<(&'static str, String)>,
    stopped: bool,
    overdue: bool,
    oom_kills: Option<u64>,
    buffer: Vec<u8>,
}

impl Watch {
    /// Starts the command.
    pub(super) fn start(dir: &Path, spec: RunSpec) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let control = dir.join(spec::CONTROL);
        mkfifo(&control, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // For writing too, so that it never reads as closed.
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(control)?;
        let logs = dir.join(spec::LOG);
        fs::create_dir_all(&logs)?;
        if !spec.mounts.is_empty() {
            fs::create_dir_all(dir.join("root"))?;
        }
        if let Some(message) = &spec.termination {
            message.create(dir)?;
        }
        // A run without the control file was never begun, also after a power cut: see `run::was_begun`.
        File::open(dir)?.sync_all()?;
        let (output, writer) = io::pipe()?;
        let (report, reporter) = io::pipe()?;
        let mut command = stage(dir, "exec");
        command.stdin(reporter).stdout(writer.try_clone()?).stderr(writer);
        let main = spawn(command)?;
        Ok(Self {
            dir: dir.to_owned(),
            log: LogWriter::new(&logs, spec.log_cap, spec.log_segment),
            spec,
            signals,
            control,
            output: Some(output),
            report: Some(report),
            main,
            ended: None,
            phase: Phase::Running,
            hook: None,
            started_at: None,
            failure: None,
            fault: None,
            stopped: false,
            overdue: false,
            oom_kills: verdict::oom_kills(),
            buffer: vec![0; BATCH],
        })
    }

    /// Until the command and all its descendants have ended.
    pub(super) fn run(mut self) -> Exit {
        // A stop may have come before the control file was there.
        self.take_stop();
        while self.ended.is_none() {
            self.timers();
            if let Err(error) = self.wait() {
                // Without poll there is nothing to go by: end it and say so.
                self.fault = Some(("Error", format!("the supervisor cannot wait: {error}")));
                self.kill();
                std::thread::sleep(Duration::from_millis(10));
            }
            self.reap();
        }
        let clean = self.end_leftovers();
        self.take_report();
        self.drain();
        self.exit(clean)
    }

    fn wait(&mut self) -> io::Result<()> {
        let until = match self.phase {
            Phase::PreStop { until } | Phase::Terminating { until } => Some(until),
            Phase::Running | Phase::Killing => None,
        };
        // A millisecond more, so that the timer has passed when it is looked at.
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left.min(3_600_000)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
        ];
        let output = self.output.as_ref().map(|output| {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let report = self.report.as_ref().map(|report| {
            fds.push(PollFd::new(report.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds[index].any().unwrap_or(false);
        let (signals, control) = (ready(0), ready(1));
        let (output, report) = (output.is_some_and(ready), report.is_some_and(ready));
        drop(fds);
        if report {
            self.take_report();
        }
        if output {
            self.take_output();
        }
        if signals {
            self.take_signals();
        }
        if control {
            let mut wakes = [0; 64];
            while matches!(self.control.read(&mut wakes), Ok(1..)) {}
            self.take_stop();
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                self.stop(self.spec.grace_seconds);
            }
        }
    }

    fn begun(&mut self) {
        let started_at = SystemTime::now();
        self.started_at = Some(started_at);
        let hook = self.spec.post_start.is_some() && self.ended.is_none() && self.phase == Phase::Running;
        self.tell_started(!hook);
        if hook {
            self.start_hook(Hook::PostStart);
        }
    }

    /// The exit record holds the start too: when this cannot be written, Starting is shown for longer.
    fn tell_started(&self, ready: bool) {
        if let Some(started_at) = self.started_at
            && let Err(error) = spec::write_record(&self.dir, spec::STARTED, &Started { started_at, ready })
        {
            eprintln!("cannot write {}: {error}", spec::STARTED);
        }
    }

    fn reap(&mut self) {
        while let Some((pid, status)) = children::reap() {
            if pid == self.main {
                self.ended = Some(status);
            } else if let Some((_, hook)) = self.hook.take_if(|(own, _)| *own == pid) {
                let failed = self.hook_failure(status);
                self.hook_ended(hook, failed);
            }
        }
    }
}

/// This binary again, as another stage. The link stays good when the file is replaced by an update.
fn stage(dir: &Path, name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("supervise").arg(dir).env_clear().env(STAGE, name);
    if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// Starts it, and closes this side of its pipes. It is waited for with all other children.
fn spawn(mut command: Command) -> io::Result<Pid> {
    let child = command.spawn()?;
    i32::try_from(child.id())
        .map(Pid::from_raw)
        .map_err(io::Error::other)
}
