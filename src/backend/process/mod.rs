//! Pods as local processes.
pub mod log;
pub mod run;
pub mod spec;
pub mod supervisor;
