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
    /// Bytes that are not referred to, but for those that are; ascending after
    /// empty ones.
    soffs: [Range<u64>; ENTRIES],
    /// What was withheld is made up for.
    withheld: bool,
}

/// More bytes than a segment has: tells a place in the file that is before the
/// one in the segment from one after it.
const BYTES_MAX: u64 = 1 << 48;

impl Extents {
    /// Nobody here refers to these bytes of the snapshot any more; in the
    /// course of the replacement that made this `generation`, if any.
    /// `false` if there was no room for it: all of the snapshot will be looked at.
    pub(crate) fn drop_bytes(
        &mut self,
        snap: SnapId,
        soffs: Range<u64>,
        generation: Option<u64>,
    ) -> bool {
        // All of it is gone: it is released as a whole.
        let some_left = self.of(snap).is_some_and(|u| u.bytes > 0 || u.pins > 0);
        if some_left && !self.dropped.add(snap, &soffs, generation) {
            self.withhold(snap);
            return false;
        }
        true
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
                if !self.drop_bytes(source.snap, first..first + (until - from), None) {
                    return;
                }
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

    /// Takes what is noted of one snapshot, and pins that.
    fn next_dropped(&mut self) -> Option<Job> {
        loop {
            let snap = self.dropped.entries.iter().flatten().next()?.snap;
            match self.of(snap) {
                Some(u) if u.pins > 0 => self.withhold(snap),
                Some(u) if u.bytes > 0 => {
                    self.pin(snap);
                    let mut soffs = [const { 0..0 }; ENTRIES];
                    for soffs in &mut soffs {
                        if let Some(entry) = self.dropped.take(|e| e.snap == snap) {
                            *soffs = entry.start..entry.end;
                        }
                    }
                    soffs.sort_unstable_by_key(|soffs| soffs.start);
                    return Some(Job {
                        snap,
                        soffs,
                        withheld: false,
                    });
                }
                // It is about to be released.
                Some(_) | None => self.dropped.forget(snap),
            }
        }
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
        let mut soffs = [const { 0..0 }; ENTRIES];
        soffs[0] = 0..u64::MAX;
        Some(Job {
            snap,
            soffs,
            withheld: true,
        })
    }

    /// Fills `ranges` with the first bytes of `job` that no extent refers to,
    /// and takes them out of it; how many ranges.
    fn gaps(&self, job: &mut Job, ranges: &mut [Range<u64>]) -> usize {
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
        for soffs in &mut job.soffs {
            let over = self.over(address(soffs.start)..address(soffs.end));
            for extent in over.filter(|e| e.source.snap == job.snap) {
                if !next(soffs.start..extent.source.soff) {
                    return count;
                }
                soffs.start = extent.source.soff + extent.len();
            }
            if !next(soffs.clone()) {
                return count;
            }
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
    while told && job.soffs.iter().any(|soffs| !soffs.is_empty()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    const SPAN: u64 = 120;
    const SNAPS: u32 = 4;

    /// Offset of a snapshot's file at position 0 of the segment; negative ones,
    /// too.
    fn delta(snap: u32) -> u64 {
        [0, 1000, u64::MAX - 9, 7][snap as usize]
    }

    fn source(snap: u32, at: u64) -> Source {
        Source {
            snap: SnapId(snap),
            soff: delta(snap).wrapping_add(at),
        }
    }

    /// What a server is told in the end, a few ranges at a time.
    fn told(e: &mut Extents, server: &mut [BTreeSet<u64>]) {
        while let Some(mut job) = e.next_dropped().or_else(|| e.next_withheld()) {
            loop {
                let mut ranges = [const { 0..0 }; 3];
                let count = e.gaps(&mut job, &mut ranges);
                assert!(ranges[..count].iter().all(|r| r.start < r.end));
                for range in &ranges[..count] {
                    server[job.snap.0 as usize].retain(|soff| !range.contains(soff));
                }
                if count == 0 {
                    break;
                }
            }
            e.unpin(job.snap);
            e.tally(job.snap, |u| u.withheld &= !job.withheld);
        }
    }

    #[test]
    fn a_server_covers_what_is_referred_to_and_nothing_else_once_it_is_told() {
        let mut e = Extents::new();
        for snap in 0..SNAPS {
            e.adopt(SnapId(snap)).unwrap();
            e.reserve().unwrap();
            // One byte that stays, so that the snapshot does.
            let at = SPAN + 20 + u64::from(snap);
            e.replace(at..at + 1, Some(source(snap, at)));
            e.unpin(SnapId(snap));
        }
        let mut server: Vec<BTreeSet<u64>> = (0..SNAPS).map(|_| BTreeSet::new()).collect();
        let mut seed = 11u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % below
        };
        for turn in 0..20_000 {
            let (a, b) = (10 + random(SPAN - 9), 10 + random(SPAN - 9));
            let range = a.min(b)..a.max(b);
            e.reserve().unwrap();
            let snap = random(u64::from(SNAPS) + 1) as u32;
            let new = (snap < SNAPS).then(|| source(snap, range.start));
            e.replace(range.clone(), new);
            if snap < SNAPS {
                // A Tsnap or Tput covers it, and perhaps more than is tied.
                let more = range.start..(range.end + random(5)).min(SPAN + 1);
                let soffs = more.clone().map(|at| delta(snap).wrapping_add(at));
                server[snap as usize].extend(soffs);
                e.drop_untied(more.clone(), source(snap, more.start));
            }
            let referred = |snap: u32| -> BTreeSet<u64> {
                e.over(10..SPAN + 1)
                    .filter(|x| x.source.snap.0 == snap)
                    .flat_map(|x| x.source.soff..x.source.soff + x.len())
                    .collect()
            };
            let referred: Vec<_> = (0..SNAPS).map(referred).collect();
            if random(6) == 0 {
                told(&mut e, &mut server);
                assert_eq!(server, referred, "turn {turn}");
            }
            for (server, referred) in server.iter().zip(&referred) {
                assert!(server.is_superset(referred), "turn {turn}");
            }
        }
    }
}
