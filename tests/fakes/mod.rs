//! What tests of the link share: messages as a plugin says them, and a plugin whose answers a test gives by hand.
//!
//! Use with `#[path = "fakes/mod.rs"] mod fakes;`.
#![allow(dead_code, unused_imports)] // no test uses all of it

pub(crate) mod carrier;
pub(crate) mod plugin;
pub(crate) mod say;
