//! Places in swap that several processes refer to.

use super::{
    ALL, CONFIG, Config, Fake, FakeFile, PAGE, World, end, is_backed, is_dirty, load, meanwhile,
    out, own, place, store, world,
};
use dormouse_model_tests::world::Point;

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
    let page = PAGE as u64;
    let got = vm::read(&mut w.process(0), far(100) as u64, page, 0, 0);
    assert_eq!(got, Ok(page));
    // A page that is being filled is not shared, so all are copied in steps.
    meanwhile(&mut w, Point::Fill, |w| {
        meanwhile(w, Point::Pause, |w| {
            assert_eq!(out(w, 0, 512 * 99, 1), Ok(0));
        });
        w.fork(0, 1).expect("fork");
        assert!(w.interrupt.is_none(), "it took one step");
    });
    w.load(0, far(100), 1).expect("load");
    assert!(w.interrupt.is_none(), "nothing was filled");
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
fn room_that_a_child_has_begun_to_share_is_not_given_back() {
    const PAGES: usize = 100;
    let file = FakeFile::of(vec![0xf1; PAGES * PAGE]);
    let config = Config {
        pages: PAGES as u64,
        trim_worth: 40 * PAGE as u64,
        ..CONFIG
    };
    let mut w = World::new(Fake::new(vec![file]), config);
    store(&mut w, 0, 0, &vec![5; PAGES * PAGE]);
    for page in (0..PAGES as u64).step_by(20) {
        out(&mut w, 0, page, 20).expect("page-out");
    }
    let free = |w: &mut World<Fake>, page: usize| {
        vm::free(&mut w.process(0), (page * PAGE) as u64, PAGE as u64).expect("free");
    };
    // Noted as given up, and in the file again.
    free(&mut w, 90);
    store(&mut w, 0, 90 * PAGE, &[6; PAGE]);
    assert_eq!(out(&mut w, 0, 90, 1), Ok(1));
    for page in 0..38 {
        free(&mut w, 2 * page);
    }
    // The answer to the first of two messages.
    meanwhile(&mut w, Point::Swapped, |w| {
        w.fork(0, 1).expect("fork");
        store(w, 0, 90 * PAGE, b"parent");
    });
    free(&mut w, 78);
    w.check();
    assert_eq!(w.load(1, 90 * PAGE, PAGE).as_deref(), Ok(&[6; PAGE][..]));
    end(w);
}

#[test]
fn what_another_has_read_meanwhile_is_not_tied_to_what_was_written() {
    const PAGES: usize = 700;
    let file = |byte: u8, pages: usize| FakeFile::of(vec![byte; pages * PAGE]);
    let config = Config {
        pages: PAGES as u64,
        ..CONFIG
    };
    let files = vec![file(0xa0, 2 * PAGES), file(0xb0, PAGES)];
    let mut w = World::new(Fake::new(files), config);
    // Extents that do not adjoin in the file.
    for page in 0..PAGES {
        let (at, off) = ((page * PAGE) as u64, (2 * page * PAGE) as u64);
        assert_eq!(
            vm::read(&mut w.process(0), at, PAGE as u64, 0, off),
            Ok(PAGE as u64)
        );
    }
    let last = ((PAGES - 1) * PAGE) as u64;
    meanwhile(&mut w, Point::AfterCommit, move |w| {
        w.interrupt = Some((
            Point::Pause,
            Box::new(move |w| {
                let read = vm::read(&mut w.process(0), last, PAGE as u64, 1, 0);
                assert_eq!(read, Ok(PAGE as u64));
            }),
        ));
    });
    let len = (PAGES * PAGE) as u64;
    assert_eq!(
        vm::write(&mut w.process(0), 0, len, 0, PAGE as u64),
        Ok(len)
    );
    assert!(w.interrupt.is_none(), "no step in between");
    assert_eq!(
        w.load(0, last as usize, PAGE).as_deref(),
        Ok(&[0xb0; PAGE][..])
    );
    end(w);
}
