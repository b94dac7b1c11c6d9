//! Changed pages leave memory and come back (rule 7): right, or not at all.

use abi::Errno;
use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::run::{Failure, FailureKind};
use model::swap::Harm;
use model::world::{Config, Point, World};
use vm::{Host, PageState, SwapId};

use crate::CONFIG;

const PAGE: usize = model::PAGE;
const PAGES: usize = 8;
const ALL: u64 = PAGES as u64;

type Worlds = World<Fake>;

/// A file of eight pages, and a process with other bytes of its own in as many.
fn world() -> Worlds {
    let file = FakeFile {
        server: 0,
        snapshots: true,
        declines: false,
        content: vec![0xf1; PAGES * PAGE],
    };
    // One page is worth it to tell the swap server of.
    let config = Config {
        trim_worth: 1,
        ..CONFIG
    };
    let mut w = World::new(Fake::new(vec![file]), config);
    store(&mut w, 0, 0, &own());
    w
}

fn own() -> Vec<u8> {
    (0..PAGES * PAGE)
        .map(|i| (i / PAGE * 7 + i + 1) as u8)
        .collect()
}

fn store(w: &mut Worlds, space: usize, at: usize, bytes: &[u8]) {
    assert_eq!(w.store(space, at, bytes), (bytes.len(), Ok(())));
}

fn out(w: &mut Worlds, space: usize, page: u64, count: u64) -> Result<u64, Errno> {
    w.process(space).page_out(page, count)
}

fn state(w: &mut Worlds, space: usize, page: u64) -> PageState {
    let space = w.space(space);
    space.segment.state(&space.memory, page)
}

fn is_dirty(w: &mut Worlds, space: usize, page: u64) -> bool {
    matches!(state(w, space, page), PageState::Dirty(_))
}

fn is_backed(w: &mut Worlds, space: usize, page: u64) -> bool {
    matches!(state(w, space, page), PageState::Backed(..))
}

/// The swap file of a page.
fn place(w: &mut Worlds, space: usize, page: u64) -> Option<SwapId> {
    let space = w.space(space);
    space.segment.swap_of(&space.memory, page)
}

fn load(w: &mut Worlds, space: usize) -> Vec<u8> {
    w.load(space, 0, PAGES * PAGE).expect("load")
}

/// In the middle of the next operation.
fn meanwhile(w: &mut Worlds, point: Point, f: impl FnOnce(&mut Worlds) + 'static) {
    w.interrupt = Some((point, Box::new(f)));
}

fn fail(w: &mut Worlds, at: u64, harm: Harm) {
    w.fail(Failure {
        kind: FailureKind::Swap(harm),
        at,
        for_good: false,
    });
}

fn end(mut w: Worlds) {
    w.check();
    for space in 0..w.spaces.len() {
        if w.spaces[space].is_some() {
            w.exit(space);
        }
    }
    assert_eq!(w.frames.borrow().used(), 0, "frames left");
    assert_eq!(w.swap.handles().count(), 0, "swap files left");
}

#[test]
fn changed_pages_leave_memory_and_come_back() {
    let mut w = world();
    let before = w.frames.borrow().used();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    assert_eq!(w.frames.borrow().used(), before - ALL);
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(0), "there are no more");
    w.check();
    assert_eq!(load(&mut w, 0), own());
    // Each time to the same places.
    for round in 0..5 {
        store(&mut w, 0, 100, &[round; 5000]);
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        assert_eq!(w.swap.pages(), PAGES);
        assert_eq!(load(&mut w, 0)[100..5100], [round; 5000]);
    }
    end(w);
}

#[test]
fn a_page_that_came_back_leaves_again_without_being_written_until_a_store() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    for _ in 0..3 {
        assert_eq!(load(&mut w, 0), own());
        assert!((0..ALL).all(|page| is_backed(&mut w, 0, page)));
        w.check();
        let before = w.swap.requests;
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        assert_eq!(w.swap.requests, before, "nothing was to be sent");
    }
    let mut want = own();
    want[3 * PAGE..3 * PAGE + 3].copy_from_slice(b"new");
    assert_eq!(load(&mut w, 0), own());
    store(&mut w, 0, 3 * PAGE, b"new");
    assert!(is_dirty(&mut w, 0, 3));
    assert_eq!(w.space(0).segment.in_swap(), ALL - 1);
    let before = w.swap.requests;
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    assert_eq!(w.swap.requests, before + 1);
    assert_eq!(load(&mut w, 0), want);
    end(w);
}

#[test]
fn whatever_happens_to_a_page_in_memory_and_swap_ends_its_place() {
    let three = 3 * PAGE as u64;
    let events: [fn(&mut Worlds, u64); 5] = [
        |w, len| vm::free(&mut w.process(0), 0, len).expect("free"),
        |w, len| assert_eq!(vm::read(&mut w.process(0), 0, len, 0, 0), Ok(len)),
        |w, len| {
            let mut process = w.process(0);
            process.eager = true;
            assert_eq!(vm::read(&mut process, 0, len, 0, 0), Ok(len));
        },
        |w, len| assert_eq!(vm::write(&mut w.process(0), 0, len, 0, 0), Ok(len)),
        |w, _| {
            for page in 0..3 {
                let done = w.process(0).with(|segment, m| segment.overwrite(m, page));
                assert_eq!(done, Ok(()));
            }
        },
    ];
    for (number, event) in events.into_iter().enumerate() {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        assert_eq!(load(&mut w, 0), own());
        event(&mut w, three);
        w.check();
        assert_eq!(w.space(0).segment.in_swap(), ALL - 3, "event {number}");
        assert_eq!(w.load(0, 3 * PAGE, 5 * PAGE).unwrap(), own()[3 * PAGE..]);
        end(w);
    }
}

#[test]
fn processes_share_pages_in_memory_and_swap_until_one_stores() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    assert_eq!(load(&mut w, 0), own());
    w.fork(0, 1).expect("fork");
    assert!((0..ALL).all(|page| is_backed(&mut w, 1, page)));
    assert_eq!(place(&mut w, 0, 2), place(&mut w, 1, 2));
    // World::swap_out panics if a place in use is written.
    store(&mut w, 1, 2 * PAGE, b"child");
    assert!(is_backed(&mut w, 0, 2) && is_dirty(&mut w, 1, 2));
    for space in [0, 1] {
        assert_eq!(out(&mut w, space, 0, ALL), Ok(ALL));
    }
    w.check();
    assert_eq!(load(&mut w, 0), own());
    assert_eq!(w.load(1, 2 * PAGE, 5).as_deref(), Ok(&b"child"[..]));
    w.exit(0);
    assert_eq!(
        w.load(1, 3 * PAGE, PAGE).unwrap(),
        own()[3 * PAGE..4 * PAGE]
    );
    end(w);
}

#[test]
fn pages_that_faults_show_to_be_wanted_come_back_together() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    let before = w.swap.requests;
    assert_eq!(load(&mut w, 0), own());
    // The first, the next four, and the rest.
    assert_eq!(w.swap.requests - before, 3);
    w.check();
    end(w);
}

#[test]
fn a_neighbour_that_is_damaged_or_not_to_be_had_is_nobodys_error() {
    for harm in [Harm::Error, Harm::FullOrFlipped] {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        assert_eq!(w.load(0, 0, 1).unwrap(), own()[..1]);
        match harm {
            // The request for four pages fails, that for one does not.
            Harm::Error => fail(&mut w, 0, harm),
            Harm::FullOrFlipped => {
                let file = place(&mut w, 0, 2).expect("in swap");
                w.swap.flip(file, 2, 99);
            }
        }
        assert_eq!(w.load(0, PAGE, 1).unwrap(), own()[PAGE..PAGE + 1]);
        w.check();
        if harm == Harm::FullOrFlipped {
            assert!(is_backed(&mut w, 0, 3) && !is_backed(&mut w, 0, 2));
            assert_eq!(w.load(0, 2 * PAGE, 1), Err(Errno::EBADMSG));
            let file = place(&mut w, 0, 2).expect("in swap");
            w.swap.flip(file, 2, 99);
        }
        assert_eq!(load(&mut w, 0), own());
        end(w);
    }
}

#[test]
fn a_page_that_is_stored_to_while_its_neighbour_comes_back_is_the_stored_one() {
    for point in [Point::Swap, Point::Swapped] {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        assert_eq!(w.load(0, 0, 1).unwrap(), own()[..1]);
        meanwhile(&mut w, point, |w| {
            let page = w.process(0).with(|segment, m| segment.overwrite(m, 3));
            assert_eq!(page, Ok(()));
        });
        assert_eq!(w.load(0, PAGE, 1).unwrap(), own()[PAGE..PAGE + 1]);
        w.check();
        assert_eq!(w.load(0, 3 * PAGE, PAGE).unwrap(), [0; PAGE]);
        end(w);
    }
}

#[test]
fn a_page_out_takes_adjacent_dirty_pages_alone() {
    let mut w = world();
    vm::read(&mut w.process(0), 2 * PAGE as u64, PAGE as u64, 0, 0).expect("read");
    w.load(0, 2 * PAGE, 1).expect("load");
    assert_eq!(out(&mut w, 0, 1, ALL), Ok(1));
    assert_eq!(out(&mut w, 0, 1, ALL), Ok(5));
    assert!(matches!(state(&mut w, 0, 2), PageState::Resident(_)));
    assert!(is_dirty(&mut w, 0, 0));
    end(w);
}

#[test]
fn a_store_during_a_page_out_wins() {
    for point in [Point::Swap, Point::Swapped] {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 7, 1), Ok(1));
        meanwhile(&mut w, point, |w| store(w, 0, PAGE + 5, b"mine"));
        assert_eq!(out(&mut w, 0, 0, 3), Ok(2), "{point:?}");
        assert!(is_dirty(&mut w, 0, 1));
        assert_eq!(&w.load(0, PAGE + 5, 4).unwrap(), b"mine");
        assert_eq!(out(&mut w, 0, 0, 3), Ok(1));
        let mut want = own();
        want[PAGE + 5..PAGE + 9].copy_from_slice(b"mine");
        assert_eq!(load(&mut w, 0), want);
        end(w);
    }
}

#[test]
fn whatever_happens_to_pages_during_their_page_out_wins() {
    let events: [fn(&mut Worlds); 5] = [
        |w| vm::free(&mut w.process(0), 0, 2 * PAGE as u64).expect("free"),
        |w| {
            vm::read(&mut w.process(0), 100, 9000, 0, 0).expect("read");
        },
        |w| {
            let wrote = vm::write(&mut w.process(0), 0, 3 * PAGE as u64, 0, 0);
            assert_eq!(wrote, Ok(3 * PAGE as u64));
        },
        |w| w.fork(0, 1).expect("fork"),
        |w| w.exit(0),
    ];
    for (number, event) in events.into_iter().enumerate() {
        for point in [Point::Swap, Point::Swapped] {
            for failed in [false, true] {
                let (mut w, mut model) = (world(), own());
                // There is a swap file already.
                assert_eq!(out(&mut w, 0, 7, 1), Ok(1));
                meanwhile(&mut w, point, event);
                if failed {
                    fail(&mut w, 0, Harm::Error);
                }
                let gone = out(&mut w, 0, 0, ALL);
                assert_eq!(gone.is_err(), failed, "event {number}");
                match number {
                    0 => model[..2 * PAGE].fill(0),
                    1 => model[100..9100].fill(0xf1),
                    4 => {
                        end(w);
                        continue;
                    }
                    _ => {}
                }
                w.check();
                assert_eq!(load(&mut w, 0), model, "event {number}");
                if number == 3 {
                    assert_eq!(load(&mut w, 1), own());
                }
                end(w);
            }
        }
    }
}

#[test]
fn a_place_of_two_processes_is_never_overwritten() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    w.fork(0, 1).expect("fork");
    // World::swap_out panics if a place in use is written.
    for space in [0, 1] {
        store(&mut w, space, 10, &[space as u8; 9000]);
        assert_eq!(out(&mut w, space, 0, 3), Ok(3));
        w.check();
    }
    assert_ne!(place(&mut w, 0, 0), place(&mut w, 1, 0));
    assert_eq!(place(&mut w, 0, 7), place(&mut w, 1, 7));
    w.fork(1, 2).expect("fork");
    w.exit(0);
    for space in [1, 2] {
        let mut want = own();
        want[10..9010].fill(1);
        assert_eq!(load(&mut w, space), want);
    }
    end(w);
}

#[test]
fn a_file_is_used_again_once_no_other_process_refers_to_it() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    let file = place(&mut w, 0, 7);
    for _ in 0..3 {
        w.fork(0, 1).expect("fork");
        w.exit(1);
        store(&mut w, 0, 10, &[9; 9000]);
        assert_eq!(out(&mut w, 0, 0, 3), Ok(3));
        assert_eq!(place(&mut w, 0, 0), file);
    }
    // The child may, too.
    w.fork(0, 1).expect("fork");
    store(&mut w, 0, 10, &[8; 9000]);
    assert_eq!(out(&mut w, 0, 0, 3), Ok(3));
    assert_ne!(place(&mut w, 0, 0), file);
    w.exit(0);
    assert_eq!(w.load(1, 10, 9000).as_deref(), Ok(&[9; 9000][..]));
    // A fork in the middle comes first.
    w.fork(1, 0).expect("fork");
    w.exit(0);
    meanwhile(&mut w, Point::Look, |w| w.fork(1, 0).expect("fork"));
    store(&mut w, 1, 10, &[7; 9000]);
    assert_eq!(out(&mut w, 1, 0, 3), Ok(3));
    w.check();
    let (mut parent, mut child) = (load(&mut w, 1), load(&mut w, 0));
    parent[10..9010].fill(9);
    child[10..9010].fill(9);
    assert_eq!(parent, child);
    end(w);
}

#[test]
fn no_page_leaves_between_two_steps_of_a_fork() {
    let mut w = world();
    // As far apart as makes them several steps.
    let far = |n: usize| 512 * PAGE * n;
    let pages = 1..100;
    for n in pages.clone() {
        store(&mut w, 0, far(n), &[n as u8]);
    }
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    meanwhile(&mut w, Point::Pause, |w| {
        assert_eq!(out(w, 0, 512 * 99, 1), Ok(0));
    });
    w.fork(0, 1).expect("fork");
    assert!(w.interrupt.is_none(), "it took one step");
    w.check();
    assert_eq!(out(&mut w, 0, 512 * 99, 1), Ok(1));
    for space in [0, 1] {
        for n in pages.clone() {
            assert_eq!(w.load(space, far(n), 1).as_deref(), Ok(&[n as u8][..]));
        }
        assert_eq!(load(&mut w, space), own());
    }
    end(w);
}

#[test]
fn no_page_leaves_while_it_is_on_its_way_to_a_file() {
    let mut w = world();
    meanwhile(&mut w, Point::BeforeCommit, |w| {
        assert_eq!(out(w, 0, 0, 2), Ok(0));
    });
    let wrote = vm::write(&mut w.process(0), 0, 2 * PAGE as u64, 0, 0);
    assert_eq!(wrote, Ok(2 * PAGE as u64));
    assert!(matches!(state(&mut w, 0, 0), PageState::Resident(_)));
    end(w);
}

#[test]
fn swapped_pages_are_written_and_are_clean_then() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    let (len, before) = ((PAGES * PAGE) as u64, w.swap.requests);
    assert_eq!(vm::write(&mut w.process(0), 0, len, 0, 0), Ok(len));
    assert_eq!(w.swap.requests - before, 1, "they come back together");
    assert_eq!(model::server::Servers::content(&mut w.servers, 0), own());
    assert!((0..ALL).all(|page| matches!(state(&mut w, 0, page), PageState::Resident(_))));
    assert_eq!(w.space(0).segment.in_swap(), 0);
    end(w);
}

#[test]
fn a_write_of_swapped_pages_goes_as_far_as_memory_and_swap_give_them() {
    for frames in 0..PAGES as u64 {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        w.frames.borrow_mut().fail_for_good = true;
        w.frames.borrow_mut().fail_after = Some(frames);
        let len = (PAGES * PAGE) as u64;
        let wrote = vm::write(&mut w.process(0), 0, len, 0, 0);
        // One page more than it has frames for must be mapped.
        assert!(wrote.map_or(0, |n| n / PAGE as u64) <= frames, "{wrote:?}");
        assert!(wrote.is_ok() || wrote == Err(Errno::ENOMEM), "{wrote:?}");
        w.heal();
        w.frames.borrow_mut().fail_for_good = false;
        w.check();
        assert_eq!(vm::write(&mut w.process(0), 0, len, 0, 0), Ok(len));
        assert_eq!(model::server::Servers::content(&mut w.servers, 0), own());
        end(w);
    }
}

#[test]
fn a_swapped_page_that_is_replaced_in_part_keeps_the_rest() {
    for eager in [false, true] {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        let mut process = w.process(0);
        process.eager = eager;
        let n = 2 * PAGE as u64;
        assert_eq!(vm::read(&mut process, 100, n, 0, 0), Ok(n));
        vm::free(&mut w.process(0), 5 * PAGE as u64 - 9, 20).expect("free");
        let mut want = own();
        want[100..100 + 2 * PAGE].fill(0xf1);
        want[5 * PAGE - 9..5 * PAGE + 11].fill(0);
        assert_eq!(load(&mut w, 0), want);
        end(w);
    }
}

#[test]
fn a_swapped_page_that_is_replaced_as_a_whole_is_not_brought_back() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    // Every request would fail.
    w.fail(Failure {
        kind: FailureKind::Swap(Harm::Error),
        at: 0,
        for_good: true,
    });
    let two = 2 * PAGE as u64;
    assert_eq!(vm::read(&mut w.process(0), 0, two, 0, 0), Ok(two));
    let mut process = w.process(0);
    process.eager = true;
    assert_eq!(vm::read(&mut process, two, two, 0, 0), Ok(two));
    vm::free(&mut w.process(0), 2 * two, two).expect("free");
    let overwritten = w.process(0).with(|segment, m| segment.overwrite(m, 6));
    assert_eq!(overwritten, Ok(()));
    w.check();
    assert_eq!(w.space(0).segment.in_swap(), 1);
    w.heal();
    end(w);
}

#[test]
fn a_bit_flipped_in_swap_is_an_error_and_never_wrong_data() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    let file = place(&mut w, 0, 3).expect("in swap");
    for bit in [0, 1, 63, 64, 12345, 8 * PAGE - 1] {
        w.swap.flip(file, 3, bit);
        let before = state(&mut w, 0, 3);
        for _ in 0..2 {
            assert_eq!(w.load(0, 3 * PAGE, 1), Err(Errno::EBADMSG), "bit {bit}");
            assert_eq!(w.store(0, 3 * PAGE, &[1]), (0, Err(Errno::EBADMSG)));
            assert_eq!(state(&mut w, 0, 3), before);
        }
        let wrote = vm::write(&mut w.process(0), 3 * PAGE as u64, 9, 0, 0);
        assert_eq!(wrote, Err(Errno::EIO));
        let wrote = vm::write(&mut w.process(0), 2 * PAGE as u64, 9000, 0, 0);
        assert_eq!(wrote, Ok(PAGE as u64), "the page before it");
        w.swap.flip(file, 3, bit);
    }
    assert_eq!(load(&mut w, 0), own());
    end(w);
}

#[test]
fn a_page_out_that_fails_leaves_pages_dirty_and_their_bytes_right() {
    for (at, harm, error) in [
        (0, Harm::Error, Errno::EIO),
        (1, Harm::Error, Errno::EIO),
        (0, Harm::FullOrFlipped, Errno::ENOSPC),
        (1, Harm::FullOrFlipped, Errno::ENOSPC),
    ] {
        let mut w = world();
        fail(&mut w, at, harm);
        assert_eq!(out(&mut w, 0, 0, ALL), Err(error));
        assert!((0..ALL).all(|page| is_dirty(&mut w, 0, page)));
        w.check();
        assert_eq!(load(&mut w, 0), own());
        store(&mut w, 0, 0, b"new");
        assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
        assert_eq!(w.load(0, 0, 3).as_deref(), Ok(&b"new"[..]));
        end(w);
    }
}

#[test]
fn a_page_out_that_may_arrive_late_meets_no_later_one() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 7, 1), Ok(1));
    let first = place(&mut w, 0, 7);
    fail(&mut w, 0, Harm::Error);
    assert_eq!(out(&mut w, 0, 0, 2), Err(Errno::EIO));
    store(&mut w, 0, 0, b"new");
    assert_eq!(out(&mut w, 0, 0, 2), Ok(2));
    assert_ne!(
        place(&mut w, 0, 0),
        first,
        "the late one would overwrite it"
    );
    // A full server has said that it did nothing.
    let second = place(&mut w, 0, 0);
    fail(&mut w, 0, Harm::FullOrFlipped);
    assert_eq!(out(&mut w, 0, 3, 2), Err(Errno::ENOSPC));
    assert_eq!(out(&mut w, 0, 3, 2), Ok(2));
    assert_eq!(place(&mut w, 0, 3), second);
    end(w);
}

#[test]
fn one_page_out_of_a_segment_at_a_time() {
    let mut w = world();
    meanwhile(&mut w, Point::Swap, |w| {
        assert_eq!(out(w, 0, 4, 2), Ok(0));
    });
    assert_eq!(out(&mut w, 0, 0, 2), Ok(2));
    assert_eq!(out(&mut w, 0, 4, 2), Ok(2));
    end(w);
}

#[test]
fn without_swap_pages_stay() {
    struct None_<'a>(&'a mut Worlds);
    impl vm::Swap for None_<'_> {}
    impl vm::Pager for None_<'_> {
        type Memory = model::memory::SimMemory;
        fn with<R>(
            &mut self,
            f: impl FnOnce(&mut vm::Segment, &mut Self::Memory) -> R,
        ) -> Option<R> {
            let space = self.0.space(0);
            Some(f(&mut space.segment, &mut space.memory))
        }
        fn release(&mut self, _frame: vm::Frame) {
            unreachable!("nothing was sent")
        }
    }
    let mut w = world();
    assert_eq!(vm::page_out(&mut None_(&mut w), 0..ALL), Err(Errno::ENOSPC));
    assert!((0..ALL).all(|page| is_dirty(&mut w, 0, page)));
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL), "the next may");
    end(w);
}

#[test]
fn room_in_swap_is_given_back_when_pages_are_dropped() {
    let mut w = world();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    let free = |w: &mut Worlds, space: usize, page: usize, count: usize| {
        let (at, n) = (page * PAGE, count * PAGE);
        vm::free(&mut w.process(space), at as u64, n as u64).expect("free");
        w.check();
        w.swap.pages()
    };
    assert_eq!(free(&mut w, 0, 1, 2), PAGES - 2);
    assert_eq!(free(&mut w, 0, 4, 1), PAGES - 3);
    // What another process has stays until that is gone.
    w.fork(0, 1).expect("fork");
    assert_eq!(free(&mut w, 0, 5, 1), PAGES - 3);
    assert_eq!(free(&mut w, 1, 6, 1), PAGES - 3);
    w.exit(1);
    assert_eq!(free(&mut w, 0, 7, 1), PAGES - 5, "6 is in use, 5 and 7 go");
    assert_eq!(free(&mut w, 0, 6, 1), PAGES - 6);
    assert_eq!(free(&mut w, 0, 0, PAGES), 0);
    assert_eq!(w.swap.handles().count(), 0, "nor is the file kept");
    end(w);
}

#[test]
fn pinned_pages_stay_also_if_their_page_out_has_begun() {
    let mut w = world();
    // Backed pages, which leave without a message.
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    assert_eq!(load(&mut w, 0), own());
    store(&mut w, 0, 0, &own()[..4 * PAGE]);
    meanwhile(&mut w, Point::Swapped, |w| w.space(0).segment.pin());
    assert_eq!(out(&mut w, 0, 0, 4), Ok(0), "pinned while they were sent");
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(0), "pinned");
    assert!((0..4).all(|page| is_dirty(&mut w, 0, page)));
    assert!((4..ALL).all(|page| is_backed(&mut w, 0, page)));
    w.space(0).segment.unpin();
    assert_eq!(out(&mut w, 0, 0, ALL), Ok(ALL));
    assert_eq!(load(&mut w, 0), own());
    end(w);
}
