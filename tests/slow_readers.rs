//! Ten readers of one large log, nine of which stop reading: a hub, a plugin and a pod as processes.
//!
//! `make slow-readers` runs it with 1 GiB and says whether the goals for time are met; `cargo test` asserts bytes only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "slow_readers/http.rs"]
mod http;
#[path = "cli/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "slow_readers/site.rs"]
mod site;
#[path = "slow_readers/times.rs"]
mod times;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use towline::limits;

use http::Reader;
use site::{Site, digest_of};
use times::{Round, Times};

const READERS: u64 = 10;
/// What one reader may have in the hub: its credit twice, as a chunk keeps the packet in memory that it came in and
/// a packet is about twice a chunk; and what the HTTP side writes from.
const PER_READER: u64 = 2 * limits::LOG_CREDIT_FLOWING + (512 << 10);
/// The link: one message coming, one going, and the allocator's own.
const LINK: u64 = limits::MAX_MESSAGE as u64;
/// What a client here lets its kernel take in for it, in bytes.
const RECEIVE: usize = 64 << 10;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap())
}

/// The kernel's largest send buffer: it takes in what nobody reads.
fn send_buffer() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap();
    text.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn nine_stalled_readers_cost_their_credit_and_the_tenth_gets_every_byte() {
    stalled(&Site::start());
}

#[cfg(feature = "grpc")]
#[test]
fn nine_stalled_readers_cost_no_more_over_grpc() {
    stalled(&Site::start_over_grpc());
}

fn stalled(site: &Site) {
    let size = number("SLOW_MIB", 64) << 20;
    let calls = number("SLOW_CALLS", 200);
    site.run_pod("loud", &format!("seq 1 999999999 | head -c {size}"));
    site.run_pod("small", "echo a small log");
    let whole = digest_of(size);
    let base = site.hub_peak();
    let rounds: Vec<Round> = (0..number("SLOW_ROUNDS", 1))
        .map(|_| round(site, size, whole, calls, base))
        .collect();
    times::report(&rounds, size >> 20);
}

/// The kernel ends a connection on which bytes lie unread for TCP_USER_TIMEOUT, 30 s, unless it is told not to: also
/// when all of the log fits into the socket. `make slow-readers` pauses for longer than that.
#[test]
fn a_pager_that_stays_at_its_first_page_gets_the_rest() {
    let size = 1_000_000;
    let pause = std::time::Duration::from_secs(number("SLOW_PAUSE", 0));
    let site = Site::start();
    site.run_pod("short", &format!("seq 1 999999999 | head -c {size}"));
    let reader = Reader::open(&site, "short", Some(RECEIVE));
    thread::sleep(pause);
    assert!(reader.digest(&site) == (size, digest_of(size)));
}

/// One time through: alone, beside one reader, beside nine that stand still, beside those and one that reads.
fn round(site: &Site, size: u64, whole: [u8; 32], calls: u64, base: u64) -> Round {
    let alone = Times::take(site, calls, || false);
    let beside_one = beside(site, calls, size, whole);

    let sent_before = site.metric("towline_log_bytes_total");
    let mut stalled: Vec<Reader> = (1..READERS)
        .map(|_| Reader::open(site, "loud", Some(RECEIVE)))
        .collect();
    let beside_stalled = Times::take(site, calls, || false);
    let beside_both = beside(site, calls, size, whole);

    let peak = site.hub_peak();
    let budget = base + READERS * PER_READER + LINK;
    println!(
        "hub memory: {} MiB before, {} MiB at its peak, {} MiB allowed",
        base >> 20,
        peak >> 20,
        budget >> 20
    );
    assert!(peak <= budget, "{peak} bytes, {budget} allowed");
    // They are open still, and nothing was read for them that has no place to be.
    // The reader that was beside them is counted out a moment after its last byte.
    site.until_metric("towline_log_streams_open", READERS - 1);
    let sent = site.metric("towline_log_bytes_total") - sent_before - size;
    let room = send_buffer() + 2 * RECEIVE as u64 + limits::LOG_CREDIT_FLOWING;
    assert!(sent <= (READERS - 1) * room, "{sent} bytes, {room} for each");
    // A stalled one was only waiting: it reads on where it was, to the end.
    assert!(stalled.remove(0).digest(site) == (size, whole));
    // Those that leave are let go of, however they leave.
    for (n, reader) in stalled.into_iter().enumerate() {
        if n % 2 == 0 { reader.reset() } else { drop(reader) }
    }
    site.until_metric("towline_log_streams_open", 0);
    Round {
        alone,
        beside_one,
        beside_stalled,
        beside_both,
    }
}

/// Times while one reader reads all of it.
fn beside(site: &Site, calls: u64, size: u64, whole: [u8; 32]) -> Times {
    let reading = AtomicBool::new(true);
    let reader = Reader::open(site, "loud", None);
    thread::scope(|scope| {
        scope.spawn(|| {
            let read = reader.digest(site);
            reading.store(false, Ordering::Relaxed);
            assert!(read == (size, whole), "{} of {size} bytes, or others", read.0);
        });
        Times::take(site, calls, || reading.load(Ordering::Relaxed))
    })
}
