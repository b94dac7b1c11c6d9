//! The rescue of blocks about to be overwritten: when it is over, nothing that
//! a snapshot needs is left in them (invariant 10).

use crate::budget::Growth;
use crate::file::{File, Locked, State};
use crate::lower::LowerFid;
use crate::references;
use crate::versions::{ENTRY, Place, RANGE};
use crate::{BLOCK, Backing, Snapfs};
use abi::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::ByteStr;

/// Which file system a file is on, as `statfs` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Its magic number.
    kind: u32,
    /// Its identity; 0 if it has none.
    fsid: u64,
}

/// A rescue of more reads than this is given up if its client does not want it any more.
const RUNS_AT_ONCE: u64 = 16;
/// Blocks saved with one read.
const RESCUE_BLOCKS: u64 = 32;

impl<B: Backing> Snapfs<B> {
    /// Saves the before-images of `bytes`, which are about to be overwritten or
    /// cut off. When this returns, the store has acknowledged every block and
    /// the file's versions name their places. Known zeros are recorded, however
    /// many; the rest is read, a bounded piece at a time.
    ///
    /// # Errors
    /// The backing's, if a snapshot must not lose anything. `ENOMEM`. `EINTR`:
    /// it takes long, and its request was flushed.
    pub(crate) async fn rescue(&self, file: &Locked<'_>, bytes: Range<u64>) -> Result<(), Errno> {
        let end = bytes.end.min(file.state.borrow().size);
        if bytes.start >= end {
            // Past the end of the file, which no snapshot has.
            return Ok(());
        }
        let mut left = references::blocks(&(bytes.start..end));
        self.note_zeros(file, &left).await;
        // Up to here one by one, so that only blocks that cannot be saved are
        // lost.
        let mut single = left.start;
        for runs in 0.. {
            if left.is_empty() {
                break;
            }
            if runs > RUNS_AT_ONCE && self.is_flushed() {
                return Err(Errno::EINTR);
            }
            let most = match left.start < single {
                true => 1,
                false => RESCUE_BLOCKS,
            };
            let run = {
                let versions = &file.state.borrow().versions;
                versions.next_unsaved(left.clone(), most)
            };
            let Some(run) = run else { return Ok(()) };
            match self.rescue_run(file, run.clone()).await {
                Err(errno) if file.state.borrow().precious > 0 => return Err(errno),
                Err(_) if run.end - run.start > 1 => {
                    single = run.end;
                    continue;
                }
                Err(_) => self.lose(file, &run),
                Ok(()) => {}
            }
            left.start = run.end;
            self.log_news(file).await?;
        }
        Ok(())
    }

    /// The blocks are lost to all snapshots that would need them saved, all of
    /// which put up with it.
    fn lose(&self, file: &Locked<'_>, blocks: &Range<u64>) {
        let mut state = file.state.borrow_mut();
        if state.make_room(RANGE, Growth::Save).is_err() {
            // It cannot even be said which: all that is not saved is lost.
            self.lost.set(self.lost.get() + (blocks.end - blocks.start));
            return self.invalidate(&mut state);
        }
        let lost = state.versions.note(blocks.clone(), Place::Lost);
        state.weigh();
        self.lost.set(self.lost.get() + lost);
    }

    async fn rescue_run(&self, file: &Locked<'_>, run: Range<u64>) -> Result<(), Errno> {
        let (reader, size, beside) = {
            let mut state = file.state.borrow_mut();
            state.make_room(RESCUE_BLOCKS as usize * ENTRY, Growth::Save)?;
            let beside = state.versions.place_beside(run.start);
            (state.reader.ok_or(Errno::EIO)?, state.size, beside)
        };
        let at = run.start * BLOCK;
        let len = ((run.end - run.start) * BLOCK) as usize;
        let mut data = Vec::new();
        self.read_lower(reader, at, len, &mut data).await?;
        if (data.len() as u64) < (len as u64).min(size.saturating_sub(at)) {
            // Shorter than it is known to be: an external writer cut it.
            self.invalidate(&mut file.state.borrow_mut());
            return Ok(());
        }
        data.resize(len, 0);
        let saved = self.save_blocks(run.start, beside, &data).await?;
        self.count_rescued(run.end - run.start);
        let mut state = file.state.borrow_mut();
        let mut block = run.start;
        for (place, count) in saved {
            state.versions.save(block..block + count, place);
            block += count;
        }
        state.weigh();
        Ok(())
    }

    fn count_rescued(&self, blocks: u64) {
        self.rescued.set(self.rescued.get() + blocks);
    }

    /// Records the known zeros among the blocks that must be saved.
    async fn note_zeros(&self, file: &Locked<'_>, blocks: &Range<u64>) {
        let reader = {
            let state = file.state.borrow();
            let unsaved = || state.versions.next_unsaved(blocks.clone(), 1).is_some();
            state
                .reader
                .filter(|_| !state.zeros.is_empty() && unsaved())
        };
        let Some(reader) = reader else { return };
        self.verify_zeros(file, reader).await;
        let mut noted = 0;
        let mut state = file.state.borrow_mut();
        let State {
            zeros,
            versions,
            size,
            share,
            ..
        } = &mut *state;
        let mut left = blocks.start * BLOCK..blocks.end * BLOCK;
        while share.check(2 * RANGE, Growth::Save).is_ok()
            && let Some(known) = zeros.next(left.clone())
        {
            left.start = known.end;
            let end = match known.end >= *size {
                // Bytes past the end of the file are in no snapshot.
                true => known.end.div_ceil(BLOCK),
                false => known.end / BLOCK,
            };
            let whole = known.start.div_ceil(BLOCK)..end;
            noted += versions.note(whole, Place::Zero);
            share.set(versions.weight());
        }
        drop(state);
        self.count_rescued(noted);
    }

    /// What is known to be zeros because the lower server says so is used
    /// only if it is right about files of that very file system.
    pub(crate) async fn verify_zeros(&self, file: &File, fid: LowerFid) {
        if !file.state.borrow().zeros.is_doubtful() {
            return;
        }
        let counted = self.is_on_counting(file, fid).await;
        let zeros = &mut file.state.borrow_mut().zeros;
        match counted {
            true => zeros.believe(),
            false => zeros.clear(),
        }
    }

    /// Returns true if the file, which has no blocks, is on a file system known
    /// to count them. A share may contain others, and some of them report 0 for
    /// every file (procfs, sysfs, many FUSE servers).
    async fn is_on_counting(&self, file: &File, fid: LowerFid) -> bool {
        let Some(counting) = self.counting_file_system().await else {
            return false;
        };
        let Ok(own) = self.file_system_of(fid).await else {
            return false;
        };
        // The answer was about this file, if the name still stands for it.
        own == counting && matches!(self.own_attr(file, fid).await, Ok(Some(_)))
    }

    /// The file system of the hidden directory, if it counts the blocks of a
    /// file as soon as they are written; a file is created to find out. A file
    /// system without an identity cannot be told from others.
    async fn counting_file_system(&self) -> Option<FileSystem> {
        if let Some(known) = self.counts_blocks.get() {
            return known;
        }
        let name = self.hidden_name().await.ok()?;
        let dir = name.hidden.dir;
        let counts = self.count_blocks_in(dir, name.text().as_byte_str()).await;
        let own = self.file_system_of(dir).await;
        self.remove_hidden(name).await;
        let counting = own.ok().filter(|own| counts == Ok(true) && own.fsid != 0);
        if counts.is_ok() {
            self.counts_blocks.set(Some(counting));
        }
        counting
    }

    async fn file_system_of(&self, fid: LowerFid) -> Result<FileSystem, Errno> {
        let stat = self.statfs_lower(fid).await?;
        Ok(FileSystem {
            kind: stat.kind,
            fsid: stat.fsid,
        })
    }

    async fn count_blocks_in(&self, dir: LowerFid, name: ByteStr<'_>) -> Result<bool, Errno> {
        let fid = self.create_lower(dir, name).await?;
        let written = self.write_lower(fid, 0, &[1; BLOCK as usize]).await;
        let attr = match written {
            Ok(()) => self.attr_lower(fid).await,
            Err((_, errno)) => Err(errno),
        };
        self.clunk_lower(fid).await;
        Ok(attr?.blocks > 0)
    }
}
