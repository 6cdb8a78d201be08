//! Bodies of both directions: whole, as they come, held back, and cut off.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::{
    client::{none, pieces, send, to, whole},
    site::Site,
    upstream::{PIECE, bulk},
};

/// What may lie between the two ends, both ways: credit, and what sockets and HTTP hold, however much travels in all.
const BETWEEN: u64 = 12 << 20;

#[tokio::test]
async fn a_plugins_endpoint_is_asked_and_answers_in_its_own_words() {
    let site = Site::start().await;
    let answer = site.hubs.get("/system-info?full=%2F").await;
    let headers = answer.answer.headers().clone();
    assert_eq!(answer.text().await, (200, r#"{"nodes": 12}"#.to_owned()));
    assert_eq!(
        (&headers["content-type"], &headers["x-site"]),
        (&"application/json".parse().unwrap(), &"lab".parse().unwrap())
    );
    assert_eq!(headers["content-length"], "13");
    assert_eq!(headers["via"], "1.1 towline");
    assert_eq!(site.upstream.asked(), ["GET /system-info?full=%2F"]);
    let metrics = site.hubs.hub.metrics_text();
    assert!(
        metrics.contains(r#"_count{op="http",way="link",code="OK"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_mebibytes_travel_both_ways_at_once_byte_for_byte_in_bounded_memory() {
    const ALL: usize = 50 << 20;
    let site = Site::on_unix_sockets().await;
    let (sent, sum) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Sha256::new())));
    let body = {
        let (sent, sum) = (Arc::clone(&sent), Arc::clone(&sum));
        stream::iter(bulk(ALL)).map(move |piece| {
            sum.lock().unwrap().update(&piece);
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok(piece)
        })
    };
    let request = to("POST", "/echo").body(pieces(body)).unwrap();
    let mut echo = send(&site.hubs.address, request).await;
    assert_eq!(echo.answer.status(), 200);
    let (mut back, mut got) = (Sha256::new(), 0u64);
    while let Some(piece) = echo.next().await {
        let piece = piece.unwrap();
        back.update(&piece);
        got += piece.len() as u64;
        let under_way = sent.load(Ordering::Relaxed) - got;
        assert!(under_way <= BETWEEN, "{under_way} bytes are held somewhere");
    }
    assert_eq!(got, ALL as u64);
    assert_eq!(back.finalize(), sum.lock().unwrap().clone().finalize());
}

#[tokio::test]
async fn a_body_of_known_or_unknown_length_arrives_whole() {
    let site = Site::start().await;
    let all: Bytes = bulk(4 * PIECE).flatten().collect::<Vec<_>>().into();
    let expected = format!("{} {:x?}", all.len(), Sha256::digest(&all).as_slice());
    let unknown = pieces(stream::iter([all.slice(..7), all.slice(7..)]).map(Ok));
    for (method, body) in [("POST", whole(all.clone())), ("PUT", unknown)] {
        let request = to(method, "/sum").body(body).unwrap();
        let (code, text) = send(&site.hubs.address, request).await.text().await;
        assert_eq!((code, &text), (200, &expected), "{method}");
    }
    // Also where a body is unusual, and of unknown length.
    let unknown = pieces(stream::iter([all.clone()]).map(Ok));
    let request = to("GET", "/sum")
        .header("transfer-encoding", "chunked")
        .body(unknown)
        .unwrap();
    assert_eq!(send(&site.hubs.address, request).await.text().await.1, expected);
    let (_, text) = site.hubs.ask("DELETE", "/sum").await.text().await;
    assert!(text.starts_with("0 "), "{text}");
}

#[tokio::test]
async fn a_stream_without_end_arrives_piece_by_piece() {
    let site = Site::start().await;
    let ticks = &site.upstream.ticks;
    ticks.send(Ok(Bytes::from_static(b"data: 0\n\n"))).await.unwrap();
    let mut events = site.hubs.get("/ticks").await;
    assert_eq!(events.answer.headers()["content-type"], "text/event-stream");
    assert_eq!(events.next().await.unwrap().unwrap(), "data: 0\n\n");
    for n in 1..5 {
        let event = format!("data: {n}\n\n");
        ticks.send(Ok(event.clone().into())).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap(), event);
    }
    drop(events);
    site.upstream.until_open(0).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_at_the_plugin_before_and_after_its_answer_began() {
    let site = Site::start().await;
    let request = to("GET", "/hang").body(none()).unwrap();
    let address = site.hubs.address.clone();
    let asking = tokio::spawn(async move { drop(send(&address, request).await) });
    site.upstream.until_open(1).await;
    asking.abort();
    let _ = asking.await;
    site.upstream.until_open(0).await;

    let mut bulk = site.hubs.get(&format!("/bulk?{}", 256 << 20)).await;
    assert!(bulk.next().await.unwrap().is_ok());
    drop(bulk);
    site.upstream.until_open(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_upstream_back_and_nobody_else() {
    let site = Site::on_unix_sockets().await;
    let all = 64 << 20;
    let mut slow = site.hubs.get(&format!("/bulk?{all}")).await;
    assert_eq!(slow.answer.headers()["content-length"], all.to_string().as_str());
    let mut got = slow.next().await.unwrap().unwrap().len() as u64;
    for _ in 0..300 {
        assert_eq!(site.hubs.get("/system-info").await.text().await.0, 200);
        let produced = site.upstream.seen.produced.load(Ordering::Relaxed);
        assert!(
            produced - got <= BETWEEN,
            "{produced} bytes were produced, {got} read"
        );
    }
    for _ in 0..100 {
        got += slow.next().await.unwrap().unwrap().len() as u64;
    }
    assert!(got > 0 && site.upstream.seen.produced.load(Ordering::Relaxed) < all);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let site = Site::start().await;
    let ticks = site.upstream.ticks.clone();
    ticks.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    let mut answer = site.hubs.get("/ticks").await;
    assert_eq!(answer.next().await.unwrap().unwrap(), "half");
    ticks.send(Err(std::io::Error::other("dies"))).await.unwrap();
    let end = answer.next().await;
    assert!(matches!(end, Some(Err(_))), "{end:?}");
}

#[tokio::test]
async fn a_lost_link_breaks_the_answer_off() {
    let mut site = Site::start().await;
    site.upstream
        .ticks
        .send(Ok(Bytes::from_static(b"half")))
        .await
        .unwrap();
    let mut answer = site.hubs.get("/ticks").await;
    assert_eq!(answer.next().await.unwrap().unwrap(), "half");
    site.hubs.kill_plugins().await;
    let end = answer.next().await;
    assert!(matches!(end, Some(Err(_))), "{end:?}");
}

#[tokio::test]
async fn a_link_that_is_lost_before_the_answer_does_not_invite_to_ask_again() {
    let mut site = Site::start().await;
    let address = site.hubs.address.clone();
    let request = to("POST", "/hang").body(none()).unwrap();
    let asking = tokio::spawn(async move { send(&address, request).await });
    site.upstream.until_open(1).await;
    site.hubs.kill_plugins().await;
    let answer = asking.await.unwrap();
    assert!(!answer.answer.headers().contains_key("retry-after"));
    let (code, text) = answer.text().await;
    assert!(code == 502 && text.contains("before the answer"), "{code} {text}");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_taken_for_a_whole_one() {
    let site = Site::start().await;
    let mut socket = tokio::net::TcpStream::connect(&site.hubs.address).await.unwrap();
    let half = "POST /plugins/p1/http/sum HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\nhalf";
    socket.write_all(half.as_bytes()).await.unwrap();
    site.upstream.until_open(1).await;
    drop(socket);
    site.upstream.until_open(0).await;
    assert_eq!(site.upstream.asked(), ["POST /sum", "cut off"]);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_passed_on() {
    let site = Site::start().await;
    let body = stream::iter(bulk(16 << 20)).map(Ok);
    let request = to("POST", "/early").body(pieces(body)).unwrap();
    let (code, text) = send(&site.hubs.address, request).await.text().await;
    assert_eq!((code, text.as_str()), (413, "too much"));
}
