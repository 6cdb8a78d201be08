//! What a frame costs to write and to read, in each form, and what compression costs and saves.
//!
//! No link, no socket: one thread and bytes. Learn [`Form`] (how a frame looks), [`Sample`] (a frame and what it
//! says), [`logs`] (what logs look like) and [`run`].

mod form;
pub mod logs;
mod row;
mod run;
mod sample;

pub use form::{Form, Protobuf, Text, TypedJson};
pub use row::CodecRow;
pub use run::{RATIO, Sizes, run};
pub use sample::{Sample, Typed, samples};
