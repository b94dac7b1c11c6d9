//! The snapshots that a segment refers to, with the number of bytes, and the
//! dropped ranges that their servers have not been told.
//!
//! A snapshot to which no byte refers and which no operation uses is *unused*:
//! [`Uses::take_unused`] returns it for its release.

use alloc::vec::Vec;
use core::ops::Range;

use ranges::{RangeMap, Span};

use crate::extents::{Extent, Source};
use crate::{NoMemory, SnapId};

/// Most ranges noted for one snapshot; beyond that, neighbours are merged with
/// the gap between them.
const NOTED_MAX: usize = 8;

/// A snapshot in use.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(crate) struct Use {
    pub snap: SnapId,
    /// Bytes of extents that refer to it.
    pub bytes: u64,
    /// Operations under way that need it.
    pub pins: u32,
    /// [`crate::Extent::delta`] of all its extents, while it has bytes.
    pub delta: u64,
    /// Bytes of its file that no extent refers to any more and that the server
    /// was not told; extents may refer to some of them again.
    pub untold: RangeMap<()>,
    /// Ranges beyond the noted ones were not trimmed, because others hold it
    /// too; the last holder trims them.
    pub withheld: bool,
    /// The server could not provide bytes of it: only resident pages are left.
    pub lost: bool,
}

impl Use {
    const fn new(snap: SnapId) -> Use {
        Use {
            snap,
            bytes: 0,
            pins: 0,
            delta: 0,
            untold: RangeMap::new(),
            withheld: false,
            lost: false,
        }
    }

    const fn is_unused(&self) -> bool {
        self.bytes == 0 && self.pins == 0
    }

    fn untold_bytes(&self) -> u64 {
        self.untold.iter().map(|span| span.len()).sum()
    }
}

/// The snapshots of one segment.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub(crate) struct Uses {
    /// Sorted by `snap`.
    list: Vec<Use>,
    /// How many are unused.
    unused: usize,
    /// Bytes noted in all of `list`.
    untold: u64,
    /// Of a snapshot as much is noted as may be, or was.
    full: bool,
    /// Some of `list` are withheld, or were.
    pub withheld: bool,
    /// The snapshot whose turn was last.
    turn: SnapId,
}

impl Uses {
    pub(crate) const fn new() -> Uses {
        Uses {
            list: Vec::new(),
            unused: 0,
            untold: 0,
            full: false,
            withheld: false,
            turn: SnapId(0),
        }
    }

    /// Returns true if there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Use> + Clone {
        self.list.iter()
    }

    fn find(&self, snap: SnapId) -> Result<usize, usize> {
        self.list.binary_search_by_key(&snap, |u| u.snap)
    }

    /// The entry of a snapshot.
    pub(crate) fn get(&self, snap: SnapId) -> Option<&Use> {
        self.list.get(self.find(snap).ok()?)
    }

    /// Changes one entry and keeps the count of unused ones.
    pub(crate) fn change(&mut self, snap: SnapId, change: impl FnOnce(&mut Use)) {
        let Ok(index) = self.find(snap) else {
            debug_assert!(false, "{snap:?} is not in use");
            return;
        };
        if let Some(entry) = self.list.get_mut(index) {
            let was = entry.is_unused();
            change(entry);
            let is = entry.is_unused();
            self.unused = self.unused + usize::from(is) - usize::from(was);
        }
    }

    /// Takes over the caller's reference to a fresh snapshot, pinned.
    pub(crate) fn adopt(&mut self, snap: SnapId) -> Result<(), NoMemory> {
        let Err(index) = self.find(snap) else {
            debug_assert!(false, "{snap:?} was fresh and is in use");
            return Err(NoMemory);
        };
        self.list.try_reserve(1).map_err(|_| NoMemory)?;
        let pins = 1;
        self.list.insert(
            index,
            Use {
                pins,
                ..Use::new(snap)
            },
        );
        Ok(())
    }

    /// Keeps a snapshot from being released or changed.
    pub(crate) fn pin(&mut self, snap: SnapId) {
        self.change(snap, |u| u.pins += 1);
    }

    /// Takes back one [`Uses::pin`] or [`Uses::adopt`].
    pub(crate) fn unpin(&mut self, snap: SnapId) {
        self.change(snap, |u| u.pins -= 1);
    }

    /// Takes back one [`Uses::pin`]; returns true if nothing needs the snapshot any more.
    pub(crate) fn let_go(&mut self, snap: SnapId) -> bool {
        self.unpin(snap);
        self.get(snap).is_some_and(Use::is_unused)
    }

    /// Returns true if bytes of the snapshot are lost.
    pub(crate) fn is_lost(&self, snap: SnapId) -> bool {
        self.get(snap).is_some_and(|u| u.lost)
    }

    /// No extent refers to any of them any more. Those that are pinned are given back as a
    /// whole once they are not.
    pub(crate) fn forget_bytes(&mut self) {
        self.list.iter_mut().for_each(|u| u.bytes = 0);
        self.unused = self.list.iter().filter(|u| u.is_unused()).count();
    }

    /// Removes unused snapshots, as many as there is room for; the caller now has
    /// their references.
    pub(crate) fn take_unused(&mut self, snaps: &mut [SnapId]) -> usize {
        if self.unused == 0 {
            return 0;
        }
        let (mut count, mut untold) = (0, 0);
        self.list.retain(|u| {
            let place = snaps.get_mut(count).filter(|_| u.is_unused());
            if let Some(place) = place {
                *place = u.snap;
                count += 1;
                untold += u.untold_bytes();
                return false;
            }
            true
        });
        self.unused -= count;
        self.untold -= untold;
        count
    }

    /// The snapshots that extents refer to, ascending, from the first after `after`
    /// on.
    pub(crate) fn referred(&self, after: Option<SnapId>) -> impl Iterator<Item = SnapId> + '_ {
        let first = self.list.partition_point(|u| Some(u.snap) <= after);
        let rest = self.list.iter().skip(first).filter(|u| u.bytes > 0);
        rest.map(|u| u.snap)
    }

    /// An extent is gone, in whose place is that source. Its bytes are let go of unless they
    /// are the same snapshot's again.
    pub(crate) fn let_go_of(&mut self, old: &Extent, now: Option<Source>) {
        let snap = old.source.snap;
        self.change(snap, |u| u.bytes -= old.len());
        if now.is_none_or(|now| now.snap != snap) {
            self.note(snap, old.soffs());
        }
    }

    /// Notes that nothing here refers to these bytes of the snapshot's file any
    /// more.
    pub(crate) fn note(&mut self, snap: SnapId, soffs: Range<u64>) {
        let (mut change, mut noted, mut full) = (0, true, false);
        self.change(snap, |u| {
            // All of it is gone: it is released as a whole. Of a withheld one
            // everything is looked at later.
            if u.is_unused() || u.withheld {
                return;
            }
            let before = u.untold_bytes();
            noted = u.untold.set(soffs, ()).is_ok();
            let gap = |a: &Span<()>, b: &Span<()>| b.start - a.end;
            u.untold.coarsen(NOTED_MAX, gap, |(), ()| ());
            change = u.untold_bytes() - before;
            full = u.untold.len() == NOTED_MAX;
        });
        self.untold += change;
        self.full |= full;
        if !noted {
            self.withhold(snap);
        }
    }

    /// Returns true if the noted ranges are worth a message, by `worth` bytes.
    pub(crate) const fn worth_telling(&self, worth: u64) -> bool {
        self.full || self.untold >= worth
    }

    /// Takes the noted ranges of a snapshot.
    pub(crate) fn take_untold(&mut self, snap: SnapId) -> RangeMap<()> {
        let mut untold = RangeMap::new();
        self.change(snap, |u| core::mem::swap(&mut u.untold, &mut untold));
        self.untold -= untold.iter().map(|span| span.len()).sum::<u64>();
        untold
    }

    /// The next snapshot whose trims are `ready`.
    pub(crate) fn next_turn(&mut self, ready: impl Fn(&Use) -> bool) -> Option<SnapId> {
        let next = {
            let mut waiting = self.list.iter().filter(|u| ready(u));
            let after = waiting.clone().find(|u| u.snap > self.turn);
            after.or_else(|| waiting.next()).map(|u| u.snap)
        };
        match next {
            Some(snap) => self.turn = snap,
            // Pinned ones may be withheld still.
            None => {
                self.full = false;
                self.withheld = self.list.iter().any(|u| u.withheld);
            }
        }
        next
    }

    /// Marks the snapshot as withheld.
    pub(crate) fn withhold(&mut self, snap: SnapId) {
        self.take_untold(snap);
        self.change(snap, |u| u.withheld = true);
        self.withheld = true;
    }

    /// The snapshots that extents refer to, for another segment, which then needs
    /// a reference to each.
    pub(crate) fn try_clone(&self) -> Result<Uses, NoMemory> {
        let mut copy = Uses::new();
        let len = self.list.len();
        copy.list.try_reserve_exact(len).map_err(|_| NoMemory)?;
        let referred = self.list.iter().filter(|u| u.bytes > 0);
        copy.list.extend(referred.map(|u| Use {
            bytes: u.bytes,
            delta: u.delta,
            lost: u.lost,
            // Ranges that the original has not trimmed are trimmed by the last
            // holder.
            withheld: u.withheld || u.pins > 0 || !u.untold.is_empty(),
            ..Use::new(u.snap)
        }));
        copy.withheld = copy.list.iter().any(|u| u.withheld);
        Ok(copy)
    }

    /// Panics unless the structure is sound; for tests.
    pub(crate) fn check(&self) {
        let unused = self.list.iter().filter(|u| u.is_unused());
        assert_eq!(unused.count(), self.unused, "unused snapshots miscounted");
        assert!(self.list.is_sorted_by(|a, b| a.snap < b.snap));
        let untold = self.list.iter().map(Use::untold_bytes).sum::<u64>();
        assert_eq!(untold, self.untold, "untold bytes miscounted");
    }
}
