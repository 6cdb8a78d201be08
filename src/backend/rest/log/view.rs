//! Which log a plugin is asked for.

use crate::{
    interlink::{LogOpts, LogStruct, format_time},
    wire::{LogOptions, LogPosition, PodRef, Timestamp},
};

/// What is asked of the plugin; its bytes are counted from the first that it answers with.
///
/// It travels in the epoch of a position, with the generation (which log of that name it is), so that a read can go on
/// without anything remembered: 34 bits seconds of `since`, 16 bits generation, previous, timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) uid: String,
    pub(super) container: String,
    /// Seconds of `since_time`; 0 for all.
    since: u64,
    timestamps: bool,
    pub(super) previous: bool,
}

const SINCE_MAX: u64 = (1 << 34) - 1;

impl View {
    /// As a reader's options say.
    pub(super) fn new(pod: &PodRef, container: &str, options: &LogOptions) -> Self {
        let since = options.since_time.as_ref().map_or(0, |time| time.seconds);
        Self {
            uid: pod.uid.clone(),
            container: container.to_owned(),
            since: u64::try_from(since).unwrap_or(0).min(SINCE_MAX),
            timestamps: options.timestamps,
            previous: options.previous,
        }
    }

    /// As a position says, and the generation. None when the position is of another plugin, which the pod was reached by
    /// before: most of those name a run by a small number.
    pub(super) fn of(
        pod: &PodRef,
        container: &str,
        options: &LogOptions,
        at: &LogPosition,
    ) -> Option<(Self, u16)> {
        let view = Self {
            uid: pod.uid.clone(),
            container: container.to_owned(),
            since: (at.epoch >> 18).min(SINCE_MAX),
            timestamps: at.epoch & 1 == 1,
            previous: at.epoch & 2 == 2,
        };
        #[allow(clippy::cast_possible_truncation)] // masked
        let generation = ((at.epoch >> 2) & 0xffff) as u16;
        (generation != 0 && view.timestamps == options.timestamps).then_some((view, generation))
    }

    /// The epoch of a position in this log.
    pub(super) fn epoch(&self, generation: u16) -> u64 {
        self.since << 18
            | u64::from(generation) << 2
            | u64::from(self.previous) << 1
            | u64::from(self.timestamps)
    }

    /// The request. Tail and limit are not asked of the plugin: they would give other bytes from read to read.
    pub(super) fn request(&self, pod: &PodRef, follow: bool) -> LogStruct {
        let since = Timestamp {
            seconds: i64::try_from(self.since).unwrap_or(0),
            nanos: 0,
        };
        let since_time = if self.since == 0 {
            "0001-01-01T00:00:00Z".to_owned()
        } else {
            format_time(&since)
        };
        LogStruct {
            namespace: pod.namespace.clone(),
            pod_uid: self.uid.clone(),
            pod_name: pod.name.clone(),
            container_name: self.container.clone(),
            opts: LogOpts {
                timestamps: self.timestamps,
                previous: self.previous,
                follow,
                since_time,
                ..LogOpts::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_alone_says_which_log_it_is_in() {
        let pod = PodRef::new("u", "n", "p");
        for (since, timestamps, previous) in [(None, false, false), (Some(1_790_000_000), true, true)] {
            let options = LogOptions {
                timestamps,
                previous,
                since_time: since.map(|seconds| Timestamp { seconds, nanos: 7 }),
                ..LogOptions::default()
            };
            let view = View::new(&pod, "main", &options);
            for generation in [1, 2, u16::MAX] {
                let epoch = view.epoch(generation);
                assert!(epoch != 0 && epoch < 1 << 53, "fits into a JSON number");
                assert_eq!(
                    View::of(&pod, "main", &options, &LogPosition { epoch, offset: 9 }),
                    Some((view.clone(), generation))
                );
            }
        }
    }

    #[test]
    fn a_position_of_another_plugin_is_no_place_in_this_log() {
        let pod = PodRef::new("u", "n", "p");
        for epoch in 1..4 {
            let at = LogPosition { epoch, offset: 9 };
            assert_eq!(View::of(&pod, "main", &LogOptions::default(), &at), None);
        }
    }

    #[test]
    fn the_plugin_is_asked_as_go_would_ask() {
        let pod = PodRef::new("u", "n", "p");
        let asked = View::new(&pod, "main", &LogOptions::default()).request(&pod, false);
        assert_eq!(asked.opts.since_time, "0001-01-01T00:00:00Z");
        let options = LogOptions {
            since_time: Some(Timestamp {
                seconds: 1_790_000_000,
                nanos: 0,
            }),
            ..LogOptions::default()
        };
        let asked = View::new(&pod, "main", &options).request(&pod, true);
        assert_eq!(asked.opts.since_time, "2026-09-21T14:13:20Z");
        assert!(asked.opts.follow);
    }
}
