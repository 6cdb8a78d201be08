//! By what a state is known again.

use std::num::NonZeroU64;

use crate::wire::PodState;

/// A fingerprint of a state without when it was observed and under which number it was told: FNV-1a of 64 bits, as
/// it must be the same in every build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u64);

impl Mark {
    pub(crate) fn of(state: &PodState) -> Self {
        let bare = PodState {
            seq: 0,
            observed_at: None,
            ..state.clone()
        };
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(bare.to_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }
}

/// A number that was never used before, for an epoch.
pub(crate) fn random_epoch() -> NonZeroU64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    NonZeroU64::new(random).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ContainerState, PodRef};

    #[test]
    fn a_state_seen_again_later_has_the_same_mark_and_another_state_another() {
        let pod = PodRef::new("u", "n", "p");
        let mut state = PodState::present(pod, "1", vec![ContainerState::running("a")]);
        let mark = Mark::of(&state);
        state.observed_at = None;
        state.seq = 7;
        assert_eq!(Mark::of(&state), mark);
        state.containers[0].restart_count = 1;
        assert_ne!(Mark::of(&state), mark);
    }
}
