//! Broken program files of all kinds, and files produced by compilers.

#[path = "../../../tests/seeded.rs"]
mod seeded;

use dormouse_image::{HEADERS, PARTS, PIE_BASE, Part, Program, Refused, Shown};
use proptest::prelude::*;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

const PAGE: u64 = 4096;
/// Addresses for parts.
const ROOM: Range<u64> = PAGE..0x7fff_ff7f_f000;

const LOAD: u32 = 1;
const INTERP: u32 = 3;
const NOTE: u32 = 4;
const TLS: u32 = 7;
const R: u32 = 4;
const W: u32 = 2;
const X: u32 = 1;

/// A program header.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    va: u64,
    file_len: u64,
    len: u64,
}

/// Loads the first `len` bytes of the file at `va`.
fn part(flags: u32, va: u64, len: u64) -> Header {
    Header {
        kind: LOAD,
        flags,
        offset: 0,
        va,
        file_len: len,
        len,
    }
}

/// A file of that entry with these program headers, a page long.
fn file(kind: u16, entry: u64, headers: &[Header]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(kind.to_le_bytes());
    bytes.extend(62u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(entry.to_le_bytes());
    bytes.extend(64u64.to_le_bytes());
    bytes.extend([0; 8 + 4]);
    for half in [64, 56, headers.len() as u16, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for h in headers {
        bytes.extend(h.kind.to_le_bytes());
        bytes.extend(h.flags.to_le_bytes());
        for word in [h.offset, h.va, h.va, h.file_len, h.len, 4] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.resize(PAGE as usize, 0);
    bytes
}

const EXEC: u16 = 2;
const DYN: u16 = 3;
const AT: u64 = 0x20_0000;

fn code() -> Header {
    part(R | X, AT, PAGE)
}

fn parse(bytes: &[u8]) -> Result<Program, Refused> {
    let program = Program::parse(bytes, ROOM)?;
    sound(&program);
    Ok(program)
}

/// The properties that the kernel relies on.
fn sound(program: &Program) {
    let parts = program.parts();
    assert!(!parts.is_empty() && parts.len() <= PARTS);
    for (i, p) in parts.iter().enumerate() {
        assert!(ROOM.start <= p.pages().start && p.va + p.len <= ROOM.end);
        assert!(p.len > 0 && p.file_len <= p.len && !(p.write && p.execute));
        assert!(p.offset.checked_add(p.file_len).is_some());
        for size in [p.offset + p.file_len, u64::MAX] {
            shown_soundly(p, size);
        }
        for q in &parts[..i] {
            assert!(q.pages().end <= p.pages().start || p.pages().end <= q.pages().start);
        }
    }
    let inside = |p: &dormouse_image::Part| (p.va..p.va + p.len).contains(&program.entry);
    assert!(parts.iter().any(|p| p.execute && inside(p)));
    let at = program.headers_va();
    assert!(at == 0 || parts.iter().any(|p| (p.va..p.va + p.len).contains(&at)));
}

/// What the pages of a part show has the part's bytes where they belong, lies in the
/// file and the pages, and leaves the zeros after the bytes alone.
fn shown_soundly(p: &Part, size: u64) {
    let Shown { at, offset, len } = p.shown(size).unwrap();
    let pages = p.pages().end - p.pages().start;
    let (before, end) = (p.va % PAGE, p.va % PAGE + p.file_len);
    assert!(at <= before && at + len >= end && at + len <= pages);
    assert!(offset + len <= size && p.offset - offset == before - at);
    let more = at + len > end || at < before;
    assert!(!more || offset % PAGE == at);
    assert!(p.len == p.file_len || at + len == end);
    assert!(p.offset + p.file_len == 0 || p.shown(p.offset + p.file_len - 1) == Err(Refused::Cut));
}

#[test]
fn pages_of_the_file_are_shown_whole() {
    let part = |va, offset, file_len, len| Part {
        va,
        len,
        offset,
        file_len,
        ..Part::default()
    };
    let shown = |part: Part, size| {
        let Shown { at, offset, len } = part.shown(size).unwrap();
        (at, offset, len)
    };
    let (size, end) = (10 * PAGE, PAGE + 300);
    let text = part(AT + 200, PAGE + 200, 100, 100);
    assert_eq!(shown(text, size), (0, PAGE, PAGE), "also what is around it");
    assert_eq!(shown(text, end), (0, PAGE, 300), "to the end of the file");
    let data = part(AT + 200, PAGE + 200, 100, 5000);
    assert_eq!(shown(data, size), (0, PAGE, 300), "then zeros");
    let odd = part(AT + 200, PAGE + 201, 100, 100);
    assert_eq!(
        shown(odd, size),
        (200, PAGE + 201, 100),
        "no page of the file"
    );
    let zeros = part(AT, 0, 0, PAGE);
    assert_eq!(shown(zeros, 0), (0, 0, 0));
    assert_eq!(text.shown(PAGE + 299), Err(Refused::Cut));
}

fn refused(bytes: &[u8], why: Refused) {
    assert_eq!(parse(bytes).err(), Some(why));
}

#[test]
fn a_good_file_is_loaded_as_it_says() {
    let data = Header {
        offset: 100,
        len: 5000,
        ..part(R | W, AT + PAGE, 9)
    };
    let program = parse(&file(EXEC, AT + 8, &[code(), data])).unwrap();
    assert_eq!(program.entry, AT + 8);
    assert_eq!(program.headers_va(), AT + 64);
    let [first, second] = program.parts() else {
        panic!("{program:?}")
    };
    assert!(first.execute && !first.write && second.write && !second.execute);
    let loaded = (second.va, second.len, second.offset, second.file_len);
    assert_eq!(loaded, (AT + PAGE, 5000, 100, 9));
    let moved = parse(&file(DYN, 8, &[part(R | X, 0, PAGE)])).unwrap();
    assert_eq!(moved.entry, PIE_BASE + 8);
}

#[test]
fn each_rule_is_named() {
    refused(b"", Refused::NotElf);
    refused(b"\x7fEL", Refused::NotElf);
    refused(b"#!/bin/sh\n", Refused::NotElf);
    refused(&file(EXEC, AT, &[code()])[..63], Refused::Cut);
    refused(&file(EXEC, AT, &[code()])[..100], Refused::Headers);
    refused(&file(1, AT, &[code()]), Refused::Kind);
    refused(&file(EXEC, AT, &[]), Refused::Empty);
    refused(&file(EXEC, 0, &[code()]), Refused::Entry);
    refused(&file(EXEC, AT, &[part(R, AT, PAGE)]), Refused::Entry);
    refused(&file(DYN, u64::MAX, &[code()]), Refused::Entry);
    let many: Vec<Header> = (0..7).map(|i| part(R | X, AT + i * PAGE, PAGE)).collect();
    refused(&file(EXEC, AT, &many), Refused::Parts);
    for header in [part(R | W, AT + 1, 1), part(R | W, AT - PAGE, PAGE + 1)] {
        refused(&file(EXEC, AT, &[code(), header]), Refused::Overlap);
    }
    let code = part(R | X, AT, PAGE);
    for va in [0, 7, ROOM.end - 1, u64::MAX - 3] {
        let odd = file(EXEC, AT, &[code, part(R, va, 2)]);
        refused(&odd, Refused::Addresses);
    }
    let wide = part(R, AT + PAGE, u64::MAX - 5);
    refused(&file(EXEC, AT, &[code, wide]), Refused::Addresses);
    let both = part(R | W | X, AT + PAGE, 1);
    refused(&file(EXEC, AT, &[code, both]), Refused::WritableCode);
    let large = Header {
        file_len: 2,
        ..part(R, AT + PAGE, 1)
    };
    refused(&file(EXEC, AT, &[code, large]), Refused::Sizes);
    let far = Header {
        offset: u64::MAX,
        ..part(R, AT + PAGE, 1)
    };
    refused(&file(EXEC, AT, &[code, far]), Refused::Cut);
}

#[test]
fn programs_of_another_system_are_named() {
    let with = |kind| {
        let other = Header {
            kind,
            offset: 1000,
            ..part(R, 0, 32)
        };
        let mut bytes = file(EXEC, AT, &[code(), other]);
        let note = [&[4u32, 16, 1].map(u32::to_le_bytes).concat(), &b"GNU\0"[..]].concat();
        bytes[1000..1016].copy_from_slice(&note);
        bytes
    };
    refused(&with(INTERP), Refused::Dynamic);
    refused(&with(TLS), Refused::ThreadLocal);
    refused(&with(NOTE), Refused::Linux);
    let mut of_hurd = with(NOTE);
    of_hurd[1016] = 1;
    assert!(parse(&of_hurd).is_ok());
}

#[test]
fn every_prefix_of_a_good_file_is_refused_or_loaded() {
    let good = file(EXEC, AT, &[code(), part(R | W, AT + PAGE, 8)]);
    for len in 0..good.len() {
        let whole = len >= 64 + 2 * 56;
        assert_eq!(parse(&good[..len]).is_ok(), whole, "{len} bytes");
    }
}

#[test]
fn every_byte_of_the_headers_may_have_any_value() {
    let note = Header {
        kind: NOTE,
        ..part(R, 0, PAGE)
    };
    let good = file(EXEC, AT, &[code(), note, part(R | W, AT + PAGE, 8)]);
    for at in 0..64 + 3 * 56 {
        for value in 0..=255 {
            let mut bytes = good.clone();
            bytes[at] = value;
            let _ = parse(&bytes);
        }
    }
}

/// Numbers near which errors are likely.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..3 * PAGE,
        AT - PAGE..AT + 3 * PAGE,
        ROOM.end - PAGE..ROOM.end + PAGE,
        u64::MAX - PAGE..=u64::MAX,
        any::<u64>(),
    ]
}

prop_compose! {
    fn header()(
        kind in prop_oneof![4 => Just(LOAD), 1 => 0u32..9],
        flags in 0u32..8,
        offset in number(),
        va in number(),
        file_len in number(),
        len in number(),
    ) -> Header {
        Header { kind, flags, offset, va, file_len, len }
    }
}

proptest! {
    #![proptest_config(seeded::config(4000))]

    #[test]
    fn random_tables_are_refused_or_sound(
        kind in 2u16..4,
        entry in number(),
        headers in prop::collection::vec(header(), 0..12),
        cut in 0..HEADERS,
        with_code in any::<bool>(),
    ) {
        let mut all = headers;
        if with_code {
            all.insert(0, code());
        }
        let entry = if with_code { AT } else { entry };
        let bytes = file(kind, entry, &all);
        let _ = parse(&bytes);
        let _ = parse(&bytes[..cut]);
    }

    #[test]
    fn random_bytes_are_refused_or_sound(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in prop::option::of(0usize..17),
    ) {
        let mut bytes = bytes;
        let good = file(EXEC, AT, &[code()]);
        if let Some(at) = at {
            let len = bytes.len().min(at);
            bytes[..len].copy_from_slice(&good[..len]);
        }
        let _ = parse(&bytes);
    }
}

/// The first bytes of the C compiler's output for `source`; `None` if it has no
/// library for that.
fn compiled(options: &[&str], source: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let from = folder.join("image.c");
    let to = folder.join(format!("image{}", options.concat()));
    std::fs::write(&from, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(options).arg("-o").args([&to, &from]);
    let made = cc.output().unwrap();
    if !made.status.success() {
        println!(
            "skipped: cc {options:?}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        return None;
    }
    let mut bytes = std::fs::read(to).unwrap();
    bytes.truncate(HEADERS);
    Some(bytes)
}

#[test]
fn what_a_c_compiler_makes_for_linux_is_refused_as_that_and_the_rest_is_not() {
    let main = "int main(void) { return 0; }";
    for options in [
        &["-static"][..],
        &["-static-pie"],
        &["-pie", "-fpie"],
        &["-no-pie"],
    ] {
        let Some(bytes) = compiled(options, main) else {
            continue;
        };
        let why = parse(&bytes).unwrap_err();
        assert!(
            why.to_string().contains("a Linux program"),
            "{options:?}: {why}"
        );
    }
    let start = "void _start(void) { for (;;) ; }";
    for options in [
        &["-nostdlib", "-static", "-no-pie"][..],
        &["-nostdlib", "-static-pie"],
    ] {
        let bytes = compiled(options, start).unwrap();
        parse(&bytes).unwrap();
    }
}

#[test]
fn a_program_of_the_standard_library_is_refused_as_one_for_linux() {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(HEADERS);
    let why = parse(&bytes).unwrap_err();
    assert!(why.to_string().contains("a Linux program"), "{why}");
}
