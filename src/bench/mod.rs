//! `towline bench`: what the link costs, beside what else could carry the same, in one process and one run.
//!
//! Knows every role and the peers (tonic, axum, hyper); nothing below knows of it. The same engine is behind
//! `towline bench` and `benches/`. Learn [`Contest`] (contenders that take turns), [`Sample`] (what one turn came to)
//! and [`Report`].
//!
//! The figure to trust is CPU time of the whole process (client, server and kernel; getrusage) as a ratio to another
//! contender of the same run: wall time on a shared machine says little. Contenders take turns (A B A B), so that what
//! else the machine does falls on all of them, and each ratio is that of two turns side by side.

pub mod chart;
pub mod codec;
mod contest;
pub mod cost;
pub mod document;
pub mod fleet;
pub mod goals;
mod http;
pub mod hub;
mod latency;
pub mod link;
mod machine;
pub mod peers;
pub mod report;
pub mod table;
pub mod tables;

pub use contest::{Amount, Contender, Contest, Plan, Round, Sample, Turn};
pub use latency::{Latencies, Timed};
pub use machine::{Machine, versions};
pub use report::{Report, Row};

/// A boxed future of a contender.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
