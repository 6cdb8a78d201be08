//! Open files: each link takes one at either end.

use anyhow::{Context as _, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process has open besides its links.
const BESIDES: u64 = 256;

/// Raises the soft limit of this process, which its children inherit, as far as it may.
///
/// # Errors
/// The hard limit is too low: says what is needed.
pub(super) fn allow(plugins: usize) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files")?;
    let needed = needed(plugins, hard)?;
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("raising the limit of open files")?;
    }
    Ok(())
}

fn needed(plugins: usize, hard: u64) -> anyhow::Result<u64> {
    let needed = plugins as u64 + BESIDES;
    ensure!(
        needed <= hard,
        "{plugins} plugins need {needed} open files a process, and {hard} are allowed: raise it (`ulimit -Hn {needed}` as \
         root, LimitNOFILE= of a unit), or give a smaller --plugins"
    );
    Ok(needed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_told_with_the_number_that_is_needed() {
        assert_eq!(needed(1_000, 1_256).unwrap(), 1_256);
        let text = needed(1_000, 1_255).unwrap_err().to_string();
        assert!(
            text.contains("need 1256 open files") && text.contains("1255 are allowed"),
            "{text}"
        );
    }
}
