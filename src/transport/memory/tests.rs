#![allow(clippy::unwrap_used)]
use std::future::poll_fn;

use bytes::Bytes;
use futures::FutureExt;

use super::*;

async fn send(end: &mut Memory, text: &'static str) -> Result<(), TransportError> {
    poll_fn(|cx| end.poll_ready(cx)).await?;
    end.start_send(Message::Binary(Bytes::from_static(text.as_bytes())))?;
    poll_fn(|cx| end.poll_flush(cx)).await
}

async fn recv(end: &mut Memory) -> Option<Result<Message, TransportError>> {
    poll_fn(|cx| end.poll_recv(cx)).await
}

fn is(message: Option<Result<Message, TransportError>>, text: &'static str) -> bool {
    matches!(message, Some(Ok(Message::Binary(bytes))) if bytes == text)
}

#[tokio::test]
async fn messages_arrive_in_order_and_a_close_ends_in_good_order() {
    let (mut a, mut b) = pair(100);
    send(&mut a, "one").await.unwrap();
    send(&mut a, "two").await.unwrap();
    a.start_send(Message::Close(1000, "done".to_owned())).unwrap();
    drop(a);
    assert!(is(recv(&mut b).await, "one"));
    assert!(is(recv(&mut b).await, "two"));
    assert!(matches!(recv(&mut b).await, Some(Ok(Message::Close(1000, _)))));
    assert!(recv(&mut b).await.is_none());
    assert!(send(&mut b, "late").await.is_err());
}

#[tokio::test]
async fn a_dropped_end_is_a_lost_connection_after_what_it_sent() {
    let (mut a, mut b) = pair(100);
    send(&mut a, "one").await.unwrap();
    drop(a);
    assert!(is(recv(&mut b).await, "one"));
    assert!(matches!(recv(&mut b).await, Some(Err(TransportError::Io(_)))));
    assert!(recv(&mut b).await.is_none());
}

#[tokio::test]
async fn a_cut_loses_the_message_it_falls_into_and_breaks_both_ways() {
    let (mut a, mut b) = pair(100);
    a.faults().cut_at_byte(5);
    send(&mut a, "one").await.unwrap();
    send(&mut a, "two").await.unwrap();
    assert!(is(recv(&mut b).await, "one"));
    assert!(recv(&mut b).await.unwrap().is_err());
    assert!(recv(&mut a).await.unwrap().is_err());

    let (mut a, mut b) = pair(100);
    a.faults().cut_at_message(1);
    send(&mut a, "one").await.unwrap();
    assert!(is(recv(&mut b).await, "one"));
    assert!(recv(&mut b).await.unwrap().is_err());
}

#[tokio::test]
async fn held_messages_arrive_when_released_and_dropped_ones_never() {
    let (mut a, mut b) = pair(100);
    let faults = a.faults();
    faults.hold();
    send(&mut a, "one").await.unwrap();
    assert!(recv(&mut b).now_or_never().is_none());
    faults.release();
    assert!(is(recv(&mut b).await, "one"));
    faults.drop_silently();
    send(&mut a, "two").await.unwrap();
    drop(a);
    assert!(recv(&mut b).now_or_never().is_none(), "half-open: nobody is told");
    assert_eq!(faults.messages(), 2);
}

#[tokio::test]
async fn a_full_or_stalled_lane_makes_the_writer_wait() {
    let (mut a, mut b) = pair_with(100, 1);
    send(&mut a, "one").await.unwrap();
    assert!(send(&mut a, "two").now_or_never().is_none());
    assert!(is(recv(&mut b).await, "one"));
    send(&mut a, "two").await.unwrap();
    assert!(is(recv(&mut b).await, "two"));
    a.faults().stall(true);
    assert!(send(&mut a, "three").now_or_never().is_none());
    a.faults().stall(false);
    send(&mut a, "three").await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_with_1009() {
    let (mut a, mut b) = pair(3);
    send(&mut a, "four").await.unwrap();
    assert!(matches!(
        recv(&mut b).await,
        Some(Err(TransportError::TooLarge { limit: 3 }))
    ));
    assert!(matches!(recv(&mut a).await, Some(Ok(Message::Close(1009, _)))));
}
