//! Snapshots: taking, reading, trimming, releasing.

use crate::budget::{Growth, reserve};
use crate::conn::{Conn, Entry, Open};
use crate::file::{File, Locked, State};
use crate::options::{Check, MountOptions, Unsaved};
use crate::references::References;
use crate::versions::{Place, RANGE};
use crate::{BLOCK, Backing, Payload, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use ninep::{Reply, Request};

/// A snapshot: one snapfid.
pub struct Snapshot {
    pub file: Rc<File>,
    pub references: RefCell<References>,
    /// Of the mount it was taken through.
    pub options: MountOptions,
}

impl Snapshot {
    /// Writers are refused rather than that it loses anything.
    pub fn is_precious(&self) -> bool {
        self.options.unsaved == Unsaved::Refuse
    }
}

/// A run of bytes from one place.
#[derive(PartialEq, Eq)]
struct Source {
    place: Place,
    off: u64,
    len: u64,
}

impl Snapshot {
    /// Where the bytes from `off` on are: at most `len` of them, fewer if the
    /// snapshot does not cover more.
    ///
    /// # Errors
    /// `ESTALE`: the first byte is not covered, or lost.
    fn sources(&self, off: u64, len: u64) -> Result<Vec<Source>, Errno> {
        let mut sources: Vec<Source> = Vec::new();
        let (mut at, end) = (off, off.saturating_add(len));
        while at < end {
            let (place, until) = match self.run(at..end) {
                Ok(run) => run,
                Err(_) if at > off => break,
                Err(errno) => return Err(errno),
            };
            match sources.last_mut() {
                Some(last) if last.place == place && !matches!(place, Place::Saved(_)) => {
                    last.len += until - at;
                }
                _ => sources.push(Source {
                    place,
                    off: at,
                    len: until - at,
                }),
            }
            at = until;
        }
        if sources.is_empty() && len > 0 {
            Err(Errno::ESTALE)
        } else {
            Ok(sources)
        }
    }

    /// Up to where `bytes` are covered, without a gap.
    ///
    /// # Errors
    /// `ESTALE`: the first is not.
    fn covered(&self, bytes: Range<u64>) -> Result<u64, Errno> {
        let references = self.references.borrow();
        let (mut until, _) = references.find(bytes.start).ok_or(Errno::ESTALE)?;
        while until < bytes.end
            && let Some((end, _)) = references.find(until)
        {
            until = end;
        }
        Ok(until.min(bytes.end))
    }

    /// Those of `bytes` that the snapshot covers from their start on, if they are one
    /// reference, all of it in the live file, and there is nothing to find out first.
    #[inline]
    pub fn one_live(&self, bytes: Range<u64>, state: &State) -> Option<Range<u64>> {
        let references = self.references.borrow();
        let (covered, epoch) = references.find(bytes.start)?;
        // Another reference may go on where this one ends.
        let one = bytes.end <= covered || references.find(covered).is_none();
        let bytes = bytes.start..bytes.end.min(covered);
        let blocks = bytes.start / BLOCK..bytes.end.div_ceil(BLOCK);
        let live = (Place::Live, blocks.end - blocks.start);
        let usual = one && !bytes.is_empty() && state.doubt.is_none();
        (usual && state.versions.find(blocks, epoch) == Ok(live)).then_some(bytes)
    }

    /// Returns true if all of `bytes` are in the live file.
    #[inline]
    pub fn is_live(&self, bytes: &Range<u64>) -> bool {
        let (references, state) = (self.references.borrow(), self.file.state.borrow());
        let mut at = bytes.start;
        while at < bytes.end {
            let Some((covered, epoch)) = references.find(at) else {
                return false;
            };
            let until = covered.min(bytes.end);
            let blocks = at / BLOCK..until.div_ceil(BLOCK);
            let count = blocks.end - blocks.start;
            if state.versions.find(blocks, epoch) != Ok((Place::Live, count)) {
                return false;
            }
            at = until;
        }
        true
    }

    /// Where the first of `bytes` is, and up to where the others are at such a
    /// place, too: in the live file, or zeros, or in one saved block.
    ///
    /// # Errors
    /// `ESTALE`: the first byte is not covered, or lost.
    pub fn run(&self, bytes: Range<u64>) -> Result<(Place, u64), Errno> {
        let found = self.references.borrow().find(bytes.start);
        let (covered, epoch) = found.ok_or(Errno::ESTALE)?;
        let end = covered.min(bytes.end);
        let block = bytes.start / BLOCK;
        let versions = &self.file.state.borrow().versions;
        let (place, blocks) = versions.find(block..end.div_ceil(BLOCK), epoch)?;
        Ok((place, ((block + blocks) * BLOCK).min(end)))
    }

    /// As [`Snapshot::run`], for copying: known zeros of the live file count as
    /// zeros.
    ///
    /// # Errors
    /// As [`Snapshot::run`].
    pub fn run_to_copy(&self, bytes: Range<u64>) -> Result<(Place, u64), Errno> {
        let (place, mut until) = self.run(bytes.clone())?;
        if place != Place::Live {
            return Ok((place, until));
        }
        let zeros = &self.file.state.borrow().zeros;
        let known = (!zeros.is_doubtful()).then(|| zeros.next(bytes.start..until));
        if let Some(known) = known.flatten() {
            if known.start == bytes.start {
                return Ok((Place::Zero, known.end));
            }
            until = known.start;
        }
        Ok((place, until))
    }
}

impl<B: Backing> Snapfs<B> {
    /// `Tsnap`. O(log n) in the snapshots there are, plus one look at the lower
    /// file for external writers.
    pub(crate) async fn take_snapshot<'r>(
        &self,
        conn: &Conn,
        request: &Request<'_>,
        changed: &'r mut Vec<(u64, u64)>,
    ) -> Result<Reply<'r>, Errno> {
        let &Request::Snap {
            fid,
            snapfid,
            off,
            count,
            epoch,
            known,
        } = request
        else {
            return Err(Errno::EPROTO);
        };
        let Entry::Open(open) = conn.get(fid)? else {
            return Err(Errno::EOPNOTSUPP);
        };
        let file = &self.lock(&open.file).await?;
        if !open.readable || open.closed.get() {
            return Err(Errno::EBADF);
        }
        file.state.borrow_mut().make_room(RANGE, Growth::Refer)?;
        self.promise_epochs().await?;
        self.revalidate(file, open.back).await?;
        self.log_known(file).await?;
        let (now, size) = {
            let state = file.state.borrow();
            (state.epoch, state.size)
        };
        let (bytes, epoch) = match epoch {
            0 => (off..(off + count).min(size).max(off), now),
            at => (off..self.reclaim(conn, file, off..off + count, at)?, at),
        };
        let snapshot = self.snapshot_at(conn, snapfid, &open)?;
        let reader = *file.state.borrow_mut().reader.get_or_insert(open.back);
        open.same_as.set(Some(reader));
        self.refer(file, &snapshot, &bytes, Some(epoch));
        let state = file.state.borrow();
        Ok(Reply::Snap {
            qid: open.qid,
            epoch: state.epoch,
            count: bytes.end - off,
            size,
            changes: state.changes(known, changed),
        })
    }

    /// The snapshot of an open file named `snapfid`, made if that is unused.
    pub(crate) fn snapshot_at(
        &self,
        conn: &Conn,
        snapfid: u32,
        open: &Open,
    ) -> Result<Rc<Snapshot>, Errno> {
        let file = &open.file;
        match conn.get(snapfid) {
            Ok(Entry::Snap(snapshot)) if Rc::ptr_eq(&snapshot.file, file) => Ok(snapshot),
            Ok(_) => Err(Errno::EINVAL),
            Err(_) => {
                let references = RefCell::default();
                let snapshot = Rc::new(Snapshot {
                    file: file.clone(),
                    references,
                    options: open.options,
                });
                conn.put_new(snapfid, Entry::Snap(snapshot.clone()))?;
                self.file(file.path);
                let mut state = file.state.borrow_mut();
                state.snaps += 1;
                state.precious += u32::from(snapshot.is_precious());
                drop(state);
                self.snapshots.set(self.snapshots.get() + 1);
                Ok(snapshot)
            }
        }
    }

    /// `Tread` on a snapfid: the payload.
    #[inline]
    pub(crate) async fn read_snapshot(
        &self,
        snapshot: &Snapshot,
        off: u64,
        count: u32,
    ) -> Result<Payload<B::Buf>, Errno> {
        let count = count.min(self.backing.iounit());
        let end = off.saturating_add(u64::from(count));
        if snapshot.is_in_doubt(&(off..end)) {
            Box::pin(self.resolve_doubt_of(&snapshot.file)).await?;
        }
        let bytes = off..snapshot.covered(off..end)?;
        let count = bytes.end - off;
        if let Some(buf) = self.read_live_part(snapshot, &bytes).await? {
            let len = buf.as_ref().len().min(count as usize);
            if len == 0 && count > 0 {
                self.invalidate(&mut snapshot.file.state.borrow_mut());
                return Err(Errno::ESTALE);
            }
            return Ok(Payload::Buf(buf, 0..len));
        }
        let mut data = Vec::new();
        Box::pin(self.copy_snapshot(snapshot, off, count, &mut data)).await?;
        Ok(Payload::Bytes(data))
    }

    /// Reads bytes of a snapshot from the live file, fewer where that is shorter;
    /// `None`: not all of them are in it, or a check must follow the read: while one
    /// waits for the backing, none of its memory may be held.
    #[inline]
    pub(crate) async fn read_live_part(
        &self,
        snapshot: &Snapshot,
        bytes: &Range<u64>,
    ) -> Result<Option<B::Buf>, Errno> {
        if !snapshot.is_live(bytes) || snapshot.options.check == Check::Always {
            return Ok(None);
        }
        let reader = snapshot.file.state.borrow().reader.ok_or(Errno::ESTALE)?;
        let count = (bytes.end - bytes.start) as u32;
        let read = self.backing.read(reader, bytes.start, count).await;
        // Rescued during the read: the data may be new.
        if !snapshot.is_live(bytes) {
            return Ok(None);
        }
        read.map(Some)
    }

    /// Appends up to `len` bytes of the snapshot to `out`, from wherever they
    /// are; fewer only where the snapshot ends.
    pub(crate) async fn copy_snapshot(
        &self,
        snapshot: &Snapshot,
        off: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        if snapshot.is_in_doubt(&(off..off.saturating_add(len))) {
            return Err(Errno::EIO);
        }
        let before = out.len();
        loop {
            let sources = snapshot.sources(off, len)?;
            out.truncate(before);
            let copied = self.copy_sources(snapshot, &sources, out).await;
            // This loop ends, because a rescue moves each block at most once
            // for this epoch.
            if snapshot.sources(off, len)? == sources {
                return match copied? {
                    true if snapshot.options.check == Check::Always => {
                        self.check_sources(snapshot, &sources).await
                    }
                    true => Ok(()),
                    // Shorter than it is known to be: an external writer cut it.
                    false => {
                        self.invalidate(&mut snapshot.file.state.borrow_mut());
                        Err(Errno::ESTALE)
                    }
                };
            }
        }
    }

    /// Bytes of a snapshot in memory, all of them.
    ///
    /// # Errors
    /// `ESTALE`: some were given up or are lost. `ENOMEM`; the backing's.
    pub(crate) async fn copied(
        &self,
        source: &Snapshot,
        off: u64,
        len: u64,
    ) -> Result<Vec<u8>, Errno> {
        let mut copied = Vec::new();
        reserve(&mut copied, len as usize)?;
        self.copy_snapshot(source, off, len, &mut copied).await?;
        match copied.len() as u64 == len {
            true => Ok(copied),
            // It was given up meanwhile.
            false => Err(Errno::ESTALE),
        }
    }

    /// With `check=always`: checks that the data belongs to the snapshot.
    async fn check_sources(&self, snapshot: &Snapshot, sources: &[Source]) -> Result<(), Errno> {
        match sources.iter().any(|source| source.place == Place::Live) {
            true => self.check(&snapshot.file).await,
            false => Ok(()),
        }
    }

    /// Appends the bytes of `sources` to `out`; `false` if the live file is
    /// too short.
    async fn copy_sources(
        &self,
        snapshot: &Snapshot,
        sources: &[Source],
        out: &mut Vec<u8>,
    ) -> Result<bool, Errno> {
        for source in sources {
            let (len, end) = (source.len as usize, out.len() + source.len as usize);
            match source.place {
                Place::Zero => out.resize(end, 0),
                Place::Saved(slot) => {
                    self.load_saved(slot, source.off % BLOCK, len, out).await?;
                }
                Place::Lost => return Err(Errno::ESTALE),
                Place::Live => {
                    let reader = snapshot.file.state.borrow().reader.ok_or(Errno::ESTALE)?;
                    self.read_lower(reader, source.off, len, out).await?;
                    if out.len() < end {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// `Ttrim`: removes these ranges from the snapshot. One from the middle of a
    /// reference leaves two, and takes memory: without it the range is kept.
    pub(crate) async fn trim(&self, snapshot: &Snapshot, ranges: impl Iterator<Item = (u64, u64)>) {
        let file = snapshot.file.lock().await;
        for (off, len) in ranges {
            let bytes = off..off.saturating_add(len);
            let splits = snapshot.references.borrow().splits(&bytes);
            let room = || file.state.borrow_mut().make_room(RANGE, Growth::Refer);
            if splits && room().is_err() {
                continue;
            }
            self.refer(&file, snapshot, &bytes, None);
        }
    }

    /// The snapshot's fid is gone.
    pub(crate) async fn release(&self, snapshot: Rc<Snapshot>) {
        let file = snapshot.file.clone();
        self.refer(&file.lock().await, &snapshot, &(0..u64::MAX), None);
        {
            let mut state = file.state.borrow_mut();
            state.doubt.take_if(|doubt| doubt.is_of(&snapshot));
            state.snaps -= 1;
            state.precious -= u32::from(snapshot.is_precious());
        }
        drop(snapshot);
        self.snapshots.set(self.snapshots.get() - 1);
        // Before any fid: that of the store is given back next.
        self.unhide(&file).await;
        self.close_idle_store().await;
        self.done_with(file).await;
    }

    /// Drops the references to those of `bytes` that are only in the live file,
    /// where they may have been changed.
    pub(crate) fn lose_live(&self, file: &Locked<'_>, snapshot: &Snapshot, bytes: Range<u64>) {
        let mut at = bytes.start;
        while at < bytes.end {
            at = match snapshot.run(at..bytes.end) {
                Ok((Place::Live, until)) => {
                    self.refer(file, snapshot, &(at..until), None);
                    until
                }
                Ok((_, until)) => until,
                Err(_) => snapshot.references.borrow().after(at, bytes.end),
            };
        }
    }
}
