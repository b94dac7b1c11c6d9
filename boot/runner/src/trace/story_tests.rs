use super::*;

/// A record of process `pid` at `time`.
fn record(time: u64, pid: u32, event: Event, detail: u16, words: [u64; 3]) -> Record {
    let text = match event {
        Event::Read | Event::Path | Event::Exec | Event::Begin => "/n/host/file".into(),
        _ => String::new(),
    };
    Record {
        time,
        pid,
        event,
        detail,
        words,
        text,
    }
}

const BASE: u64 = 0x10_0000;
const MEMORY: u16 = 3;

/// A process in space 1 with a segment of ten pages, of which page 2 is dirty.
fn beginning() -> Vec<Record> {
    vec![
        record(0, 0, Event::Clock, 0, [1000, 0, 0]),
        record(10, 0, Event::Begin, 0, [1, 0, 1]),
        record(20, 1, Event::Attach, MEMORY, [BASE, 10, 1]),
        record(30, 1, Event::Page, 3, [BASE + 2 * PAGE, 1, 1]),
    ]
}

#[test]
fn a_childs_pages_begin_as_its_parents_and_go_their_own_way() {
    let mut records = beginning();
    records.extend([
        record(39, 1, Event::Call, 2, [0; 3]),
        record(40, 1, Event::Attach, MEMORY, [BASE, 10, 2]),
        record(41, 1, Event::Begin, 0, [2, 1, 2]),
        record(50, 1, Event::Page, 0, [BASE + 2 * PAGE, 1, 1]),
        record(60, 2, Event::Page, 3, [BASE + 4 * PAGE, 2, 1]),
        record(70, 2, Event::Detach, 0, [BASE, 10, 2]),
    ]);
    let story = Story::new(&records);
    assert_eq!(story.segments.len(), 2);
    let (parent, child) = (&story.segments[0], &story.segments[1]);
    assert_eq!((parent.pid, child.pid), (1, 2));
    assert_eq!(parent.changes, [(30, 2, 3), (50, 2, 0)]);
    assert_eq!(child.changes, [(40, 2, 3), (60, 4, 3)]);
    assert_eq!((child.span.clone(), parent.span.clone()), (40..70, 20..70));
    assert_eq!(story.counts.last(), Some(&(70, [0; TAGS])));
}

#[test]
fn pages_that_leave_together_are_asleep_and_free_ones_have_no_file() {
    let mut records = beginning();
    records.extend([
        record(40, 1, Event::Page, 3, [BASE + 3 * PAGE, 1, 1]),
        record(50, 1, Event::Page, 0, [BASE, 1, 3]),
        record(60, 1, Event::Read, 0, [BASE + PAGE + 1, 5 * PAGE, 77]),
    ]);
    let story = Story::new(&records);
    let segment = &story.segments[0];
    assert_eq!(segment.changes[2..], [(50, 2, 0)]);
    assert_eq!(segment.ties[0].range, PAGE + 1..6 * PAGE + 1);
}

#[test]
fn a_new_program_has_pages_of_its_own_and_the_file_they_come_from() {
    let mut records = beginning();
    records.extend([
        record(40, 1, Event::Call, 3, [0; 3]),
        record(41, 1, Event::Attach, MEMORY, [BASE, 10, 2]),
        record(42, 1, Event::Read, 1, [BASE, 10 * PAGE, 0]),
        record(43, 1, Event::Exec, 0, [2, 1, 0]),
        record(44, 1, Event::Detach, 0, [BASE, 0, 1]),
        record(45, 1, Event::Fault, 2, [BASE + PAGE, BASE + PAGE, 0]),
        record(46, 1, Event::Resolved, 0, [BASE + PAGE, 0, 0]),
    ]);
    let story = Story::new(&records);
    let new = &story.segments[1];
    assert_eq!((new.pid, new.changes.len(), new.ties.len()), (1, 0, 1));
    assert_eq!(story.faults[0].source, Some(("/n/host/file".into(), PAGE)));
    assert_eq!(story.counts.last(), Some(&(44, [0; TAGS])));
}

#[test]
fn a_fault_is_told_with_the_place_that_its_page_comes_from() {
    let mut records = beginning();
    let address = BASE + 5 * PAGE + 9;
    records.extend([
        record(40, 1, Event::Read, 0, [BASE, 10 * PAGE, 8 * PAGE]),
        record(50, 1, Event::Fault, 0, [address, 0x40, 0]),
        record(51, 1, Event::Page, 1, [address & !(PAGE - 1), 1, 1]),
        record(52, 1, Event::Request, 116, [7, 23, 13 * PAGE]),
        record(53, 9, Event::Answer, 117, [7, 4107, 0]),
        record(54, 1, Event::Page, 2, [address & !(PAGE - 1), 1, 1]),
        record(55, 1, Event::Resolved, 0, [address, 0, 0]),
        record(60, 1, Event::Fault, 1, [1, 0x40, 0]),
        record(61, 1, Event::Resolved, 1, [1, 0, 0]),
    ]);
    let story = Story::new(&records);
    let fault = &story.faults[0];
    assert_eq!((fault.outcome, fault.requests), ("filled", 1));
    assert_eq!(fault.source, Some(("/n/host/file".into(), 13 * PAGE)));
    assert_eq!(story.faults[1].outcome, "denied");
    let message = &story.messages[0];
    assert_eq!(
        (message.server, message.kinds, message.span.clone()),
        (9, (116, 117), 52..53)
    );
}

#[test]
fn records_that_fit_together_in_no_way_are_no_panic() {
    let events: Vec<_> = (0..64).map_while(Event::from_number).collect();
    let mut seed = 1_u64;
    let mut next = |below: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..300 {
        let mut records = beginning();
        for _ in 0..200 {
            let event = events[next(events.len() as u64) as usize];
            let values = [
                0,
                1,
                2,
                BASE,
                BASE + PAGE,
                9 * PAGE,
                u64::MAX,
                u64::MAX - PAGE,
            ];
            let words = std::array::from_fn(|_| values[next(values.len() as u64) as usize]);
            let (time, pid) = (next(1000), next(4) as u32);
            records.push(record(time, pid, event, next(300) as u16, words));
        }
        let story = Story::new(&records);
        let drawn = super::super::html::page(&story);
        assert!(drawn.len() > 1000 && !super::super::chrome::events(&story).is_empty());
    }
}
