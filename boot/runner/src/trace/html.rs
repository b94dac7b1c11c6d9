//! The page with pictures, in one file: the data, and a script that draws them.

use super::story::Story;
use super::words::{KINDS, access, request, short, whole_call};
use abi::trace::STATES;
use serde_json::{Value, json};
use std::collections::HashMap;

/// The page, with a place for the data.
const PAGE: &str = include_str!("page.html");
const DATA: &str = "/*DATA*/";

/// Paths, each once.
#[derive(Default)]
struct Paths {
    list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Paths {
    fn place(&mut self, path: &str) -> usize {
        if let Some(place) = self.places.get(path) {
            return *place;
        }
        self.places.insert(path.into(), self.list.len());
        self.list.push(path.into());
        self.list.len() - 1
    }
}

/// The page of a story.
pub fn page(story: &Story) -> String {
    // A name of a file must not end the script that the data is in.
    let data = data(story).to_string().replace('<', "\\u003c");
    PAGE.replacen(DATA, &data, 1)
}

fn data(story: &Story) -> Value {
    let mut paths = Paths::default();
    let processes = story.processes.iter().map(|(pid, process)| {
        let span = &process.span;
        json!([
            pid,
            process.parent,
            short(&process.program),
            span.start,
            span.end
        ])
    });
    let processes: Vec<_> = processes.collect();
    let mut segments = Vec::new();
    for segment in &story.segments {
        let ties: Vec<_> = segment
            .ties
            .iter()
            .map(|tie| {
                let place = paths.place(&tie.path);
                json!([tie.time, tie.range.start, tie.range.end, tie.offset, place])
            })
            .collect();
        segments.push(json!({
            "pid": segment.pid, "base": segment.base, "pages": segment.pages, "kind": segment.kind,
            "span": [segment.span.start, segment.span.end], "changes": segment.changes, "ties": ties,
        }));
    }
    let mut faults = Vec::new();
    for fault in &story.faults {
        let source = fault
            .source
            .as_ref()
            .map(|(path, offset)| (paths.place(path), *offset));
        let (path, offset) = source.unzip();
        faults.push(json!([
            fault.span.start,
            fault.span.end,
            fault.pid,
            fault.address,
            access(fault),
            fault.outcome,
            path,
            offset,
            fault.requests,
        ]));
    }
    let calls: Vec<_> = story
        .calls
        .iter()
        .map(|call| json!([call.span.start, call.span.end, call.pid, whole_call(call)]))
        .collect();
    let messages: Vec<_> = story
        .messages
        .iter()
        .map(|message| {
            json!([
                message.span.start,
                message.span.end,
                message.pid,
                message.server,
                request(message),
                message.bytes.0,
                message.bytes.1
            ])
        })
        .collect();
    let turns: Vec<_> = story
        .turns
        .iter()
        .map(|(pid, span)| json!([pid, span.start, span.end]))
        .collect();
    json!({
        "rate": story.rate, "end": story.end, "states": STATES, "kinds": KINDS, "paths": paths.list,
        "processes": processes, "segments": segments, "faults": faults, "calls": calls,
        "messages": messages, "turns": turns,
    })
}
