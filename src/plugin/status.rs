//! Pages of pod states.

use crate::{
    limits,
    wire::{ContainerState, PodState, StatusResult},
};

/// Makes one page: the states after `token` in the order of uids, each true as of `as_of`. A page ends early when
/// it would not fit into a message of `max_message` bytes.
pub(super) fn page(
    mut states: Vec<PodState>,
    page_size: u32,
    token: &str,
    as_of: u64,
    max_message: usize,
) -> StatusResult {
    let size = match page_size as usize {
        0 => limits::MAX_STATUS_PAGE,
        size => size.min(limits::MAX_STATUS_PAGE),
    };
    // Sorted by uid, a page goes on where the former ended though pods come and go in between.
    states.retain(|state| !uid(state).is_empty() && uid(state) > token);
    states.sort_by(|a, b| uid(a).cmp(uid(b)));

    // Half of it leaves room for what the estimate does not see.
    let room = max_message / 2;
    let mut used = 0;
    let fit = states
        .iter()
        .take(size)
        .take_while(|state| {
            used += weight(state);
            used <= room
        })
        .count()
        .max(1);
    let more = states.len() > fit;
    states.truncate(fit);
    for state in &mut states {
        state.seq = as_of;
    }
    let next_page_token = if more {
        states.last().map(uid).unwrap_or_default().to_owned()
    } else {
        String::new()
    };
    StatusResult {
        as_of,
        pods: states,
        next_page_token,
    }
}

fn uid(state: &PodState) -> &str {
    state.pod.as_ref().map_or("", |pod| pod.uid.as_str())
}

/// About how many bytes a state takes: its texts, and 256 for each part's numbers and short words.
fn weight(state: &PodState) -> usize {
    let pod = state
        .pod
        .as_ref()
        .map_or(0, |pod| pod.uid.len() + pod.namespace.len() + pod.name.len());
    let containers = state
        .containers
        .iter()
        .chain(&state.init_containers)
        .map(container_weight);
    256 + pod + state.job_id.len() + containers.sum::<usize>()
}

fn container_weight(container: &ContainerState) -> usize {
    use crate::wire::container_state::State;
    let message = match &container.state {
        Some(State::Waiting(waiting)) => waiting.message.len() + waiting.reason.len(),
        Some(State::Terminated(ended)) => ended.message.len() + ended.reason.len(),
        Some(State::Running(_)) | None => 0,
    };
    let last = container
        .last_termination
        .as_ref()
        .map_or(0, |ended| ended.message.len() + ended.reason.len());
    let names = container.name.len()
        + container.image.len()
        + container.image_id.len()
        + container.container_id.len();
    256 + names + message + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PodRef;

    fn states(count: usize) -> Vec<PodState> {
        let state = |i: usize| PodState {
            pod: Some(PodRef::new(
                format!("pod-{:05}", (i * 7919) % count),
                "default",
                "a",
            )),
            ..PodState::default()
        };
        (0..count).map(state).collect()
    }

    fn all_pages(count: usize, size: u32, max_message: usize) -> Vec<usize> {
        let (mut token, mut pages, mut seen) = (String::new(), Vec::new(), Vec::new());
        loop {
            let page = page(states(count), size, &token, 7, max_message);
            assert!(page.pods.iter().all(|state| state.seq == 7));
            pages.push(page.pods.len());
            seen.extend(page.pods.iter().map(|state| uid(state).to_owned()));
            if page.next_page_token.is_empty() {
                break;
            }
            token = page.next_page_token;
        }
        seen.dedup();
        assert_eq!(seen.len(), count, "every pod once");
        pages
    }

    #[test]
    fn pages_hold_at_most_what_was_asked_and_never_more_than_a_thousand() {
        assert_eq!(all_pages(2_500, 0, limits::MAX_MESSAGE), [1_000, 1_000, 500]);
        assert_eq!(all_pages(2_500, 5_000, limits::MAX_MESSAGE), [1_000, 1_000, 500]);
        assert_eq!(all_pages(5, 2, limits::MAX_MESSAGE), [2, 2, 1]);
        assert_eq!(all_pages(4, 4, limits::MAX_MESSAGE), [4]);
        assert_eq!(all_pages(0, 4, limits::MAX_MESSAGE), [0]);
    }

    #[test]
    fn a_page_ends_before_it_outgrows_a_message() {
        let pages = all_pages(100, 0, 8 << 10);
        assert!(pages.len() > 5, "{pages:?}");
        assert_eq!(all_pages(3, 0, 1), [1, 1, 1]);
    }

    #[test]
    fn a_state_without_a_pod_is_left_out() {
        let page = page(vec![PodState::default()], 0, "", 0, limits::MAX_MESSAGE);
        assert_eq!(page.pods, []);
        assert_eq!(page.next_page_token, "");
    }
}
