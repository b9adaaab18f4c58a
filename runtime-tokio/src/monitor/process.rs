//! Figures of the whole process, under the names that all programs have for them.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::wall_clock;

/// Ticks a second in which Linux tells programs when a process began, whatever it counts by itself.
const TICKS: f64 = 100.0;

/// The operating system's figures of this process. Figures that it doesn't give stay zero.
#[derive(Debug, Default)]
pub(super) struct ProcessFigures {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    most_files: Gauge,
    started: Gauge<f64, AtomicU64>,
}

impl ProcessFigures {
    pub(super) fn register(&self, registry: &mut Registry) {
        let process = registry.sub_registry_with_prefix("process");
        process.register_with_unit("cpu", "CPU time of all threads", Unit::Seconds, self.cpu.clone());
        let resident = self.resident.clone();
        process.register_with_unit("resident_memory", "Memory that is resident", Unit::Bytes, resident);
        let addresses = self.virtual_memory.clone();
        process.register_with_unit("virtual_memory", "Addresses that are in use", Unit::Bytes, addresses);
        process.register("open_fds", "Open files and sockets", self.open_files.clone());
        process.register("max_fds", "Most files and sockets that may be open", self.most_files.clone());
        let started = self.started.clone();
        process.register_with_unit("start_time", "Start of the process since 1970", Unit::Seconds, started);
    }

    /// Asks the operating system.
    pub(super) fn update(&self) {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9;
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let status = read("self/status");
        self.resident.set(number_after(&status, "VmRSS:").saturating_mul(1024));
        self.virtual_memory.set(number_after(&status, "VmSize:").saturating_mul(1024));
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.open_files.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.most_files.set(number_after(&read("self/limits"), "Max open files"));
        if self.started.get() == 0.0
            && let Some(age) = age(&read("self/stat"), up())
        {
            self.started.set(wall_clock().get() as f64 / 1e3 - age);
        }
    }
}

/// The first number behind `name` on its line; zero where there is none.
fn number_after(text: &str, name: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Seconds since the machine began; zero where the system doesn't count them.
fn up() -> f64 {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
    #[cfg(not(target_os = "linux"))]
    0.0
}

/// Seconds since this process began, where the machine began `up` seconds ago.
fn age(stat: &str, up: f64) -> Option<f64> {
    // The name in it may hold anything. The start is the 22nd field.
    let (_, fields) = stat.rsplit_once(") ")?;
    let began: f64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some((up - began / TICKS).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_read_from_its_own_line() {
        let status = "VmPeak:\t 9 kB\nVmSize:\t  700 kB\nVmRSS:\t  100 kB\n";
        assert_eq!((number_after(status, "VmRSS:"), number_after(status, "VmSize:")), (100, 700));
        let limits =
            "Max processes             7      7      processes\nMax open files            1024      4096      files\n";
        assert_eq!(number_after(limits, "Max open files"), 1024);
        assert_eq!(number_after("Max open files  unlimited", "Max open files"), 0);
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 5000 1000 10";
        assert_eq!(age(stat, 60.5), Some(10.5));
        assert_eq!(age("7 (a", 60.5), None);
    }

    #[test]
    fn this_process_has_figures() {
        let figures = ProcessFigures::default();
        figures.update();
        assert!(figures.cpu.get() > 0.0);
        #[cfg(target_os = "linux")]
        {
            assert!(figures.resident.get() > 0 && figures.open_files.get() > 2);
            assert!(figures.started.get() > 1.6e9 && figures.started.get() <= wall_clock().get() as f64 / 1e3);
        }
    }
}
