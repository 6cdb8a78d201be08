//! The supervisor's event loop.
//!
//! ```text
//! RUNNING -stop-> PRE_STOP -hook done / grace over-> TERMINATING -grace over-> KILLING
//!    |               |  (no hook: at once)               |                        |
//!    '---------------'------- the command ends ----------'------------------------'--> leftovers killed, pipe drained
//! ```
//! A stop with no grace goes to KILLING from anywhere.

mod hooks;
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
        signal::{SigSet, Signal, kill, killpg},
        signalfd::{SfdFlags, SignalFd},
        stat::Mode,
        wait::WaitStatus,
    },
    unistd::{Pid, mkfifo},
};

use super::{STAGE, TARGET, children, stage::Failure};
use crate::backend::process::{
    log::writer::LogWriter,
    spec::{self, Exit, RunSpec, Started, Stop},
};

/// Read from the pipe at once, in bytes: what a pipe holds.
const BATCH: usize = 64 << 10;
/// What SIGTERM gets at least when preStop has used up the grace period (as the kubelet).
const LAST_GRACE: Duration = Duration::from_secs(2);
/// How long leftover processes may take to die after SIGKILL; one in a dead file system never does.
const REAP_PATIENCE: Duration = Duration::from_secs(10);
/// Batches read after the end at most: a process outside may hold the pipe and write for ever.
const DRAIN_BATCHES: usize = 1024;
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

    fn take_stop(&mut self) {
        match spec::read_record::<Stop>(&self.dir, spec::STOP) {
            Ok(Some(stop)) => self.stop(stop.grace_seconds),
            Ok(None) => {}
            // Someone wanted an end and how is not known.
            Err(_) => self.stop(self.spec.grace_seconds),
        }
    }

    /// One batch; true when there may be more.
    fn take_output(&mut self) -> bool {
        let Some(output) = &mut self.output else {
            return false;
        };
        match output.read(&mut self.buffer) {
            Ok(0) => {
                self.output = None;
                false
            }
            Ok(read) => {
                self.log.write(&self.buffer[..read], SystemTime::now());
                true
            }
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// The report pipe is written in one go, or closed by the command's start.
    fn take_report(&mut self) {
        let Some(mut report) = self.report.take() else {
            return;
        };
        let mut text = Vec::new();
        let read = report.read_to_end(&mut text);
        if read.is_ok() && text.is_empty() {
            self.begun();
        } else {
            self.failure = Some(serde_json::from_slice(&text).unwrap_or(Failure {
                exit_code: 128,
                reason: "StartError".into(),
                message: "the command could not be started".into(),
            }));
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

    fn stop(&mut self, grace_seconds: u64) {
        self.stopped = true;
        self.end(grace_seconds);
    }

    fn end(&mut self, grace_seconds: u64) {
        let until = Instant::now() + Duration::from_secs(grace_seconds.min(u64::from(u32::MAX)));
        if grace_seconds == 0 {
            return self.kill();
        }
        match &mut self.phase {
            Phase::Running if self.spec.pre_stop.is_some() && self.started_at.is_some() => {
                self.phase = Phase::PreStop { until };
                self.start_hook(Hook::PreStop);
            }
            Phase::Running => self.terminate(until),
            Phase::PreStop { until: set } | Phase::Terminating { until: set } => *set = until.min(*set),
            Phase::Killing => {}
        }
    }

    fn terminate(&mut self, until: Instant) {
        self.phase = Phase::Terminating { until };
        self.signal(Signal::SIGTERM);
    }

    fn terminate_after_hook(&mut self, until: Instant) {
        self.terminate(until.max(Instant::now() + LAST_GRACE));
    }

    fn kill(&mut self) {
        self.phase = Phase::Killing;
        self.signal(Signal::SIGKILL);
    }

    /// To the command's process group; before it has one, to the process. The command is not reaped yet, so the
    /// number is still its own.
    fn signal(&self, signal: Signal) {
        if self.ended.is_none() && killpg(self.main, signal).is_err() {
            let _ = kill(self.main, signal);
        }
    }

    fn timers(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::PreStop { until } if until <= now => self.terminate_after_hook(until),
            Phase::Terminating { until } if until <= now => {
                self.overdue = true;
                self.kill();
            }
            _ => {}
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

    /// True when none is left.
    fn end_leftovers(&mut self) -> bool {
        let begun = Instant::now();
        while children::kill_all() {
            if begun.elapsed() > REAP_PATIENCE {
                return false;
            }
            while children::reap().is_some() {}
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn drain(&mut self) {
        for _ in 0..DRAIN_BATCHES {
            let Some(output) = &self.output else { return };
            let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) || !self.take_output() {
                return;
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
