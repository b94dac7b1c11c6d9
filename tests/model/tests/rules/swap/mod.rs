//! Changed pages leave memory and come back (rule 7): right, or not at all.

mod back;
mod failures;
mod forks;
mod page_out;
mod transfers;

use abi::Errno;
use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::run::{Failure, FailureKind};
use model::swap::Harm;
use model::world::{Config, Point, World};
use vm::{PageState, SwapId};

use crate::CONFIG;

const PAGE: usize = model::PAGE;
const PAGES: usize = 8;
const ALL: u64 = PAGES as u64;

type Worlds = World<Fake>;

/// A file of eight pages, and a process with other bytes of its own in as many.
fn world() -> Worlds {
    let file = FakeFile::of(vec![0xf1; PAGES * PAGE]);
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
