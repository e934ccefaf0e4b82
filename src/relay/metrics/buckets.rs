//! Histograms that count at once. The exporter's keep each value until somebody asks for the text, and nobody may ever ask.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The histograms of a recorder, by their names.
pub(super) struct Histograms {
    bounds: Vec<(&'static str, &'static [f64])>,
    known: Mutex<BTreeMap<&'static str, Family>>,
}

#[derive(Default)]
struct Family {
    help: String,
    /// By their labels, as the text has them.
    series: BTreeMap<String, Arc<Buckets>>,
}

/// How many values there were up to each bound.
pub(super) struct Buckets {
    bounds: &'static [f64],
    /// One more than there are bounds, each without those before it.
    counts: Vec<AtomicU64>,
    /// The bits of a floating point number.
    sum: AtomicU64,
}

impl Histograms {
    pub(super) fn new(bounds: Vec<(&'static str, &'static [f64])>) -> Self {
        Self {
            bounds,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, name: &str) -> Option<(&'static str, &'static [f64])> {
        let mut bounds = self.bounds.iter();
        bounds.find(|(known, _)| *known == name).copied()
    }

    pub(super) fn describe(&self, name: &str, help: &str) {
        if let Some((name, _)) = self.of(name) {
            self.known().entry(name).or_default().help = help.to_owned();
        }
    }

    /// That with these labels; `None` of a name that is not known.
    pub(super) fn get<'a>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Option<Arc<Buckets>> {
        let (name, bounds) = self.of(name)?;
        let labels: Vec<_> = labels.map(label).collect();
        let mut known = self.known();
        let series = &mut known.entry(name).or_default().series;
        let buckets = series
            .entry(labels.join(","))
            .or_insert_with(|| Arc::new(Buckets::new(bounds)));
        Some(buckets.clone())
    }

    /// Adds all of it, as Prometheus reads it.
    pub(super) fn write(&self, text: &mut String) {
        for (name, family) in &*self.known() {
            let name = with_underscores(name);
            if family.series.is_empty() {
                continue;
            }
            let _ = writeln!(text, "# HELP {name} {}", family.help);
            let _ = writeln!(text, "# TYPE {name} histogram");
            for (labels, buckets) in &family.series {
                buckets.write(text, &name, labels);
            }
            text.push('\n');
        }
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

    /// So many values.
    pub(super) fn add(&self, value: f64, count: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(count, Ordering::Relaxed);
        if value == 0.0 {
            return;
        }
        let more = value * count as f64;
        let add = |bits| Some((f64::from_bits(bits) + more).to_bits());
        // It always adds.
        let _ = (self.sum).fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = self.bounds.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, more) in bounds.zip(&self.counts) {
            count += more.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            );
        }
        let labels = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        let _ = writeln!(
            text,
            "{name}_sum{labels} {sum}\n{name}_count{labels} {count}"
        );
    }
}

fn label((name, value): (&str, &str)) -> String {
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
