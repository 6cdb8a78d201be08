//! The command line: the only part that reads arguments, the environment and files of settings.
//!
//! Knows how a person or a script asks for something, and puts hub, plugin and backend together. Knows nothing of
//! frames or sessions; everything that a client verb learns comes over the hub's HTTP API. Three steps, one folder or
//! file each: `args` (as typed) -> `settings` (resolved: flag > environment > file > default) -> `commands` (done),
//! which print through `output`. Learn [`Args`] and [`Failure`].

mod args;
mod client;
mod commands;
mod delay;
mod exit;
mod follow;
mod logging;
mod manifest;
mod output;
mod settings;
mod stop;

pub use args::Args;
pub use exit::{Exit, Failure};

use std::process::ExitCode;

use clap::Parser as _;

/// Parses, runs, and gives the exit code.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap sends --help and --version to stdout and errors to stderr; a closed pipe is no news.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    // Before anything else: a supervisor is single-threaded, and its exit code is its own.
    if let args::Command::Supervise { dir } = &args.command {
        return crate::backend::process::supervisor::main(dir);
    }
    match commands::run(args) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error),
    }
}
