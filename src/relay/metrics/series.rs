//! What is counted, and its text. Each value is counted at once, and none is kept: nobody may ever ask for the text.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use foldhash::fast::RandomState;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    atomics::AtomicU64,
};

/// All series, by their names.
pub(super) struct AllSeries {
    /// Those of histograms; one that is not among them is not counted.
    bounds: Vec<(&'static str, &'static [f64])>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    families: BTreeMap<String, Family>,
    /// The same series, without a text of their labels: each request looks for a dozen.
    by_key: HashMap<Key, Series, RandomState>,
}

/// Those of one name.
#[derive(Default)]
struct Family {
    help: String,
    /// By their labels, as the text has them.
    series: BTreeMap<String, Series>,
}

#[derive(Clone)]
enum Series {
    Counter(Arc<AtomicU64>),
    /// The bits of a floating point number.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// How many values there were up to each bound.
struct Buckets {
    bounds: &'static [f64],
    /// One more than there are bounds, each without those before it.
    counts: Vec<AtomicU64>,
    /// The bits of a floating point number.
    sum: AtomicU64,
}

impl AllSeries {
    pub(super) fn new(bounds: Vec<(&'static str, &'static [f64])>) -> Self {
        Self {
            bounds,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &KeyName, help: &str) {
        let families = &mut self.known().families;
        families.entry(name.as_str().to_owned()).or_default().help = help.to_owned();
    }

    /// That with these labels.
    fn get(&self, key: &Key, new: impl FnOnce() -> Series) -> Series {
        let mut known = self.known();
        if let Some(series) = known.by_key.get(key) {
            return series.clone();
        }
        let labels: Vec<_> = key
            .labels()
            .map(|label| as_text(label.key(), label.value()))
            .collect();
        let family = known.families.entry(key.name().to_owned()).or_default();
        let series = family.series.entry(labels.join(","));
        let series = series.or_insert_with(new).clone();
        known.by_key.insert(key.clone(), series.clone());
        series
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.known().families {
            let Some(kind) = family.series.values().next().map(Series::kind) else {
                continue;
            };
            let name = with_underscores(name);
            if !family.help.is_empty() {
                let _ = writeln!(text, "# HELP {name} {}", family.help);
            }
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (labels, series) in &family.series {
                series.write(&mut text, &name, labels);
            }
            text.push('\n');
        }
        text
    }
}

impl Recorder for AllSeries {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, &description);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, &description);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.get(key, || Series::Counter(Arc::default())) {
            Series::Counter(counter) => Counter::from_arc(counter),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.get(key, || Series::Gauge(Arc::default())) {
            Series::Gauge(gauge) => Gauge::from_arc(gauge),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut bounds = self.bounds.iter();
        let Some(&(_, bounds)) = bounds.find(|(known, _)| *known == key.name()) else {
            return Histogram::noop();
        };
        match self.get(key, || Series::Histogram(Arc::new(Buckets::new(bounds)))) {
            Series::Histogram(buckets) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }
}

impl Series {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let all = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let _ = match self {
            Self::Counter(count) => writeln!(text, "{name}{all} {}", count.load(Relaxed)),
            Self::Gauge(bits) => {
                writeln!(text, "{name}{all} {}", f64::from_bits(bits.load(Relaxed)))
            }
            Self::Histogram(buckets) => {
                let count = buckets.write(text, name, labels);
                let sum = f64::from_bits(buckets.sum.load(Relaxed));
                writeln!(text, "{name}_sum{all} {sum}\n{name}_count{all} {count}")
            }
        };
    }
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0f64.to_bits()),
        }
    }

    /// Writes the buckets, and gives how many values are in them.
    fn write(&self, text: &mut String, name: &str, labels: &str) -> u64 {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = self.bounds.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, more) in bounds.zip(&self.counts) {
            count += more.load(Relaxed);
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            );
        }
        count
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(count as u64, Relaxed);
        if value == 0.0 {
            return;
        }
        let more = value * count as f64;
        let add = |bits| Some((f64::from_bits(bits) + more).to_bits());
        // It always adds.
        let _ = (self.sum).fetch_update(Relaxed, Relaxed, add);
    }
}

fn as_text(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{}=\"{value}\"", with_underscores(name))
}

/// A name as Prometheus takes it.
fn with_underscores(name: &str) -> String {
    name.replace(|char: char| !char.is_ascii_alphanumeric(), "_")
}

#[cfg(test)]
mod tests {
    use metrics::{
        counter, describe_counter, describe_histogram, gauge, histogram, with_local_recorder,
    };

    use super::*;

    #[test]
    fn text_is_what_prometheus_reads() {
        let all = AllSeries::new(vec![("a.seconds", &[0.1, 1.0])]);
        with_local_recorder(&all, || {
            describe_histogram!("a.seconds", Unit::Seconds, "How long it takes.");
            describe_counter!("never", Unit::Count, "What is not counted is not there.");
            for value in [0.0, 0.1, 0.11, 1.0, 7.5] {
                histogram!("a.seconds", "wire.name" => "a\"b\\\n").record(value);
            }
            histogram!("a.seconds").record_many(0.25, 2);
            histogram!("of.no.bounds").record(1.0);
            counter!("b-count", "x" => "1", "y" => "2").increment(3);
            counter!("b-count", "x" => "1", "y" => "2").increment(1);
            // What has the name of another kind is not counted.
            gauge!("b-count", "x" => "1", "y" => "2").increment(1.0);
            gauge!("c").increment(2.5);
            gauge!("c").decrement(1.0);
        });
        let expected = r#"# HELP a_seconds How long it takes.
# TYPE a_seconds histogram
a_seconds_bucket{le="0.1"} 0
a_seconds_bucket{le="1"} 2
a_seconds_bucket{le="+Inf"} 2
a_seconds_sum 0.5
a_seconds_count 2
a_seconds_bucket{wire_name="a\"b\\\n",le="0.1"} 2
a_seconds_bucket{wire_name="a\"b\\\n",le="1"} 4
a_seconds_bucket{wire_name="a\"b\\\n",le="+Inf"} 5
a_seconds_sum{wire_name="a\"b\\\n"} 8.71
a_seconds_count{wire_name="a\"b\\\n"} 5

# TYPE b_count counter
b_count{x="1",y="2"} 4

# TYPE c gauge
c 1.5

"#;
        assert_eq!(all.text(), expected);
    }
}
