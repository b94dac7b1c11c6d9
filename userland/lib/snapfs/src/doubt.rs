//! Writes of uncertain extent. A message of a write that failed may have
//! written a part all the same, from its beginning. No before-images were saved
//! there for the snapshot that the write was to become part of, so the changed
//! bytes are lost to it. Reading the file shows which bytes these are. Until
//! the file can be read, the snapshot cannot.

use crate::budget::{Growth, Share};
use crate::file::{File, Locked};
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
        file.state.borrow_mut().doubt = Some(Doubt {
            snapshot,
            bytes,
            failed,
            _share: share,
        });
        // If it cannot be read now, it is when it matters.
        let _ = self.resolve_doubt(file).await;
    }

    /// Determines the bytes that a failed message has written.
    ///
    /// # Errors
    /// Those of reading the file.
    pub(crate) async fn resolve_doubt(&self, file: &Locked<'_>) -> Result<(), Errno> {
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

    /// As [`Snapfs::resolve_doubt`], for callers without the file's lock,
    /// before a snapshot is read.
    pub(crate) async fn resolve_doubt_of(&self, file: &File) -> Result<(), Errno> {
        self.resolve_doubt(&self.lock(file).await?).await
    }
}
