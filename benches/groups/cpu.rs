//! Criterion's measure for what is work and not waiting: the CPU time of this process. Wall time would measure the server as
//! well, and on a shared machine the neighbours.

use std::{collections::HashMap, fs, time::Duration};

use criterion::{
    Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};

use crate::support::clock;

/// CPU time of the process, all threads together.
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock::process_cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        clock::process_cpu() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Formatter
    }
}

struct Formatter;

impl ValueFormatter for Formatter {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(
        &self,
        typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        WallTime
            .formatter()
            .scale_throughputs(typical, throughput, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}

/// The CPU time of each thread of this process, as Linux tells it; empty elsewhere.
pub fn threads_cpu() -> HashMap<String, Duration> {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let times = threads.filter_map(|thread| {
        let statistics = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanoseconds = statistics.split(' ').next()?.parse().ok()?;
        let id = thread.file_name().into_string().ok()?;
        Some((id, Duration::from_nanos(nanoseconds)))
    });
    times.collect()
}
