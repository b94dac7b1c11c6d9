//! The lists of free frames, and what each frame is charged to.
//!
//! Free frames form lists through their words ([`super::super::words`]); the largest
//! piece of memory is on none at first but handed out from its low end, and runs for
//! devices from its high end, so that both are quick and start-up does not touch every
//! word.

use super::super::payer;
use super::super::words::{self, Use, limit};
use super::{END, Held, KERNEL, Table};
use vm::{AccountId, Frame};

impl Table {
    /// Returns true if few frames are free.
    pub(super) fn is_low(&self) -> bool {
        self.free < self.mark
    }

    /// Frames that nobody has, but that are kept for a certain use.
    pub(super) fn kept(&self) -> u32 {
        self.idle.count() + self.aside
    }

    /// Returns true if no payer has to leave so many frames as there are, and none is to fail.
    pub(super) fn has_plenty(&self) -> bool {
        self.free > self.brake
    }

    /// Charges a frame to an account.
    #[inline(always)]
    pub(super) fn charge(&mut self, frame: Frame, account: AccountId) {
        self.accounts.charge(account);
        self.set_owner(frame, account.0);
    }

    #[inline(always)]
    pub(super) fn set_owner(&mut self, frame: Frame, owner: u16) {
        if let Some(entry) = self.owners.get_mut(frame.0 as usize) {
            *entry = owner;
        }
    }

    /// Puts a frame into the list, and uncharges it.
    #[inline]
    pub(super) fn freed(&mut self, frame: Frame, held: Held) {
        let owner = self.enlist(frame, held);
        self.uncharge(owner, 1);
    }

    /// Puts a frame into the list.
    #[inline]
    pub(super) fn list(&mut self, frame: Frame, held: Held) {
        let first = &mut self.first[held as usize];
        words::set_free(frame, *first);
        *first = frame.0;
        self.free += 1;
    }

    /// The same for one that is still charged; its entry of `owners`.
    #[inline]
    pub(super) fn enlist(&mut self, frame: Frame, held: Held) -> u16 {
        self.list(frame, held);
        self.owner_of(frame)
    }

    #[inline]
    pub(super) fn owner_of(&self, frame: Frame) -> u16 {
        self.owners.get(frame.0 as usize).copied().unwrap_or(0)
    }

    /// Frames with that entry of `owners` were given back.
    #[inline]
    pub(super) fn uncharge(&mut self, owner: u16, frames: u32) {
        let account = AccountId(owner & !KERNEL);
        match (frames, owner & KERNEL) {
            (0, _) => {}
            (_, 0) => self.accounts.uncharge(account, frames),
            _ => self.accounts.uncharge_kernel(account, frames),
        }
    }

    /// Takes and charges a frame that the caller marks as taken, if no payer has to leave
    /// as many as there are, and none is to fail.
    #[inline(always)]
    pub(super) fn take_plenty(&mut self) -> Option<Frame> {
        if !self.has_plenty() {
            return None;
        }
        let frame = self.next()?;
        self.charge(frame, payer::account());
        Some(frame)
    }

    /// The same for one that holds that.
    #[inline]
    pub(super) fn take_held(&mut self, held: Held) -> Option<Frame> {
        if !self.has_plenty() {
            return None;
        }
        let frame = self.next_of(held)?;
        self.charge(frame, payer::account());
        Some(frame)
    }

    pub(super) fn take(&mut self, what: Use) -> Option<Frame> {
        let frame = self.next()?;
        what.begin(frame);
        Some(frame)
    }

    /// Takes the next frame out of those that are free; the caller marks it as taken.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Frame> {
        if let Some(listed) = self.next_of(Held::Any) {
            return Some(listed);
        }
        if self.fresh == self.fresh_end {
            return self.next_of_any();
        }
        self.fresh += 1;
        self.free -= 1;
        Some(Frame(self.fresh - 1))
    }

    /// The next frame of a list.
    #[inline(always)]
    pub(super) fn next_of(&mut self, held: Held) -> Option<Frame> {
        let first = &mut self.first[held as usize];
        let listed = Frame(*first);
        *first = words::next_free(listed)?;
        self.free -= 1;
        Some(listed)
    }

    /// The next frame of those that another use would get without writing them.
    #[cold]
    fn next_of_any(&mut self) -> Option<Frame> {
        let held = [Held::Zeros, Held::Node, Held::Root];
        held.into_iter().find_map(|held| self.next_of(held))
    }

    pub(super) fn take_fresh_run(&mut self, pages: u32) -> Option<u32> {
        if self.fresh_end - self.fresh < pages {
            return None;
        }
        self.fresh_end -= pages;
        Some(self.fresh_end)
    }

    /// First fit over the table, then takes the run out of the free list.
    /// Slow, but only for devices that start late.
    pub(super) fn take_listed_run(&mut self, pages: u32) -> Option<u32> {
        let mut run = 0;
        let end = (0..limit()).find(|&frame| {
            let free = words::next_free(Frame(frame)).is_some();
            run = if free { run + 1 } else { 0 };
            run == pages
        })?;
        let taken = end + 1 - pages..end + 1;
        for first in &mut self.first {
            let (mut kept, mut at) = (END, *first);
            while let Some(next) = words::next_free(Frame(at)) {
                if !taken.contains(&at) {
                    words::set_free(Frame(at), kept);
                    kept = at;
                }
                at = next;
            }
            *first = kept;
        }
        Some(taken.start)
    }
}
