//! `cargo run -- curve`: draws what a read costs against the part of the pages that is
//! touched, deferred and eager: the break-even curve that `lazy --curve` measures.

use crate::failure::{Context, Failure, say};
use crate::guest::Guest;
use crate::{Outcome, checkout};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// Bytes of the file that is read.
const SIZE: usize = 64 << 20;

/// The settings of a panel's figures: order and kind of access.
type Panel = (String, String);

/// A line of a panel: parts touched in per cent, and million instructions.
type Line = Vec<(f64, f64)>;

/// The measured lines of each panel, deferred and eager.
#[derive(Debug, Default)]
pub struct Curve(BTreeMap<Panel, [Line; 2]>);

impl Curve {
    /// Reads the lines that `lazy --curve` has printed.
    pub fn parse(console: &str) -> Curve {
        let mut curve = Curve::default();
        for line in console.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [order, touch, mode, part, cost, _, _] = words[..] else {
                continue;
            };
            let (Ok(part), Ok(cost)) = (part.parse::<f64>(), cost.parse::<f64>()) else {
                continue;
            };
            let lines = curve.0.entry((order.into(), touch.into())).or_default();
            lines[usize::from(mode == "eager")].push((part, cost / 1e6));
        }
        curve
    }

    /// The largest figure.
    fn most(&self) -> f64 {
        let figures = self.0.values().flatten().flatten().map(|point| point.1);
        figures.fold(1.0, f64::max)
    }
}

/// The part at which the first line crosses the second from below, on straight lines
/// between the points.
fn break_even(deferred: &Line, eager: &Line) -> Option<(f64, f64)> {
    let both = deferred.iter().zip(eager);
    let gaps: Vec<_> = both.map(|(d, e)| (d.0, d.1, d.1 - e.1)).collect();
    gaps.windows(2).find_map(|pair| {
        let [(from, low, under), (to, high, over)] = pair else {
            return None;
        };
        let crosses = *under < 0.0 && *over >= 0.0;
        let share = -under / (over - under);
        crosses.then(|| (from + (to - from) * share, low + (high - low) * share))
    })
}

/// Measures in a guest with a file of random bytes, and draws into `target/curve.svg`.
pub fn run(
    guest: Guest,
    show: impl FnOnce(Guest) -> Result<Outcome, Failure>,
) -> Result<u8, Failure> {
    let folder = tempfile::tempdir().context(|| "cannot make a temporary directory".into())?;
    let file = folder.path().join("file");
    fs::write(&file, bytes(SIZE)).context(|| file.display().to_string())?;
    let guest = guest.share(folder.path()).icount(true);
    let outcome = show(guest.command("lazy --curve /n/host/file"))?;
    let status = outcome.status()?;
    print!("{}", outcome.console);
    if status == 0 {
        let path = save(&Curve::parse(&outcome.console))?;
        say(format_args!("the curve: {}", path.display()));
    }
    Ok(status)
}

/// Writes the picture.
fn save(curve: &Curve) -> Result<PathBuf, Failure> {
    let path = checkout::target_dir()?.join("curve.svg");
    fs::write(&path, curve.svg()).context(|| path.display().to_string())?;
    Ok(path)
}

/// Bytes without zeros among them, which a server would not have to read.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// Sizes of the picture and of a panel in it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 664.0;
const PANEL: (f64, f64) = (370.0, 220.0);
const LEFT: [f64; 2] = [74.0, 540.0];
const TOP: [f64; 2] = [104.0, 410.0];

const STYLE: &str = "\
    .frame { fill: #f6f8fa; stroke: none }
    .grid { stroke: #d0d7de; stroke-width: 1 }
    .deferred { stroke: #0969da; fill: none; stroke-width: 2.5 }
    .eager { stroke: #bc4c00; fill: none; stroke-width: 2.5 }
    .dot-deferred { fill: #0969da }
    .dot-eager { fill: #bc4c00 }
    .even { fill: #ffffff; stroke: #1f2328; stroke-width: 2 }
    text { fill: #1f2328; font-size: 13px }
    .title { font-size: 20px; font-weight: 700 }
    .head { font-size: 15px; font-weight: 700 }
    .note { fill: #57606a }
    .tick { fill: #57606a; font-size: 12px }
    @media (prefers-color-scheme: dark) {
      .frame { fill: #161b22 }
      .grid { stroke: #3d444d }
      .deferred { stroke: #58a6ff }
      .eager { stroke: #f0883e }
      .dot-deferred { fill: #58a6ff }
      .dot-eager { fill: #f0883e }
      .even { fill: #0d1117; stroke: #e6edf3 }
      text { fill: #e6edf3 }
      .note, .tick { fill: #9aa4af }
    }";

/// The marks of the axis of parts, in per cent.
const MARKS: [f64; 7] = [0.0, 1.0, 6.4, 10.0, 25.0, 50.0, 100.0];

/// A round step of which about five fit below `most`.
fn step(most: f64) -> f64 {
    let rough = most / 5.0;
    let unit = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fitting = steps.iter().find(|step| *step * unit >= rough);
    fitting.unwrap_or(&10.0) * unit
}

/// Where a panel has its figures. The axis of parts is one of square roots, which gives
/// small parts room.
struct Scale {
    left: f64,
    top: f64,
    most: f64,
}

impl Scale {
    fn x(&self, part: f64) -> f64 {
        self.left + PANEL.0 * (part / 100.0).sqrt()
    }

    fn y(&self, cost: f64) -> f64 {
        self.top + PANEL.1 * (1.0 - cost / self.most)
    }

    fn axes(&self, svg: &mut String, step: f64) {
        let (right, bottom) = (self.left + PANEL.0, self.top + PANEL.1);
        let _ = writeln!(
            svg,
            "  <rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            self.left, self.top, PANEL.0, PANEL.1
        );
        let mut cost = 0.0;
        while cost <= self.most + step / 100.0 {
            let y = self.y(cost);
            let _ = writeln!(
                svg,
                "  <path class=\"grid\" d=\"M{} {y:.1}H{right}\"/>\n  <text class=\"tick\" \
                 x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{cost}</text>",
                self.left,
                self.left - 8.0,
                y + 4.0
            );
            cost += step;
        }
        for mark in MARKS {
            let x = self.x(mark);
            let _ = writeln!(
                svg,
                "  <path class=\"grid\" d=\"M{x:.1} {}V{bottom}\"/>\n  <text class=\"tick\" \
                 x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{mark}</text>",
                self.top,
                bottom + 18.0
            );
        }
    }

    fn line(&self, svg: &mut String, class: &str, line: &Line) {
        let mut path = String::new();
        for (index, (part, cost)) in line.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", self.x(*part), self.y(*cost));
        }
        let _ = writeln!(svg, "  <path class=\"{class}\" d=\"{path}\"/>");
        for (part, cost) in line {
            let (x, y) = (self.x(*part), self.y(*cost));
            let _ = writeln!(
                svg,
                "  <circle class=\"dot-{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"
            );
        }
    }
}

impl Curve {
    /// The picture.
    pub fn svg(&self) -> String {
        let step = step(self.most());
        let most = (self.most() / step).ceil() * step;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\" \
             role=\"img\">\n  <title>What a read costs against the part of its pages that is \
             touched</title>\n  <style>\n    {STYLE}\n  </style>\n"
        );
        let _ = writeln!(
            svg,
            "  <text class=\"title\" x=\"24\" y=\"36\">Reading {} MiB and touching a part of its \
             pages</text>\n  <text class=\"note\" x=\"24\" y=\"60\">million guest instructions, \
             kernel and servers included, by the part of the pages touched (%, spaced by square roots)</text>",
            SIZE >> 20
        );
        for (index, (class, name)) in [("deferred", "deferred"), ("eager", "eager")]
            .into_iter()
            .enumerate()
        {
            let x = 730.0 + 110.0 * index as f64;
            let _ = writeln!(
                svg,
                "  <path class=\"{class}\" d=\"M{x} 32h24\"/>\n  <circle class=\"dot-{class}\" \
                 cx=\"{}\" cy=\"32\" r=\"3.5\"/>\n  <text x=\"{}\" y=\"36\">{name}</text>",
                x + 12.0,
                x + 30.0
            );
        }
        for (row, order) in ["sequential", "random"].into_iter().enumerate() {
            for (column, touch) in ["loads", "stores"].into_iter().enumerate() {
                let scale = Scale {
                    left: LEFT[column],
                    top: TOP[row],
                    most,
                };
                self.panel(&mut svg, &scale, (order, touch), step);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn panel(&self, svg: &mut String, scale: &Scale, (order, touch): (&str, &str), step: f64) {
        let _ = writeln!(
            svg,
            "  <text class=\"head\" x=\"{}\" y=\"{}\">{order} {touch}</text>",
            scale.left,
            scale.top - 12.0
        );
        scale.axes(svg, step);
        let Some([deferred, eager]) = self.0.get(&(order.into(), touch.into())) else {
            return;
        };
        scale.line(svg, "eager", eager);
        scale.line(svg, "deferred", deferred);
        let text = match break_even(deferred, eager) {
            Some((part, cost)) => {
                let (x, y) = (scale.x(part), scale.y(cost));
                let _ = writeln!(
                    svg,
                    "  <circle class=\"even\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"
                );
                format!("break-even at {part:.0} %")
            }
            None => "never dearer than eager".into(),
        };
        let _ = writeln!(
            svg,
            "  <text class=\"note\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{text}</text>",
            scale.left + PANEL.0,
            scale.top - 12.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_cross_where_the_costs_are_equal() {
        let console = "\
            order      by     mode     touched % instructions   messages   bytes_in\n\
            random     loads  deferred       0.0      0          1          0\n\
            random     loads  eager          0.0      3000000   129   16777216\n\
            random     loads  deferred      10.0      4000000   42     167936\n\
            random     loads  eager         10.0      3000000   129   16777216\n";
        let curve = Curve::parse(console);
        let [deferred, eager] = &curve.0[&("random".into(), "loads".into())];
        assert_eq!(deferred, &[(0.0, 0.0), (10.0, 4.0)]);
        assert_eq!(break_even(deferred, eager), Some((7.5, 3.0)));
        assert_eq!(break_even(eager, deferred), None);
        let svg = curve.svg();
        assert!(svg.contains("break-even at 8 %"), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn steps_of_an_axis_are_round() {
        for (most, expected) in [(1.0, 0.2), (13.2, 5.0), (40.0, 10.0), (99.0, 20.0)] {
            assert_eq!(step(most), expected);
        }
    }
}
