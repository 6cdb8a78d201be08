//! The state machine of one link, without I/O and without a clock.
