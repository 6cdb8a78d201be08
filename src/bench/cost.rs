//! What the process and its children have used so far, from the kernel's own books.

use std::{io, path::Path, time::Duration};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

/// CPU time of this process so far: all threads, user and kernel (getrusage(2)).
///
/// # Errors
/// When the kernel gives none.
pub fn cpu() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

fn of(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// CPU time of another process so far, in steps of the kernel's clock tick (usually 10 ms); proc(5).
///
/// # Errors
/// When it is not there.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // The name in brackets may hold anything: what counts stands after the last of them.
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    // Fields 14 and 15, counted from the state, which is field 3.
    match (
        ticks(11),
        ticks(12),
        nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK),
    ) {
        (Some(user), Some(system), Ok(Some(per_second))) => {
            let micros = (user + system).saturating_mul(1_000_000) / per_second.unsigned_abs().max(1);
            Ok(Duration::from_micros(micros))
        }
        _ => Err(io::Error::other("/proc/PID/stat is not as expected")),
    }
}

/// Resident memory of a process in bytes (`VmRSS`, proc(5)); of this one without a pid.
///
/// # Errors
/// When it is not there.
pub fn resident(pid: Option<u32>) -> io::Result<u64> {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = std::fs::read_to_string(Path::new("/proc").join(who).join("status"))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::Error::other("/proc/PID/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_books_of_this_process_and_by_its_pid_agree() {
        let before = cpu().unwrap();
        let mut sum = 0u64;
        while cpu().unwrap() - before < Duration::from_millis(40) {
            sum = std::hint::black_box(sum + 1);
        }
        let by_pid = cpu_of(std::process::id()).unwrap();
        assert!(by_pid <= cpu().unwrap() + Duration::from_millis(20));
        assert!(by_pid + Duration::from_millis(40) >= cpu().unwrap());
        assert!(resident(None).unwrap() > 1 << 20);
        assert!(resident(Some(std::process::id())).unwrap() > 1 << 20);
    }
}
