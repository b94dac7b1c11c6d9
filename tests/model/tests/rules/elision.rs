//! The bytes that are transferred, and those that are not: the VM core over the
//! real snapfs, counted.

use dormouse_model_tests as model;
use model::memory::Frames;
use model::real::{Real, RealFile};
use model::server::{File, Servers};
use model::world::{Config, Space, World};
use vm::PageState;

const PAGE: usize = model::PAGE;
const GIB: u64 = 1 << 30;

const CONFIG: Config = Config {
    pages: 1 << 28,
    run: 1,
    ..crate::CONFIG
};

/// Files with this content on one server.
fn world(files: &[&[u8]]) -> World<Real> {
    let file = |content: &&[u8]| RealFile {
        server: 0,
        snapshots: true,
        write_only: false,
        content: content.to_vec(),
    };
    World::new(
        Real::new(&files.iter().map(file).collect::<Vec<_>>()),
        CONFIG,
    )
}

fn read(w: &mut World<Real>, at: u64, n: u64, file: File, off: u64) -> u64 {
    vm::read(&mut w.process(0), at, n, file, off).expect("read")
}

fn write(w: &mut World<Real>, at: u64, n: u64, file: File, off: u64) -> u64 {
    vm::write(&mut w.process(0), at, n, file, off).expect("write")
}

fn store(w: &mut World<Real>, at: usize, bytes: &[u8]) {
    assert_eq!(w.store(0, at, bytes), (bytes.len(), Ok(())));
}

/// Messages, data bytes in, data bytes out since the last call.
fn moved(w: &mut World<Real>) -> (u64, u64, u64) {
    let moved = (w.messages, w.bytes_in, w.bytes_out);
    (w.messages, w.bytes_in, w.bytes_out) = (0, 0, 0);
    moved
}

fn end(mut w: World<Real>) {
    w.check();
    for space in 0..w.spaces.len() {
        if w.spaces[space].is_some() {
            w.exit(space);
        }
    }
    let frames: &Frames = &w.frames.borrow();
    assert_eq!(frames.used(), 0, "frames left");
    w.servers.check_idle();
}

/// A file of one byte value a page.
fn numbered(pages: usize) -> Vec<u8> {
    (0..pages * PAGE).map(|i| (i / PAGE + 1) as u8).collect()
}

#[test]
fn a_read_of_any_size_is_one_message_and_no_data() {
    for size in [4096, GIB, 1 << 40] {
        let mut w = world(&[b"x"]);
        w.servers.truncate(0, size).unwrap();
        assert_eq!(read(&mut w, 0, size, 0, 0), size);
        assert_eq!(moved(&mut w), (1, 0, 0));
        assert_eq!(w.space(0).segment.extents().iter().count(), 1);
        assert_eq!(w.frames.borrow().used(), 0, "nothing per sleeping page");
        end(w);
    }
}

#[test]
fn the_main_job_moves_what_is_touched_and_what_is_changed() {
    let mut w = world(&[b"x"]);
    w.servers.truncate(0, GIB).unwrap();
    let pages = || (0..16).map(|i| i * 12_345 % (GIB as usize / PAGE) * PAGE);
    read(&mut w, 0, GIB, 0, 0);
    moved(&mut w);
    for at in pages() {
        w.load(0, at + 7, 1).expect("load");
    }
    assert_eq!(moved(&mut w), (16, 16 * PAGE as u64, 0));
    for at in pages().take(3) {
        store(&mut w, at, b"changed");
    }
    assert_eq!(moved(&mut w), (0, 0, 0));
    assert_eq!(write(&mut w, 0, GIB, 0, 0), GIB);
    assert_eq!(moved(&mut w), (1, 0, 3 * PAGE as u64));
    // All of it is tied to the file as it is now: nothing to send.
    assert_eq!(write(&mut w, 0, GIB, 0, 0), GIB);
    assert_eq!(moved(&mut w), (1, 0, 0));
    assert_eq!(&w.servers.content(0)[..7], b"changed");
    end(w);
}

#[test]
fn nothing_is_rescued_for_the_one_reader_who_writes_its_buffer_back() {
    for size in [1, 3, 100, PAGE - 1, PAGE, PAGE + 1, 5000, 2 * PAGE - 1] {
        for at in [0, 5] {
            let mut w = world(&[&vec![b'.'; size]]);
            read(&mut w, at, size as u64, 0, 0);
            for round in [&b"a"[..], b"b"] {
                store(&mut w, at as usize + size / 2, round);
                assert_eq!(write(&mut w, at, size as u64, 0, 0), size as u64);
                assert_eq!(w.servers.content(0)[size / 2], round[0]);
            }
            let rescued = w.servers.server(0).counters().rescued;
            assert_eq!(rescued, 0, "{size} bytes at {at}");
            end(w);
        }
    }
}

#[test]
fn nothing_is_rescued_where_a_part_of_a_changed_page_is_written_back() {
    let parts = [
        (100, 3),
        (0, 3),
        (PAGE - 3, 3),
        (PAGE - 3, 6),
        (10, 3 * PAGE),
    ];
    for (at, len) in parts {
        let mut w = world(&[&numbered(4)]);
        read(&mut w, 0, 4 * PAGE as u64, 0, 0);
        store(&mut w, at, b"abc");
        store(&mut w, at + len - 3, b"xyz");
        for _ in 0..2 {
            assert_eq!(
                write(&mut w, at as u64, len as u64, 0, at as u64),
                len as u64
            );
        }
        let rescued = w.servers.server(0).counters().rescued;
        assert_eq!(rescued, 0, "{len} bytes at {at}");
        let mut now = numbered(4);
        now[at..at + 3].copy_from_slice(b"abc");
        now[at + len - 3..at + len].copy_from_slice(b"xyz");
        assert_eq!(w.servers.content(0), now);
        assert_eq!(w.load(0, 0, 4 * PAGE), Ok(now));
        end(w);
    }
}

#[test]
fn a_read_before_a_write_shows_what_was_read() {
    for (at, fill) in [(0, 0), (3, 0), (0, 3 * PAGE), (5, 3 * PAGE)] {
        let mut content = b"foo".to_vec();
        content.resize(3 + fill, b'.');
        let mut w = world(&[&content]);
        let n = content.len() as u64;
        assert_eq!(read(&mut w, at, n, 0, 0), n);
        w.servers.foreign_write(0, 0, b"bar").unwrap();
        assert_eq!(w.load(0, at as usize, 3), Ok(b"foo".to_vec()));
        end(w);
    }
}

/// Rules 10 and 11 over a long history: each round sends its own changes, and
/// nothing grows with the number of rounds.
#[test]
fn an_image_written_a_thousand_times_sends_each_change_once() {
    let mut w = world(&[b"x"]);
    w.servers.truncate(0, GIB).unwrap();
    read(&mut w, 0, GIB, 0, 0);
    moved(&mut w);
    let mut changed = std::collections::BTreeMap::new();
    for round in 0..1000u64 {
        // Three pages, two of them neighbours, some of them again and again.
        let first = round % 400 * 7919 % (GIB / PAGE as u64 - 1);
        let third = round * 104_729 % (GIB / PAGE as u64);
        let pages = std::collections::BTreeSet::from([first, first + 1, third]);
        for page in &pages {
            store(&mut w, *page as usize * PAGE + 5, &round.to_le_bytes());
            changed.insert(*page, round);
        }
        moved(&mut w);
        write(&mut w, 0, GIB, 0, 0);
        assert_eq!(moved(&mut w), (1, 0, (pages.len() * PAGE) as u64));
        let extents = w.space(0).segment.extents();
        assert_eq!(
            (extents.iter().count(), extents.snapshots().count()),
            (1, 1)
        );
        let snapfs = w.servers.server(0).counters();
        let tables = (snapfs.snapshots, snapfs.versions, snapfs.saved);
        assert_eq!((tables, snapfs.rescued, snapfs.files), ((1, 0, 0), 0, 1));
    }
    let Space {
        segment, memory, ..
    } = w.space(0);
    let (mut populated, mut from) = (0, 0);
    while let Some((page, _)) = segment.next_populated(memory, from..u64::MAX) {
        (populated, from) = (populated + 1, page + 1);
    }
    assert_eq!(populated, changed.len());
    for (page, round) in changed {
        let mut bytes = [0; PAGE];
        let got = w.servers.read_live(0, page * PAGE as u64, &mut bytes);
        assert_eq!(got, Ok(PAGE));
        let mut want = [0; PAGE];
        want[5..13].copy_from_slice(&round.to_le_bytes());
        // The file began with one byte.
        want[0] = if page == 0 { b'x' } else { 0 };
        assert!(bytes == want, "page {page}");
    }
    end(w);
}

#[test]
fn what_others_changed_is_restored_without_sending_it() {
    let before = numbered(4);
    let mut w = world(&[&before]);
    let n = before.len() as u64;
    read(&mut w, 0, n, 0, 0);
    store(&mut w, 0, b"mine");
    w.servers
        .foreign_write(0, 2 * PAGE as u64, &[0xbb; PAGE])
        .unwrap();
    moved(&mut w);
    write(&mut w, 0, n, 0, 0);
    assert_eq!(moved(&mut w), (1, 0, PAGE as u64));
    let mut after = before;
    after[..4].copy_from_slice(b"mine");
    assert!(w.servers.content(0) == after);
    end(w);
}

#[test]
fn a_copy_to_another_file_is_made_by_the_server() {
    let content = numbered(64);
    let mut w = world(&[&content, b""]);
    let n = content.len() as u64;
    read(&mut w, 0, n, 0, 0);
    write(&mut w, 0, n, 1, 0);
    assert_eq!(moved(&mut w), (2, 0, 0));
    assert!(w.servers.content(1) == content);
    end(w);
}

#[test]
fn small_adjacent_reads_are_one_association() {
    let content = numbered(32);
    let mut w = world(&[&content]);
    let mut at = 0;
    while at < content.len() as u64 {
        at += read(&mut w, at, 4093, 0, at);
    }
    assert_eq!(w.space(0).segment.extents().iter().count(), 1);
    assert_eq!(w.servers.snapshots(), 1);
    moved(&mut w);
    assert_eq!(w.load(0, PAGE, PAGE), Ok(vec![2; PAGE]));
    assert_eq!(moved(&mut w), (1, PAGE as u64, 0));
    end(w);
}

#[test]
fn reading_over_a_buffer_releases_what_it_held() {
    let content = numbered(8);
    let mut w = world(&[&content, b"short"]);
    read(&mut w, 0, content.len() as u64, 0, 0);
    w.load(0, 0, content.len()).expect("load");
    read(&mut w, 0, content.len() as u64, 0, 0);
    assert_eq!((w.servers.snapshots(), w.frames.borrow().used()), (1, 0));
    vm::free(&mut w.process(0), 0, content.len() as u64).expect("free");
    assert_eq!(w.servers.snapshots(), 0);
    moved(&mut w);
    assert_eq!(w.load(0, 17, 9), Ok(vec![0; 9]));
    assert_eq!(moved(&mut w), (0, 0, 0));
    end(w);
}

#[test]
fn whole_pages_read_over_are_not_loaded_first() {
    let content = numbered(4);
    let mut w = world(&[&content, &content]);
    read(&mut w, 0, 4 * PAGE as u64, 0, 0);
    moved(&mut w);
    read(&mut w, PAGE as u64, 2 * PAGE as u64, 1, 0);
    assert_eq!(moved(&mut w), (1, 0, 0));
    let want = [[1; PAGE], [1; PAGE], [2; PAGE], [4; PAGE]].concat();
    assert!(w.load(0, 0, 4 * PAGE) == Ok(want));
    end(w);
}

#[test]
fn a_snapshot_shared_after_fork_stays_what_it_was_while_one_side_writes_back() {
    let content = numbered(4);
    let mut w = world(&[&content]);
    let n = content.len() as u64;
    read(&mut w, 0, n, 0, 0);
    w.fork(0, 1).expect("fork");
    store(&mut w, 0, &[0xee; 3 * PAGE]);
    write(&mut w, 0, n, 0, 0);
    assert!(
        w.load(1, 0, content.len()) == Ok(content),
        "the child's view changed"
    );
    // The child's write goes back to the place of its read.
    vm::write(&mut w.process(1), 0, n, 0, 0).expect("write");
    assert!(w.servers.content(0) == numbered(4));
    w.check();
    end(w);
}

#[test]
fn a_snapshot_of_two_processes_does_not_grow() {
    let mut w = world(&[&numbered(2)]);
    let page = PAGE as u64;
    read(&mut w, 0, page, 0, 0);
    w.fork(0, 1).expect("fork");
    read(&mut w, page, page, 0, page);
    w.servers.foreign_write(0, page, b"later").unwrap();
    vm::read(&mut w.process(1), page, page, 0, page).expect("read");
    assert_eq!(w.load(0, PAGE, 5), Ok(vec![2; 5]));
    assert_eq!(w.load(1, PAGE, 5), Ok(b"later".to_vec()));
    end(w);
}

#[test]
fn a_snapshot_does_not_grow_over_bytes_that_may_be_asked_for() {
    let mut w = world(&[&numbered(4), &numbered(1)]);
    let page = PAGE as u64;
    // Of the first file: pages 0 and 2; of the second: page 1.
    read(&mut w, 0, 3 * page, 0, 0);
    read(&mut w, page, page, 1, 0);
    store(&mut w, 3 * PAGE, b"own");
    w.servers.foreign_write(0, 2 * page, b"later").unwrap();
    // The snapshot is taken; the bytes for the page that is the program's own
    // do not come: the buffer stays as it was.
    w.lost.once(1, ());
    let failed = vm::read(&mut w.process(0), page, 2 * page + 2, 0, page);
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(w.load(0, 2 * PAGE, 5), Ok(vec![3; 5]));
    assert_eq!(w.load(0, 3 * PAGE, 3), Ok(b"own".to_vec()));
    end(w);
}

#[test]
fn a_page_stored_to_during_a_write_stays_dirty() {
    let mut w = world(&[&numbered(2)]);
    let n = 2 * PAGE as u64;
    read(&mut w, 0, n, 0, 0);
    store(&mut w, 0, b"first");
    let point = model::world::Point::AfterCommit;
    w.interrupt = Some((point, Box::new(|w| store(w, 0, b"later"))));
    write(&mut w, 0, n, 0, 0);
    let space = w.space(0);
    let state = space.segment.state(&space.memory, 0);
    assert!(matches!(state, PageState::Dirty(_)), "{state:?}");
    assert_eq!(&w.servers.content(0)[..5], b"first");
    moved(&mut w);
    write(&mut w, 0, n, 0, 0);
    assert_eq!(moved(&mut w), (1, 0, PAGE as u64));
    assert_eq!(&w.servers.content(0)[..5], b"later");
    end(w);
}

/// Invariant 3.
#[test]
fn stores_and_writing_back_in_place_leave_the_associations_as_they_are() {
    let mut w = world(&[&numbered(6)]);
    let n = 6 * PAGE as u64;
    read(&mut w, 0, n, 0, 0);
    let before: Vec<_> = w.space(0).segment.extents().iter().collect();
    w.load(0, PAGE, 1).expect("load");
    store(&mut w, PAGE + 5, b"clean");
    store(&mut w, 3 * PAGE + 5, b"asleep");
    assert!(
        w.space(0)
            .segment
            .extents()
            .iter()
            .eq(before.iter().copied())
    );
    write(&mut w, 0, n, 0, 0);
    assert!(
        w.space(0)
            .segment
            .extents()
            .iter()
            .eq(before.iter().copied())
    );
    end(w);
}

#[test]
fn a_piece_that_fails_ends_the_write_with_what_was_acknowledged() {
    let mut w = world(&[b"x"]);
    let size = 24 << 20;
    w.servers.truncate(0, size as u64).unwrap();
    store(&mut w, 0, &vec![9; size]);
    moved(&mut w);
    // 64 messages of 128 KiB are one piece of 8 MiB.
    w.lost.once(64 + 10, ());
    assert_eq!(write(&mut w, 0, size as u64, 0, 0), 8 << 20);
    let content = w.servers.content(0);
    assert!(content[..8 << 20].iter().all(|&b| b == 9));
    assert!(
        content[8 << 20..].iter().all(|&b| b != 9),
        "written behind the end"
    );
}
