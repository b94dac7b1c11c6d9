//! Segments that are tied to one snapshot, as the parts of a program are: all of them
//! show it, whatever becomes of the file, and the last of them gives it back.

use crate::CONFIG;
use abi::Errno;
use dormouse_model_tests as model;
use model::real::{Real, RealFile};
use model::server::{File, Servers};
use model::world::World;
use vm::{Access, Host, SnapId};

const PAGE: usize = model::PAGE;
const PAGES: usize = 6;

/// A file of one byte value a page, and two processes with nothing in memory.
fn world() -> World<Real> {
    let content = (0..PAGES * PAGE).map(|i| (i / PAGE + 1) as u8).collect();
    let file = RealFile {
        server: 0,
        snapshots: true,
        write_only: false,
        content,
    };
    let mut w = World::new(Real::new(&[file]), CONFIG);
    w.spawn(1);
    w
}

const FILE: File = 0;

/// Ties bytes of a segment to a snapshot, of which the caller keeps a reference.
fn tie(
    w: &mut World<Real>,
    space: usize,
    bytes: (u64, u64),
    snap: SnapId,
    soff: u64,
) -> Result<(), Errno> {
    let mut process = w.process(space);
    process.retain_snap(snap);
    let tied = process.with(|segment, _| segment.tie(bytes.0, bytes.1, snap, soff));
    if tied.is_err() {
        process.release_snap(snap);
    }
    tied
}

/// The first process shows pages 0 and 1 of a snapshot of the file, the second pages 2 to
/// 5, of the last of which a part is zeros.
fn tied() -> World<Real> {
    let mut w = world();
    let len = (PAGES * PAGE) as u64;
    let taken = w.process(0).snap(FILE, 0, len, None).unwrap();
    let (page, snap) = (PAGE as u64, taken.snap);
    tie(&mut w, 0, (0, 2 * page), snap, 0).unwrap();
    tie(&mut w, 1, (0, 4 * page - 100), snap, 2 * page).unwrap();
    w.process(0).release_snap(snap);
    w.check();
    w
}

fn shows(w: &mut World<Real>, space: usize, page: usize, value: u8) {
    let bytes = w.load(space, page * PAGE, PAGE).unwrap();
    let zeros = if (space, page) == (1, 3) { 100 } else { 0 };
    let (own, rest) = bytes.split_at(PAGE - zeros);
    assert!(own.iter().all(|byte| *byte == value), "page {page}");
    assert!(rest.iter().all(|byte| *byte == 0), "after the end");
}

fn end(mut w: World<Real>) {
    w.check();
    w.exit(0);
    w.exit(1);
    assert_eq!(w.frames.borrow().used(), 0, "frames left");
    w.servers.check_idle();
}

#[test]
fn parts_tied_to_a_snapshot_show_it_after_the_file_has_changed() {
    let mut w = tied();
    shows(&mut w, 0, 1, 2);
    // Another process writes ones over all of the file.
    w.spawn(2);
    let (len, all) = (PAGES * PAGE, vec![0xff; PAGES * PAGE]);
    assert_eq!(w.store(2, 0, &all), (len, Ok(())));
    let written = vm::write(&mut w.process(2), 0, len as u64, FILE, 0);
    assert_eq!(written, Ok(len as u64));
    w.exit(2);
    for page in 0..2 {
        shows(&mut w, 0, page, page as u8 + 1);
    }
    for page in 0..4 {
        shows(&mut w, 1, page, page as u8 + 3);
    }
    end(w);
}

#[test]
fn a_store_to_one_part_is_seen_in_no_other() {
    let mut w = tied();
    assert_eq!(w.store(0, 0, &[9; 10]), (10, Ok(())));
    w.spawn(2);
    let taken = w.process(2).snap(FILE, 0, PAGE as u64, None).unwrap();
    tie(&mut w, 2, (0, PAGE as u64), taken.snap, 0).unwrap();
    let again = tie(&mut w, 2, (PAGE as u64, 1), taken.snap, 0);
    assert_eq!(again, Err(Errno::EBUSY), "it has content");
    w.process(2).release_snap(taken.snap);
    shows(&mut w, 2, 0, 1);
    w.exit(2);
    end(w);
}

#[test]
fn nothing_is_kept_of_a_part_that_could_not_be_tied() {
    let mut w = world();
    let taken = w.process(0).snap(FILE, 0, PAGE as u64, None).unwrap();
    let outside = tie(&mut w, 0, (u64::MAX, 2), taken.snap, 0);
    assert_eq!(outside, Err(Errno::EFAULT));
    let nothing = tie(&mut w, 0, (0, 0), taken.snap, 0);
    assert_eq!(nothing, Err(Errno::EINVAL));
    assert_eq!(w.process(0).holders(taken.snap), 1);
    w.process(0).release_snap(taken.snap);
    // Zeros.
    assert_eq!(vm::fault(&mut w.process(0), 0, Access::Load), Ok(()));
    end(w);
}
