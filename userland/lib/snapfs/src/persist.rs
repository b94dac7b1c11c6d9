//! The log in the hidden directory: what must be known again after a restart
//! of this server, while a session with a lease may come back for it.
//!
//! It is open from the first session to the last one's end. What is appended
//! is on its way to the disk when [`Snapfs::append`] returns: it outlives this
//! process, not the machine. A log of another boot is not read.

use crate::file::{Locked, State};
use crate::hidden::InHidden;
use crate::lower::LowerFid;
use crate::record::{Chain, LOST, Record, ZERO};
use crate::session::{Session, SessionId};
use crate::slots::Slots;
use crate::sync::Lock;
use crate::versions::{Noted, Place, Slot};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use ninep::ByteStr;

/// Its name in the hidden directory, and that of one in the making.
pub const LOG: ByteStr<'static> = ByteStr(b"log");
const NEW_LOG: ByteStr<'static> = ByteStr(b"log.new");

/// Epochs promised with one mark, and how many of them must be left before a
/// request that may take some begins.
const EPOCHS: u64 = 4096;
const EPOCHS_LEFT: u64 = 1024;
/// Most of what was saved that one append tells of, about.
const NEWS_MAX: usize = 64;
/// Bytes a log may grow by before it is written anew; then as much as it has.
const GROWTH: u64 = 64 << 10;

/// The log of one server.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Log {
    fid: Cell<Option<LowerFid>>,
    /// The directory that it is in.
    hidden: RefCell<Option<InHidden>>,
    /// Bytes, and the check up to there.
    end: Cell<u64>,
    chain: Cell<Chain>,
    /// Written anew when longer.
    limit: Cell<u64>,
    /// No epoch above was told anybody.
    mark: Cell<u64>,
    writing: Lock,
}

impl Log {
    /// Is what happens to be remembered over a restart?
    pub fn is_open(&self) -> bool {
        self.fid.get().is_some()
    }
}

/// A session's name as numbers.
fn numbers(id: &SessionId) -> [u64; 2] {
    let (low, high) = id.split_at(8);
    [low, high].map(|half| {
        half.iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    })
}

/// And back.
pub fn session_id([low, high]: [u64; 2]) -> SessionId {
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
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

/// What a journal knows, as records: one for each block that was saved, as each
/// has its own check and may be given back alone.
fn push_noted(path: u64, noted: Noted, slots: &Slots, records: &mut Vec<Record>) {
    let (blocks, epoch, place) = match noted {
        Noted::Broken(epoch) => return records.push(Record::Broken { path, epoch }),
        Noted::Saved(blocks, epoch, place) => (blocks, epoch, place),
    };
    let len = blocks.end - blocks.start;
    let (each, count) = match place {
        Place::Saved(_) => (1, len),
        _ => (len, 1),
    };
    for n in 0..count {
        let place = place.after(n);
        let check = match place {
            Place::Saved(slot) => slots.check(slot.index),
            _ => None,
        };
        records.push(Record::Saved {
            path,
            block: blocks.start + n,
            count: each,
            epoch,
            slot: place_number(place),
            check: check.map_or(0, |known| known.check),
        });
    }
}

/// What an append tells of a file, besides the news.
#[derive(Clone, Copy)]
enum Said {
    /// No more.
    News,
    /// It is about to be changed.
    Begun,
    /// How it was left.
    Left,
}

impl State {
    /// What a [`Record::File`] says of the file.
    fn logged_now(&self) -> Option<(u64, u64, (u64, u64))> {
        self.mtime.map(|mtime| (self.epoch, self.size, mtime))
    }

    /// The file as it is; `begun`: but it is being changed.
    fn records(&self, path: u64, begun: bool, records: &mut Vec<Record>) {
        let (epoch, size) = (self.epoch, self.size);
        let mtime = self.mtime.unwrap_or_default();
        records.push(Record::File {
            path,
            epoch,
            size,
            mtime,
        });
        if begun || self.mtime.is_none() {
            records.push(Record::Begun { path });
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// Appends what `build` says, which it is asked when its turn has come.
    async fn append(&self, build: impl FnOnce(&mut Vec<Record>)) -> Result<(), Errno> {
        let log = &self.log;
        let _held = log.writing.exclusive().await;
        if log.fid.get().is_none() && self.sessions.is_empty() {
            // Closed while we waited: nobody will ask.
            return Ok(());
        }
        if log.fid.get().is_none() || log.end.get() > log.limit.get() {
            self.rewrite_log().await?;
        }
        let mut records = Vec::new();
        let freed = self.store.slots.borrow().freed().len();
        for slot in self.store.slots.borrow().freed() {
            let slot = u64::from(*slot);
            records.push(Record::Freed { slot });
        }
        build(&mut records);
        let (mut chain, mut bytes) = (log.chain.get(), Vec::new());
        records
            .iter()
            .for_each(|record| chain.put(record, &mut bytes));
        let fid = log.fid.get().ok_or(Errno::EIO)?;
        let written = self.write_lower(fid, log.end.get(), &bytes).await;
        written.map_err(|(_, errno)| errno)?;
        self.store.slots.borrow_mut().forget_freed(freed);
        log.end.set(log.end.get() + bytes.len() as u64);
        log.chain.set(chain);
        Ok(())
    }

    /// Writes a log of what is known now, and puts it in the place of the old
    /// one. The log's lock must be held.
    pub(crate) async fn rewrite_log(&self) -> Result<(), Errno> {
        let log = &self.log;
        let hidden = self.hidden_dir().await?;
        let made = self.make_log(hidden.dir).await;
        // What was to be appended to the old one went into a new one that failed:
        // it is tried again.
        let old = match made {
            Ok(_) => log.hidden.replace(Some(hidden)),
            Err(_) => {
                log.limit.set(0);
                Some(hidden)
            }
        };
        if let Some(old) = old {
            self.leave_hidden_dir(old).await;
        }
        if let Some(old) = log.fid.replace(Some(made?)) {
            self.clunk_lower(old).await;
        }
        Ok(())
    }

    async fn make_log(&self, dir: LowerFid) -> Result<LowerFid, Errno> {
        let _ = self.unlink_lower(dir, NEW_LOG, 0).await;
        let fid = self.create_lower(dir, NEW_LOG).await?;
        let filled = self.fill_log(dir, fid).await;
        if filled.is_err() {
            let _ = self.unlink_lower(dir, NEW_LOG, 0).await;
        }
        self.keep_if(filled, fid).await
    }

    async fn fill_log(&self, dir: LowerFid, fid: LowerFid) -> Result<(), Errno> {
        let log = &self.log;
        let mark = self.epoch.get() + EPOCHS;
        let (mut chain, mut bytes) = (Chain::default(), Vec::new());
        for record in self.known(mark) {
            chain.put(&record, &mut bytes);
        }
        let written = self.write_lower(fid, 0, &bytes).await;
        written.map_err(|(_, errno)| errno)?;
        self.rename_lower((dir, NEW_LOG), (dir, LOG)).await?;
        let end = bytes.len() as u64;
        log.end.set(end);
        log.limit.set(end * 2 + GROWTH);
        log.chain.set(chain);
        log.mark.set(mark);
        Ok(())
    }

    /// Everything a log has to say now.
    fn known(&self, mark: u64) -> Vec<Record> {
        let mut records = alloc::vec![Record::start(self.boot), Record::Mark { epoch: mark }];
        for id in self.sessions.ids() {
            records.push(Record::Session { id: numbers(&id) });
        }
        let mut slots = self.store.slots.borrow_mut();
        let all_freed = slots.freed().len();
        slots.forget_freed(all_freed);
        for file in self.files.borrow().values() {
            let (path, state) = (file.path, &mut *file.state.borrow_mut());
            if state.snaps == 0 {
                state.logged = None;
                continue;
            }
            state.records(path, state.begun, &mut records);
            state.logged = state.logged_now();
            for noted in state.versions.all() {
                push_noted(path, noted, &slots, &mut records);
            }
            state.versions.forget_news(usize::MAX);
        }
        records
    }

    /// Remembers a session.
    pub(crate) async fn log_session(&self, session: &Session) -> Result<(), Errno> {
        let id = numbers(&session.id);
        self.append(|records| records.push(Record::Session { id }))
            .await
    }

    /// A session is no more, if its client has not begun it anew meanwhile. If
    /// that cannot be noted, its lease runs once more after a restart.
    pub(crate) async fn log_end(&self, session: &Session) {
        if !self.log.is_open() {
            return;
        }
        let ended = self.append(|records| {
            if self.sessions.find(&session.id).is_none() {
                let id = numbers(&session.id);
                records.push(Record::Ended { id });
            }
        });
        let _ = ended.await;
    }

    /// Before epochs are told anybody: none of them will be used again, even
    /// if this server ends now.
    pub(crate) async fn promise_epochs(&self) -> Result<(), Errno> {
        let log = &self.log;
        if !log.is_open() || self.epoch.get() + EPOCHS_LEFT <= log.mark.get() {
            return Ok(());
        }
        let mark = self.epoch.get() + EPOCHS;
        self.append(|records| records.push(Record::Mark { epoch: mark }))
            .await?;
        log.mark.set(log.mark.get().max(mark));
        Ok(())
    }

    /// Before a file with snapshots is changed, or `snapped` by the change: what
    /// was saved of it is remembered, and that the change is our own.
    pub(crate) async fn log_begin(&self, file: &Locked<'_>, snapped: bool) -> Result<(), Errno> {
        if !(self.is_logged(file) || snapped && self.log.is_open()) {
            return Ok(());
        }
        file.state.borrow_mut().begun = true;
        match self.log_file(file, Said::Begun).await {
            Err(errno) if file.state.borrow().precious > 0 => Err(errno),
            // Then a restart takes our change for a stranger's.
            _ => Ok(()),
        }
    }

    /// In the middle of a long rescue: what was saved does not pile up as news.
    pub(crate) async fn log_news(&self, file: &Locked<'_>) -> Result<(), Errno> {
        let many = |state: &State| state.versions.news_len() >= NEWS_MAX;
        if !self.is_logged(file) || !many(&file.state.borrow()) {
            return Ok(());
        }
        self.log_file(file, Said::News).await
    }

    /// After a change: the file is as we left it. If that cannot be noted, a
    /// restart takes what it finds for our own doing.
    pub(crate) async fn log_done(&self, file: &Locked<'_>) {
        if self.is_logged(file) && self.log_file(file, Said::Left).await.is_ok() {
            file.state.borrow_mut().begun = false;
        }
    }

    /// Makes sure that the file as it is now is remembered, so that a change
    /// while we are away is noticed. When this returns nothing may be awaited
    /// before the file has its snapshot.
    pub(crate) async fn log_known(&self, file: &Locked<'_>) -> Result<(), Errno> {
        let logged = {
            let state = file.state.borrow();
            state.logged.is_some() && state.logged == state.logged_now()
        };
        if !self.log.is_open() || logged {
            return Ok(());
        }
        self.log_file(file, Said::Left).await?;
        file.state.borrow_mut().begun = false;
        Ok(())
    }

    fn is_logged(&self, file: &Locked<'_>) -> bool {
        let state = &mut *file.state.borrow_mut();
        let logged = self.log.is_open() && state.snaps > 0;
        if !logged {
            state.versions.forget_news(usize::MAX);
        }
        logged
    }

    async fn log_file(&self, file: &Locked<'_>, said: Said) -> Result<(), Errno> {
        let mut news = 0;
        let mut now = None;
        self.append(|records| {
            let (path, state) = (file.path, file.state.borrow());
            let slots = self.store.slots.borrow();
            for noted in state.versions.news() {
                push_noted(path, noted, &slots, records);
            }
            news = state.versions.news_len();
            match said {
                Said::News => {}
                Said::Begun => records.push(Record::Begun { path }),
                Said::Left => state.records(path, false, records),
            }
            now = state.logged_now();
        })
        .await?;
        let mut state = file.state.borrow_mut();
        state.versions.forget_news(news);
        match said {
            Said::News => {}
            Said::Begun => state.logged = None,
            Said::Left => state.logged = now,
        }
        Ok(())
    }

    /// Removes the log when no session is left that could come back.
    pub(crate) async fn close_idle_log(&self) {
        let log = &self.log;
        let _held = log.writing.exclusive().await;
        if !self.sessions.is_empty() {
            return;
        }
        if let Some(fid) = log.fid.take() {
            let hidden = log.hidden.take();
            if let Some(hidden) = &hidden {
                let _ = self.unlink_lower(hidden.dir, LOG, 0).await;
            }
            self.clunk_lower(fid).await;
            if let Some(hidden) = hidden {
                self.leave_hidden_dir(hidden).await;
            }
        }
    }
}
