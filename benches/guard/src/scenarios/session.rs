//! Both ends of a link, from one owner's verb to the other owner's event and back; bytes on the way included.

use std::time::Duration;

use towline::{
    limits,
    session::{Event, Offer},
    wire::{EventAck, Request, Response, StreamId, Subprotocol, response},
};

use super::{Operation, Scenario, pair::Pair, samples};

/// As many as may be open at once.
const MANY: u32 = limits::MAX_CALLS;

/// Between two operations: long enough for the rate that bounds what a peer starts.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn all() -> Vec<Scenario> {
    let one = |name, unit, prepare| Scenario {
        name,
        unit,
        per: 1,
        times: 500,
        prepare,
    };
    vec![
        one("session-handshake", "link", handshake),
        one("session-call", "call", |times| {
            calls(times, 1, Subprotocol::Proto, create)
        }),
        Scenario {
            per: MANY,
            times: 50,
            ..one("session-64-calls", "call", |times| {
                calls(times, MANY, Subprotocol::Proto, create)
            })
        },
        one("session-json-call", "call", |times| {
            calls(times, 1, Subprotocol::Json, status)
        }),
        one("session-cancel", "call", cancel),
        Scenario {
            per: 256,
            times: 30,
            ..one("session-log-256", "chunk", |_| logs(256, 256))
        },
        Scenario {
            per: 16,
            times: 30,
            ..one("session-log-4k", "chunk", |_| logs(16, 4 << 10))
        },
        Scenario {
            times: 100,
            ..one("session-log-64k", "chunk", |_| logs(1, 64 << 10))
        },
        one("session-event", "event", events),
        one("session-node-status", "frame", node_status),
        one("session-keepalive", "ping", |_| keepalive()),
    ]
}

fn create() -> (Request, Response) {
    (samples::small_create(), samples::created())
}

fn status() -> (Request, Response) {
    (samples::status_request(), samples::status_answer())
}

fn handshake(_: u32) -> Operation {
    Box::new(|| {
        assert!(Pair::open(Subprotocol::Proto).at_rest(), "a new link is at rest");
    })
}

/// So many calls at a time, all answered.
fn calls(times: u32, together: u32, form: Subprotocol, sample: fn() -> (Request, Response)) -> Operation {
    let mut pair = Pair::open(form);
    let (request, answer) = sample();
    let is_answer = |response: &Response| match (&response.result, &response.status) {
        (Some(response::Result::CreatePod(result)), None) => result.job_id == "480123",
        (Some(response::Result::GetStatus(result)), None) => result.pods.len() == 1,
        _ => false,
    };
    let all = (times * together) as usize;
    let (mut requests, mut answers) = (vec![request; all], vec![answer; all]);
    Box::new(move || {
        for request in requests.drain(requests.len() - together as usize..) {
            pair.hub
                .open_call(request, pair.now)
                .expect("the plugin takes a call");
        }
        pair.down();
        while let Some(event) = pair.plugin.poll_event() {
            let Event::Request(id, _) = event else {
                panic!("the plugin got {event:?}");
            };
            pair.plugin.respond(id, answers.pop().expect("one for each call"));
        }
        pair.up();
        for _ in 0..together {
            let event = pair.hub.poll_event();
            let Some(Event::Response(_, response)) = &event else {
                panic!("the hub got {event:?}");
            };
            assert!(is_answer(response), "a call has another answer");
        }
        pair.pass(PAUSE);
        assert!(pair.at_rest(), "a call is left");
    })
}

/// A call that its caller gives up after it was written.
fn cancel(times: u32) -> Operation {
    let mut pair = Pair::open(Subprotocol::Proto);
    let mut requests = vec![samples::small_create(); times as usize];
    let mut answers = vec![samples::created(); times as usize];
    Box::new(move || {
        let request = requests.pop().expect("one for each time");
        let id = pair
            .hub
            .open_call(request, pair.now)
            .expect("the plugin takes a call");
        pair.down();
        pair.hub.cancel(id, pair.now);
        pair.down();
        let events = (pair.plugin.poll_event(), pair.plugin.poll_event());
        assert!(
            matches!(&events, (Some(Event::Request(..)), Some(Event::Cancelled(of))) if *of == id),
            "the plugin got {events:?}"
        );
        pair.plugin.respond(id, answers.pop().expect("one for each time"));
        pair.up();
        pair.pass(PAUSE);
        assert!(pair.at_rest(), "the call is left");
    })
}

/// So many chunks of a log, read as they come.
fn logs(together: u32, len: usize) -> Operation {
    let mut pair = Pair::open(Subprotocol::Proto);
    let id = pair
        .hub
        .open_logs(samples::open_logs(), pair.now)
        .expect("the plugin takes a log");
    pair.down();
    assert!(matches!(pair.plugin.poll_event(), Some(Event::StreamLogs(of, _)) if of == id));
    let data = samples::log(len);
    let mut offset = 0;
    Box::new(move || {
        for _ in 0..together {
            let offer = pair.plugin.send_chunk(id, samples::chunk(offset, data.clone()));
            assert_eq!(offer, Offer::Taken, "there is credit for all of it");
            offset += len as u64;
        }
        pair.up();
        let mut came = 0;
        while let Some(event) = pair.hub.poll_event() {
            came += read(&mut pair, id, event);
        }
        assert_eq!(came, together as usize * len, "a part of the log is lost");
        pair.down();
        pair.pass(PAUSE);
    })
}

fn read(pair: &mut Pair, id: StreamId, event: Event) -> usize {
    let Event::LogChunk(of, chunk) = event else {
        panic!("the hub got {event:?}");
    };
    assert_eq!(of, id, "a chunk of another stream");
    pair.hub
        .consumed(id, chunk.data.len() as u64 + limits::CHUNK_OVERHEAD);
    chunk.data.len()
}

/// An event and its acknowledgement.
fn events(times: u32) -> Operation {
    let mut pair = Pair::open(Subprotocol::Proto);
    let mut events = vec![samples::event(4_711); times as usize];
    Box::new(move || {
        pair.plugin.send_event(events.pop().expect("one for each time"));
        pair.up();
        let event = pair.hub.poll_event();
        let Some(Event::PodEvent(event)) = &event else {
            panic!("the hub got {event:?}");
        };
        let (epoch, seq) = (event.epoch, event.seq);
        pair.hub.send_ack(EventAck { epoch, seq });
        pair.down();
        let ack = pair.plugin.poll_event();
        assert!(
            matches!(&ack, Some(Event::EventAck(ack)) if ack.seq == seq),
            "the plugin got {ack:?}"
        );
        pair.pass(PAUSE);
    })
}

fn node_status(times: u32) -> Operation {
    let mut pair = Pair::open(Subprotocol::Proto);
    let mut statuses = vec![samples::node_status(); times as usize];
    Box::new(move || {
        pair.plugin
            .send_node_status(statuses.pop().expect("one for each time"));
        pair.up();
        let event = pair.hub.poll_event();
        assert!(
            matches!(&event, Some(Event::NodeStatus(status)) if status.ready),
            "the hub got {event:?}"
        );
        pair.pass(PAUSE);
    })
}

/// The hub's regular ping of an idle link, and the plugin's pong.
fn keepalive() -> Operation {
    let mut pair = Pair::open(Subprotocol::Proto);
    Box::new(move || {
        let before = pair.hub.stats().frames_in;
        pair.pass(limits::PING_INTERVAL);
        pair.hub.handle_timeout(pair.now);
        pair.plugin.handle_timeout(pair.now);
        assert!(pair.hub.poll_transport_ping(), "a ping is due");
        pair.down();
        pair.up();
        assert_eq!(pair.hub.stats().frames_in, before + 1, "no pong came");
    })
}
