//! A log that can be gone on with, out of one that can only be read.
//!
//! A plugin gives a log from its first byte, or from a time on. So a position is an offset from there, and each read
//! passes over what was delivered. That this is the same log as before is checked on the way: the bytes passed over must
//! be those that were delivered. If not, and nothing was just put in front of them (`grown`), or if the log is shorter now,
//! the log begins anew with `reset`.
//!
//! Learn [`stream`], `view::View` (which log: what a plugin is asked for; it is the epoch of a position) and
//! `reader::Reader` (one read).

mod ends;
mod grown;
mod marks;
mod passing;
mod reader;
mod refused;
mod view;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

pub(super) use self::marks::Logs;
use self::{
    ends::{Done, Stop},
    reader::Reader,
    refused::{is_passing, refused},
};
use super::{Shared, entry::Entry};
use crate::{
    code::{Code, reason},
    limits,
    plugin::{LogRequest, LogSink},
    wire::{LogsEnd, Status},
};

/// Failed reads in a row for which a reader that is in the middle of a log waits.
const PATIENCE: u32 = 30;
/// Reads that must bring nothing after the container has ended: a plugin may write the last lines late.
const QUIET: u32 = 2;

/// Sends a container's log. A followed log is read again and again, one read at a time, until the container has ended.
pub(super) async fn stream(
    shared: &Arc<Shared>,
    request: LogRequest,
    mut sink: LogSink,
) -> Result<LogsEnd, Status> {
    let mut life = Life::new(shared, &request);
    if life.container.is_empty() && life.is_by_name() {
        let text = format!(
            "nothing but its name is known here of pod {}: name the container",
            request.pod
        );
        return Err(Status::new(Code::InvalidArgument, "", text).not_started());
    }
    let mut reader = Reader::new(shared, &request, &life.container);
    let follow = request.options.follow;
    let mut pace = Pace::default();
    loop {
        let began = Instant::now();
        // Asked before the read: what is written before the end is read then.
        life.look(reader.is_of_former_run());
        let outcome = reader.read(&mut sink).await;
        let is_other = matches!(
            &outcome,
            Ok(Done::Changed | Done::Shorter { .. }) | Err(Stop::Refused(_))
        );
        // Its log went with it: that is no log that begins anew.
        if is_other && life.is_deleted() {
            let text = format!("pod {} was deleted, and its log with it", request.pod);
            return Err(Status::new(Code::NotFound, reason::POD_NOT_FOUND, text));
        }
        match outcome {
            Err(Stop::Gone) | Ok(Done::Limit) => return Ok(reader.end(false)),
            Ok(Done::Changed) => {
                reader.begin_anew();
                continue;
            }
            Ok(Done::Shorter { empty }) => {
                // Once may be an answer that was cut off.
                if pace.shorter(empty) {
                    reader.begin_anew();
                    continue;
                }
                if empty && !follow {
                    return Ok(reader.end(life.ended));
                }
                pace.brought(0);
            }
            Ok(Done::Read(_)) if !follow => return Ok(reader.end(life.ended)),
            Ok(Done::Read(bytes)) => pace.brought(bytes),
            Err(Stop::Refused(..)) if reader.is_silent() && life.is_waiting() => {
                // The container has not begun: there is no log yet.
                if reader.wait(&mut sink).await.is_err() || !follow {
                    return Ok(reader.end(false));
                }
                pace.brought(0);
            }
            Err(Stop::Refused(whole)) => {
                let passing = is_passing(&whole) || !life.ended;
                if reader.is_silent() || !follow || !pace.failed(passing) {
                    return Err(refused(&whole));
                }
            }
            Err(Stop::Failed(failed)) => {
                if reader.is_silent() || !pace.failed(true) {
                    return Err(failed.passing(&shared.upstream.address()));
                }
            }
        }
        if life.ended && pace.quiet >= QUIET {
            return Ok(reader.end(true));
        }
        let pause = pace.pause(life.ended, began.elapsed());
        if until_gone(&sink, sleep(pause)).await.is_err() {
            return Ok(reader.end(false));
        }
    }
}

/// The reader has gone.
struct Gone;

/// Waits for something as long as the reader is there.
async fn until_gone<T>(sink: &LogSink, work: impl Future<Output = T>) -> Result<T, Gone> {
    tokio::select! {
        biased;
        () = sink.cancelled() => Err(Gone),
        done = work => Ok(done),
    }
}

/// How far the container is, as the status calls have it.
struct Life<'a> {
    shared: &'a Shared,
    uid: String,
    container: String,
    /// The bridge has the pod, or had it.
    known: bool,
    /// The plugin is known to have had it.
    sure: bool,
    started: bool,
    ended: bool,
}

impl<'a> Life<'a> {
    fn new(shared: &'a Shared, request: &LogRequest) -> Self {
        let uid = request.pod.uid.clone();
        let mut container = request.container.clone();
        let pods = shared.pods();
        let entry = pods.get(&uid);
        if let (true, Some(entry)) = (container.is_empty(), entry) {
            let first = entry.record.pod.spec().containers.first();
            container = first.map(|first| first.name.clone()).unwrap_or_default();
        }
        Self {
            known: entry.is_some(),
            sure: false,
            shared,
            uid,
            container,
            started: false,
            ended: false,
        }
    }

    /// `former`: the log is that of a run that has ended.
    fn look(&mut self, former: bool) {
        let pods = self.shared.pods();
        let entry = pods.get(&self.uid);
        let says = |what: fn(&Entry, &str) -> bool| entry.is_some_and(|entry| what(entry, &self.container));
        self.sure = entry.is_some_and(Entry::is_sure);
        self.started |= says(Entry::has_started);
        self.ended = former || says(Entry::has_ended) || self.known && entry.is_none();
    }

    /// It came to the plugin by another way, and only its name is known.
    fn is_by_name(&self) -> bool {
        self.shared.pods().get(&self.uid).is_some_and(Entry::is_minimal)
    }

    fn is_deleted(&self) -> bool {
        self.known && self.shared.pods().get(&self.uid).is_none()
    }

    fn is_waiting(&self) -> bool {
        self.known && self.sure && !self.started && !self.ended
    }
}

/// When to read again.
#[derive(Default)]
struct Pace {
    pause: Duration,
    failures: u32,
    shorter: u32,
    /// Reads in a row that brought nothing.
    quiet: u32,
}

impl Pace {
    fn brought(&mut self, bytes: u64) {
        self.failures = 0;
        if bytes > 0 {
            self.shorter = 0;
            self.quiet = 0;
            self.pause = Duration::ZERO;
        } else {
            self.quiet += 1;
        }
    }

    /// Whether a failed read may be made again.
    fn failed(&mut self, passing: bool) -> bool {
        self.failures += 1;
        self.pause = limits::UPSTREAM_LOG_LATE;
        self.failures < if passing { PATIENCE } else { 3 }
    }

    /// Whether a log that is shorter now has been so twice, and holds something.
    fn shorter(&mut self, empty: bool) -> bool {
        self.shorter += 1;
        let sure = self.shorter >= 2 && !empty;
        if sure {
            self.shorter = 0;
        }
        sure
    }

    /// `took`: a long log is not read without a pause.
    fn pause(&mut self, ended: bool, took: Duration) -> Duration {
        self.pause = (self.pause * 2).clamp(limits::UPSTREAM_LOG_SOON, limits::UPSTREAM_LOG_LATE);
        let pause = if ended {
            self.pause.min(limits::UPSTREAM_LOG_LATE / 2)
        } else {
            self.pause
        };
        pause.max(took).min(limits::UPSTREAM_LOG_LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_while_nothing_comes_and_starts_again_with_bytes() {
        let mut pace = Pace::default();
        let mut next = |bytes| {
            pace.brought(bytes);
            pace.pause(false, Duration::ZERO).as_millis()
        };
        assert_eq!(
            [next(5), next(0), next(0), next(0), next(0)],
            [250, 500, 1000, 2000, 2000]
        );
        assert_eq!(next(1), 250);
        assert_eq!(
            pace.pause(false, Duration::from_secs(60)),
            limits::UPSTREAM_LOG_LATE
        );
    }

    #[test]
    fn a_shorter_log_is_believed_the_second_time_and_an_empty_one_never() {
        let mut pace = Pace::default();
        assert!(!pace.shorter(false));
        assert!(pace.shorter(false));
        assert!(!pace.shorter(true));
        assert!(!pace.shorter(true));
    }

    #[test]
    fn a_failure_that_does_not_pass_is_told_soon() {
        let mut pace = Pace::default();
        assert!(pace.failed(false) && pace.failed(false) && !pace.failed(false));
        let mut pace = Pace::default();
        assert_eq!((0..100).take_while(|_| pace.failed(true)).count(), 29);
    }
}
