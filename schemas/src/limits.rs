//! Bounds on everything that a client can make large.
//!
//! In: nothing. Out: numbers, each with its unit. Always: a bound stands here once and is used by name.

/// Longest tenant id in bytes; tenant ids stand in Kafka topic names, which end at 249.
pub const TENANT_ID_BYTES: usize = 63;
/// Longest channel name in bytes.
pub const CHANNEL_BYTES: usize = 128;
/// Longest user id (a token's subject) in bytes.
pub const USER_ID_BYTES: usize = 128;
/// Longest correlation id in bytes.
pub const CORRELATION_ID_BYTES: usize = 128;
/// Longest idempotency key in bytes.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Longest `content` in bytes of UTF-8.
pub const CONTENT_BYTES: usize = 32 * 1024;
/// Longest `type` in bytes.
pub const TYPE_BYTES: usize = 128;
/// Longest `collapse_key` in bytes.
pub const COLLAPSE_KEY_BYTES: usize = 128;
/// Longest `ttl_seconds`: 30 days.
pub const TTL_SECONDS: u32 = 30 * 86_400;
/// How far ahead `deliver_at` may lie, in milliseconds: 30 days.
pub const SCHEDULE_AHEAD_MS: u64 = 30 * 86_400_000;
/// Longest `title` in bytes.
pub const TITLE_BYTES: usize = 512;
/// Largest notification body over HTTP in bytes.
pub const NOTIFICATION_BYTES: usize = 64 * 1024;
/// Largest inbound WebSocket frame and message in bytes.
pub const FRAME_IN_BYTES: usize = 64 * 1024;
/// Most channels that one subscribe frame may name.
pub const CHANNELS_PER_FRAME: usize = 100;
/// Most notifications that one ack frame may name.
pub const ACKS_PER_FRAME: usize = 100;
/// Most subscriptions that one socket may hold.
pub const SUBSCRIPTIONS_PER_SOCKET: usize = 100;
/// Most notifications that `last` on a subscribe frame or `n` on the snapshot route may ask for.
pub const LAST_N: u32 = 100;
/// Largest page of the deliveries route.
pub const PAGE_ROWS: u32 = 500;
/// Most dead letters that one redrive or discard may name by id.
pub const JOB_IDS: usize = 1_000;
/// Most dead letters or notifications per second that a job may move.
pub const JOB_RATE: u32 = 10_000;
/// Page size of the deliveries route when none is asked for.
pub const PAGE_ROWS_DEFAULT: u32 = 50;
