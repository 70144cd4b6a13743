//! The allocator of the process, and how much memory the machine has.
//!
//! Tensors of some megabytes come and go with every operation. By default the C library of Linux hands such memory
//! back to the kernel when it is freed and gets it anew, page by page, cleared: up to 40 % of a training step.
#![allow(unsafe_code)] // one call into the C library

/// Keeps freed memory in the process instead of giving it back to the kernel. Call it once, first thing in `main`.
///
/// Does nothing but on Linux with the GNU C library. The process stays at its peak size until it ends.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes two numbers and has no preconditions; an unknown setting is ignored.
    unsafe {
        // 32 MiB is the largest threshold glibc accepts.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// Memory of this machine, or of the container that bounds this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// All of it, bytes.
    pub total: u64,
    /// What can be had without swapping, bytes.
    pub available: u64,
}

impl MachineMemory {
    /// Asks Linux; `None` elsewhere.
    pub fn now() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let group = |name: &str| read(&format!("/sys/fs/cgroup/memory.{name}"));
        Self::parse(&read("/proc/meminfo"), &group("max"), &group("current"), &group("stat"))
    }

    /// From `/proc/meminfo` and a control group's `memory.max`, `memory.current` and `memory.stat` (empty: no group).
    fn parse(meminfo: &str, max: &str, current: &str, stat: &str) -> Option<Self> {
        let kib = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        let machine = Self { total: kib("MemTotal")?, available: kib("MemAvailable")? };
        let Ok(limit) = max.trim().parse::<u64>() else { return Some(machine) };
        let used = current.trim().parse::<u64>().unwrap_or(0);
        // Pages of files are given back when memory is short.
        let files =
            stat.lines().find_map(|line| line.strip_prefix("file ")?.trim().parse().ok()).unwrap_or(0);
        let left = limit.saturating_sub(used.saturating_sub(files));
        Some(Self { total: machine.total.min(limit), available: machine.available.min(left) })
    }
}

/// The most memory this process has held at once, bytes; Linux only.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     600 kB\n";

    #[test]
    fn a_group_bounds_the_machine() {
        let kib = |total: u64, available: u64| {
            Some(MachineMemory { total: total << 10, available: available << 10 })
        };
        assert_eq!(MachineMemory::parse(MEMINFO, "", "", ""), kib(1000, 600));
        assert_eq!(MachineMemory::parse(MEMINFO, "max\n", "5\n", ""), kib(1000, 600));
        let (max, current) = ((500u64 << 10).to_string(), (300u64 << 10).to_string());
        let stat = format!("anon 7\nfile {}\n", 100u64 << 10);
        assert_eq!(MachineMemory::parse(MEMINFO, &max, &current, &stat), kib(500, 300));
        assert_eq!(MachineMemory::parse("", "", "", ""), None);
    }
}
