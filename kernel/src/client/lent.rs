//! The data of writes that a server has not copied: its device reads it from the
//! frames of the process that writes (docs/decisions/0041-lent-data.md).
//!
//! A server may stage a message and answer it long before its device reads the data, so
//! the frames are kept until the whole write is over: its last answer has come, or the
//! server has said that it has forgotten the write. Nothing that becomes of the process
//! or its memory ends that earlier.
use super::State;
use crate::chan::Piece;
use crate::chan::kept::Driver;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ninep::consts::TPUT;

/// Data that is shorter is copied: that costs less.
const LEAST: usize = 1024;
/// Where the number of the write is in a Tput.
const WID: core::ops::Range<usize> = 11..19;

/// The pieces of data of each message, with the number of its write.
#[derive(Default)]
pub struct Kept(Vec<(u64, Vec<Piece>)>);

/// The number of the write that a Tput with that head belongs to.
fn wid(head: &[u8]) -> Option<u64> {
    let bytes = head.get(WID)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

impl State {
    /// See [`crate::chan::Client::lends_data`].
    pub(super) fn lends_data(&mut self, head: &[u8]) -> bool {
        let Some((size, TPUT, _)) = ninep::peek(head) else {
            return false;
        };
        let long = (size as usize).saturating_sub(head.len()) >= LEAST;
        long && wid(head).is_some_and(|wid| self.machine.has_write(wid))
            && self.data.0.try_reserve(1).is_ok()
    }

    /// See [`crate::chan::Client::keep_data`].
    pub(super) fn keep_data(&mut self, head: &[u8], data: Vec<Piece>, borrower: &Arc<Driver>) {
        self.borrower.note(borrower);
        let wid = wid(head).unwrap_or(0);
        self.data.0.push((wid, data));
    }

    /// See [`crate::chan::Client::kept_data`].
    pub(super) fn kept_data(&self, at: u64) -> Option<Piece> {
        let mut pieces = self.data.0.iter().flat_map(|(_, pieces)| pieces);
        let inside = |piece: &&Piece| (piece.pa()..piece.pa() + piece.len as u64).contains(&at);
        let mut piece = pieces.find(inside)?.again();
        let passed = (at - piece.pa()) as usize;
        piece.at += passed;
        piece.len -= passed;
        Some(piece)
    }

    /// Lets go of the data of writes that are over.
    #[inline]
    pub(super) fn end_data(&mut self) {
        if self.data.0.is_empty() {
            return;
        }
        let machine = &self.machine;
        self.data.0.retain(|(wid, _)| machine.has_write(*wid));
    }
}

impl Kept {
    /// All pieces, in parts.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Vec<Piece>> + '_ {
        self.0.drain(..).map(|(_, pieces)| pieces)
    }
}
