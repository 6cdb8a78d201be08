//! What the two sides do in each transcript.

use std::{collections::BTreeMap, time::Duration};

use towline::{
    code::{CloseCode, Code},
    session::{Offer, State},
    wire::{
        Data, EventAck, HttpHeader, HttpRequest, HttpResponse, LogChunk, LogOptions, LogPosition, LogsEnd,
        Outbox, PodEventType, Register, Request, Response, Role, Status, StreamId, StreamLogs, Welcome,
        request::Op, response,
    },
};

use super::{Line, talk::Talk};
use crate::messages::{
    chunk, create, created, ended, event, failed, follow, get_status, logs_end, queued, register, running,
    welcome,
};

pub(super) fn all() -> BTreeMap<&'static str, Vec<Line>> {
    BTreeMap::from([
        ("pod", pod()),
        ("resume", resume()),
        ("drain", drain()),
        ("events", events()),
        ("http", http()),
        ("refused_register", refused_register()),
    ])
}

/// A request to the plugin's own endpoints: the head of its answer comes before the body of the request has ended. A second
/// one is given up by the hub while the answer goes on.
fn http() -> Vec<Line> {
    let features = vec!["flow_control".to_owned(), "http".to_owned()];
    let mut talk = Talk::dial(Register {
        features: features.clone(),
        outbox: None,
        ..register()
    });
    talk.let_in(Welcome {
        features,
        ..welcome()
    });
    let head = |status| Data {
        head: Some(HttpResponse {
            status,
            headers: vec![HttpHeader::new("content-type", "text/plain")],
        }),
        ..Data::default()
    };
    let data = |text: &'static str, end| Data {
        data: text.into(),
        end,
        ..Data::default()
    };
    let upload = talk
        .hub
        .open_call(passed("POST", "/notes?of=today", true), talk.now)
        .unwrap();
    assert_eq!(talk.hub.send_data(upload, data("first, ", false)), Offer::Taken);
    talk.carry();
    assert_eq!(talk.plugin.send_data(upload, head(201)), Offer::Taken);
    talk.carry();
    assert_eq!(talk.hub.send_data(upload, data("second", false)), Offer::Taken);
    assert_eq!(talk.hub.send_data(upload, data("", true)), Offer::Taken);
    talk.carry();
    assert_eq!(
        talk.plugin.send_data(upload, data("13 bytes\n", false)),
        Offer::Taken
    );
    talk.plugin.respond(upload, Response::default());
    talk.carry();

    let watch = talk
        .hub
        .open_call(passed("GET", "/ticks", false), talk.now)
        .unwrap();
    assert_eq!(talk.hub.send_data(watch, data("", true)), Offer::Taken);
    talk.carry();
    assert_eq!(talk.plugin.send_data(watch, head(200)), Offer::Taken);
    assert_eq!(talk.plugin.send_data(watch, data("tick\n", false)), Offer::Taken);
    talk.carry();
    talk.hub.cancel(watch, talk.now);
    talk.carry();
    let gone = Status::new(Code::Cancelled, "", "the caller has gone");
    talk.plugin.respond(watch, failed(gone));
    talk.carry();
    talk.lose();
    talk.end()
}

fn passed(method: &str, path: &str, has_body: bool) -> Request {
    Request {
        timeout_ms: 30_000,
        sensitive: true,
        op: Some(Op::HttpRequest(HttpRequest {
            method: method.into(),
            path: path.into(),
            headers: vec![HttpHeader::new("accept", "text/plain")],
            has_body,
        })),
        ..Request::default()
    }
}

/// A pod from its create to its end, with its log; then the plugin stops.
fn pod() -> Vec<Line> {
    let mut talk = Talk::open(register());
    let create = talk.hub.open_call(create(), talk.now).unwrap();
    talk.carry();
    talk.plugin.respond(create, created());
    talk.plugin.send_event(event(PodEventType::Started, running(1)));
    talk.carry();
    talk.hub.send_ack(EventAck { epoch: 77, seq: 1 });
    let logs = talk.hub.open_logs(follow(), talk.now).unwrap();
    talk.carry();
    send(&mut talk, logs, chunk(0, b""));
    talk.carry();
    send(&mut talk, logs, chunk(0, b"hello\n"));
    send(&mut talk, logs, chunk(6, b"world\n"));
    talk.plugin.send_event(event(PodEventType::Finished, ended(2)));
    talk.plugin.respond(logs, logs_end());
    talk.carry();
    talk.hub.send_ack(EventAck { epoch: 77, seq: 2 });
    talk.carry();
    talk.pass(Duration::from_secs(20));
    stop_plugin(&mut talk, Duration::ZERO);
    talk.carry();
    assert_eq!(talk.plugin.state(), State::Closed);
    talk.end()
}

/// A log is followed, the connection breaks, and the log goes on at the byte where it was. Then a log whose run is
/// gone starts anew.
fn resume() -> Vec<Line> {
    let mut talk = Talk::open(register());
    let logs = talk.hub.open_logs(follow(), talk.now).unwrap();
    talk.carry();
    send(&mut talk, logs, chunk(0, b""));
    talk.carry();
    send(&mut talk, logs, chunk(0, b"hello\n"));
    talk.carry();
    send(&mut talk, logs, chunk(6, b"wor"));
    talk.lose();

    talk.dial_again(register());
    talk.let_in(Welcome {
        session: "s-2".into(),
        ..welcome()
    });
    let logs = talk.hub.open_logs(from(1, 9, true), talk.now).unwrap();
    talk.carry();
    send(&mut talk, logs, chunk(9, b""));
    talk.carry();
    send(&mut talk, logs, chunk(9, b"ld\n"));
    talk.plugin.respond(logs, logs_end());
    talk.carry();

    let logs = talk.hub.open_logs(from(1, 12, false), talk.now).unwrap();
    talk.carry();
    let anew = |offset, text| LogChunk {
        at: Some(LogPosition { epoch: 2, offset }),
        ..chunk(offset, text)
    };
    let reset = LogChunk {
        reset: true,
        ..anew(0, b"")
    };
    send(&mut talk, logs, reset);
    talk.carry();
    send(&mut talk, logs, anew(0, b"again\n"));
    let end = LogsEnd {
        next: Some(LogPosition { epoch: 2, offset: 6 }),
        eof: false,
        reset: true,
    };
    talk.plugin.respond(
        logs,
        Response {
            status: None,
            result: Some(response::Result::LogsEnd(end)),
        },
    );
    talk.carry();
    talk.lose();
    talk.end()
}

/// The plugin stops while a create and a log are open: the log ends at once and goes on elsewhere by position, the
/// create is let finish, then the plugin closes.
fn drain() -> Vec<Line> {
    let mut talk = Talk::open(register());
    let create = talk.hub.open_call(create(), talk.now).unwrap();
    let logs = talk.hub.open_logs(follow(), talk.now).unwrap();
    talk.carry();
    send(&mut talk, logs, chunk(0, b""));
    talk.carry();
    stop_plugin(&mut talk, Duration::from_secs(2));
    talk.carry();
    assert_eq!(talk.plugin.state(), State::Draining);
    assert!(
        talk.hub.open_call(get_status(), talk.now).is_err(),
        "no call after GoAway"
    );
    talk.plugin.respond(create, created());
    talk.carry();
    assert_eq!(talk.plugin.state(), State::Closed);
    talk.end()
}

/// Events, one acknowledgement for two of them; the connection breaks before the third is acknowledged, and the pod
/// goes on: the outbox holds its latest state only, with a new number.
fn events() -> Vec<Line> {
    let mut talk = Talk::open(register());
    talk.plugin.send_event(event(PodEventType::Created, queued(1)));
    talk.carry();
    talk.plugin.send_event(event(PodEventType::Started, running(2)));
    talk.carry();
    talk.hub.send_ack(EventAck { epoch: 77, seq: 2 });
    talk.carry();
    talk.plugin.send_event(event(PodEventType::Restarted, running(3)));
    talk.lose();

    let outbox = Outbox {
        epoch: 77,
        oldest_seq: 5,
        next_seq: 6,
        acked_seq: 2,
    };
    talk.dial_again(Register {
        outbox: Some(outbox),
        ..register()
    });
    talk.let_in(Welcome {
        session: "s-2".into(),
        applied: Some(EventAck { epoch: 77, seq: 3 }),
        ..welcome()
    });
    talk.plugin.send_event(event(PodEventType::Finished, ended(5)));
    talk.carry();
    talk.hub.send_ack(EventAck { epoch: 77, seq: 5 });
    talk.carry();
    talk.lose();
    talk.end()
}

/// Peers that a hub does not let in, each on a link of its own.
fn refused_register() -> Vec<Line> {
    let observer = Register {
        role: Role::Observer as i32,
        ..register()
    };
    let mut talk = Talk::dial(observer);
    let refuse = |talk: &mut Talk, code, why: &str, retry| {
        talk.hub.refuse(code, why, retry);
        talk.carry();
        assert_eq!(talk.hub.state(), State::Closed);
    };
    let slow = Duration::from_secs(300);
    refuse(
        &mut talk,
        CloseCode::VIOLATION,
        "observers are not served on the link",
        Duration::ZERO,
    );

    talk.dial_again(Register {
        plugin: "Site 1".into(),
        ..register()
    });
    let text = "plugin name \"Site 1\" is not an RFC 1123 label (a-z, 0-9, '-')";
    refuse(&mut talk, CloseCode::VIOLATION, text, Duration::ZERO);

    talk.dial_again(register());
    refuse(
        &mut talk,
        CloseCode::FORBIDDEN,
        "this credential may not be used as plugin site1",
        Duration::ZERO,
    );

    talk.dial_again(register());
    refuse(
        &mut talk,
        CloseCode::VERSION,
        "this hub speaks no version that the plugin knows",
        slow,
    );

    talk.dial_again(register());
    refuse(
        &mut talk,
        CloseCode::DRAIN,
        "the hub is shutting down",
        Duration::from_secs(1),
    );
    talk.end()
}

fn send(talk: &mut Talk, logs: StreamId, chunk: LogChunk) {
    assert_eq!(talk.plugin.send_chunk(logs, chunk), Offer::Taken);
}

fn stop_plugin(talk: &mut Talk, retry_after: Duration) {
    let grace = Duration::from_secs(8);
    talk.plugin
        .drain(CloseCode::DRAIN, "done", grace, retry_after, talk.now);
}

fn from(epoch: u64, offset: u64, follow: bool) -> StreamLogs {
    StreamLogs {
        start: Some(LogPosition { epoch, offset }),
        options: Some(LogOptions {
            follow,
            ..LogOptions::default()
        }),
        ..crate::messages::follow()
    }
}
