//! The session on a [`pair::Pair`] of itself in virtual time.
#![allow(clippy::unwrap_used)]

mod bodies;
mod calls;
mod flood;
mod hostile;
mod liveness;
mod logs;
mod pair;
