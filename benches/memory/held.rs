//! What this process holds: the allocator's count, and what Linux says.

use std::fs;

use super::ALLOCATOR;

pub fn heap_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    // A reallocation counts as bytes allocated or deallocated already.
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Pages in memory; 0 where the system does not say.
pub fn resident_bytes() -> usize {
    status("VmRSS:")
}

/// The most pages that were in memory since the last [`forget_peak`].
pub fn peak_bytes() -> usize {
    status("VmHWM:")
}

/// Where it can't be done the peak is that of all before, which is the stricter figure.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse().unwrap_or(0) * 1024)
}
