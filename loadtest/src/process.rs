//! What a process has used: processor time and memory, read from `/proc`.
//!
//! In: a process id. Out: seconds and bytes. Always: user and system time of the whole process, threads that
//! have ended included.

use std::time::Duration;

/// The kernel counts `/proc` times in hundredths of a second (`USER_HZ`, fixed by the Linux ABI).
const TICKS_PER_SECOND: u64 = 100;

/// User and system time that a process has used so far; zero when there is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Duration::ZERO;
    };
    // The command's name may hold spaces: fields are counted behind its closing parenthesis.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Duration::ZERO;
    };
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Resident memory of a process in bytes; zero when there is no such process.
pub fn resident_bytes(pid: u32) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    let kib = line
        .and_then(|l| l.split_whitespace().nth(1))
        .and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Processor time of the calling process.
pub fn own_cpu_time() -> Duration {
    cpu_time(std::process::id())
}
