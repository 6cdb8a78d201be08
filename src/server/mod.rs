//! Requests from a listener: sockets under the clocks of HTTP, bounds, who is let in, and how a request is turned down.
//!
//! Knows HTTP/1.1 and [`limits`](crate::limits); knows no route, no call and not whom it serves: the edge of the hub and
//! the REST of a plugin stand on it. Learn [`serve()`], [`Refusal`] and [`Token`].

// Upgrades, and who is at the other end, concern the hub alone.
#![cfg_attr(not(feature = "hub"), allow(dead_code, unreachable_pub, unused_imports))]

mod accept;
mod admit;
pub(crate) mod body;
mod gap;
mod io;
mod refusal;
mod serve;
mod token;

#[cfg(feature = "grpc")]
pub(crate) use accept::accept;
pub(crate) use admit::{check_host, check_origin, check_target};
pub(crate) use gap::marked;
pub(crate) use io::Timed;
pub(crate) use refusal::{Refusal, carried, one_line, session_of};
#[cfg(test)]
pub(crate) use serve::connection;
pub(crate) use serve::{Closing, Remote, serve};
pub use token::{BadToken, Token};
