//! An animated picture of one segment and its file: what each page is from step to step of
//! the program, and which bytes the file has meanwhile.

use super::story::{Segment, Story, Tag};
use super::words::{is_snapshot, short};
use abi::trace::{ASLEEP, DIRTY, FILLING, RESIDENT, SENDING};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

const PAGE: u64 = abi::PAGE;

/// Cells of a panel; more pages share them.
const CELLS: u64 = 600;
const ACROSS: u64 = 30;
const CELL: u64 = 13;
const PANEL: u64 = ACROSS * CELL;
const GAP: u64 = 40;
const TOP: u64 = 74;
/// Seconds of a step, of the changes in it, and of the rest at the end.
const STEP: f64 = 2.0;
const MOVING: f64 = 1.0;
const REST: f64 = 2.0;

/// A step of the program, as the picture tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Touch,
    Overwrite,
    Store,
    Write,
}

/// What is drawn in a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Asleep,
    Copy,
    Own,
    Other,
}

impl Look {
    fn colour(self) -> &'static str {
        match self {
            Look::Asleep => "#9aa4af55",
            Look::Copy => "#3b82d6",
            Look::Own => "#e8772e",
            Look::Other => "#d0455a",
        }
    }
}

/// How a cell looks, from moments on, in seconds.
type Looks = Vec<(f64, Look)>;

/// A change of some pages of the buffer, or of the file.
struct Change {
    file: bool,
    pages: Range<u64>,
    look: Look,
}

/// A step with its changes.
struct Step {
    kind: Kind,
    changes: Vec<Change>,
    messages: usize,
}

/// The picture of the snapshot segment with the most changes.
pub fn svg(story: &Story) -> Option<String> {
    let read = |segment: &&Segment| !segment.ties.is_empty() && is_snapshot(segment);
    let tied = story.segments.iter().filter(read);
    let segment = tied.max_by_key(|segment| segment.changes.len())?;
    let steps = steps(story, segment);
    let each = segment.pages.div_ceil(CELLS).max(1);
    let cells = segment.pages.div_ceil(each);
    let height = TOP + cells.div_ceil(ACROSS) * CELL + 34;
    let wide = 2 * PANEL + GAP;
    let total = steps.len() as f64 * STEP + REST;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {height}\" \
         font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"14\">\n\
         <style>text {{ fill: #57606a }} .said {{ font-size: 16px; fill: #1f2328 }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #9aa4af }} .said {{ fill: #e6edf3 }} }}</style>\n"
    );
    let program = story
        .processes
        .get(&segment.pid)
        .map_or("", |p| short(&p.program));
    let path = segment.ties.first().map_or("", |tie| tie.path.as_str());
    let size = segment.pages;
    for (x, text) in [
        (
            0,
            format!("the buffer of {program}, {} pages", grouped(size)),
        ),
        (PANEL + GAP, format!("the file {path}")),
    ] {
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"{}\">{}</text>",
            TOP - 10,
            escaped(&text)
        );
    }
    captions(&mut out, &steps, total);
    for file in [false, true] {
        let left = if file { PANEL + GAP } else { 0 };
        for (looks, cells) in alike(&steps, file, (each, cells)) {
            let places = cells
                .iter()
                .map(|cell| (left + cell % ACROSS * CELL, TOP + cell / ACROSS * CELL));
            draw(&mut out, places, &looks, total);
        }
    }
    legend(&mut out, height);
    out.push_str("</svg>\n");
    Some(out)
}

/// The steps: neighbouring events of a kind are one.
fn steps(story: &Story, segment: &Segment) -> Vec<Step> {
    let Some(tie) = segment.ties.first() else {
        return Vec::new();
    };
    let mut events = vec![(tie.time, Kind::Read, Vec::new())];
    let mut last = tie.time;
    let of_file = |path: &str| path == tie.path;
    for write in story
        .writes
        .iter()
        .filter(|w| of_file(&w.path) && w.time > tie.time)
    {
        let bytes = write.range.end - write.range.start;
        let end = write.offset.saturating_add(bytes);
        let own = write.pid == segment.pid;
        let (kind, look) = match own {
            true => (Kind::Write, Look::Copy),
            false => (Kind::Overwrite, Look::Other),
        };
        let change = |pages, look| Change {
            file: true,
            pages,
            look,
        };
        let mut changes = vec![change(write.offset / PAGE..end.div_ceil(PAGE), look)];
        if own {
            let sent = sent(segment, last..write.time + 1);
            changes.extend(
                sent.into_iter()
                    .map(|page| change(page..page + 1, Look::Own)),
            );
            last = write.time + 1;
        }
        events.push((write.time, kind, changes));
    }
    let mut before = BTreeMap::<u64, Tag>::new();
    for (time, page, tag) in &segment.changes {
        let old = before.insert(*page, *tag).unwrap_or(0);
        let change = |look| {
            vec![Change {
                file: false,
                pages: *page..*page + 1,
                look,
            }]
        };
        match (old.into(), (*tag).into()) {
            (ASLEEP | FILLING, RESIDENT) => events.push((*time, Kind::Touch, change(Look::Copy))),
            (_, DIRTY) => events.push((*time, Kind::Store, change(Look::Own))),
            (SENDING, RESIDENT) => events.push((*time, Kind::Write, change(Look::Copy))),
            _ => {}
        }
    }
    events.sort_by_key(|(time, ..)| *time);
    let mut steps: Vec<Step> = Vec::new();
    let mut spans: Vec<Range<u64>> = Vec::new();
    for (time, kind, changes) in events {
        match steps.last_mut().zip(spans.last_mut()) {
            Some((step, span)) if step.kind == kind => {
                step.changes.extend(changes);
                span.end = time;
            }
            _ => {
                steps.push(Step {
                    kind,
                    changes,
                    messages: 0,
                });
                spans.push(time..time);
            }
        }
    }
    count_messages(story, segment.pid, &mut steps, &spans);
    steps
}

/// The pages that were sent, and became copies of the file, in that time.
fn sent(segment: &Segment, time: Range<u64>) -> Vec<u64> {
    let mut states = BTreeMap::new();
    let mut pages = Vec::new();
    for (at, page, tag) in &segment.changes {
        let old = states.insert(*page, *tag).unwrap_or(0);
        if (old.into(), (*tag).into()) == (SENDING, RESIDENT) && time.contains(at) {
            pages.push(*page);
        }
    }
    pages
}

/// Messages of the program whose answers came in a step.
fn count_messages(story: &Story, pid: u32, steps: &mut [Step], spans: &[Range<u64>]) {
    let mut from = spans.first().map_or(0, |span| span.start.saturating_sub(1));
    let call = |time: u64| {
        let around = story.calls.iter().filter(|call| call.pid == pid);
        around
            .filter(|call| call.span.start <= time && time <= call.span.end)
            .map(|call| call.span.start)
            .next()
    };
    if let Some(start) = spans.first().and_then(|span| call(span.start)) {
        from = start;
    }
    for (step, span) in steps.iter_mut().zip(spans) {
        let sent = story.messages.iter().filter(|message| message.pid == pid);
        let here = |at: u64| from <= at && at <= span.end;
        step.messages = sent
            .filter(|message| here(message.span.end) && message.span.start >= from)
            .count();
        from = span.end + 1;
    }
}

/// The looks of each cell from moments on, in seconds.
fn looks(steps: &[Step], file: bool, (each, cells): (u64, u64)) -> Vec<(u64, Looks)> {
    let first = if file { Look::Copy } else { Look::Asleep };
    let mut all: Vec<_> = (0..cells).map(|cell| (cell, vec![(0.0, first)])).collect();
    for (at, step) in steps.iter().enumerate() {
        let changes: Vec<_> = step
            .changes
            .iter()
            .filter(|change| change.file == file)
            .collect();
        for (nth, change) in changes.iter().enumerate() {
            let part = nth as f64 / changes.len() as f64;
            let time = at as f64 * STEP + 0.3 + part * MOVING;
            let range = change.pages.start / each..change.pages.end.div_ceil(each).min(cells);
            for cell in range {
                if let Some((_, looks)) = all.get_mut(cell as usize)
                    && looks.last().is_some_and(|(_, look)| *look != change.look)
                {
                    looks.push((time, change.look));
                }
            }
        }
    }
    all
}

/// The cells that look alike at all times.
fn alike(steps: &[Step], file: bool, cells: (u64, u64)) -> Vec<(Looks, Vec<u64>)> {
    let mut groups: Vec<(Vec<_>, Vec<_>)> = Vec::new();
    for (cell, looks) in looks(steps, file, cells) {
        match groups.iter_mut().find(|(its, _)| *its == looks) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((looks, vec![cell])),
        }
    }
    groups
}

/// Draws cells that look alike.
fn draw(
    out: &mut String,
    places: impl Iterator<Item = (u64, u64)>,
    looks: &[(f64, Look)],
    total: f64,
) {
    let size = CELL - 2;
    let squares = places.map(|(x, y)| format!("M{x} {y}h{size}v{size}h-{size}z"));
    let squares: String = squares.collect();
    let fill = looks.first().map_or("none", |(_, look)| look.colour());
    // Writing to a string does not fail.
    let _ = write!(out, "<path fill=\"{fill}\" d=\"{squares}\"");
    if looks.len() == 1 {
        out.push_str("/>\n");
        return;
    }
    let colours: Vec<_> = looks.iter().map(|(_, look)| look.colour()).collect();
    let times = looks.iter().map(|(at, _)| format!("{:.4}", at / total));
    let _ = writeln!(
        out,
        "><animate attributeName=\"fill\" dur=\"{total}s\" repeatCount=\"indefinite\" \
         calcMode=\"discrete\" values=\"{}\" keyTimes=\"{}\"/></path>",
        colours.join(";"),
        times.collect::<Vec<_>>().join(";")
    );
}

fn captions(out: &mut String, steps: &[Step], total: f64) {
    for (at, step) in steps.iter().enumerate() {
        let (from, mut to) = (at as f64 * STEP, (at + 1) as f64 * STEP);
        if at + 1 == steps.len() {
            to = total;
        }
        let times = match at {
            0 => format!("0;{:.4}", to / total),
            _ => format!("0;{:.4};{:.4}", from / total, (to / total).min(0.9999)),
        };
        let values = if at == 0 { "1;0" } else { "0;1;0" };
        let _ = writeln!(
            out,
            "<text class=\"said\" x=\"0\" y=\"22\" opacity=\"0\">{}<animate attributeName=\"opacity\" dur=\"{total}s\" \
             repeatCount=\"indefinite\" calcMode=\"discrete\" values=\"{values}\" keyTimes=\"{times}\"/></text>",
            escaped(&said(step))
        );
    }
}

/// A step in words.
fn said(step: &Step) -> String {
    let pages = step.changes.iter().filter(|change| !change.file).count();
    let messages = match step.messages {
        1 => "1 message".to_string(),
        n => format!("{} messages", grouped(n as u64)),
    };
    match step.kind {
        Kind::Read => format!("read of the whole file: {messages}, no data; all pages are asleep"),
        Kind::Touch => {
            format!("touch of {pages} pages: {messages}; each is filled from the snapshot")
        }
        Kind::Overwrite => "another program overwrites the file: the buffer does not change".into(),
        Kind::Store => format!("stores to {pages} pages: no message; they are the program's own"),
        Kind::Write => format!(
            "write of the whole buffer: {messages} with {pages} pages; the server restores the rest"
        ),
    }
}

fn legend(out: &mut String, height: u64) {
    let mut x = 0;
    for (look, text) in [
        (Look::Asleep, "asleep"),
        (Look::Copy, "as the file was at the read"),
        (Look::Own, "changed by the program"),
        (Look::Other, "overwritten by another"),
    ] {
        let y = height - 20;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{text}</text>",
            look.colour(),
            x + 17,
            y + 10
        );
        x += 40 + 8 * text.len() as u64;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
