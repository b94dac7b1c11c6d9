//! The messages to the file servers, and their answers.

use super::World;
use crate::footprint::Object;
use crate::server::{File, News, Servers, Staged};
use abi::Errno;
use std::ops::Range;
use vm::{Origin, PutReply, SnapId, Snapped};

/// A message on its way, and the frames with its data if they were not copied.
pub(crate) struct Sent {
    pub(crate) staged: Staged,
    pub(crate) frames: Vec<vm::FrameSlice>,
}

/// The answer to a commit.
pub(crate) struct Committed {
    pub(crate) reply: PutReply,
    /// The snapshot with the written ranges, and their place.
    pub(crate) into: Option<(u32, Range<u64>)>,
    pub(crate) news: News,
}

impl<S: Servers> World<S> {
    /// Trims a snapshot at its server.
    pub(crate) fn trim(&mut self, snap: SnapId, ranges: &[Range<u64>]) {
        assert!(!ranges.is_empty() && ranges.len() <= vm::TRIM_MAX);
        assert!(ranges.iter().all(|r| r.start < r.end));
        assert!(ranges.is_sorted_by(|a, b| a.end < b.start));
        self.trace(|t| {
            t.uses(Object::Snapshot(snap.0));
            t.changes(Object::Server);
        });
        // The answer is not needed.
        if self.message().is_ok() {
            self.trims += 1;
            self.servers.trim(snap.0, ranges);
        }
    }

    /// Takes or grows a snapshot; returns the other statements of the answer
    /// too.
    pub(crate) fn snap(
        &mut self,
        file: File,
        off: u64,
        count: u64,
        grow: Option<SnapId>,
    ) -> Result<(Snapped, News), Errno> {
        self.trace(|t| t.changes(Object::Server));
        self.message()?;
        self.room_for_snapshot()?;
        let snap = match grow {
            Some(snap) => {
                assert_eq!(self.held(snap).file, file);
                snap
            }
            None => self.new_handle(file),
        };
        let known = self.frames.borrow().known(self.key(file));
        match self.servers.snap(file, snap.0, off..off + count, known) {
            Ok((count, news)) => Ok((Snapped { snap, count }, news)),
            Err(error) => {
                if grow.is_none() {
                    self.drop_handle(snap);
                }
                Err(error)
            }
        }
    }

    /// Bytes from a server.
    pub(crate) fn fetch(
        &mut self,
        from: Origin<File>,
        off: u64,
        len: usize,
    ) -> Result<Vec<u8>, Errno> {
        self.trace(|t| t.uses(Object::Server));
        self.message()?;
        assert!(
            len as u64
                <= self
                    .config
                    .iounit
                    .max(self.config.run.max(1) as u64 * vm::PAGE)
        );
        let mut bytes = vec![0; len];
        let got = match from {
            Origin::Snap(snap) => self.servers.read_snap(snap.0, off, &mut bytes)?,
            Origin::Live(file) => self.servers.read_live(file, off, &mut bytes)?,
        };
        self.bytes_in += got as u64;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// A message of a write leaves: at once to its server, or when its writer
    /// waits for the answer.
    pub(crate) fn send(&mut self, mut sent: Sent) {
        let wid = sent.staged.wid;
        sent.staged.known = self.frames.borrow().known(self.key(sent.staged.file));
        if !self.config.keeps_frames {
            self.copy_data(&mut sent);
            if !sent.staged.commit {
                self.deliver(wid, sent);
                return;
            }
        }
        self.sent.entry(wid).or_default().0.push_back(sent);
    }

    /// Hands the write's next message to its server; its answer, if it is one
    /// to the commit. `None` if there is none.
    pub(crate) fn deliver_next(&mut self, wid: u64) -> Option<Option<Committed>> {
        let next = self.sent.entry(wid).or_default().0.pop_front()?;
        Some(self.deliver(wid, next))
    }

    /// The first error that a write's messages met; the write is over.
    pub(crate) fn first_error(&mut self, wid: u64) -> Option<Errno> {
        self.sent.remove(&wid).and_then(|(_, error)| error)
    }

    /// Forgets a write whose commit was not sent.
    pub(crate) fn abort(&mut self, file: File, wid: u64) {
        for mut sent in self.sent.remove(&wid).unwrap_or_default().0 {
            self.copy_data(&mut sent);
        }
        self.trace(|t| t.changes(Object::Server));
        self.servers.abort(file, wid);
    }

    /// Hands a message to its server.
    fn deliver(&mut self, wid: u64, mut sent: Sent) -> Option<Committed> {
        self.trace(|t| t.changes(Object::Server));
        self.copy_data(&mut sent);
        self.bytes_out += sent.staged.data.len() as u64;
        let failed = self.message().err();
        let earlier = self.sent.get(&wid).and_then(|(_, error)| *error);
        let answer = match failed.or(earlier) {
            Some(error) => {
                if sent.staged.commit {
                    self.servers.abort(sent.staged.file, wid);
                }
                Err(error)
            }
            None => self.servers.put(&sent.staged),
        };
        let entry = self.sent.entry(wid).or_default();
        match answer {
            Ok((reply, news)) => {
                let into = sent.staged.into.filter(|_| reply.assoc);
                let into = into.map(|snap| (snap, reply.off..reply.off + reply.count));
                return Some(Committed { reply, into, news });
            }
            Err(error) => entry.1 = entry.1.or(Some(error)),
        }
        None
    }

    /// Copies the bytes kept in frames into the message, and releases the
    /// frames.
    fn copy_data(&mut self, sent: &mut Sent) {
        let mut frames = self.frames.borrow_mut();
        for gather in sent.frames.drain(..) {
            let range = gather.at as usize..(gather.at + gather.len) as usize;
            sent.staged
                .data
                .extend_from_slice(&frames.content(gather.frame)[range]);
            frames.release(gather.frame);
        }
    }
}
