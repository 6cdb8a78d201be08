//! Ready-made handlers.
pub mod process;
