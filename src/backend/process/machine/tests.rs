#![allow(clippy::unwrap_used)]
use std::time::SystemTime;

use super::*;

fn machine(policy: RestartPolicy, kinds: &[(&str, Kind)]) -> Machine {
    let slots = kinds.iter().map(|(name, kind)| Slot::new(name, *kind)).collect();
    Machine::new(slots, policy, Duration::from_secs(30), None)
}

fn running() -> RunState {
    RunState::Running {
        started_at: SystemTime::UNIX_EPOCH,
    }
}

fn exited(exit_code: i32) -> RunState {
    let mut exit = Exit::not_started(exit_code, "Error", "");
    exit.started = true;
    exit.started_at = Some(exit.finished_at);
    RunState::Exited(exit)
}

fn start(slot: usize, epoch: u64) -> Action {
    Action::Start { slot, epoch }
}

fn stop_with(slot: usize, grace_seconds: u64) -> Action {
    Action::Stop { slot, grace_seconds }
}

fn exit_of(machine: &Machine, index: usize) -> &Exit {
    match &machine.slots[index].phase {
        Phase::Ended(exit) => exit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn init_containers_run_in_order_and_then_all_main_ones() {
    let now = Instant::now();
    let kinds = [
        ("i1", Kind::Init),
        ("i2", Kind::Init),
        ("a", Kind::Main),
        ("b", Kind::Main),
    ];
    let mut pod = machine(RestartPolicy::Never, &kinds);
    assert_eq!(pod.actions(now), [start(0, 1)]);
    pod.observe(0, running(), now);
    assert_eq!(pod.actions(now), []);
    pod.observe(0, exited(0), now);
    assert_eq!(pod.actions(now), [start(1, 1)]);
    pod.observe(1, exited(0), now);
    assert_eq!(pod.actions(now), [start(2, 1), start(3, 1)]);
    pod.observe(2, exited(0), now);
    assert!(pod.actions(now).is_empty() && !pod.is_over());
    pod.observe(3, exited(0), now);
    assert!(pod.actions(now).is_empty() && pod.is_over() && pod.succeeded());
}

#[test]
fn a_failed_init_container_of_a_pod_that_never_restarts_ends_everything() {
    let now = Instant::now();
    let mut pod = machine(
        RestartPolicy::Never,
        &[
            ("side", Kind::Sidecar),
            ("init", Kind::Init),
            ("main", Kind::Main),
        ],
    );
    assert_eq!(pod.actions(now), [start(0, 1)]);
    pod.observe(0, running(), now);
    assert_eq!(pod.actions(now), [start(1, 1)]);
    pod.observe(1, exited(3), now);
    assert_eq!(pod.actions(now), [stop_with(0, 30)]);
    assert!(
        exit_of(&pod, 2)
            .message
            .contains("init container init ended with exit code 3")
    );
    assert_ne!(exit_of(&pod, 2).exit_code, 0);
    pod.observe(0, exited(143), now);
    assert!(pod.is_over() && !pod.succeeded());
}

#[test]
fn a_failed_init_container_is_repeated_unless_the_policy_is_never() {
    let now = Instant::now();
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure] {
        let mut pod = machine(policy, &[("init", Kind::Init), ("main", Kind::Main)]);
        pod.actions(now);
        pod.observe(0, exited(1), now);
        assert_eq!(pod.actions(now), []);
        assert_eq!(pod.wake_at(), Some(now + Duration::from_secs(10)));
        assert_eq!(pod.actions(now + Duration::from_secs(10)), [start(0, 2)]);
        pod.observe(0, exited(0), now);
        assert_eq!(pod.actions(now), [start(1, 1)]);
    }
}

#[test]
fn a_sidecar_lets_the_next_one_go_and_is_stopped_last_in_reverse_order() {
    let now = Instant::now();
    let mut pod = machine(
        RestartPolicy::Never,
        &[("s1", Kind::Sidecar), ("s2", Kind::Sidecar), ("main", Kind::Main)],
    );
    assert_eq!(pod.actions(now), [start(0, 1)]);
    pod.observe(0, running(), now);
    assert_eq!(pod.actions(now), [start(1, 1)]);
    pod.observe(1, running(), now);
    assert_eq!(pod.actions(now), [start(2, 1)]);
    pod.observe(2, exited(0), now);
    assert_eq!(pod.actions(now), [stop_with(1, 30)]);
    assert_eq!(pod.actions(now), []);
    pod.observe(1, exited(143), now);
    assert_eq!(pod.actions(now), [stop_with(0, 30)]);
    pod.observe(0, exited(143), now);
    assert!(pod.is_over() && pod.succeeded());
}

#[test]
fn a_sidecar_that_ends_is_started_again_beside_the_main_containers() {
    let now = Instant::now();
    let mut pod = machine(
        RestartPolicy::Never,
        &[("side", Kind::Sidecar), ("main", Kind::Main)],
    );
    pod.actions(now);
    pod.observe(0, running(), now);
    pod.actions(now);
    pod.observe(0, exited(0), now);
    assert_eq!(pod.actions(now + Duration::from_secs(10)), [start(0, 2)]);
    assert!(!pod.is_over());
}

#[test]
fn on_failure_repeats_until_it_succeeds() {
    let now = Instant::now();
    let mut pod = machine(RestartPolicy::OnFailure, &[("main", Kind::Main)]);
    pod.actions(now);
    pod.observe(0, exited(1), now);
    assert!(pod.actions(now).is_empty() && !pod.is_over());
    assert_eq!(pod.slots[0].last.as_ref().unwrap().exit_code, 1);
    assert_eq!(pod.actions(now + Duration::from_secs(10)), [start(0, 2)]);
    pod.observe(0, exited(0), now);
    pod.actions(now);
    assert!(pod.is_over() && pod.succeeded());
}

#[test]
fn a_deadline_ends_the_pod_and_never_looks_like_success() {
    let now = Instant::now();
    let at = now + Duration::from_secs(5);
    let mut pod = Machine::new(
        vec![Slot::new("main", Kind::Main)],
        RestartPolicy::Always,
        Duration::from_secs(30),
        Some((at, 5)),
    );
    pod.actions(now);
    pod.observe(0, running(), now);
    assert_eq!(pod.wake_at(), Some(at));
    assert_eq!(pod.actions(at), [stop_with(0, 30)]);
    pod.observe(0, exited(0), at);
    assert!(pod.is_over() && !pod.succeeded());
    assert!(exit_of(&pod, 0).message.starts_with("DeadlineExceeded"));
}

#[test]
fn a_delete_stops_what_runs_starts_nothing_more_and_may_be_hastened() {
    let now = Instant::now();
    let mut pod = machine(RestartPolicy::Always, &[("a", Kind::Main), ("b", Kind::Main)]);
    pod.actions(now);
    pod.observe(0, running(), now);
    pod.observe(1, exited(1), now);
    pod.end(Ending::Deleted, Some(Duration::from_secs(20)), now);
    assert_eq!(pod.actions(now), [stop_with(0, 20)]);
    assert_eq!(pod.actions(now), []);
    pod.end(Ending::Deleted, Some(Duration::from_secs(60)), now);
    assert_eq!(pod.actions(now), []);
    pod.end(Ending::Deleted, Some(Duration::ZERO), now);
    assert_eq!(pod.actions(now), [stop_with(0, 0)]);
    pod.observe(0, exited(137), now);
    assert!(pod.is_over());
    assert_eq!(pod.actions(now + Duration::from_secs(99)), []);
}

#[test]
fn a_machine_that_resumes_counts_the_former_runs() {
    let now = Instant::now();
    let slot = Slot::resume("main", Kind::Main, 3, None);
    let mut pod = Machine::new(vec![slot], RestartPolicy::Always, Duration::ZERO, None);
    pod.observe(0, exited(1), now);
    assert_eq!(pod.wake_at(), Some(now + Duration::from_secs(40)));
    assert_eq!(pod.actions(now + Duration::from_secs(40)), [start(0, 4)]);
}
