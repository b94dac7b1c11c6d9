//! Telling servers which parts of a snapshot nobody refers to any more, so that
//! they rescue nothing for them.
//!
//! What extents let go of is noted in a short list, [`Dropped`], and told at
//! the end of a verb, never from a store's fault, once it is worth a message.
//! Only the segment that alone holds a snapshot may trim it; where others hold
//! it too the snapshot is marked as *withheld*, and when its holders have
//! fallen to one the one that is left names everything its own extents do not
//! refer to. What is told is looked up again in the extents just before:
//! trimming what the snapshot does not cover is harmless, trimming what is
//! needed would lose data.

use core::ops::Range;

use crate::extents::{Extents, Source};
use crate::{Host, SnapId, TRIM_MAX};

/// Most entries of the list.
const ENTRIES: usize = 8;
/// Most withheld snapshots that one verb looks at.
const TURNS: usize = 4;

/// Bytes of a snapshot that an extent no longer refers to.
#[derive(Clone, Copy, Debug)]
struct Entry {
    snap: SnapId,
    /// First offset in its file.
    start: u64,
    /// One past the last.
    end: u64,
    /// The extents' generation when it was last added to, if that was a
    /// replacement.
    generation: Option<u64>,
}

/// What was let go of and not told yet.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(crate) struct Dropped {
    entries: [Option<Entry>; ENTRIES],
    /// Bytes in `entries`, gaps included.
    bytes: u64,
    /// Snapshots marked as withheld, or more.
    pub withheld: bool,
    /// The withheld snapshot looked at last.
    turn: SnapId,
}

impl Dropped {
    /// Nothing.
    pub(crate) const fn new() -> Dropped {
        Dropped {
            entries: [None; ENTRIES],
            bytes: 0,
            withheld: false,
            turn: SnapId(0),
        }
    }

    /// Is something of the snapshot noted?
    pub(crate) fn has(&self, snap: SnapId) -> bool {
        self.entries.iter().flatten().any(|e| e.snap == snap)
    }

    /// The snapshot is gone.
    pub(crate) fn forget(&mut self, snap: SnapId) {
        while self.take(|e| e.snap == snap).is_some() {}
    }

    /// Removes one of those.
    fn take(&mut self, of: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.as_ref().is_some_and(&of));
        let taken = entry.and_then(Option::take)?;
        self.bytes -= taken.end - taken.start;
        Some(taken)
    }

    /// Notes bytes; `false` if there is no room.
    fn add(&mut self, snap: SnapId, soffs: &Range<u64>, generation: Option<u64>) -> bool {
        let mut new = Entry {
            snap,
            start: soffs.start,
            end: soffs.end,
            generation,
        };
        // One replacement leaves nothing of the snapshot between two bytes of
        // it that it took away, so these are one range.
        let joins = |e: &Entry| {
            let touches = e.start <= soffs.end && soffs.start <= e.end;
            e.snap == snap && (touches || generation.is_some() && e.generation == generation)
        };
        while let Some(old) = self.take(joins) {
            new.start = new.start.min(old.start);
            new.end = new.end.max(old.end);
        }
        let Some(free) = self.entries.iter_mut().find(|e| e.is_none()) else {
            return false;
        };
        *free = Some(new);
        self.bytes += new.end - new.start;
        true
    }

    /// Is it worth a message?
    fn worth_telling(&self, worth: u64) -> bool {
        self.bytes >= worth || self.entries.iter().all(Option::is_some)
    }
}

/// What is to be told of one snapshot, which is pinned meanwhile.
struct Job {
    snap: SnapId,
    /// Bytes that are not referred to, but for those that are.
    soffs: Range<u64>,
    /// What was withheld is made up for.
    withheld: bool,
}

/// More bytes than a segment has: tells a place in the file that is before the
/// one in the segment from one after it.
const BYTES_MAX: u64 = 1 << 48;

impl Extents {
    /// Nobody here refers to these bytes of the snapshot any more; in the
    /// course of the replacement that made this `generation`, if any.
    pub(crate) fn drop_bytes(&mut self, snap: SnapId, soffs: Range<u64>, generation: Option<u64>) {
        // All of it is gone: it is released as a whole.
        let some_left = self.of(snap).is_some_and(|u| u.bytes > 0 || u.pins > 0);
        if some_left && !self.dropped.add(snap, &soffs, generation) {
            self.withhold(snap);
        }
    }

    /// The snapshot may cover, from `source` on, what `range` was to be; the
    /// parts of it that are not tied to it are not referred to.
    pub(crate) fn drop_untied(&mut self, range: Range<u64>, source: Source) {
        let mut from = range.start;
        while from < range.end {
            let tied = self
                .over(from..range.end)
                .find(|e| e.source.snap == source.snap);
            let until = tied.map_or(range.end, |e| e.start);
            if from < until {
                let first = source.advance(from - range.start).soff;
                self.drop_bytes(source.snap, first..first + (until - from), None);
            }
            from = tied.map_or(range.end, |e| e.end);
        }
    }

    fn withhold(&mut self, snap: SnapId) {
        self.dropped.forget(snap);
        self.dropped.withheld = true;
        self.tally(snap, |u| u.withheld = true);
    }

    /// Is there anything to tell?
    fn has_news(&self, worth: u64) -> bool {
        !self.held() && (self.dropped.withheld || self.dropped.worth_telling(worth))
    }

    /// Takes a noted range, and pins its snapshot.
    fn next_dropped(&mut self) -> Option<Job> {
        while let Some(entry) = self.dropped.take(|_| true) {
            let snap = entry.snap;
            match self.of(snap) {
                Some(u) if u.pins > 0 => self.withhold(snap),
                Some(u) if u.bytes > 0 => {
                    self.pin(snap);
                    return Some(Job {
                        snap,
                        soffs: entry.start..entry.end,
                        withheld: false,
                    });
                }
                // It is about to be released.
                Some(_) | None => {}
            }
        }
        None
    }

    /// The withheld snapshot whose turn it is, pinned, with all it may cover.
    fn next_withheld(&mut self) -> Option<Job> {
        let mut waiting = self
            .uses
            .iter()
            .filter(|u| u.withheld && u.pins == 0 && u.bytes > 0);
        let after = waiting.clone().find(|u| u.snap > self.dropped.turn);
        let Some(snap) = after.or_else(|| waiting.next()).map(|u| u.snap) else {
            // Pinned ones may be marked still.
            self.dropped.withheld = self.uses.iter().any(|u| u.withheld);
            return None;
        };
        self.dropped.turn = snap;
        self.pin(snap);
        Some(Job {
            snap,
            soffs: 0..u64::MAX,
            withheld: true,
        })
    }

    /// Fills `ranges` with the first bytes of `job` that no extent refers to,
    /// and takes them out of it; how many ranges.
    fn gaps(&self, job: &mut Job, ranges: &mut [Range<u64>]) -> usize {
        let soffs = &mut job.soffs;
        let delta = self.of(job.snap).map_or(0, |u| u.delta);
        // Where the bytes would be in the segment; they may lie before it.
        let address = |soff: u64| match delta.wrapping_neg() {
            before @ 0..BYTES_MAX => soff.saturating_add(before),
            _ => soff.saturating_sub(delta),
        };
        let mut count = 0;
        let mut next = |gap: Range<u64>| match ranges.get_mut(count) {
            _ if gap.is_empty() => true,
            Some(range) => {
                *range = gap;
                count += 1;
                true
            }
            None => false,
        };
        for extent in self.over(address(soffs.start)..address(soffs.end)) {
            if extent.source.snap != job.snap {
                continue;
            }
            if !next(soffs.start..extent.source.soff) {
                return count;
            }
            soffs.start = extent.source.soff + extent.len();
        }
        if next(soffs.clone()) {
            soffs.start = soffs.end;
        }
        count
    }
}

/// The end of a verb: tells servers what is no longer referred to, if it is
/// worth it and this segment may.
pub(crate) fn tell<H: Host>(h: &mut H) {
    let worth = h.trim_worth();
    if !h.with(|segment, _| segment.extents.has_news(worth)) {
        return;
    }
    if h.with(|segment, _| segment.extents.dropped.worth_telling(worth)) {
        while let Some(job) = h.with(|segment, _| segment.extents.next_dropped()) {
            tell_one(h, job);
        }
    }
    for _ in 0..TURNS {
        let Some(job) = h.with(|segment, _| segment.extents.next_withheld()) else {
            break;
        };
        tell_one(h, job);
    }
}

/// Tells of one snapshot; it stays as it is while it is pinned.
fn tell_one<H: Host>(h: &mut H, mut job: Job) {
    let snap = job.snap;
    let mut told = h.holders(snap) == 1;
    while told && !job.soffs.is_empty() {
        let mut ranges = [const { 0..0 }; TRIM_MAX];
        let count = h.with(|segment, _| segment.extents.gaps(&mut job, &mut ranges));
        let ranges = ranges.get(..count).unwrap_or_default();
        told = ranges.is_empty() || h.trim(snap, ranges);
    }
    h.with(|segment, _| {
        segment.extents.unpin(snap);
        match told {
            true => segment.extents.tally(snap, |u| u.withheld &= !job.withheld),
            false => segment.extents.withhold(snap),
        }
    });
}
