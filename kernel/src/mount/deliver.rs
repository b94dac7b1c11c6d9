//! Taking replies from a server, in the server's own system call.
//!
//! The server gathers a reply from its memory; the payload of an Rread goes
//! from there straight into the frames that wait for it. Nothing a server
//! sends is believed: sizes, tags and counts are checked, and what does not
//! fit is an error for the one who waits, or dropped.
use super::{BYTES_IN, MESSAGES, Mount, Progress, TAGS, rpc::Answer, snapshots};
use crate::chan::{Piece, room};
use crate::proc::Process;
use crate::seg::user::{self, Gather};
use abi::Errno;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use ninep::consts::{NOTAG, READ_HEAD, RREAD, RREADDIR};

impl Mount {
    /// Takes one message from `server`. An error is the server's fault.
    pub fn deliver(&self, server: &Process, message: &Gather) -> Result<(), Errno> {
        let mut head = [0; READ_HEAD];
        let total = message.len();
        let known = user::gather(&server.space, message, 0, &mut head)?;
        let head = head.get(..known).unwrap_or(&[]);
        let (size, kind, wire_tag) = ninep::peek(head).ok_or(Errno::EPROTO)?;
        if u64::from(size) != total {
            return Err(Errno::EPROTO);
        }
        let tag = if wire_tag == NOTAG {
            0
        } else {
            usize::from(wire_tag)
        };
        let sink = self.claim(tag).ok_or(Errno::EPROTO)?;
        let answer = if kind == RREAD && !sink.is_empty() {
            sink_data(server, message, head, &sink)
        } else {
            copy_whole(server, message)
        };
        // Whatever went wrong here is the server's doing; its caller gets
        // one error for all of it.
        let answer = answer.map_err(|_| Errno::EPROTO);
        MESSAGES.fetch_add(1, Relaxed);
        if kind == RREAD || kind == RREADDIR {
            BYTES_IN.fetch_add(total.saturating_sub(READ_HEAD as u64), Relaxed);
        }
        drop(sink);
        let after = self.state.lock().answer(tag, answer);
        if let Some(what) = after.trimmed {
            snapshots::trimmed(what);
        }
        if let Some(fid) = after.clunk {
            self.clunk_later(fid);
        }
        self.give_back();
        Ok(())
    }

    /// The sink of a request in flight; it stays in flight meanwhile.
    fn claim(&self, tag: usize) -> Option<Vec<Piece>> {
        let mut state = self.state.lock();
        if tag >= TAGS {
            return None;
        }
        let pending = state.pending.get_mut(tag)?;
        matches!(pending.progress, Progress::Sent).then(|| core::mem::take(&mut pending.sink))
    }
}

/// Copies the data of an Rread into the frames that wait for it.
fn sink_data(
    server: &Process,
    message: &Gather,
    head: &[u8],
    sink: &[Piece],
) -> Result<Answer, Errno> {
    let room: usize = sink.iter().map(|p| p.len).sum();
    let data = message.len() - READ_HEAD as u64;
    if ninep::payload_start(head) != Some(READ_HEAD) || data > room as u64 {
        return Err(Errno::EPROTO);
    }
    let mut left = data as usize;
    let mut at = READ_HEAD as u64;
    for piece in sink {
        let take = piece.len.min(left);
        user::gather_to_frame(
            &server.space,
            message,
            at,
            (piece.frame.frame(), piece.at),
            take,
        )?;
        at += take as u64;
        left -= take;
    }
    Ok(Answer {
        bytes: Vec::new(),
        sunk: data as usize,
    })
}

fn copy_whole(server: &Process, message: &Gather) -> Result<Answer, Errno> {
    let len = message.len() as usize;
    let mut bytes = room(len)?;
    bytes.resize(len, 0);
    user::gather(&server.space, message, 0, &mut bytes)?;
    Ok(Answer { bytes, sunk: 0 })
}
