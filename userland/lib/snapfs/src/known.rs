//! Names that clients have asked for, and the lower fids that they were walked to.
//!
//! At a lower server whose fids go by names until they are opened, such a fid says
//! what its name stands for now, whoever changed it: one request is enough to look at
//! it again. snapfs's own renames move the fids along, so that they forget all.

use crate::lower::LowerFid;
use crate::{Backing, Snapfs};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use ninep::{Names, Qid, Request};

/// Names known at a time.
const KNOWN_MAX: usize = 32;
/// Longest path of one.
const PATH_MAX: usize = 256;

/// A name, or several below each other.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct Known {
    /// The lower fid that the walk began at.
    from: LowerFid,
    /// The names, a `/` after each.
    path: Vec<u8>,
    /// Where it led, not open.
    pub fid: LowerFid,
    /// What was passed on the way.
    pub passed: Vec<Qid>,
}

impl Known {
    fn is(&self, from: LowerFid, names: Names<'_>) -> bool {
        let mut rest = self.path.as_slice();
        let mut follows = |name: &[u8]| {
            let after = rest.strip_prefix(name);
            match after.and_then(|after| after.strip_prefix(b"/")) {
                Some(after) => {
                    rest = after;
                    true
                }
                None => false,
            }
        };
        self.from == from && names.iter().all(|name| follows(&name)) && rest.is_empty()
    }
}

/// The names known, the one that was not asked for the longest first.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct KnownNames(VecDeque<Known>);

impl KnownNames {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<B: Backing> Snapfs<B> {
    /// Takes what is known of `names` below a lower fid.
    pub(crate) fn take_known(&self, from: LowerFid, names: Names<'_>) -> Option<Known> {
        let known = &mut self.known.borrow_mut().0;
        let at = known.iter().position(|known| known.is(from, names))?;
        known.remove(at)
    }

    /// What is to be known of `names`, which a walk from `from` has led along `qids` to
    /// `fid`; `None` where fids do not go by names, or these are long.
    pub(crate) fn make_known(
        &self,
        (from, fid): (LowerFid, LowerFid),
        names: Names<'_>,
        qids: &[Qid],
    ) -> Option<Known> {
        let len: usize = names.iter().map(|name| name.len() + 1).sum();
        if !self.by_names || len > PATH_MAX {
            return None;
        }
        let mut path = Vec::with_capacity(len);
        for name in names.iter() {
            path.extend_from_slice(&name);
            path.push(b'/');
        }
        let passed = qids.split_last().map_or(&[][..], |(_, passed)| passed);
        let passed = passed.to_vec();
        Some(Known {
            from,
            path,
            fid,
            passed,
        })
    }

    /// Keeps it. The caller holds the lock on names.
    pub(crate) async fn keep_known(&self, known: Known) {
        let old = {
            let known_names = &mut self.known.borrow_mut().0;
            known_names.push_back(known);
            match known_names.len() > KNOWN_MAX {
                true => known_names.pop_front(),
                false => None,
            }
        };
        if let Some(old) = old {
            self.clunk_known(old.fid).await;
        }
    }

    /// Names are about to be changed, with the lock on them held exclusively.
    pub(crate) async fn forget_known(&self) {
        while let Some(known) = {
            let mut names = self.known.borrow_mut();
            names.0.pop_back()
        } {
            self.clunk_known(known.fid).await;
        }
    }

    /// A lower fid is about to be another file, or none.
    pub(crate) async fn forget_known_below(&self, from: LowerFid) {
        while let Some(known) = {
            let names = &mut self.known.borrow_mut().0;
            let at = names.iter().position(|known| known.from == from);
            at.and_then(|at| names.remove(at))
        } {
            self.clunk_known(known.fid).await;
        }
    }

    async fn clunk_known(&self, fid: LowerFid) {
        let _ = self.tell(&Request::Clunk { fid }).await;
        self.no_fid(fid);
    }
}
