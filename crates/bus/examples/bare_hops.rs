//! Two bare produce → consume hops: what the way of a notification costs before anything is done with it.
//!
//! In: as `bare_producer`, with `--rate 200` and `--warm-up 2` in place of `--in-flight`. Out: one line of JSON:
//! `hops`, `rate`, `p50_ms`, `p99_ms`, `max_ms` from the intended send time, `errors`, `cpu_us`, `records`.
//! Always: topics of its own, deleted at the end; a run that fails exits with 1 and says why on standard error.

#[path = "bare/hops.rs"]
mod hops;
#[allow(dead_code, reason = "shared with the other loops")]
#[path = "bare/settings.rs"]
mod settings;

use std::io::Write;

fn main() -> Result<(), settings::Failure> {
    let settings = settings::Settings::parse(std::env::args())?;
    let hopped = hops::run(&settings, 2)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&hopped)?)?;
    Ok(())
}
