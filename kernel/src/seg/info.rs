//! Where the memory of a process is: a description of each segment, for those who
//! ask.
use super::view::{Events, View};
use super::{Content, Segment, SpaceLock};
use crate::sched;
use abi::{NSEG, PAGE, SegmentInfo};
use vm::{Count, Tally};

/// The first segment at or after place `from` in the table of a space, and the place
/// after it. Others run meanwhile, the process too: the numbers of a
/// process that runs are not those of one moment.
pub fn describe(space: &SpaceLock, from: usize) -> Option<(usize, SegmentInfo)> {
    let mut place = from;
    while place < NSEG {
        place += 1;
        let id = {
            let space = space.lock();
            let segment = space.table.get(place - 1).and_then(Option::as_ref);
            segment.map(|segment| segment.id)
        };
        if let Some(id) = id
            && let Some(info) = of(space, id)
        {
            return Some((place, info));
        }
    }
    None
}

/// The segment with that id; `None` if it is gone.
fn of(space: &SpaceLock, id: u64) -> Option<SegmentInfo> {
    let (mut tally, mut at) = (Tally::default(), 0);
    loop {
        let (end, done) = {
            let mut space = space.lock();
            let (view, segment) = space.by_id(id)?;
            if segment.is_detached() {
                return None;
            }
            let end = match &segment.content {
                Content::Virtual(content) => content.tally(view, at, &mut tally),
                Content::Device(_) | Content::Dma(_) | Content::Shared(_) => segment.pages,
            };
            let done = (end >= segment.pages).then(|| info(view, segment, &tally));
            (end, done)
        };
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
