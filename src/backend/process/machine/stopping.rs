//! In which order containers are stopped, and with what grace.

use std::time::{Duration, Instant};

use super::{
    Action, Machine,
    ending::{Ending, put_to_rest},
    slot::{Kind, Slot},
};

/// Sidecars get at least this long when the main containers have used up the grace period, as in the kubelet.
const SIDECAR_GRACE: Duration = Duration::from_secs(2);

impl Machine {
    pub(super) fn wind_down(&mut self, why: &Ending, by: Instant, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if !slot.is_live() {
                put_to_rest(slot, why);
            } else if slot.kind != Kind::Sidecar {
                actions.extend(stop(slot, index, by, by.saturating_duration_since(now)));
            }
        }
        let others_ended = self
            .slots
            .iter()
            .all(|slot| slot.kind == Kind::Sidecar || slot.is_ended());
        let last = self
            .slots
            .iter_mut()
            .enumerate()
            .rev()
            .find(|(_, slot)| slot.is_live());
        if let (true, Some((index, slot))) = (others_ended, last) {
            let floor = if self.at_once {
                Duration::ZERO
            } else {
                SIDECAR_GRACE
            };
            actions.extend(stop(
                slot,
                index,
                by,
                by.saturating_duration_since(now).max(floor),
            ));
        }
        actions
    }
}

/// Tells a run to stop, unless it was told so already with no later an end.
fn stop(slot: &mut Slot, index: usize, by: Instant, left: Duration) -> Option<Action> {
    if slot.stopped.is_some_and(|told| told <= by) {
        return None;
    }
    slot.stopped = Some(by);
    let grace_seconds = left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
    Some(Action::Stop {
        slot: index,
        grace_seconds,
    })
}
