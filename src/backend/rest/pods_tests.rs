//! What is known of pods, from call to call.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{interlink::Pod, limits, wire::Presence};

fn record(uid: &str, restart: &str) -> Record {
    let pod = json!({"metadata": {"uid": uid, "namespace": "n", "name": format!("pod-{uid}")},
        "spec": {"restartPolicy": restart, "containers": [{"name": "main"}]}});
    Record::new(Pod::from_value(pod).unwrap())
}

fn pods(records: Vec<Record>) -> Pods {
    Pods::new(records, false, 4 * WHILE)
}

fn told(uid: &str, state: Value) -> Vec<PodStatus> {
    let container = json!({"name": "main", "state": state});
    vec![serde_json::from_value(json!({"UID": uid, "containers": [container]})).unwrap()]
}

fn hear(pods: &mut Pods, answer: Vec<PodStatus>) -> Told {
    let batch = pods.ask().unwrap();
    pods.heard(&batch, answer)
}

fn presence(pods: &Pods, uid: &str) -> Presence {
    pods.state(&PodRef::new(uid, "n", "p")).presence()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_found_is_absent_only_after_a_while_without_a_break() {
    let mut pods = pods(vec![record("a", "Never").taken("1")]);
    let missing = || told("a", json!({"waiting": {"reason": "PodNotFound"}}));
    assert_eq!(hear(&mut pods, missing()), []);
    tokio::time::advance(limits::UPSTREAM_NOT_FOUND - Duration::from_secs(1)).await;
    pods.down();
    assert_eq!(
        hear(&mut pods, missing()),
        [],
        "the plugin was away: it may not have read its records"
    );
    tokio::time::advance(limits::UPSTREAM_NOT_FOUND - Duration::from_secs(1)).await;
    assert_eq!(hear(&mut pods, missing()), []);
    assert_eq!(presence(&pods, "a"), Presence::Present);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(hear(&mut pods, missing())[0].1.presence(), Presence::Absent);
    assert_eq!(presence(&pods, "a"), Presence::Absent);
    assert_eq!(hear(&mut pods, missing()), [], "told once");
    assert_eq!(
        hear(&mut pods, told("a", json!({"running": {}})))[0].1.presence(),
        Presence::Present
    );
}

#[tokio::test]
async fn while_the_plugin_is_away_only_what_has_ended_is_sure() {
    let mut pods = pods(["a", "b", "c"].map(|uid| record(uid, "Never").taken(uid)).into());
    hear(&mut pods, told("a", json!({"running": {}})));
    hear(&mut pods, told("b", json!({"terminated": {"exitCode": 0}})));
    let unsure = pods.down();
    assert_eq!(unsure.len(), 1);
    assert_eq!(unsure[0].1.presence(), Presence::Unreachable);
    assert_eq!(pods.down(), [], "told once");
    assert_eq!(presence(&pods, "a"), Presence::Unreachable);
    assert_eq!(presence(&pods, "b"), Presence::Present);
    assert_eq!(presence(&pods, "c"), Presence::Unreachable, "never heard of");
    let again = pods.up();
    assert_eq!((again.len(), again[0].1.presence()), (1, Presence::Present));
    assert_eq!(presence(&pods, "never sent"), Presence::Absent);
}

#[tokio::test]
async fn the_plugin_is_not_asked_about_what_has_ended_for_good() {
    let over = json!({"terminated": {"exitCode": 1}});
    for (restart, asked) in [("Never", false), ("OnFailure", true), ("Always", true)] {
        let mut pods = pods(vec![record("a", restart).taken("1")]);
        hear(&mut pods, told("a", over.clone()));
        assert_eq!(pods.ask().is_some(), asked, "{restart}");
    }
    let mut pods = pods(vec![record("a", "OnFailure").taken("1")]);
    hear(&mut pods, told("a", json!({"terminated": {"exitCode": 0}})));
    assert!(pods.ask().is_none());
}

#[tokio::test]
async fn what_became_of_a_create_needs_two_answers_without_it() {
    let mut pods = pods(vec![record("a", "Never"), record("b", "Never").taken("2")]);
    pods.urge("a", true);
    assert_eq!(pods.fate("a"), Fate::Open);
    let others = || told("b", json!({"running": {}}));
    hear(&mut pods, others());
    assert_eq!(pods.fate("a"), Fate::Open, "a cache may have answered");
    pods.down();
    hear(&mut pods, others());
    assert_eq!(pods.fate("a"), Fate::Open);
    hear(&mut pods, others());
    assert_eq!(pods.fate("a"), Fate::Absent);
    hear(&mut pods, told("a", json!({"waiting": {}})));
    assert_eq!(pods.fate("a"), Fate::Present(String::new()));
}

#[tokio::test]
async fn a_pod_is_known_by_its_name_where_the_plugin_has_no_uid() {
    let mut pods = pods(vec![record("a", "Never").taken("1")]);
    let mut answer = told("", json!({"running": {}}));
    answer[0].name = "pod-a".to_owned();
    answer[0].namespace = "n".to_owned();
    let news = hear(&mut pods, answer);
    assert_eq!(news[0].1.pod.as_ref().unwrap().uid, "a");
    assert_eq!(news[0].1.job_id, "1", "the job of the create");
}

#[tokio::test]
async fn a_deleted_pod_is_told_to_be_gone_and_a_refused_one_is_not() {
    let mut pods = pods(vec![record("a", "Never").taken("1"), record("b", "Never")]);
    pods.remove("a", true);
    pods.remove("b", false);
    let gone = pods.take_gone();
    assert_eq!((gone.len(), gone[0].0), (1, PodEventType::Deleted));
    assert_eq!(pods.take_gone(), []);
    assert_eq!(pods.len(), 0);
}

#[tokio::test]
async fn a_pod_of_which_the_plugin_says_404_was_never_begun_and_is_not_lost_for_it() {
    let mut pods = pods(vec![record("a", "Never")]);
    pods.urge("a", true);
    let batch = pods.ask().unwrap();
    pods.refused(&batch, false);
    assert_eq!(
        pods.fate("a"),
        Fate::Open,
        "another error says nothing of the pod"
    );
    let batch = pods.ask().unwrap();
    pods.refused(&batch, true);
    assert_eq!(pods.fate("a"), Fate::Absent);
    pods.put(record("a", "Never").taken("1"));
    assert_eq!(presence(&pods, "a"), Presence::Present);
}

/// A quarter of the time that another one's create may take.
const WHILE: Duration = Duration::from_secs(25);

fn shared(records: Vec<Record>) -> Pods {
    Pods::new(records, true, 4 * WHILE)
}

fn manifest(uid: &str, containers: Value) -> Pod {
    let metadata = json!({"uid": uid, "namespace": "n", "name": format!("pod-{uid}")});
    Pod::from_value(json!({"metadata": metadata, "spec": {"containers": containers}})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_others_may_be_creating_is_absent_only_when_they_cannot_any_more() {
    let mut pods = shared(vec![]);
    assert!(pods.adopt(&manifest("a", json!([])), false));
    for _ in 0..4 {
        assert_eq!(presence(&pods, "a"), Presence::Unreachable);
        assert_eq!(pods.fate("a"), Fate::Open);
        hear(&mut pods, vec![]);
        tokio::time::advance(WHILE).await;
    }
    assert_eq!(
        (presence(&pods, "a"), pods.fate("a")),
        (Presence::Absent, Fate::Absent)
    );
    assert!(pods.strangers().is_empty(), "who asks twice gets the same answer");
    tokio::time::advance(4 * WHILE).await;
    assert_eq!(pods.strangers(), ["a"]);
    hear(&mut pods, told("a", json!({"running": {}})));
    assert_eq!(presence(&pods, "a"), Presence::Present);
    assert!(pods.strangers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_others_created_is_never_absent_for_being_left_out() {
    let mut pods = shared(vec![]);
    pods.adopt(&manifest("a", json!([{"name": "main"}])), true);
    for _ in 0..10 {
        hear(&mut pods, vec![]);
        tokio::time::advance(WHILE).await;
    }
    assert_eq!(presence(&pods, "a"), Presence::Present);
}

#[tokio::test]
async fn a_manifest_gets_better_and_a_deleted_pod_is_not_adopted_again() {
    let mut pods = shared(vec![]);
    pods.adopt(&manifest("a", json!([])), false);
    let whole = manifest("a", json!([{"name": "main"}]));
    assert!(pods.adopt(&whole, false));
    let record = pods.get("a").unwrap().record.clone();
    assert_eq!((record.pod.spec().containers.len(), record.created), (1, false));
    assert!(!pods.adopt(&whole, false), "nothing new");
    let asked: Value = serde_json::from_slice(&pods.ask().unwrap().body).unwrap();
    assert_eq!(asked[0], *whole.json());
    assert!(pods.adopt(&whole, true) && pods.get("a").unwrap().record.created);
    assert!(!pods.adopt(&manifest("a", json!([])), true));
    pods.remove("a", true);
    assert!(!pods.adopt(&whole, true));
    assert_eq!(presence(&pods, "a"), Presence::Absent);
    assert_eq!(presence(&pods, "unknown"), Presence::Unreachable);
}

#[tokio::test]
async fn what_was_heard_before_a_rest_is_old_but_for_what_had_ended() {
    let mut pods = shared(["a", "b"].map(|uid| record(uid, "Never").taken(uid)).into());
    hear(&mut pods, told("a", json!({"running": {}})));
    hear(&mut pods, told("b", json!({"terminated": {"exitCode": 0}})));
    pods.hear_afresh();
    let containers = |uid| pods.state(&PodRef::new(uid, "n", "p")).containers.len();
    assert_eq!((containers("a"), containers("b")), (0, 1));
    assert_eq!(presence(&pods, "a"), Presence::Present);
}

#[tokio::test]
async fn own_records_that_were_cut_off_are_judged_as_before() {
    let mut pods = shared(vec![record("a", "Never")]);
    hear(&mut pods, vec![]);
    hear(&mut pods, vec![]);
    assert_eq!(pods.fate("a"), Fate::Absent);
}
