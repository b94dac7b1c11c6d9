//! Writes of uncertain extent. A message of a write that failed may have
//! written a part all the same, from its beginning. No before-images were saved
//! there for the snapshot that the write was to become part of, so the changed
//! bytes are lost to it. Reading the file shows which bytes these are. Until
//! they can be read, the snapshot's cannot, and no write of their blocks is done
//! that could hide them, unless the snapshot puts up with losses. Other blocks and
//! other snapshots do not wait for that.

use crate::budget::{Growth, Share};
use crate::file::{File, Locked};
use crate::references;
use crate::snap::Snapshot;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;

/// The first message of a write that failed.
pub struct Failed {
    /// The offset of the first byte that is not known to be written.
    pub at: u64,
    pub errno: Errno,
    /// The bytes that it was to write there.
    pub unsure: Vec<u8>,
    /// The end of the bytes that it or a later message may have written.
    pub until: u64,
}

/// A message whose outcome is not known, and the bytes of a snapshot there.
pub struct Doubt {
    snapshot: Rc<Snapshot>,
    bytes: Vec<Range<u64>>,
    failed: Failed,
    _share: Share,
}

/// For copies of a whole server, which are made while there is none.
#[cfg(feature = "duplicate")]
impl Clone for Doubt {
    fn clone(&self) -> Doubt {
        unreachable!("a write has failed")
    }
}

impl Doubt {
    /// Returns true if it concerns that snapshot.
    pub fn is_of(&self, snapshot: &Snapshot) -> bool {
        core::ptr::eq(&*self.snapshot, snapshot)
    }

    /// Returns true if `bytes` are in a block that it concerns.
    fn touches(&self, bytes: &Range<u64>) -> bool {
        let Failed { at, unsure, .. } = &self.failed;
        let own = references::blocks(&(*at..*at + unsure.len() as u64));
        let blocks = references::blocks(bytes);
        blocks.start < own.end && own.start < blocks.end
    }
}

impl File {
    /// If any of `bytes` are in a block that a doubt concerns: whether its snapshot must
    /// not lose anything.
    fn doubted(&self, mut bytes: impl Iterator<Item = Range<u64>>) -> Option<bool> {
        let state = self.state.borrow();
        let doubt = state.doubt.as_ref()?;
        let touched = bytes.any(|bytes| doubt.touches(&bytes));
        touched.then(|| doubt.snapshot.is_precious())
    }
}

impl Snapshot {
    /// Returns true if it is not known whether it has these bytes.
    #[inline]
    pub fn is_in_doubt(&self, bytes: &Range<u64>) -> bool {
        let state = self.file.state.borrow();
        let doubt = state.doubt.as_ref();
        doubt.is_some_and(|doubt| doubt.is_of(self) && doubt.touches(bytes))
    }
}

impl<B: Backing> Snapfs<B> {
    /// A message failed that was to write bytes of `spans`, of which the snapshot
    /// needs those that are as they were.
    pub(crate) async fn doubt(
        &self,
        file: &Locked<'_>,
        snapshot: Rc<Snapshot>,
        spans: &[Range<u64>],
        failed: Failed,
    ) {
        let end = failed.at + failed.unsure.len() as u64;
        let within = |whole: Range<u64>| {
            let clip =
                move |span: &Range<u64>| span.start.max(whole.start)..span.end.min(whole.end);
            spans.iter().map(clip).filter(|bytes| !bytes.is_empty())
        };
        // Those of later messages, whatever became of them.
        within(end..failed.until).for_each(|bytes| self.lose_live(file, &snapshot, bytes));
        let bytes: Vec<_> = within(failed.at..end).collect();
        let mut share = Share::of(&self.tables);
        if bytes.is_empty() {
            return;
        }
        let len = failed.unsure.len();
        if share.check(len, Growth::Save).is_err() {
            return bytes
                .into_iter()
                .for_each(|bytes| self.lose_live(file, &snapshot, bytes));
        }
        share.set(len);
        // One at a time is kept.
        if self.resolve_doubt(file).await.is_err() {
            self.lose_doubt(file);
        }
        file.state.borrow_mut().doubt = Some(Doubt {
            snapshot,
            bytes,
            failed,
            _share: share,
        });
        // If it cannot be read now, it is when it matters.
        let _ = self.resolve_doubt(file).await;
    }

    /// What a failed message may have written is lost.
    fn lose_doubt(&self, file: &Locked<'_>) {
        let doubt = file.state.borrow_mut().doubt.take();
        if let Some(Doubt {
            snapshot, bytes, ..
        }) = doubt
        {
            bytes
                .into_iter()
                .for_each(|bytes| self.lose_live(file, &snapshot, bytes));
        }
    }

    /// Determines the bytes that a failed message has written before `changed` are
    /// overwritten, or cut off, if any of them are in the same blocks.
    ///
    /// # Errors
    /// Those of reading the file, if the snapshot must not lose anything.
    pub(crate) async fn resolve_doubt_before(
        &self,
        file: &Locked<'_>,
        changed: impl Iterator<Item = Range<u64>>,
    ) -> Result<(), Errno> {
        let Some(precious) = file.doubted(changed) else {
            return Ok(());
        };
        match self.resolve_doubt(file).await {
            Err(_) if !precious => {
                self.lose_doubt(file);
                Ok(())
            }
            resolved => resolved,
        }
    }

    /// Determines the bytes that a failed message has written.
    ///
    /// # Errors
    /// Those of reading the file.
    async fn resolve_doubt(&self, file: &Locked<'_>) -> Result<(), Errno> {
        let doubt = file.state.borrow_mut().doubt.take();
        let Some(doubt) = doubt else { return Ok(()) };
        let Failed { at, unsure, .. } = &doubt.failed;
        let reader = file.state.borrow().reader;
        let mut found = Vec::new();
        let read = match reader {
            Some(reader) => self.read_lower(reader, *at, unsure.len(), &mut found).await,
            None => Err(Errno::EBADF),
        };
        if read.is_err() {
            file.state.borrow_mut().doubt = Some(doubt);
            return read;
        }
        let same = found.iter().zip(unsure).take_while(|(a, b)| a == b);
        let touched = at + same.count() as u64;
        for bytes in &doubt.bytes {
            let changed = bytes.start..bytes.end.min(touched);
            self.lose_live(file, &doubt.snapshot, changed);
        }
        Ok(())
    }

    /// The same if any of `kept`, which are to be read, are in those blocks. If it cannot
    /// be determined, they cannot be read.
    pub(crate) async fn resolve_doubt_for(
        &self,
        file: &Locked<'_>,
        kept: impl Iterator<Item = Range<u64>>,
    ) {
        if file.doubted(kept).is_some() {
            let _ = self.resolve_doubt(file).await;
        }
    }

    /// As [`Snapfs::resolve_doubt`], for callers without the file's lock,
    /// before a snapshot is read.
    pub(crate) async fn resolve_doubt_of(&self, file: &File) -> Result<(), Errno> {
        self.resolve_doubt(&self.lock(file).await?).await
    }
}
