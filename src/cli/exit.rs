//! Exit codes, and the errors that choose one.

use std::process::ExitCode;

use super::client::ClientError;

/// What the process ends with; the numbers of sysexits.h where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It was tried and did not succeed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The hub cannot be reached, or cannot serve now (EX_UNAVAILABLE).
    Unavailable = 69,
    /// The hub refused the token (EX_NOPERM).
    Denied = 77,
    /// A setting is missing or wrong (EX_CONFIG).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The part of `--help` that documents the codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0   done
  1   tried, did not succeed (also: the demo's pod did not succeed)
  2   wrong usage
  69  the hub cannot be reached or cannot serve now
  77  denied: token missing or refused
  78  a setting is missing or wrong

Environment:
  TOWLINE_HUB, TOWLINE_TOKEN_FILE, TOWLINE_CA_FILE, TOWLINE_LOG, NO_COLOR;
  for `hub` and `plugin` every flag has a variable, see their --help.";

/// An error of the command line itself that decides the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments parse, but cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// A setting is missing or wrong: which, its value, what to do.
    #[error("{0}")]
    Config(String),
    /// Something this command needs is not there now.
    #[error("{0}")]
    Unavailable(String),
    /// It did not work.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Config(_) => Exit::Config,
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Failed(_) => Exit::Failed,
        }
    }
}

/// Prints an error for people, on one line, and gives its code. A closed pipe ends quietly.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return Exit::Ok.into();
    }
    eprintln!("towline: {error:#}");
    exit_of(error).into()
}

/// The code of an error: the outermost cause that has one.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| {
            cause
                .downcast_ref::<Failure>()
                .map(Failure::exit)
                .or_else(|| cause.downcast_ref::<ClientError>().map(ClientError::exit))
        })
        .unwrap_or(Exit::Failed)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_innermost_known_cause_chooses_the_code() {
        let error = Err::<(), _>(Failure::Config("x".to_owned()))
            .context("reading")
            .unwrap_err();
        assert_eq!(exit_of(&error), Exit::Config);
        assert_eq!(exit_of(&anyhow::anyhow!("plain")), Exit::Failed);
    }

    #[test]
    fn every_code_is_documented() {
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Unavailable,
            Exit::Denied,
            Exit::Config,
        ] {
            assert!(
                HELP.lines()
                    .any(|line| line.trim_start().starts_with(&format!("{} ", exit as u8)))
            );
        }
    }
}
