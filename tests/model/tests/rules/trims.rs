//! The ranges that a snapshot gives up, and the time (rules 3, 6 and 8;
//! invariants 1 and 2): the VM core over the real snapfs.

use crate::CONFIG;
use abi::Errno;
use dormouse_model_tests as model;
use model::real::{Real, RealFile};
use model::server::Servers;
use model::world::{Point, World};

const PAGE: usize = model::PAGE;
const P: u64 = vm::PAGE;

/// Pages in the file: enough that a part of it is worth a message.
const PAGES: u64 = 64;

fn content(seed: u64, pages: u64) -> Vec<u8> {
    (0..pages * P)
        .map(|i| (i / P * 7 + i % 13 + seed) as u8)
        .collect()
}

/// Two files of [`PAGES`] on one server; the first is read into the segment.
fn world() -> World<Real> {
    let file = |seed| RealFile {
        server: 0,
        snapshots: true,
        write_only: false,
        content: content(seed, PAGES),
    };
    let mut w = World::new(Real::new(&[file(1), file(2)]), CONFIG);
    assert_eq!(read(&mut w, 0, 0..PAGES, 0), PAGES * P);
    w
}

/// Reads pages of a file to the same place of the segment.
fn read(w: &mut World<Real>, space: usize, pages: std::ops::Range<u64>, file: usize) -> u64 {
    let (at, n) = (pages.start * P, (pages.end - pages.start) * P);
    vm::read(&mut w.process(space), at, n, file, at).expect("read")
}

fn free(w: &mut World<Real>, space: usize, pages: std::ops::Range<u64>) {
    let (at, n) = (pages.start * P, (pages.end - pages.start) * P);
    vm::free(&mut w.process(space), at, n).expect("free");
}

/// Another client overwrites these pages of the first file; returns the number
/// of blocks rescued for that.
fn rescued_by_writer(w: &mut World<Real>, pages: std::ops::Range<u64>) -> u64 {
    let before = w.servers.server(0).counters().rescued;
    let n = (pages.end - pages.start) as usize * PAGE;
    let written = w.servers.foreign_write(0, pages.start * P, &vec![0xee; n]);
    written.expect("write");
    w.servers.server(0).counters().rescued - before
}

fn check_page(w: &mut World<Real>, space: usize, page: u64, seed: u64) {
    let at = page as usize * PAGE;
    let want = &content(seed, PAGES)[at..at + PAGE];
    assert!(
        w.load(space, at, PAGE).as_deref() == Ok(want),
        "page {page}"
    );
}

fn end(mut w: World<Real>) {
    w.check();
    for space in 0..w.spaces.len() {
        if w.spaces[space].is_some() {
            w.exit(space);
        }
    }
    w.servers.check_idle();
}

#[test]
fn nothing_is_rescued_for_what_was_freed_and_everything_for_what_was_kept() {
    let mut w = world();
    free(&mut w, 0, 16..48);
    assert_eq!(w.trims, 1);
    assert_eq!(rescued_by_writer(&mut w, 16..48), 0);
    assert_eq!(rescued_by_writer(&mut w, 0..16), 16);
    assert_eq!(rescued_by_writer(&mut w, 48..64), 16);
    for page in [0, 15, 48, 63] {
        check_page(&mut w, 0, page, 1);
    }
    assert_eq!(w.load(0, 16 * PAGE, PAGE), Ok(vec![0; PAGE]));
    end(w);
}

#[test]
fn nothing_is_rescued_for_what_was_read_over() {
    let mut w = world();
    read(&mut w, 0, 10..50, 1);
    assert_eq!(w.trims, 1);
    assert_eq!(rescued_by_writer(&mut w, 10..50), 0);
    assert_eq!(rescued_by_writer(&mut w, 9..10), 1);
    check_page(&mut w, 0, 9, 1);
    check_page(&mut w, 0, 10, 2);
    end(w);
}

#[test]
fn small_parts_are_told_together() {
    let mut w = world();
    for page in 0..15 {
        free(&mut w, 0, page..page + 1);
        assert_eq!(w.trims, 0, "page {page}");
    }
    free(&mut w, 0, 15..16);
    assert_eq!(w.trims, 1);
    assert_eq!(rescued_by_writer(&mut w, 0..16), 0);
    // Scattered ones fill the list.
    for page in (20..36).step_by(2) {
        free(&mut w, 0, page..page + 1);
    }
    assert_eq!(w.trims, 2);
    for page in 20..36 {
        let kept = page % 2;
        assert_eq!(
            rescued_by_writer(&mut w, page..page + 1),
            kept,
            "page {page}"
        );
    }
    check_page(&mut w, 0, 21, 1);
    end(w);
}

#[test]
fn what_grows_back_before_it_was_told_is_kept() {
    let mut w = world();
    free(&mut w, 0, 54..64);
    assert_eq!(w.trims, 0);
    // The same snapshot takes these bytes again.
    read(&mut w, 0, 54..60, 0);
    assert_eq!(w.servers.snapshots(), 1);
    free(&mut w, 0, 0..20);
    assert_eq!(w.trims, 1);
    assert_eq!(rescued_by_writer(&mut w, 0..20), 0);
    assert_eq!(rescued_by_writer(&mut w, 60..64), 0);
    assert_eq!(rescued_by_writer(&mut w, 54..60), 6);
    check_page(&mut w, 0, 55, 1);
    end(w);
}

#[test]
fn what_another_process_holds_is_not_trimmed_until_it_is_gone() {
    let mut w = world();
    w.fork(0, 1).expect("fork");
    free(&mut w, 0, 0..32);
    free(&mut w, 1, 16..48);
    assert_eq!(w.trims, 0);
    assert_eq!(rescued_by_writer(&mut w, 0..1), 1);
    check_page(&mut w, 1, 0, 1);
    w.exit(1);
    assert_eq!(w.trims, 0, "nothing is sent for who is left");
    // Any later operation.
    free(&mut w, 0, 63..64);
    assert_eq!(w.trims, 1);
    assert_eq!(rescued_by_writer(&mut w, 1..32), 0);
    assert_eq!(rescued_by_writer(&mut w, 32..63), 31);
    check_page(&mut w, 0, 32, 1);
    end(w);
}

#[test]
fn a_child_makes_up_for_what_its_parent_had_not_told() {
    let mut w = world();
    free(&mut w, 0, 0..4);
    w.fork(0, 1).expect("fork");
    w.exit(0);
    free(&mut w, 1, 63..64);
    assert_eq!(w.trims, 1);
    assert_eq!(rescued_by_writer(&mut w, 0..4), 0);
    assert_eq!(rescued_by_writer(&mut w, 4..63), 59);
    end(w);
}

#[test]
fn a_trim_that_is_lost_loses_nothing() {
    let mut w = world();
    w.lost.once(0, ());
    free(&mut w, 0, 0..32);
    assert_eq!((w.trims, w.messages), (0, 2));
    assert_eq!(rescued_by_writer(&mut w, 0..64), 64);
    check_page(&mut w, 0, 33, 1);
    end(w);
}

#[test]
fn what_a_failed_read_added_to_a_snapshot_is_given_up() {
    let mut w = world();
    free(&mut w, 0, 20..64);
    let told = w.trims;
    store(&mut w, 59 * PAGE, b"own");
    // The range is added; the fragment for the page that is dirty fails.
    w.lost.once(1, ());
    let got = vm::read(&mut w.process(0), 20 * P, 39 * P + 9, 0, 20 * P);
    assert_eq!(got, Err(Errno::EIO));
    assert_eq!(w.trims, told + 1);
    assert_eq!(rescued_by_writer(&mut w, 20..60), 0);
    assert_eq!(rescued_by_writer(&mut w, 0..20), 20);
    end(w);
}

fn store(w: &mut World<Real>, at: usize, bytes: &[u8]) {
    assert_eq!(w.store(0, at, bytes), (bytes.len(), Ok(())));
}

/// Another client overwrites all of the first file.
fn overwrite(w: &mut World<Real>) {
    let written = w.servers.foreign_write(0, 0, &[7; PAGES as usize * PAGE]);
    written.expect("write");
}

/// An operation on a buffer while a write of it is under way.
fn meanwhile(happens: fn(&mut World<Real>)) {
    for point in [Point::BeforeCommit, Point::Deliver] {
        let mut w = world();
        store(&mut w, 5 * PAGE, b"stored");
        w.interrupt = Some((point, Box::new(happens)));
        let n = PAGES * P;
        assert_eq!(vm::write(&mut w.process(0), 0, n, 1, 0), Ok(n));
        assert!(w.interrupt.is_none(), "it did not happen");
        let mut want = content(1, PAGES);
        want[5 * PAGE..5 * PAGE + 6].copy_from_slice(b"stored");
        assert!(w.servers.content(1) == want, "at {point:?}");
        end(w);
    }
}

#[test]
fn a_write_under_way_keeps_what_it_names_when_the_buffer_is_freed() {
    meanwhile(|w| free(w, 0, 0..PAGES));
}

#[test]
fn a_write_under_way_keeps_what_it_names_when_the_buffer_is_freed_in_part() {
    meanwhile(|w| free(w, 0, 10..PAGES));
}

#[test]
fn a_write_under_way_keeps_what_it_names_when_the_buffer_is_read_over() {
    meanwhile(|w| {
        overwrite(w);
        read(w, 0, 0..PAGES, 0);
    });
}

#[test]
fn a_snapshot_that_a_write_names_does_not_grow_meanwhile() {
    meanwhile(|w| {
        overwrite(w);
        free(w, 0, 30..40);
        // Goes on where the snapshot ends in the buffer now.
        read(w, 0, 30..40, 0);
    });
}

#[test]
fn a_snapshot_that_a_write_names_takes_nothing_from_another_write() {
    meanwhile(|w| {
        store(w, 12 * PAGE, b"second");
        let n = PAGES * P;
        assert_eq!(vm::write(&mut w.process(0), 0, n, 0, 0), Ok(n));
    });
}
