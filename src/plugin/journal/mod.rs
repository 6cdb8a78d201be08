//! What a plugin must not forget, written down: its outbox, and which pods it has submitted.
//!
//! Knows entries, frames and one log of bytes; knows nothing of links, handlers or what a pod is. Manifests are never
//! written: they hold secrets. Learn [`Disk`] (where the bytes are) and `Journal` (record, then wait until it is
//! durable).
//!
//! ```text
//! record -> image (always)                      commit -> durable, events may be sent
//!        -> batch -> append + sync (one batch at a time) -+
//!                                                         +- error -> not ready -> replace by a snapshot -> ready
//! ```
//!
//! A crash at any moment leaves the state after some whole batch: nothing that was said to be durable is lost.

mod disk;
mod entry;
mod file;
mod image;
mod keep;
mod log;
mod mark;
pub mod memory;
mod writer;

pub use disk::{Disk, OpenError};
pub(super) use entry::{Entry, Kept};
pub use file::FileDisk;
pub(super) use image::Record;
pub(super) use keep::{Journal, Ticket};
pub(super) use mark::{Mark, random_epoch};
pub(super) use writer::Writer;
