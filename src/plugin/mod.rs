//! The dialling role: a [`Handler`] that does the work, and the runtime that keeps its link to the hub.
//!
//! Knows the connection, the outbox and the [`journal`]; knows nothing of the hub's code or of any backend. Learn
//! [`Handler`] and [`Plugin`]; [`Local`] is for what serves the same handler by another way.

mod backoff;
mod config;
mod creates;
mod dial;
mod durable;
mod fallback;
mod feed;
mod guard;
mod handler;
mod http;
pub mod journal;
mod local;
mod lost;
mod node;
pub mod outbox;
mod remembered;
mod requests;
mod runtime;
mod serve;
mod states;
mod status;

pub use crate::connection::{BodyReader, CallGone, CancelSignal, LogSink, ReaderGone};
pub use config::{Compression, ConfigError, PluginConfig};
pub use dial::{DialFailure, Dialer};
pub use fallback::NoLink;
pub use handler::{Create, Created, Delete, Deleted, Events, Handler, LogRequest, Which};
pub use http::{HttpAnswer, HttpBody, HttpCall};
pub use local::{Local, LocalLog};
pub use requests::Container;
pub use runtime::{LinkState, Plugin};
pub use tokio_util::sync::CancellationToken;
