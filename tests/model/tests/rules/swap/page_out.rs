//! Pages go to swap, and what happens to them on the way.

use super::{
    ALL, PAGE, PAGES, Worlds, end, fail, is_backed, is_dirty, load, meanwhile, out, own, state,
    store, world,
};
use abi::Errno;
use dormouse_model_tests as model;
use dormouse_model_tests::swap::Harm;
use dormouse_model_tests::world::Point;
use vm::PageState;

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
fn a_frame_that_a_call_may_write_does_not_leave_with_its_neighbours() {
    let mut w = world();
    let PageState::Dirty(held) = state(&mut w, 0, 1) else {
        panic!("page 1 is not dirty");
    };
    w.frames.borrow_mut().retain(held);
    assert_eq!(out(&mut w, 0, 0, 4), Ok(1));
    assert_eq!(out(&mut w, 0, 1, 3), Ok(2));
    assert_eq!(state(&mut w, 0, 1), PageState::Dirty(held));
    // An answer arrives.
    w.frames.borrow_mut().bytes(held)[..4].copy_from_slice(b"mine");
    w.frames.borrow_mut().release(held);
    assert_eq!(out(&mut w, 0, 0, 4), Ok(1));
    assert_eq!(&w.load(0, PAGE, 4).unwrap(), b"mine");
    end(w);
}

#[test]
fn a_frame_that_a_call_gets_during_a_page_out_does_not_leave() {
    for point in [Point::Swap, Point::Swapped] {
        let mut w = world();
        assert_eq!(out(&mut w, 0, 7, 1), Ok(1));
        // As a call: it asks for the page for a store, then holds the frame.
        meanwhile(&mut w, point, |w| {
            store(w, 0, PAGE, &own()[PAGE..PAGE + 1]);
            let frame = state(w, 0, 1).frame().expect("a frame");
            w.frames.borrow_mut().retain(frame);
        });
        assert_eq!(out(&mut w, 0, 0, 3), Ok(2), "{point:?}");
        let PageState::Dirty(held) = state(&mut w, 0, 1) else {
            panic!("page 1 is not dirty");
        };
        w.frames.borrow_mut().bytes(held)[..4].copy_from_slice(b"mine");
        w.frames.borrow_mut().release(held);
        assert_eq!(&w.load(0, PAGE, 4).unwrap(), b"mine");
        end(w);
    }
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
