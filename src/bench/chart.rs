//! Charts of rows as SVG: horizontal bars, grouped by load. Readable on light and on dark, no script, no font of its own.

use std::fmt::Write as _;

use super::{Row, table::three_digits};

/// What a chart shows.
#[derive(Debug, Clone, Copy)]
pub struct Chart<'a> {
    /// What it is about.
    pub title: &'a str,
    /// The unit of the axis, and what is better.
    pub axis: &'a str,
    /// Where it was measured.
    pub note: &'a str,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Bars of one group stand together.
    pub group: String,
    /// Its name.
    pub name: String,
    /// How long it is.
    pub figure: f64,
    /// The lowest and the highest that were seen.
    pub spread: [f64; 2],
}

/// The bars of rows: of those about bytes, or of those that are not.
pub fn bars(rows: &[Row], bytes: bool) -> Vec<Bar> {
    rows.iter()
        .filter(|row| row.cpu_ns_per_byte.is_some() == bytes)
        .map(|row| {
            let figure = row.cpu_ns_per_byte.unwrap_or(row.cpu_us);
            let scale = if row.cpu_us > 0.0 {
                figure / row.cpu_us
            } else {
                1.0
            };
            Bar {
                group: row.load.clone(),
                name: row.peer.clone(),
                figure,
                spread: row.cpu_us_spread.map(|end| end * scale),
            }
        })
        .collect()
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 70.0;
const HEAD: f64 = 64.0;
const ROW: f64 = 18.0;
const GROUP: f64 = 26.0;
const FOOT: f64 = 46.0;
/// A chart whose longest bar is this many times its shortest one has a logarithmic axis.
const LOG_FROM: f64 = 12.0;

const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#24292f}\
.t{font-size:15px;font-weight:600}.g{font-weight:600}.m{fill:#57606a}.e{text-anchor:end}.c{text-anchor:middle}\
.b{fill:#ffffff}.l{stroke:#d0d7de}.w{stroke:#24292f}.o{fill:#8c959f}.u{fill:#0a7d8c}.r{fill:#c9b458}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.b{fill:#0d1117}.l{stroke:#30363d}\
.w{stroke:#e6edf3}.o{fill:#656c76}.u{fill:#2aa7b8}.r{fill:#a8923a}}";

/// Draws it.
pub fn svg(chart: Chart<'_>, bars: &[Bar]) -> String {
    let axis = Axis::of(bars);
    let groups = bars.chunk_by(|one, two| one.group == two.group);
    let tall = HEAD + FOOT + ROW * bars.len() as f64 + GROUP * groups.clone().count() as f64;
    let (width, low) = (WIDTH, tall - FOOT);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {tall}\" width=\"{width}\" height=\"{tall}\" \
         role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"b\" width=\"{width}\" height=\"{tall}\"/>\n\
         <text class=\"t\" x=\"16\" y=\"26\">{title}</text>\n<text class=\"m\" x=\"16\" y=\"46\">{note}</text>\n",
        title = escaped(chart.title),
        note = escaped(chart.note),
    );
    for tick in axis.ticks() {
        let x = axis.at(tick);
        let label = if tick == 0.0 { "0".to_owned() } else { short(tick) };
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "<line class=\"l\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEAD}\" y2=\"{low}\"/>\
             <text class=\"m c\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
            low + 16.0
        );
    }
    let scale = if axis.is_log { ", logarithmic axis" } else { "" };
    let _ = writeln!(
        out,
        "<text class=\"m c\" x=\"{}\" y=\"{}\">{}{scale}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        low + 34.0,
        escaped(chart.axis)
    );
    let mut y = HEAD;
    for group in groups {
        let _ = writeln!(
            out,
            "<text class=\"g\" x=\"16\" y=\"{}\">{}</text>",
            y + 18.0,
            escaped(&group[0].group)
        );
        y += GROUP;
        for bar in group {
            draw(&mut out, bar, &axis, y);
            y += ROW;
        }
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, bar: &Bar, axis: &Axis, y: f64) {
    let class = match bar.name.as_str() {
        ours if ours.starts_with("towline") => "u",
        "raw limit" => "r",
        _ => "o",
    };
    let [low, high] = bar.spread.map(|end| axis.at(end));
    let end = axis.at(bar.figure);
    let middle = y + 7.0;
    let _ = writeln!(
        out,
        "<text class=\"e\" x=\"{}\" y=\"{}\">{}</text><rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" \
         height=\"14\" rx=\"2\"/><line class=\"w\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         <text x=\"{:.1}\" y=\"{}\">{}</text>",
        LEFT - 8.0,
        y + 11.0,
        escaped(&bar.name),
        (end - LEFT).max(1.0),
        end.max(high) + 6.0,
        y + 11.0,
        three_digits(bar.figure),
    );
}

/// From figures to places.
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Axis {
    fn of(bars: &[Bar]) -> Self {
        let ends = || {
            bars.iter()
                .flat_map(|bar| [bar.figure, bar.spread[0], bar.spread[1]])
        };
        let high = ends().fold(0.0, f64::max);
        let low = ends().filter(|end| *end > 0.0).fold(f64::INFINITY, f64::min);
        if high <= 0.0 {
            return Self {
                low: 0.0,
                high: 1.0,
                is_log: false,
            };
        }
        let is_log = high / low >= LOG_FROM;
        Self {
            // A step below the shortest bar, so that it too has a length.
            low: if is_log { step_below(low * 0.8) } else { 0.0 },
            high,
            is_log,
        }
    }

    fn at(&self, figure: f64) -> f64 {
        let share = if self.is_log {
            (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            figure / self.high
        };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            return steps(self.low, self.high);
        }
        let step = step_below(self.high / 4.0);
        (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|tick| *tick <= self.high)
            .collect()
    }
}

/// 1, 2 and 5 times the powers of ten, from `low` to `high`.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (from..=to)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)))
        .filter(|step| (low * 0.999..=high * 1.001).contains(step))
        .collect()
}

/// The highest of those that is not above.
fn step_below(figure: f64) -> f64 {
    steps(figure / 10.0, figure).last().copied().unwrap_or(figure)
}

/// A tick without zeros that say nothing.
fn short(figure: f64) -> String {
    let text = format!("{figure:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(group: &str, name: &str, figure: f64) -> Bar {
        Bar {
            group: group.to_owned(),
            name: name.to_owned(),
            figure,
            spread: [figure * 0.9, figure * 1.1],
        }
    }

    const CHART: Chart<'_> = Chart {
        title: "CPU & more",
        axis: "us",
        note: "<somewhere>",
    };

    #[test]
    fn near_figures_have_a_linear_axis_from_zero_and_far_ones_a_logarithmic_one() {
        let near = Axis::of(&[bar("a", "x", 1.0), bar("a", "y", 4.0)]);
        assert_eq!(
            (near.is_log, near.ticks()),
            (false, vec![0.0, 1.0, 2.0, 3.0, 4.0])
        );
        assert!((near.at(2.2) - (LEFT + WIDTH - RIGHT) / 2.0).abs() < 0.1);
        let far = Axis::of(&[bar("a", "x", 0.5), bar("a", "y", 40.0)]);
        assert_eq!(
            (far.is_log, far.ticks()),
            (true, vec![0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0])
        );
        assert!((far.at(far.high) - (WIDTH - RIGHT)).abs() < 0.1);
        assert!(Axis::of(&[]).ticks().len() < 10);
    }

    #[test]
    fn each_bar_is_drawn_with_its_figure_and_words_are_escaped() {
        let drawn = svg(
            CHART,
            &[
                bar("g1", "towline", 1.5),
                bar("g1", "t<b>", 3.0),
                bar("g2", "towline", 2.0),
            ],
        );
        assert_eq!(drawn.matches("class=\"u\"").count(), 2);
        assert_eq!(drawn.matches("class=\"g\"").count(), 2);
        for part in [
            ">1.50<",
            "t&lt;b&gt;",
            "CPU &amp; more",
            "&lt;somewhere&gt;",
            "</svg>\n",
        ] {
            assert!(drawn.contains(part), "{part}");
        }
        assert_eq!(drawn.matches('<').count(), drawn.matches('>').count());
    }
}
