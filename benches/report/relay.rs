//! The rows of the relay. nginx is not everywhere: what is beside it is then not measured here.

use super::{
    measured::Measured,
    rows::{Bound, Row},
};

pub fn rows(measured: &Measured, rows: &mut Vec<Row>) {
    let mut row = |what: String, bound: Bound, unit: &'static str, name: &str, factor: f64| {
        let value = measured.beside("relay", name);
        rows.push(Row {
            what,
            bound,
            unit,
            value: value.map(|value| value.times(factor)),
            instructions: None,
            processors: 1,
        });
    };
    for (how, cut, bound) in [
        ("packet", "one packet a block", 1.2),
        ("burst", "bursts of 8 KiB", 0.9),
    ] {
        for streams in ["1", "200"] {
            let what = format!("relay, {cut}, {streams} streams: CPU over nginx's");
            let name = format!("ratio {how} {streams}");
            row(what, Bound::AtMost(bound), "x", &name, 1.0);
        }
    }
    let what = "relay, one packet a block, 20 streams: litellm's CPU over ours".to_owned();
    row(what, Bound::AtLeast(40.0), "x", "litellm packet 20", 1.0);
    for (how, cut) in [
        ("packet", "one packet a block"),
        ("burst", "bursts of 8 KiB"),
    ] {
        for streams in ["1", "200"] {
            let what = format!("relay, {cut}, {streams} streams: CPU for each block");
            let name = format!("cpu relay {how} {streams}");
            row(what, Bound::AtMost(4.0), " us", &name, 1e-3);
        }
    }
    for streams in [16, 64, 1_000] {
        for event in ["first", "later"] {
            let what = format!(
                "relay, {streams} streams of 50 events a second: what {event} events wait longer, p99"
            );
            let name = format!("added relay {event} {streams} p99");
            row(what, Bound::AtMost(0.5), " ms", &name, 1e-6);
        }
    }
    for (bytes, size, bound) in [(1_024, "1 KiB", 30.0), (16_384, "16 KiB", 80.0)] {
        for (how, said) in [
            ("relay", "made of a stream"),
            ("unchanged", "the server's own"),
        ] {
            let what = format!(
                "relay, answers of {size} in one piece, {said}: of those that come without it"
            );
            let name = format!("share {how} {bytes}");
            row(what, Bound::AtLeast(bound), " %", &name, 100.0);
        }
    }
    let mib = 1.0 / f64::from(1 << 20);
    for (what, bound, unit, name, factor) in [
        (
            "resident memory before the first request",
            13.0,
            " MiB",
            "idle",
            mib,
        ),
        (
            "from the start to the first connection",
            100.0,
            " ms",
            "start",
            1e-6,
        ),
        (
            "resident memory of an open stream",
            64.0,
            " KiB",
            "memory of a stream",
            mib * 1_024.0,
        ),
    ] {
        let bound = Bound::AtMost(bound);
        row(format!("relay, {what}"), bound, unit, name, factor);
    }
    for (how, cut) in [
        ("packet", "one packet a block"),
        ("burst", "bursts of 8 KiB"),
    ] {
        let what = format!(
            "bridge from Chat to Responses, {cut}, 200 streams: CPU over the same without it"
        );
        let name = format!("bridge {how} 200");
        row(what, Bound::AtMost(2.5), "x", &name, 1.0);
    }
    for (how, cut) in [
        ("packet", "one packet a block"),
        ("burst", "bursts of 8 KiB"),
    ] {
        let what =
            format!("answers in Redis, {cut}, 200 streams: the relay's CPU over answers in memory");
        let name = format!("redis over memory {how} 200");
        row(what, Bound::AtMost(1.5), "x", &name, 1.0);
    }
    let what = "answers in Redis, 100 streams of 50 events a second: from the server to a reader at another node, p99";
    let name = "redis read elsewhere 100 p99";
    row(what.to_owned(), Bound::AtMost(50.0), " ms", name, 1e-6);
}
