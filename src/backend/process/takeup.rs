//! How a container stands when a plugin process takes it up: from the runs that are on disk.

use std::path::Path;

use super::{
    machine::Slot,
    plan::ContainerPlan,
    run::{self, Run},
    spec::{Exit, RunState},
    store,
};

/// A container as its runs on disk say, with its present run.
pub(crate) fn find(dir: &Path, container: &ContainerPlan) -> (Slot, Option<Run>) {
    let run_dir = |epoch| store::run_dir(dir, &container.name, epoch);
    let attach = |epoch| Run::attach(&run_dir(epoch)).ok();
    let mut begun = store::runs(dir, &container.name).unwrap_or_else(|error| {
        tracing::error!(dir = %dir.display(), %error, "the runs of a container cannot be listed");
        0
    });
    // The plugin ended while it began this run: the command was not started, so nothing runs twice.
    if begun > 0 && run::was_begun(&run_dir(begun)).is_ok_and(|was_begun| !was_begun) {
        tracing::info!(dir = %run_dir(begun).display(), "a run that was not begun is begun again");
        store::discard(&run_dir(begun));
        begun -= 1;
    }
    let before = (begun > 1)
        .then(|| attach(begun - 1))
        .flatten()
        .map(|run| run.state());
    let last = match before {
        Some(RunState::Exited(exit)) => Some(exit),
        _ => None,
    };
    (
        Slot::resume(&container.name, container.kind, begun, last),
        attach(begun),
    )
}

/// The end of a run of which nothing can be read.
pub(crate) fn unreadable() -> Exit {
    Exit::not_started(
        128,
        "ContainerLost",
        "lost: the files of this run cannot be read; the plugin's log says why",
    )
}
