#![allow(clippy::unwrap_used)]
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::{
    ContainerRunning, ContainerState, ContainerTerminated, ContainerWaiting, container_state::State,
};

const UID: &str = "11111111-2222-3333-4444-555555555555";

fn pod() -> PodRef {
    PodRef::new(UID, "default", "demo")
}

fn source(now: Instant) -> Source<'static> {
    Source {
        plugin: "p",
        epoch: 7,
        session: SessionNumber::default(),
        way: Way::Link,
        in_sync: true,
        asked: None,
        now,
    }
}

fn with(seq: u64, restart_count: u32, state: State) -> PodState {
    PodState {
        pod: Some(pod()),
        job_id: "job".into(),
        seq,
        presence: Presence::Present.into(),
        containers: vec![ContainerState {
            name: "main".into(),
            restart_count,
            state: Some(state),
            ..ContainerState::default()
        }],
        ..PodState::default()
    }
}

fn running(seq: u64) -> PodState {
    with(seq, 0, State::Running(ContainerRunning::default()))
}

fn ended(seq: u64, restart_count: u32) -> PodState {
    with(
        seq,
        restart_count,
        State::Terminated(ContainerTerminated::default()),
    )
}

fn answered() -> PodTable {
    let mut table = PodTable::default();
    table.begin(&pod(), "p", [("main".into(), "image".into())].into());
    table.answered(UID, "job");
    table
}

#[test]
fn an_older_state_of_the_same_epoch_changes_nothing() {
    let (mut table, now) = (answered(), Instant::now());
    assert_eq!(table.apply(source(now), running(5)), Applied::Changed);
    assert_eq!(table.apply(source(now), ended(4, 0)), Applied::Unchanged);
    assert!(!table.get(UID).unwrap().is_terminal());
}

#[test]
fn a_new_epoch_starts_its_numbers_afresh() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(50));
    let newer = Source {
        epoch: 8,
        ..source(now)
    };
    assert_eq!(table.apply(newer, ended(1, 0)), Applied::Changed);
}

#[test]
fn a_terminal_pod_goes_back_only_when_a_restart_count_rises() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), ended(1, 0));
    assert_eq!(table.active("p"), 0);
    assert_eq!(table.apply(source(now), running(2)), Applied::Unchanged);
    assert!(table.get(UID).unwrap().is_terminal());
    let again = with(3, 1, State::Running(ContainerRunning::default()));
    assert_eq!(table.apply(source(now), again), Applied::Changed);
    assert!(!table.get(UID).unwrap().is_terminal());
    assert_eq!(table.active("p"), 1);
}

#[test]
fn a_state_of_another_plugins_pod_is_refused() {
    let (mut table, now) = (answered(), Instant::now());
    let other = Source {
        plugin: "other",
        ..source(now)
    };
    assert_eq!(table.apply(other, running(1)), Applied::Refused);
}

#[test]
fn no_containers_is_no_news() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(1));
    let mut empty = running(2);
    empty.containers.clear();
    assert_eq!(table.apply(source(now), empty), Applied::Unchanged);
    assert_eq!(
        table.get(UID).unwrap().state.as_ref().unwrap().containers.len(),
        1
    );
}

#[test]
fn two_absent_answers_ten_seconds_apart_lose_a_pod() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(1));
    assert_eq!(table.absent(source(now), UID, 0), Applied::Suspected);
    let soon = now + Duration::from_secs(9);
    assert_eq!(table.absent(source(soon), UID, 0), Applied::Suspected);
    let later = now + Duration::from_secs(10);
    assert_eq!(table.absent(source(later), UID, 0), Applied::Lost);
    let state = table.get(UID).unwrap().state.clone().unwrap();
    let Some(State::Terminated(ended)) = &state.containers[0].state else {
        panic!("not terminated")
    };
    assert_eq!(ended.exit_code, 137);
    assert!(ended.message.starts_with("lost: "));
}

#[test]
fn a_pod_that_shows_up_again_is_not_suspected_any_more() {
    let (mut table, now) = (answered(), Instant::now());
    table.absent(source(now), UID, 0);
    table.apply(source(now), running(1));
    let later = now + Duration::from_secs(60);
    assert_eq!(table.absent(source(later), UID, 0), Applied::Suspected);
}

#[test]
fn a_pod_whose_create_is_not_answered_is_never_lost() {
    let (mut table, now) = (PodTable::default(), Instant::now());
    table.begin(&pod(), "p", Names::default());
    assert_eq!(table.absent(source(now), UID, 0), Applied::Unchanged);
}

#[test]
fn a_lost_pod_without_any_state_is_reported_with_the_names_of_its_spec() {
    let (mut table, now) = (answered(), Instant::now());
    table.absent(source(now), UID, 0);
    table.absent(source(now + limits::LOST_AFTER), UID, 0);
    assert_eq!(
        table.get(UID).unwrap().state.as_ref().unwrap().containers[0].name,
        "main"
    );
}

#[test]
fn a_plugin_that_is_not_in_sync_starts_the_wait_and_does_not_end_it() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(1));
    let reading = |now| Source {
        in_sync: false,
        asked: None,
        ..source(now)
    };
    assert_eq!(table.absent(reading(now), UID, 0), Applied::Suspected);
    let later = now + limits::LOST_AFTER;
    assert_eq!(table.absent(reading(later), UID, 0), Applied::Suspected);
    assert_eq!(table.absent(source(later), UID, 0), Applied::Lost);
}

#[test]
fn absence_as_of_an_older_number_is_no_news() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(5));
    assert_eq!(table.absent(source(now), UID, 4), Applied::Unchanged);
    assert!(!table.get(UID).unwrap().is_suspected());
    assert_eq!(table.absent(source(now), UID, 6), Applied::Suspected);
}

#[test]
fn what_an_older_session_says_late_is_no_news() {
    let (mut table, now) = (answered(), Instant::now());
    let over = |session, epoch| Source {
        session: SessionNumber(session),
        epoch,
        ..source(now)
    };
    table.apply(over(2, 8), running(1));
    assert_eq!(table.apply(over(1, 7), ended(99, 0)), Applied::Unchanged);
    assert_eq!(table.absent(over(1, 7), UID, 0), Applied::Unchanged);
    assert!(!table.get(UID).unwrap().is_suspected());
}

#[test]
fn the_oldest_of_too_many_terminal_pods_goes() {
    let (mut table, now) = (PodTable::default(), Instant::now());
    let uid = |n: usize| format!("00000000-0000-4000-8000-{n:012x}");
    for n in 0..=limits::TERMINAL_MAX {
        let mut state = ended(1, 0);
        state.pod = Some(PodRef::new(uid(n), "default", "demo"));
        table.apply(source(now), state);
    }
    let gone = table.prune(now);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].pod.uid, uid(0));
    assert_eq!(table.len(), limits::TERMINAL_MAX);
}

#[test]
fn a_deleted_pod_goes_when_it_is_absent() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(1));
    assert_eq!(
        table.deleted(UID, true, Way::Link, Instant::now()),
        Applied::Changed
    );
    assert_eq!(table.absent(source(now), UID, 0), Applied::Removed);
    assert!(table.get(UID).is_none());
}

#[test]
fn terminal_pods_are_kept_for_a_week() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), ended(1, 0));
    assert!(
        table
            .prune(now + limits::TERMINAL_KEEP - Duration::from_secs(1))
            .is_empty()
    );
    assert_eq!(table.prune(now + limits::TERMINAL_KEEP).len(), 1);
}

#[test]
fn a_bad_uid_is_refused() {
    let mut state = running(1);
    state.pod = Some(PodRef::new("../../etc", "default", "x"));
    assert_eq!(
        PodTable::default().apply(source(Instant::now()), state),
        Applied::Refused
    );
}

fn any_state() -> impl Strategy<Value = PodState> {
    (0..20u64, 0..3u32, 0..3u8).prop_map(|(seq, restarts, kind)| match kind {
        0 => with(seq, restarts, State::Waiting(ContainerWaiting::default())),
        1 => with(seq, restarts, State::Running(ContainerRunning::default())),
        _ => ended(seq, restarts),
    })
}

proptest! {
    #[test]
    fn the_number_of_an_applied_state_never_falls(states in prop::collection::vec(any_state(), 0..40)) {
        let (mut table, now) = (answered(), Instant::now());
        let mut last = 0;
        for state in states {
            table.apply(source(now), state);
            let seq = table.get(UID).unwrap().state.as_ref().map_or(0, |state| state.seq);
            prop_assert!(seq >= last);
            last = seq;
        }
    }

    #[test]
    fn counts_of_active_pods_follow_their_states(states in prop::collection::vec(any_state(), 0..40)) {
        let (mut table, now) = (answered(), Instant::now());
        for state in states {
            table.apply(source(now), state);
            let over = table.get(UID).unwrap().is_terminal();
            prop_assert_eq!(table.active("p"), usize::from(!over));
        }
        table.remove(UID, Instant::now());
        prop_assert_eq!(table.active("p"), 0);
        prop_assert!(table.prune(now + limits::TERMINAL_KEEP).is_empty());
    }
}

#[test]
fn an_answer_that_was_under_way_when_the_pod_went_does_not_bring_it_back() {
    let (mut table, now) = (answered(), Instant::now());
    table.apply(source(now), running(1));
    let asked = |since| Source {
        asked: Some(since),
        ..source(now)
    };
    let went = now + std::time::Duration::from_secs(1);
    table.deleted(UID, false, Way::Link, went);
    assert_eq!(table.apply(asked(now), running(1)), Applied::Unchanged);
    assert!(table.get(UID).is_none());
    // One that was asked later is news.
    let later = went + std::time::Duration::from_secs(1);
    assert_eq!(table.apply(asked(later), running(1)), Applied::Added);
}

#[test]
fn the_pods_of_a_plugin_are_told_in_one_order_and_no_others() {
    let mut table = PodTable::default();
    let now = Instant::now();
    let uid = |n: u8| format!("11111111-2222-3333-4444-55555555555{n}");
    for (n, plugin) in [(3, "a"), (1, "a"), (2, "b"), (4, "a")] {
        let pod = PodRef::new(uid(n), "ns", "n");
        assert_eq!(table.begin(&pod, plugin, Names::default()), Applied::Added);
    }
    let of = |table: &PodTable, plugin: &str| -> Vec<String> {
        table.of(plugin).map(|entry| entry.pod.uid.clone()).collect()
    };
    assert_eq!(of(&table, "a"), [uid(1), uid(3), uid(4)]);
    table.remove(&uid(3), now).unwrap();
    assert_eq!(of(&table, "a"), [uid(1), uid(4)]);
    assert_eq!(table.forget("a", now).len(), 2);
    assert_eq!((of(&table, "a"), of(&table, "b")), (Vec::new(), vec![uid(2)]));
    assert!(table.of_plugin.keys().eq(["b"]));
}
