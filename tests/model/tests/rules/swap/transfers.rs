//! Reads and writes over swapped pages.

use super::{ALL, PAGE, PAGES, end, load, out, own, state, world};
use abi::Errno;
use dormouse_model_tests as model;
use dormouse_model_tests::run::{Failure, FailureKind};
use dormouse_model_tests::swap::Harm;
use vm::{Host, PageState};

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
        w.frames.borrow_mut().denied.all(frames, ());
        let len = (PAGES * PAGE) as u64;
        let wrote = vm::write(&mut w.process(0), 0, len, 0, 0);
        // One page more than it has frames for must be mapped.
        assert!(wrote.map_or(0, |n| n / PAGE as u64) <= frames, "{wrote:?}");
        assert!(wrote.is_ok() || wrote == Err(Errno::ENOMEM), "{wrote:?}");
        w.heal();
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
