//! Faults by call site, as folded stacks: a line `program;function;...;outcome count` for
//! each kind, which any flame-graph tool draws.

use super::story::Story;
use super::words::{access, short};
use crate::symbols::{Functions, Symbols};
use std::collections::{BTreeMap, HashMap};

/// The stacks of all faults.
pub fn stacks(story: &Story, symbols: &Symbols) -> String {
    let mut programs = HashMap::new();
    let mut counts = BTreeMap::<String, u64>::new();
    for fault in &story.faults {
        let process = story.processes.get(&fault.pid);
        let program = process.map_or("?", |process| process.program.as_str());
        let functions = programs
            .entry(program)
            .or_insert_with(|| Functions::of(symbols.program(program).as_deref()));
        let mut stack = vec![short(program).to_string()];
        stack.extend(functions.at(fault.instruction));
        stack.push(format!("{}: {}", access(fault), fault.outcome));
        *counts.entry(stack.join(";")).or_default() += 1;
    }
    let lines = counts
        .iter()
        .map(|(stack, count)| format!("{stack} {count}\n"));
    lines.collect()
}
