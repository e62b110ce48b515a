//! A bare rdkafka producer: what Kafka on this machine gives to anyone, to stand beside a measured figure.
//!
//! In: `--kafka host:port,… [--in-flight 200] [--size 300] [--seconds 10] [--partitions 12] [--replication 1]
//! [--linger-ms 0] [--keys 50] [--prefix bare] [--set name=value]…`. Out: one line of JSON on standard output: `rate`,
//! `p50_ms`, `p99_ms`, `errors`, `cpu_us`, `records`. Always: a topic of its own, deleted at the end; a run that
//! fails exits with 1 and says why on standard error.

#[path = "bare/produce.rs"]
mod produce;
#[allow(dead_code, reason = "shared with the other loops")]
#[path = "bare/settings.rs"]
mod settings;

use std::io::Write;

fn main() -> Result<(), settings::Failure> {
    let settings = settings::Settings::parse(std::env::args())?;
    let produced = produce::run(&settings)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&produced)?)?;
    Ok(())
}
