//! Staged writes: the messages of each wid, and the results of finished writes,
//! kept for a client that asks again.

use crate::budget::{Budget, Share, reserve};
use crate::commit::{Done, Put};
use crate::conn::{Conn, Entry};
use crate::lent::{Chunk, Lent, LentBytes};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::consts::{NOFID, put};
use ninep::{Changes, PutKind, PutOp, PutOps, Reply, Request};

/// Most bytes one commit moves, where there is memory for it.
pub const WMAX: u64 = 8 << 20;
/// The smallest limit in any case: two messages.
const WMAX_MIN: u64 = 256 << 10;
/// Writes of [`WMAX`] bytes that are staged at a time.
pub const STAGED_MAX: u64 = 4;
/// Most operations one commit has.
const OPS_MAX: usize = 16 << 10;
/// Most writes of one connection that are staged or remembered.
const WRITES_MAX: usize = 256;

/// The least memory for staged writes.
pub const STAGED_MIN: usize = (STAGED_MAX * WMAX_MIN) as usize;

/// Most bytes one commit moves, if `memory` bytes may be staged.
pub fn wmax(memory: usize) -> u64 {
    (memory as u64 / STAGED_MAX).clamp(WMAX_MIN, WMAX)
}

/// The memory of a message, which lives as long as anything holds it.
pub type Held = Rc<dyn AsRef<[u8]>>;

/// Where the bytes of a message are beside the message itself.
#[derive(Clone, Copy)]
pub enum Memory<'m> {
    /// Nowhere: they are gone after it.
    Passing,
    /// In memory that can be held, in which the message has this length: its data are the
    /// last bytes.
    Held(&'m Held, usize),
    /// With the client: the message has none.
    Lent(&'m Lent),
}

/// The bytes that came with one message of a write.
#[cfg_attr(feature = "duplicate", derive(Clone))]
enum Data {
    Copied(Vec<u8>),
    /// They are where they came.
    Held(Held, Range<usize>),
    /// They are with the client; the first so many are the write's.
    Lent(Lent, usize),
}

impl Data {
    fn as_chunk(&self) -> Chunk<'_> {
        match self {
            Data::Copied(bytes) => Chunk::Here(bytes),
            Data::Held(memory, bytes) => {
                let memory: &[u8] = (**memory).as_ref();
                Chunk::Here(memory.get(bytes.clone()).unwrap_or_default())
            }
            Data::Lent(parts, len) => Chunk::Lent(LentBytes::all(parts).get(0..*len)),
        }
    }
}

/// The bytes of a write, in pieces as they came.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    current: Chunk<'a>,
    later: &'a [Data],
}

impl<'a> Bytes<'a> {
    /// In one piece.
    pub fn one(current: Chunk<'a>) -> Bytes<'a> {
        let later = &[];
        Bytes { current, later }
    }

    /// In several.
    fn several(later: &'a [Data]) -> Bytes<'a> {
        let current = Chunk::Here(&[]);
        Bytes { current, later }
    }

    /// Takes bytes from the front, up to `most` that are in one piece; none at
    /// the end.
    pub fn take(&mut self, most: usize) -> Chunk<'a> {
        while self.current.is_empty()
            && let [first, rest @ ..] = self.later
        {
            (self.current, self.later) = (first.as_chunk(), rest);
        }
        let (whole, len) = (self.current, self.current.len());
        self.current = whole.get(most.min(len)..len);
        whole.get(0..most)
    }
}

/// A write of one wid.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub enum Write {
    /// Waiting for its COMMIT.
    Staged(Staged),
    /// Being committed.
    Running,
    /// The result.
    Done(Result<Done, Errno>),
    /// A message of it was refused, so all of it will be: kept until the client
    /// has heard of it, for without this its last message would be done alone.
    Refused(Errno),
}

/// The staged messages of a write.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct Staged {
    fid: u32,
    off: u64,
    ops: Vec<PutOp>,
    /// One piece for each message: nothing is copied when more comes.
    data: Vec<Data>,
    /// Bytes in them.
    len: u64,
    /// One commit takes no more; the write will be short.
    full: bool,
    /// The memory charged for it.
    share: Share,
}

/// A message of a write, without its statements about the whole.
#[derive(Clone, Copy)]
struct Piece<'a> {
    fid: u32,
    off: u64,
    ops: PutOps<'a>,
    data: &'a [u8],
    memory: Memory<'a>,
}

impl<'a> Piece<'a> {
    /// Its bytes.
    fn chunk(&self) -> Chunk<'a> {
        match self.memory {
            Memory::Lent(parts) => Chunk::Lent(LentBytes::all(parts)),
            Memory::Passing | Memory::Held(..) => Chunk::Here(self.data),
        }
    }
}

impl Staged {
    fn new(piece: &Piece<'_>, memory: &Rc<Budget>) -> Staged {
        Staged {
            fid: piece.fid,
            off: piece.off,
            ops: Vec::new(),
            data: Vec::new(),
            len: 0,
            full: false,
            share: Share::of(memory),
        }
    }

    /// Adds a message, as far as one commit of `wmax` bytes can take it.
    fn add(&mut self, piece: &Piece<'_>, wmax: u64) -> Result<(), Errno> {
        if (self.fid, self.off) != (piece.fid, piece.off) {
            return Err(Errno::EINVAL);
        }
        let ops = piece.ops.len();
        let bytes = piece.chunk().len() + ops * size_of::<PutOp>();
        self.share.grow(bytes).map_err(|_| Errno::EAGAIN)?;
        self.ops.try_reserve(ops).map_err(|_| Errno::ENOMEM)?;
        self.data.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let taken = self.add_ops(piece, wmax)?;
        let data = self.take(piece, taken)?;
        self.data.push(data);
        Ok(())
    }

    /// The first `len` bytes of a message's data. Its memory is held where they are half
    /// of it and more, and there is room for all of it; otherwise a client could make
    /// the server hold much for few bytes.
    fn take(&mut self, piece: &Piece<'_>, len: usize) -> Result<Data, Errno> {
        if let Memory::Lent(parts) = piece.memory {
            return Ok(Data::Lent(parts.clone(), len));
        }
        let data = piece.data.get(..len).ok_or(Errno::EINVAL)?;
        if let Memory::Held(memory, end) = piece.memory
            && let Some(start) = end.checked_sub(piece.data.len())
            && let Some(rest) = (**memory).as_ref().len().checked_sub(piece.data.len())
            && len >= rest
            && self.share.grow(rest).is_ok()
        {
            return Ok(Data::Held(memory.clone(), start..start + len));
        }
        let mut copy = Vec::new();
        reserve(&mut copy, len)?;
        copy.extend_from_slice(data);
        Ok(Data::Copied(copy))
    }

    /// Returns the number of bytes that belong to the operations added.
    fn add_ops(&mut self, piece: &Piece<'_>, wmax: u64) -> Result<usize, Errno> {
        let mut at = 0;
        for mut op in piece.ops.iter() {
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
                (at, self.len) = (at + op.len as usize, self.len + op.len);
            }
            self.ops.push(op);
        }
        Ok(at)
    }
}

impl<B: Backing> Snapfs<B> {
    /// `Tput`.
    pub(crate) async fn put<'r>(
        &self,
        conn: &Conn,
        request: &Request<'_>,
        memory: Memory<'_>,
        changed: &'r mut Vec<(u64, u64)>,
    ) -> Result<Reply<'r>, Errno> {
        let &Request::Put {
            fid,
            wid,
            ack,
            flags,
            off,
            into,
            known,
            ops,
            data,
        } = request
        else {
            return Err(Errno::EPROTO);
        };
        let piece = Piece {
            fid,
            off,
            ops,
            data,
            memory,
        };
        conn.writes
            .borrow_mut()
            .retain(|wid, write| *wid >= ack || matches!(write, Write::Staged(_) | Write::Running));
        let done = match self.earlier_result(conn, wid).await {
            Some(done) => done,
            None if flags & put::ABORT != 0 => {
                conn.writes.borrow_mut().remove(&wid);
                return Ok(staged_reply(off));
            }
            None => {
                let staged = self
                    .stage(conn, (wid, flags), &piece)
                    .inspect_err(|errno| give_up(conn, wid, *errno))?;
                if flags & put::COMMIT == 0 {
                    return Ok(staged_reply(off));
                }
                let off = (flags & put::APPEND == 0).then_some(off);
                let into = (into != NOFID).then_some(into);
                let done = self.commit_staged(conn, &piece, staged, (off, into)).await;
                conn.writes.borrow_mut().insert(wid, Write::Done(done));
                conn.done.signal();
                done
            }
        };
        // Since the write was done there may have been others.
        let changes = match conn.get(fid) {
            Ok(Entry::Open(open)) => open.file.state.borrow().changes(known, changed),
            _ => Changes::All,
        };
        done.map(|done| done.reply(changes))
    }

    /// Commits a write, all of which is staged or in its last message.
    async fn commit_staged(
        &self,
        conn: &Conn,
        piece: &Piece<'_>,
        staged: Option<Staged>,
        (off, into): (Option<u64>, Option<u32>),
    ) -> Result<Done, Errno> {
        let alone: Vec<PutOp>;
        let (ops, data) = match &staged {
            Some(staged) => (&staged.ops[..], Bytes::several(&staged.data)),
            None => {
                alone = piece.ops.iter().take(OPS_MAX).collect();
                (&alone[..], Bytes::one(piece.chunk()))
            }
        };
        let put = Put {
            off,
            ops,
            data,
            into,
        };
        match conn.get(piece.fid)? {
            Entry::Open(open) => self.commit(conn, &open, put).await,
            _ => Err(Errno::EBADF),
        }
    }

    /// Stages a message, or for a COMMIT takes out the staged messages and
    /// marks the write as running; `None`: all of it is in this message.
    fn stage(
        &self,
        conn: &Conn,
        (wid, flags): (u64, u32),
        piece: &Piece<'_>,
    ) -> Result<Option<Staged>, Errno> {
        let commit = flags & put::COMMIT != 0;
        let mut writes = conn.writes.borrow_mut();
        let new = !writes.contains_key(&wid);
        if new && conn.refused.get().is_some_and(|last| wid <= last) {
            return Err(Errno::EAGAIN);
        }
        if new && writes.len() >= WRITES_MAX {
            // Results that were not acknowledged; the oldest is the least missed.
            let mut done = writes
                .iter()
                .filter(|(_, write)| matches!(write, Write::Done(_)));
            let oldest = done.next().map(|(wid, _)| *wid).ok_or(Errno::EAGAIN)?;
            writes.remove(&oldest);
        }
        if new && commit {
            writes.insert(wid, Write::Running);
            return Ok(None);
        }
        let first = || Write::Staged(Staged::new(piece, &self.staging));
        let write = writes.entry(wid).or_insert_with(first);
        let Write::Staged(staged) = write else {
            return Err(Errno::EINVAL);
        };
        staged.add(piece, self.wmax)?;
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
fn give_up(conn: &Conn, wid: u64, errno: Errno) {
    let mut writes = conn.writes.borrow_mut();
    if writes.contains_key(&wid) || writes.len() < 2 * WRITES_MAX {
        writes.insert(wid, Write::Refused(errno));
    } else {
        // Only a client that stopped reading replies gets this far behind: no
        // write up to this one is begun any more.
        conn.refused.set(conn.refused.get().max(Some(wid)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_a_write_can_be_refused() {
        let conn = Conn::default();
        for wid in 0..2 * WRITES_MAX as u64 {
            give_up(&conn, wid, Errno::ENOMEM);
        }
        give_up(&conn, u64::MAX, Errno::ENOMEM);
        assert_eq!(conn.refused.get(), Some(u64::MAX));
        assert_eq!(conn.writes.borrow().len(), 2 * WRITES_MAX);
    }
}
