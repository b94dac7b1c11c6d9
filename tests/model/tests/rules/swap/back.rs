//! Pages come back from swap, alone or with their neighbours.

use super::{
    ALL, PAGE, PAGES, Worlds, end, fail, is_backed, is_dirty, load, meanwhile, out, own, place,
    store, world,
};
use abi::Errno;
use dormouse_model_tests::swap::Harm;
use dormouse_model_tests::world::Point;
use vm::Host;

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
