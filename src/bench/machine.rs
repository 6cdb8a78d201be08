//! Where a report was made, so that figures can be compared.

use std::{collections::BTreeMap, fs, thread};

use serde::{Deserialize, Serialize};

/// The machine of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU model, as the kernel names it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Load average over a minute when the run began.
    pub load: String,
    /// False when the binary was built without optimisation: its figures say nothing.
    pub optimised: bool,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

/// Crates whose versions decide the figures.
const CRATES: [&str; 12] = [
    "towline",
    "tonic",
    "h2",
    "hyper",
    "axum",
    "prost",
    "tokio",
    "tokio-tungstenite",
    "tungstenite",
    "serde_json",
    "rustls",
    "zstd",
];

/// The versions that this binary was built with, from its lock file.
pub fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut name = "";
    for line in include_str!("../../Cargo.lock").lines() {
        let quoted = |key| line.strip_prefix(key).map(|rest| rest.trim_matches('"'));
        if let Some(found) = quoted("name = ") {
            name = found;
        } else if let Some(version) = quoted("version = ")
            && CRATES.contains(&name)
        {
            versions.insert(name.to_owned(), version.to_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_with_what_it_was_made() {
        let versions = versions();
        for name in CRATES {
            assert!(versions.contains_key(name), "{name} is not in Cargo.lock");
        }
        assert_eq!(versions["towline"], env!("CARGO_PKG_VERSION"));
        let machine = Machine::here();
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty());
    }
}
