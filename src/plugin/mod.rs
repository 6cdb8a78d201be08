//! The dialling role: a [`Handler`] that does the work, and the runtime that keeps its link to the hub.
//!
//! Knows the connection and the outbox; knows nothing of the hub's code or of any backend. Learn [`Handler`] and
//! [`Plugin`].

mod handler;

pub use crate::connection::{CancelSignal, LogSink, ReaderGone};
pub use handler::{Create, Created, Delete, Deleted, Events, Handler, LogRequest, Which};
