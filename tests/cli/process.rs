//! The binary as a process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The binary, without the settings of whoever runs the tests.
pub(crate) fn towline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command.args(args).stdin(Stdio::null()).env("NO_COLOR", "1");
    let ours = |name: &str| {
        ["TOWLINE_", "INTERLINK", "SIDECAR"]
            .iter()
            .any(|word| name.starts_with(word))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    towline(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A process that is ended with the test, whatever happens.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Stderr, from the line after the one that was waited for.
    talk: BufReader<std::process::ChildStderr>,
}

impl Running {
    /// Starts it and waits for the line on stderr that holds `word`; gives that line.
    pub(crate) fn start(mut command: Command, word: &str) -> (Self, String) {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Self::of(child);
        let line = running.wait_for(word);
        (running, line)
    }

    /// One that was started with both pipes.
    pub(crate) fn of(mut child: Child) -> Self {
        let talk = BufReader::new(child.stderr.take().unwrap());
        Self { child, talk }
    }

    /// What it still says, to its end.
    pub(crate) fn rest_of_talk(&mut self) -> Vec<String> {
        self.talk.by_ref().lines().map(Result::unwrap).collect()
    }

    pub(crate) fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        let mut all = String::new();
        while self.talk.read_line(&mut line).unwrap() > 0 {
            if line.contains(word) {
                return line;
            }
            all.push_str(&line);
            line.clear();
        }
        panic!("it ended without {word:?}; it said:\n{all}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The exit code and the rest of stdout.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        // Both pipes are read: a full one would hold up the end.
        let mut out = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        let code = self.child.wait().unwrap().code();
        (code, out)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `http://...` or `unix://...` of a line.
pub(crate) fn address(line: &str) -> String {
    line.split([' ', ','])
        .find(|word| word.contains("://"))
        .unwrap()
        .to_owned()
}
