//! Counting with callgrind: this program runs itself, one scenario a process.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{Failure, scenarios::Scenario};

/// Operations before those that are counted: tables and buffers reach their size, lazy things are made.
const WARM: u32 = 50;

/// Fewer than this many instructions an operation is not one: nothing was counted, or the compiler removed the work.
const LEAST: u64 = 20;

/// The function whose instructions count, with all that it calls.
const COUNTED: &str = "*towline_guard*counted*";

/// memcpy and its like have a variant for each generation of processors. The one that every x86_64 has is taken, so that
/// machines count the same.
const SAME_EVERYWHERE: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,\
                               -ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2,-BMI1,-BMI2,-LZCNT,-MOVBE,-RTM";

/// What is left to a process of the environment: anything else could change what the allocator or valgrind do.
const KEPT: [&str; 2] = ["PATH", "VALGRIND_LIB"];

/// What callgrind sees.
pub(crate) fn run(scenario: &Scenario, times: u32) {
    let mut operation = (scenario.prepare)(WARM + times);
    for _ in 0..WARM {
        operation();
    }
    counted(&mut *operation, times);
}

/// Must stay a function of its own: [`COUNTED`] names it.
#[inline(never)]
fn counted(operation: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        operation();
    }
}

/// The tool, and where its profiles lie.
#[derive(Debug)]
pub(crate) struct Callgrind {
    pub(crate) version: String,
    program: PathBuf,
    folder: PathBuf,
}

impl Callgrind {
    /// None when valgrind is not installed.
    pub(crate) fn find() -> Result<Option<Self>, Failure> {
        let found = match Command::new("valgrind").arg("--version").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| format!("valgrind --version: {error}"))?,
        };
        if !found.status.success() {
            return Err(format!("valgrind --version: {}", found.status).into());
        }
        let program = env::current_exe()?;
        let folder = program.parent().unwrap_or(Path::new(".")).join("callgrind");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let version = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        Ok(Some(Self {
            version,
            program,
            folder,
        }))
    }

    /// The profile of a scenario that was counted.
    pub(crate) fn profile(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.out"))
    }

    /// Instructions an operation of each, in the same order. Several processes at once: they count the same.
    pub(crate) fn count_all(&self, scenarios: &[Scenario]) -> Result<Vec<u64>, Failure> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, u64)>, Failure> {
            let mut counts = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(scenario) = scenarios.get(at) else {
                    return Ok(counts);
                };
                counts.push((at, self.count(scenario)?));
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let mut counts = vec![0; scenarios.len()];
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                for (at, count) in worker.join().map_err(|_| "a thread that counts has panicked")?? {
                    counts[at] = count;
                }
            }
            Ok(counts)
        })
    }

    fn count(&self, scenario: &Scenario) -> Result<u64, Failure> {
        let (name, profile) = (scenario.name, self.profile(scenario.name));
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--dump-instr=no"])
            .arg(format!("--toggle-collect={COUNTED}"))
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(&self.program)
            .args(["run", name])
            .env_clear()
            .envs(KEPT.iter().filter_map(|key| Some((key, env::var_os(key)?))))
            .env("GLIBC_TUNABLES", SAME_EVERYWHERE)
            .stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("valgrind: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "{name} ended with {} under callgrind:\n{}",
                output.status,
                said.trim_end()
            )
            .into());
        }
        let text = fs::read_to_string(&profile).map_err(|error| format!("{}: {error}", profile.display()))?;
        let Some(total) = total(&text) else {
            return Err(format!("{}: callgrind wrote no `totals:` line", profile.display()).into());
        };
        let count = total / u64::from(scenario.times) / u64::from(scenario.per);
        if count < LEAST {
            let text = format!(
                "{name}: {count} instructions an operation, so nothing was counted: \
                 is there a function that {COUNTED} names?"
            );
            return Err(text.into());
        }
        Ok(count)
    }
}

/// What callgrind counted in all.
fn total(profile: &str) -> Option<u64> {
    let line = profile
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_that_of_the_last_line() {
        assert_eq!(
            total("version: 1\nsummary: 7\n\nfn=(1)\n0 7\n\ntotals: 7123\n"),
            Some(7_123)
        );
        assert_eq!(total("version: 1\nfn=(1)\n"), None);
    }
}
