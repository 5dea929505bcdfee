//! What the system says of this process, read from `/proc` when somebody asks. Where there is none, nothing is said.

use std::fs;

/// Names of metrics with their values.
pub fn figures() -> Vec<(&'static str, f64)> {
    let mut figures = Vec::new();
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The folder that is being read is one of them.
        figures.push(("process_open_fds", open.count().saturating_sub(1) as f64));
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        figures.push(("process_max_fds", most as f64));
    }
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        figures.push(("process_cpu_seconds_total", stat.cpu_ticks as f64 / ticks));
        figures.push(("process_threads", stat.threads as f64));
        figures.push(("process_virtual_memory_bytes", stat.virtual_bytes as f64));
        figures.push(("process_resident_memory_bytes", stat.resident_pages as f64 * rustix::param::page_size() as f64));
        if let Some(boot) = boot_time() {
            figures.push(("process_start_time_seconds", boot + stat.start_ticks as f64 / ticks));
        }
    }
    figures
}

/// What is wanted of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Reads the line. The program's name in it can hold spaces and brackets; nothing after it can.
    fn parse(line: &str) -> Option<Self> {
        let rest: Vec<&str> = line.get(line.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        // The first field here is the third of proc(5).
        let field = |number: usize| rest.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    fs::read_to_string("/proc/stat").ok()?.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 500 0 0 0 120 30 0 0 20 0 7 0 9000 1048576 256 18446744073709551615 1";
        let stat = Stat { cpu_ticks: 150, threads: 7, start_ticks: 9_000, virtual_bytes: 1_048_576, resident_pages: 256 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn this_process_has_figures_that_can_be_true() {
        let figures = figures();
        let of = |name| figures.iter().find(|(found, _)| *found == name).unwrap_or_else(|| panic!("{name} is missing")).1;
        assert!(of("process_open_fds") >= 3.0 && of("process_open_fds") < of("process_max_fds"));
        assert!(of("process_resident_memory_bytes") > 1e6 && of("process_resident_memory_bytes") < of("process_virtual_memory_bytes"));
        let now = crate::clock::now().micros() as f64 / 1e6;
        assert!((now - 3_600.0..now + 5.0).contains(&of("process_start_time_seconds")));
    }
}
