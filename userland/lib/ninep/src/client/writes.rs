//! Writes of several messages. The server stages all but the last, and their
//! replies say only whether it did: they are consumed on arrival, and the first
//! error is kept here. So a writer holds no tag while it waits for something else.
use abi::Errno;
use alloc::vec::Vec;

/// A write that the server may have a part of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Write<W> {
    wid: u64,
    /// Parts without a reply.
    unanswered: usize,
    /// The first error among the replies.
    failed: Option<Errno>,
    /// Woken with the last reply.
    waiter: Option<W>,
    /// A message of it was sent, so that the server may know it.
    begun: bool,
    fate: Fate,
}

/// The state of a write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fate {
    /// Its result is wanted.
    Open,
    /// The server must be told to discard it; the fid of its file.
    Unwanted(u32),
    /// The server has been told.
    Told(u32),
}

/// All writes of a connection. They are few: one for each process that writes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Writes<W> {
    writes: Vec<Write<W>>,
    /// The last number given out.
    last: u64,
    /// The number of writes that the server must still be told to discard.
    unwanted: usize,
}

impl<W> Writes<W> {
    pub const NONE: Self = Writes {
        writes: Vec::new(),
        last: 0,
        unwanted: 0,
    };

    /// A new write; its number, which no other write of the connection has.
    pub fn begin(&mut self) -> Result<u64, Errno> {
        self.writes.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.last += 1;
        self.writes.push(Write {
            wid: self.last,
            unanswered: 0,
            failed: None,
            waiter: None,
            begun: false,
            fate: Fate::Open,
        });
        Ok(self.last)
    }

    fn find(&mut self, wid: u64) -> Option<&mut Write<W>> {
        self.writes.iter_mut().find(|write| write.wid == wid)
    }

    /// Returns true if it is not over.
    pub fn has(&self, wid: u64) -> bool {
        self.writes.iter().any(|write| write.wid == wid)
    }

    /// Results of writes with a smaller number are not asked for again.
    pub fn oldest(&self) -> u64 {
        let wids = self.writes.iter().map(|write| write.wid);
        wids.min().unwrap_or(self.last + 1)
    }

    /// A message of the write is sent.
    pub fn begun(&mut self, wid: u64) {
        if let Some(write) = self.find(wid) {
            write.begun = true;
        }
    }

    /// A part was sent.
    pub fn sent(&mut self, wid: u64) {
        if let Some(write) = self.find(wid) {
            write.unanswered += 1;
        }
    }

    /// A part was not sent after all.
    pub fn unsent(&mut self, wid: u64) {
        if let Some(write) = self.find(wid) {
            write.unanswered -= 1;
        }
    }

    /// A part has its reply; whom to wake.
    pub fn answered(&mut self, wid: u64, status: Result<(), Errno>) -> Option<W> {
        let write = self.find(wid)?;
        write.unanswered -= 1;
        write.failed = write.failed.or(status.err());
        match write.unanswered {
            0 => write.waiter.take(),
            _ => None,
        }
    }

    /// Whether all parts so far were staged.
    pub fn status(&mut self, wid: u64) -> Result<(), Errno> {
        self.find(wid).and_then(|w| w.failed).map_or(Ok(()), Err)
    }

    /// The status once all parts have a reply; until then `None`, and the last
    /// reply wakes `waiter`.
    pub fn poll(&mut self, wid: u64, waiter: W) -> Option<Result<(), Errno>> {
        let Some(write) = self.find(wid) else {
            return Some(Err(Errno::EINVAL));
        };
        if write.unanswered > 0 {
            write.waiter = Some(waiter);
            return None;
        }
        Some(write.failed.map_or(Ok(()), Err))
    }

    /// The result is known, or the server has forgotten the write.
    pub fn end(&mut self, wid: u64) {
        self.writes.retain(|write| write.wid != wid);
    }

    /// Drops all notices, because the server is gone.
    pub fn end_unwanted(&mut self) {
        self.writes.retain(|write| write.fate == Fate::Open);
        self.unwanted = 0;
    }

    /// The result is not wanted, and nothing waits for it. A write that the server
    /// never heard of ends at once.
    pub fn give_up(&mut self, wid: u64, fid: u32) {
        match self.find(wid) {
            Some(write) if write.begun => {
                write.fate = Fate::Unwanted(fid);
                write.waiter = None;
                self.unwanted += 1;
            }
            _ => self.end(wid),
        }
    }

    /// Returns true if the server must be told to discard a write.
    #[inline]
    pub const fn has_unwanted(&self) -> bool {
        self.unwanted > 0
    }

    /// Number and fid of such a write.
    pub fn next_unwanted(&self) -> Option<(u64, u32)> {
        if !self.has_unwanted() {
            return None;
        }
        self.writes.iter().find_map(|write| match write.fate {
            Fate::Unwanted(fid) => Some((write.wid, fid)),
            Fate::Open | Fate::Told(_) => None,
        })
    }

    /// Records that the server is told to discard the write.
    pub fn tell(&mut self, wid: u64) {
        if let Some(write) = self.find(wid)
            && let Fate::Unwanted(fid) = write.fate
        {
            write.fate = Fate::Told(fid);
            self.unwanted -= 1;
        }
    }

    /// Records that the server could not be told.
    pub fn untell(&mut self, wid: u64) {
        if let Some(write) = self.find(wid)
            && let Fate::Told(fid) = write.fate
        {
            write.fate = Fate::Unwanted(fid);
            self.unwanted += 1;
        }
    }
}
