//! The trace in the format of Chrome's trace events, which Perfetto's viewer opens: a track
//! for each process with its calls and faults, one for its turns on the processor, the
//! messages between processes, and the pages by state as counters.

use super::story::{Span, Story};
use super::words::{access, call, request, short, source, whole_call};
use abi::trace::STATES;
use serde_json::{Value, json};

/// Tracks of a process.
const CALLS: u32 = 1;
const TURNS: u32 = 2;

/// All events, as a JSON text.
pub fn events(story: &Story) -> String {
    let micros = |ticks: u64| ticks as f64 * 1e6 / story.rate.max(1) as f64;
    let slice = |span: &Span, pid: u32, track: u32, name: String, more: Value| {
        let (from, long) = (micros(span.start), micros(span.end - span.start));
        json!({"ph": "X", "pid": pid, "tid": track, "ts": from, "dur": long, "name": name, "args": more})
    };
    let mut events = Vec::new();
    for (pid, process) in &story.processes {
        let name = format!("{} {pid}", short(&process.program));
        events.push(json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}));
        for (track, name) in [(CALLS, "calls and faults"), (TURNS, "runs")] {
            events.push(json!({"ph": "M", "pid": pid, "tid": track, "name": "thread_name", "args": {"name": name}}));
        }
    }
    for its in &story.calls {
        events.push(slice(
            &its.span,
            its.pid,
            CALLS,
            call(its),
            json!({"call": whole_call(its)}),
        ));
    }
    for fault in &story.faults {
        let more = json!({
            "address": format!("{:#x}", fault.address),
            "instruction": format!("{:#x}", fault.instruction),
            "access": access(fault),
            "file": source(fault),
            "requests": fault.requests,
        });
        events.push(slice(
            &fault.span,
            fault.pid,
            CALLS,
            format!("fault: {}", fault.outcome),
            more,
        ));
    }
    for (pid, span) in &story.turns {
        events.push(slice(span, *pid, TURNS, "runs".into(), json!({})));
    }
    for (id, message) in story.messages.iter().enumerate() {
        let more =
            json!({"bytes": message.bytes.0, "answer": message.bytes.1, "server": message.server});
        let event = |phase: &str, at: u64| {
            json!({"ph": phase, "cat": "9p", "id": id, "pid": message.pid, "tid": CALLS,
                   "ts": micros(at), "name": request(message), "args": more})
        };
        events.push(event("b", message.span.start));
        events.push(event("e", message.span.end));
    }
    for (time, counts) in &story.counts {
        let states = STATES.iter().zip(counts).skip(1);
        let states: serde_json::Map<_, _> = states
            .map(|(name, n)| (name.to_string(), json!(n)))
            .collect();
        events.push(
            json!({"ph": "C", "pid": 0, "ts": micros(*time), "name": "pages", "args": states}),
        );
    }
    json!({"traceEvents": events, "displayTimeUnit": "ns"}).to_string()
}
