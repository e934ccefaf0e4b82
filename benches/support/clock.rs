//! Clocks of the system, which processes share.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

fn since_zero(time: Timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time since some moment that is the same for all processes.
pub fn monotonic() -> Duration {
    since_zero(clock_gettime(ClockId::Monotonic))
}

/// The CPU time of this process, kernel and all threads included.
pub fn process_cpu() -> Duration {
    since_zero(clock_gettime(ClockId::ProcessCPUTime))
}
