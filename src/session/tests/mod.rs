//! The session on a [`pair::Pair`] of itself in virtual time.
#![allow(clippy::unwrap_used)]

mod calls;
mod hostile;
mod liveness;
mod logs;
mod pair;
