//! Runs of a buffer, and the messages of a `write` built of them.

use core::ops::Range;

use crate::extents::{Extent, Source};
use crate::overlay::{Overlay, Pages};
use crate::steps::EXTENTS;
use crate::{
    Frame, FrameSlice, Limits, Memory, NoMemory, OPS_MAX, Op, OpKind, PAGE, PageState, SLICES_MAX,
    Segment, SnapId, Ticket,
};

/// Groups of pages ([`Overlay::group_of`]) in one step of [`Segment::stay_own`].
const OWN_GROUPS: usize = 32;

/// Operations and data for one message. It holds a reference to each frame with
/// data, so that it sends the present content of a page, whatever happens to
/// the page before the message leaves.
pub(crate) struct Message {
    ops: [Op; OPS_MAX],
    op_count: usize,
    data: [FrameSlice; SLICES_MAX],
    data_count: usize,
    data_bytes: u64,
}

const NO_OP: Op = Op {
    kind: OpKind::Zero,
    off: 0,
    len: 0,
};
const NO_DATA: FrameSlice = FrameSlice {
    frame: Frame(0),
    at: 0,
    len: 0,
};

impl Message {
    pub(crate) const fn new() -> Message {
        Message {
            ops: [NO_OP; OPS_MAX],
            op_count: 0,
            data: [NO_DATA; SLICES_MAX],
            data_count: 0,
            data_bytes: 0,
        }
    }

    pub(crate) fn ops(&self) -> &[Op] {
        self.ops.get(..self.op_count).unwrap_or_default()
    }

    pub(crate) fn data(&self) -> &[FrameSlice] {
        self.data.get(..self.data_count).unwrap_or_default()
    }

    /// Lets the frames go; the message is as new.
    pub(crate) fn clear<M: Memory>(&mut self, m: &mut M) {
        self.data().iter().for_each(|data| m.release(data.frame));
        self.op_count = 0;
        self.data_count = 0;
        self.data_bytes = 0;
    }

    /// Returns true if there is no room for another operation, or for data.
    pub(crate) fn full(&self, limits: &Limits) -> bool {
        self.op_count >= limits.ops.clamp(1, OPS_MAX) || self.data_room(limits) == 0
    }

    /// Data bytes there is room for.
    fn data_room(&self, limits: &Limits) -> u64 {
        if self.data_count == SLICES_MAX {
            return 0;
        }
        let most = limits.iounit.clamp(1, (SLICES_MAX as u64 - 1) * PAGE);
        most.saturating_sub(self.data_bytes)
    }

    /// Adds an operation; it follows the one before in the buffer. Only data is
    /// joined here: extents are joined in their map, and two runs of zeros never meet.
    pub(crate) fn op(&mut self, kind: OpKind, off: u64, len: u64) {
        let last = self.op_count.checked_sub(1);
        if let Some(last) = last.and_then(|i| self.ops.get_mut(i))
            && last.kind == kind
            && kind == OpKind::Data
        {
            last.len += len;
        } else if let Some(op) = self.ops.get_mut(self.op_count) {
            *op = Op { kind, off, len };
            self.op_count += 1;
        }
    }

    /// Adds bytes of a page's frame from position `at` of the segment, as far
    /// as there is room before `end`; how many.
    fn gather<M: Memory>(
        &mut self,
        m: &mut M,
        frame: Frame,
        at: u64,
        end: u64,
        limits: &Limits,
    ) -> u64 {
        let inside = at % PAGE;
        let len = (PAGE - inside).min(end - at).min(self.data_room(limits));
        if len > 0
            && let Some(data) = self.data.get_mut(self.data_count)
        {
            // Both are at most a page.
            let (at, len) = (inside as u16, len as u16);
            *data = FrameSlice { frame, at, len };
            m.retain(frame);
            self.data_count += 1;
            self.data_bytes += u64::from(len);
        }
        len
    }

    /// Adds zeros as data, from one frame of them; how many.
    pub(crate) fn gather_zeros<M: Memory>(
        &mut self,
        m: &mut M,
        zeros: Frame,
        range: Range<u64>,
        limits: &Limits,
    ) -> u64 {
        let mut at = range.start;
        while at < range.end && self.data_room(limits) > 0 {
            at += self.gather(m, zeros, at, range.end, limits);
        }
        at - range.start
    }
}

/// Bytes of a buffer that can be said in one way.
pub(crate) enum Run {
    /// The number of private bytes that were added to the message.
    Data(u64),
    /// A private page that must be brought back from swap first.
    Swapped,
    /// A private page, for whose change there is no memory.
    NoMemory,
    /// These bytes are a snapshot's, transferred or not.
    Named(Extent),
    /// The number of zeros that were never touched.
    Zero(u64),
}

impl Segment {
    /// The run that begins at `range.start`. Data goes into `message`, at most
    /// up to `data_end`, and its pages are *sending* with `ticket`.
    pub(crate) fn next_run<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        data_end: u64,
        ticket: Ticket,
        (message, limits): (&mut Message, &Limits),
    ) -> Run {
        let page = range.start / PAGE;
        let state = self.overlay.get(m, page);
        if state.place().is_some() {
            return Run::Swapped;
        }
        if state.is_own() {
            if self.overlay.open_page(m, page).is_err() {
                return Run::NoMemory;
            }
            let end = data_end.min(range.end);
            return Run::Data(self.data_run(m, range.start..end, ticket, (message, limits)));
        }
        let extent = self.extents.first(range.clone());
        let end = match extent {
            Some(extent) if extent.start == range.start => extent.end,
            Some(extent) => extent.start,
            None => range.end,
        };
        // The run ends where a page of the segment's own begins.
        let pages = page + 1..end.div_ceil(PAGE);
        let own = self.overlay.next(m, Pages::Own, pages);
        let end = own.map_or(end, |(page, _)| end.min(page * PAGE));
        match extent.and_then(|extent| extent.up_to(end)) {
            Some(extent) => Run::Named(extent),
            None => Run::Zero(end - range.start),
        }
    }

    /// Unties `range` of one dirty page from `snap`, whose bytes there the page
    /// hides; those bytes, by offset in the file.
    pub(crate) fn untie_hidden<M: Memory>(
        &mut self,
        m: &M,
        range: Range<u64>,
        snap: SnapId,
    ) -> Option<Range<u64>> {
        if !self.overlay.get(m, range.start / PAGE).is_own() {
            return None;
        }
        let mut over = self.extents.over(range);
        let tied = over.find(|extent| extent.source.snap == snap)?;
        drop(over);
        self.extents.reserve().ok()?;
        self.extents.replace(tied.start..tied.end, None);
        Some(tied.source.soff..tied.source.soff + tied.len())
    }

    /// Makes clean pages private, as many of `pages` as one step permits,
    /// because the server's copy cannot be relied on; returns where it stopped.
    pub(crate) fn keep_some<M: Memory>(
        &mut self,
        m: &mut M,
        pages: Range<u64>,
    ) -> Result<u64, NoMemory> {
        let end = self.overlay.step(m, pages.clone());
        let mut rest = pages.start..end;
        while let Some((page, _)) = self.overlay.next(m, Pages::Present, rest.clone()) {
            self.overlay.open_page(m, page)?;
            rest.start = Overlay::leaf_of(page).end.min(end);
        }
        let pages = pages.start..end;
        Ok(self
            .overlay
            .update(m, Pages::Present, pages, |_, _, state| match state {
                PageState::Resident(frame) => PageState::Dirty(frame),
                other => other,
            }))
    }

    /// Adds private pages to the message, as many as have room, and marks each as
    /// *sending*. A page that an earlier write still sends takes the new ticket: the
    /// earlier answer must not make it clean, because its content may be newer.
    fn data_run<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        ticket: Ticket,
        (message, limits): (&mut Message, &Limits),
    ) -> u64 {
        let (mut at, pages_end) = (range.start, range.end.div_ceil(PAGE));
        let swap = &mut self.swap;
        let mut send = |m: &mut M, page: u64, state: PageState| {
            let (PageState::Dirty(frame)
            | PageState::Sending(frame, _)
            | PageState::Backed(frame, _)) = state
            else {
                return None;
            };
            let len = message.gather(m, frame, at, range.end, limits);
            if len == 0 {
                return None;
            }
            at += len;
            if let Some(file) = state.swap_file() {
                swap.give_up(page, file);
            }
            Some(PageState::Sending(frame, ticket))
        };
        // One leaf after the other.
        let mut page = range.start / PAGE;
        while page < pages_end && self.overlay.open_page(m, page).is_ok() {
            let leaf = page..pages_end.min(Overlay::leaf_of(page).end);
            let stopped = self.overlay.turn_own(m, leaf.clone(), &mut send);
            if stopped < leaf.end {
                break;
            }
            page = stopped;
        }
        // A store from now on is seen: it gets a frame of its own.
        m.protect(range.start / PAGE..at.div_ceil(PAGE));
        at - range.start
    }

    /// Adds the bytes of clean pages to the message, from position `range.start` to
    /// the end of the range, or as far as pages are clean and there is room. `None` if
    /// the first page is not clean. Their states stay, because a clean frame is not
    /// written in place while it has another reference.
    pub(crate) fn clean_run<M: Memory>(
        &mut self,
        m: &mut M,
        range: Range<u64>,
        (message, limits): (&mut Message, &Limits),
    ) -> Option<u64> {
        let (mut at, mut clean) = (range.start, false);
        while at < range.end
            && let PageState::Resident(frame) = self.overlay.get(m, at / PAGE)
        {
            clean = true;
            match message.gather(m, frame, at, range.end, limits) {
                0 => break,
                len => at += len,
            }
        }
        clean.then_some(at - range.start)
    }

    /// The end of a commit of `range`, of which bytes within `sent` were sent: `done`
    /// bytes are in the file, and, with `associate`, are now that snapshot's content. Its
    /// number is the extents' when the commit was begun. To be followed by
    /// [`Segment::complete_some`].
    pub(crate) fn begin_completion(
        &mut self,
        (range, sent): (&Range<u64>, &Range<u64>),
        ticket: Ticket,
        done: u64,
        associate: Option<(Source, u64)>,
    ) -> Completion {
        let done = range.start..range.end.min(range.start.saturating_add(done));
        // If an association was changed meanwhile, the operations on sleeping
        // bytes may no longer be true.
        let source = associate
            .filter(|(_, generation)| *generation == self.extents.generation())
            .filter(|_| !done.is_empty() && !self.pinned && self.extents.reserve().is_ok())
            .map(|(source, _)| source);
        Completion {
            ticket,
            source,
            untied: match source {
                Some(_) => done.clone(),
                None => done.end..done.end,
            },
            done,
            pages: sent.start / PAGE..sent.end.div_ceil(PAGE),
            generation: self.extents.generation(),
        }
    }

    /// Does as much as one step permits; `false` if there is more. First
    /// associates the written ranges. Then pages that are still *sending* with
    /// the ticket become clean if all of them is in the file and associated,
    /// otherwise dirty.
    pub(crate) fn complete_some<M: Memory>(
        &mut self,
        m: &mut M,
        completion: &mut Completion,
    ) -> bool {
        let Completion {
            ticket,
            source,
            ref mut done,
            ref mut untied,
            ref mut pages,
            ref mut generation,
        } = *completion;
        // Another operation came between two steps, whose effect must stay, or has taken
        // the room, or nothing may sleep any more: the rest is not tied, and stays changed.
        let came = *generation != self.extents.generation();
        if !untied.is_empty() && (came || self.pinned || self.extents.reserve().is_err()) {
            done.end = untied.start;
            *untied = done.end..done.end;
        }
        if let Some(source) = source.filter(|_| !untied.is_empty()) {
            let end = self.extents.step(untied, EXTENTS);
            let source = source.advance(untied.start - done.start);
            self.extents.replace(untied.start..end, Some(source));
            untied.start = end;
            *generation = self.extents.generation();
            if !untied.is_empty() {
                return false;
            }
        }
        let clean = done.start.div_ceil(PAGE)..done.end / PAGE;
        let rest = pages.clone();
        let settle = |m: &mut M, page, state| match state {
            PageState::Sending(frame, t) if t == ticket => match source {
                Some(source) if clean.contains(&page) => {
                    let source = source.advance(page * PAGE - done.start);
                    PageState::Resident(became_clean(m, page, frame, source))
                }
                _ => PageState::Dirty(frame),
            },
            other => other,
        };
        if source.is_none() || clean.is_empty() {
            return self.stay_own(m, pages, settle);
        }
        pages.start = self.overlay.update(m, Pages::Own, rest, settle);
        pages.is_empty()
    }

    /// Gives the segment's own pages of `pages` the states that `settle` says, which are
    /// such states, as many as one step permits; `false` if there are more. Quicker than
    /// [`Overlay::update`], for no mark and no owner changes.
    fn stay_own<M: Memory>(
        &mut self,
        m: &mut M,
        pages: &mut Range<u64>,
        settle: impl Fn(&mut M, u64, PageState) -> PageState,
    ) -> bool {
        for _ in 0..OWN_GROUPS {
            let Some((first, _)) = self.overlay.next(m, Pages::Own, pages.clone()) else {
                pages.start = pages.end;
                break;
            };
            let group = first..pages.end.min(Overlay::group_of(first).end);
            pages.start = group.end;
            // Pages of a shared leaf have no tickets, and stay as they are.
            let turn = |m: &mut M, page, state| Some(settle(m, page, state));
            self.overlay.turn_own(m, group, turn);
        }
        pages.is_empty()
    }
}

/// A commit that was answered.
pub(crate) struct Completion {
    ticket: Ticket,
    /// The source that the bytes are associated with.
    source: Option<Source>,
    /// The range that is in the file.
    done: Range<u64>,
    /// The part of it that is not associated yet.
    untied: Range<u64>,
    /// Pages still to be looked at.
    pages: Range<u64>,
    /// The extents' after the last step.
    generation: u64,
}

/// Makes a page that was sent clean, and offers it to the cache; returns the
/// frame to use.
fn became_clean<M: Memory>(m: &mut M, page: u64, frame: Frame, source: Source) -> Frame {
    if !source.soff.is_multiple_of(PAGE) {
        return frame;
    }
    match m.publish(source.snap, source.soff, frame) {
        Some(first) => {
            // Another process has read it between the commit and its answer.
            m.unmap(page..page + 1);
            m.release(frame);
            first
        }
        None => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;

    const LIMITS: Limits = Limits {
        iounit: 128 << 10,
        ops: OPS_MAX,
        wmax: u64::MAX,
        snapshots: true,
    };

    /// Two pages of the segment's own, being sent; the ticket.
    fn sending(segment: &mut Segment, m: &mut TestMemory) -> Ticket {
        for page in 0..2 {
            let frame = m.alloc_zeroed().unwrap();
            segment
                .overlay
                .set(m, page, PageState::Dirty(frame))
                .unwrap();
            m.map(page, frame, true).unwrap();
        }
        let ticket = segment.new_ticket();
        let mut message = Message::new();
        let range = 0..2 * PAGE;
        let run = segment.next_run(m, range, u64::MAX, ticket, (&mut message, &LIMITS));
        assert!(matches!(run, Run::Data(len) if len == 2 * PAGE));
        ticket
    }

    /// All of a commit's end.
    fn complete(
        segment: &mut Segment,
        m: &mut TestMemory,
        ticket: Ticket,
        done: u64,
        associate: Option<(crate::Source, u64)>,
    ) {
        let range = &(0..2 * PAGE);
        let mut completion = segment.begin_completion((range, range), ticket, done, associate);
        assert!(segment.complete_some(m, &mut completion));
    }

    #[test]
    fn sending_pages_are_protected() {
        let (mut segment, mut m) = (Segment::new(2), TestMemory::default());
        sending(&mut segment, &mut m);
        assert!(m.map.values().all(|(_, writable)| !writable));
    }

    #[test]
    fn an_old_ticket_settles_nothing() {
        let (mut segment, mut m) = (Segment::new(2), TestMemory::default());
        let old = sending(&mut segment, &mut m);
        let now = sending(&mut segment, &mut m);
        let before = segment.state(&m, 0);
        assert!(matches!(before, PageState::Sending(_, ticket) if ticket == now));
        complete(&mut segment, &mut m, old, 2 * PAGE, None);
        assert_eq!(segment.state(&m, 0), before);
    }

    #[test]
    fn only_pages_that_a_commit_covers_become_clean() {
        let (mut segment, mut m) = (Segment::new(2), TestMemory::default());
        let ticket = sending(&mut segment, &mut m);
        let snap = crate::SnapId(1);
        segment.extents.uses.adopt(snap).unwrap();
        let associate = Some((
            crate::Source { snap, soff: 0 },
            segment.extents.generation(),
        ));
        complete(&mut segment, &mut m, ticket, 2 * PAGE - 1, associate);
        assert!(matches!(segment.state(&m, 0), PageState::Resident(_)));
        assert!(matches!(segment.state(&m, 1), PageState::Dirty(_)));
    }

    #[test]
    fn a_commit_ties_nothing_once_no_page_may_sleep() {
        let (mut segment, mut m) = (Segment::new(2), TestMemory::default());
        let ticket = sending(&mut segment, &mut m);
        let snap = crate::SnapId(1);
        segment.extents.uses.adopt(snap).unwrap();
        let source = crate::Source { snap, soff: 0 };
        let associate = Some((source, segment.extents.generation()));
        segment.pin();
        complete(&mut segment, &mut m, ticket, 2 * PAGE, associate);
        assert!(segment.extents.is_empty());
        assert!(matches!(segment.state(&m, 0), PageState::Dirty(_)));
    }
}
