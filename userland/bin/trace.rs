//! `trace [-cfm] COMMAND [ARG...]`: runs a command and prints to standard error what it and
//! its children do: system calls, page faults and messages to file servers, each behind
//! the number of its process. `-c`, `-f`, `-m`: only these. The exit status is the
//! command's.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rt::abi::trace::{self, Event};
use rt::abi::{Call, PAGE, decode};
use rt::process::{self, Fork};
use rt::trace::{Record, Watch};
use rt::{Args, Failure, Named, eprintln, manual, service};

rt::main!(main, include_str!("trace.rs"));

/// The kinds of lines, by the letters of their options.
const KINDS: [char; 3] = ['c', 'f', 'm'];

fn main(args: Args) -> Result<u8, Failure> {
    let mut options = args.options("cfm");
    let mut kinds = String::new();
    while let Some((kind, _)) = options.next_option()? {
        kinds.push(kind);
    }
    if kinds.is_empty() {
        kinds = KINDS.iter().collect();
    }
    let command = options.rest();
    let Some(name) = command.get(0) else {
        return Err(manual::misused());
    };
    let mut watch = Watch::begin().about("trace")?;
    let pid = match process::fork().about("new process")? {
        Fork::Child => service::become_command("trace", name, command),
        Fork::Parent(pid) => pid,
    };
    let mut under_way = BTreeMap::new();
    // What the child did until it was the command is this program's affair.
    let mut begun = false;
    while let Some(record) = watch.next_record().about("trace")? {
        match record.event {
            Event::End => {
                under_way.remove(&record.pid);
                continue;
            }
            Event::Lost => {
                // Of what was under way the end may be missing.
                under_way.clear();
                eprintln!("{} records are missing here", record.words[0]);
                continue;
            }
            _ => {}
        }
        let process: &mut UnderWay = under_way.entry(record.pid).or_default();
        let Some((kind, line)) = process.line(&record) else {
            continue;
        };
        begun |= line.starts_with("Exec(");
        if begun && kinds.contains(kind) {
            eprintln!("{} {line}", record.pid);
        }
    }
    let ended = process::wait_for(pid).about(name)?;
    if u32::from(ended.status()) == rt::abi::STATUS_KILLED {
        eprintln!("trace: {name}: {}", ended.text());
    }
    Ok(ended.status())
}

/// What a process is doing.
#[derive(Default)]
struct UnderWay {
    arguments: [u64; 3],
    paths: Vec<String>,
    fault: Option<Fault>,
}

/// A page fault that has not ended.
struct Fault {
    address: u64,
    access: u16,
    state: Option<u16>,
    requests: u32,
}

impl UnderWay {
    /// The line that a record completes, and its kind.
    fn line(&mut self, record: &Record) -> Option<(char, String)> {
        let [a, b, c] = record.words;
        match record.event {
            Event::Call => {
                self.arguments = record.words;
                self.paths.clear();
            }
            Event::Path => self.paths.push(format!("{:?}", record.text)),
            Event::Return => return Some(('c', self.call(record.detail, a))),
            Event::Fault => {
                self.fault = Some(Fault {
                    address: a,
                    access: record.detail,
                    state: None,
                    requests: 0,
                });
            }
            Event::Page => {
                let fault = self.fault.as_mut();
                if let Some(fault) = fault.filter(|its| its.address / PAGE == a / PAGE) {
                    fault.state = Some(record.detail);
                }
            }
            Event::Resolved => {
                let fault = self.fault.take()?;
                return Some(('f', fault.line(record.detail != 0)));
            }
            Event::Request => {
                if let Some(fault) = &mut self.fault {
                    fault.requests += 1;
                }
                return Some(('m', request(record.detail, b, c)));
            }
            _ => {}
        }
        None
    }

    fn call(&self, number: u16, rax: u64) -> String {
        let call = Call::from_number(number.into());
        let name = call.map_or_else(|| format!("call {number}"), |call| format!("{call:?}"));
        let arguments = match self.paths.as_slice() {
            [] => self.arguments.map(|word| format!("{word:#x}")).join(", "),
            paths => paths.join(", "),
        };
        let result = match decode(rax) {
            Ok(value) if value < 1 << 32 => value.to_string(),
            Ok(value) => format!("{value:#x}"),
            Err(errno) => format!("{errno:?} ({errno})"),
        };
        format!("{name}({arguments}) = {result}")
    }
}

impl Fault {
    fn line(self, denied: bool) -> String {
        let access = ["load", "store", "fetch"].get(usize::from(self.access));
        let access = access.unwrap_or(&"access");
        let outcome = trace::outcome(self.state, self.requests, denied);
        format!("fault: {access} at {:#x}: {outcome}", self.address)
    }
}

/// A message to a server.
fn request(kind: u16, bytes: u64, offset: u64) -> String {
    let name = u8::try_from(kind).ok().and_then(ninep::Request::name_of);
    let name = name.map_or_else(
        || "T?".to_string(),
        |name| format!("T{}", name.to_lowercase()),
    );
    match offset {
        0 => format!("message: {name}, {bytes} bytes"),
        offset => format!("message: {name} at {offset:#x}, {bytes} bytes"),
    }
}
