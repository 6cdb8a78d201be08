//! Log lines, on stderr.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

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
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Installed twice only if the caller of `main` had its own: then that one stays.
    let _ = match format {
        LogFormat::Json => {
            let lines = lines
                .json()
                .flatten_event(true)
                .with_filter(filter_fn(shows_no_body));
            tracing_subscriber::registry().with(filter).with(lines).try_init()
        }
        LogFormat::Text => {
            let ansi =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let lines = lines
                .with_ansi(ansi)
                .with_target(false)
                .with_filter(filter_fn(shows_no_body));
            tracing_subscriber::registry().with(filter).with(lines).try_init()
        }
    };
    Ok(())
}

/// The WebSocket library writes whole messages into its trace: pods with their secrets.
fn shows_no_body(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with("tungstenite")
}

/// A bare word must be a level: EnvFilter would read a misspelt one as the name of a module.
fn parse(text: &str) -> Option<EnvFilter> {
    let bare = !text.contains(['=', ',', ':']);
    if bare && !["off", "error", "warn", "info", "debug", "trace"].contains(&text) {
        return None;
    }
    // HTTP/2 tells each frame at this level; who wants that names it.
    EnvFilter::try_new(if text == "debug" { "debug,h2=info" } else { text }).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_misspelt_level_is_refused() {
        assert!(super::parse("inof").is_none());
        assert!(super::parse("debug").is_some());
        assert!(super::parse("info,towline::hub=debug").is_some());
    }

    #[test]
    fn each_frame_of_http2_is_told_to_who_names_it_alone() {
        let told = |text| {
            super::parse(text)
                .map(|filter| filter.to_string())
                .unwrap_or_default()
        };
        assert!(told("debug").contains("h2=info"), "{}", told("debug"));
        assert!(told("debug,h2=debug").contains("h2=debug"));
        assert_eq!(told("trace"), "trace");
    }
}
