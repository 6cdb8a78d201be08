//! Frame, text, and the same frame.

use proptest::prelude::*;
use towline::{
    envelope::Json,
    limits,
    wire::{Codec as _, LogChunk, LogPosition, Response, StreamId, frame::Body, response},
};

use crate::{
    any::{answer, chunk, end, open, plain, request},
    speak::{read, shown, write},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_is_read_as_the_same_frame((stream, body) in plain()) {
        let text = write(&mut Json::default(), stream, body.clone());
        let frame = read(&mut Json::default(), &text).unwrap();
        prop_assert_eq!((frame.stream, frame.body), (stream, Some(body)), "{}", shown(&text));
    }

    #[test]
    fn a_call_and_its_answer_come_through(
        stream in 1..u32::MAX,
        (request, response) in request().prop_flat_map(|request| (answer(&request), Just(request))).prop_map(|(r, q)| (q, r)),
    ) {
        let (mut caller, mut server) = (Json::default(), Json::default());
        let text = write(&mut caller, stream, Body::Request(request.clone().into()));
        let frame = read(&mut server, &text).unwrap();
        prop_assert_eq!((frame.stream, frame.body), (stream, Some(Body::Request(request.into()))), "{}", shown(&text));
        let text = write(&mut server, stream, Body::Response(response.clone().into()));
        let frame = read(&mut caller, &text).unwrap();
        prop_assert_eq!((frame.stream, frame.body), (stream, Some(Body::Response(response.into()))), "{}", shown(&text));
    }

    #[test]
    fn a_log_and_its_end_come_through(stream in 1..u32::MAX, open in open(), chunk in chunk(), end in end()) {
        let (mut caller, mut server) = (Json::default(), Json::default());
        let text = write(&mut caller, stream, Body::StreamLogs(open.clone().into()));
        prop_assert_eq!(read(&mut server, &text).unwrap().body, Some(Body::StreamLogs(open.into())));
        let text = write(&mut server, stream, Body::LogChunk(chunk.clone()));
        prop_assert_eq!(read(&mut caller, &text).unwrap().body, Some(Body::LogChunk(chunk)));
        let end = Response { status: None, result: Some(response::Result::LogsEnd(end)) };
        let text = write(&mut server, stream, Body::Response(end.clone().into()));
        prop_assert_eq!(read(&mut caller, &text).unwrap().body, Some(Body::Response(end.into())));
    }

    #[test]
    fn a_size_is_never_below_what_is_written(stream in 1..u32::MAX, request in request()) {
        let mut codec = Json::default();
        let body = Body::Request(request.into());
        let size = codec.size(StreamId(stream), &body).unwrap();
        prop_assert!(write(&mut codec, stream, body).len() <= size);
    }
}

#[test]
fn a_largest_chunk_of_any_bytes_fits_into_the_least_message_limit() {
    for byte in [0x00, b'"', b'\n', b'a', 0xff] {
        let chunk = LogChunk {
            at: Some(LogPosition {
                epoch: u64::MAX,
                offset: u64::MAX,
            }),
            next_offset: u64::MAX,
            data: vec![byte; limits::MAX_LOG_CHUNK].into(),
            gap_bytes: u64::MAX,
            reset: true,
        };
        let text = write(&mut Json::default(), u32::MAX - 1, Body::LogChunk(chunk));
        assert!(
            text.len() < limits::MIN_MESSAGE,
            "{byte:#x}: {} bytes",
            text.len()
        );
    }
}
