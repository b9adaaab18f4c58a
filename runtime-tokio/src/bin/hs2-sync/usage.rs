//! What this process has used: CPU time and memory, as the operating system counts them.

/// CPU seconds of all threads of this process, in user and system mode.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
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
    fn work_shows_in_cpu_time() {
        let before = cpu_seconds();
        let mut sum = 0u64;
        while cpu_seconds() - before < 0.01 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds() > before);
    }
}
