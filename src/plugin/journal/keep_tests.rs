#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::{
    plugin::journal::{Kept, memory::Medium},
    wire::{PodEvent, PodRef, PodState},
};

/// A journal that is written until this is dropped.
struct Process {
    journal: Journal,
    writer: JoinHandle<()>,
}

impl Process {
    async fn start(medium: &Medium) -> Self {
        let (journal, writer) = Journal::open(Box::new(medium.disk()), 0).await.unwrap();
        let writer = tokio::spawn(writer.run(|| {}));
        Self { journal, writer }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

fn submitting(uid: &str) -> Entry {
    Entry::Submitting(uid.to_owned())
}

fn job(uid: &str) -> Entry {
    Entry::Job {
        uid: uid.to_owned(),
        job_id: format!("job-of-{uid}"),
    }
}

fn event(seq: u64, uid: &str, version: u64) -> Entry {
    let state = PodState::present(PodRef::new(uid, "n", "p"), version.to_string(), vec![]);
    let event = PodEvent {
        seq,
        state: Some(state),
        ..PodEvent::default()
    };
    Entry::Event(Kept::new(&event).unwrap())
}

fn uids(journal: &Journal) -> Vec<String> {
    journal.pods().into_iter().map(|(uid, _)| uid).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_durable_is_there_after_a_kill_with_the_same_epochs() {
    let medium = Medium::new();
    let first = Process::start(&medium).await;
    first.journal.record(submitting("a"));
    first.journal.record(event(1, "a", 1));
    let ticket = first.journal.record(job("a"));
    first.journal.durable(ticket).await.unwrap();
    let (outbox, jobs) = (first.journal.outbox(), first.journal.jobs_epoch());
    medium.crash(0);
    drop(first);

    let second = Process::start(&medium).await;
    assert_eq!(second.journal.outbox(), outbox);
    assert_eq!(second.journal.jobs_epoch(), jobs);
    assert_eq!(
        second.journal.pods(),
        [("a".to_owned(), Record::Job("job-of-a".to_owned()))]
    );
    assert_eq!(second.journal.durable_seq(outbox.epoch.get()), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_while_a_write_ran_is_written_as_one() {
    let medium = Medium::new();
    let process = Process::start(&medium).await;
    process.journal.flush().await.unwrap();
    let before = medium.writes();
    medium.hold();
    process.journal.record(submitting("a"));
    tokio::task::yield_now().await;
    for uid in ["b", "c", "d"] {
        process.journal.record(submitting(uid));
    }
    medium.release();
    let all = process.journal.recorded();
    process.journal.durable(all).await.unwrap();
    assert_eq!(medium.writes() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn an_ack_alone_writes_nothing_and_goes_with_the_next_write() {
    let medium = Medium::new();
    let process = Process::start(&medium).await;
    let ticket = process.journal.record_all([event(1, "a", 1), event(2, "b", 1)]);
    process.journal.durable(ticket).await.unwrap();
    let before = medium.writes();
    process.journal.record_ack(1);
    process.journal.record_ack(2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(medium.writes(), before);
    process.journal.flush().await.unwrap();
    medium.crash(0);
    let next = Process::start(&medium).await;
    let outbox = next.journal.outbox();
    assert_eq!((outbox.acked_seq, outbox.events.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_breaks_the_journal_until_a_fresh_log_is_written() {
    let medium = Medium::new();
    let process = Process::start(&medium).await;
    process.journal.flush().await.unwrap();
    medium.fail(2);
    let ticket = process.journal.record(submitting("a"));
    let broken = process.journal.durable(ticket).await.unwrap_err();
    assert_eq!(
        &*broken,
        "the plugin's state cannot be written to memory: the sync failed"
    );
    // Kept in memory meanwhile, however much there is.
    for seq in 1..10_000 {
        process.journal.record(event(seq, "a", seq));
    }
    assert!(process.journal.0.lock().batch.is_empty());
    let (epoch, _) = process.journal.0.lock().image.position();
    assert_eq!(process.journal.durable_seq(epoch.get()), 0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(process.journal.broken(), None);
    assert_eq!(process.journal.durable_seq(epoch.get()), 9_999);
    process.journal.durable(ticket).await.unwrap();

    // The bytes of the failed write are no part of what is read.
    medium.crash(usize::MAX);
    let next = Process::start(&medium).await;
    assert_eq!(uids(&next.journal), ["a"]);
    assert_eq!(next.journal.outbox().next_seq, 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_tried_again_ever_more_slowly() {
    let medium = Medium::new();
    medium.set_room(Some(40));
    let process = Process::start(&medium).await;
    let broken = process.journal.flush().await.unwrap_err();
    assert!(
        broken.starts_with("the plugin's state cannot be written to memory: "),
        "{broken}"
    );
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tries = medium.writes();
    assert!((100..140).contains(&tries), "{tries} tries in an hour");
    medium.set_room(None);
    tokio::time::sleep(2 * limits::JOURNAL_RETRY_MAX).await;
    process.journal.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_breaks_the_journal_until_it_does() {
    let medium = Medium::new();
    let process = Process::start(&medium).await;
    process.journal.flush().await.unwrap();
    medium.hold();
    let ticket = process.journal.record(submitting("a"));
    let broken = process.journal.durable(ticket).await.unwrap_err();
    assert!(broken.ends_with("no answer from the disk for 10s"), "{broken}");
    medium.release();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(process.journal.broken(), None);
    process.journal.durable(ticket).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crash_inside_any_write_keeps_all_that_was_durable_and_no_part_of_a_batch() {
    let entries = |step: u64| {
        [
            submitting(&step.to_string()),
            event(step, &step.to_string(), step),
        ]
    };
    // More than a batch holds: so that crashes fall into snapshots too.
    let large = |seq: u64| event(seq, &"x".repeat(limits::JOURNAL_BATCH), 1);
    for write in 1..9 {
        for keep in [0, 1, 30, usize::MAX] {
            let medium = Medium::new();
            let process = Process::start(&medium).await;
            medium.crash_at(write, keep);
            let (mut durable, mut step) = (0, 0);
            loop {
                step += 1;
                let batch = match step {
                    4 => vec![submitting(&step.to_string()), large(step)],
                    _ => entries(step).to_vec(),
                };
                let ticket = process.journal.record_all(batch);
                tokio::select! {
                    biased;
                    done = process.journal.durable(ticket) => done.unwrap(),
                    () = medium.crashed() => break,
                }
                durable = step;
            }
            drop(process);
            let next = Process::start(&medium).await;
            assert_eq!(medium.aside(), None, "write {write}, {keep} bytes kept");
            let (pods, outbox) = (uids(&next.journal), next.journal.outbox());
            assert!(pods.len() as u64 >= durable && pods.len() as u64 <= step);
            assert_eq!(
                outbox.next_seq,
                pods.len() as u64 + 1,
                "a batch is whole or not there"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_grown_is_written_afresh() {
    let medium = Medium::new();
    let process = Process::start(&medium).await;
    let uid = "x".repeat(limits::JOURNAL_BATCH / 2);
    for seq in 1..20 {
        let ticket = process.journal.record(event(seq, &uid, seq));
        process.journal.durable(ticket).await.unwrap();
        assert!(medium.log().unwrap().len() < limits::JOURNAL_GROWTH + 4 * limits::JOURNAL_BATCH);
    }
    let next = Process::start(&medium).await;
    assert_eq!(next.journal.outbox().next_seq, 20);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_journal_is_set_aside_and_both_epochs_are_new() {
    let medium = Medium::new();
    let process = Process::start(&medium).await;
    for uid in ["a", "b"] {
        let ticket = process.journal.record(submitting(uid));
        process.journal.durable(ticket).await.unwrap();
    }
    let before = (process.journal.outbox().epoch, process.journal.jobs_epoch());
    drop(process);
    let mut log = medium.log().unwrap();
    log[30] ^= 1;
    medium.set_log(Some(log.clone()));
    let next = Process::start(&medium).await;
    assert_eq!(medium.aside(), Some(log));
    assert!(next.journal.pods().is_empty());
    assert_ne!(next.journal.outbox().epoch, before.0);
    assert_ne!(next.journal.jobs_epoch(), before.1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_another_version_is_refused_and_left_alone() {
    let medium = Medium::new();
    let mut log = log::begin(&Image::new(random_epoch(), 1), 1);
    log[8] = 2;
    let crc = log::crc(&log[..12]);
    log[12..16].copy_from_slice(&crc.to_le_bytes());
    medium.set_log(Some(log.clone()));
    match Journal::open(Box::new(medium.disk()), 0).await {
        Err(error) => assert_eq!(
            error.to_string(),
            "memory is a journal of version 2, and only version 1 is read: use the towline that wrote it, or move it away"
        ),
        Ok(_) => panic!("it was read"),
    }
    assert_eq!(medium.log(), Some(log));
}

#[tokio::test(start_paused = true)]
async fn jobs_of_another_jobs_epoch_are_forgotten() {
    let medium = Medium::new();
    let open = async |epoch| {
        let (journal, writer) = Journal::open(Box::new(medium.disk()), epoch).await.unwrap();
        let writer = tokio::spawn(writer.run(|| {}));
        Process { journal, writer }
    };
    let first = open(7).await;
    first.journal.record(job("a"));
    first.journal.flush().await.unwrap();
    drop(first);
    let same = open(7).await;
    assert_eq!(uids(&same.journal), ["a"]);
    drop(same);
    let other = open(8).await;
    assert!(uids(&other.journal).is_empty());
    assert_eq!(other.journal.jobs_epoch(), 8);
}
