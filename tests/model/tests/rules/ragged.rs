//! Overlapping reads and writes at any alignment and of any length (rules 1, 4,
//! 9 to 11): the VM core over the real snapfs, and the bytes transferred.

use crate::CONFIG;
use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::real::{Real, RealFile};
use model::server::{File, Servers};
use model::world::{Config, Point, World};
use vm::{PageState, WriteTo};

const PAGE: usize = model::PAGE;
const P: u64 = vm::PAGE;

/// Bytes that differ between neighbours, pages and seeds.
fn content(seed: usize, len: usize) -> Vec<u8> {
    let byte = |i: usize| (i % 251) ^ (i / PAGE * 31) ^ (seed * 89);
    (0..len).map(|i| byte(i) as u8).collect()
}

fn world(files: &[Vec<u8>]) -> World<Real> {
    world_with(files, CONFIG)
}

fn world_with(files: &[Vec<u8>], config: Config) -> World<Real> {
    let file = |content: &Vec<u8>| RealFile {
        server: 0,
        snapshots: true,
        write_only: false,
        content: content.clone(),
    };
    World::new(
        Real::new(&files.iter().map(file).collect::<Vec<_>>()),
        config,
    )
}

fn read<S: Servers>(w: &mut World<S>, at: usize, n: usize, file: File, off: usize) -> usize {
    let got = vm::read(&mut w.process(0), at as u64, n as u64, file, off as u64);
    got.expect("read") as usize
}

fn write<S: Servers>(w: &mut World<S>, at: usize, n: usize, file: File, off: usize) {
    let put = vm::write(&mut w.process(0), at as u64, n as u64, file, off as u64);
    assert_eq!(put, Ok(n as u64));
}

fn store<S: Servers>(w: &mut World<S>, at: usize, bytes: &[u8]) {
    assert_eq!(w.store(0, at, bytes), (bytes.len(), Ok(())));
}

fn foreign(w: &mut World<Real>, file: File, off: usize, bytes: &[u8]) {
    let put = w.servers.foreign_write(file, off as u64, bytes);
    put.expect("write");
}

/// The process finds these bytes.
#[track_caller]
fn holds<S: Servers>(w: &mut World<S>, at: usize, want: &[u8]) {
    let got = w.load(0, at, want.len()).expect("load");
    let differs = got.iter().zip(want).position(|(a, b)| a != b);
    assert_eq!(differs, None, "from {at}");
}

/// A file's bytes are these.
#[track_caller]
fn is(w: &mut World<impl Servers>, file: File, want: &[u8]) {
    let got = w.servers.content(file);
    assert_eq!(got.len(), want.len(), "size of file {file}");
    let differs = got.iter().zip(want).position(|(a, b)| a != b);
    assert_eq!(differs, None, "file {file}");
}

/// Messages, data bytes in, data bytes out since the last call.
fn moved<S: Servers>(w: &mut World<S>) -> (u64, u64, u64) {
    let moved = (w.messages, w.bytes_in, w.bytes_out);
    (w.messages, w.bytes_in, w.bytes_out) = (0, 0, 0);
    moved
}

fn end<S: Servers>(mut w: World<S>) {
    w.check();
    w.exit(0);
    assert_eq!(w.frames.borrow().used(), 0, "frames left");
    w.servers.check_idle();
}

#[test]
fn half_a_gibibyte_at_the_start_of_a_page_and_two_is_one_message() {
    let size = 512 << 20;
    let mut w = world(&[vec![]]);
    w.servers.truncate(0, size as u64).expect("truncate");
    let marks = [0, 4093, 4094, 77 * PAGE - 3, size - 4];
    for at in marks {
        foreign(&mut w, 0, at, b"mark");
    }
    assert_eq!(read(&mut w, 2, size, 0, 0), size);
    assert_eq!(moved(&mut w), (1, 0, 0));
    for at in marks {
        foreign(&mut w, 0, at, b"gone");
        if at != 4093 {
            holds(&mut w, at + 2, b"mark");
        }
    }
    holds(&mut w, 0, &[0, 0, b'm']);
    let (messages, bytes, _) = moved(&mut w);
    assert!(messages <= 8 && bytes <= 8 * P, "{messages}, {bytes}");
    write(&mut w, 2, size, 0, 0);
    assert_eq!(moved(&mut w), (1, 0, 0));
    let got = w.servers.content(0);
    assert!(marks[2..].iter().all(|&at| got[at..].starts_with(b"mark")));
    end(w);
}

/// A loop of reads of `n` bytes, each `gap` bytes after the one before in the
/// file and in the buffer.
fn read_loop(n: usize, gap: usize) {
    let rounds = 40 * PAGE / (n + gap);
    let rounds = rounds.min(3000);
    let file = content(1, rounds * (n + gap) + 5);
    let mut w = world(std::slice::from_ref(&file));
    let mut want = vec![0; rounds * (n + gap)];
    for round in 0..rounds {
        let at = round * (n + gap);
        assert_eq!(read(&mut w, at + 3, n, 0, at + 1), n);
        want[at..at + n].copy_from_slice(&file[at + 1..at + 1 + n]);
    }
    let what = format!("{n} bytes, then {gap} not");
    assert_eq!(moved(&mut w), (rounds as u64, 0, 0), "{what}");
    let extents = if gap == 0 { 1 } else { rounds };
    let list = w.space(0).segment.extents().iter().count();
    assert_eq!(list, extents, "extents: {what}");
    assert_eq!(w.servers.snapshots(), 1, "snapshots: {what}");
    foreign(&mut w, 0, 0, &content(2, file.len()));
    holds(&mut w, 3, &want);
    end(w);
}

#[test]
fn a_loop_of_small_reads_is_one_snapshot_and_one_association() {
    for n in [1, 2, 7, 100, 511, 1000, 2048, 4093, 4095] {
        read_loop(n, 0);
    }
}

#[test]
fn a_loop_of_small_reads_with_gaps_is_one_snapshot() {
    for (n, gap) in [
        (1, 1),
        (7, 9),
        (100, 28),
        (4093, 3),
        (1000, 3000),
        (4095, 4096),
    ] {
        read_loop(n, gap);
    }
}

#[test]
fn overlapping_reads_of_any_alignment_are_as_the_last_one() {
    let files = [content(1, 9 * PAGE), content(2, 9 * PAGE)];
    let mut w = world(&files);
    let mut want = vec![0; 9 * PAGE];
    for (at, n, file, off) in [
        (0, 6 * PAGE, 0, 0),
        (PAGE - 5, PAGE + 14, 0, 3),
        (2 * PAGE + 1, 3 * PAGE, 1, 4095),
        (PAGE + 7, 10, 1, 0),
        (3 * PAGE, PAGE, 0, 3 * PAGE),
        (0, 1, 1, PAGE),
        (4 * PAGE - 1, 2, 0, 0),
    ] {
        assert_eq!(read(&mut w, at, n, file, off), n);
        want[at..at + n].copy_from_slice(&files[file][off..off + n]);
        w.check();
    }
    for file in 0..2 {
        foreign(&mut w, file, 0, &content(7, 9 * PAGE));
    }
    holds(&mut w, 0, &want);
    end(w);
}

#[test]
fn a_sleeping_range_is_written_over_itself_a_little_further() {
    let n = 20 * PAGE;
    for shift in [1, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7] {
        let file = content(1, n + 2 * shift);
        // Towards the end, and towards the beginning.
        for (from, to) in [(0, shift), (shift, 0)] {
            let mut w = world(std::slice::from_ref(&file));
            read(&mut w, 5 * PAGE, n, 0, from);
            moved(&mut w);
            write(&mut w, 5 * PAGE, n, 0, to);
            let (_, bytes_in, bytes_out) = moved(&mut w);
            assert_eq!((bytes_in, bytes_out), (0, 0), "by {shift} to {to}");
            let mut want = file.clone();
            want.copy_within(from..from + n, to);
            is(&mut w, 0, &want);
            holds(&mut w, 5 * PAGE, &file[from..from + n]);
            // Tied to where it is now.
            write(&mut w, 5 * PAGE, n, 0, to);
            assert_eq!(moved(&mut w).2, 0);
            is(&mut w, 0, &want);
            end(w);
        }
    }
}

#[test]
fn pages_that_swap_places_in_the_file_are_both_what_they_were() {
    let file = content(1, 2 * PAGE);
    let swapped = [&file[PAGE..], &file[..PAGE]].concat();
    for touched in [None, Some(0), Some(PAGE)] {
        let mut w = world(std::slice::from_ref(&file));
        read(&mut w, 0, PAGE, 0, PAGE);
        read(&mut w, PAGE, PAGE, 0, 0);
        if let Some(at) = touched {
            w.load(0, at, 1).expect("load");
        }
        moved(&mut w);
        write(&mut w, 0, 2 * PAGE, 0, 0);
        assert_eq!(moved(&mut w).2, 0, "no byte is sent");
        is(&mut w, 0, &swapped);
        holds(&mut w, 0, &swapped);
        // And back, page by page.
        write(&mut w, PAGE, PAGE, 0, 0);
        is(&mut w, 0, &[&swapped[PAGE..], &swapped[PAGE..]].concat());
        write(&mut w, 0, PAGE, 0, PAGE);
        is(&mut w, 0, &file);
        end(w);
    }
}

#[test]
fn an_append_inside_of_the_last_page_is_not_in_what_was_read_before() {
    let file = content(1, PAGE + 100);
    for woken in [false, true] {
        let mut w = world(std::slice::from_ref(&file));
        assert_eq!(read(&mut w, 0, 3 * PAGE, 0, 0), file.len());
        if woken {
            w.load(0, PAGE, 1).expect("load");
        }
        foreign(&mut w, 0, file.len(), b"appended");
        holds(&mut w, 0, &file);
        holds(&mut w, file.len(), &[0; 8]);
        // Nor does writing it back cut that off.
        write(&mut w, 0, file.len(), 0, 0);
        let mut want = [&file[..], b"appended"].concat();
        is(&mut w, 0, &want);
        // An append by this process.
        store(&mut w, 2 * PAGE, b"mine");
        let put = vm::write(&mut w.process(0), 2 * P, 4, 0, WriteTo::End);
        assert_eq!(put, Ok(4));
        want.extend_from_slice(b"mine");
        is(&mut w, 0, &want);
        assert_eq!(read(&mut w, 0, 3 * PAGE, 0, 0), want.len());
        holds(&mut w, 0, &want);
        end(w);
    }
}

#[test]
fn a_fill_in_flight_does_not_arrive_in_a_page_that_was_replaced() {
    let files = [content(1, 4 * PAGE), content(2, 4 * PAGE)];
    let replace: [Happens; 3] = [
        |w| assert_eq!(read(w, PAGE, PAGE, 1, 0), PAGE),
        |w| vm::free(&mut w.process(0), P, P).expect("free"),
        |w| assert_eq!(read(w, PAGE + 1, PAGE, 1, 0), PAGE),
    ];
    let free = [0; PAGE].to_vec();
    let partly = [&files[0][PAGE..=PAGE], &files[1][..PAGE - 1]].concat();
    let wants = [files[1][..PAGE].to_vec(), free, partly];
    for (replace, want) in replace.into_iter().zip(&wants) {
        let mut w = world(&files);
        read(&mut w, 0, 4 * PAGE, 0, 0);
        w.interrupt = Some((Point::Fill, Box::new(replace)));
        holds(&mut w, PAGE, want);
        assert!(w.interrupt.is_none());
        let stale = w.frames.borrow().counts[vm::Count::Stale as usize];
        assert_eq!(stale, 1, "fills thrown away");
        end(w);
    }
}

#[test]
fn a_page_that_only_a_part_of_was_written_of_stays_dirty() {
    let size = 10 * PAGE;
    let file = FakeFile {
        server: 0,
        snapshots: true,
        declines: false,
        content: vec![7; size],
    };
    let config = Config {
        iounit: P,
        ..CONFIG
    };
    let mut w = World::new(Fake::new(vec![file]), config);
    read(&mut w, 0, size, 0, 0);
    let want = content(1, size);
    store(&mut w, 0, &want);
    // Ten messages of one commit, which ends in the third page.
    let mut cut = 2 * P + 1000;
    w.servers.limit_commits(Some(cut));
    moved(&mut w);
    write(&mut w, 0, size, 0, 0);
    w.servers.limit_commits(None);
    is(&mut w, 0, &want);
    let mut dirty = Vec::new();
    while cut < size as u64 {
        if !cut.is_multiple_of(P) {
            dirty.push(cut / P);
        }
        cut += 2 * P + 1000;
    }
    for page in 0..size as u64 / P {
        let space = w.space(0);
        let state = space.segment.state(&space.memory, page);
        let is_dirty = matches!(state, PageState::Dirty(_));
        assert_eq!(is_dirty, dirty.contains(&page), "page {page}: {state:?}");
    }
    w.check();
    moved(&mut w);
    write(&mut w, 0, size, 0, 0);
    assert_eq!(moved(&mut w).2, dirty.len() as u64 * P);
    end(w);
}

#[test]
fn a_snapshot_of_a_file_since_removed_can_be_written() {
    let files = [content(1, 5 * PAGE + 77), vec![]];
    let mut w = world(&files);
    let n = files[0].len();
    read(&mut w, 9, n, 0, 0);
    w.load(0, 2 * PAGE, 1).expect("load");
    store(&mut w, 3 * PAGE, b"own");
    w.servers.remove(0).expect("remove");
    moved(&mut w);
    write(&mut w, 9, n, 1, 0);
    assert_eq!(moved(&mut w).2, P, "only the page stored to is sent");
    let mut want = files[0].clone();
    want[3 * PAGE - 9..3 * PAGE - 6].copy_from_slice(b"own");
    is(&mut w, 1, &want);
    // The open file itself is still there to be written, as ever.
    write(&mut w, 9, n, 0, 0);
    is(&mut w, 0, &want);
    end(w);
}

/// An operation of another client on the files.
type Happens = fn(&mut World<Real>);

/// Such operations, by name.
const FOREIGN: [(&str, Happens); 7] = [
    ("nothing", |_| ()),
    ("overwrites a block", |w| {
        foreign(w, 0, 2 * PAGE, &[0xbb; PAGE])
    }),
    ("overwrites some bytes", |w| {
        foreign(w, 0, 3 * PAGE - 5, &[0xbb; 10])
    }),
    ("overwrites all", |w| foreign(w, 0, 0, &[0xbb; 6 * PAGE])),
    ("truncates", |w| {
        w.servers.truncate(0, PAGE as u64 + 9).expect("truncate")
    }),
    ("truncates and extends", |w| {
        w.servers.truncate(0, 0).expect("truncate");
        w.servers.truncate(0, 9 * P).expect("extend");
    }),
    ("appends", |w| foreign(w, 0, 6 * PAGE, b"appended")),
];

/// The file ends as the eager write leaves it, whatever others did between the
/// read and the write: only the server can know, so it decides.
#[test]
fn a_write_ends_as_the_eager_one_whatever_others_did_before() {
    let n = 6 * PAGE;
    let files = [content(1, n), content(2, 2 * n)];
    for (name, happens) in FOREIGN {
        for (at, file, off) in [
            (0, 0, 0),
            (0, 0, 100),
            (50, 0, 50),
            (0, 1, 0),
            (7, 1, 3 * PAGE),
        ] {
            for state in 0..3 {
                let mut w = world(&files);
                read(&mut w, 0, n, 0, 0);
                let mut buffer = files[0].clone();
                if state > 0 {
                    w.load(0, 0, n).expect("load");
                }
                if state > 1 {
                    store(&mut w, 4 * PAGE - 2, b"stored");
                    buffer[4 * PAGE - 2..4 * PAGE + 4].copy_from_slice(b"stored");
                }
                happens(&mut w);
                let mut want = w.servers.content(file);
                want.resize(want.len().max(off + n - at), 0);
                want[off..off + n - at].copy_from_slice(&buffer[at..]);
                moved(&mut w);
                write(&mut w, at, n - at, file, off);
                println!("{name}: {at} to {file} at {off}, state {state}");
                is(&mut w, file, &want);
                let sent = moved(&mut w).2;
                assert!(sent <= 2 * P, "{sent} bytes sent");
                holds(&mut w, 0, &buffer);
                end(w);
            }
        }
    }
}

/// Eager reads take several messages, between which the file changes.
#[test]
fn all_bytes_of_an_eager_read_are_of_one_moment() {
    let old = content(1, 8 * PAGE);
    for point in [Point::AfterSnap, Point::Fetch, Point::Fill] {
        for (at, n) in [(0, 8 * PAGE), (100, 5 * PAGE + 7)] {
            let config = Config {
                iounit: P,
                ..CONFIG
            };
            let mut w = world_with(std::slice::from_ref(&old), config);
            w.interrupt = Some((point, Box::new(|w| foreign(w, 0, 0, &content(2, 8 * PAGE)))));
            let mut process = w.process(0);
            process.eager = true;
            let got = vm::read(&mut process, at, n as u64, 0, 0);
            assert_eq!(got, Ok(n as u64));
            assert!(w.interrupt.is_none(), "{point:?}: nothing happened");
            holds(&mut w, at as usize, &old[..n]);
        }
    }
}
