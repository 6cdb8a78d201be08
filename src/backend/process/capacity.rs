//! What this machine has for pods: its processors and memory, or the part of them that its control groups allow.

use std::{fs, path::Path};

/// Processors and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Processors, in thousandths.
    pub cpu_millis: u64,
    /// Memory in bytes; 0 where it is not told.
    pub memory: u64,
}

impl Capacity {
    /// Of this machine, as this process may use it.
    pub fn of_this_machine() -> Self {
        let machine = Self {
            // Counts the processors that this process may run on.
            cpu_millis: std::thread::available_parallelism().map_or(1, |count| count.get() as u64) * 1000,
            memory: machine_memory(),
        };
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        machine.within(&groups, Path::new("/sys/fs/cgroup"))
    }

    /// What is left of it by the control groups of `groups` (as /proc/PID/cgroup lists them) below `mount`.
    fn within(mut self, groups: &str, mount: &Path) -> Self {
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            // Version 2 has no controllers here and one tree; version 1 a tree for each set of them.
            let root = mount.join(controllers);
            let own = root.join(path.trim_start_matches('/'));
            // A limit of an outer group holds for all within. In a container the path may be the host's.
            for group in own.ancestors().take_while(|group| group.starts_with(&root)) {
                let cpu = quota_v2(group).or_else(|| quota_v1(group));
                let memory = number(&group.join("memory.max"))
                    .or_else(|| number(&group.join("memory.limit_in_bytes")));
                if let Some(millis) = cpu {
                    self.cpu_millis = self.cpu_millis.min(millis.max(1));
                }
                if let Some(bytes) = memory
                    && (self.memory == 0 || bytes < self.memory)
                {
                    self.memory = bytes;
                }
            }
        }
        self
    }
}

/// `cpu.max`: quota and period in microseconds; the quota may be the word max.
fn quota_v2(group: &Path) -> Option<u64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    millis(quota.parse().ok()?, period.parse().ok()?)
}

/// The same in two files; the quota may be -1.
fn quota_v1(group: &Path) -> Option<u64> {
    millis(
        number(&group.join("cpu.cfs_quota_us"))?,
        number(&group.join("cpu.cfs_period_us"))?,
    )
}

fn millis(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1000)?.checked_div(period)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// MemTotal of this machine in bytes, or 0 where it is not told.
fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MACHINE: Capacity = Capacity {
        cpu_millis: 8000,
        memory: 16 << 30,
    };

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_machine_has_processors_and_memory() {
        let capacity = Capacity::of_this_machine();
        assert!(capacity.cpu_millis > 0 && capacity.memory > 0);
    }

    #[test]
    fn the_tightest_limit_of_the_groups_around_holds() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "slice/cpu.max", "250000 100000\n");
        put(dir.path(), "slice/memory.max", "max\n");
        put(dir.path(), "slice/job/cpu.max", "max 100000\n");
        put(dir.path(), "slice/job/memory.max", "1073741824\n");
        let expected = Capacity {
            cpu_millis: 2500,
            memory: 1 << 30,
        };
        assert_eq!(MACHINE.within("0::/slice/job\n", dir.path()), expected);
    }

    #[test]
    fn limits_of_version_one_hold_too_and_none_is_none() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
        put(dir.path(), "cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
        put(
            dir.path(),
            "memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        let groups = "4:memory:/elsewhere\n2:cpu,cpuacct:/job\n1:name=systemd:/\n";
        let expected = Capacity {
            cpu_millis: 500,
            ..MACHINE
        };
        assert_eq!(MACHINE.within(groups, dir.path()), expected);
        assert_eq!(MACHINE.within("0::/\n", dir.path()), MACHINE);
    }
}
