//! The log written anew: what is known now replaces what happened.
//!
//! It is done in steps, between which other requests are served, and none of which
//! takes much memory, however much was saved. Appends wait until it is done. What
//! happens meanwhile to a file that was passed already is news and is appended
//! afterwards; a version that moves while its file is being passed moves to an older
//! epoch, so the newest go first.

use super::log::{EPOCHS, LOG, NEW_LOG, Said, Tail, halves, push_noted};
use super::record::{Chain, Record};
use crate::file::{File, State};
use crate::lower::LowerFid;
use crate::slots::Slots;
use crate::versions::{Epoch, Noted, Place};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Bound;

/// Bytes a log may grow by before it is written anew; then as much as it has.
const GROWTH: u64 = 64 << 10;
/// Records of one step, approximately: 64 KiB. Few in tests, so that there are many
/// steps.
const STEP: usize = if cfg!(feature = "duplicate") { 4 } else { 1024 };

/// How far a log is written.
#[derive(Default)]
struct Passed {
    /// The last file of which something was written.
    path: Option<u64>,
    /// The version of it that is next: an epoch, and the first block.
    next: Option<(Epoch, u64)>,
}

impl<B: Backing> Snapfs<B> {
    /// Writes a log of the present state and replaces the old one by it. The
    /// caller holds the log's lock.
    pub(super) async fn rewrite_log(&self) -> Result<(), Errno> {
        let log = &self.durable.log;
        let hidden = self.hidden_dir().await?;
        let made = self.make_log(hidden.dir).await;
        let old = match made {
            Ok(_) => log.hidden.replace(Some(hidden)),
            Err(_) => Some(hidden),
        };
        if let Some(old) = old {
            self.leave_hidden_dir(old).await;
        }
        let tail = match made {
            Ok(tail) => log.tail.replace(Some(tail)),
            Err(errno) => {
                // News went into the new one, and are in the old one no more.
                let tail = log.tail.get();
                log.tail.set(tail.map(|tail| Tail { limit: 0, ..tail }));
                return Err(errno);
            }
        };
        if let Some(old) = tail {
            self.clunk_lower(old.fid).await;
        }
        Ok(())
    }

    async fn make_log(&self, dir: LowerFid) -> Result<Tail, Errno> {
        let _ = self.unlink_lower(dir, NEW_LOG, 0).await;
        let fid = self.create_lower(dir, NEW_LOG).await?;
        let filled = self.fill_log(dir, fid).await;
        if filled.is_err() {
            let _ = self.unlink_lower(dir, NEW_LOG, 0).await;
        }
        self.keep_if(filled, fid).await?;
        filled
    }

    async fn fill_log(&self, dir: LowerFid, fid: LowerFid) -> Result<Tail, Errno> {
        let high_water = self.epoch.get() + EPOCHS;
        let mut tail = Tail {
            fid,
            end: 0,
            chain: Chain::default(),
            limit: 0,
        };
        let mut records = self.first_records(high_water);
        let mut passed = Some(Passed::default());
        while let Some(at) = passed {
            passed = self.push_step(at, &mut records);
            self.write_records(&mut tail, &records).await?;
            records.clear();
            // A place that was given back meanwhile may have another use already, which
            // a later step writes down.
            self.push_freed(&mut records);
            self.store.slots.borrow_mut().forget_freed(records.len());
        }
        self.write_records(&mut tail, &records).await?;
        self.rename_lower((dir, NEW_LOG), (dir, LOG)).await?;
        self.durable.log.high_water.set(high_water);
        tail.limit = tail.end * 2 + GROWTH;
        Ok(tail)
    }

    /// What a log begins with. No place is given back in it yet.
    fn first_records(&self, epoch: u64) -> Vec<Record> {
        let durable = &self.durable;
        let mut records = alloc::vec![Record::start(durable.boot), Record::HighWater { epoch }];
        for id in durable.sessions.ids() {
            let (id_low, id_high) = halves(id);
            records.push(Record::Session { id_low, id_high });
        }
        self.store.slots.borrow_mut().forget_freed(usize::MAX);
        records
    }

    /// Adds what is known of the next files. Returns how far that went; `None`: to the
    /// end.
    fn push_step(&self, mut passed: Passed, records: &mut Vec<Record>) -> Option<Passed> {
        let slots = self.store.slots.borrow();
        while records.len() < STEP {
            let file = self.file_after(&passed)?;
            // The file that was being passed may be gone.
            passed.next = passed.next.filter(|_| passed.path == Some(file.path));
            let state = &mut *file.state.borrow_mut();
            if passed.next.is_none() && !state.push_first(file.path, &slots, records) {
                passed.path = Some(file.path);
                continue;
            }
            let from = passed.next.unwrap_or((Epoch::MAX, 0));
            let next = state.push_versions(file.path, from, &slots, records);
            passed = Passed {
                path: Some(file.path),
                next,
            };
        }
        Some(passed)
    }

    /// The file that is being passed, or the next one.
    fn file_after(&self, passed: &Passed) -> Option<Rc<File>> {
        let from = match (passed.path, passed.next) {
            (None, _) => Bound::Unbounded,
            (Some(path), None) => Bound::Excluded(path),
            (Some(path), Some(_)) => Bound::Included(path),
        };
        let files = self.files.borrow();
        let mut files = files.range((from, Bound::Unbounded));
        files.next().map(|(_, file)| file.clone())
    }
}

impl State {
    /// Adds what a log has to say of the file besides its versions. Returns false if
    /// that is nothing. What happens from now on is news.
    fn push_first(&mut self, path: u64, slots: &Slots, records: &mut Vec<Record>) -> bool {
        if self.snaps == 0 {
            self.logged = None;
            return false;
        }
        let said = if self.begun { Said::Begun } else { Said::Left };
        self.push_records(path, said, records);
        self.logged = self.logged_now();
        for broken in self.versions.broken() {
            push_noted(path, broken, slots, records);
        }
        self.versions.forget_news(usize::MAX);
        true
    }

    /// Adds versions, those of the newest epochs first. Returns the next one, if they
    /// are too many for a step.
    fn push_versions(
        &self,
        path: u64,
        from: (Epoch, u64),
        slots: &Slots,
        records: &mut Vec<Record>,
    ) -> Option<(Epoch, u64)> {
        for (blocks, epoch, place) in self.versions.saved_from(from) {
            let room = STEP.saturating_sub(records.len()) as u64;
            if room == 0 {
                return Some((epoch, blocks.start));
            }
            // Saved blocks take a record each.
            let most = if matches!(place, Place::Saved(_)) {
                room
            } else {
                u64::MAX
            };
            let end = blocks.end.min(blocks.start.saturating_add(most));
            let part = Noted::Saved(blocks.start..end, epoch, place);
            push_noted(path, part, slots, records);
            if end < blocks.end {
                return Some((epoch, end));
            }
        }
        None
    }
}
