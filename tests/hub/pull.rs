//! Logs of a plugin without flow control: read piece by piece, and a reader sees no difference.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use towline::{
    code::{Code, reason},
    hub::{Hub, LogQuery, LogViewer},
    limits,
    wire::{LogOptions, LogPosition, LogsEnd, PodRef, Status, Timestamp},
};

use crate::{
    fake::{UID, hub, meta, metric, until},
    puller::{Fault, PullLink, Puller, STAMP},
};

const PULL: usize = limits::LOG_PULL as usize;

async fn open_at(
    hub: &Arc<Hub>,
    options: LogOptions,
    start: Option<LogPosition>,
) -> Result<LogViewer, Status> {
    let query = LogQuery {
        pod: PodRef::new(UID, "default", "demo"),
        container: "main".into(),
        options,
        start,
        meta: meta(),
    };
    hub.logs(Some("p"), query).await
}

async fn open(hub: &Arc<Hub>, options: LogOptions) -> LogViewer {
    open_at(hub, options, None).await.unwrap()
}

fn plain() -> LogOptions {
    LogOptions::default()
}

fn follow() -> LogOptions {
    LogOptions {
        follow: true,
        ..plain()
    }
}

/// Lines of different lengths, so many bytes.
fn lines(bytes: usize) -> Vec<u8> {
    let text = (0..).flat_map(|n: u32| format!("{n}{}\n", "-".repeat(n as usize * 7 % 90)).into_bytes());
    text.take(bytes).collect()
}

fn stamped(log: &[u8]) -> Vec<u8> {
    let stamp = |line: &[u8]| [STAMP.as_bytes(), line].concat();
    log.split_inclusive(|byte| *byte == b'\n')
        .flat_map(stamp)
        .collect()
}

/// A hub and a plugin whose calls are routed: the first read of its pods is over.
async fn ready(puller: &Puller) -> (Arc<Hub>, PullLink) {
    let hub = hub();
    let link = puller.connect(&hub).await;
    while hub.ping(Some("p")).is_err() || open_at(&hub, plain(), None).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    puller.log().opens.clear();
    (hub, link)
}

/// All bytes, all gaps, and how it ended.
async fn read_all(viewer: &mut LogViewer) -> (Vec<u8>, u64, Result<LogsEnd, Status>) {
    let (mut bytes, mut gaps) = (Vec::new(), 0);
    loop {
        match viewer.next().await {
            Some(Ok(piece)) => {
                bytes.extend_from_slice(&piece.data);
                gaps += piece.gap_bytes;
            }
            Some(Err(status)) => return (bytes, gaps, Err(status)),
            None => return (bytes, gaps, Ok(viewer.end().unwrap())),
        }
    }
}

/// Reads until so many bytes came.
async fn read_some(viewer: &mut LogViewer, bytes: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < bytes {
        read.extend_from_slice(&viewer.next().await.unwrap().unwrap().data);
    }
    read
}

fn assert_same(read: &[u8], wanted: &[u8]) {
    let same = read.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    assert!(
        read == wanted,
        "{} of {} bytes; they differ at {same}",
        read.len(),
        wanted.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_by_bounded_reads_that_follow_each_other() {
    let whole = lines(3 * PULL - 1000);
    let puller = Puller::with(whole.clone());
    puller.log().ended = true;
    let (hub, _link) = ready(&puller).await;
    let (read, gaps, end) = read_all(&mut open(&hub, plain()).await).await;
    assert_same(&read, &whole);
    assert!(gaps == 0 && end.unwrap().eof);
    let opens = puller.log().opens.clone();
    assert_eq!(opens.len(), 3);
    for (n, open) in opens.iter().enumerate() {
        let options = open.options.unwrap();
        assert!(!options.follow && options.limit_bytes == Some(limits::LOG_PULL));
        let offset = (n * PULL) as u64;
        assert_eq!(open.start, (n > 0).then_some(LogPosition { epoch: 1, offset }));
    }
}

#[tokio::test(start_paused = true)]
async fn the_readers_options_go_with_the_first_read_alone() {
    let whole = lines(2 * PULL);
    let puller = Puller::with(whole.clone());
    let (hub, _link) = ready(&puller).await;
    let options = LogOptions {
        tail: Some(8_000),
        since_time: Some(Timestamp { seconds: 1, nanos: 2 }),
        ..plain()
    };
    let (read, ..) = read_all(&mut open(&hub, options).await).await;
    assert!(read.len() > PULL, "the tail is longer than one read");
    assert_same(&read, &whole[whole.len() - read.len()..]);
    assert_eq!(read.split_inclusive(|byte| *byte == b'\n').count(), 8_000);
    let opens = puller.log().opens.clone();
    let asked = |n: usize| opens[n].options.unwrap();
    assert_eq!(
        (asked(0).tail, asked(0).since_time),
        (options.tail, options.since_time)
    );
    assert_eq!((asked(1).tail, asked(1).since_time), (None, None));
}

#[tokio::test(start_paused = true)]
async fn the_run_before_is_read_to_its_end() {
    let puller = Puller::with(lines(PULL + 5));
    let (hub, _link) = ready(&puller).await;
    let previous = LogOptions {
        previous: true,
        ..follow()
    };
    let refused = open_at(&hub, previous, None).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.message.as_str()),
        (Code::NotFound, "it ran only once")
    );
    puller.log().runs.push(b"second run\n".to_vec());
    let (read, _, end) = read_all(&mut open(&hub, previous).await).await;
    assert_same(&read, &lines(PULL + 5));
    assert!(end.unwrap().eof, "that run writes no more");
}

#[tokio::test(start_paused = true)]
async fn a_plain_read_ends_though_the_container_never_stops_writing() {
    let puller = Puller::with(lines(PULL + 10));
    puller.log().chatter = b"still here\n".to_vec();
    let (hub, _link) = ready(&puller).await;
    let reading = async { read_all(&mut open(&hub, plain()).await).await };
    let (read, _, end) = timeout(Duration::from_secs(60), reading).await.expect("an end");
    assert!(read.len() > PULL && !end.unwrap().eof);
    assert_eq!(puller.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_is_asked_for_seldom_while_quiet_and_ends_with_the_container() {
    let puller = Puller::with("one\n");
    let (hub, _link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    let mut read = read_some(&mut viewer, 4).await;
    let quiet = timeout(Duration::from_secs(60), viewer.next()).await;
    assert!(quiet.is_err(), "nothing new is nothing to a reader");
    assert!(
        (25..40).contains(&puller.reads()),
        "{} reads in a quiet minute",
        puller.reads()
    );
    puller.log().runs[0].extend(b"two\n");
    let began = Instant::now();
    read.extend(read_some(&mut viewer, 4).await);
    assert!(began.elapsed() <= limits::LOG_PULL_LATE);
    puller.log().runs[0].extend(b"three");
    puller.log().ended = true;
    let (rest, gaps, end) = read_all(&mut viewer).await;
    read.extend(rest);
    assert_same(&read, b"one\ntwo\nthree");
    let next = Some(LogPosition { epoch: 1, offset: 13 });
    assert_eq!(
        (gaps, end.unwrap()),
        (
            0,
            LogsEnd {
                next,
                eof: true,
                reset: false
            }
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_over_all_reads() {
    let whole = lines(3 * PULL);
    let puller = Puller::with(whole.clone());
    let (hub, _link) = ready(&puller).await;
    let limited = LogOptions {
        limit_bytes: Some(limits::LOG_PULL + 500),
        ..follow()
    };
    let (read, _, end) = read_all(&mut open(&hub, limited).await).await;
    assert_same(&read, &whole[..PULL + 500]);
    assert!(!end.unwrap().eof);
    assert_eq!(puller.log().opens[1].options.unwrap().limit_bytes, Some(500));
}

#[tokio::test(start_paused = true)]
async fn a_limit_shorter_than_a_prefix_is_kept_to_the_byte() {
    let puller = Puller::with(lines(1000));
    let (hub, _link) = ready(&puller).await;
    for limit in [1, 31, 32, 100] {
        let limited = LogOptions {
            limit_bytes: Some(limit),
            timestamps: true,
            ..follow()
        };
        let (read, _, end) = read_all(&mut open(&hub, limited).await).await;
        assert_same(&read, &stamped(&lines(1000))[..usize::try_from(limit).unwrap()]);
        end.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_stands_before_each_line_once_wherever_a_read_ends() {
    // Lines longer than a read, and lines that end with one.
    let mut whole = lines(100_000);
    whole.extend([b"x".repeat(2 * PULL), b"\n".to_vec(), lines(PULL)].concat());
    let puller = Puller::with(whole.clone());
    puller.log().ended = true;
    let (hub, _link) = ready(&puller).await;
    let options = LogOptions {
        timestamps: true,
        ..plain()
    };
    let (read, _, end) = read_all(&mut open(&hub, options).await).await;
    assert_same(&read, &stamped(&whole));
    assert!(end.unwrap().eof && puller.reads() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_goes_on_after_a_cut_without_a_lost_or_repeated_byte() {
    let whole = lines(4 * PULL);
    let puller = Puller::with(whole.clone());
    let (hub, link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    let mut read = read_some(&mut viewer, PULL + 40_000).await;
    link.cut().await;
    let back = async {
        sleep(Duration::from_secs(20)).await;
        puller.log().ended = true;
        puller.connect(&hub).await
    };
    let (_link, (rest, gaps, end)) = tokio::join!(back, read_all(&mut viewer));
    read.extend(rest);
    assert_same(&read, &whole);
    assert!(gaps == 0 && end.unwrap().eof);
    assert_eq!(metric(&hub, "towline_log_resumes_total"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_stays_away_ends_the_log_with_an_error() {
    let puller = Puller::with("one\n");
    let (hub, link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    read_some(&mut viewer, 4).await;
    link.cut().await;
    let (.., end) = read_all(&mut viewer).await;
    assert_eq!(end.unwrap_err().kind(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_container_is_a_marked_gap() {
    let puller = Puller::with("one\n");
    let (hub, _link) = ready(&puller).await;
    // A position in a run that is not kept any more.
    let start = LogPosition { epoch: 9, offset: 4 };
    puller.log().ended = true;
    let mut viewer = open_at(&hub, follow(), Some(start)).await.unwrap();
    let (read, gaps, end) = read_all(&mut viewer).await;
    assert_eq!((read.as_slice(), gaps), (&b"one\n"[..], 1));
    assert!(
        end.unwrap().reset,
        "said at the end too, though a later read found its place"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_gone_is_followed_by_the_present_one() {
    let puller = Puller::with("one\n");
    let (hub, _link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    read_some(&mut viewer, 4).await;
    puller.fail(Fault::Refuse(Status::new(
        Code::OutOfRange,
        reason::LOG_GONE,
        "removed",
    )));
    puller.log().runs.push(b"two\n".to_vec());
    puller.log().ended = true;
    let (read, gaps, end) = read_all(&mut viewer).await;
    assert_eq!((read.as_slice(), gaps), (&b"two\n"[..], 1));
    end.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_came_before_the_container_gets_its_log_from_the_first_byte() {
    let puller = Puller::default();
    let (hub, _link) = ready(&puller).await;
    let tail = LogOptions {
        tail: Some(1),
        ..follow()
    };
    let mut viewer = open(&hub, tail).await;
    assert_eq!(viewer.next().await.unwrap().unwrap().at, LogPosition::default());
    sleep(Duration::from_secs(30)).await;
    puller.log().runs.push(b"one\ntwo\nthree\n".to_vec());
    puller.log().ended = true;
    let (read, gaps, _) = read_all(&mut viewer).await;
    assert_eq!((read.as_slice(), gaps), (&b"one\ntwo\nthree\n"[..], 0));
    let (read, _, end) = read_all(&mut open(&hub, plain()).await).await;
    assert!(read.len() == 14 && end.unwrap().eof);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_asks_for_patience_between_reads_gets_it() {
    let puller = Puller::with("one\n");
    let (hub, _link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    let mut read = read_some(&mut viewer, 4).await;
    for (code, word) in [
        (Code::ResourceExhausted, reason::TOO_MANY_STREAMS),
        (Code::DeadlineExceeded, ""),
        (Code::Unavailable, ""),
    ] {
        puller.fail(Fault::Refuse(Status::new(code, word, "later")));
    }
    puller.log().runs[0].extend(b"two\n");
    puller.log().ended = true;
    let (rest, _, end) = read_all(&mut viewer).await;
    read.extend(rest);
    assert_same(&read, b"one\ntwo\n");
    assert!(end.unwrap().eof);
    assert_eq!(metric(&hub, "towline_log_resumes_total"), "0");
}

#[tokio::test(start_paused = true)]
async fn what_the_plugin_refuses_is_passed_on_word_for_word() {
    let puller = Puller::with("one\n");
    let (hub, _link) = ready(&puller).await;
    let no_times = Status::new(
        Code::Unimplemented,
        reason::NOT_SUPPORTED,
        "no times are kept here",
    );
    puller.fail(Fault::Refuse(no_times.clone()));
    let refused = open_at(&hub, follow(), None).await.unwrap_err();
    assert_eq!(
        (refused.kind(), &refused.message),
        (no_times.kind(), &no_times.message)
    );
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_breaks_the_rules_of_a_read_ends_it_with_an_error() {
    let cases = [
        (Fault::Flood, Code::Internal, reason::FLOW_VIOLATION),
        (Fault::NoPosition, Code::DataLoss, reason::CORRUPT),
        (Fault::Hang, Code::DeadlineExceeded, ""),
    ];
    for (fault, code, word) in cases {
        let puller = Puller::with("one\n");
        let (hub, _link) = ready(&puller).await;
        puller.fail(fault.clone());
        let (.., end) = read_all(&mut open(&hub, plain()).await).await;
        let status = end.unwrap_err();
        assert_eq!((status.kind(), status.reason.as_str()), (code, word), "{fault:?}");
        let (read, ..) = read_all(&mut open(&hub, plain()).await).await;
        assert_eq!(read, b"one\n", "the link stands after {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_gone_ends_the_reads() {
    let puller = Puller::with("one\n");
    let (hub, _link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    read_some(&mut viewer, 4).await;
    drop(viewer);
    until("closed", || metric(&hub, "towline_log_streams_open") == "0").await;
    let reads = puller.reads();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(puller.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_for_ten_minutes_is_closed_and_costs_no_more_than_a_read() {
    let puller = Puller::with(lines(20 * PULL));
    let (hub, _link) = ready(&puller).await;
    let _viewer = open(&hub, follow()).await;
    sleep(Duration::from_secs(590)).await;
    assert_eq!(metric(&hub, "towline_log_streams_open"), "1");
    assert_eq!(puller.reads(), 1, "the next read waits for the reader");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(metric(&hub, "towline_log_streams_open"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_comes_back_with_flow_control_is_streamed() {
    let puller = Puller::with("one\n");
    let (hub, link) = ready(&puller).await;
    let mut viewer = open(&hub, follow()).await;
    let mut read = read_some(&mut viewer, 4).await;
    link.cut().await;
    puller.log().runs[0].extend(b"two\n");
    puller.log().ended = true;
    // Its reads have no limit now; the fake wants one, and only says so.
    let streamed = Status::new(Code::Internal, "", "streamed");
    puller.fail(Fault::Refuse(streamed));
    let _link = puller.connect_with(&hub, &["flow_control"]).await;
    let (rest, _, end) = read_all(&mut viewer).await;
    read.extend(rest);
    assert_eq!(end.unwrap_err().message, "streamed");
    let last = puller.log().opens.last().unwrap().clone();
    assert!(last.options.unwrap().follow && last.options.unwrap().limit_bytes.is_none());
    assert_eq!(last.start, Some(LogPosition { epoch: 1, offset: 4 }));
}
