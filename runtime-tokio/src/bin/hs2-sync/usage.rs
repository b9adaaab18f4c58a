//! What this process has used: CPU time and peak memory, as the operating system counts them.

/// CPU seconds of all threads of this process, in user and system mode.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The most memory that was ever resident; `None` on systems without `/proc`.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    parse_peak_rss(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak_rss(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_its_own_line() {
        let status = "Name:\ths2-sync\nVmPeak:\t  999 kB\nVmHWM:\t   5120 kB\nVmRSS:\t  100 kB\n";
        assert_eq!(parse_peak_rss(status), Some(5 << 20));
        assert_eq!(parse_peak_rss("VmHWM:\tmany\n"), None);
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
