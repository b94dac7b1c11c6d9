//! The log in the hidden directory: what must be known again after a restart
//! of this server, while a session with a lease may come back for it.
//!
//! It is open from the first session to the last one's end. What is appended
//! is on its way to the disk when [`Snapfs::append`] returns: it outlives this
//! process, not the machine. A log of another boot is not read.

use super::record::{Chain, LOST, Record, UNKNOWN, ZERO};
use super::session::{Session, SessionId};
use crate::file::{File, Locked, State, Times};
use crate::hidden::InHidden;
use crate::lower::LowerFid;
use crate::slots::Slots;
use crate::sync::Lock;
use crate::versions::{Noted, Place, Slot};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use ninep::ByteStr;

/// Its name in the hidden directory, and that of a log being written.
pub const LOG: ByteStr<'static> = ByteStr(b"log");
pub(super) const NEW_LOG: ByteStr<'static> = ByteStr(b"log.new");

/// Epochs between the newest one and the high-water mark when that is written,
/// and how many of them must be left before a request that may take some begins.
pub(super) const EPOCHS: u64 = 4096;
const EPOCHS_LEFT: u64 = 1024;
/// The number of saved blocks that one append reports at most, approximately.
const NEWS_MAX: usize = 64;
/// The log of one server.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Log {
    pub(super) tail: Cell<Option<Tail>>,
    /// The directory that it is in.
    pub(super) hidden: RefCell<Option<InHidden>>,
    /// No client was told a later epoch.
    pub(super) high_water: Cell<u64>,
    writing: Lock,
}

/// Where an open log ends.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    pub(super) fid: LowerFid,
    pub(super) end: u64,
    pub(super) chain: Chain,
    /// Written anew when longer.
    pub(super) limit: u64,
}

impl Log {
    /// Returns true if events must be logged.
    pub(super) fn is_open(&self) -> bool {
        self.tail.get().is_some()
    }
}

/// The state in which snapfs left a file, as logged: epoch, size, times.
pub type Logged = (u64, u64, Times);

/// A session's name as two numbers.
pub(super) fn halves(id: SessionId) -> (u64, u64) {
    (id as u64, (id >> 64) as u64)
}

/// A place as a number.
fn place_number(place: Place) -> u64 {
    match place {
        Place::Saved(slot) => u64::from(slot.index),
        Place::Zero => ZERO,
        Place::Lost | Place::Live => LOST,
    }
}

/// And back, but for the slot's generation.
pub fn place_of(number: u64) -> Place {
    match (number, u32::try_from(number)) {
        (ZERO, _) => Place::Zero,
        (_, Ok(index)) => Place::Saved(Slot {
            index,
            generation: 0,
        }),
        _ => Place::Lost,
    }
}

/// Appends the records of an event in a file's past: one for each saved block,
/// because each has its own checksum and may be freed alone.
pub(super) fn push_noted(path: u64, noted: Noted, slots: &Slots, records: &mut Vec<Record>) {
    let (blocks, epoch, place) = match noted {
        Noted::Broken(epoch) => return records.push(Record::Broken { path, epoch }),
        Noted::Saved(blocks, epoch, place) => (blocks, epoch, place),
    };
    let saved = matches!(place, Place::Saved(_));
    let count = if saved { 1 } else { blocks.end - blocks.start };
    for block in blocks.clone().step_by(count as usize) {
        let slot = place_number(place.after(block - blocks.start));
        let check = u32::try_from(slot)
            .ok()
            .and_then(|index| slots.check(index));
        records.push(Record::Saved {
            path,
            block,
            count,
            epoch,
            slot,
            check: check.map_or(0, |known| known.check),
        });
    }
}

/// The statement of an append about a file, besides the news.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// No more.
    News,
    /// It is about to be changed.
    Begun,
    /// How it was left.
    Left,
}

impl State {
    /// What a [`Record::File`] says of the file, if that is known and stays so.
    pub(super) fn logged_now(&self) -> Option<Logged> {
        let times = self.times.filter(|_| self.changing == 0)?;
        Some((self.epoch, self.size, times))
    }

    /// The file as it is, and whether it is being changed.
    pub(super) fn push_records(&self, path: u64, said: Said, records: &mut Vec<Record>) {
        let (epoch, size, times) = (self.epoch, self.size, self.times.unwrap_or_default());
        let (ctime, ctime_nsec) = times.ctime.unwrap_or((UNKNOWN, UNKNOWN));
        records.push(Record::File {
            path,
            epoch,
            size,
            mtime: times.mtime.0,
            mtime_nsec: times.mtime.1,
            ctime,
            ctime_nsec,
        });
        if said == Said::Begun || self.logged_now().is_none() {
            records.push(Record::Begun { path });
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// Appends the records that `build` makes when its turn has come.
    async fn append(&self, build: impl FnOnce(&mut Vec<Record>)) -> Result<(), Errno> {
        let log = &self.durable.log;
        let _held = log.writing.exclusive().await;
        let full = match log.tail.get() {
            // Closed during the wait: no client will reclaim anything.
            None if self.durable.sessions.is_empty() => return Ok(()),
            None => true,
            Some(tail) => tail.end > tail.limit,
        };
        if full {
            Box::pin(self.rewrite_log()).await?;
        }
        let mut tail = log.tail.get().ok_or(Errno::EIO)?;
        let mut records = Vec::new();
        self.push_freed(&mut records);
        let freed = records.len();
        build(&mut records);
        self.write_records(&mut tail, &records).await?;
        self.store.slots.borrow_mut().forget_freed(freed);
        log.tail.set(Some(tail));
        Ok(())
    }

    /// Adds the places in the store that were given back.
    pub(super) fn push_freed(&self, records: &mut Vec<Record>) {
        let slots = self.store.slots.borrow();
        let freed = slots.freed().iter().map(|slot| u64::from(*slot));
        records.extend(freed.map(|slot| Record::Freed { slot }));
    }

    /// Writes records behind those of a log.
    pub(super) async fn write_records(
        &self,
        tail: &mut Tail,
        records: &[Record],
    ) -> Result<(), Errno> {
        let (mut chain, mut bytes) = (tail.chain, Vec::new());
        for record in records {
            chain.put(record, &mut bytes);
        }
        let written = self.write_lower(tail.fid, tail.end, &bytes).await;
        written.map_err(|(_, errno)| errno)?;
        (tail.chain, tail.end) = (chain, tail.end + bytes.len() as u64);
        Ok(())
    }

    /// Logs a session.
    pub(super) async fn log_session(&self, session: &Session) -> Result<(), Errno> {
        let (id_low, id_high) = halves(session.id);
        self.append(|records| records.push(Record::Session { id_low, id_high }))
            .await
    }

    /// A session is no more, if its client has not begun it anew meanwhile. If
    /// that cannot be noted, its lease runs once more after a restart.
    pub(super) async fn log_end(&self, session: &Session) {
        if !self.durable.log.is_open() {
            return;
        }
        let ended = self.append(|records| {
            if self.durable.sessions.find(session.id).is_none() {
                let (id_low, id_high) = halves(session.id);
                records.push(Record::Ended { id_low, id_high });
            }
        });
        let _ = ended.await;
    }

    /// Makes sure, before epochs are told to a client, that none of them is
    /// reused, even if this server ends now.
    pub(crate) async fn promise_epochs(&self) -> Result<(), Errno> {
        let log = &self.durable.log;
        if !log.is_open() || self.epoch.get() + EPOCHS_LEFT <= log.high_water.get() {
            return Ok(());
        }
        let epoch = self.epoch.get() + EPOCHS;
        self.append(|records| records.push(Record::HighWater { epoch }))
            .await?;
        log.high_water.set(log.high_water.get().max(epoch));
        Ok(())
    }

    /// Before a file with snapshots is changed: what was saved of it is remembered,
    /// and that the change is snapfs's own.
    pub(crate) async fn log_begin(&self, file: &Locked<'_>) -> Result<(), Errno> {
        match self.logs_or_drops_news(file) {
            true => self.log_begin_first(file).await,
            false => Ok(()),
        }
    }

    /// The same for a change that may make the first snapshot of the file.
    pub(crate) async fn log_begin_first(&self, file: &Locked<'_>) -> Result<(), Errno> {
        if !self.durable.log.is_open() {
            return Ok(());
        }
        match self.log_file(file, Said::Begun).await {
            Err(errno) if file.state.borrow().precious > 0 => Err(errno),
            // Then a restart takes this change for an external writer's.
            _ => Ok(()),
        }
    }

    /// Before names of a file with snapshots are changed, which moves its ctime.
    pub(crate) async fn log_names(&self, file: &File) {
        if self.logs_or_drops_news(file) {
            // A name is not kept from being removed for that.
            let _ = self.log_file(file, Said::Begun).await;
        }
    }

    /// Logs the blocks saved so far in a long rescue, so that the news do not
    /// pile up.
    pub(crate) async fn log_news(&self, file: &Locked<'_>) -> Result<(), Errno> {
        let many = |state: &State| state.versions.news_len() >= NEWS_MAX;
        if !self.logs_or_drops_news(file) || !many(&file.state.borrow()) {
            return Ok(());
        }
        self.log_file(file, Said::News).await
    }

    /// Logs the state of the file after a change. If that fails, a restart
    /// takes the file's content for the result of snapfs's own change.
    pub(crate) async fn log_done(&self, file: &Locked<'_>) {
        if self.logs_or_drops_news(file) {
            let _ = self.log_file(file, Said::Left).await;
        }
    }

    /// Makes sure that the file as it is now is remembered, so that a change
    /// while this server is away is noticed. When this returns nothing may be
    /// awaited before the file has its snapshot.
    pub(crate) async fn log_known(&self, file: &Locked<'_>) -> Result<(), Errno> {
        let logged = {
            let state = file.state.borrow();
            state.logged.is_some() && state.logged == state.logged_now()
        };
        if !self.durable.log.is_open() || logged {
            return Ok(());
        }
        self.log_file(file, Said::Left).await
    }

    /// Returns true if the file is logged. Drops the news of one that is not: no
    /// restart will ask for them.
    fn logs_or_drops_news(&self, file: &File) -> bool {
        let state = &mut *file.state.borrow_mut();
        let logged = self.durable.log.is_open() && state.snaps > 0;
        if !logged {
            state.versions.forget_news(usize::MAX);
        }
        logged
    }

    async fn log_file(&self, file: &File, said: Said) -> Result<(), Errno> {
        if said == Said::Begun {
            file.state.borrow_mut().begun = true;
        }
        let (mut news, mut now) = (0, None);
        self.append(|records| {
            let (path, state) = (file.path, file.state.borrow());
            let slots = self.store.slots.borrow();
            for noted in state.versions.news() {
                push_noted(path, noted, &slots, records);
            }
            match said {
                Said::News => {}
                Said::Begun => records.push(Record::Begun { path }),
                Said::Left => state.push_records(path, said, records),
            }
            (news, now) = (state.versions.news_len(), state.logged_now());
        })
        .await?;
        let mut state = file.state.borrow_mut();
        state.versions.forget_news(news);
        match said {
            Said::News => {}
            Said::Begun => state.logged = None,
            Said::Left => (state.begun, state.logged) = (now.is_none(), now),
        }
        Ok(())
    }

    /// Removes the log when no session is left that could come back.
    pub(super) async fn close_idle_log(&self) {
        let log = &self.durable.log;
        let _held = log.writing.exclusive().await;
        if !self.durable.sessions.is_empty() {
            return;
        }
        let (tail, hidden) = (log.tail.take(), log.hidden.take());
        if let Some(hidden) = hidden {
            let _ = self.unlink_lower(hidden.dir, LOG, 0).await;
            self.leave_hidden_dir(hidden).await;
        }
        if let Some(tail) = tail {
            self.clunk_lower(tail.fid).await;
        }
    }
}
