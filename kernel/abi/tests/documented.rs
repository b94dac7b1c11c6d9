//! `docs/syscalls.md` agrees with this crate: calls, errors, counters and the
//! layout of structures.

use dormouse_abi::*;
use std::collections::BTreeSet;
use std::mem::offset_of;

const PAGE: &str = include_str!("../../../docs/syscalls.md");

/// The cells of the table rows below a heading that starts so.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let start = PAGE.find(&format!("\n{heading}"));
    let section = &PAGE[start.unwrap_or_else(|| panic!("no {heading}")) + 1..];
    let lines = section.lines().skip(1);
    let end = lines.take_while(|line| !line.starts_with('#'));
    let table = end.filter(|line| line.starts_with('|')).skip(2);
    table
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn every_call_is_listed_and_no_other() {
    let listed: BTreeSet<(u64, String)> = rows("## The calls")
        .iter()
        .map(|row| (row[0].parse().unwrap(), row[1].to_string()))
        .collect();
    let calls = Call::ALL.iter();
    let known = calls
        .map(|call| (*call as u64, format!("{call:?}")))
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn every_error_is_listed_with_its_text() {
    for row in rows("## Errors") {
        let errno = Errno::from_wire(row[0].parse().unwrap());
        assert_eq!(format!("{errno:?}"), row[1]);
        assert_eq!(errno.text(), row[2]);
    }
    // Errors named with a call are in that list.
    let names: BTreeSet<_> = rows("## Errors").iter().map(|row| row[1]).collect();
    for row in rows("## The calls") {
        let words = row[4].split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|w| w.len() > 3 && w.starts_with('E')) {
            let error = word
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
            assert!(!error || names.contains(word), "{word}");
        }
    }
}

#[test]
fn the_counters_are_in_order() {
    let list = PAGE.split("place in this list:").nth(1).unwrap();
    let list = list.split('.').next().unwrap();
    let listed: Vec<&str> = list.split(',').map(str::trim).collect();
    let known: Vec<String> = Stat64::ALL.iter().map(|s| format!("{s:?}")).collect();
    assert_eq!(listed, known);
}

macro_rules! layout {
    ($($name:ident { $($field:ident)* })*) => {
        /// Name, size, and fields with offset and size.
        fn structures() -> Vec<(&'static str, usize, Vec<(&'static str, usize, usize)>)> {
            fn size<S, F>(_: impl Fn(&S) -> &F) -> usize {
                size_of::<F>()
            }
            vec![$((
                stringify!($name),
                size_of::<$name>(),
                vec![$((
                    stringify!($field),
                    offset_of!($name, $field),
                    size(|s: &$name| &s.$field),
                )),*],
            )),*]
        }
    };
}

layout! {
    Slice { address len }
    WaitMessage { pid status text_len text }
    Stat { qid_path size mode links uid gid mtime_ns atime_ns server }
    StatChange { valid size mode mtime_ns }
    DirEntry { qid_path kind name_len }
    Received { key kind len }
    DeviceCounters { bytes_in bytes_out requests fids files snapshots saved rescued }
    Registers {
        r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rbx rdx rcx rax
        rip rflags rsp trap error address
    }
    ProcessInfo {
        pid parent group size pages ticks waiting_ns state name_len name
        waits_for_len descriptors waits_for messages bytes_in bytes_out
    }
}

#[test]
fn structures_are_laid_out_as_said() {
    for (name, size, fields) in structures() {
        let heading = format!("### {name} ({size} bytes");
        let listed: Vec<_> = rows(&heading)
            .iter()
            .map(|row| (row[0], row[1].parse().unwrap(), row[2].parse().unwrap()))
            .collect();
        assert_eq!(listed, fields, "{name}");
        // No padding: nothing of the kernel's could leak through it.
        let filled: usize = fields.iter().map(|(_, _, size)| size).sum();
        assert_eq!(filled, size, "{name}");
    }
}
