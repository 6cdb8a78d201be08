//! The bounds of the edge: default, unit, reason, who pays.

use std::time::Duration;

/// Largest request body, in bytes: a pod with its ConfigMaps fits into one link message. The caller pays: 413.
pub(super) const MAX_BODY: usize = 16 << 20;
/// A request body must be there in this time. The caller pays: 408.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Request line and header fields, in bytes. The caller pays: 431.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// Header fields of a request. The caller pays: 431.
pub(super) const MAX_HEADERS: usize = 64;
/// Request target, in bytes. The caller pays: 414.
pub(super) const MAX_TARGET: usize = 2 << 10;
/// A request head must be complete in this time after its first byte, the first one after the accept. The
/// caller pays: its connection is closed.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is kept this long: a virtual kubelet with TLS never closes its own.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// HTTP connections at once on a listener. The next one pays: 503 with Retry-After.
pub(super) const MAX_CONNECTIONS: usize = 4096;
/// Link upgrades under way at once. The next one pays: 503 with Retry-After.
pub(super) const MAX_HANDSHAKES: usize = 512;
/// An upgraded connection must be handed over in this time.
pub(super) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// On shutdown open requests may take this long.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Session header and traceparent, in bytes: they travel as call metadata.
pub(super) const MAX_CARRIED: usize = 256;
/// Retry-After when the hub has no better wish, in seconds.
pub(super) const RETRY_AFTER: u64 = 5;
