//! towline joins interLink's virtual kubelet to plugins behind firewalls: a hub that speaks interLink's
//! REST, and plugins that dial out and keep one WebSocket to it.
//!
//! The modules, bottom-up; a module uses only what stands above it in this list (`tests/layering.rs`):
//!
//! | module | what it knows | feature |
//! |---|---|---|
//! | [`code`], [`limits`] | why a call or link ended; every bound | (core) |
//! | [`wire`] | bytes and frames | (core) |
//! | [`session`] | the state machine of one link, without I/O or clock | (core) |
//! | [`interlink`] | what interLink's REST says | (core) |
//! | [`envelope`] | frames as JSON, with REST's bodies | (core) |
//! | [`transport`] | ordered messages; over sockets | `link`; `net` |
//! | `server` | HTTP requests from a listener: clocks, bounds, who is let in | `server` |
//! | `upstream` | HTTP requests to somebody else's endpoints | `rest`, `hub` |
//! | [`connection`] | one session on one transport: calls and log streams as futures | `link` |
//! | [`plugin`] | the dialling role: [`plugin::Handler`], reconnect, outbox | `plugin` |
//! | [`backend`] | ready-made handlers | `process`, `rest` |
//! | [`sidecar`] | the REST interface of a plugin, served from a handler | `sidecar` |
//! | [`hub`] | the accepting role: registry, placement, pods, logs | `hub` |
//! | [`jobscript`] | job scripts: from a script server or a template | `hub` |
//! | [`http`] | the HTTP edge of the hub | `hub` |
//! | `bench` | what the link costs, beside its peers | `bench` |
//! | [`cli`] | the command line | `cli` |

pub mod code;
pub mod limits;
pub mod planted;

pub mod wire;

pub mod envelope;
pub mod interlink;
pub mod session;

#[cfg(feature = "link")]
pub mod connection;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "link")]
pub mod transport;
#[cfg(any(feature = "rest", feature = "hub"))]
// The bridge alone uses all of it.
#[cfg_attr(not(feature = "rest"), allow(dead_code))]
mod upstream;

#[cfg(any(feature = "process", feature = "rest"))]
pub mod backend;
#[cfg(feature = "plugin")]
pub mod plugin;
#[cfg(feature = "sidecar")]
pub mod sidecar;

#[cfg(feature = "hub")]
pub mod http;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "hub")]
pub mod jobscript;

#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
