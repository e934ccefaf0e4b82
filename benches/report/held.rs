//! The rows of bodies, and of what is held: by them, by requests that have ended, by large events.

use super::{
    measured::{Measured, Spread},
    rows::{Bound, Row},
};

/// The largest bodies first: what is made once counts least there.
const BODIES: [(&str, &str); 4] = [
    ("picture", "20 MB of base64"),
    ("10000", "10,000 items"),
    ("100", "100 items"),
    ("1", "1 item"),
];

pub fn rows(measured: &Measured, rows: &mut Vec<Row>) {
    bodies(measured, rows);
    let mut row = |what: &str, bound: f64, unit: &'static str, value: Option<f64>| {
        rows.push(Row {
            what: what.to_owned(),
            bound: Bound::AtMost(bound),
            unit,
            value: value.map(Spread::exactly),
            instructions: None,
            processors: 1,
        });
    };
    let sent = measured.record("body sent_and_retried", "sent_over_body");
    let what = "a body of 20 MB that is sent and refused twice: the most that is held beside the caller's items, over it";
    row(what, 1.1, "x", sent);
    for (input, described) in [("small", "of 20 events"), ("resp_text", "of 2,000 events")] {
        let held = measured.record(&format!("retained {input}"), "held_over_limit");
        let what =
            format!("10,000 requests {described} that ended: what is held over `retain_bytes`");
        row(&what, 1.0, "x", held);
    }
    for (shape, ratio) in measured.records("large_event ", "peak_over_bytes") {
        let what = format!("an event of 30 MB, {shape}: the most that is held over its bytes");
        row(&what, 4.0, "x", Some(ratio));
    }
}

fn bodies(measured: &Measured, rows: &mut Vec<Row>) {
    for (peer, ours, bound, described) in [
        (
            "to_vec",
            "ours",
            1.2,
            "written, over serde_json's writing of its items",
        ),
        (
            "copy",
            "as_it_came",
            1.05,
            "sent as it came, over a copy of it",
        ),
    ] {
        for (body, size) in BODIES {
            let time = |way: &str| measured.time(&format!("body/{way}/{body}"));
            let count =
                |way: &str| measured.record(&format!("instructions body {way} {body}"), "per_body");
            rows.push(Row {
                what: format!("a body of {size} {described}"),
                bound: Bound::AtMost(bound),
                unit: "x",
                value: time(ours)
                    .zip(time(peer))
                    .map(|(ours, peer)| ours.over(peer)),
                instructions: count(ours).zip(count(peer)).map(|(ours, peer)| ours / peer),
                processors: 1,
            });
        }
    }
    for (body, size) in BODIES {
        let calls = measured.record(&format!("allocations body ours {body}"), "allocations");
        rows.push(Row {
            what: format!(
                "a body of {size}: allocations, that which gives back what is left over included"
            ),
            bound: Bound::AtMost(2.0),
            unit: "",
            value: calls.map(Spread::exactly),
            instructions: None,
            processors: 1,
        });
    }
}
