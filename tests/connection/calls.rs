//! Calls and log streams over a connection: no socket, stopped clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use towline::{
    code::{CloseCode, Code, reason},
    connection::{
        BodyReader, BodySink, BoxFuture, CancelSignal, Connection, HandshakeError, LogSink, Peer, accept,
        register,
    },
    limits,
    wire::{
        CreatePod, EventAck, GetStatus, HttpRequest, HttpResponse, LogChunk, LogPosition, LogsEnd,
        NodeStatus, PodEvent, Register, Request, Response, Status, StatusResult, StreamLogs, Welcome,
        feature, request::Op, response,
    },
};

use crate::carrier::{Faults, Pair, pair};

/// The number of an event that makes a peer panic.
const PANICS: u64 = 666_666;

/// A peer that answers status at once, never answers creates, and streams `total` bytes of log.
#[derive(Debug)]
pub(crate) struct Fake {
    total: u64,
    cancelled: mpsc::UnboundedSender<&'static str>,
    events: Mutex<Vec<u64>>,
    away: mpsc::UnboundedSender<CloseCode>,
    /// The last event that came.
    last: watch::Sender<u64>,
    /// Of calls that were answered at once, when they asked for that.
    kept: Mutex<Vec<CancelSignal>>,
}

impl Peer for Fake {
    fn request(&self, request: Request, cancel: CancelSignal) -> BoxFuture<Response> {
        let told = self.cancelled.clone();
        if matches!(&request.op, Some(Op::GetStatus(status)) if status.page_token == "keep") {
            self.kept.lock().unwrap().push(cancel.clone());
        }
        Box::pin(async move {
            match request.op {
                Some(Op::GetStatus(_)) => Response {
                    result: Some(response::Result::GetStatus(StatusResult {
                        as_of: 7,
                        ..StatusResult::default()
                    })),
                    ..Response::default()
                },
                Some(Op::DeletePod(_)) => panic!("a handler that panics"),
                _ => {
                    cancel.cancelled().await;
                    let _ = told.send("call");
                    Response {
                        status: Some(Status::new(Code::Cancelled, "", "")),
                        result: None,
                    }
                }
            }
        })
    }

    /// By path: sends back what comes, or takes nothing until it is cancelled, or answers at once.
    fn exchange(
        &self,
        request: Request,
        mut body: BodyReader,
        mut sink: BodySink,
        cancel: CancelSignal,
    ) -> BoxFuture<Response> {
        let told = self.cancelled.clone();
        Box::pin(async move {
            let Some(Op::HttpRequest(http)) = request.op else {
                unreachable!("no other call has a body")
            };
            let head = HttpResponse {
                status: 200,
                ..HttpResponse::default()
            };
            if !["/headless", "/empty", "/silent"].contains(&http.path.as_str()) {
                let _ = sink.head(head).await;
            }
            match http.path.as_str() {
                // Somebody else reads the body, and the handler is done.
                "/left" => {
                    tokio::spawn(async move {
                        while body.next().await.is_ok_and(|bytes| bytes.is_some()) {}
                        let _ = told.send("left");
                    });
                }
                "/silent" => cancel.cancelled().await,
                "/headless" => sink.send(&mut Bytes::from_static(b"body")).await.unwrap(),
                "/two" => sink
                    .send(&mut vec![2; limits::LOG_CHUNK + 100].into())
                    .await
                    .unwrap(),
                "/endless" => loop {
                    let _ = sink.send(&mut Bytes::from_static(b"tick")).await;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                },
                "/echo" => loop {
                    match body.next().await {
                        Ok(Some(mut bytes)) => sink.send(&mut bytes).await.unwrap(),
                        Ok(None) => break,
                        Err(gone) => {
                            let _ = told.send("body");
                            return Response {
                                status: Some(Status::new(Code::Cancelled, "", gone.to_string())),
                                result: None,
                            };
                        }
                    }
                },
                "/stall" => {
                    cancel.cancelled().await;
                    assert!(body.next().await.is_err());
                    let _ = told.send("stalled");
                }
                _ => {}
            }
            Response::default()
        })
    }

    fn stream_logs(&self, _: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let (total, told) = (self.total, self.cancelled.clone());
        Box::pin(async move {
            let mut offset = 0;
            while offset < total {
                let len = (total - offset).min(limits::LOG_CHUNK as u64);
                let data: Vec<u8> = (offset..offset + len).map(|n| n as u8).collect();
                let at = Some(LogPosition { epoch: 1, offset });
                let chunk = LogChunk {
                    at,
                    next_offset: offset + len,
                    data: data.into(),
                    ..LogChunk::default()
                };
                if sink.send(chunk).await.is_err() {
                    let _ = told.send("log");
                    return Err(Status::new(Code::Cancelled, "", ""));
                }
                offset += len;
            }
            Ok(LogsEnd {
                next: Some(LogPosition { epoch: 1, offset }),
                eof: true,
                reset: false,
            })
        })
    }

    fn pod_event(&self, event: PodEvent) {
        assert_ne!(event.seq, PANICS, "one that is told panics");
        self.events.lock().unwrap().push(event.seq);
        self.last.send_replace(event.seq);
    }
    fn event_ack(&self, ack: EventAck) {
        self.events.lock().unwrap().push(ack.seq);
    }
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, code: CloseCode, _: &str, _: Duration) {
        let _ = self.away.send(code);
    }
}

/// A fake whose notes nobody reads.
#[allow(dead_code)] // not every binary uses it
pub(crate) fn fake(total: u64) -> Arc<Fake> {
    Arc::new(Fake {
        total,
        cancelled: mpsc::unbounded_channel().0,
        events: Mutex::default(),
        away: mpsc::unbounded_channel().0,
        last: watch::Sender::new(0),
        kept: Mutex::default(),
    })
}

pub(crate) struct Ends {
    pub(crate) hub: Connection,
    pub(crate) plugin: Connection,
    hub_side: Arc<Fake>,
    plugin_side: Arc<Fake>,
    cancelled: mpsc::UnboundedReceiver<&'static str>,
    away: mpsc::UnboundedReceiver<CloseCode>,
    /// Faults of what the hub receives.
    pub(crate) faults: Faults,
    /// Faults of what the plugin receives.
    pub(crate) down: Faults,
}

pub(crate) async fn connect(total: u64) -> Ends {
    connect_with(total, &[feature::FLOW_CONTROL, feature::EVENTS, feature::HTTP]).await
}

async fn connect_with(total: u64, features: &[&str]) -> Ends {
    let Pair {
        hub: hub_end,
        plugin: plugin_end,
        up: faults,
        down,
    } = pair(crate::CARRIER, limits::MAX_MESSAGE).await;
    let (told, cancelled) = mpsc::unbounded_channel();
    let (gone, away) = mpsc::unbounded_channel();
    let fake = || {
        Arc::new(Fake {
            total,
            cancelled: told.clone(),
            events: Mutex::default(),
            away: gone.clone(),
            last: watch::Sender::new(0),
            kept: Mutex::default(),
        })
    };
    let (hub_side, plugin_side) = (fake(), fake());
    let dial = async {
        let hello = Register {
            plugin: "p1".into(),
            ..Register::default()
        };
        register(plugin_end, hello)
            .await
            .unwrap()
            .start(plugin_side.clone())
    };
    let accepting = async {
        let accepted = accept(hub_end).await.unwrap();
        assert_eq!(accepted.register.plugin, "p1");
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        accepted.welcome(
            Welcome {
                features,
                ..Welcome::default()
            },
            hub_side.clone(),
        )
    };
    let (plugin, hub) = tokio::join!(dial, accepting);
    Ends {
        hub,
        plugin,
        hub_side,
        plugin_side,
        cancelled,
        away,
        faults,
        down,
    }
}

pub(crate) fn status() -> Request {
    Request {
        op: Some(Op::GetStatus(GetStatus {
            all: true,
            ..GetStatus::default()
        })),
        ..Request::default()
    }
}

pub(crate) fn create() -> Request {
    Request {
        op: Some(Op::CreatePod(Default::default())),
        ..Request::default()
    }
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_connection() {
    let ends = connect(0).await;
    let calls = (0..60).map(|_| {
        let hub = ends.hub.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let response = hub.call(status()).await.unwrap();
                assert!(matches!(
                    response.result,
                    Some(response::Result::GetStatus(StatusResult { as_of: 7, .. }))
                ));
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let stats = ends.hub.stats();
    assert!(
        stats.packets_out < stats.frames_out,
        "frames were never joined: {stats:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_is_cancelled_at_the_peer() {
    let mut ends = connect(0).await;
    let hub = ends.hub.clone();
    let call = tokio::spawn(async move { hub.call(create()).await });
    ends.hub.call(status()).await.unwrap();
    call.abort();
    assert_eq!(ends.cancelled.recv().await, Some("call"));
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_outlives_its_call_hears_nothing_of_the_next_one() {
    let mut ends = connect(0).await;
    let mut keep = status();
    if let Some(Op::GetStatus(status)) = &mut keep.op {
        status.page_token = "keep".into();
    }
    for _ in 0..3 {
        ends.hub.call(keep.clone()).await.unwrap();
        ends.hub.call(status()).await.unwrap();
    }
    let mut call = Box::pin(ends.hub.call(create()));
    assert!(futures::poll!(&mut call).is_pending());
    ends.hub.call(status()).await.unwrap();
    drop(call);
    assert_eq!(ends.cancelled.recv().await, Some("call"));
    let kept = ends.plugin_side.kept.lock().unwrap();
    assert_eq!(kept.len(), 3);
    assert!(!kept.iter().any(CancelSignal::is_cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_that_nobody_answers() {
    let ends = connect(0).await;
    let begun = tokio::time::Instant::now();
    let error = ends
        .hub
        .call(Request {
            timeout_ms: 3_000,
            ..create()
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_handler_ends_that_call_only() {
    let ends = connect(0).await;
    let request = Request {
        op: Some(Op::DeletePod(Default::default())),
        ..Request::default()
    };
    assert_eq!(ends.hub.call(request).await.unwrap_err().kind(), Code::Internal);
    ends.hub.call(status()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_who_is_told_of_an_event_ends_the_connection_and_all_its_calls() {
    let ends = connect(0).await;
    let hub = ends.hub.clone();
    let calling = tokio::spawn(async move { hub.call(create()).await });
    ends.hub.call(status()).await.unwrap();
    for seq in [PANICS, PANICS, 1] {
        let event = PodEvent {
            epoch: 1,
            seq,
            ..PodEvent::default()
        };
        ends.plugin.send_event(event);
    }
    assert_eq!(ends.hub.ended().await.code, CloseCode::ABNORMAL);
    assert!(!ends.hub.is_open());
    assert_eq!(calling.await.unwrap().unwrap_err().reason, reason::SESSION_LOST);
    ends.plugin.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_arrives_byte_for_byte_and_ends_once() {
    let total = 5_000_000;
    let ends = connect(total).await;
    let mut stream = ends.hub.stream_logs(StreamLogs::default()).await.unwrap();
    let mut offset = 0u64;
    let end = loop {
        match stream.next().await {
            Ok(chunk) => {
                assert_eq!(chunk.at.unwrap().offset, offset);
                assert!(
                    chunk
                        .data
                        .iter()
                        .enumerate()
                        .all(|(n, byte)| *byte == (offset + n as u64) as u8)
                );
                offset = chunk.next_offset;
            }
            Err(end) => break end.unwrap(),
        }
    };
    assert_eq!((offset, end.eof), (total, true));
    assert_eq!(stream.next().await.unwrap_err().unwrap(), end);
}

#[tokio::test(start_paused = true)]
async fn a_small_piece_of_a_log_does_not_keep_the_message_that_it_came_in() {
    let ends = connect(limits::LOG_CHUNK as u64 + 100).await;
    let mut stream = ends.hub.stream_logs(StreamLogs::default()).await.unwrap();
    // Both came in one message.
    let (large, small) = (stream.next().await.unwrap(), stream.next().await.unwrap());
    assert_eq!((large.data.len(), small.data.len()), (limits::LOG_CHUNK, 100));
    assert!(small.data.is_unique());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reader_stops_the_sender() {
    let mut ends = connect(u64::MAX).await;
    let mut stream = ends.hub.stream_logs(StreamLogs::default()).await.unwrap();
    stream.next().await.unwrap();
    drop(stream);
    assert_eq!(ends.cancelled.recv().await, Some("log"));
}

#[tokio::test(start_paused = true)]
async fn readers_that_take_nothing_slow_neither_a_fast_one_nor_calls() {
    let ends = connect(3_000_000).await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(ends.hub.stream_logs(StreamLogs::default()).await.unwrap());
    }
    let mut fast = ends.hub.stream_logs(StreamLogs::default()).await.unwrap();
    let mut got = 0;
    while let Ok(chunk) = fast.next().await {
        got += chunk.data.len();
        ends.hub.call(status()).await.unwrap();
    }
    assert_eq!(got, 3_000_000);
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_calls_and_logs_with_session_lost() {
    let ends = connect(u64::MAX).await;
    let mut stream = ends.hub.stream_logs(StreamLogs::default()).await.unwrap();
    let hub = ends.hub.clone();
    let call = tokio::spawn(async move { hub.call(create()).await });
    ends.hub.call(status()).await.unwrap();
    ends.faults.cut();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(
        (error.reason.as_str(), error.not_started),
        (reason::SESSION_LOST, false)
    );
    let lost = loop {
        if let Err(end) = stream.next().await {
            break end.unwrap_err();
        }
    };
    assert_eq!(lost.reason, reason::SESSION_LOST);
    assert!(!ends.hub.is_open());
    assert_eq!(
        ends.hub.call(status()).await.unwrap_err().kind(),
        Code::Unavailable
    );
    ends.plugin.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_goes_silent_is_given_up() {
    let ends = connect(0).await;
    ends.faults.drop_silently();
    let ended = ends.hub.ended().await;
    assert_eq!((ended.code, ended.by_peer), (CloseCode::IDLE, false));
}

#[tokio::test(start_paused = true)]
async fn a_drained_hub_lets_calls_finish_and_tells_the_plugin_when_to_come_back() {
    let mut ends = connect(0).await;
    let hub = ends.hub.clone();
    let call = tokio::spawn(async move {
        hub.call(Request {
            timeout_ms: 5_000,
            ..create()
        })
        .await
    });
    ends.hub.call(status()).await.unwrap();
    ends.hub.drain(
        CloseCode::DRAIN,
        "restart",
        limits::DRAIN_GRACE,
        Duration::from_secs(4),
    );
    assert_eq!(ends.away.recv().await, Some(CloseCode::DRAIN));
    assert_eq!(
        ends.hub.call(status()).await.unwrap_err().reason,
        reason::DRAINING
    );
    assert_eq!(call.await.unwrap().unwrap_err().kind(), Code::DeadlineExceeded);
    let ended = ends.plugin.ended().await;
    assert_eq!(
        (ended.code, ended.by_peer, ended.retry_after),
        (CloseCode::DRAIN, true, Duration::from_secs(4))
    );
}

#[tokio::test(start_paused = true)]
async fn the_wish_for_the_next_dial_is_kept_when_goaway_and_close_come_together() {
    let ends = connect(0).await;
    ends.down.hold();
    ends.hub.drain(
        CloseCode::DRAIN,
        "restart",
        limits::DRAIN_GRACE,
        Duration::from_secs(4),
    );
    // Both are on their way, well within the two seconds that the hub waits for the plugin's close.
    tokio::time::sleep(Duration::from_millis(1)).await;
    ends.down.release();
    let ended = ends.plugin.ended().await;
    assert_eq!(
        (ended.code, ended.by_peer, ended.retry_after),
        (CloseCode::DRAIN, true, Duration::from_secs(4))
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_is_read_at_the_rate_and_the_link_lives() {
    let ends = connect(0).await;
    let begun = tokio::time::Instant::now();
    let count = 5 * u64::from(limits::PEER_FRAMES_BURST);
    for seq in 1..=count {
        ends.plugin.send_event(PodEvent {
            seq,
            ..PodEvent::default()
        });
    }
    let mut last = ends.hub_side.last.subscribe();
    last.wait_for(|seq| *seq == count).await.unwrap();
    assert!(ends.hub_side.events.lock().unwrap().iter().copied().eq(1..=count));
    // The last packet is read before it is paid for.
    let unpaid = u64::from(limits::PEER_FRAMES_BURST) + limits::MAX_FRAMES as u64;
    let least = (count - unpaid) / u64::from(limits::PEER_FRAMES_PER_SECOND);
    assert!(begun.elapsed().as_secs() >= least, "{:?}", begun.elapsed());
    assert!(ends.hub.stats().read_pauses > 0);
    ends.hub.call(status()).await.unwrap();
}

fn http(path: &str) -> Request {
    let http = HttpRequest {
        method: "POST".into(),
        path: path.into(),
        has_body: true,
        ..HttpRequest::default()
    };
    Request {
        op: Some(Op::HttpRequest(http)),
        ..Request::default()
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_travel_both_ways_at_once_byte_for_byte_and_calls_go_on_beside_them() {
    let ends = connect(0).await;
    let (mut sink, mut answer) = ends.hub.exchange(http("/echo")).unwrap();
    let head = answer.head().await.unwrap();
    assert_eq!(head.status, 200, "before any byte of the body was sent");
    let whole: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut left = Bytes::from(whole.clone());
    let sending = tokio::spawn(async move {
        sink.send(&mut left).await.unwrap();
        sink.finish().await.unwrap();
    });
    let mut got = Vec::new();
    let end = loop {
        match answer.next().await {
            Ok(bytes) => got.extend_from_slice(&bytes),
            Err(end) => break end.unwrap(),
        }
        ends.hub.call(status()).await.unwrap();
    };
    sending.await.unwrap();
    assert!(got == whole, "{} of {} bytes", got.len(), whole.len());
    assert_eq!(end, Response::default());
    assert_eq!(answer.next().await.unwrap_err().unwrap(), end);
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_body_for_a_handler_that_is_done_is_told_of_the_end() {
    let mut ends = connect(0).await;
    let (_sink, mut answer) = ends.hub.exchange(http("/left")).unwrap();
    answer.next().await.unwrap_err().unwrap();
    assert_eq!(ends.cancelled.recv().await, Some("left"));
}

#[tokio::test(start_paused = true)]
async fn a_small_piece_of_a_body_does_not_keep_the_message_that_it_came_in() {
    let ends = connect(0).await;
    let (_sink, mut answer) = ends.hub.exchange(http("/two")).unwrap();
    // Both came in one message.
    let (large, small) = (answer.next().await.unwrap(), answer.next().await.unwrap());
    assert_eq!((large.len(), small.len()), (limits::LOG_CHUNK, 100));
    assert!(small.is_unique());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_waits_and_keeps_what_was_not_queued() {
    let mut ends = connect(0).await;
    let (mut sink, answer) = ends.hub.exchange(http("/stall")).unwrap();
    let mut bytes = Bytes::from(vec![1; 1 << 20]);
    let waited = tokio::time::timeout(Duration::from_secs(5), sink.send(&mut bytes)).await;
    assert!(waited.is_err());
    let queued = (1 << 20) - bytes.len() as u64;
    assert!(queued > 0 && queued <= limits::BODY_CREDIT, "{queued}");
    drop(answer);
    assert_eq!(ends.cancelled.recv().await, Some("stalled"));
    assert!(sink.send(&mut bytes).await.is_err());
    ends.hub.call(status()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_given_up_cancels_the_call_for_both_ends() {
    let mut ends = connect(0).await;
    let (mut sink, mut answer) = ends.hub.exchange(http("/echo")).unwrap();
    let mut bytes = Bytes::from_static(b"some");
    sink.send(&mut bytes).await.unwrap();
    assert_eq!(answer.next().await.unwrap(), "some");
    drop(sink);
    assert_eq!(
        answer.next().await.unwrap_err().unwrap_err().kind(),
        Code::Cancelled
    );
    assert_eq!(ends.cancelled.recv().await, Some("body"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_body_ends_the_sender() {
    let ends = connect(0).await;
    let (mut sink, mut answer) = ends.hub.exchange(http("/at-once")).unwrap();
    let mut bytes = Bytes::from(vec![1; 1 << 20]);
    assert!(sink.send(&mut bytes).await.is_err());
    drop(sink);
    assert!(answer.next().await.unwrap_err().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun_has_no_deadline_and_one_that_has_not_has() {
    let ends = connect(0).await;
    let ask = |path| {
        let mut request = http(path);
        request.timeout_ms = 1_000;
        ends.hub.exchange(request).unwrap()
    };
    let (_sink, mut answer) = ask("/endless");
    assert_eq!(answer.head().await.unwrap().status, 200);
    for _ in 0..5 {
        assert_eq!(answer.next().await.unwrap(), "tick");
    }
    let (_sink, mut silent) = ask("/silent");
    let late = silent.head().await.unwrap_err();
    assert_eq!(late.kind(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_with_its_head_is_no_answer() {
    let ends = connect(0).await;
    for path in ["/headless", "/empty"] {
        let (_sink, mut answer) = ends.hub.exchange(http(path)).unwrap();
        let broken = answer.head().await.unwrap_err();
        assert_eq!(
            (broken.kind(), broken.reason.as_str()),
            (Code::Internal, reason::PLUGIN_ERROR),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn calls_with_bodies_never_take_the_slots_of_the_others_also_not_while_they_are_cancelled() {
    let ends = connect(0).await;
    let most = limits::MAX_CALLS / limits::BODY_CALLS_SHARE;
    let mut open: Vec<_> = (0..most)
        .map(|_| ends.hub.exchange(http("/stall")).unwrap())
        .collect();
    let refused = ends.hub.exchange(http("/stall")).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.reason.as_str(), refused.not_started),
        (Code::ResourceExhausted, reason::TOO_MANY_CALLS, true)
    );
    let (_, answer) = open.last_mut().unwrap();
    answer.head().await.unwrap();
    drop(open.pop());
    assert!(
        ends.hub.exchange(http("/stall")).is_err(),
        "not before it was answered"
    );
    ends.hub.call(status()).await.unwrap();
    while ends.hub.exchange(http("/echo")).is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_ends_in_the_moment_of_the_answer_does_not_cancel_it() {
    let ends = connect(0).await;
    let asking = || async {
        for _ in 0..2_000 {
            let (sink, mut answer) = loop {
                match ends.hub.exchange(http("/at-once")) {
                    Ok(exchange) => break exchange,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let ending = tokio::spawn(sink.finish());
            assert_eq!(answer.head().await.map(|head| head.status), Ok(200));
            assert_eq!(answer.next().await, Err(Ok(Response::default())));
            // In time, or after the answer.
            let _ = ending.await.unwrap();
        }
    };
    tokio::join!(asking(), asking(), asking(), asking());
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_a_body_with_session_lost() {
    let ends = connect(0).await;
    let (mut sink, mut answer) = ends.hub.exchange(http("/echo")).unwrap();
    sink.send(&mut Bytes::from_static(b"some")).await.unwrap();
    assert_eq!(answer.next().await.unwrap(), "some");
    ends.faults.cut();
    let lost = answer.next().await.unwrap_err().unwrap_err();
    assert_eq!(lost.reason, reason::SESSION_LOST);
    assert!(sink.send(&mut Bytes::from_static(b"more")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_compressed_link_carries_logs_byte_for_byte_and_never_compresses_secrets() {
    let total = 2_000_000;
    let ends = connect_with(total, &[feature::FLOW_CONTROL, feature::ZSTD]).await;
    let mut stream = ends.hub.stream_logs(StreamLogs::default()).await.unwrap();
    let mut offset = 0u64;
    while let Ok(chunk) = stream.next().await {
        assert_eq!(chunk.at.unwrap().offset, offset);
        let good = |(n, byte): (usize, &u8)| *byte == (offset + n as u64) as u8;
        assert!(chunk.data.iter().enumerate().all(good));
        offset = chunk.next_offset;
    }
    assert_eq!(offset, total);
    assert!(ends.plugin.stats().packets_compressed > 0);
    let before = ends.hub.stats();
    let secret = Request {
        op: Some(Op::CreatePod(CreatePod {
            payload: vec![b's'; 100_000].into(),
            ..CreatePod::default()
        })),
        sensitive: true,
        timeout_ms: 1_000,
        ..Request::default()
    };
    let error = ends.hub.call(secret).await.unwrap_err();
    assert_eq!(error.kind(), Code::DeadlineExceeded);
    let after = ends.hub.stats();
    assert!(after.packets_out > before.packets_out);
    assert_eq!(after.packets_compressed, before.packets_compressed);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_reach_the_plugin() {
    let ends = connect(0).await;
    ends.hub.send_ack(EventAck { epoch: 1, seq: 4 });
    ends.hub.call(status()).await.unwrap();
    assert_eq!(*ends.plugin_side.events.lock().unwrap(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_plugin_reads_why() {
    let Pair {
        hub: hub_end,
        plugin: plugin_end,
        ..
    } = pair(crate::CARRIER, limits::MAX_MESSAGE).await;
    let hub = async {
        let accepted = accept(hub_end).await.unwrap();
        accepted
            .refuse(
                CloseCode::FORBIDDEN,
                "the name p1 is not yours",
                Duration::from_secs(9),
            )
            .await;
    };
    let (_, outcome) = tokio::join!(
        hub,
        register(
            plugin_end,
            Register {
                plugin: "p1".into(),
                ..Register::default()
            }
        )
    );
    let Err(HandshakeError::Refused {
        code,
        reason,
        retry_after,
    }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (code, reason.as_str()),
        (CloseCode::FORBIDDEN, "the name p1 is not yours")
    );
    assert_eq!(retry_after, Duration::from_secs(9));
}
