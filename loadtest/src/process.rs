//! What a process has used: processor time and memory, read from `/proc`.
//!
//! In: a process id. Out: seconds and bytes. Always: user and system time of the whole process, threads that
//! have ended included; by thread, only of those that are there.

use std::{collections::BTreeMap, fs, time::Duration};

/// The kernel counts `/proc` times in hundredths of a second (`USER_HZ`, fixed by the Linux ABI).
const TICK: Duration = Duration::from_millis(10);

/// Processor time by the name of a thread.
pub type ThreadTimes = BTreeMap<String, Duration>;

/// User and system time that a process has used so far; zero when there is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(Duration::ZERO, |stat| time_of(&stat))
}

/// The same of each of its threads. Threads whose names differ only in a number at the end count as one.
pub fn thread_times(pid: u32) -> ThreadTimes {
    let mut times = ThreadTimes::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    for task in tasks.flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        *times.entry(thread_name(&stat)).or_default() += time_of(&stat);
    }
    times
}

/// What each thread has used between two looks.
pub fn spent(before: &ThreadTimes, after: ThreadTimes) -> ThreadTimes {
    let at = |name: &String| before.get(name).copied().unwrap_or_default();
    let spent = after.into_iter().map(|(name, time)| {
        let spent = time.saturating_sub(at(&name));
        (name, spent)
    });
    spent.collect()
}

/// User and system time of a `stat` line: its 14th and 15th field.
fn time_of(stat: &str) -> Duration {
    // The name may hold spaces: fields are counted behind its closing parenthesis.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Duration::ZERO;
    };
    let ticks: u32 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<u32>().ok())
        .sum();
    TICK * ticks
}

fn thread_name(stat: &str) -> String {
    let name = stat
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'))
        .map_or("", |(name, _)| name);
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    if plain.is_empty() { name } else { plain }.to_owned()
}

/// Resident memory of a process in bytes; zero when there is no such process.
pub fn resident_bytes(pid: u32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (rdk:broker-1) S 1 7 7 0 -1 4194304 10 0 0 0 12 3 99 99 20 0 1 0 5 6 7 8";

    #[test]
    fn time_is_user_and_system_time_whatever_the_name() {
        assert_eq!(time_of(STAT), Duration::from_millis(150));
        assert_eq!(
            time_of(&STAT.replace("rdk:broker-1", "a b) c")),
            Duration::from_millis(150)
        );
        assert_eq!(time_of("nothing"), Duration::ZERO);
    }

    #[test]
    fn threads_of_a_pool_have_one_name() {
        assert_eq!(thread_name(STAT), "rdk:broker");
        assert_eq!(thread_name("7 (full_path-05b) S"), "full_path-05b");
        assert_eq!(thread_name("7 (42) S"), "42");
    }

    #[test]
    fn a_thread_that_came_between_two_looks_has_spent_all_its_time() {
        let times = |of: &[(&str, u64)]| -> ThreadTimes {
            let each = of.iter();
            each.map(|(name, ms)| ((*name).to_owned(), Duration::from_millis(*ms)))
                .collect()
        };
        let spent = spent(&times(&[("a", 10), ("gone", 5)]), times(&[("a", 30), ("new", 7)]));
        assert_eq!(spent, times(&[("a", 20), ("new", 7)]));
    }

    #[test]
    fn this_process_has_threads_that_have_used_time_and_memory() {
        let pid = std::process::id();
        assert!(!thread_times(pid).is_empty());
        assert!(resident_bytes(pid) > 0);
        assert_eq!(thread_times(u32::MAX), ThreadTimes::new());
    }
}
