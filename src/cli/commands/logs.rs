//! `towline logs`

use std::io;

use super::{connect, pod_name};
use crate::cli::{
    args::LogsArgs,
    exit::{Exit, Failure},
    follow::{self, FollowError, LogOptions, Reader},
    output::Out,
};

pub(super) async fn run(args: LogsArgs) -> anyhow::Result<Exit> {
    let (client, settings) = connect(&args.client)?;
    let tail = match args.tail {
        None | Some(-1) => None,
        Some(lines) => Some(u64::try_from(lines).map_err(|_| {
            Failure::Usage(format!(
                "--tail {lines}: give a number of lines, or -1 for all of them"
            ))
        })?),
    };
    let options = LogOptions {
        container: args.container,
        follow: args.follow,
        tail,
        // As kubectl: part of a second counts as a whole one.
        since_seconds: args
            .since
            .map(|since| since.as_secs() + u64::from(since.subsec_nanos() > 0)),
        since_time: args.since_time,
        timestamps: args.timestamps,
        limit_bytes: args.limit_bytes,
        previous: args.previous,
    };
    let pod = pod_name(&args.pod);
    let read = follow::read(&client, settings.namespace(), pod, &options, &mut Stdout).await;
    read.map_err(|error| match error {
        // The hub's own refusal chooses the exit code.
        FollowError::Client(error) => anyhow::Error::from(error),
        error => error.into(),
    })?;
    Ok(Exit::Ok)
}

/// Bytes to stdout as they are, talk to stderr.
struct Stdout;

impl Reader for Stdout {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        Out.bytes(bytes)
    }

    fn say(&mut self, text: &str) {
        eprintln!("towline: {text}");
    }
}
