//! The ratios that must be reached.

use std::thread::available_parallelism;

use super::{
    held,
    measured::{Measured, Spread},
    relay,
};

/// What a value must be.
#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

pub struct Row {
    pub what: String,
    pub bound: Bound,
    pub unit: &'static str,
    /// Absent when it was not measured.
    pub value: Option<Spread>,
    /// The same ratio by instructions, where those were counted.
    pub instructions: Option<f64>,
    /// How many processors it takes, of a row that depends on it.
    pub processors: usize,
}

impl Row {
    pub fn is_reached(&self) -> Option<bool> {
        let value = self.value?.median;
        Some(match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        })
    }

    /// Whether the spread reaches over the bound.
    fn is_within_noise(&self) -> bool {
        let (Bound::AtLeast(bound) | Bound::AtMost(bound)) = self.bound;
        self.value
            .is_some_and(|value| (value.lower..value.upper).contains(&bound))
    }

    pub fn line(&self) -> String {
        let Self {
            what, bound, unit, ..
        } = self;
        let bound = match bound {
            Bound::AtLeast(bound) => format!(">= {bound}{unit}"),
            Bound::AtMost(bound) => format!("<= {bound}{unit}"),
        };
        let number = |value: f64| match value.abs() {
            100.0.. => format!("{value:.0}{unit}"),
            10.0.. => format!("{value:.1}{unit}"),
            _ => format!("{value:.2}{unit}"),
        };
        let value = self
            .value
            .map_or("-".to_owned(), |value| number(value.median));
        let spread = match self.value {
            Some(Spread { lower, upper, .. }) if lower < upper => {
                format!("{} - {}", number(lower), number(upper))
            }
            _ => String::new(),
        };
        let instructions = self.instructions.map_or(String::new(), number);
        let mut reached = match self.is_reached() {
            Some(true) => "reached".to_owned(),
            Some(false) => "**not reached**".to_owned(),
            None => "not measured".to_owned(),
        };
        if self.is_within_noise() {
            reached += ", within noise";
        }
        let available = available_parallelism().map_or(1, usize::from);
        if available < self.processors {
            let needed = self.processors;
            reached += &format!(": {needed} threads on {available} processors");
        }
        format!("| {what} | {bound} | {value} | {spread} | {instructions} | {reached} |\n")
    }
}

pub fn rows(measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    decode(measured, &mut rows);
    end_to_end(measured, &mut rows);
    latencies(measured, &mut rows);
    actors(measured, &mut rows);
    held::rows(measured, &mut rows);
    relay::rows(measured, &mut rows);
    rows
}

fn ratio(one: Option<Spread>, other: Option<Spread>) -> Option<Spread> {
    Some(one?.over(other?))
}

fn decode(measured: &Measured, rows: &mut Vec<Row>) {
    let time = |who: &str, how: &str| measured.time(&format!("decode/{who}/resp_text/{how}"));
    let instructions = |one: (&str, &str), other: (&str, &str)| {
        let count = |(who, how): (&str, &str)| {
            measured.record(
                &format!("instructions decode {who} resp_text {how}"),
                "per_event",
            )
        };
        Some(count(one)? / count(other)?)
    };
    for (peer, name, bound) in [
        ("upstream", "upstream's pipeline", 12.0),
        ("async_openai", "async-openai's decode", 18.0),
    ] {
        for (how, cut) in [("event", "per event"), ("1460", "1,460 B")] {
            rows.push(Row {
                what: format!("decode, {cut}: {name} over ours"),
                bound: Bound::AtLeast(bound),
                unit: "x",
                value: ratio(time(peer, how), time("ours", how)),
                instructions: instructions((peer, how), ("ours", how)),
                processors: 1,
            });
        }
    }
    for (how, cut) in [("event", "per event"), ("1460", "1,460 B")] {
        rows.push(Row {
            what: format!("decode, {cut}: ours over a memchr line scan"),
            bound: Bound::AtMost(4.0),
            unit: "x",
            value: ratio(time("ours", how), time("line_scan", how)),
            instructions: instructions(("ours", how), ("line_scan", how)),
            processors: 1,
        });
    }
    for (how, cut) in [("event", "per event"), ("1460", "1,460 B")] {
        let count = measured.record(&format!("allocations ours resp_text {how}"), "per_event");
        rows.push(Row {
            what: format!("decode, {cut}: allocations for each event"),
            bound: Bound::AtMost(0.2),
            unit: "",
            value: count.map(Spread::exactly),
            instructions: None,
            processors: 1,
        });
    }
    rows.push(Row {
        what: "decode: the whole body in one chunk over a chunk for each event".to_owned(),
        bound: Bound::AtMost(1.0),
        unit: "x",
        value: ratio(time("ours", "whole"), time("ours", "event")),
        instructions: instructions(("ours", "whole"), ("ours", "event")),
        processors: 1,
    });
}

fn end_to_end(measured: &Measured, rows: &mut Vec<Row>) {
    let cpu = |who: &str, how: &str| measured.time(&format!("end_to_end/{who}/{how}/1"));
    let chunks = [("event", "a chunk for each event"), ("8k", "8 KiB chunks")];
    for ((how, cut), bound) in chunks.into_iter().zip([2.0, 2.9]) {
        let instructions = |who: &str| {
            measured.record(
                &format!("instructions end_to_end {who} resp_text {how}"),
                "per_event",
            )
        };
        rows.push(Row {
            what: format!("end to end, {cut}: ours over awc's raw drain (CPU)"),
            bound: Bound::AtMost(bound),
            unit: "x",
            value: ratio(cpu("ours", how), cpu("awc_raw", how)),
            instructions: instructions("ours")
                .zip(instructions("awc_raw"))
                .map(|(ours, raw)| ours / raw),
            processors: 1,
        });
    }
    let bounds = [[5.0, 6.5], [7.5, 14.0]];
    for ((how, cut), bounds) in chunks.into_iter().zip(bounds) {
        let peers = [
            ("upstream", "upstream's pipeline"),
            ("async_openai", "async-openai"),
        ];
        for ((peer, name), bound) in peers.into_iter().zip(bounds) {
            rows.push(Row {
                what: format!("end to end, {cut}: {name} over ours (CPU)"),
                bound: Bound::AtLeast(bound),
                unit: "x",
                value: ratio(cpu(peer, how), cpu("ours", how)),
                instructions: None,
                processors: 1,
            });
        }
    }
}

fn latencies(measured: &Measured, rows: &mut Vec<Row>) {
    for (pace, described, bound) in [
        ("paced", "the rest 2 ms later", 1.2),
        ("full_speed", "at full speed", 1.3),
    ] {
        let time = |who: &str| measured.time(&format!("first_event/{who}/{pace}"));
        rows.push(Row {
            what: format!("first event, {described}: ours over awc's first byte"),
            bound: Bound::AtMost(bound),
            unit: "x",
            value: ratio(time("ours"), time("awc_raw")),
            instructions: None,
            processors: 1,
        });
    }
    let ends = [
        ("ours/delivery", "the final delivery", 1.0),
        ("ours/fin", "FIN, with the default drain", 60.0),
        ("ours_without_drain/fin", "FIN, without a drain", 1.0),
    ];
    for (name, what, bound) in ends {
        rows.push(Row {
            what: format!("from the terminal event to {what}"),
            bound: Bound::AtMost(bound),
            unit: " ms",
            value: measured
                .time(&format!("completion/{name}"))
                .map(|time| time.times(1e-6)),
            instructions: None,
            processors: 1,
        });
    }
    let count = |field: &str| measured.record("reused lifecycle ours", field);
    rows.push(Row {
        what: "streams that ended normally whose connection was used again".to_owned(),
        bound: Bound::AtLeast(100.0),
        unit: " %",
        value: count("reused")
            .zip(count("requests"))
            .map(|(reused, requests)| Spread::exactly(100.0 * reused / requests)),
        instructions: None,
        processors: 1,
    });
}

fn actors(measured: &Measured, rows: &mut Vec<Row>) {
    for streams in [1_000, 10_000] {
        let bytes = |who: &str| {
            let bytes = measured.record(&format!("idle {who} {streams}"), "heap_bytes");
            bytes.map(Spread::exactly)
        };
        rows.push(Row {
            what: format!("an idle stream of {streams}: bytes above awc's own"),
            bound: Bound::AtMost(1_024.0),
            unit: " B",
            value: bytes("ours")
                .zip(bytes("awc"))
                .map(|(ours, awc)| ours.minus(awc)),
            instructions: None,
            processors: 1,
        });
    }
    for (burst, bound) in [(64, 1.5), (4, 1.2), (1, 0.9)] {
        let count = |who: &str| {
            let name = format!("instructions deliver {who} 100 {burst}");
            measured.record(&name, "per_event")
        };
        let time = |who: &str| measured.time(&format!("deliver/{who}/100/burst_{burst}"));
        rows.push(Row {
            what: format!("100 subscribers, {burst} events at a time: tokio's broadcast over ours"),
            bound: Bound::AtLeast(bound),
            unit: "x",
            value: ratio(time("broadcast"), time("ours")),
            instructions: count("broadcast")
                .zip(count("ours"))
                .map(|(theirs, ours)| theirs / ours),
            processors: 1,
        });
    }
    // The workers, the thread of the subscribers, and over HTTP the server, each want a processor.
    for (how, described, processors) in [
        ("memory", "without a network", 3),
        ("8k", "over HTTP, 8 KiB chunks", 4),
    ] {
        for (what, clock) in [("busiest", "CPU of the busiest thread"), ("wall", "wall")] {
            let time = |threads: u32| {
                measured.beside(what, &format!("end_to_end ours_workers_{threads} {how}_64"))
            };
            rows.push(Row {
                what: format!("64 streams on 2 workers over 1, {described} ({clock})"),
                bound: Bound::AtLeast(1.6),
                unit: "x",
                value: ratio(time(1), time(2)),
                instructions: None,
                processors: match what {
                    "wall" => processors,
                    _ => 1,
                },
            });
        }
    }
}
