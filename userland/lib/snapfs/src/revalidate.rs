//! What is known of a file is compared with what it says of itself:
//! external writers are found out by size and times.
//!
//! An external writer can put mtime back (`rsync -t`, `cp -p`, `touch -r`), ctime it
//! cannot. But ctime moves with every change of names and rights too, snapfs's own
//! included, so that each of these is followed by another revalidation ([`Snapfs::names_changed`]).

use crate::conn::Open;
use crate::file::{File, HOLLOW_MIN, Locked, SIZE_MAX, State, Times};
use crate::lower::LowerFid;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use ninep::Attr;
use ninep::consts::getattr;

/// Own changes of a file until its times are learnt in any case.
const UNLEARNT_MAX: u32 = 64;

impl State {
    /// Whatever ctime is found is snapfs's own doing.
    pub fn forget_ctime(&mut self) {
        if let Some(times) = &mut self.times {
            times.ctime = None;
        }
    }

    /// The file has the size that is known and these times, which own changes explain if
    /// they are others.
    fn saw_again(&mut self, times: Times) {
        if self.times != Some(times) {
            self.settled = None;
        }
        self.times = Some(times);
        self.unlearnt = 0;
    }

    /// Returns true if the file has the known size and times.
    fn is_as_known(&self, attr: &Attr) -> bool {
        if self.unlearnt > 0 {
            return self.size == attr.size;
        }
        let found = Times::from(attr);
        // While snapfs changes names itself ctime is no proof.
        let unproven = |known: &Times| known.ctime.is_none() || self.changing > 0;
        let same = |known: Times| {
            known.mtime == found.mtime && (unproven(&known) || known.ctime == found.ctime)
        };
        self.size == attr.size && self.times.is_some_and(same)
    }
}

impl<B: Backing> Snapfs<B> {
    /// Finds out whether an external writer changed the file.
    /// `None`: one took its name away or gave it to another file, and
    /// the lower server goes by names; what is known is the best there is.
    pub(crate) async fn revalidate(
        &self,
        file: &Locked<'_>,
        fid: LowerFid,
    ) -> Result<Option<Attr>, Errno> {
        let Some(attr) = self.own_attr(file, fid).await? else {
            file.state.borrow_mut().past = None;
            return Ok(None);
        };
        if file.state.borrow().is_as_known(&attr) {
            file.state.borrow_mut().saw_again(Times::from(&attr));
            return Ok(Some(attr));
        }
        Box::pin(self.check_reader(file, (fid, &attr))).await?;
        let mut state = file.state.borrow_mut();
        let again = state.past.take().and_then(|past| past.epoch_if(&attr));
        if state.times.is_some() {
            self.invalidate(&mut state);
        } else {
            state.all_changed(again.unwrap_or_else(|| self.next_epoch()));
        }
        state.saw(attr.size, Some(Times::from(&attr)));
        let settled = again.is_some() || self.is_old(&attr);
        state.settled = settled.then_some(state.epoch);
        state.zeros.clear();
        let counted = attr.valid & getattr::BLOCKS != 0;
        if counted && attr.blocks == 0 && attr.size >= HOLLOW_MIN {
            state.zeros.learn(attr.size);
        }
        Ok(Some(attr))
    }

    /// A lower fid has other attributes than the file is known to have. Where a
    /// share holds several file systems two files may have one number: if it is
    /// not sure that the snapshots' reader is that same file, none is read from it
    /// for later ones.
    ///
    /// # Errors
    /// `EIO`: the reader has not changed, so the other is another file.
    async fn check_reader(
        &self,
        file: &Locked<'_>,
        (fid, attr): (LowerFid, &Attr),
    ) -> Result<(), Errno> {
        let (reader, snaps) = {
            let state = file.state.borrow();
            (state.reader.filter(|reader| *reader != fid), state.snaps)
        };
        let Some(reader) = reader else { return Ok(()) };
        let read = match snaps {
            0 => None,
            _ => self.own_attr(file, reader).await?,
        };
        if let Some(read) = &read {
            if (read.size, Times::from(read)) == (attr.size, Times::from(attr)) {
                return Ok(());
            }
            if file.state.borrow().is_as_known(read) {
                return Err(Errno::EIO);
            }
        }
        let orphan = {
            let state = &mut *file.state.borrow_mut();
            if snaps > 0 {
                self.invalidate(state);
            }
            let reader = state.reader.take();
            reader.filter(|_| core::mem::take(&mut state.orphan))
        };
        if let Some(orphan) = orphan {
            self.clunk_lower(orphan).await;
        }
        Ok(())
    }

    /// What is written through an open fid must be the file that snapshots are
    /// read from, if that was not seen yet.
    ///
    /// # Errors
    /// As [`Snapfs::revalidate`].
    pub(crate) async fn check_open(&self, file: &Locked<'_>, open: &Open) -> Result<(), Errno> {
        let (snaps, reader) = {
            let state = file.state.borrow();
            (state.snaps, state.reader)
        };
        if snaps > 0 && reader.is_some() && reader != open.same_as.get() {
            Box::pin(self.revalidate(file, open.back)).await?;
            open.same_as.set(reader);
        }
        Ok(())
    }

    /// The attributes, if they are this file's.
    pub(crate) async fn own_attr(&self, file: &File, fid: LowerFid) -> Result<Option<Attr>, Errno> {
        match self.attr_lower(fid).await {
            // Blocks are counted in whole files, so there must be an end to them.
            Ok(attr) if attr.size > SIZE_MAX => Err(Errno::EFBIG),
            Ok(attr) => Ok(Some(attr).filter(|attr| attr.qid.path == file.path)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// An external writer changed the file: what is not saved is lost to snapshots.
    pub(crate) fn invalidate(&self, state: &mut State) {
        if state.snaps > 0 {
            // Not the file's own epoch, because an earlier instance may have
            // reported a later one.
            state.versions.break_at(self.epoch.get());
        }
        state.zeros.clear();
        state.all_changed(self.next_epoch());
    }

    /// Has an external writer changed the file, of which something was just read for a
    /// snapshot? Needs no lock: while an own change is under way it cannot be
    /// told.
    ///
    /// # Errors
    /// `ESTALE`: yes; what is not saved is lost. The backing's.
    pub(crate) async fn check(&self, file: &File) -> Result<(), Errno> {
        loop {
            let (reader, seen) = {
                let state = file.state.borrow();
                (state.reader.ok_or(Errno::ESTALE)?, state.seen)
            };
            let Some(attr) = self.own_attr(file, reader).await? else {
                return Ok(());
            };
            let mut state = file.state.borrow_mut();
            if state.is_as_known(&attr) || state.changing > 0 || state.times.is_none() {
                return Ok(());
            }
            if state.seen == seen {
                self.invalidate(&mut state);
                state.saw(attr.size, Some(Times::from(&attr)));
                return Err(Errno::ESTALE);
            }
        }
    }

    /// The end of an own change, which [`State::changing`] counted: learns the new
    /// times while snapshots need them, or what is known to be zeros. A change
    /// that failed may have been done in part or entirely, whatever its answer
    /// said (QEMU answers ENOSPC to a write of which it has written a part): the
    /// size is learnt as well.
    pub(crate) async fn learn_change(
        &self,
        file: &Locked<'_>,
        fid: LowerFid,
        error: Option<Errno>,
    ) {
        let failed = error.is_some();
        let needed = {
            let state = file.state.borrow();
            failed || state.snaps > 0 || state.zeros.is_worth_keeping()
        };
        let attr = match needed {
            true => self.own_attr(file, fid).await.ok().flatten(),
            false => None,
        };
        {
            let state = &mut *file.state.borrow_mut();
            let size = attr.filter(|_| failed).map_or(state.size, |attr| attr.size);
            if failed {
                state.zeros.remove(size.min(state.size)..u64::MAX);
            }
            state.saw(size, attr.as_ref().map(Times::from));
            state.changing -= 1;
        }
        self.log_done(file).await;
    }

    /// Ends a successful own change as [`Snapfs::learn_change`] does, but puts off
    /// learning the times, if the owner of the server has them learnt soon
    /// ([`Snapfs::learn_times`]). Returns true if so.
    pub(crate) fn learn_later(&self, file: &Locked<'_>) -> bool {
        let state = &mut *file.state.borrow_mut();
        let known = state.snaps > 0 && state.times.is_some();
        if !known || !self.lazy.get() || state.unlearnt >= UNLEARNT_MAX || self.durable.is_kept() {
            return false;
        }
        if state.unlearnt == 0 {
            self.unlearnt.borrow_mut().push(file.path);
        }
        state.unlearnt += 1;
        state.changing -= 1;
        true
    }

    /// Returns true if [`Snapfs::learn_times`] is to be called soon.
    #[inline]
    pub fn has_unlearnt(&self) -> bool {
        !self.unlearnt.borrow().is_empty()
    }

    /// Learns the times of files after own changes where that was put off
    /// ([`crate::Options::lazy`]): from now on changes by external writers show.
    pub async fn learn_times(&self) {
        let paths = core::mem::take(&mut *self.unlearnt.borrow_mut());
        for path in paths {
            let Some(file) = self.known_file(path) else {
                continue;
            };
            {
                let file = &file.lock().await;
                let (reader, unlearnt) = {
                    let state = file.state.borrow();
                    (state.reader, state.unlearnt)
                };
                if let Some(reader) = reader.filter(|_| unlearnt > 0) {
                    // If it cannot be looked at now, the next look learns them.
                    let _ = self.revalidate(file, reader).await;
                }
            }
            self.done_with(file).await;
        }
    }

    /// A name of the file is about to be given, moved or taken away, which moves
    /// its ctime. [`Snapfs::names_changed`] must follow.
    pub(crate) async fn change_names_of(&self, file: &File) {
        file.state.borrow_mut().changing += 1;
        self.log_names(file).await;
    }

    /// The end of [`Snapfs::change_names_of`]: while snapshots need it the file
    /// is revalidated. The caller must not hold the lock on names.
    pub(crate) async fn names_changed(&self, file: &File) {
        if file.state.borrow().snaps == 0 {
            let state = &mut *file.state.borrow_mut();
            state.changing -= 1;
            return state.forget_ctime();
        }
        let file = &file.lock().await;
        let reader = file.state.borrow().reader;
        let seen = match reader {
            Some(reader) => matches!(self.revalidate(file, reader).await, Ok(Some(_))),
            None => false,
        };
        {
            let state = &mut *file.state.borrow_mut();
            state.changing -= 1;
            if !seen {
                state.forget_ctime();
            }
        }
        self.log_done(file).await;
    }
}
