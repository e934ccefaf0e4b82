//! What has been measured: criterion's samples, and the records of what criterion does not measure.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A median between its quartiles.
#[derive(Clone, Copy)]
pub struct Spread {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Spread {
    pub fn exactly(value: f64) -> Self {
        Self {
            lower: value,
            median: value,
            upper: value,
        }
    }

    pub fn over(self, other: Self) -> Self {
        Self {
            lower: self.lower / other.upper,
            median: self.median / other.median,
            upper: self.upper / other.lower,
        }
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            lower: self.lower - other.upper,
            median: self.median - other.median,
            upper: self.upper - other.lower,
        }
    }

    pub fn times(self, factor: f64) -> Self {
        Self {
            lower: self.lower * factor,
            median: self.median * factor,
            upper: self.upper * factor,
        }
    }
}

/// All results, by name.
pub struct Measured {
    /// Nanoseconds for each event, or for each round where a benchmark has none; by criterion's `group/function/value`.
    times: BTreeMap<String, Spread>,
    records: BTreeMap<String, Value>,
}

impl Measured {
    /// Reads what lies in the target folder.
    pub fn read(target: &Path) -> Self {
        let mut times = BTreeMap::new();
        let mut folders = vec![target.join("criterion")];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let subfolders = entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir());
            for path in subfolders {
                match path.ends_with("new") {
                    true => times.extend(read_samples(&path)),
                    false => folders.push(path),
                }
            }
        }
        let files = fs::read_dir(target.join("bench-records"))
            .into_iter()
            .flatten()
            .flatten();
        let records = files.filter_map(|file| {
            let path: PathBuf = file.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            Some((name, read_json(&path)?))
        });
        Self {
            times,
            records: records.collect(),
        }
    }

    pub fn time(&self, name: &str) -> Option<Spread> {
        self.times.get(name).copied()
    }

    /// Nanoseconds for each event, where a group measures CPU time: of wall time (`wall`), or of the CPU time of the thread
    /// that was busiest (`busiest`).
    pub fn beside(&self, what: &str, name: &str) -> Option<Spread> {
        let record = self.records.get(&format!("{what} {name}"))?;
        let number = |name: &str| record.get(name)?.as_f64();
        Some(Spread {
            lower: number("lower")?,
            median: number("median")?,
            upper: number("upper")?,
        })
    }

    pub fn record(&self, name: &str, field: &str) -> Option<f64> {
        self.records.get(name)?.get(field)?.as_f64()
    }

    /// The field of all records whose name begins so, by what follows in the name.
    pub fn records(&self, prefix: &str, field: &str) -> impl Iterator<Item = (&str, f64)> {
        self.records.iter().filter_map(move |(name, record)| {
            Some((name.strip_prefix(prefix)?, record.get(field)?.as_f64()?))
        })
    }

    /// Everything, for those who want to know more than the ratios.
    pub fn table(&self) -> String {
        let mut text = String::from("| benchmark | median | quartiles |\n|---|---|---|\n");
        for (name, spread) in &self.times {
            let Spread {
                lower,
                median,
                upper,
            } = spread;
            let _ = writeln!(
                text,
                "| {name} | {} | {} - {} |",
                time(*median),
                time(*lower),
                time(*upper)
            );
        }
        text += "\n| record | |\n|---|---|\n";
        for (name, record) in &self.records {
            let fields = record.as_object().into_iter().flatten();
            let fields = fields.map(|(field, value)| {
                let value = value.as_f64().unwrap_or_default();
                format!("{field} {}", (value * 100.0).round() / 100.0)
            });
            let _ = writeln!(
                text,
                "| {name} | {} |",
                fields.collect::<Vec<_>>().join(", ")
            );
        }
        text
    }
}

/// Nanoseconds, as people read them.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e4 => format!("{nanoseconds:.0} ns"),
        ..1e7 => format!("{:.1} us", nanoseconds / 1e3),
        _ => format!("{:.1} ms", nanoseconds / 1e6),
    }
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn read_samples(folder: &Path) -> Option<(String, Spread)> {
    let benchmark = read_json(&folder.join("benchmark.json"))?;
    let sample = read_json(&folder.join("sample.json"))?;
    let numbers = |name: &str| {
        let numbers = sample.get(name)?.as_array()?;
        Some(numbers.iter().filter_map(Value::as_f64).collect::<Vec<_>>())
    };
    let elements = benchmark
        .pointer("/throughput/Elements")
        .and_then(Value::as_f64)
        .unwrap_or(1.0);
    let rounds = numbers("iters")?;
    let times = numbers("times")?.into_iter().zip(rounds);
    let mut samples: Vec<_> = times
        .map(|(time, rounds)| time / rounds / elements)
        .collect();
    samples.sort_by(f64::total_cmp);
    let at = |quarters: usize| {
        samples
            .get((samples.len().checked_sub(1)?) * quarters / 4)
            .copied()
    };
    let spread = Spread {
        lower: at(1)?,
        median: at(2)?,
        upper: at(3)?,
    };
    Some((benchmark.get("full_id")?.as_str()?.to_owned(), spread))
}
