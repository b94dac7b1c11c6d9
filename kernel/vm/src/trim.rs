//! Trims: telling servers which parts of a snapshot are no longer referred to,
//! so that no before-images are saved for them.
//!
//! Ranges that extents drop are noted with the snapshot ([`Uses::note`]) and
//! sent at the end of an operation, never from a store's fault, once they are
//! worth a message. Only the sole holder of a snapshot may trim it. Where
//! others hold it too, the snapshot is marked as *withheld*, and the last
//! holder names everything that its own extents do not refer to. The ranges are
//! compared with the extents just before sending: to trim uncovered bytes is
//! harmless, to trim needed bytes would lose data.
//!
//! [`Uses::note`]: crate::uses::Uses::note

use core::ops::Range;

use ranges::RangeMap;

use crate::extents::{Extents, Source};
use crate::fork::release_snaps;
use crate::steps::{EXTENTS, LOOKS};
use crate::uses::Use;
use crate::{Host, SnapId, TRIM_MAX};

/// Most snapshots that one verb tells of.
const TURNS: usize = 4;

/// Which snapshots there is something to tell of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// The withheld ones, perhaps.
    Withheld,
    /// All of which something is noted: together it is worth it.
    Noted,
}

/// The ranges to send for one snapshot, which is pinned meanwhile.
struct Job {
    snap: SnapId,
    /// Bytes of its file that were let go of.
    untold: RangeMap<()>,
    /// All bytes of its file, in place of `untold`.
    withheld: bool,
    /// Sent up to here.
    from: u64,
}

impl Job {
    /// The first range that is left; extents may refer to parts of it.
    fn first(&self) -> Option<Range<u64>> {
        let left = self.from..u64::MAX;
        match self.withheld {
            true => Some(left).filter(|left| !left.is_empty()),
            false => self.untold.first(left).map(|span| span.range()),
        }
    }
}

/// More bytes than a segment has: tells a place in the file that is before the
/// one in the segment from one after it.
const BYTES_MAX: u64 = 1 << 48;

impl Extents {
    /// The snapshot may cover, from `source` on, the intended content of
    /// `range`; the parts of it that are not associated are not referred to. Among very many
    /// extents they are not looked for now.
    pub(crate) fn drop_untied(&mut self, range: Range<u64>, source: Source) {
        if self.step(&range, UNTIED_MAX) < range.end {
            self.uses.withhold(source.snap);
            return;
        }
        let mut from = range.start;
        while from < range.end {
            let tied = self
                .over(from..range.end)
                .find(|e| e.source.snap == source.snap);
            let until = tied.map_or(range.end, |e| e.start);
            if from < until {
                let first = source.advance(from - range.start).soff;
                self.uses.note(source.snap, first..first + (until - from));
            }
            from = tied.map_or(range.end, |e| e.end);
        }
    }

    /// The kind of trims to send now, if any.
    fn news(&self, worth: u64) -> Option<News> {
        match self.uses.worth_telling(worth) {
            _ if self.held() => None,
            true => Some(News::Noted),
            false => self.uses.withheld.then_some(News::Withheld),
        }
    }

    /// Takes the ranges to send for the next snapshot, and pins it.
    fn next_job(&mut self, news: News) -> Option<Job> {
        let noted = |u: &Use| news == News::Noted && !u.untold.is_empty();
        let ready = |u: &Use| u.pins == 0 && u.bytes > 0 && (u.withheld || noted(u));
        let snap = self.uses.next_turn(ready)?;
        let withheld = self.uses.get(snap)?.withheld;
        self.uses.pin(snap);
        Some(Job {
            snap,
            untold: self.uses.take_untold(snap),
            withheld,
            from: 0,
        })
    }

    /// Fills `ranges` with the first bytes of `job` that no extent refers to,
    /// and takes them out of it, as many as one step may look at; how many ranges.
    fn gaps(&self, job: &mut Job, ranges: &mut [Range<u64>]) -> usize {
        let delta = self.uses.get(job.snap).map_or(0, |u| u.delta);
        // Where the bytes would be in the segment; they may lie before it.
        let address = |soff: u64| match delta.wrapping_neg() {
            before @ 0..BYTES_MAX => soff.saturating_add(before),
            _ => soff.saturating_sub(delta),
        };
        let (mut count, mut looks) = (0, LOOKS_MAX);
        while looks > 0
            && let Some(range) = ranges.get_mut(count)
            && let Some(Range { start, end }) = job.first()
        {
            // Nothing refers to the bytes up to the first of these, and the second is
            // where to go on.
            let (mut until, mut next) = (end, end);
            for extent in self.over(address(start)..address(end)) {
                looks -= 1;
                if extent.source.snap == job.snap {
                    let soffs = extent.soffs();
                    (until, next) = (soffs.start, soffs.end);
                    break;
                }
                if looks == 0 {
                    let seen = extent.end.wrapping_add(delta).clamp(start, end);
                    (until, next) = (seen, seen);
                    break;
                }
            }
            *range = start..until;
            job.from = next;
            count += usize::from(!range.is_empty());
        }
        count
    }
}

/// Extents that one step looks at. Few in tests, so that there are many steps.
const LOOKS_MAX: usize = if cfg!(test) { 2 } else { LOOKS };
/// Extents among which parts that are not associated are looked for at once.
const UNTIED_MAX: usize = if cfg!(test) { 3 } else { EXTENTS };

/// Ends an operation: sends trims if they are worth a message and this segment
/// may.
pub(crate) fn tell<H: Host>(h: &mut H) {
    let worth = h.trim_worth();
    let Some(news) = h.with(|segment, _| segment.extents.news(worth)) else {
        return;
    };
    for _ in 0..TURNS {
        let Some(job) = h.with(|segment, _| segment.extents.next_job(news)) else {
            break;
        };
        tell_one(h, job);
    }
}

/// Tells of one snapshot; it stays as it is while it is pinned.
fn tell_one<H: Host>(h: &mut H, mut job: Job) {
    let snap = job.snap;
    let mut told = h.holders(snap) == 1;
    while told && job.first().is_some() {
        let mut ranges = [const { 0..0 }; TRIM_MAX];
        let count = h.with(|segment, _| segment.extents.gaps(&mut job, &mut ranges));
        told = match ranges.get(..count) {
            Some(ranges) if !ranges.is_empty() => h.trim(snap, ranges),
            _ => true,
        };
        if told && job.first().is_some() {
            h.pause();
        }
    }
    h.with(|segment, _| {
        let uses = &mut segment.extents.uses;
        uses.unpin(snap);
        match told {
            true => uses.change(snap, |u| u.withheld &= !job.withheld),
            false => uses.withhold(snap),
        }
    });
    // While it was pinned, an operation of another process may have dropped it.
    release_snaps(h);
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

    /// Sends all trims to the server, a few ranges at a time.
    fn told(e: &mut Extents, server: &mut [BTreeSet<u64>]) {
        while let Some(mut job) = e.next_job(News::Noted) {
            loop {
                let mut ranges = [const { 0..0 }; 3];
                let count = e.gaps(&mut job, &mut ranges);
                assert!(ranges[..count].iter().all(|r| r.start < r.end));
                for range in &ranges[..count] {
                    server[job.snap.0 as usize].retain(|soff| !range.contains(soff));
                }
                if job.first().is_none() {
                    break;
                }
            }
            e.uses.unpin(job.snap);
            e.uses.change(job.snap, |u| u.withheld &= !job.withheld);
        }
    }

    #[test]
    fn a_server_covers_what_is_referred_to_and_nothing_else_once_it_is_told() {
        let mut e = Extents::new();
        for snap in 0..SNAPS {
            e.uses.adopt(SnapId(snap)).unwrap();
            e.reserve().unwrap();
            // One byte that stays, so that the snapshot does.
            let at = SPAN + 20 + u64::from(snap);
            e.replace(at..at + 1, Some(source(snap, at)));
            e.uses.unpin(SnapId(snap));
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
