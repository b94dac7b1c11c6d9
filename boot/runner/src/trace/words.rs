//! Names for the numbers of a trace.

use super::story::{Call, Fault, Message, Segment};
use std::path::Path;

/// The kinds of segments, in the order of the kernel's `SegmentKind`.
pub const KINDS: [&str; 8] = [
    "program", "stack", "stacks", "memory", "snapshot", "shared", "device", "dma",
];

/// Returns true if reads into a segment are deferred.
pub fn is_snapshot(segment: &Segment) -> bool {
    KINDS.get(usize::from(segment.kind)) == Some(&"snapshot")
}

/// The last part of a program's path.
pub fn short(program: &str) -> &str {
    let name = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str());
    name.unwrap_or(program)
}

/// The name of a call.
pub fn call(call: &Call) -> String {
    match abi::Call::from_number(call.number.into()) {
        Some(known) => format!("{known:?}"),
        None => format!("call {}", call.number),
    }
}

/// A call with its arguments and its result.
pub fn whole_call(its: &Call) -> String {
    let arguments = match its.paths.as_slice() {
        [] => its.arguments.map(|word| format!("{word:#x}")).join(", "),
        paths => paths.join(", "),
    };
    let result = match its.result.map(abi::decode) {
        None => "?".into(),
        Some(Ok(value)) if value < 1 << 32 => value.to_string(),
        Some(Ok(value)) => format!("{value:#x}"),
        Some(Err(errno)) => format!("{errno:?}"),
    };
    format!("{}({arguments}) = {result}", call(its))
}

/// The name of a request.
pub fn request(message: &Message) -> String {
    let name = u8::try_from(message.kinds.0)
        .ok()
        .and_then(ninep::Request::name_of);
    name.map_or_else(|| "T?".into(), |name| format!("T{}", name.to_lowercase()))
}

/// The access of a fault.
pub fn access(fault: &Fault) -> &'static str {
    ["load", "store", "fetch"]
        .get(usize::from(fault.access))
        .unwrap_or(&"access")
}

/// Where a fault's page comes from.
pub fn source(fault: &Fault) -> String {
    let source = fault.source.as_ref();
    source.map_or(String::new(), |(path, offset)| {
        format!("{path} at {offset:#x}")
    })
}
