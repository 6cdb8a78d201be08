#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    interlink::{Phase, format_time, lost, parse_time, phase},
    wire::{ContainerRunning, ContainerWaiting, Timestamp},
};

const AT: &str = "2026-09-01T10:00:00Z";

fn pod(inits: &[&str], mains: &[&str]) -> Pod {
    let list = |names: &[&str]| -> Vec<Value> {
        names
            .iter()
            .map(|name| json!({"name": name, "image": "img"}))
            .collect()
    };
    Pod::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": list(mains), "initContainers": list(inits)}}))
    .unwrap()
}

fn edited(pod: &Pod, pointer: &str, key: &str, value: Value) -> Pod {
    let mut json = pod.json().clone();
    json.pointer_mut(pointer)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .insert(key.to_owned(), value);
    Pod::from_value(json).unwrap()
}

fn one(name: &str, state: Option<State>) -> ContainerState {
    ContainerState {
        name: name.to_owned(),
        state,
        ..Default::default()
    }
}

fn runs() -> Option<State> {
    Some(State::Running(ContainerRunning {
        started_at: parse_time(AT),
    }))
}

fn waits(reason: &str) -> Option<State> {
    Some(State::Waiting(ContainerWaiting {
        reason: reason.to_owned(),
        ..Default::default()
    }))
}

fn ends(exit_code: i32) -> Option<State> {
    Some(State::Terminated(ContainerTerminated {
        exit_code,
        started_at: parse_time(AT),
        ..Default::default()
    }))
}

fn said(inits: Vec<ContainerState>, mains: Vec<ContainerState>) -> PodState {
    PodState {
        presence: Presence::Present.into(),
        job_id: "428817".to_owned(),
        containers: mains,
        init_containers: inits,
        ..Default::default()
    }
}

fn exit(container: &ContainerStatus) -> i32 {
    container.state.terminated.as_ref().unwrap().exit_code
}

#[test]
fn a_running_pod_reads_as_such() {
    let status = complete(&pod(&[], &["a"]), &said(vec![], vec![one("a", runs())])).unwrap();
    assert_eq!(
        serde_json::to_value(status).unwrap(),
        json!({"name": "p", "UID": "u", "namespace": "ns", "JID": "428817", "containers": [{"name": "a",
            "state": {"running": {"startedAt": AT}}, "lastState": {}, "ready": false, "restartCount": 0,
            "image": "img", "imageID": ""}], "initContainers": null})
    );
}

#[test]
fn no_containers_are_no_news() {
    assert_eq!(complete(&pod(&[], &["a"]), &said(vec![], vec![])), None);
    assert_eq!(
        complete(&pod(&[], &["a"]), &said(vec![], vec![one("other", runs())])),
        None
    );
    assert_eq!(
        complete(&pod(&[], &["a"]), &said(vec![], vec![one("a", None)])),
        None
    );
}

#[test]
fn a_pod_that_is_not_present_is_no_news() {
    for presence in [Presence::Absent, Presence::Unreachable, Presence::Unspecified] {
        let mut state = said(vec![], vec![one("a", ends(1))]);
        state.presence = presence.into();
        assert_eq!(complete(&pod(&[], &["a"]), &state), None);
        assert_eq!(phase(&state), Phase::Unknown);
    }
}

#[test]
fn the_list_follows_the_spec_of_the_request() {
    let state = said(vec![], vec![one("x", runs()), one("b", runs()), one("a", runs())]);
    let status = complete(&pod(&[], &["a", "b", "c"]), &state).unwrap();
    let names: Vec<&str> = status
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(
        status.containers[2].state.waiting.as_ref().unwrap().reason,
        "ContainerCreating"
    );
}

#[test]
fn a_container_that_is_kept_back_does_not_hold_the_pod() {
    let pod = edited(
        &pod(&[], &["a", "local"]),
        "/metadata",
        "annotations",
        json!({"interlink.eu/disable-offload-containers": "local"}),
    );
    let status = complete(&pod, &said(vec![], vec![one("a", ends(0))])).unwrap();
    assert_eq!(exit(&status.containers[1]), 0);
    let status = complete(&pod, &said(vec![], vec![one("a", ends(3))])).unwrap();
    assert_eq!(exit(&status.containers[1]), 3);
    let status = complete(&pod, &said(vec![], vec![one("a", runs())])).unwrap();
    assert!(status.containers[1].state.running.is_some());
}

#[test]
fn a_container_that_nobody_saw_end_has_not_succeeded() {
    let status = complete(&pod(&[], &["a", "b"]), &said(vec![], vec![one("a", ends(0))])).unwrap();
    assert!(status.containers[1].state.waiting.is_some());
}

#[test]
fn a_failed_init_container_ends_all_others() {
    let mut failed = ends(7);
    if let Some(State::Terminated(ended)) = &mut failed {
        ended.message = "no route to the data".to_owned();
    }
    let inits = vec![
        one("i1", ends(0)),
        one("i2", failed),
        one("i3", waits("PodInitializing")),
    ];
    for mains in [vec![], vec![one("a", waits("PodInitializing")), one("b", None)]] {
        let state = said(inits.clone(), mains);
        let status = complete(&pod(&["i1", "i2", "i3"], &["a", "b"]), &state).unwrap();
        assert_eq!(
            status.init_containers.iter().map(exit).collect::<Vec<_>>(),
            [0, 7, 7]
        );
        assert_eq!(status.containers.iter().map(exit).collect::<Vec<_>>(), [7, 7]);
        let message = &status.containers[0].state.terminated.as_ref().unwrap().message;
        assert_eq!(
            message,
            "not started: init container i2 failed: exit code 7, no route to the data"
        );
        assert_eq!(phase(&state), Phase::Failed);
    }
}

#[test]
fn a_running_init_container_is_passed_on() {
    let state = said(vec![one("i", runs())], vec![one("a", waits("PodInitializing"))]);
    let status = complete(&pod(&["i"], &["a"]), &state).unwrap();
    assert!(status.init_containers[0].state.running.is_some());
    assert!(status.containers[0].state.waiting.is_some());
    assert_eq!(phase(&state), Phase::Pending);
}

#[test]
fn an_init_container_that_is_not_mentioned_has_passed_once_the_pod_runs() {
    let status = complete(&pod(&["i"], &["a"]), &said(vec![], vec![one("a", runs())])).unwrap();
    assert_eq!(exit(&status.init_containers[0]), 0);
    let status = complete(&pod(&["i"], &["a"]), &said(vec![], vec![one("a", waits("x"))])).unwrap();
    assert!(status.init_containers[0].state.waiting.is_some());
}

#[test]
fn a_pod_that_was_ended_while_it_initialised_is_not_waited_for() {
    let state = said(vec![one("i", runs())], vec![one("a", ends(137))]);
    let status = complete(&pod(&["i"], &["a"]), &state).unwrap();
    assert_eq!(exit(&status.init_containers[0]), 137);
}

#[test]
fn a_container_between_two_runs_waits() {
    let mut between = one("a", None);
    between.last_termination = Some(ContainerTerminated {
        exit_code: 3,
        ..Default::default()
    });
    between.restart_count = 2;
    let state = said(vec![], vec![between, one("b", runs())]);
    let status = complete(&pod(&[], &["a", "b"]), &state).unwrap();
    let waiting = status.containers[0].state.waiting.as_ref().unwrap();
    assert_eq!(waiting.reason, "CrashLoopBackOff");
    assert_eq!(waiting.message, "the last run ended: exit code 3");
    assert_eq!(
        status.containers[0]
            .last_state
            .terminated
            .as_ref()
            .unwrap()
            .exit_code,
        3
    );
    assert_eq!(phase(&state), Phase::Running);
}

#[test]
fn a_sidecar_is_left_out_once_it_runs() {
    let pod = edited(
        &pod(&["side"], &["a"]),
        "/spec/initContainers/0",
        "restartPolicy",
        json!("Always"),
    );
    let listed = |init: Option<State>, main: Option<State>| {
        let state = said(vec![one("side", init)], vec![one("a", main)]);
        let status = complete(&pod, &state).unwrap();
        (status.init_containers.len(), phase(&state))
    };
    assert_eq!(
        listed(waits("PodInitializing"), waits("PodInitializing")),
        (1, Phase::Pending)
    );
    assert_eq!(listed(runs(), runs()), (0, Phase::Running));
    assert_eq!(listed(runs(), waits("ContainerCreating")), (0, Phase::Pending));
    assert_eq!(listed(ends(143), ends(0)), (0, Phase::Succeeded));
}

#[test]
fn what_must_be_read_is_in_the_message() {
    let ended = |reason: &str, message: &str, exit_code: i32, signal: i32| {
        let ended = ContainerTerminated {
            exit_code,
            signal,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Default::default()
        };
        let state = said(vec![], vec![one("a", Some(State::Terminated(ended)))]);
        let status = complete(&pod(&[], &["a"]), &state).unwrap();
        let ended = status.containers[0].state.terminated.clone().unwrap();
        (ended.exit_code, ended.message)
    };
    assert_eq!(ended("OOMKilled", "", 137, 9), (137, "OOMKilled".to_owned()));
    assert_eq!(
        ended("SlurmJobTimeout", "time limit", 143, 0),
        (143, "SlurmJobTimeout: time limit".to_owned())
    );
    assert_eq!(ended("Error", "", 2, 0), (2, "exit code 2".to_owned()));
    assert_eq!(ended("", "", 143, 15), (143, "ended by signal 15".to_owned()));
    assert_eq!(ended("Completed", "", 0, 0), (0, String::new()));
}

#[test]
fn work_that_was_ended_from_outside_has_not_succeeded() {
    assert_eq!(
        true_exit(&ContainerTerminated {
            signal: 9,
            ..Default::default()
        }),
        137
    );
    assert_eq!(
        true_exit(&ContainerTerminated {
            reason: "Cancelled".to_owned(),
            ..Default::default()
        }),
        1
    );
    assert_eq!(
        true_exit(&ContainerTerminated {
            reason: "Completed".to_owned(),
            ..Default::default()
        }),
        0
    );
}

#[test]
fn a_lost_pod_fails_with_a_message() {
    let pod = pod(&["i"], &["a", "b"]);
    let at = Timestamp {
        seconds: 1_800_000_000,
        nanos: 0,
    };
    let former = said(vec![one("i", ends(0))], vec![one("a", runs()), one("b", ends(0))]);
    let state = lost(&pod, Some(&former), "the plugin does not know the pod", at);
    assert_eq!(phase(&state), Phase::Failed);
    let status = complete(&pod, &state).unwrap();
    assert_eq!(status.containers.iter().map(exit).collect::<Vec<_>>(), [137, 0]);
    let ended = status.containers[0].state.terminated.as_ref().unwrap();
    assert!(
        ended.message.contains("lost: the plugin does not know the pod"),
        "{}",
        ended.message
    );
    assert_eq!(ended.started_at.as_deref(), Some(AT));
    assert_eq!(ended.finished_at.as_deref(), Some(format_time(&at).as_str()));
    assert_eq!(phase(&lost(&pod, None, "x", at)), Phase::Failed);
}

#[test]
fn phases_follow_the_main_containers() {
    let of = |mains: Vec<ContainerState>| phase(&said(vec![], mains));
    assert_eq!(of(vec![]), Phase::Pending);
    assert_eq!(of(vec![one("a", waits("x")), one("b", None)]), Phase::Pending);
    assert_eq!(of(vec![one("a", ends(0)), one("b", waits("x"))]), Phase::Running);
    assert_eq!(of(vec![one("a", ends(0)), one("b", ends(0))]), Phase::Succeeded);
    assert_eq!(of(vec![one("a", ends(0)), one("b", ends(1))]), Phase::Failed);
}

fn any_state() -> impl Strategy<Value = Option<State>> {
    prop_oneof![
        Just(None),
        Just(waits("x")),
        Just(runs()),
        (0..3_i32).prop_map(ends),
        Just(Some(State::Terminated(ContainerTerminated {
            signal: 15,
            ..Default::default()
        }))),
    ]
}

fn any_list() -> impl Strategy<Value = Vec<ContainerState>> {
    proptest::collection::vec(
        ("[a-e]", any_state()).prop_map(|(name, state)| one(&name, state)),
        0..5,
    )
}

proptest! {
    #[test]
    fn whatever_a_plugin_says_the_virtual_kubelet_reads_it_rightly(
        inits in any_list(),
        mains in any_list(),
        sidecar in any::<bool>(),
    ) {
        let mut pod = pod(&["a", "b"], &["c", "d"]);
        if sidecar {
            pod = edited(&pod, "/spec/initContainers/0", "restartPolicy", json!("Always"));
        }
        let Some(status) = complete(&pod, &said(inits, mains)) else { return Ok(()) };
        let names: Vec<&str> = status.containers.iter().map(|it| it.name.as_str()).collect();
        prop_assert_eq!(names, ["c", "d"]);
        let is_over = status.containers.iter().all(|it| it.state.terminated.is_some());
        let all = status.init_containers.iter().chain(&status.containers);
        for it in all.clone() {
            let status::State { waiting, running, terminated } = &it.state;
            let set = usize::from(waiting.is_some()) + usize::from(running.is_some()) + usize::from(terminated.is_some());
            prop_assert_eq!(set, 1);
        }
        let init_failed = status.init_containers.iter().any(|it| it.state.terminated.as_ref().is_some_and(|t| t.exit_code != 0));
        if init_failed || is_over {
            prop_assert!(all.clone().all(|it| it.state.terminated.is_some()));
        }
        if init_failed {
            prop_assert!(status.containers.iter().any(|it| exit(it) != 0));
        }
    }
}
