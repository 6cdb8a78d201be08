//! Ready-made handlers: what runs a pod's work at a site.
//!
//! Knows [`crate::plugin::Handler`] and interLink's types; knows nothing of the hub, of links or of HTTP. Learn
//! [`ProcessBackend`] and [`ProcessConfig`].

pub mod process;

pub use process::{ProcessBackend, ProcessConfig};
