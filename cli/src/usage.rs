//! Usage of this process: CPU time and memory, as the operating system counts them.

use crate::screen::complain;

/// CPU seconds of all threads of this process, in user and system mode.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// CPU microseconds of another process; zero where the system doesn't say.
pub(crate) fn cpu_micros_of(process: u32) -> u64 {
    std::fs::read_to_string(format!("/proc/{process}/stat")).ok().and_then(|stat| parse_cpu(&stat)).unwrap_or(0)
}

fn parse_cpu(stat: &str) -> Option<u64> {
    /// Microseconds of a tick: Linux counts hundredths of a second for programs, whatever it does itself.
    const TICK: u64 = 10_000;
    // The name before it may hold anything. User and system time are the 14th and the 15th field.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(times.next()?.saturating_add(times.next()?).saturating_mul(TICK))
}

/// The same as [`peak_rss_bytes`] of another process.
pub(crate) fn peak_rss_bytes_of(process: u32) -> Option<u64> {
    parse_memory(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmHWM:")
}

/// Keeps this process, and what it starts, on one core, where the system can do that.
pub(crate) fn stay_on(core: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut cores = rustix::thread::CpuSet::new();
        if core < rustix::thread::CpuSet::MAX_CPU {
            cores.set(core);
        }
        if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
            complain(format_args!("not kept on core {core}: {error}"));
        }
    }
    #[cfg(not(target_os = "linux"))]
    complain(format_args!("this system keeps no process on core {core}"));
}

/// The most memory that was ever resident; `None` on systems without `/proc`.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    parse_memory(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory that is resident now; `None` on systems without `/proc`.
pub(crate) fn rss_bytes() -> Option<u64> {
    parse_memory(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn parse_memory(status: &str, what: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_read_from_its_own_line() {
        let status = "Name:\ths2-sync\nVmPeak:\t  999 kB\nVmHWM:\t   5120 kB\nVmRSS:\t  100 kB\n";
        assert_eq!(parse_memory(status, "VmHWM:"), Some(5 << 20));
        assert_eq!(parse_memory(status, "VmRSS:"), Some(100 << 10));
        assert_eq!(parse_memory("VmHWM:\tmany\n", "VmHWM:"), None);
    }

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 100 1000 10";
        assert_eq!(parse_cpu(stat), Some(3_000_000));
        assert_eq!(parse_cpu("7 (a"), None);
    }

    #[test]
    fn work_shows_in_cpu_time() {
        let before = cpu_seconds();
        let mut sum = 0u64;
        while cpu_seconds() - before < 0.01 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds() > before);
    }
}
