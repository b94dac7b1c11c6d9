//! Eviction: clean pages leave memory when frames run low.
//!
//! The clock of the VM core chooses among all frames; this module leads it from a
//! frame to the pages that have it, in any process. A page that leaves sleeps again
//! and is filled from its snapshot when it is touched. The memory of file servers
//! stays ([`super::resident`]), and so do pages that were resolved lately, frames
//! that messages hold, and everything that is not clean.
//!
//! All of it runs with nothing locked, in the process that needs frames or has just
//! taken some.
use super::{SpaceLock, SpaceOf};
use crate::options;
use crate::sched;
use hw::lock::{Lock, Rank};
use hw::{frames, owners};
use spin::Once;
use vm::{Clock, Frame, Frames, Look, Owner, PageState, Step};

static CLOCK: Lock<Clock> = Lock::new(Rank::Clock, Clock::new());

/// Leads from slots to memory.
static SPACES: Once<SpaceOf> = Once::new();

/// Sets the function that leads from the slot of a process to its memory; once, at
/// start.
pub fn init(spaces: SpaceOf) {
    SPACES.call_once(|| spaces);
}

/// One step of a search for frames.
const STEP: Step = Step {
    goal: 32,
    looks: 256,
};
/// Frames that a search for frames stops at.
const ENOUGH: u32 = 64;
/// One step under pressure.
const PRESSURE: Step = Step {
    goal: u32::MAX,
    looks: 64,
};

/// Evicts some pages, while others run in between. `false`: no page can leave.
pub fn reclaim() -> bool {
    CLOCK.lock().begin();
    let mut gone = 0;
    while gone < ENOUGH {
        let (more, in_vain) = {
            let clock = &mut *CLOCK.lock();
            let mut all = AllFrames { spares: true };
            (clock.step(&mut all, STEP), clock.is_in_vain(&all))
        };
        gone += more;
        if in_vain || sched::ending() {
            break;
        }
        sched::breathe();
    }
    gone > 0
}

/// Evicts a few pages if memory is low, in one short step, so that most allocations
/// need not wait. Under pressure it evicts whatever it may.
pub fn ease() {
    let clock = &mut *CLOCK.lock();
    if options::pressure() {
        clock.begin();
        clock.step(&mut AllFrames { spares: false }, PRESSURE);
    } else if frames::still_low() {
        clock.ease(&mut AllFrames { spares: true }, STEP);
    }
}

/// The frames of the machine.
struct AllFrames {
    /// Pages in use get a second chance.
    spares: bool,
}

impl Frames for AllFrames {
    fn end(&self) -> u32 {
        owners::end().0
    }

    fn next(&self, from: u32, most: u32) -> Result<Frame, u32> {
        owners::next(Frame(from), most).map_err(|end| end.0)
    }

    fn look(&mut self, frame: Frame) -> Look {
        let Some(owners) = owners::of(frame) else {
            return Look::Fixed;
        };
        // A message or a call has the frame too.
        if owners.holders as usize != owners.pages().len() {
            return Look::Fixed;
        }
        let mut all = Look::Idle;
        for owner in owners.pages() {
            match look(*owner, frame) {
                Look::Fixed => return Look::Fixed,
                Look::Accessed if self.spares => all = Look::Accessed,
                Look::Accessed | Look::Idle => {}
            }
        }
        all
    }

    fn evict(&mut self, frame: Frame) -> bool {
        let owners = owners::of(frame);
        let mut owners = owners.iter().flat_map(|owners| owners.pages());
        owners.all(|owner| evict(*owner))
    }
}

/// Calls `f` with the memory of the process that a page belongs to, if it has some
/// that can leave.
fn with_space<R>(owner: Owner, f: impl FnOnce(&SpaceLock) -> R) -> Option<R> {
    let (mut f, mut result) = (Some(f), None);
    let spaces = SPACES.get()?;
    spaces(super::slot_of(owner.segment()), &mut |space| {
        result = f.take().map(|f| f(space));
    });
    result
}

/// Looks at one page that has, or had, the frame.
fn look(owner: Owner, frame: Frame) -> Look {
    let look = with_space(owner, |space| {
        let mut space = space.lock();
        if space.resident {
            return None;
        }
        let (view, content) = space.by_number(owner.segment())?;
        let page = owner.page();
        let clean = content.state(view, page) == PageState::Resident(frame);
        if !clean || content.resolved_lately(page) {
            return None;
        }
        Some(match view.take_accessed(page) {
            true => Look::Accessed,
            false => Look::Idle,
        })
    });
    look.flatten().unwrap_or(Look::Fixed)
}

/// Evicts one page.
fn evict(owner: Owner) -> bool {
    let evicted = with_space(owner, |space| {
        let mut space = space.lock();
        let (view, content) = space.by_number(owner.segment())?;
        Some(content.evict(view, owner.page()))
    });
    evicted.flatten().unwrap_or(false)
}
