//! The short way of a page fault: a `Tread` of one reference of a snapshot whose
//! bytes are in the live file. It is one read below, so it needs no future: what
//! is known of it waits in a [`Fill`] for the answer.

use crate::conn::{Conn, Entry, Turn};
use crate::options::Check;
use crate::serve::{gathered, whole};
use crate::snap::Snapshot;
use crate::{Answer, Backing, ConnId, Payload, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use core::ops::Range;
use ninep::consts::TREAD;
use ninep::{Reply, Request, decode_request, peek};

/// A read from the lower server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowerRead {
    /// The lower fid.
    pub fid: u32,
    /// Offset in bytes.
    pub off: u64,
    /// Bytes, at most [`Backing::iounit`].
    pub count: u32,
}

/// The data of a [`LowerRead`].
#[derive(Debug)]
pub enum Filled<B> {
    /// In a buffer.
    Here(B),
    /// That many bytes, where the client's request wants them.
    There(usize),
}

/// A `Tread` that waits for the lower server's answer.
pub struct Fill {
    conn: Rc<Conn>,
    snapshot: Rc<Snapshot>,
    tag: u16,
    turn: Turn,
    fid: u32,
    bytes: Range<u64>,
    /// Of the file's versions, when it began.
    changes: u64,
}

impl<B: Backing> Snapfs<B> {
    /// Begins to serve a message as [`Snapfs::handle`] does, if it is such a
    /// `Tread` and `submit` returns true: it was able to submit the read, whose
    /// result must be given to [`Snapfs::end_fill`]. `None`: nothing was done.
    #[inline]
    pub fn begin_fill(
        &self,
        conn: ConnId,
        msg: &[u8],
        submit: impl FnOnce(&LowerRead) -> bool,
    ) -> Option<Fill> {
        peek(msg).filter(|(_, kind, _)| *kind == TREAD)?;
        let Ok((tag, Request::Read { fid, offset, count })) = decode_request(msg) else {
            return None;
        };
        let conn = self.conns.borrow().get(&conn)?.clone();
        if conn.versions.get() > 0 {
            return None;
        }
        let snapshot = match conn.fids.borrow().get(&fid)? {
            Entry::Snap(snapshot) => snapshot.clone(),
            _ => return None,
        };
        let count = count.min(self.iounit(&conn));
        let (bytes, read, changes) = {
            let state = snapshot.file.state.borrow();
            let bytes = snapshot.one_live(offset..offset.checked_add(count.into())?, &state)?;
            let read = LowerRead {
                fid: state.reader?,
                off: offset,
                count: (bytes.end - bytes.start) as u32,
            };
            (bytes, read, state.versions.changes())
        };
        if snapshot.options.check == Check::Always || !submit(&read) {
            return None;
        }
        let turn = conn.begin(tag);
        Some(Fill {
            conn,
            snapshot,
            tag,
            turn,
            fid,
            bytes,
            changes,
        })
    }

    /// The answer, now that the read is over.
    ///
    /// # Errors
    /// The bytes may not be those of the snapshot: [`Snapfs::read_again`] serves it.
    #[inline]
    pub fn end_fill(
        &self,
        fill: Fill,
        read: Result<Filled<B::Buf>, Errno>,
    ) -> Result<Answer<B::Buf>, Fill> {
        let changes = fill.snapshot.file.state.borrow().versions.changes();
        if changes != fill.changes && !fill.snapshot.is_live(&fill.bytes) {
            return Err(fill);
        }
        let most = (fill.bytes.end - fill.bytes.start) as usize;
        let answer = match read {
            Ok(data) => {
                let data = match data {
                    Filled::Here(buf) => {
                        let len = buf.as_ref().len().min(most);
                        Payload::Buf(buf, 0..len)
                    }
                    Filled::There(len) => Payload::There(len.min(most)),
                };
                if data.len() == 0 {
                    return Err(fill);
                }
                gathered(fill.tag, &Reply::Read { data: &[] }, data)
            }
            Err(errno) => whole(fill.tag, &Reply::Error(errno)),
        };
        fill.conn.end(fill.turn);
        Ok(answer)
    }

    /// Serves a `Tread` in the way that waits.
    pub async fn read_again(&self, fill: Fill) -> Answer<B::Buf> {
        let (off, count) = (fill.bytes.start, fill.bytes.end - fill.bytes.start);
        let request = (fill.fid, off, count as u32);
        let answer = self
            .answer_read(&fill.conn, (fill.tag, fill.turn), request)
            .await;
        fill.conn.end(fill.turn);
        answer
    }
}
