//! The rows as a drawing: how far beyond its bound, or short of it, each one is.

use std::fmt::Write;

use super::rows::{Bound, Row};

const WIDTH: f64 = 1_000.0;
const TEXT_WIDTH: f64 = 520.0;
const LINE: f64 = 24.0;
/// The scale is logarithmic, from a quarter of what must be to four times.
const SCALE: f64 = 4.0;

/// Draws an SVG. The line in the middle is what must be reached; to the right is better.
pub fn draw(rows: &[Row]) -> String {
    let height = LINE * (rows.len() as f64 + 2.0);
    let middle = (TEXT_WIDTH + WIDTH) / 2.0;
    let half = (WIDTH - TEXT_WIDTH) / 2.0 - 10.0;
    let x = |times: f64| middle + half * (times.ln() / SCALE.ln()).clamp(-1.0, 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (times, label) in [
        (0.25, "1/4"),
        (0.5, "1/2"),
        (1.0, "must be"),
        (2.0, "2x"),
        (4.0, "4x better"),
    ] {
        let x = x(times);
        let colour = if times == 1.0 { "black" } else { "lightgrey" };
        let anchor = if times == 4.0 { "end" } else { "middle" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{LINE}\" y2=\"{height}\" stroke=\"{colour}\"/>\
             <text x=\"{x}\" y=\"16\" text-anchor=\"{anchor}\">{label}</text>",
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = LINE * (index as f64 + 1.5);
        let what = row.what.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{what}</text>", y + 4.0);
        let (Some(value), Some(reached)) = (row.value, row.is_reached()) else {
            continue;
        };
        let better = |value: f64| match row.bound {
            Bound::AtLeast(bound) => value / bound,
            // What needs nothing at all, or less, is as good as can be drawn.
            Bound::AtMost(bound) => bound / value.max(bound / SCALE),
        };
        let (end, one, other) = (
            x(better(value.median)),
            x(better(value.lower)),
            x(better(value.upper)),
        );
        let colour = if reached { "seagreen" } else { "indianred" };
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"12\" fill=\"{colour}\"/>\
             <line x1=\"{one}\" x2=\"{other}\" y1=\"{y}\" y2=\"{y}\" stroke=\"black\"/>",
            end.min(middle),
            y - 6.0,
            (end - middle).abs().max(1.0),
        );
    }
    svg + "</svg>\n"
}
