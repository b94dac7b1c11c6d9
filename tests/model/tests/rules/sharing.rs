//! Unrelated readers share frames (rule 16), and a frame is shared only while
//! it has the content that all of them read (invariants 5 and 12).

use crate::CONFIG;
use dormouse_model_tests as model;
use model::real::{Real, RealFile};
use model::server::{File, Servers};
use model::world::{Point, World};
use vm::{Count, Frame, Hint};

const PAGE: usize = model::PAGE;
const PAGES: usize = 16;
const LEN: u64 = (PAGES * PAGE) as u64;

/// Two processes that are not related, and files with this content.
fn world(files: &[(usize, &[u8])]) -> World<Real> {
    let file = |(server, content): &(usize, &[u8])| RealFile {
        server: *server,
        snapshots: true,
        write_only: false,
        content: content.to_vec(),
    };
    let files: Vec<_> = files.iter().map(file).collect();
    let mut w = World::new(Real::new(&files), CONFIG);
    w.spawn(1);
    w
}

/// A file of one byte value a page.
fn numbered() -> Vec<u8> {
    (0..PAGES * PAGE).map(|i| (i / PAGE + 1) as u8).collect()
}

fn read(w: &mut World<Real>, space: usize, file: File) {
    let got = vm::read(&mut w.process(space), 0, LEN, file, 0);
    assert_eq!(got, Ok(LEN));
}

fn write(w: &mut World<Real>, space: usize, at: usize, n: usize, file: File) {
    let (at, n) = (at as u64, n as u64);
    assert_eq!(vm::write(&mut w.process(space), at, n, file, at), Ok(n));
}

fn store(w: &mut World<Real>, space: usize, at: usize, bytes: &[u8]) {
    assert_eq!(w.store(space, at, bytes), (bytes.len(), Ok(())));
}

/// All of the file as a process sees it, by touching every page.
fn seen(w: &mut World<Real>, space: usize) -> Vec<u8> {
    w.load(space, 0, PAGES * PAGE).expect("load")
}

/// The frames of a process's pages.
fn frames(w: &mut World<Real>, space: usize) -> Vec<Option<Frame>> {
    let space = w.space(space);
    let frame = |page| space.segment.state(&space.memory, page).frame();
    (0..PAGES as u64).map(frame).collect()
}

/// The pages that are in one frame for both.
fn shared(w: &mut World<Real>, a: usize, b: usize) -> Vec<usize> {
    let (a, b) = (frames(w, a), frames(w, b));
    let same = |page: &usize| a[*page].is_some() && a[*page] == b[*page];
    (0..PAGES).filter(same).collect()
}

fn all() -> Vec<usize> {
    (0..PAGES).collect()
}

fn all_but(pages: &[usize]) -> Vec<usize> {
    all().into_iter().filter(|p| !pages.contains(p)).collect()
}

fn counted(w: &World<Real>, what: Count) -> u64 {
    w.frames.borrow().counts[what as usize]
}

fn end(mut w: World<Real>) {
    w.check();
    for space in 0..w.spaces.len() {
        if w.spaces[space].is_some() {
            w.exit(space);
        }
    }
    let mut frames = w.frames.borrow_mut();
    assert_eq!(frames.used(), 0, "frames left");
    frames.free_idle();
    assert!(frames.cache.is_empty(), "frames left in the cache");
    drop(frames);
    w.servers.check_idle();
}

#[test]
fn two_readers_of_an_unchanged_file_share_every_frame() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    read(&mut w, 1, 0);
    assert!(seen(&mut w, 0) == numbered());
    let (used, fills) = (w.frames.borrow().used(), counted(&w, Count::Fill));
    w.messages = 0;
    assert!(seen(&mut w, 1) == numbered());
    assert_eq!(shared(&mut w, 0, 1), all());
    assert_eq!((w.messages, counted(&w, Count::Fill)), (0, fills));
    // Nodes of the second table of pages, no frame of content.
    assert!(w.frames.borrow().used() <= used + 3);
    end(w);
}

#[test]
fn a_store_of_one_reader_is_never_seen_by_the_other() {
    let mut w = world(&[(0, &numbered())]);
    for space in 0..2 {
        read(&mut w, space, 0);
        seen(&mut w, space);
    }
    store(&mut w, 0, 3 * PAGE + 7, b"mine");
    assert!(seen(&mut w, 1) == numbered());
    assert_eq!(shared(&mut w, 0, 1), all_but(&[3]));
    // The other process stores into its frame, which is now private.
    store(&mut w, 1, 3 * PAGE + 9, b"its own");
    assert_eq!(w.load(0, 3 * PAGE + 7, 4), Ok(b"mine".to_vec()));
    w.spawn(2);
    read(&mut w, 2, 0);
    assert!(
        seen(&mut w, 2) == numbered(),
        "a page somebody changed was shared"
    );
    end(w);
}

#[test]
fn a_sleeping_page_that_is_stored_to_copies_the_others_frame() {
    let mut w = world(&[(0, &numbered())]);
    for space in 0..2 {
        read(&mut w, space, 0);
    }
    seen(&mut w, 0);
    w.messages = 0;
    store(&mut w, 1, 5 * PAGE, b"own");
    assert_eq!((w.messages, counted(&w, Count::Copy)), (0, 1));
    assert_eq!(w.load(1, 5 * PAGE, 4), Ok(b"own\x06".to_vec()));
    assert!(seen(&mut w, 0) == numbered());
    end(w);
}

#[test]
fn after_a_write_the_unchanged_blocks_are_still_shared() {
    let mut w = world(&[(0, &numbered())]);
    for space in 0..2 {
        read(&mut w, space, 0);
        seen(&mut w, space);
    }
    store(&mut w, 0, 4 * PAGE, b"new");
    write(&mut w, 0, 0, PAGES * PAGE, 0);
    assert!(seen(&mut w, 1) == numbered(), "the other's view changed");
    assert_eq!(shared(&mut w, 0, 1), all_but(&[4]));
    // A later reader finds all pages, including the written one.
    w.spawn(2);
    read(&mut w, 2, 0);
    w.messages = 0;
    let late = seen(&mut w, 2);
    assert_eq!(w.messages, 0);
    assert!(late == w.servers.content(0));
    assert_eq!(shared(&mut w, 0, 2), all());
    assert_eq!(shared(&mut w, 1, 2), all_but(&[4]));
    end(w);
}

#[test]
fn what_a_stranger_wrote_closes_its_pages_alone() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    seen(&mut w, 0);
    let (off, data) = (6 * PAGE as u64 - 1, [0xcc; 2]);
    w.servers.foreign_write(0, off, &data).unwrap();
    read(&mut w, 1, 0);
    w.messages = 0;
    let late = seen(&mut w, 1);
    assert!(late == w.servers.content(0), "old bytes");
    assert_eq!(w.messages, 1, "the two pages come together");
    assert!(seen(&mut w, 0) == numbered(), "new bytes");
    assert_eq!(shared(&mut w, 0, 1), all_but(&[5, 6]));
    end(w);
}

#[test]
fn what_a_later_reader_fills_is_good_for_an_earlier_one() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    w.servers.foreign_write(0, 0, b"changed").unwrap();
    read(&mut w, 1, 0);
    seen(&mut w, 1);
    w.messages = 0;
    assert!(seen(&mut w, 0) == numbered());
    assert_eq!(w.messages, 1, "all but the first page were there");
    assert_eq!(shared(&mut w, 0, 1), all_but(&[0]));
    end(w);
}

#[test]
fn truncating_and_extending_closes_what_became_zeros() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    seen(&mut w, 0);
    w.servers.truncate(0, 10 * PAGE as u64 + 5).unwrap();
    w.servers.truncate(0, LEN).unwrap();
    read(&mut w, 1, 0);
    let late = seen(&mut w, 1);
    assert!(late == w.servers.content(0));
    assert_eq!(shared(&mut w, 0, 1), (0..10).collect::<Vec<_>>());
    end(w);
}

#[test]
fn equal_numbers_at_two_servers_or_of_two_files_join_nothing() {
    // Two servers number files and epochs alike.
    let other: Vec<u8> = numbered().iter().map(|b| b ^ 0x80).collect();
    let mut w = world(&[(0, &numbered()), (1, &other), (0, &other)]);
    for file in 0..3 {
        w.spawn(file);
        read(&mut w, file, file);
    }
    assert!(seen(&mut w, 0) == numbered());
    assert!(seen(&mut w, 1) == other);
    assert!(seen(&mut w, 2) == other);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert_eq!(shared(&mut w, a, b), []);
    }
    end(w);
}

#[test]
fn only_whole_pages_at_page_boundaries_are_shared() {
    let mut w = world(&[(0, &numbered())]);
    for space in 0..2 {
        let n = LEN - 3 * PAGE as u64;
        let got = vm::read(&mut w.process(space), 100, n, 0, 200);
        assert_eq!(got, Ok(n));
        let bytes = w.load(space, 100, n as usize).expect("load");
        assert!(bytes == numbered()[200..200 + n as usize]);
    }
    assert_eq!(shared(&mut w, 0, 1), []);
    end(w);
}

/// A fill under way when its page is replaced has no effect, also for others
/// (invariant 5).
#[test]
fn a_stale_fill_is_dropped_and_not_shared() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    let free = |w: &mut World<Real>| {
        vm::free(&mut w.process(0), 0, LEN).expect("free");
        assert!(w.frames.borrow().cache.is_empty());
    };
    w.interrupt = Some((Point::Fill, Box::new(free)));
    assert_eq!(w.load(0, 2 * PAGE, 2), Ok(vec![0; 2]));
    assert_eq!(counted(&w, Count::Stale), 1);
    assert!(w.frames.borrow().cache.is_empty(), "a stale fill is shared");
    end(w);
}

/// Two fill the same page at the same time: one of the frames is for both.
#[test]
fn two_fills_of_one_page_at_once_end_in_one_frame() {
    let mut w = world(&[(0, &numbered())]);
    for space in 0..2 {
        read(&mut w, space, 0);
    }
    let other = |w: &mut World<Real>| assert_eq!(w.load(1, PAGE, 1), Ok(vec![2]));
    w.interrupt = Some((Point::Fill, Box::new(other)));
    assert_eq!(w.load(0, PAGE, 1), Ok(vec![2]));
    assert_eq!(counted(&w, Count::Fill), 2);
    assert_eq!(shared(&mut w, 0, 1), [1]);
    end(w);
}

/// Another process reads the page after a commit and before its answer.
#[test]
fn a_page_read_between_a_commit_and_its_answer_ends_in_one_frame() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    store(&mut w, 0, PAGE, b"written");
    let other = |w: &mut World<Real>| {
        read(w, 1, 0);
        assert_eq!(w.load(1, PAGE, 7), Ok(b"written".to_vec()));
    };
    w.interrupt = Some((Point::AfterCommit, Box::new(other)));
    write(&mut w, 0, 0, PAGES * PAGE, 0);
    assert_eq!(shared(&mut w, 0, 1), [1]);
    store(&mut w, 0, PAGE, b"again");
    assert_eq!(w.load(1, PAGE, 7), Ok(b"written".to_vec()));
    end(w);
}

/// An answer that was overtaken says nothing about later changes.
#[test]
fn a_late_answer_does_not_make_old_pages_new() {
    let mut w = world(&[(0, &numbered())]);
    w.spawn(2);
    read(&mut w, 2, 0);
    seen(&mut w, 2);
    // Process 0 has its snapshot when another client writes, and 1 reads that.
    let others = |w: &mut World<Real>| {
        w.servers
            .foreign_write(0, 3 * PAGE as u64, b"later")
            .unwrap();
        read(w, 1, 0);
        assert_eq!(w.load(1, 3 * PAGE, 5), Ok(b"later".to_vec()));
    };
    w.interrupt = Some((Point::AfterSnap, Box::new(others)));
    read(&mut w, 0, 0);
    assert!(seen(&mut w, 0) == numbered());
    assert_eq!(shared(&mut w, 0, 2), all());
    assert_eq!(w.load(1, 3 * PAGE, 5), Ok(b"later".to_vec()));
    end(w);
}

/// After a write of a few pages of a large image, these are at the new epoch,
/// and so is the rest, except pages that another client changed in between.
#[test]
fn a_write_of_a_part_leaves_the_rest_at_its_epoch() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    w.servers
        .foreign_write(0, 12 * PAGE as u64, b"stranger's")
        .unwrap();
    store(&mut w, 0, 2 * PAGE, b"mine");
    write(&mut w, 0, 2 * PAGE, PAGE, 0);
    // Only process 0 has page 12 in its old state; both fill it.
    read(&mut w, 1, 0);
    assert_eq!(w.load(1, 12 * PAGE, 10), Ok(b"stranger's".to_vec()));
    let mut mine = numbered();
    mine[2 * PAGE..2 * PAGE + 4].copy_from_slice(b"mine");
    assert!(seen(&mut w, 0) == mine, "a page of another epoch was found");
    seen(&mut w, 1);
    assert_eq!(shared(&mut w, 0, 1), all_but(&[12]));
    end(w);
}

/// Many writes, each a little: pages that none of them touched stay shared.
#[test]
fn a_long_history_keeps_unchanged_pages_shared() {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    seen(&mut w, 0);
    for round in 0..1000usize {
        let page = [2, 3, 9][round % 3];
        let byte = [round as u8; 3];
        w.servers
            .foreign_write(0, (page * PAGE) as u64, &byte)
            .unwrap();
        if round % 10 == 9 {
            read(&mut w, 1, 0);
            let late = seen(&mut w, 1);
            assert!(late == w.servers.content(0));
            assert_eq!(shared(&mut w, 0, 1), all_but(&[2, 3, 9]));
        }
    }
    assert!(seen(&mut w, 0) == numbered());
    end(w);
}

/// Process 0 wrote all of its buffer, page 1 changed, and forked process 2 just
/// before the answer came.
fn forked_while_written() -> World<Real> {
    let mut w = world(&[(0, &numbered())]);
    read(&mut w, 0, 0);
    store(&mut w, 0, PAGE, b"written");
    let fork = |w: &mut World<Real>| w.fork(0, 2).expect("fork");
    w.interrupt = Some((Point::AfterCommit, Box::new(fork)));
    write(&mut w, 0, 0, PAGES * PAGE, 0);
    w
}

/// Both sides of a fork hold a page that is being written when its answer
/// comes; it is dirty for the one and clean, for others too, for the other.
#[test]
fn a_page_written_while_the_process_forked_is_not_written_under_a_stranger() {
    let mut w = forked_while_written();
    read(&mut w, 1, 0);
    assert_eq!(w.load(1, PAGE, 7), Ok(b"written".to_vec()));
    // The child's page is private; when it is the only holder of the frame, it
    // writes in place, and the cache drops the frame.
    store(&mut w, 2, PAGE, b"child's");
    assert_eq!(w.load(1, PAGE, 7), Ok(b"written".to_vec()));
    w.exit(0);
    w.exit(2);
    assert_eq!(w.load(1, PAGE, 7), Ok(b"written".to_vec()));
    end(w);
}

#[test]
fn a_child_left_alone_with_a_shared_frame_takes_it_out_before_it_stores() {
    let mut w = forked_while_written();
    w.exit(0);
    // A load maps a private page for writing at once.
    assert_eq!(w.load(2, PAGE, 7), Ok(b"written".to_vec()));
    read(&mut w, 1, 0);
    store(&mut w, 2, PAGE, b"child's");
    assert_eq!(w.load(1, PAGE, 7), Ok(b"written".to_vec()));
    end(w);
}

#[test]
fn a_store_after_a_fork_is_the_storing_sides_alone() {
    for storing in [0, 2] {
        let mut w = world(&[(0, &numbered())]);
        read(&mut w, 0, 0);
        // A clean page and a dirty one.
        assert_eq!(w.load(0, PAGE, 1), Ok(vec![2]));
        store(&mut w, 0, 2 * PAGE, b"dirty");
        w.fork(0, 2).expect("fork");
        store(&mut w, storing, PAGE, b"new");
        store(&mut w, storing, 2 * PAGE, b"newer");
        let other = 2 - storing;
        assert_eq!(w.load(other, PAGE, 3), Ok(vec![2; 3]));
        assert_eq!(w.load(other, 2 * PAGE, 5), Ok(b"dirty".to_vec()));
        end(w);
    }
}

/// A read copies bytes into a private page: the frame is written, so the cache
/// drops it.
#[test]
fn a_fragment_is_read_into_a_frame_that_nobody_else_finds() {
    for eager in [false, true] {
        let mut w = forked_while_written();
        w.exit(0);
        let mut process = w.process(2);
        process.eager = eager;
        let at = PAGE as u64 + 100;
        assert_eq!(vm::read(&mut process, at, 50, 0, 5 * PAGE as u64), Ok(50));
        read(&mut w, 1, 0);
        assert_eq!(w.load(1, PAGE + 98, 4), Ok(vec![2; 4]));
        assert_eq!(w.load(2, PAGE + 98, 4), Ok(vec![2, 2, 6, 6]));
        end(w);
    }
}

/// Touches the first `pages` pages and ends; how many were filled, and how many found.
fn visit(w: &mut World<Real>, space: usize, pages: usize, want: &[u8]) -> (u64, u64) {
    let before = [Count::Fill, Count::Cached].map(|what| counted(w, what));
    read(w, space, 0);
    // Without read-ahead.
    w.space(space).segment.set_hint(Hint::Random);
    let bytes = w.load(space, 0, pages * PAGE).expect("load");
    assert!(bytes == want[..pages * PAGE]);
    w.check();
    w.exit(space);
    let after = [Count::Fill, Count::Cached].map(|what| counted(w, what));
    (after[0] - before[0], after[1] - before[1])
}

#[test]
fn pages_that_the_last_reader_left_are_found_by_the_next() {
    let mut w = world(&[(0, &numbered())]);
    assert_eq!(visit(&mut w, 1, 4, &numbered()), (4, 0));
    assert_eq!(w.frames.borrow().used(), 0, "idle frames are nobody's");
    for _ in 0..3 {
        w.spawn(1);
        assert_eq!(visit(&mut w, 1, 4, &numbered()), (0, 4));
    }
    // Those that were left first go first: there is room for six.
    w.spawn(1);
    assert_eq!(visit(&mut w, 1, 10, &numbered()), (6, 4));
    w.spawn(1);
    read(&mut w, 1, 0);
    w.space(1).segment.set_hint(Hint::Random);
    let fills = counted(&w, Count::Fill);
    assert!(w.load(1, 4 * PAGE, 6 * PAGE).unwrap() == numbered()[4 * PAGE..10 * PAGE]);
    assert_eq!(counted(&w, Count::Fill), fills);
    assert!(w.load(1, 0, 4 * PAGE).unwrap() == numbered()[..4 * PAGE]);
    assert_eq!(counted(&w, Count::Fill), fills + 4);
    end(w);
}

#[test]
fn pages_that_changed_while_nobody_had_them_are_read_anew() {
    let mut w = world(&[(0, &numbered())]);
    let mut now = numbered();
    let mut change = |w: &mut World<Real>, bytes: &[u8; 5]| {
        w.servers.foreign_write(0, 2 * PAGE as u64, bytes).unwrap();
        now[2 * PAGE..2 * PAGE + 5].copy_from_slice(bytes);
        now.clone()
    };
    assert_eq!(visit(&mut w, 1, 4, &numbered()), (4, 0));
    // The server does not say what has changed while it has no snapshot.
    let after = change(&mut w, b"other");
    w.spawn(1);
    assert_eq!(visit(&mut w, 1, 4, &after), (4, 0));
    // One of a process that touches nothing is enough.
    read(&mut w, 0, 0);
    let after = change(&mut w, b"again");
    w.spawn(1);
    assert_eq!(visit(&mut w, 1, 4, &after), (1, 3));
    w.spawn(1);
    assert_eq!(visit(&mut w, 1, 4, &after), (0, 4));
    let mut now = after;
    // A writer's own pages are as it left them.
    w.spawn(1);
    read(&mut w, 1, 0);
    store(&mut w, 1, PAGE, b"mine");
    write(&mut w, 1, 0, 4 * PAGE, 0);
    w.exit(1);
    now[PAGE..PAGE + 4].copy_from_slice(b"mine");
    w.spawn(1);
    assert_eq!(visit(&mut w, 1, 4, &now), (0, 4));
    end(w);
}

#[test]
fn an_idle_page_that_is_taken_up_and_stored_to_is_nobody_elses() {
    let mut w = world(&[(0, &numbered())]);
    assert_eq!(visit(&mut w, 1, 2, &numbered()), (2, 0));
    w.spawn(1);
    read(&mut w, 1, 0);
    store(&mut w, 1, 5, b"x");
    read(&mut w, 0, 0);
    assert!(seen(&mut w, 0) == numbered());
    assert_eq!(w.load(1, 0, 6), Ok(b"\x01\x01\x01\x01\x01x".to_vec()));
    w.check();
    w.exit(1);
    w.spawn(1);
    assert_eq!(visit(&mut w, 1, 2, &numbered()), (0, 2));
    end(w);
}
