//! Ready-made handlers: what runs a pod's work at a site.
//!
//! Knows [`crate::plugin::Handler`] and interLink's types; knows nothing of the hub or of links. Learn
//! [`process::ProcessBackend`] (pods as processes of this machine) and [`rest::RestBackend`] (pods of a REST plugin).

#[cfg(any(feature = "process", feature = "rest"))]
mod file;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "rest")]
pub mod rest;

#[cfg(feature = "process")]
pub use process::{ProcessBackend, ProcessConfig};
#[cfg(feature = "rest")]
pub use rest::{RestBackend, RestConfig};
