//! Read-ahead: several pages come with one message, and nobody can tell.

use crate::CONFIG;
use abi::Errno;
use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::server::Servers;
use model::world::{Config, Point, World};
use vm::{Count, PageState};

const PAGE: usize = model::PAGE;
const P: u64 = vm::PAGE;
const PAGES: u64 = 2048;

fn content(seed: usize) -> Vec<u8> {
    let byte = |i: usize| (i / PAGE * 7 + i % 13 + seed) as u8;
    (0..PAGES as usize * PAGE).map(byte).collect()
}

/// Two files, the first read into the segment from byte `off` on.
fn world(config: Config, off: u64) -> World<Fake> {
    let file = |seed| FakeFile {
        server: 0,
        snapshots: true,
        declines: false,
        content: content(seed),
    };
    let mut w = World::new(Fake::new(vec![file(1), file(2)]), config);
    let n = PAGES * P - off;
    assert_eq!(vm::read(&mut w.process(0), 0, n, 0, off), Ok(n));
    w.messages = 0;
    w
}

fn touch(w: &mut World<Fake>, page: u64) -> Result<u8, Errno> {
    w.load(0, page as usize * PAGE, 1).map(|bytes| bytes[0])
}

fn end(mut w: World<Fake>) {
    w.heal();
    w.check();
    w.exit(0);
    assert_eq!(w.frames.borrow().used(), 0, "frames left");
}

fn counted(w: &World<Fake>, what: Count) -> u64 {
    w.frames.borrow().counts[what as usize]
}

/// A kernel that brings `run` pages with each fault.
const fn runs(run: usize) -> Config {
    Config { run, ..CONFIG }
}

#[test]
fn a_run_of_pages_comes_with_one_message() {
    // Also where the file's pages lie across the segment's.
    for off in [0, 100] {
        let mut w = world(CONFIG, off);
        let n = 1024 * PAGE;
        let want = content(1)[off as usize..][..n].to_vec();
        assert!(w.load(0, 0, n) == Ok(want), "wrong bytes");
        assert!(w.messages <= 3 + (1024 - 21u64).div_ceil(32));
        let (fills, ahead) = (counted(&w, Count::Fill), counted(&w, Count::Ahead));
        assert_eq!(fills - ahead, w.messages, "one touched page each");
        assert!(fills <= 1024 + 31);
        end(w);
    }
}

#[test]
fn sparse_touches_move_their_own_pages_alone() {
    let mut w = world(CONFIG, 0);
    for turn in 0..32 {
        let page = turn * 331 % PAGES;
        assert_eq!(touch(&mut w, page), Ok(content(1)[page as usize * PAGE]));
    }
    assert_eq!((w.messages, w.bytes_in), (32, 32 * P));
    end(w);
}

#[test]
fn a_bad_page_beside_the_touched_one_is_nobodys_error() {
    let mut w = world(runs(8), 0);
    w.may_be_lost = vec![0];
    w.servers.lose(0, 5 * P, &[0xee; PAGE]);
    // Those before it have come, those after it sleep on.
    assert_eq!(touch(&mut w, 2), Ok(content(1)[2 * PAGE]));
    assert_eq!(w.messages, 1);
    let states: Vec<_> = (2..10).map(|page| state(&mut w, page)).collect();
    let here = |state: &PageState| matches!(state, PageState::Resident(_));
    assert_eq!(states.iter().filter(|state| here(state)).count(), 3);
    assert!(states[3..].iter().all(|state| *state == PageState::Absent));
    // No snapshot is lost for it: a page can be evicted and comes again.
    assert!(evict(&mut w, 2));
    assert_eq!(touch(&mut w, 2), Ok(content(1)[2 * PAGE]));
    assert_eq!(touch(&mut w, 5), Err(Errno::ESTALE));
    assert_eq!(touch(&mut w, 6), Ok(content(1)[6 * PAGE]));
    end(w);
}

fn state(w: &mut World<Fake>, page: u64) -> PageState {
    let space = w.space(0);
    space.segment.state(&space.memory, page)
}

fn evict(w: &mut World<Fake>, page: u64) -> bool {
    let space = w.space(0);
    space.segment.evict(&mut space.memory, page)
}

#[test]
fn a_run_that_fails_is_tried_with_the_touched_page_alone() {
    let mut w = world(runs(8), 0);
    w.lost.once(0, ());
    assert_eq!(touch(&mut w, 3), Ok(content(1)[3 * PAGE]));
    assert_eq!(w.messages, 2);
    assert_eq!(state(&mut w, 4), PageState::Absent);
    // A page alone fails at once.
    let mut alone = world(runs(1), 0);
    alone.lost.once(0, ());
    assert_eq!(touch(&mut alone, 3), Err(Errno::EIO));
    assert_eq!(alone.messages, 1);
    end(alone);
    end(w);
}

#[test]
fn without_frames_fewer_pages_come() {
    for frames in 0..20 {
        let mut w = world(runs(8), 0);
        touch(&mut w, 600).expect("the nodes of the overlay are there");
        evict(&mut w, 600);
        w.frames.borrow_mut().denied.all(frames, ());
        let touched = touch(&mut w, 608);
        w.frames.borrow_mut().denied.heal();
        let come = (608..616).filter(|page| state(&mut w, *page) != PageState::Absent);
        let come = come.count() as u64;
        assert_eq!(come, frames.min(8));
        // Of each page that came a translation is wanted, the touched page's at last.
        let want = if frames < 16 {
            Err(Errno::ENOMEM)
        } else {
            Ok(content(1)[608 * PAGE])
        };
        assert_eq!(touched, want, "{frames} allocations");
        end(w);
    }
}

#[test]
fn neighbours_that_were_replaced_meanwhile_are_dropped() {
    let mut w = world(runs(8), 0);
    w.interrupt = Some((
        Point::Fill,
        Box::new(|w: &mut World<Fake>| {
            assert_eq!(vm::read(&mut w.process(0), P, P, 1, P), Ok(P));
            assert_eq!(vm::free(&mut w.process(0), 2 * P, P), Ok(()));
            assert_eq!(w.store(0, 2 * PAGE, b"own"), (3, Ok(())));
        }),
    ));
    assert_eq!(touch(&mut w, 0), Ok(content(1)[0]));
    assert_eq!(counted(&w, Count::Stale), 2);
    let mut want = content(1)[..8 * PAGE].to_vec();
    want[PAGE..2 * PAGE].copy_from_slice(&content(2)[PAGE..2 * PAGE]);
    want[2 * PAGE..3 * PAGE].fill(0);
    want[2 * PAGE..2 * PAGE + 3].copy_from_slice(b"own");
    assert!(w.load(0, 0, 8 * PAGE) == Ok(want), "wrong bytes");
    end(w);
}

#[test]
fn neighbours_in_the_cache_are_mapped_by_one_fault() {
    let mut w = world(CONFIG, 0);
    w.load(0, 0, 64 * PAGE).expect("load");
    w.spawn(1);
    let n = PAGES * P;
    assert_eq!(vm::read(&mut w.process(1), 0, n, 0, 0), Ok(n));
    w.messages = 0;
    w.load(1, 0, PAGE + 1).expect("load");
    let mapped = w.space(1).memory.map.len();
    assert_eq!(mapped, 5, "the touched ones and three more");
    assert!(w.load(1, 0, 40 * PAGE) == Ok(content(1)[..40 * PAGE].to_vec()));
    assert_eq!(w.messages, 0);
    w.exit(1);
    end(w);
}
