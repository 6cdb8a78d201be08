//! What a session tells its owner.

use std::time::Duration;

use crate::{
    code::CloseCode,
    wire::{
        Data, EventAck, LogChunk, NodeStatus, PodEvent, Register, Request, Response, StreamId, StreamLogs,
        Welcome,
    },
};

/// Something that happened on a link. For each call that this side opened there is exactly one
/// [`Event::Response`]; for each [`Event::Request`] and [`Event::StreamLogs`] the owner owes exactly one
/// `respond`.
#[derive(Debug)]
pub enum Event {
    /// Accepting: decide with `welcome` or `refuse`.
    Register(Box<Register>),
    /// Dialling: the link is up.
    Welcome(Box<Welcome>),
    /// The peer opened a call.
    Request(StreamId, Box<Request>),
    /// The peer opened a log stream.
    StreamLogs(StreamId, Box<StreamLogs>),
    /// The peer gave up on its call, or its deadline passed: end it soon with `respond`.
    Cancelled(StreamId),
    /// A call of this side ended, by the peer or locally.
    Response(StreamId, Box<Response>),
    /// Bytes of a log stream of this side. Tell `consumed` when they were taken.
    LogChunk(StreamId, LogChunk),
    /// Body bytes of a call. Tell `consumed` when they were taken.
    Data(StreamId, Data),
    /// A stream that had no room for a chunk may have room now.
    Writable(StreamId),
    /// A pod event (hub).
    PodEvent(Box<PodEvent>),
    /// An acknowledgement (plugin).
    EventAck(EventAck),
    /// The state of the node (hub).
    NodeStatus(Box<NodeStatus>),
    /// The peer drains.
    GoAway {
        /// Why, as a close code.
        code: CloseCode,
        /// Why, for people.
        reason: String,
        /// Its wish for the next dial.
        retry_after: Duration,
    },
    /// The session ended by this side's decision; write what is left, then close the transport with this.
    Closed {
        /// The close code to send.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
}
