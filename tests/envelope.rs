//! The JSON path as text: any frame that it can carry comes back, and hostile text is refused with the field's name.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "envelope/any.rs"]
mod any;
#[path = "envelope/bodies.rs"]
mod bodies;
#[path = "envelope/forgotten.rs"]
mod forgotten;
#[path = "envelope/hostile.rs"]
mod hostile;
#[path = "envelope/round_trip.rs"]
mod round_trip;
#[path = "envelope/speak.rs"]
mod speak;
