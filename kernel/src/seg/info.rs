//! Where the memory of a process is: a description of each segment, for those who
//! ask.
use super::view::{Events, View};
use super::{Content, Segment, spaces};
use crate::sched;
use abi::{NSEG, PAGE, SegmentInfo};
use hw::task::Slot;
use vm::{Count, Tally};

/// The first segment at or after place `from` in the table of the process in a slot,
/// and the place after it. Others run meanwhile, the process too: the numbers of a
/// process that runs are not those of one moment.
pub fn describe(slot: Slot, from: usize) -> Option<(usize, SegmentInfo)> {
    let mut place = from;
    while place < NSEG {
        place += 1;
        let id = spaces::with(slot, |space| {
            let space = space.lock();
            let segment = space.table.get(place - 1)?.as_ref();
            segment.map(|segment| segment.id)
        });
        if let Some(id) = id.flatten()
            && let Some(info) = of(slot, id)
        {
            return Some((place, info));
        }
    }
    None
}

/// The segment with that id; `None` if it is gone.
fn of(slot: Slot, id: u64) -> Option<SegmentInfo> {
    let (mut tally, mut at) = (Tally::default(), 0);
    loop {
        let looked = spaces::with(slot, |space| {
            let mut space = space.lock();
            let (view, segment) = space.by_id(id)?;
            let end = match &segment.content {
                Content::Virtual(content) => content.tally(view, at, &mut tally),
                Content::Device(_) | Content::Dma(_) | Content::Shared(_) => segment.pages,
            };
            let done = (end >= segment.pages).then(|| info(view, segment, &tally));
            Some((end, done))
        });
        let (end, done) = looked.flatten()?;
        if done.is_some() {
            return done;
        }
        at = end;
        sched::breathe();
        if sched::ending() {
            return None;
        }
    }
}

fn info(view: &View, segment: &Segment, tally: &Tally) -> SegmentInfo {
    let events: Events = view.events();
    let count = |what: Count| events[what as usize];
    let mut kind = [0; 16];
    for (to, byte) in kind.iter_mut().zip(segment.kind.name().bytes()) {
        *to = byte;
    }
    SegmentInfo {
        base: segment.base,
        size: segment.pages * PAGE,
        kind,
        asleep: tally.asleep,
        clean: tally.clean,
        dirty: tally.dirty,
        backed: tally.backed,
        swapped: tally.swapped,
        shared: tally.shared,
        fills: count(Count::Fill),
        cached: count(Count::Cached),
        zero_fills: count(Count::ZeroFill),
        copies: count(Count::Copy),
        ahead: count(Count::Ahead),
        evictions: count(Count::Evict),
        page_outs: count(Count::PageOut),
        page_ins: count(Count::PageIn),
    }
}
