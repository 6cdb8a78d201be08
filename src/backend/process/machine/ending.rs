//! How containers stand when their pod ends before they did.

use super::{Phase, Slot};
use crate::backend::process::spec::Exit;

/// Why a pod ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every main container has ended.
    Done,
    /// An init container failed and may not be repeated.
    InitFailed(String),
    /// `activeDeadlineSeconds` have passed.
    Deadline(u64),
    /// It was deleted.
    Deleted,
}

/// The final state of a container that does not run when its pod ends.
pub(crate) fn put_to_rest(slot: &mut Slot, why: &Ending) {
    if slot.is_ended() {
        return;
    }
    let was_between_runs = matches!(slot.phase, Phase::Backoff { .. });
    let exit = match (slot.last.take(), why) {
        (Some(exit), Ending::Deadline(seconds)) if was_between_runs => late(exit, *seconds),
        (Some(exit), _) if was_between_runs => exit,
        (last, why) => {
            slot.last = last;
            Exit::not_started(1, "Error", unstarted(why))
        }
    };
    slot.phase = Phase::Ended(exit);
}

fn unstarted(why: &Ending) -> String {
    match why {
        Ending::Done => "not started: the main containers had ended".to_owned(),
        Ending::InitFailed(said) => format!("not started: {said}"),
        Ending::Deadline(seconds) => {
            format!("DeadlineExceeded: not started within activeDeadlineSeconds ({seconds} s)")
        }
        Ending::Deleted => "not started: the pod was deleted".to_owned(),
    }
}

/// The end of a run that was cut short by the pod's deadline: it must not look like a success.
pub(crate) fn late(mut exit: Exit, seconds: u64) -> Exit {
    let before = if exit.message.is_empty() {
        String::new()
    } else {
        format!("; {}", exit.message)
    };
    exit.message = format!(
        "DeadlineExceeded: the pod was active longer than activeDeadlineSeconds ({seconds} s){before}"
    );
    exit.reason = "DeadlineExceeded".to_owned();
    if exit.exit_code == 0 {
        exit.exit_code = 143;
    }
    exit
}
