//! Log lines, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::{args::LogFormat, exit::Failure};

/// Installs the process's logger: flag, else TOWLINE_LOG, else `default`.
///
/// # Errors
/// When the level is no level and no filter.
pub(crate) fn install(level: Option<&str>, format: LogFormat, default: &str) -> Result<(), Failure> {
    let from_env = std::env::var("TOWLINE_LOG").ok();
    let (text, source) = match (level, from_env.as_deref()) {
        (Some(text), _) => (text, "--log-level"),
        (None, Some(text)) if !text.is_empty() => (text, "TOWLINE_LOG"),
        _ => (default, "default"),
    };
    let filter = parse(text).ok_or_else(|| {
        Failure::Config(format!(
            "{source}: {text:?} is neither a level nor a filter; try info"
        ))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Installed twice only if the caller of `main` had its own: then that one stays.
    let _ = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let ansi =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            subscriber.with_ansi(ansi).with_target(false).try_init()
        }
    };
    Ok(())
}

/// A bare word must be a level: EnvFilter would read a misspelt one as the name of a module.
fn parse(text: &str) -> Option<EnvFilter> {
    let bare = !text.contains(['=', ',', ':']);
    if bare && !["off", "error", "warn", "info", "debug", "trace"].contains(&text) {
        return None;
    }
    EnvFilter::try_new(text).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_misspelt_level_is_refused() {
        assert!(super::parse("inof").is_none());
        assert!(super::parse("debug").is_some());
        assert!(super::parse("info,towline::hub=debug").is_some());
    }
}
