//! The bodies of interLink's REST.

use std::hint::black_box;

use serde_json::Value;
use towline::interlink::{PodCreateRequests, PodStatus, complete, read, surely_holds, validate_create};

use super::{Operation, Scenario, samples};

/// Pods of a status.
const PODS: u32 = 10;

pub(super) fn all() -> Vec<Scenario> {
    let body = |name, prepare| Scenario {
        name,
        unit: "body",
        per: 1,
        times: 100,
        prepare,
    };
    vec![
        body("rest-read-create", |_| read_create()),
        body("rest-write-create", |_| write_create()),
        body("rest-check-payload", |_| check_payload()),
        Scenario {
            unit: "pod",
            per: PODS,
            ..body("rest-status", |_| status())
        },
    ]
}

/// What the virtual kubelet sent, read and checked.
fn read_create() -> Operation {
    Box::new(|| {
        let create: PodCreateRequests = read(black_box(samples::CREATE)).expect("the fixture is a create");
        assert_eq!(validate_create(&create), Ok(()), "the fixture is a good create");
        black_box(create);
    })
}

/// What the plugin gets, sorted to its containers and written.
fn write_create() -> Operation {
    let create: PodCreateRequests = read(samples::CREATE).expect("the fixture is a create");
    let write = |create: &PodCreateRequests| create.retrieve().to_payload().expect("it is written");
    let (written, created): (Value, Value) = (
        serde_json::from_slice(&write(&create)).expect("it is JSON"),
        serde_json::from_slice(samples::CREATED).expect("the fixture is JSON"),
    );
    assert!(written == created, "the plugin gets something else");
    let size = write(&create).len();
    Box::new(move || {
        let body = write(black_box(&create));
        assert_eq!(body.len(), size, "the plugin gets something else");
        black_box(body);
    })
}

/// What a plugin looks at before its handler gets the payload.
fn check_payload() -> Operation {
    let create: PodCreateRequests = read(samples::CREATE).expect("the fixture is a create");
    let uid = create.pod.uid().to_owned();
    Box::new(move || {
        assert!(
            surely_holds(black_box(samples::CREATED), &uid),
            "its pod is in it"
        )
    })
}

/// The answer of a status, made of what the hub knows.
fn status() -> Operation {
    let pods = samples::pods(PODS as usize);
    Box::new(move || {
        let known = black_box(&pods)
            .iter()
            .filter_map(|(pod, state)| complete(pod, state));
        let known: Vec<PodStatus> = known.collect();
        assert_eq!(known.len(), PODS as usize, "there is news of each pod");
        black_box(serde_json::to_vec(&known).expect("it is written"));
    })
}
