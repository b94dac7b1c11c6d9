//! Writes in the making: what the messages of one wid staged, and the results
//! of those that are done, kept for a client that asks again.

use crate::budget::{Budget, Share, reserve};
use crate::commit::{Done, Put};
use crate::conn::{Conn, Entry};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use ninep::consts::{NOFID, put};
use ninep::{Changes, PutKind, PutOp, PutOps, Reply};

/// Most bytes one commit moves, where there is memory for it.
pub const WMAX: u64 = 8 << 20;
/// Least, whatever there is: two messages.
const WMAX_MIN: u64 = 256 << 10;
/// Writes of [`WMAX`] bytes that are staged at a time.
pub const STAGED_MAX: u64 = 4;
/// Most operations one commit has.
const OPS_MAX: usize = 16 << 10;
/// Most writes of one connection that are staged or remembered.
const WRITES_MAX: usize = 256;

/// Least memory that writes in the making need.
pub const STAGED_MIN: usize = (STAGED_MAX * WMAX_MIN) as usize;

/// Most bytes one commit moves, if `memory` bytes may be staged.
pub fn wmax(memory: usize) -> u64 {
    (memory as u64 / STAGED_MAX).clamp(WMAX_MIN, WMAX)
}

/// The bytes of a write, in pieces as they came.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    current: &'a [u8],
    later: &'a [Vec<u8>],
}

impl<'a> Bytes<'a> {
    /// In one piece.
    pub fn one(current: &'a [u8]) -> Bytes<'a> {
        let later = &[];
        Bytes { current, later }
    }

    /// In several.
    fn several(later: &'a [Vec<u8>]) -> Bytes<'a> {
        let current = &[];
        Bytes { current, later }
    }

    /// Takes bytes from the front, up to `most` that are in one piece; none at
    /// the end.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        while self.current.is_empty()
            && let [first, rest @ ..] = self.later
        {
            (self.current, self.later) = (first, rest);
        }
        let (now, left) = self.current.split_at(self.current.len().min(most));
        self.current = left;
        now
    }
}

/// A write of one wid.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub enum Write {
    /// Waiting for its COMMIT.
    Staged(Staged),
    /// Being committed.
    Running,
    /// What became of it.
    Done(Result<Done, Errno>),
    /// A message of it was refused, so all of it will be: kept until the client
    /// has heard of it, for without this its last message would be done alone.
    Refused(Errno),
}

/// What was staged.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct Staged {
    fid: u32,
    off: u64,
    ops: Vec<PutOp>,
    /// One piece for each message: nothing is copied when more comes.
    data: Vec<Vec<u8>>,
    /// Bytes in them.
    len: u64,
    /// One commit takes no more; the write will be short.
    full: bool,
    /// What it takes of the memory for all.
    share: Share,
}

/// A `Tput`.
pub struct Message<'a> {
    pub fid: u32,
    pub wid: u64,
    pub ack: u64,
    pub flags: u32,
    pub off: u64,
    pub into: u32,
    pub known: u64,
    pub ops: PutOps<'a>,
    pub data: &'a [u8],
}

impl Staged {
    fn new(message: &Message<'_>, memory: &Rc<Budget>) -> Staged {
        Staged {
            fid: message.fid,
            off: message.off,
            ops: Vec::new(),
            data: Vec::new(),
            len: 0,
            full: false,
            share: Share::of(memory),
        }
    }

    /// Adds a message, as far as one commit of `wmax` bytes can take it.
    fn add(&mut self, message: &Message<'_>, wmax: u64) -> Result<(), Errno> {
        if (self.fid, self.off) != (message.fid, message.off) {
            return Err(Errno::EINVAL);
        }
        let bytes = message.data.len() + message.ops.len() * size_of::<PutOp>();
        self.share.grow(bytes).map_err(|_| Errno::EAGAIN)?;
        let mut data = Vec::new();
        reserve(&mut data, message.data.len())?;
        let ops = message.ops.len();
        self.ops.try_reserve(ops).map_err(|_| Errno::ENOMEM)?;
        self.data.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let added = self.add_ops(message, wmax, &mut data);
        self.data.push(data);
        added
    }

    fn add_ops(
        &mut self,
        message: &Message<'_>,
        wmax: u64,
        data: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let mut at = 0;
        for mut op in message.ops.iter() {
            let end = self.ops.last().map_or(0, |last| last.off + last.len);
            if op.off < end {
                return Err(Errno::EINVAL);
            }
            let room = wmax - self.len;
            self.full |= self.ops.len() == OPS_MAX || op.kind == PutKind::Data && room == 0;
            if self.full {
                break;
            }
            if op.kind == PutKind::Data {
                self.full |= op.len > room;
                op.len = op.len.min(room);
                let bytes = message.data.get(at..at + op.len as usize);
                data.extend_from_slice(bytes.ok_or(Errno::EINVAL)?);
                (at, self.len) = (at + op.len as usize, self.len + op.len);
            }
            self.ops.push(op);
        }
        Ok(())
    }
}

impl<B: Backing> Snapfs<B> {
    /// `Tput`.
    pub(crate) async fn put<'r>(
        &self,
        conn: &Conn,
        message: Message<'_>,
        changed: &'r mut Vec<(u64, u64)>,
    ) -> Result<Reply<'r>, Errno> {
        let ack = message.ack;
        conn.writes
            .borrow_mut()
            .retain(|wid, write| *wid >= ack || matches!(write, Write::Staged(_) | Write::Running));
        if let Some(done) = self.earlier_result(conn, message.wid).await {
            return done.map(|done| done.reply(changes(conn, &message, changed)));
        }
        if message.flags & put::ABORT != 0 {
            conn.writes.borrow_mut().remove(&message.wid);
            return Ok(staged_reply(message.off));
        }
        let staged = self
            .stage(conn, &message)
            .inspect_err(|errno| give_up(conn, &message, *errno))?;
        if message.flags & put::COMMIT == 0 {
            return Ok(staged_reply(message.off));
        }
        let ops: Vec<PutOp>;
        let (ops, data) = match &staged {
            Some(staged) => (&staged.ops[..], Bytes::several(&staged.data)),
            None => {
                ops = message.ops.iter().take(OPS_MAX).collect();
                (&ops[..], Bytes::one(message.data))
            }
        };
        let append = message.flags & put::APPEND != 0;
        let off = if append { None } else { Some(message.off) };
        let into = (message.into != NOFID).then_some(message.into);
        let result = match conn.get(message.fid) {
            Ok(Entry::Open(open)) => {
                self.commit(
                    conn,
                    &open,
                    Put {
                        off,
                        ops,
                        data,
                        into,
                    },
                )
                .await
            }
            Ok(_) => Err(Errno::EBADF),
            Err(errno) => Err(errno),
        };
        conn.writes
            .borrow_mut()
            .insert(message.wid, Write::Done(result));
        conn.done.ring();
        result.map(|done| done.reply(changes(conn, &message, changed)))
    }

    /// Stages a message, or for a COMMIT takes out what was staged with it and
    /// marks the write as running; `None`: it is all in this message.
    fn stage(&self, conn: &Conn, message: &Message<'_>) -> Result<Option<Staged>, Errno> {
        let mut writes = conn.writes.borrow_mut();
        let commit = message.flags & put::COMMIT != 0;
        let new = !writes.contains_key(&message.wid);
        if new && message.wid < conn.refused.get() {
            return Err(Errno::EAGAIN);
        }
        if new && writes.len() >= WRITES_MAX {
            // Results that nobody acknowledged; the oldest is the least missed.
            let oldest = writes
                .iter()
                .find(|(_, write)| matches!(write, Write::Done(_)));
            let oldest = oldest.map(|(wid, _)| *wid).ok_or(Errno::EAGAIN)?;
            writes.remove(&oldest);
        }
        if new && commit {
            writes.insert(message.wid, Write::Running);
            return Ok(None);
        }
        let first = || Write::Staged(Staged::new(message, &self.staging));
        let write = writes.entry(message.wid).or_insert_with(first);
        let Write::Staged(staged) = write else {
            return Err(Errno::EINVAL);
        };
        staged.add(message, self.wmax)?;
        if !commit {
            return Ok(None);
        }
        match core::mem::replace(write, Write::Running) {
            Write::Staged(staged) => Ok(Some(staged)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The result of a write that was done before, or is being done.
    async fn earlier_result(&self, conn: &Conn, wid: u64) -> Option<Result<Done, Errno>> {
        loop {
            match conn.writes.borrow().get(&wid) {
                Some(Write::Done(result)) => return Some(*result),
                Some(Write::Refused(errno)) => return Some(Err(*errno)),
                Some(Write::Running) => {}
                _ => return None,
            }
            conn.done.wait().await;
        }
    }
}

/// A message of a write was refused: the whole write will be, or it would have
/// a hole.
fn give_up(conn: &Conn, message: &Message<'_>, errno: Errno) {
    let mut writes = conn.writes.borrow_mut();
    if writes.contains_key(&message.wid) || writes.len() < 2 * WRITES_MAX {
        writes.insert(message.wid, Write::Refused(errno));
    } else {
        // Only a client that reads no replies gets so far: no write up to this
        // one is begun any more.
        conn.refused.set(conn.refused.get().max(message.wid + 1));
    }
}

/// What changed in the file since the client knew it; since the write was done,
/// too, if that was some time ago.
fn changes<'c>(
    conn: &Conn,
    message: &Message<'_>,
    changed: &'c mut Vec<(u64, u64)>,
) -> Changes<'c> {
    match conn.get(message.fid) {
        Ok(Entry::Open(open)) => open.file.state.borrow().changes(message.known, changed),
        _ => Changes::All,
    }
}

/// The answer to a message that is only staged.
fn staged_reply(off: u64) -> Reply<'static> {
    Reply::Put {
        off,
        count: 0,
        epoch: 0,
        assoc: false,
        changes: Changes::NONE,
    }
}
