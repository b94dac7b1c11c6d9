//! Processes that share the nodes of their overlays after a fork.

use crate::CONFIG;
use abi::Errno;
use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::world::World;
use vm::{Count, PageState};

const PAGE: usize = model::PAGE;
const PAGES: usize = 8;
/// A page in another leaf, and one below another node of the level above.
const FAR: [usize; 2] = [700 * PAGE, 600_000 * PAGE];

type Worlds = World<Fake>;

/// A process with clean pages of a file, of which it has changed one, pages of its own
/// far away, and one asleep.
fn world() -> Worlds {
    let file = FakeFile {
        server: 0,
        snapshots: true,
        declines: false,
        content: vec![0xf1; PAGES * PAGE],
    };
    let mut w = World::new(Fake::new(vec![file]), CONFIG);
    let len = (PAGES * PAGE) as u64;
    assert_eq!(vm::read(&mut w.process(0), 0, len, 0, 0), Ok(len));
    w.load(0, 0, (PAGES - 1) * PAGE).expect("load");
    store(&mut w, 0, 2 * PAGE, b"changed");
    for at in FAR {
        store(&mut w, 0, at, b"far away");
    }
    w
}

fn store(w: &mut Worlds, space: usize, at: usize, bytes: &[u8]) {
    assert_eq!(w.store(space, at, bytes), (bytes.len(), Ok(())));
}

fn is(w: &mut Worlds, space: usize, at: usize, bytes: &[u8]) {
    assert_eq!(w.load(space, at, bytes.len()).as_deref(), Ok(bytes));
}

fn copies(w: &Worlds) -> u64 {
    w.frames.borrow().counts[Count::Copy as usize]
}

/// Frames in use, and how many of them are nodes.
fn memory(w: &Worlds) -> (u64, u64) {
    let frames = w.frames.borrow();
    (frames.used(), frames.nodes)
}

fn end(mut w: Worlds) {
    w.check();
    for space in 0..w.spaces.len() {
        if w.spaces[space].is_some() {
            w.exit(space);
            w.check();
        }
    }
    assert_eq!(memory(&w), (0, 0), "frames left");
}

#[test]
fn a_fork_takes_no_memory_and_neither_do_loads_after_it() {
    let mut w = world();
    let before = memory(&w);
    w.fork(0, 1).expect("fork");
    w.fork(1, 2).expect("fork");
    assert_eq!(memory(&w), before);
    for space in 0..3 {
        is(&mut w, space, 2 * PAGE, b"changed");
        is(&mut w, space, FAR[1], b"far away");
        is(&mut w, space, 3 * PAGE, &[0xf1; 9]);
        w.check();
    }
    assert_eq!((memory(&w), copies(&w)), (before, 0));
    end(w);
}

#[test]
fn a_loaded_page_of_a_shared_node_is_mapped_read_only() {
    for storing in [0, 1] {
        let mut w = world();
        w.fork(0, 1).expect("fork");
        // The frame has one holder: the node.
        is(&mut w, storing, 2 * PAGE, b"changed");
        store(&mut w, storing, 2 * PAGE, b"again");
        is(&mut w, 1 - storing, 2 * PAGE, b"changed");
        is(&mut w, storing, 2 * PAGE, b"agained");
        end(w);
    }
}

#[test]
fn who_is_left_alone_stores_without_a_copy() {
    for left in [0, 1] {
        let mut w = world();
        w.fork(0, 1).expect("fork");
        w.exit(1 - left);
        let before = memory(&w);
        store(&mut w, left, 2 * PAGE, b"alone");
        store(&mut w, left, FAR[0], b"alone");
        assert_eq!((memory(&w), copies(&w)), (before, 0));
        end(w);
    }
}

#[test]
fn five_forks_in_a_row_part_in_both_orders() {
    for parents_first in [false, true] {
        let mut w = world();
        for turn in 0..5_u8 {
            let (parent, child) = (usize::from(turn) % 3, usize::from(turn + 1) % 3);
            w.fork(parent, child).expect("fork");
            w.check();
            let (first, second) = match parents_first {
                true => (parent, child),
                false => (child, parent),
            };
            for space in [first, second] {
                let text = [turn, space as u8, b'.'];
                store(&mut w, space, 2 * PAGE, &text);
                store(&mut w, space, FAR[usize::from(turn) % 2], &text);
                w.check();
            }
            for space in [parent, child] {
                let text = [turn, space as u8, b'.'];
                is(&mut w, space, 2 * PAGE, &text);
                is(&mut w, space, FAR[usize::from(turn) % 2], &text);
                is(&mut w, space, 2 * PAGE + 3, b"nged");
            }
            // The grandparent goes; its place is the next child's.
            let oldest = usize::from(turn + 2) % 3;
            if w.spaces.get(oldest).is_some_and(Option::is_some) {
                w.exit(oldest);
            }
        }
        end(w);
    }
}

#[test]
fn without_memory_for_a_node_nothing_has_changed() {
    let mut w = world();
    w.fork(0, 1).expect("fork");
    let before = memory(&w);
    // A store copies the nodes of three levels, each of which stays, and the page. The
    // child is left alone with the old ones.
    for (space, fails) in [(0, &[0, 1, 1, 1][..]), (1, &[0])] {
        for at in fails {
            // Of a copy that fails in the quick way, the long way tries another.
            w.frames.borrow_mut().denied.all(*at, ());
            let stored = w.store(space, FAR[0], b"new");
            w.frames.borrow_mut().denied.heal();
            assert_eq!(stored, (0, Err(Errno::ENOMEM)), "{at} of {space}");
            w.check();
        }
        is(&mut w, space, FAR[0], b"far away");
    }
    assert_eq!(memory(&w), (before.0 + 3, before.1 + 3));
    w.fork(0, 2).expect("fork");
    w.frames.borrow_mut().denied.once(0, ());
    assert_eq!(w.process(2).page_out(2, 1), Err(Errno::ENOMEM));
    w.frames.borrow_mut().denied.once(0, ());
    let freed = vm::free(&mut w.process(2), PAGE as u64, (2 * PAGE) as u64);
    assert_eq!(freed, Err(Errno::ENOMEM));
    w.check();
    is(&mut w, 2, 2 * PAGE, b"changed");
    end(w);
}

#[test]
fn a_range_that_ends_within_a_node_leaves_the_others_pages() {
    for (start, len) in [
        (1, 2),
        (0, 700),
        (3, 600_000 - 3),
        (512, 1024),
        (0, 1 << 20),
    ] {
        let mut w = world();
        w.fork(0, 1).expect("fork");
        let range = (start * PAGE) as u64;
        vm::free(&mut w.process(1), range, (len * PAGE) as u64).expect("free");
        w.check();
        let gone = |page: usize| (start..start + len).contains(&page);
        for (page, bytes) in [(2, b"changed"), (700, b"far awa"), (600_000, b"far awa")] {
            is(&mut w, 0, page * PAGE, bytes);
            let left = if gone(page) { &[0; 7] } else { bytes };
            is(&mut w, 1, page * PAGE, left);
        }
        end(w);
    }
}

#[test]
fn a_clean_page_leaves_one_and_stays_with_the_other() {
    let mut w = world();
    w.fork(0, 1).expect("fork");
    let space = w.space(1);
    assert!(space.segment.evict(&mut space.memory, 3));
    w.check();
    let state = |w: &mut Worlds, space: usize| {
        let space = w.space(space);
        space.segment.state(&space.memory, 3)
    };
    assert_eq!(state(&mut w, 1), PageState::Absent);
    assert!(matches!(state(&mut w, 0), PageState::Resident(_)));
    end(w);
}
