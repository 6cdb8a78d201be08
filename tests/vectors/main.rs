//! `proto/vectors`: golden packets, refused messages and whole conversations, for this crate and for plugins in
//! any language. The format is in `proto/vectors/README.md`.
//!
//! Tests named `golden_` compare the files with what the code makes; `make vectors` has them write the files anew.
//! All others replay the files.
#![allow(clippy::unwrap_used)]

mod contract;
mod golden;
mod json;
mod messages;
mod packets;
#[cfg(feature = "net")]
mod perturbed;
mod player;
mod refused;
mod transcripts;
