//! What every contender carries, and how it is checked: about 200 bytes each way, and log text.

use std::sync::LazyLock;

use anyhow::ensure;
use bytes::Bytes;

use crate::wire::{
    CreatePod, CreateResult, LogChunk, LogOptions, LogPosition, PodRef, Request, Response, StreamLogs,
    request::Op, response,
};

/// What a plugin answers. A test has others, that lie.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// The job's name for a pod's uid.
    pub job_id: fn(&str) -> String,
    /// Log text from this offset on, of this many bytes.
    pub text: fn(u64, usize) -> Bytes,
}

impl Answers {
    /// The right ones.
    pub const RIGHT: Self = Self { job_id, text };

    /// The whole answer to a request.
    pub(super) fn response(&self, request: &Request) -> Response {
        let uid = match &request.op {
            Some(Op::CreatePod(CreatePod { pod: Some(pod), .. })) => pod.uid.as_str(),
            _ => "",
        };
        let result = CreateResult {
            job_id: (self.job_id)(uid),
            existed: false,
        };
        Response {
            status: None,
            result: Some(response::Result::CreatePod(result)),
        }
    }

    /// The chunk that begins at this offset.
    pub(super) fn chunk(&self, offset: u64, size: usize) -> LogChunk {
        LogChunk {
            at: Some(LogPosition { epoch: 1, offset }),
            next_offset: offset + size as u64,
            data: (self.text)(offset, size),
            ..LogChunk::default()
        }
    }
}

/// A pod as JSON: opaque to the binary link, JSON within JSON elsewhere.
pub(super) const POD: &str = r#"{"pod":{"metadata":{"name":"train-7"}},"container":[{"name":"main","image":"registry.example.org/lab/train:1.4"}]}"#;
/// The pod's namespace and name.
pub(super) const NAMESPACE: &str = "default";
pub(super) const NAME: &str = "train-7";
/// How long a call may take.
pub(super) const TIMEOUT_MS: u64 = 30_000;

const UID: [u8; 36] = *b"00000000-0000-4000-8000-000000000000";
/// What a job's name ends with: with the uid 180 bytes.
const REST: &str = "/queue-of-the-night/partition-a100/account-lab-7/node-042.cluster.example.org\
                    /array-0001-of-0001/submitted-by-the-plugin-with-sbatch-parsable";

/// The uid of this call's pod: another one for each, so that an answer can be told from those of others.
pub(super) fn uid(number: u64) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut uid = UID;
    for (at, nibble) in (0..8).chain(28..36).zip((0..16).rev()) {
        uid[at] = DIGITS[(number >> (4 * nibble)) as usize & 15];
    }
    uid
}

pub(super) fn uid_text(number: u64) -> String {
    String::from_utf8_lossy(&uid(number)).into_owned()
}

fn job_id(uid: &str) -> String {
    let mut name = String::with_capacity(uid.len() + REST.len());
    name.push_str(uid);
    name.push_str(REST);
    name
}

/// A create of about 200 bytes.
pub(super) fn request(number: u64) -> Request {
    let create = CreatePod {
        pod: Some(PodRef {
            uid: uid_text(number),
            namespace: NAMESPACE.to_owned(),
            name: NAME.to_owned(),
        }),
        payload: Bytes::from_static(POD.as_bytes()),
    };
    Request {
        op: Some(Op::CreatePod(create)),
        timeout_ms: TIMEOUT_MS,
        ..Request::default()
    }
}

/// Whether this is the answer to that request, all of it.
pub(super) fn check(number: u64, response: &Response) -> anyhow::Result<()> {
    match &response.result {
        Some(response::Result::CreatePod(created)) => check_job(number, &created.job_id),
        _ => anyhow::bail!("call {number} was answered with {response:?}"),
    }
}

/// Whether this is the name of that call's job.
pub(super) fn check_job(number: u64, job_id: &str) -> anyhow::Result<()> {
    let rest = job_id.as_bytes().strip_prefix(&uid(number));
    ensure!(
        rest == Some(REST.as_bytes()),
        "call {number} was answered with the job {job_id:?}"
    );
    Ok(())
}

/// The log repeats itself after this many bytes; a chunk's size divides it.
const PERIOD: usize = 64 << 10;

/// Two periods of log lines: what begins in the first can be read on.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut text = String::new();
    let mut line = 0u32;
    while text.len() < PERIOD {
        let loss = 10_000 - (line * 37) % 9_000;
        text.push_str(&format!(
            "2026-03-01T12:{:02}:{:02}Z INFO train step={line} loss=0.{loss:04} rate=3e-4 tokens/s={}\n",
            line / 60 % 60,
            line % 60,
            48_000 + line * 7_919 % 4_000,
        ));
        line += 1;
    }
    text.truncate(PERIOD);
    let twice = text.repeat(2);
    Bytes::from(twice)
});

fn text(offset: u64, size: usize) -> Bytes {
    let at = (offset % PERIOD as u64) as usize;
    TEXT.slice(at..at + size)
}

/// Checks log bytes against what they must be: each one, in its place. It costs about 0.03 ns a byte, the same for all.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Bytes so far.
    pub(super) bytes: u64,
}

impl Checked {
    pub(super) fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        for part in bytes.chunks(PERIOD) {
            let at = (self.bytes % PERIOD as u64) as usize;
            ensure!(
                part == &TEXT[at..at + part.len()],
                "log bytes {} to {} are not what was sent",
                self.bytes,
                self.bytes + part.len() as u64
            );
            self.bytes += part.len() as u64;
        }
        Ok(())
    }

    /// Whether that is all.
    pub(super) fn end(&self, total: u64) -> anyhow::Result<()> {
        ensure!(self.bytes == total, "{} of {total} log bytes came", self.bytes);
        Ok(())
    }
}

/// Asks for this many bytes of log.
pub(super) fn open(total: u64) -> StreamLogs {
    StreamLogs {
        pod: Some(PodRef::new(uid_text(0), NAMESPACE, NAME)),
        options: Some(LogOptions {
            limit_bytes: Some(total),
            ..LogOptions::default()
        }),
        ..StreamLogs::default()
    }
}

/// What [`open`] asked for.
pub(super) fn asked(open: &StreamLogs) -> u64 {
    open.options
        .as_ref()
        .and_then(|options| options.limit_bytes)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use prost::Message as _;

    #[test]
    fn a_call_is_about_200_bytes_each_way_and_its_answer_is_told_from_others() {
        let request = request(0x0123_4567_89ab_cdef);
        let response = Answers::RIGHT.response(&request);
        for len in [request.encoded_len(), response.encoded_len()] {
            assert!((180..=220).contains(&len), "{len}");
        }
        assert_eq!(
            uid_text(0x0123_4567_89ab_cdef),
            "01234567-0000-4000-8000-000089abcdef"
        );
        check(0x0123_4567_89ab_cdef, &response).unwrap();
        let error = check(0x0123_4567_89ab_cdee, &response).unwrap_err();
        assert!(error.to_string().contains("answered with the job"), "{error}");
        assert!(check(1, &Response::default()).is_err());
        assert!(serde_json::from_str::<serde_json::Value>(POD).is_ok());
    }

    #[test]
    fn log_bytes_are_checked_in_their_place_in_whatever_pieces_they_come() {
        let mut checked = Checked::default();
        checked.take(&text(0, 65_536)).unwrap();
        checked.take(&text(0, 100)).unwrap();
        checked.take(&text(100, 40_000)).unwrap();
        checked.end(65_536 + 40_100).unwrap();
        assert!(checked.end(1).is_err());
        let mut wrong = text(40_100, 300).to_vec();
        checked.take(&wrong).unwrap();
        wrong[299] ^= 1;
        checked.bytes -= 300;
        assert!(checked.take(&wrong).is_err());
        assert!(text(0, 65_536).is_ascii());
    }
}
