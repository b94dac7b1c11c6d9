//! `--trace`: what is drawn is what happened, and a browser draws it.

use abi::PAGE;
use dormouse_qemu_tests::{guest, run, scratch, skipped};
use runner::trace::story::{Fault, Segment, Story};
use runner::{Guest, trace};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Pages of the file that is read, and a ragged end.
const PAGES: u64 = 300;
const SIZE: u64 = PAGES * PAGE + 77;
const TOUCHED: usize = 12;
const CHANGED: usize = 5;

/// The tags of the states that a page has one after the other.
const ASLEEP: u8 = 0;
const FILLING: u8 = 1;
const RESIDENT: u8 = 2;
const DIRTY: u8 = 3;
const SENDING: u8 = 4;
/// The snapshot kind's place among the kinds of segments.
const SNAPSHOT: u16 = 4;

fn lazy(share: &Path) -> Guest {
    fs::write(share.join("file"), vec![7; SIZE as usize]).unwrap();
    let command = format!("lazy -n {TOUCHED} -m {CHANGED} /n/host/file");
    guest(share).command(command)
}

/// The pid of the only process with that program.
fn pid(story: &Story, program: &str) -> u32 {
    let mut with = story.processes.iter().filter(|(_, p)| p.program == program);
    let (pid, _) = with
        .next()
        .unwrap_or_else(|| panic!("no {program}: {:?}", story.processes));
    *pid
}

/// The states of each page of a segment, in their order.
fn states(segment: &Segment) -> BTreeMap<u64, Vec<u8>> {
    let mut pages = BTreeMap::<_, Vec<_>>::new();
    for (_, page, tag) in &segment.changes {
        pages.entry(*page).or_default().push(*tag);
    }
    pages
}

fn check_pages(story: &Story, lazy: u32) {
    let with = story
        .segments
        .iter()
        .filter(|s| s.pid == lazy && s.kind == SNAPSHOT);
    let tied: Vec<_> = with.filter(|s| !s.ties.is_empty()).collect();
    let [segment] = tied[..] else {
        panic!("{} segments are tied to the file", tied.len());
    };
    assert_eq!(segment.pages, SIZE.div_ceil(PAGE));
    let tie = &segment.ties[0];
    assert_eq!((tie.path.as_str(), tie.offset), ("/n/host/file", 0));
    assert_eq!(tie.range, 0..SIZE);
    let pages = states(segment);
    assert_eq!(pages.len(), TOUCHED, "{pages:?}");
    let read = [FILLING, RESIDENT, ASLEEP];
    let written = [FILLING, RESIDENT, DIRTY, SENDING, RESIDENT, ASLEEP];
    let count = |of: &[u8]| pages.values().filter(|states| *states == of).count();
    assert_eq!(
        (count(&read), count(&written)),
        (TOUCHED - CHANGED, CHANGED),
        "{pages:?}"
    );
}

fn check_faults(story: &Story, lazy: u32, hostfs: u32) {
    let of_file = |fault: &&Fault| {
        fault
            .source
            .as_ref()
            .is_some_and(|(path, _)| path == "/n/host/file")
    };
    let faults: Vec<_> = story
        .faults
        .iter()
        .filter(|f| f.pid == lazy)
        .filter(of_file)
        .collect();
    let with = |outcome| faults.iter().filter(move |f| f.outcome == outcome);
    assert_eq!(
        (with("filled").count(), with("own page").count()),
        (TOUCHED, CHANGED)
    );
    for fault in with("filled") {
        let offset = fault.source.as_ref().unwrap().1;
        assert!(offset % PAGE == 0 && offset < SIZE, "{fault:?}");
        // The message of this fault, and the server that answered it.
        let inside = |span: &std::ops::Range<u64>| {
            fault.span.start <= span.start && span.end <= fault.span.end
        };
        let sent = story
            .messages
            .iter()
            .filter(|m| m.pid == lazy && inside(&m.span));
        let sent: Vec<_> = sent.map(|m| (m.server, m.offset)).collect();
        assert_eq!(
            (fault.requests, sent),
            (1, vec![(hostfs, offset)]),
            "{fault:?}"
        );
        // The server ran meanwhile.
        let turns = story
            .turns
            .iter()
            .filter(|(pid, span)| *pid == hostfs && inside(span));
        assert!(turns.count() > 0, "{fault:?}");
    }
}

/// Every fault of a program met its segment, also init's, which began before all others;
/// and those of its text come from its file.
fn check_programs(story: &Story) {
    let denied = story.faults.iter().find(|fault| fault.outcome == "denied");
    assert!(denied.is_none(), "{denied:?}");
    for (pid, process) in &story.processes {
        let fetch = |fault: &&Fault| fault.pid == *pid && fault.access == 2;
        let from = story
            .faults
            .iter()
            .filter(fetch)
            .filter_map(|fault| fault.source.as_ref());
        let its = from.filter(|(path, _)| process.program.ends_with(path.as_str()));
        assert!(its.count() > 0, "no page of {pid}: {process:?}");
    }
}

fn check_calls(story: &Story, lazy: u32) {
    let calls = |call: abi::Call| {
        story
            .calls
            .iter()
            .filter(move |c| c.pid == lazy && u64::from(c.number) == call as u64)
    };
    let opened: Vec<_> = calls(abi::Call::Open)
        .flat_map(|c| c.paths.clone())
        .collect();
    assert_eq!(opened, ["/n/host/file"]);
    let read: Vec<_> = calls(abi::Call::PRead).map(|c| c.result).collect();
    assert_eq!(read, [Some(SIZE)]);
    let to_file = story.writes.iter().filter(|w| w.path == "/n/host/file");
    let write: Vec<_> = to_file
        .map(|w| (w.pid, w.path.as_str(), w.range.end - w.range.start))
        .collect();
    assert_eq!(write, [(lazy, "/n/host/file", SIZE)]);
    for turns in story.turns.windows(2) {
        assert!(turns[0].1.end <= turns[1].1.start, "two at once: {turns:?}");
    }
    let (_, last) = story.counts.last().unwrap();
    assert!(
        last[usize::from(FILLING)] == 0 && last[usize::from(SENDING)] == 0,
        "{last:?}"
    );
}

#[test]
fn a_trace_tells_each_state_of_each_page_and_who_filled_it() {
    let (share, out) = (scratch(), scratch());
    let files = ["t.html", "t.json", "t.folded"].map(|name| out.path().join(name));
    let (outcome, story) = trace::run(lazy(share.path()), &files, Guest::run).unwrap();
    assert_eq!(outcome.status().unwrap(), 0, "{}", outcome.console);
    let (lazy, hostfs) = (pid(&story, "/bin/lazy"), pid(&story, "/bin/hostfs"));
    check_pages(&story, lazy);
    check_faults(&story, lazy, hostfs);
    check_calls(&story, lazy);
    check_programs(&story);

    let [page, events, folded] = files.map(|file| fs::read_to_string(file).unwrap());
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    let events = events["traceEvents"].as_array().unwrap();
    let filled = |e: &&serde_json::Value| e["name"] == "fault: filled" && e["pid"] == lazy;
    assert!(events.iter().filter(filled).count() >= TOUCHED);
    // The first load is in one function of the program.
    let line = folded
        .lines()
        .find(|l| l.starts_with("lazy;") && l.contains("load: filled"));
    assert!(line.is_some_and(|line| line.contains("::")), "{folded}");
    look_at(&page, out.path());
}

/// Counts what the page draws, once it has done so.
const COUNT: &str = "<script>
const pixels = canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
const map = pixels(document.getElementById('map')), line = pixels(document.getElementById('line'));
const is = (d, i, r, g, b) => Math.abs(d[i] - r) + Math.abs(d[i + 1] - g) + Math.abs(d[i + 2] - b) < 60;
let resident = 0, filled = 0;
for (let i = 0; i < map.length; i += 4) resident += is(map, i, 0x3b, 0x82, 0xd6);
for (let i = 0; i < line.length; i += 4) filled += is(line, i, 0x3b, 0x82, 0xd6);
document.title = `resident ${resident} filled ${filled} rows ${document.querySelectorAll('#totals tr').length}`;
</script>";

/// Lets a browser draw the page, and looks at what it has drawn.
fn look_at(page: &str, folder: &Path) {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = names.into_iter().find(is_there) else {
        skipped("no browser looks at the page: install chromium");
        return;
    };
    let file = folder.join("page.html");
    fs::write(&file, page.to_owned() + COUNT).unwrap();
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trace.png");
    let words = [
        "--headless".into(),
        "--no-sandbox".into(),
        "--disable-gpu".into(),
        "--virtual-time-budget=5000".into(),
        "--window-size=1280,1400".into(),
        format!("--user-data-dir={}", folder.join("profile").display()),
    ];
    let open = |what: String| {
        let mut command = Command::new("timeout");
        command
            .args(["60", browser])
            .args(&words)
            .arg(what)
            .arg(&file);
        command.output().unwrap()
    };
    let dom = open("--dump-dom".into()).stdout;
    let dom = String::from_utf8_lossy(&dom);
    let title = dom
        .split("<title>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let title = title.unwrap_or_else(|| panic!("no page:\n{dom}"));
    let figures: Vec<u32> = title
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [resident, filled, rows] = figures[..] else {
        panic!("the script did not end: {title}\n{dom}");
    };
    // Twelve cells of some dots, and as many marks.
    assert!(resident > 100 && filled > 20 && rows > 5, "{title}");
    assert!(dom.contains("data-drawn=\"yes\""));
    open(format!("--screenshot={}", picture.display()));
    let png = fs::read(&picture).unwrap();
    assert!(
        png.len() > 10_000,
        "an empty picture: {}",
        picture.display()
    );
}

#[test]
fn the_picture_of_the_readme_is_what_the_command_draws() {
    let (share, out) = (scratch(), scratch());
    fs::write(share.path().join("file"), vec![b'a'; 600 * PAGE as usize]).unwrap();
    let drawn = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages.svg");
    let guest = guest(share.path()).command("lazy -o /n/host/file");
    let files = [drawn.clone(), out.path().join("again.svg")];
    let (outcome, _) = trace::run(guest, &files, Guest::run).unwrap();
    assert_eq!(outcome.status().unwrap(), 0, "{}", outcome.console);
    let picture = fs::read_to_string(&drawn).unwrap();
    assert_eq!(picture, fs::read_to_string(&files[1]).unwrap());
    let captions: Vec<_> = picture.split("<text class=\"said\"").skip(1).collect();
    let captions: Vec<_> = captions
        .iter()
        .map(|c| c.split(['>', '<']).nth(1).unwrap())
        .collect();
    assert_eq!(
        captions,
        [
            "read of the whole file: 1 message, no data; all pages are asleep",
            "touch of 8 pages: 8 messages; each is filled from the snapshot",
            "another program overwrites the file: the buffer does not change",
            "touch of 8 pages: 8 messages; each is filled from the snapshot",
            "stores to 3 pages: no message; they are the program's own",
            "write of the whole buffer: 1 message with 3 pages; the server restores the rest",
        ]
    );
    // The file is as it was at the read, but for the three.
    let now = fs::read(share.path().join("file")).unwrap();
    let others = now
        .chunks(PAGE as usize)
        .filter(|page| page.iter().any(|byte| *byte != b'a'));
    assert_eq!(others.count(), 3);
    let kept = include_str!("../../../docs/pages.svg");
    assert!(
        kept == picture,
        "docs/pages.svg is not {}: copy it there",
        drawn.display()
    );
}

#[test]
fn trace_prints_what_a_command_does() {
    let share = scratch();
    fs::write(share.path().join("file"), vec![7; 3 * PAGE as usize]).unwrap();
    let guest = guest(share.path()).command(
        "trace cat /n/host/file > /dev/null; trace -c sh -c 'exit 3'; echo status $?; trace -m ls /n/host/none",
    );
    let (console, status) = run(share.path(), &guest);
    for part in [
        " Exec(\"/bin/cat\") = 0",
        " Open(\"/n/host/file\") = 3",
        "message: Twalkopen",
        "fault: store at 0x",
        "found in memory",
        " Exec(\"/bin/sh\") = 0",
        "status 3",
        "message: Twalk",
    ] {
        assert!(console.contains(part), "no {part}\n{console}");
    }
    let second = console
        .split("/bin/sh")
        .nth(1)
        .unwrap()
        .split("status")
        .next()
        .unwrap();
    assert!(
        !second.contains("fault:") && !second.contains("message:"),
        "{console}"
    );
    assert_ne!(status, 0, "ls found nothing");
}

#[test]
fn the_kinds_of_segments_have_the_names_of_the_kernel() {
    let source = include_str!("../../../kernel/src/seg/mod.rs");
    let names = source.split("pub const fn name(self)").nth(1).unwrap();
    let names = names
        .split("\n    }")
        .next()
        .unwrap()
        .split('"')
        .skip(1)
        .step_by(2);
    assert_eq!(names.collect::<Vec<_>>(), trace::KINDS);
    let tags = include_str!("../../../kernel/vm/src/page_state.rs");
    let tags = tags.split("fn decode(word").nth(1).unwrap();
    for (tag, name) in abi::trace::STATES.iter().enumerate().skip(1) {
        let mut letters = name.chars();
        let first: String = letters.next().unwrap().to_uppercase().collect();
        let arm = format!("{tag} => PageState::{first}{}", letters.as_str());
        assert!(tags.contains(&arm), "no {arm}");
    }
}
