use std::time::Duration;

use super::pair::{Pair, create_request};
use crate::{
    code::CloseCode,
    limits,
    session::{Config, Event, State},
};

#[test]
fn an_idle_link_lives_on_pings() {
    let mut pair = Pair::open();
    pair.pass(Duration::from_secs(3600));
    assert_eq!(
        (pair.hub.state(), pair.plugin.state()),
        (State::Open, State::Open)
    );
    assert!(pair.hub.stats().frames_out >= 3600 / 20);
}

#[test]
fn a_dialling_side_that_pings_by_itself_finds_a_silent_hub_out_sooner() {
    let interval = Duration::from_secs(5);
    let config = Config {
        dial_ping_interval: Some(interval),
        ..Config::default()
    };
    let mut pair = Pair::with(config, &[]);
    pair.pass(Duration::from_secs(3600));
    assert_eq!(
        (pair.hub.state(), pair.plugin.state()),
        (State::Open, State::Open)
    );
    // Its pings and its answers to those of the hub.
    assert!(pair.plugin.stats().frames_out >= 3600 / 5 + 3600 / 20);
    pair.down = false;
    pair.pass(interval + limits::PING_TIMEOUT);
    assert_eq!(pair.plugin.state(), State::Closed);
    assert!(interval + limits::PING_TIMEOUT < limits::IDLE_TIMEOUT);
}

#[test]
fn a_half_open_link_is_found_out_by_both_sides() {
    for (up, down) in [(false, true), (true, false), (false, false)] {
        let mut pair = Pair::open();
        (pair.up, pair.down) = (up, down);
        pair.pass(limits::IDLE_TIMEOUT + limits::PING_INTERVAL);
        let hub_gone = pair.hub.state() == State::Closed;
        let plugin_gone = pair.plugin.state() == State::Closed;
        assert!(if up { plugin_gone } else { hub_gone }, "up {up} down {down}");
    }
}

#[test]
fn a_call_unanswered_is_probed_and_a_dead_peer_is_lost_in_twenty_seconds() {
    let mut pair = Pair::open();
    pair.call();
    pair.up = false;
    pair.pass(limits::CALL_PROBE + limits::PING_TIMEOUT + Duration::from_secs(1));
    let last = pair.hub_events.last();
    assert!(
        matches!(
            last,
            Some(Event::Closed {
                code: CloseCode::IDLE,
                ..
            })
        ),
        "{last:?}"
    );
}

#[test]
fn a_busy_single_threaded_peer_has_until_the_deadline_of_its_call() {
    let mut pair = Pair::open();
    pair.hub.open_call(create_request(10), pair.now).unwrap();
    pair.settle();
    pair.up = false;
    for _ in 0..100 {
        pair.hub.handle_transport_pong(pair.now);
        pair.pass(Duration::from_secs(1));
        assert_eq!(pair.hub.state(), State::Open);
    }
    for _ in 0..20 {
        pair.hub.handle_transport_pong(pair.now);
        pair.pass(Duration::from_secs(1));
    }
    assert_eq!(pair.hub.state(), State::Closed);
}
