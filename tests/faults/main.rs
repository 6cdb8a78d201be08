//! Faults with real processes: hubs, plugins and pods that are processes, kubelets and log readers over HTTP, and what can
//! happen between and to them.
//!
//! Knows the binary, its command line and its HTTP; nothing of what is inside. Each row of the matrix is a test that
//! puts load on a [`cluster::Cluster`], does its harm, lets everything come to rest, and has the [`history`] judged by
//! [`check::check`]. A short form runs with the other tests; `make faults` runs the long one (docs/RELIABILITY.md).
#![allow(clippy::unwrap_used)]

mod check;
mod check_calls;
mod check_logs;
mod check_tests;
mod cluster;
mod counter;
mod cuts;
mod disk;
mod drain;
mod history;
mod http;
mod kills;
mod kubelet;
mod load;
mod namespace;
mod network;
mod partition;
mod peer;
mod processes;
mod proxy;
mod readers;
mod recovery;
mod settings;
mod stopped;
