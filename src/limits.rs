//! Every bound of the link and the hub: the default, its unit, the reason, and who pays when it is reached.

use std::time::Duration;

/// Largest WebSocket message after inflation, both ways, in bytes. A pod with ConfigMaps passes 1 MiB.
/// The caller pays: an oversized call fails locally with MESSAGE_TOO_LARGE.
pub const MAX_MESSAGE: usize = 16 << 20;
/// The least that a peer may declare as its largest message, in bytes: the largest chunk must fit. The peer pays: it
/// is refused at Register, with a text that says so, instead of dying of the first large message.
pub const MIN_MESSAGE: usize = 128 << 10;
/// Usual size of a log chunk, in bytes: control frames get through on slow uplinks.
pub const LOG_CHUNK: usize = 32 << 10;
/// Largest log or data chunk, in bytes. The sender pays: FLOW_VIOLATION ends its stream.
pub const MAX_LOG_CHUNK: usize = 64 << 10;
/// What a chunk costs beyond its bytes, so that empty chunks are not free (RUSTSEC-2026-0258).
pub const CHUNK_OVERHEAD: u64 = 64;
/// Initial log credit of a stream, in bytes.
pub const LOG_CREDIT: u64 = 256 << 10;
/// Log credit of a stream that flows, in bytes, unless its peer is [`NEAR`].
pub const LOG_CREDIT_FLOWING: u64 = 1 << 20;
/// A peer that opens a log within this time is near: the first grant covers many round trips, and a larger one only
/// drives what is on its way out of the caches (twice the CPU time a byte over loopback, docs/BENCHMARKS.md).
pub const NEAR: Duration = Duration::from_millis(5);
/// Bytes of one read of a plugin without flow control. The plugin pays: it answers the next read too.
pub const LOG_PULL: u64 = LOG_CREDIT;
/// Chunks of one such read at most: a plugin that sends line by line gets through, endless empty chunks do not. The
/// plugin pays: FLOW_VIOLATION ends its stream.
pub const LOG_PULL_CHUNKS: u64 = 65_536;
/// Data that either side may send on a call before any Credit, in bytes. The largest chunk fits even when the reader
/// holds back a quarter. The sender pays for more: FLOW_VIOLATION.
pub const BODY_CREDIT: u64 = 128 << 10;
/// Data credit of a body that flows, in bytes.
pub const BODY_CREDIT_FLOWING: u64 = 512 << 10;
/// One call in so many of those that a peer takes may carry bodies (HTTP pass-through), also counted while a cancelled one
/// is not answered: creates, deletes and status reads always have the others. The caller pays: RESOURCE_EXHAUSTED.
pub const BODY_CALLS_SHARE: u32 = 8;
/// Calls open at once. The caller pays: RESOURCE_EXHAUSTED.
pub const MAX_CALLS: u32 = 64;
/// Log streams open at once. The caller pays: RESOURCE_EXHAUSTED.
pub const MAX_LOG_STREAMS: u32 = 64;
/// Events sent and not acknowledged; then the plugin coalesces in its outbox.
pub const MAX_UNACKED_EVENTS: u32 = 256;
/// Frames are joined into one message up to about this many bytes; a lone frame is never delayed.
pub const PACKET_TARGET: usize = 64 << 10;
/// Frames in one packet at most: a packet of empty frames must not buy unbounded work.
pub const MAX_FRAMES: usize = 10_000;
/// How deep a message of the JSON path may nest. The sender pays: 1007.
pub const JSON_DEPTH: usize = 32;
/// Values in one message of the JSON path: a message of empty objects must not buy unbounded memory. A page of 1,000 pods
/// with ten containers each has fewer. The sender pays: 1007.
pub const JSON_VALUES: usize = 1 << 18;
/// Metadata of one call, keys and values, in bytes (as gRPC).
pub const MAX_METADATA: usize = 8 << 10;
/// Close reason, in bytes (RFC 6455 section 5.5: 125 less the code).
pub const MAX_CLOSE_REASON: usize = 123;
/// States in one page of GetStatus.
pub const MAX_STATUS_PAGE: usize = 1_000;
/// Features and labels in Register.
pub const MAX_LABELS: usize = 64;
/// Text fields outside payloads, in bytes.
pub const MAX_TEXT: usize = 64 << 10;

/// Frames a second that a peer may start in the long run: calls, cancels, events, pings, and what fits nowhere. The
/// peer pays: above it, it is read no faster; nothing is lost and nothing closed. The hub bounds its plugins so.
pub const PEER_FRAMES_PER_SECOND: u32 = 2_000;
/// Frames that a peer may start at once, after a rest: a plugin that comes back with thousands of events.
pub const PEER_FRAMES_BURST: u32 = 4_000;
/// Frames that each create and delete of this side lets the peer start besides: what its pod does in its life. The hub
/// pays, as often as it asks: else a plugin that starts a pod in no time would be read no faster just for that.
pub const PEER_FRAMES_A_CALL: u32 = 4;
/// WebSocket pings a second in the long run. Nobody needs more than one; each costs an answer. The peer pays: 4504.
pub const SOCKET_PINGS_PER_SECOND: u32 = 2;
/// WebSocket pings at once: what a client that pings every second has sent while this side did not read for a while.
pub const SOCKET_PINGS_BURST: u32 = 100;

/// Deadline of a create: below the virtual kubelet's 120 s.
pub const CREATE_TIMEOUT: Duration = Duration::from_secs(110);
/// Deadline of a delete.
pub const DELETE_TIMEOUT: Duration = Duration::from_secs(30);
/// Deadline of a status call.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(30);
/// Deadline of a log stream's open acknowledgement.
pub const LOG_OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Register must come this soon after the upgrade.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
/// The slot of a cancelled call stays taken this long if no Response comes (CVE-2023-44487).
pub const CANCEL_LINGER: Duration = Duration::from_secs(30);

/// How long a create waits for an absent plugin.
pub const CREATE_HOLD: Duration = Duration::from_secs(50);
/// How long pinglink stays good after a plugin was lost.
pub const PING_GRACE: Duration = Duration::from_secs(60);
/// How long a log viewer stays open without its plugin.
pub const LOG_HOLD: Duration = Duration::from_secs(60);
/// Pause of a followed log between two reads of a plugin without flow control, after bytes came.
pub const LOG_PULL_SOON: Duration = Duration::from_millis(250);
/// The pause doubles up to this while nothing comes: no one waits longer for a new line.
pub const LOG_PULL_LATE: Duration = Duration::from_secs(2);
/// A viewer that takes no byte for this long is closed.
pub const VIEWER_IDLE: Duration = Duration::from_secs(600);
/// Log bytes that the hub holds for all viewers. New streams pay: RESOURCE_EXHAUSTED.
pub const HUB_LOG_BUDGET: u64 = 512 << 20;
/// How often the hub pulls all states, though events come.
pub const ANTI_ENTROPY: Duration = Duration::from_secs(300);
/// The least that it may be set to: each read is a list of all pods, which the plugin pays.
pub const ANTI_ENTROPY_MIN: Duration = Duration::from_secs(1);
/// How often the hub pulls states from a plugin without events.
pub const POLL_STATUS: Duration = Duration::from_secs(10);
/// Two ABSENT answers this far apart make a pod lost.
pub const LOST_AFTER: Duration = Duration::from_secs(10);
/// Terminal pods are kept this long.
pub const TERMINAL_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Terminal pods kept at most.
pub const TERMINAL_MAX: usize = 10_000;

/// Pods of which the plugin remembers the job. The oldest is forgotten: for it the handler is asked again.
pub const PLUGIN_JOBS: usize = 10_000;
/// Pods of which the plugin remembers what it told last. The oldest is forgotten: it may be told twice.
pub const PLUGIN_TOLD: usize = 10_000;
/// Journal entries that wait for the disk, in bytes; past it one snapshot of everything is written instead.
pub const JOURNAL_BATCH: usize = 1 << 20;
/// A journal grows by this many bytes, or by the size of its snapshot, before it is written afresh.
pub const JOURNAL_GROWTH: usize = 4 << 20;
/// First delay before a journal that failed is tried again, doubling up to [`JOURNAL_RETRY_MAX`].
pub const JOURNAL_RETRY_MIN: Duration = Duration::from_secs(1);
/// Largest delay before a journal that failed is tried again.
pub const JOURNAL_RETRY_MAX: Duration = Duration::from_secs(30);
/// A write of the journal that takes longer makes the plugin not ready until it is done. Creates pay: NOT_READY.
pub const JOURNAL_STALL: Duration = Duration::from_secs(10);

/// The hub sends a Ping this often.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A Ping that is not followed by any frame for this long ends the link.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A call unanswered for this long triggers a Ping.
pub const CALL_PROBE: Duration = Duration::from_secs(10);
/// No link message for this long ends the link.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// No write progress for this long ends the link (yamux#142).
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// TCP_USER_TIMEOUT.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// First reconnect delay.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Largest reconnect delay.
pub const BACKOFF_MAX: Duration = Duration::from_secs(20);
/// Growth of the reconnect delay per try.
pub const BACKOFF_FACTOR: f64 = 1.6;
/// Jitter of the reconnect delay, either way.
pub const BACKOFF_JITTER: f64 = 0.2;
/// The delay starts afresh only after this much good life.
pub const BACKOFF_RESET: Duration = Duration::from_secs(60);
/// First delay after a takeover, doubling up to [`SUPERSEDED_MAX`].
pub const SUPERSEDED_MIN: Duration = Duration::from_secs(60);
/// Largest delay after a takeover.
pub const SUPERSEDED_MAX: Duration = Duration::from_secs(600);
/// Delay after a close that trying again will not mend.
pub const SLOW_RETRY: Duration = Duration::from_secs(300);
/// How long SIGTERM lets open calls finish.
pub const DRAIN_GRACE: Duration = Duration::from_secs(8);

/// How long a promise waits for the state directory. The caller pays: UNAVAILABLE.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// A state file of at least so many bytes is made smaller when it is opened, if half of it or more is free. The start
/// of the hub pays, with time.
pub const STORE_COMPACT_AT_OPEN: u64 = 16 << 20;
/// The same for a hub that runs. Promises wait meanwhile, so not more than [`STORE_COMPACT_USED`] is moved.
pub const STORE_COMPACT_RUNNING: u64 = 64 << 20;
/// Bytes in use of a state file that is made smaller while the hub runs.
pub const STORE_COMPACT_USED: u64 = 32 << 20;
/// How long a status call waits until what it tells is in the state directory. The caller pays: after it a state is
/// told that a crash of the hub may take back for a moment.
pub const SHOWN_STATE_WAIT: Duration = Duration::from_secs(1);
/// Plugin names that the hub remembers. A new name pays: 4005.
pub const HUB_PLUGINS: usize = 10_000;
/// Pods that the hub knows, over all plugins. A create pays: RESOURCE_EXHAUSTED; a state of one more is refused and
/// counted.
pub const HUB_PODS: usize = 200_000;
/// Creates and deletes under way in the hub at once. The caller pays: RESOURCE_EXHAUSTED.
pub const HUB_FLIGHTS: usize = 20_000;
/// Deletes that the hub keeps for absent plugins. The caller pays: RESOURCE_EXHAUSTED.
pub const HUB_DELETES_KEPT: usize = 10_000;
/// Bytes of pods in the deletes kept.
pub const HUB_DELETES_KEPT_BYTES: usize = 64 << 20;
/// Uids that were deleted and are not created any more; the oldest is let go first.
pub const HUB_TOMBSTONES: usize = 20_000;
/// Pages of one read of all pods. A plugin that has more pays: it does not get in sync.
pub const HUB_STATUS_PAGES: usize = 1_000;
/// Longest type, software, instance, feature and label text in Register, in bytes. The peer pays: 4504.
pub const REGISTER_WORD: usize = 256;
/// A peer that declares a message limit below this is warned about at Register, in bytes: a pod with ConfigMaps may
/// not get through.
pub const SMALL_MESSAGE: u64 = 1 << 20;
/// A takeover counts as a fight only if the old session was heard of this recently: else it was only half open.
pub const TAKEOVER_FRESH: Duration = Duration::from_secs(5);
/// This many such takeovers in [`TAKEOVER_SPAN`] raise an alarm.
pub const TAKEOVER_ALARM: usize = 3;
/// How long a takeover is remembered.
pub const TAKEOVER_SPAN: Duration = Duration::from_secs(3600);
// The HTTP edge.

/// Largest request body, in bytes: a pod with its ConfigMaps fits into one link message. The caller pays: 413.
pub const HTTP_MAX_BODY: usize = 16 << 20;
/// A request body must be there in this time. The caller pays: 408.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Request line and header fields, in bytes: all that is sent to a hub is a token and a session. The caller pays: 431.
pub const HTTP_MAX_HEAD: usize = 16 << 10;
/// Header fields of a request: a proxy's own are some twenty. The caller pays: 431.
pub const HTTP_MAX_HEADERS: usize = 64;
/// Request target, in bytes: the longest one that is meant is that of a log. The caller pays: 414.
pub const HTTP_MAX_TARGET: usize = 2 << 10;
/// A request head must be complete in this time after its first byte, the first one after the accept, so that
/// nobody holds a connection by trickling. The caller pays: its connection is closed.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is kept this long: a virtual kubelet with TLS never closes its own. The caller pays: it
/// connects again.
pub const HTTP_KEEP_ALIVE: Duration = Duration::from_secs(90);
/// HTTP connections at once on a listener, links not counted. The next one pays: 503 with Retry-After.
pub const HTTP_MAX_CONNECTIONS: usize = 4096;
/// Connections over the limit that are being told so; further ones are closed without a word.
pub const HTTP_MAX_TURNED_AWAY: usize = 128;
/// A refused connection is read on for this long, so that its last answer is not lost with unread bytes (a reset).
pub const HTTP_LINGER: Duration = Duration::from_secs(1);
/// Link upgrades under way at once: all plugins come back together after a restart. The next one pays: 503 with
/// Retry-After.
pub const HTTP_MAX_UPGRADES: usize = 512;
/// An upgraded connection must be handed over in this time.
pub const HTTP_UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// On shutdown open requests may take this long: a little more than the drain of the links, so that a create that a
/// plugin answers in that time is answered too. The caller pays: its connection is closed.
pub const HTTP_SHUTDOWN_GRACE: Duration = Duration::from_millis(8_500);
/// Session header and traceparent, in bytes: they travel as call metadata. A longer one is replaced.
pub const HTTP_MAX_CARRIED: usize = 256;
/// Retry-After when the hub has no better wish, in seconds.
pub const HTTP_RETRY_AFTER: u64 = 5;
/// Lines of JSON that have nothing to say are kept alive by a blank one this often.
pub const HTTP_HEARTBEAT: Duration = Duration::from_secs(20);
/// A reader of such lines takes the connection for lost after this much silence: three blank lines that did not come.
pub const HTTP_SILENCE: Duration = Duration::from_secs(60);
/// What a client's kernel takes in though the client reads nothing, in bytes: below half of the smallest usual window.
/// Up to so much of an answer a socket need not be told to wait for a reader that pauses.
pub const HTTP_TAKEN_IN: usize = 16 << 10;
/// TCP keepalive: a peer that is silent for this long is probed, so that one that has vanished is noticed also where
/// nothing is sent (a quiet log). With [`TCP_USER_TIMEOUT`] the probes go on until that much time has passed.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(20);
/// Time between two probes of TCP keepalive.
pub const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
// A plugin's settings.

/// The least first delay between two dials: the hub pays for each.
pub const RECONNECT_LEAST: Duration = Duration::from_millis(100);
/// The least time between two pings of the dialling side: the hub answers each.
pub const PING_INTERVAL_LEAST: Duration = Duration::from_secs(1);
/// Events, one a pod, that are kept for a hub that does not come. Past it they are let go of, and the hub pays: it reads
/// all states.
pub const OUTBOX_UNLINKED: usize = 20_000;
// The REST of a plugin.

/// Chunks of a log that wait for a reader in the plugin's own process, at most 64 KiB each. The log pays: it is read no
/// faster than it is taken.
pub const LOCAL_LOG_CHUNKS: usize = 4;
/// Connections at once to a plugin's REST. The next one pays: 503 with Retry-After.
pub const LOCAL_CONNECTIONS: usize = 1_024;
// HTTP pass-through: a plugin's own endpoints.

/// Head of a request to a plugin's endpoint, in bytes, each field counted with 32 more. The caller pays: 431.
pub const HTTP_PASSED_HEAD: usize = 8 << 10;
/// Head of a plugin's answer, counted in the same way. The plugin pays: 502.
pub const HTTP_ANSWER_HEAD: usize = 16 << 10;
/// Largest body of such a request, in bytes, unless the hub is set to another. It is never held whole, so this bounds time
/// and the site's traffic. The caller pays: 413.
pub const HTTP_PASSED_BODY: u64 = 64 << 20;
/// Such requests under way in the whole hub: each may hold twice [`BODY_CREDIT_FLOWING`]. The caller pays: 429.
pub const HUB_EXCHANGES: usize = 256;
/// The head of the answer must come this soon after the last byte of the request was taken. The caller pays: 504.
pub const HTTP_PASSED_ANSWER: Duration = Duration::from_secs(30);
/// A request with a body may take this long in all, up to the head of its answer. The caller pays: 504.
pub const HTTP_PASSED_UPLOAD: Duration = Duration::from_secs(3600);
/// A body of an answer that brings no byte for this long is ended. The reader pays: its answer is cut off.
pub const HTTP_PASSED_IDLE: Duration = Duration::from_secs(600);
// The HTTP way of the hub.

/// How long a plugin must have had no link before the hub calls it over HTTP: one that lost its link dials again after a
/// second, and each change of way costs a read of all its pods. Its creates and logs wait meanwhile.
pub const WAY_SETTLE: Duration = Duration::from_secs(3);
/// Messages under way between the hub and a bridge in its process, in each direction. The writer waits.
pub const WAY_MESSAGES: usize = 8;

// The REST bridge.

/// Connecting to the upstream plugin, TLS included. The call pays: UNAVAILABLE, nothing was begun.
pub const UPSTREAM_CONNECT: Duration = Duration::from_secs(5);
/// How long the upstream may take to answer a create: below [`CREATE_TIMEOUT`], so that the hub still asks what became of
/// it. The caller pays: SUBMIT_UNKNOWN.
pub const UPSTREAM_CREATE: Duration = Duration::from_secs(100);
/// How long the upstream may take to answer a delete, a ping or a status: below [`DELETE_TIMEOUT`] and [`STATUS_TIMEOUT`].
/// A delete pays with UNAVAILABLE and is repeated; a ping or status makes the plugin not ready until the next one.
pub const UPSTREAM_ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// No byte of an answer for this long ends it, but for a followed log. The reader pays: UNAVAILABLE.
pub const UPSTREAM_STALL: Duration = Duration::from_secs(60);
/// Largest answer that is held whole (status, create), in bytes. The upstream pays: its answer is not read.
pub const UPSTREAM_ANSWER: usize = 64 << 20;
/// Longest error text of the upstream that is passed on, in bytes.
pub const UPSTREAM_TEXT: usize = 16 << 10;
/// Connections to the upstream that are kept for the next call.
pub const UPSTREAM_IDLE: usize = 8;
/// They are kept this long: uvicorn closes its own after 5 s.
pub const UPSTREAM_IDLE_FOR: Duration = Duration::from_secs(4);
/// Pods of one upstream that the bridge knows. A create pays: QUOTA.
pub const UPSTREAM_PODS: usize = 10_000;
/// While pods are watched, one status call in so many is a ping: the one call of an interval is theirs.
pub const UPSTREAM_PING_EVERY: u32 = 30;
/// The upstream must have said for this long that it does not find a pod before it is told to be absent: one that has
/// just been started may not have read its records.
pub const UPSTREAM_NOT_FOUND: Duration = Duration::from_secs(30);
/// Status calls for which a pod is left out that the upstream could not be asked about; doubles up to
/// [`UPSTREAM_APART_MAX`].
pub const UPSTREAM_APART_MIN: u64 = 30;
/// Status calls for which a pod is left out at most.
pub const UPSTREAM_APART_MAX: u64 = 480;
/// Logs of which the bridge remembers how far they were read, and that it was the same log. The oldest is forgotten: then
/// a log that was replaced by a longer one while nobody read it is not noticed.
pub const UPSTREAM_LOGS: usize = 4_096;
/// Places in one such log that are remembered.
pub const UPSTREAM_LOG_MARKS: usize = 64;
/// Bytes at the begin of such a log that are remembered word for word, to find what was put into it later.
pub const UPSTREAM_LOG_HEAD: usize = 8 << 10;
/// Bytes of them that must be found again.
pub const UPSTREAM_LOG_ANCHOR: usize = 256;
/// Most bytes that may be put into a log in front of what was sent, at once; with more it is another log.
pub const UPSTREAM_LOG_GROWN: usize = 256 << 10;
/// Times that a log may grow so while its readers of before go on.
pub const UPSTREAM_LOG_RUNS: usize = 8;
/// First pause between two reads of a followed log, doubling up to [`UPSTREAM_LOG_LATE`] while nothing comes.
pub const UPSTREAM_LOG_SOON: Duration = Duration::from_millis(250);
/// Longest pause between two reads of a followed log.
pub const UPSTREAM_LOG_LATE: Duration = Duration::from_secs(2);
// Job scripts.

/// How long a job script may take, from the first request to its last byte, repeats and the wait for a turn included. The
/// caller pays: DEADLINE_EXCEEDED or UNAVAILABLE, and the virtual kubelet fails the pod.
pub const JOBSCRIPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The most that this can be set to: a create has its hold and its plugin's answer to wait for too.
pub const JOBSCRIPT_TIMEOUT_MAX: Duration = Duration::from_secs(50);
/// Largest job script, from a server or a template, in bytes: Slurm's own bound is 4 MiB. The caller pays:
/// FAILED_PRECONDITION.
pub const JOBSCRIPT: usize = 4 << 20;
/// Largest template file, in bytes. The start pays.
pub const JOBSCRIPT_TEMPLATE: u64 = 1 << 20;
/// Steps of the template engine for one script: a pod of a hundred containers takes some ten thousand. The caller pays:
/// FAILED_PRECONDITION.
pub const JOBSCRIPT_FUEL: u64 = 2_000_000;
/// Nesting of a template at run time (macros that call themselves). The caller pays: FAILED_PRECONDITION.
pub const JOBSCRIPT_RECURSION: usize = 100;
/// Scripts asked for or rendered at once. The next one waits, within its own time.
pub const JOBSCRIPTS_AT_ONCE: usize = 64;
/// First pause before a script server that cannot be reached, or says that it is busy, is asked again; doubles up to
/// [`JOBSCRIPT_PAUSE_MAX`].
pub const JOBSCRIPT_PAUSE: Duration = Duration::from_millis(250);
/// Longest such pause.
pub const JOBSCRIPT_PAUSE_MAX: Duration = Duration::from_secs(4);
/// Longest URL of a script server, in bytes. The caller pays: FAILED_PRECONDITION.
pub const JOBSCRIPT_URL: usize = 4 << 10;

// Compression.

/// Packets of fewer bytes are sent plain unless a setting says otherwise: what they would save is less than what the work
/// costs (`towline bench codec`). The line pays.
pub const COMPRESS_FROM: usize = 1 << 10;
/// The bounds of that setting: below, the header alone eats what is saved; above, nothing but the largest messages would
/// ever be compressed.
pub const COMPRESS_FROM_RANGE: std::ops::RangeInclusive<usize> = 64..=1 << 20;
/// Level of zstd unless a setting says otherwise: more costs more time than it saves bytes.
pub const COMPRESS_LEVEL: i32 = 1;
/// The bounds of that setting. A packet is compressed by the task of its link, so that higher levels would hold up a
/// thread for tens of milliseconds a packet. Every level that there is can be inflated.
pub const COMPRESS_LEVELS: std::ops::RangeInclusive<i32> = 1..=9;

// Listening.

/// Connections that the kernel completes before they are accepted; it caps this by net.core.somaxconn (4,096 since Linux
/// 5.4). After a restart of the hub all plugins dial within half a second. One more pays: its SYN is dropped.
pub const LISTEN_BACKLOG: u16 = 4096;

// The link over gRPC.

/// Bytes that a peer may have under way on a link: the window of HTTP/2, in bytes. Credit bounds what is sent for slow
/// readers, so this bounds only a link that is not read for a while, and must not throttle: 20 MB a second over 50 ms. The
/// receiver pays, with memory; the sender waits.
pub const GRPC_WINDOW: u32 = 1 << 20;
/// Calls at once on a connection: a plugin has one, a proxy may join a few. Each has its whole window within that of the
/// connection, so that one that is not read holds up no other. The next one waits, or takes another connection.
pub const GRPC_STREAMS: u32 = 4;
/// Largest DATA frame, in bytes: a joined packet comes in one frame and is not copied. The sender cuts.
pub const GRPC_FRAME: u32 = 128 << 10;
/// Header fields of a call, in bytes as HTTP/2 counts them. The caller pays: 431, or the connection.
pub const GRPC_HEADERS: u32 = 16 << 10;
/// Bytes of packets that wait for the peer's window; with more the next packet is not made. The link waits.
pub const GRPC_QUEUE: usize = 64 << 10;
/// Bytes that HTTP/2 holds for the socket. What is in it counts as sent, like what the kernel holds.
pub const GRPC_SEND_BUFFER: usize = 128 << 10;
/// What small DATA frames that were not read may cost, in bytes, at 256 less their own each: some 30,000 packets of a
/// stock client, well above what a hub that pauses leaves unread. The peer pays: its connection is ended.
pub const GRPC_SMALL_FRAMES: usize = 8 << 20;
/// A connection without a call is kept this long, from its accept and after its last call. The peer pays: it connects
/// again.
pub const GRPC_IDLE: Duration = Duration::from_secs(30);
/// A call that this side has reset is remembered this long, in real time, so that what still comes of it is dropped without
/// an answer: as long as a network may hold it back. At most 50 a connection. Nobody pays.
pub const GRPC_RESET_KEPT: Duration = Duration::from_secs(300);
/// Connections at once on a gRPC listener, links included: every plugin name twice, for those that come back before
/// their old connection was missed. The next one pays: it is told ENHANCE_YOUR_CALM.
pub const GRPC_CONNECTIONS: usize = 2 * HUB_PLUGINS;

/// The longest beginning of at most `max` bytes that ends between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
