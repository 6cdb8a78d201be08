//! The reader against the writer, in a directory.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{reader::LogReader, segment, writer::LogWriter};
use crate::{
    backend::process::spec::{self, Exit},
    code::Code,
    wire::{LogChunk, LogOptions, LogPosition, LogsEnd, Status, Timestamp},
};

/// A container directory with runs that seem alive until they are ended.
struct Container {
    dir: tempfile::TempDir,
}

struct Writing {
    run_dir: PathBuf,
    log: LogWriter,
    lock: File,
}

impl Container {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn run(&self, epoch: u64, cap: u64, segment: u64) -> Writing {
        let run_dir = self.dir.path().join(epoch.to_string());
        let logs = run_dir.join(spec::LOG);
        fs::create_dir_all(&logs).unwrap();
        let lock = File::create(run_dir.join(spec::LOCK)).unwrap();
        lock.lock().unwrap();
        Writing {
            log: LogWriter::new(&logs, cap, segment),
            run_dir,
            lock,
        }
    }

    async fn open(
        &self,
        options: LogOptions,
        start: Option<LogPosition>,
    ) -> Result<LogReader<impl Fn() -> bool + Send + Sync>, Status> {
        LogReader::open(self.dir.path(), options, start, || true).await
    }

    async fn read(&self, options: LogOptions, start: Option<LogPosition>) -> (Vec<LogChunk>, LogsEnd) {
        let mut reader = self.open(options, start).await.unwrap();
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            chunks.push(chunk);
        }
        (chunks, reader.end())
    }

    async fn text(&self, options: LogOptions) -> String {
        joined(&self.read(options, None).await.0)
    }
}

impl Writing {
    fn say(&mut self, text: &str, second: u64) {
        self.log.write(
            text.as_bytes(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        );
    }

    fn end(self) {
        let mut exit = Exit::not_started(0, "Completed", "");
        exit.log_end = self.log.end();
        spec::write_record(&self.run_dir, spec::EXIT, &exit).unwrap();
        drop(self.lock);
    }
}

fn joined(chunks: &[LogChunk]) -> String {
    String::from_utf8(chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect()).unwrap()
}

fn at(epoch: u64, offset: u64) -> LogPosition {
    LogPosition { epoch, offset }
}

const BIG: u64 = 1 << 30;

#[tokio::test]
async fn a_log_is_read_whole_and_its_end_is_told_only_when_the_run_has_ended() {
    let container = Container::new();
    let mut run = container.run(1, BIG, BIG);
    run.say("one\ntwo", 1);
    let (chunks, end) = container.read(LogOptions::default(), None).await;
    assert_eq!(
        (joined(&chunks).as_str(), end.eof, end.next),
        ("one\ntwo", false, Some(at(1, 7)))
    );
    run.end();
    let (chunks, end) = container.read(LogOptions::default(), Some(at(1, 7))).await;
    assert_eq!((chunks.len(), chunks[0].at, end.eof), (1, Some(at(1, 7)), true));
}

#[tokio::test]
async fn tail_counts_lines_over_segments_and_an_unfinished_one() {
    let container = Container::new();
    let mut run = container.run(1, BIG, 1);
    let lines: Vec<_> = (0..2000).map(|line| format!("line {line}")).collect();
    run.say(&lines.join("\n"), 1);
    let tail = |lines| LogOptions {
        tail: Some(lines),
        ..LogOptions::default()
    };
    assert_eq!(container.text(tail(0)).await, "");
    assert_eq!(container.text(tail(1)).await, "line 1999");
    assert_eq!(container.text(tail(1500)).await, lines[500..].join("\n"));
    assert_eq!(container.text(tail(9999)).await, lines.join("\n"));
    run.say("\n", 2);
    assert_eq!(container.text(tail(1)).await, "line 1999\n");
}

#[tokio::test]
async fn timestamps_stand_before_lines_only() {
    let container = Container::new();
    let mut run = container.run(1, BIG, BIG);
    run.say("one\nt", 1);
    run.say("wo\n", 2);
    run.say("three", 3);
    let options = LogOptions {
        timestamps: true,
        ..LogOptions::default()
    };
    let whole = "1970-01-01T00:00:01.000000000Z one\n1970-01-01T00:00:01.000000000Z two\n1970-01-01T00:00:03.000000000Z three";
    let (chunks, end) = container.read(options, None).await;
    assert_eq!((joined(&chunks).as_str(), end.next), (whole, Some(at(1, 13))));
    // Going on anywhere gives the rest of what one stream would have given.
    for (offset, skipped) in [(4, 35), (5, 36 + 31), (8, 70), (9, 71 + 31)] {
        let (chunks, _) = container.read(options, Some(at(1, offset))).await;
        let rest = joined(&chunks);
        assert!(whole.ends_with(&rest), "{offset}: {rest:?}");
        assert_eq!(whole.len() - rest.len(), skipped, "{offset}: {rest:?}");
    }
}

#[tokio::test]
async fn many_short_lines_with_timestamps_stay_within_a_chunk() {
    let container = Container::new();
    let mut run = container.run(1, BIG, 10_000);
    run.say(&"x\n".repeat(20_000), 1);
    let (chunks, end) = container
        .read(
            LogOptions {
                timestamps: true,
                ..LogOptions::default()
            },
            None,
        )
        .await;
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.data.len() <= crate::limits::LOG_CHUNK)
    );
    assert_eq!(
        joined(&chunks),
        "1970-01-01T00:00:01.000000000Z x\n".repeat(20_000)
    );
    let mut next = 0;
    for chunk in &chunks {
        assert_eq!(chunk.at, Some(at(1, next)));
        next = chunk.next_offset;
    }
    assert_eq!(end.next, Some(at(1, next)));
}

#[tokio::test]
async fn a_limit_counts_prefixes_and_is_not_the_end() {
    let container = Container::new();
    let mut run = container.run(1, BIG, BIG);
    run.say("one\ntwo\n", 1);
    run.end();
    let limit = |bytes, timestamps| LogOptions {
        limit_bytes: Some(bytes),
        timestamps,
        ..LogOptions::default()
    };
    let (chunks, end) = container.read(limit(5, false), None).await;
    assert_eq!(
        (joined(&chunks).as_str(), end.eof, end.next),
        ("one\nt", false, Some(at(1, 5)))
    );
    let (chunks, end) = container.read(limit(8, false), None).await;
    assert_eq!((joined(&chunks).as_str(), end.eof), ("one\ntwo\n", true));
    let (chunks, end) = container.read(limit(40, true), None).await;
    assert_eq!(
        (joined(&chunks).as_str(), end.eof),
        ("1970-01-01T00:00:01.000000000Z one\n1970-", false)
    );
    let (chunks, _) = container.read(limit(0, false), None).await;
    assert_eq!((chunks.len(), joined(&chunks).as_str()), (1, ""));
}

#[tokio::test]
async fn since_begins_with_a_whole_line() {
    let container = Container::new();
    let mut run = container.run(1, BIG, 1);
    run.say("one\nt", 1);
    run.say("wo\nthree\n", 5);
    run.say("four\n", 9);
    let since = |seconds| LogOptions {
        since_time: Some(Timestamp { seconds, nanos: 0 }),
        ..LogOptions::default()
    };
    assert_eq!(container.text(since(0)).await, "one\ntwo\nthree\nfour\n");
    assert_eq!(container.text(since(2)).await, "three\nfour\n");
    assert_eq!(container.text(since(6)).await, "four\n");
    assert_eq!(container.text(since(10)).await, "");
}

#[tokio::test]
async fn what_was_rotated_away_is_a_marked_gap() {
    let container = Container::new();
    let mut run = container.run(1, 64 << 10, 16 << 10);
    for _ in 0..100 {
        run.say(&"0123456789abcde\n".repeat(64), 1);
    }
    run.end();
    let (chunks, end) = container.read(LogOptions::default(), Some(at(1, 10))).await;
    let gap: u64 = chunks.iter().map(|chunk| chunk.gap_bytes).sum();
    let kept: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    assert!((32 << 10..=64 << 10).contains(&kept), "{kept}");
    assert_eq!(10 + gap + kept as u64, 102_400);
    assert_eq!(
        (chunks[0].at, end.eof, end.reset),
        (Some(at(1, 10 + gap)), true, false)
    );
    // From the beginning nothing came before: no gap.
    let (chunks, _) = container.read(LogOptions::default(), None).await;
    assert!(chunks.iter().all(|chunk| chunk.gap_bytes == 0));
}

#[tokio::test]
async fn what_somebody_cut_off_or_removed_is_a_marked_gap_and_the_rest_stands_at_its_offset() {
    let cut = |segment: &Path| {
        let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len(4).unwrap();
    };
    let remove = |segment: &Path| fs::remove_file(segment).unwrap();
    for (spoil, kept) in [(&cut as &dyn Fn(&Path), 4), (&remove, 0)] {
        let container = Container::new();
        let mut run = container.run(1, BIG, BIG);
        run.say("one\ntwo\n", 1);
        // It has read all of it and waits for more.
        let follow = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut follower = container.open(follow, None).await.unwrap();
        assert_eq!(joined(&[follower.next().await.unwrap().unwrap()]), "one\ntwo\n");
        spoil(&segment::log_path(&run.run_dir.join(spec::LOG), 0));
        run.say("three\n", 2);
        let next = follower.next().await.unwrap().unwrap();
        assert_eq!(
            (&next.data[..], next.at, next.gap_bytes),
            (&b"three\n"[..], Some(at(1, 8)), 0)
        );
        run.end();
        assert!(follower.next().await.unwrap().is_none());
        // Who comes from the beginning sees what is missing.
        let (chunks, end) = container.read(LogOptions::default(), Some(at(1, 0))).await;
        let gap: u64 = chunks.iter().map(|chunk| chunk.gap_bytes).sum();
        assert_eq!((gap, end.next), (8 - kept, Some(at(1, 14))));
        assert_eq!(joined(&chunks).len() as u64, kept + 6);
    }
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_a_gap_also_at_the_end() {
    let container = Container::new();
    let mut run = container.run(1, BIG, BIG);
    run.say("kept", 1);
    let logs = run.run_dir.join(spec::LOG);
    let aside = run.run_dir.join("aside");
    fs::rename(&logs, &aside).unwrap();
    // Without its directory the next segment cannot be made.
    run.log = LogWriter::new(&logs, BIG, BIG);
    run.say("lost", 2);
    assert_eq!((run.log.end(), run.log.lost()), (4, 4));
    fs::create_dir(&logs).unwrap();
    run.end();
    let (chunks, end) = container.read(LogOptions::default(), None).await;
    assert_eq!(
        (chunks[0].gap_bytes, end.eof, end.next),
        (4, true, Some(at(1, 4)))
    );
}

#[tokio::test]
async fn the_epoch_names_the_run_and_one_that_is_gone_resets() {
    let container = Container::new();
    assert_eq!(
        container
            .open(
                LogOptions {
                    previous: true,
                    ..LogOptions::default()
                },
                None
            )
            .await
            .err()
            .unwrap()
            .kind(),
        Code::NotFound
    );
    for (epoch, text) in [(1, "first"), (2, "second")] {
        let mut run = container.run(epoch, BIG, BIG);
        run.say(text, 1);
        run.end();
    }
    assert_eq!(container.text(LogOptions::default()).await, "second");
    assert_eq!(
        container
            .text(LogOptions {
                previous: true,
                ..LogOptions::default()
            })
            .await,
        "first"
    );
    let (chunks, end) = container.read(LogOptions::default(), Some(at(1, 2))).await;
    assert_eq!(
        (joined(&chunks).as_str(), end.next, end.reset),
        ("rst", Some(at(1, 5)), false)
    );
    for gone in [at(7, 3), at(2, 99)] {
        let (chunks, end) = container.read(LogOptions::default(), Some(gone)).await;
        assert_eq!(
            (joined(&chunks).as_str(), chunks[0].reset, chunks[0].at, end.reset),
            ("second", true, Some(at(2, 0)), true)
        );
    }
}

#[tokio::test]
async fn a_follower_waits_for_the_start_and_ends_with_the_run() {
    let container = Container::new();
    let mut reader = container
        .open(
            LogOptions {
                follow: true,
                ..LogOptions::default()
            },
            None,
        )
        .await
        .unwrap();
    let first = reader.next().await.unwrap().unwrap();
    assert_eq!((first.at, first.data.len()), (Some(at(0, 0)), 0));
    let writer = async {
        let mut run = container.run(1, BIG, 1);
        for word in 0..50 {
            run.say(&format!("word {word}\n").repeat(100), 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        run.end();
    };
    let follower = async {
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            chunks.push(chunk);
        }
        chunks
    };
    let (chunks, ()) = tokio::join!(follower, writer);
    let expected: String = (0..50).map(|word| format!("word {word}\n").repeat(100)).collect();
    assert_eq!(joined(&chunks), expected);
    assert_eq!((reader.end().eof, chunks[0].at), (true, Some(at(1, 0))));
}

#[tokio::test]
async fn a_container_that_will_never_start_has_an_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut reader = LogReader::open(dir.path(), options, None, || false)
        .await
        .unwrap();
    assert!(reader.next().await.unwrap().unwrap().data.is_empty());
    assert!(reader.next().await.unwrap().is_none());
    assert!(reader.end().eof);
}

#[tokio::test]
async fn a_log_removed_while_followed_is_gone() {
    let container = Container::new();
    let mut run = container.run(1, BIG, BIG);
    run.say("one\n", 1);
    let mut reader = container
        .open(
            LogOptions {
                follow: true,
                ..LogOptions::default()
            },
            None,
        )
        .await
        .unwrap();
    reader.next().await.unwrap();
    fs::remove_dir_all(&run.run_dir).unwrap();
    let status = reader.next().await.unwrap_err();
    assert_eq!(
        (status.kind(), status.reason.as_str()),
        (Code::OutOfRange, "LOG_GONE")
    );
}
