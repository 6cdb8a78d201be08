//! Compression of the link, the same three settings at both of its ends.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use super::{Row, Setting, Sources, file::Quantity};
use crate::{cli::exit::Failure, connection::Compression, limits};

/// Names of the settings of one role.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    when: &'static str,
    level: &'static str,
    threshold: &'static str,
}

impl Keys {
    pub(super) const HUB: Self = Self {
        when: "hub.compression",
        level: "hub.compression_level",
        threshold: "hub.compression_threshold",
    };
    pub(super) const PLUGIN: Self = Self {
        when: "plugin.compression",
        level: "plugin.compression_level",
        threshold: "plugin.compression_threshold",
    };
}

/// What was given for them in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    pub(super) when: Option<String>,
    pub(super) level: Option<String>,
    pub(super) threshold: Option<String>,
}

impl Given {
    /// Of a file: a number is as good as its text.
    pub(super) fn of_file(
        when: Option<String>,
        level: Option<Quantity>,
        threshold: Option<Quantity>,
    ) -> Self {
        Self {
            when,
            level: level.map(String::from),
            threshold: threshold.map(String::from),
        }
    }
}

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
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value and source, and what it must be.
    pub(super) fn resolve(
        keys: Keys,
        typed: &Given,
        file: Given,
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
