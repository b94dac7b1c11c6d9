//! Eviction: pages leave memory when frames run low.
//!
//! The clock of the VM core chooses among all frames; this module leads it from a
//! frame to the pages that have it, in any process. Processes that share a node of an
//! overlay after a fork have a frame together: it leaves when it can leave all of them.
//! A clean page that leaves sleeps again and is filled from its snapshot when it is
//! touched. A changed one goes to swap, with its neighbours in one message. The memory
//! of file servers stays ([`super::resident`]), and so do pages that were resolved
//! lately and frames that messages hold.
//!
//! All of it runs with nothing locked, in the process that needs frames or has just
//! taken some.
use super::spaces::{Number, SPACES_MAX};
use super::swap::PageOut;
use super::view::View;
use super::{Residence, spaces};
use crate::client::swap;
use crate::options;
use crate::sched::{self, Slot, relief};
use abi::PROCESSES_MAX;
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use hw::frames;
use hw::lock::{Lock, Rank};
use hw::named::from_reserve;
use hw::owners::{self, Place};
use vm::{Clock, Evicted, Frame, Frames, Look, OWNERS_MAX, Owner, PageState, Step};

static CLOCK: Lock<Clock> = Lock::new(Rank::Clock, Clock::new());

/// One step of a search for frames.
const STEP: Step = Step {
    goal: 32,
    looks: 256,
};
/// Frames that a search for frames stops at.
const ENOUGH: u32 = 64;
/// Rounds of all frames after which it stops with fewer: pages that others bring back
/// meanwhile would keep it from an end.
const ROUNDS: u32 = 4;
/// One step under pressure: the hand has gone over 64 MiB after some thirty events.
const PRESSURE: Step = Step {
    goal: u32::MAX,
    looks: 16,
};
/// Runs of changed pages that are sent after one step.
const RUNS: usize = 4;
/// Pages that one step looks at or evicts: of a frame that many processes share there are
/// many.
const PAGES: u32 = 512;
/// Leaves that one step copies, which costs much where many share what is in them. A frame
/// of many pages leaves in several steps.
const COPIES: u32 = 1;

/// The processes that send pages to swap. What they need for that must not wait for
/// pages to go to swap.
static SENDING: [AtomicBool; PROCESSES_MAX] = [const { AtomicBool::new(false) }; PROCESSES_MAX];

/// Has some pages leave, while others run in between. `false`: none can leave.
pub fn reclaim() -> bool {
    CLOCK.lock().begin();
    let (mut gone, mut swaps) = (0, may_swap());
    for _ in 0..=ROUNDS * owners::end().0 / STEP.looks {
        if gone >= ENOUGH {
            break;
        }
        let mut all = AllFrames::new(false, swaps);
        let (more, in_vain) = {
            let clock = &mut *CLOCK.lock();
            (clock.step(&mut all, STEP), clock.is_in_vain(&all))
        };
        let queued = all.changed.len as u32;
        gone += more.saturating_sub(queued);
        match send(&all.changed) {
            Some(sent) => gone += sent,
            // Only clean pages can leave: look for those from the beginning.
            None => {
                swaps = false;
                CLOCK.lock().begin();
            }
        }
        if in_vain || sched::ending() {
            break;
        }
        sched::breathe();
    }
    gone > 0
}

/// Has a few pages leave if memory is low, in one short step, so that most
/// allocations need not wait. Under pressure, each page leaves that may and has been
/// used since it came.
pub fn ease() {
    let pressed = options::pressure();
    if !pressed && !frames::still_low() {
        return;
    }
    if pressed {
        // Pages that left must be had from their servers.
        frames::free_kept();
    }
    let mut all = AllFrames::new(pressed, may_swap());
    {
        let clock = &mut *CLOCK.lock();
        if pressed {
            clock.begin();
            clock.step(&mut all, PRESSURE);
        } else {
            clock.ease(&mut all, STEP);
        }
    }
    send(&all.changed);
}

/// Returns true if the running process may wait for the swap server: it is neither
/// a file server, for which that one might wait, nor sending pages already.
fn may_swap() -> bool {
    let me = sched::current_slot();
    let serves =
        spaces::of(me).and_then(|mine| spaces::with(mine, |space| space.lock().is_resident()));
    swap::is_there() && serves == Some(false) && !SENDING[usize::from(me)].load(Relaxed)
}

/// A changed page that may leave.
#[derive(Clone, Copy)]
struct Changed {
    space: Number,
    segment: u64,
    page: u64,
}

/// Those that a step has found.
struct Found {
    list: [Option<Changed>; RUNS],
    len: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.len == RUNS
    }

    fn add(&mut self, changed: Changed) -> bool {
        let Some(place) = self.list.get_mut(self.len) else {
            return false;
        };
        *place = Some(changed);
        self.len += 1;
        true
    }
}

/// Sends the pages that a step has found to swap, each with its neighbours; how many
/// have left. `None`: swap takes no more.
fn send(found: &Found) -> Option<u32> {
    if found.len == 0 {
        return Some(0);
    }
    let sending = &SENDING[usize::from(sched::current_slot())];
    sending.store(true, Relaxed);
    let mut sent = Some(0);
    for changed in found.list.iter().flatten() {
        let mut to_swap = PageOut::new(changed.space, changed.segment);
        let run = to_swap.look(|content, view| run(content, view, changed.page));
        let Some(run) = run.filter(|run| !run.is_empty()) else {
            continue;
        };
        match vm::page_out(&mut to_swap, run) {
            Ok(gone) => sent = sent.map(|sent| sent + gone as u32),
            Err(_) => {
                sent = None;
                break;
            }
        }
    }
    sending.store(false, Relaxed);
    sent
}

/// The run of changed pages around `page` that can leave together.
fn run(content: &vm::Segment, view: &mut View, page: u64) -> Range<u64> {
    let pressed = options::pressure();
    let mut leaves = |at: &u64| {
        let PageState::Dirty(frame) = content.state(view, *at) else {
            return false;
        };
        !owners::others_hold(frame)
            && !content.resolved_lately(*at)
            && (pressed || !view.take_accessed(*at))
    };
    let end = page + vm::OUT_MAX;
    let up = (page..end).take_while(&mut leaves).count() as u64;
    let first = page.saturating_sub(if up > 0 { vm::OUT_MAX - up } else { 0 });
    let down = (first..page).rev().take_while(leaves).count() as u64;
    page - down..page + up
}

/// The frames of the machine.
struct AllFrames {
    /// Pages leave once they have been used; otherwise those in use get a second chance.
    pressed: bool,
    /// Changed pages can leave.
    swaps: bool,
    /// What is in swap was counted, once for all processes that a step meets.
    counted: Cell<bool>,
    /// What is known of each space. Nothing else runs during a step.
    known: [Cell<Known>; SPACES_MAX],
    changed: Found,
    /// Pages that may still be looked at, and leaves that may be copied.
    pages: Cell<u32>,
    copies: u32,
}

/// What a step knows of a space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nobody has asked.
    Nothing,
    /// Its pages stay: it is a file server's.
    Stays,
    /// Its pages can leave; nobody has asked for the changed ones.
    Leaves,
    /// Its pages can leave, or all but the changed ones.
    Changed(bool),
}

impl AllFrames {
    fn new(pressed: bool, swaps: bool) -> AllFrames {
        AllFrames {
            pressed,
            swaps,
            counted: Cell::new(false),
            known: [const { Cell::new(Known::Nothing) }; SPACES_MAX],
            changed: Found {
                list: [None; RUNS],
                len: 0,
            },
            pages: Cell::new(PAGES),
            copies: COPIES,
        }
    }

    /// Where it is noted what is known of a space.
    #[inline]
    fn note(&self, space: Number) -> &Cell<Known> {
        &self.known[usize::from(space) % SPACES_MAX]
    }

    /// Returns true if pages of the space with that number can leave.
    #[inline]
    fn is_pageable(&self, space: Number) -> bool {
        match self.note(space).get() {
            Known::Nothing => self.ask(space),
            known => known != Known::Stays,
        }
    }

    #[cold]
    fn ask(&self, space: Number) -> bool {
        let residence = spaces::with(space, |space| space.lock().residence);
        let pageable = residence == Some(Residence::Pageable);
        self.note(space).set(match pageable {
            true => Known::Leaves,
            false => Known::Stays,
        });
        pageable
    }

    /// Returns true if changed pages of the space with that number may leave: swap is
    /// there, and the account of a process that has it has not more of it than its part.
    fn may_swap(&self, space: Number) -> bool {
        if !self.swaps || !self.is_pageable(space) {
            return false;
        }
        if let Known::Changed(swaps) = self.note(space).get() {
            return swaps;
        }
        if !self.counted.replace(true) {
            relief::count_in_swap();
        }
        let member = spaces::with(space, |space| space.lock().members.first());
        let swaps = member
            .flatten()
            .is_some_and(|slot| relief::may_swap(slot as Slot));
        self.note(space).set(Known::Changed(swaps));
        swaps
    }

    /// What is to become of a frame of several pages, and the look at one that decides
    /// otherwise: a page in use keeps it, or, under pressure, one that has been used
    /// lets it go.
    fn of_several(&self) -> (Look, Look) {
        match self.pressed {
            true => (Look::Accessed, Look::Idle),
            false => (Look::Idle, Look::Accessed),
        }
    }

    /// Looks at the pages that an entry of a leaf is, which names, or named, the frame.
    fn look_at(&self, owner: Owner, frame: Frame) -> Look {
        if let Some(place) = owners::only_place(owner) {
            return self.look_at_page(place, frame);
        }
        let (mut all, decides) = self.of_several();
        let looked = owners::places(owner, |place| {
            match self.look_at_page(place, frame) {
                Look::Fixed => return None,
                look if look == decides => all = decides,
                _ => {}
            }
            Some(())
        });
        looked.map_or(Look::Fixed, |()| all)
    }

    fn count_page(&self) {
        self.pages.set(self.pages.get().saturating_sub(1));
    }

    /// Looks at one page that has, or had, the frame.
    fn look_at_page(&self, Place { segment, page }: Place, frame: Frame) -> Look {
        self.count_page();
        let number = super::space_of(segment);
        if !self.is_pageable(number) {
            return Look::Fixed;
        }
        let look = spaces::with(number, |space| {
            let mut space = space.lock();
            let (_, view, content) = space.by_number(segment)?;
            let state = content.state(view, page);
            let (here, changed) = match state {
                PageState::Resident(here) | PageState::Backed(here, _) => (here, false),
                PageState::Dirty(here) => (here, true),
                _ => return None,
            };
            if here != frame || content.resolved_lately(page) {
                return None;
            }
            Some((view.take_accessed(page), changed))
        });
        match look.flatten() {
            None => Look::Fixed,
            // Asked last: the first time in a step goes over all processes.
            Some((_, true)) if !self.may_swap(number) => Look::Fixed,
            // A page that was changed was used, also if no translation says so.
            Some((used, changed)) if self.pressed => match used || changed {
                true => Look::Idle,
                false => Look::Accessed,
            },
            Some((true, _)) => Look::Accessed,
            Some((false, _)) => Look::Idle,
        }
    }

    /// Evicts all pages that have a frame. `false`: some stay.
    fn evict_all(&mut self, frame: Frame) -> bool {
        if let Some(owner) = owners::only(frame) {
            return self.evict_one(owner, frame);
        }
        let owners = owners::of(frame);
        let mut owners = owners.iter().flat_map(|owners| owners.entries());
        owners.all(|owner| self.evict_one(*owner, frame))
    }

    /// Evicts the pages that an entry of a leaf is. The leaf is copied for each but the
    /// last.
    fn evict_one(&mut self, owner: Owner, frame: Frame) -> bool {
        if let Some(place) = owners::only_place(owner) {
            return self.evict_page(place, frame);
        }
        let (mut found, mut count) = ([None; OWNERS_MAX], 0);
        let known = owners::places(owner, |place| {
            *found.get_mut(count)? = Some(place);
            count += 1;
            Some(())
        });
        let mut all = found.into_iter().flatten();
        known.is_some() && all.all(|place| self.evict_page(place, frame))
    }

    /// Evicts one page, or notes it as one to be sent.
    fn evict_page(&mut self, Place { segment, page }: Place, frame: Frame) -> bool {
        self.count_page();
        let number = super::space_of(segment);
        let evicted = spaces::with(number, |space| {
            let mut space = space.lock();
            let (segment, view, content) = space.by_number(segment)?;
            let changed = matches!(content.state(view, page), PageState::Dirty(_));
            if changed && self.changed.is_full() {
                return Some(false);
            }
            // A leaf that others share is copied, for a page of it is to be another. The
            // next steps go on with the rest.
            if content.is_shared(view, page) {
                self.copies = match self.copies.checked_sub(1) {
                    Some(left) => left,
                    None => return Some(false),
                };
            }
            if from_reserve(frame, || content.open_page(view, page)).is_err() {
                return Some(false);
            }
            Some(match changed {
                true => self.changed.add(Changed {
                    space: number,
                    segment,
                    page,
                }),
                false => content.evict(view, page),
            })
        });
        evicted.flatten().unwrap_or(false)
    }
}

impl Frames for AllFrames {
    fn end(&self) -> u32 {
        owners::end().0
    }

    fn next(&self, from: u32, most: u32) -> Result<Frame, u32> {
        // What file servers have is passed over as fast as what nobody has.
        let fits = |owner: Owner| {
            let place = owners::only_place(owner);
            place.is_none_or(|place| self.is_pageable(super::space_of(place.segment)))
        };
        owners::next(Frame(from), most, fits).map_err(|end| end.0)
    }

    fn look(&mut self, frame: Frame) -> Look {
        match owners::only(frame) {
            Some(owner) => self.look_at(owner, frame),
            None => self.look_at_all(frame),
        }
    }

    fn is_spent(&self) -> bool {
        self.pages.get() == 0 || self.copies == 0
    }

    fn evict(&mut self, frame: Frame) -> Evicted {
        match (self.evict_all(frame), self.copies) {
            (true, _) => Evicted::Gone,
            (false, 0) => Evicted::Partly,
            (false, _) => Evicted::Stays,
        }
    }
}

impl AllFrames {
    /// Looks at all pages that have a frame.
    #[cold]
    fn look_at_all(&self, frame: Frame) -> Look {
        let Some(owners) = owners::of(frame) else {
            return Look::Fixed;
        };
        if owners.others_hold() {
            return Look::Fixed;
        }
        let (mut all, decides) = self.of_several();
        for owner in owners.entries() {
            match self.look_at(*owner, frame) {
                Look::Fixed => return Look::Fixed,
                look if look == decides => all = decides,
                _ => {}
            }
        }
        all
    }
}
