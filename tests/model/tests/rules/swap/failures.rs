//! Swap that fails, is full, or gives other bytes.

use super::{ALL, PAGE, end, fail, is_dirty, load, out, own, place, state, store, world};
use abi::Errno;
use dormouse_model_tests::swap::Harm;

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
