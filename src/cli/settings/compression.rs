//! Compression of the link, the same three settings at both of its ends.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use super::{
    Row, Setting, Sources,
    file::{HubSection, PluginSection, Quantity},
};
use crate::{
    cli::{args::CompressionArgs, exit::Failure},
    connection::Compression,
    limits,
};

/// Names of the settings of one role.
#[derive(Debug, Clone, Copy)]
struct Keys {
    when: &'static str,
    level: &'static str,
    threshold: &'static str,
}

const HUB: Keys = Keys {
    when: "hub.compression",
    level: "hub.compression_level",
    threshold: "hub.compression_threshold",
};
const PLUGIN: Keys = Keys {
    when: "plugin.compression",
    level: "plugin.compression_level",
    threshold: "plugin.compression_threshold",
};

/// Whether, how hard, and from which size on packets are compressed.
#[derive(Debug)]
pub(crate) struct CompressionSettings {
    keys: Keys,
    /// Whether.
    pub(crate) when: Setting<Compression>,
    /// Level of zstd.
    pub(crate) level: Setting<i32>,
    /// Bytes of a packet.
    pub(crate) threshold: Setting<usize>,
}

impl CompressionSettings {
    /// Those of a hub, validated.
    ///
    /// # Errors
    /// Names the setting, its value and source, and what it must be.
    pub(super) fn of_hub(typed: &CompressionArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let HubSection {
            compression,
            compression_level,
            compression_threshold,
            ..
        } = &sources.file.hub;
        let file = written(compression, compression_level, compression_threshold);
        Self::resolve(HUB, typed, file, sources)
    }

    /// Those of a plugin, validated.
    ///
    /// # Errors
    /// As [`CompressionSettings::of_hub`].
    pub(super) fn of_plugin(typed: &CompressionArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let PluginSection {
            compression,
            compression_level,
            compression_threshold,
            ..
        } = &sources.file.plugin;
        let file = written(compression, compression_level, compression_threshold);
        Self::resolve(PLUGIN, typed, file, sources)
    }

    fn resolve(
        keys: Keys,
        typed: &CompressionArgs,
        file: CompressionArgs,
        sources: &Sources<'_>,
    ) -> Result<Self, Failure> {
        let auto = Compression::Auto.word();
        let when = sources.text(
            "--compression",
            &typed.when,
            "TOWLINE_COMPRESSION",
            file.when,
            auto,
        )?;
        let level = sources.text(
            "--compression-level",
            &typed.level,
            "TOWLINE_COMPRESSION_LEVEL",
            file.level,
            &limits::COMPRESS_LEVEL.to_string(),
        )?;
        let threshold = sources.text(
            "--compression-threshold",
            &typed.threshold,
            "TOWLINE_COMPRESSION_THRESHOLD",
            file.threshold,
            &limits::COMPRESS_FROM.to_string(),
        )?;
        let Some(value) = Compression::parse(&when.value) else {
            return Err(Failure::Config(format!(
                "{} (from {}): {:?} is not known; use auto, on or off",
                keys.when, when.source, when.value
            )));
        };
        Ok(Self {
            keys,
            when: Setting {
                value,
                source: when.source,
            },
            level: within(keys.level, level, limits::COMPRESS_LEVELS, "")?,
            threshold: within(keys.threshold, threshold, limits::COMPRESS_FROM_RANGE, " bytes")?,
        })
    }

    /// For `config print`.
    pub(super) fn rows(&self) -> [Row; 3] {
        [
            self.when.row(self.keys.when, self.when.value.word()),
            self.level.row(self.keys.level, self.level.value.to_string()),
            self.threshold
                .row(self.keys.threshold, self.threshold.value.to_string()),
        ]
    }
}

/// What a file says, as if it was typed: a number is as good as its text.
fn written(when: &Option<String>, level: &Option<Quantity>, threshold: &Option<Quantity>) -> CompressionArgs {
    CompressionArgs {
        when: when.clone(),
        level: level.clone().map(String::from),
        threshold: threshold.clone().map(String::from),
    }
}

fn within<T: FromStr + PartialOrd + Display>(
    key: &str,
    text: Setting<String>,
    range: RangeInclusive<T>,
    unit: &str,
) -> Result<Setting<T>, Failure> {
    let Setting {
        value: written,
        source,
    } = text;
    match written.parse().ok().filter(|value| range.contains(value)) {
        Some(value) => Ok(Setting { value, source }),
        None => Err(Failure::Config(format!(
            "{key} (from {source}): {written:?} must be a whole number, {} to {}{unit}",
            range.start(),
            range.end()
        ))),
    }
}
