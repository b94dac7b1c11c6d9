//! Files that nobody has in use any more, and their epochs: one that has not changed since
//! has the same epoch when it is opened again, so that what clients kept of it is good.
//!
//! Whether it has changed is decided by its size and times, as for files in use. But what
//! an external writer does just after a file was looked at may leave it with the same
//! times, where these have a coarse grain, so only files count that were old when they were
//! first seen at their epoch: any change after that moves ctime.

use crate::file::{File, State, Times};
use crate::versions::Epoch;
use crate::{Backing, Snapfs};
use alloc::collections::{BTreeMap, VecDeque};
use ninep::Attr;
use ninep::consts::getattr;

/// Files remembered at a time.
const FILES_MAX: usize = 512;
/// How long ago the last change of an old file was, seconds: far more than the grain of
/// times, and longer than Linux leaves a page that was stored to through a mapping as it is.
pub const OLD_S: u64 = 60;

/// A file at its epoch.
#[derive(Clone, Copy)]
pub struct Past {
    epoch: Epoch,
    size: u64,
    times: Times,
}

impl Past {
    /// Its epoch, if the file is as it was.
    pub fn epoch_if(&self, attr: &Attr) -> Option<Epoch> {
        let same = self.size == attr.size && self.times == Times::from(attr);
        same.then_some(self.epoch)
    }
}

/// The files remembered.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Unused {
    /// With the turn in which each was added.
    files: BTreeMap<u64, (u64, Past)>,
    /// The turns and files, in that order; some may have been taken out since.
    turns: VecDeque<(u64, u64)>,
    turn: u64,
}

impl Unused {
    /// A file comes into use.
    pub fn take(&mut self, path: u64) -> Option<Past> {
        self.files.remove(&path).map(|(_, past)| past)
    }

    fn add(&mut self, path: u64, past: Past) {
        self.turn += 1;
        self.files.insert(path, (self.turn, past));
        self.turns.push_back((self.turn, path));
        if self.turns.len() > FILES_MAX
            && let Some((turn, path)) = self.turns.pop_front()
            && self.files.get(&path).is_some_and(|file| file.0 == turn)
        {
            self.files.remove(&path);
        }
    }
}

impl State {
    /// What is to be remembered of a file that nobody has any more.
    fn past(&self) -> Option<Past> {
        let settled = self.settled == Some(self.epoch) && self.changing == 0;
        let times = self.times.filter(|times| settled && times.ctime.is_some());
        let seen = times.map(|times| Past {
            epoch: self.epoch,
            size: self.size,
            times,
        });
        // Nobody has looked at it.
        seen.or(self.past)
    }
}

impl<B: Backing> Snapfs<B> {
    /// Nobody has the file any more.
    pub(crate) fn remember(&self, file: &File) {
        let past = file.state.borrow().past();
        if let Some(past) = past {
            self.unused.borrow_mut().add(file.path, past);
        }
    }

    /// Returns true if a file is known to have been old when it had these attributes, which
    /// were just asked for, and its times can be believed: files that a kernel makes up as
    /// they are read change without their times, and take no blocks.
    pub(crate) fn is_old(&self, attr: &Attr) -> bool {
        if attr.valid & getattr::BLOCKS == 0 || attr.blocks == 0 {
            return false;
        }
        let old_at = attr.ctime_sec.checked_add(self.old_s);
        if old_at.is_some_and(|at| at <= self.now_s.get()) {
            return true;
        }
        // For the next one: it might have changed since they were had.
        self.look_at_clock();
        false
    }

    /// What time it is, or was at some moment before.
    pub(crate) fn look_at_clock(&self) {
        if let Some(now) = self.backing.now_s() {
            self.now_s.set(now);
        }
    }
}
