//! When a create is sent again: the retry table of docs/PROTOCOL.md. Pure.

use super::{Way, registry::Route};
use crate::{
    code::{Code, reason},
    planted::{self, Bug},
    wire::Status,
};

/// What the attempts of one create have come to.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    attempt: u32,
    failures: u32,
    /// Of the latest attempt whose outcome is not known: who got it.
    unknown: Option<Sent>,
}

/// What is to be done about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The plugin refused: its text goes to the caller.
    Report,
    /// The outcome is unknown and there is no time left.
    Stop,
    /// The same key again; [`Retry::must_ask`] tells whether GetStatus decides before.
    Again,
}

/// An attempt of unknown outcome.
#[derive(Debug)]
struct Sent {
    instance: String,
    jobs_epoch: u64,
    /// The plugin itself could not tell.
    ask: bool,
    /// Unknown when an earlier life of the hub sent it.
    way: Option<Way>,
}

impl Retry {
    /// Of a create that an earlier life of the hub may have sent: GetStatus decides.
    pub(crate) fn resumed() -> Self {
        Self {
            attempt: 1,
            failures: 0,
            unknown: Some(Sent {
                instance: String::new(),
                jobs_epoch: 0,
                ask: true,
                way: None,
            }),
        }
    }

    /// The number of the attempt that is sent now.
    pub(crate) fn begin(&mut self) -> u32 {
        self.attempt += 1;
        self.attempt
    }

    /// How many attempts were sent.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether GetStatus must tell of the pod before the create is sent on this route.
    pub(crate) fn must_ask(&self, route: &Route) -> bool {
        self.unknown
            .as_ref()
            .is_some_and(|sent| sent.ask || !sent.has_records(&route.instance, route.jobs_epoch))
    }

    /// Whether this peer can know that there is no such pod: one that has only its own records knows nothing of an
    /// attempt that went the other way.
    pub(crate) fn believes_absent(&self, route: &Route) -> bool {
        let elsewhere = |sent: &Sent| sent.way.is_some_and(|way| way != route.way);
        route.shared || !self.unknown.as_ref().is_some_and(elsewhere)
    }

    /// Judges the answer to the attempt that was sent on this route.
    pub(crate) fn next(&mut self, status: &Status, route: &Route) -> Next {
        let next = self.judge(status);
        // What is refused for want of room was not begun, whether the plugin says so or not.
        if next == Next::Again && !status.not_started && status.kind() != Code::ResourceExhausted {
            self.unknown = Some(Sent {
                instance: route.instance.clone(),
                jobs_epoch: route.jobs_epoch,
                ask: status.kind() == Code::Unknown,
                way: Some(route.way),
            });
        }
        next
    }

    /// A call ran out of time, but the create goes on: its outcome is not known.
    pub(crate) fn out_of_time(&mut self, route: &Route) {
        self.unknown = Some(Sent {
            instance: route.instance.clone(),
            jobs_epoch: route.jobs_epoch,
            ask: false,
            way: Some(route.way),
        });
    }

    fn judge(&mut self, status: &Status) -> Next {
        if status.reason == reason::MESSAGE_TOO_LARGE {
            return Next::Report;
        }
        match status.kind() {
            Code::DeadlineExceeded | Code::Cancelled => Next::Stop,
            Code::Unknown if planted::is(Bug::UnknownIsRefused) => Next::Report,
            Code::Unavailable | Code::ResourceExhausted | Code::Unknown => Next::Again,
            Code::Internal | Code::DataLoss if self.failures == 0 => {
                self.failures += 1;
                Next::Again
            }
            // A refusal stays one, also when the plugin says that nothing was begun.
            _ => Next::Report,
        }
    }
}

impl Sent {
    /// Whether this peer has the records of that attempt, so that it answers a repetition with the job that exists.
    /// One that keeps none remembers for as long as its process lives.
    fn has_records(&self, instance: &str, jobs_epoch: u64) -> bool {
        if self.jobs_epoch == 0 {
            jobs_epoch == 0 && !instance.is_empty() && self.instance == instance
        } else {
            self.jobs_epoch == jobs_epoch
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: Status) -> Next {
        Retry::default().judge(&status)
    }

    #[test]
    fn a_refusal_is_never_repeated_though_nothing_was_begun() {
        for code in [
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::Unimplemented,
            Code::NotFound,
            Code::Aborted,
        ] {
            let refusal = Status::new(code, reason::BAD_POD, "no").not_started();
            assert_eq!(judge(refusal), Next::Report, "{code}");
        }
        let large = Status::new(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, "");
        assert_eq!(judge(large), Next::Report);
    }

    #[test]
    fn what_the_plugin_could_not_take_now_is_repeated() {
        for code in [Code::ResourceExhausted, Code::Unavailable, Code::Unknown] {
            assert_eq!(judge(Status::new(code, "", "")), Next::Again, "{code}");
        }
    }

    #[test]
    fn what_ran_out_of_time_is_not_repeated() {
        for code in [Code::DeadlineExceeded, Code::Cancelled] {
            assert_eq!(judge(Status::new(code, "", "")), Next::Stop, "{code}");
        }
    }

    #[test]
    fn a_failure_of_the_plugin_is_repeated_once() {
        let mut retry = Retry::default();
        let failure = Status::new(Code::Internal, reason::PLUGIN_ERROR, "");
        assert_eq!(retry.judge(&failure), Next::Again);
        assert_eq!(retry.judge(&failure), Next::Report);
    }

    #[test]
    fn records_are_known_by_their_epoch_and_without_any_by_the_process() {
        let sent = |jobs_epoch| Sent {
            instance: "one".into(),
            jobs_epoch,
            ask: false,
            way: None,
        };
        assert!(sent(3).has_records("two", 3));
        assert!(!sent(3).has_records("one", 4));
        assert!(sent(0).has_records("one", 0));
        assert!(!sent(0).has_records("two", 0));
    }
}
