//! One write at a server with snapshots: the Tputs of one wid, in flight
//! together, and the answer to the last, which commits them.
use super::Mount;
use super::rpc::{Answer, Sent};
use super::snapshots::{self, News};
use crate::chan::Piece;
use crate::sched::relief;
use abi::Errno;
use alloc::vec::Vec;
use ninep::consts::{NOFID, put as flag};
use ninep::{List, PutOp, Reply, Request};
use vm::{PutReply, SnapId};

/// Whether a message ends the write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// More follow.
    Staged,
    /// All that was staged takes effect.
    Commit,
}

/// What one message says beside its operations.
#[derive(Clone, Copy)]
pub struct Target {
    /// The open file.
    pub fid: u32,
    /// The path of its qid.
    pub path: u64,
    /// The base offset, the same in all messages of the write.
    pub off: u64,
    /// The server picks the base: the end of the file.
    pub append: bool,
    /// The snapshot that what is written becomes.
    pub into: Option<SnapId>,
}

/// A write in progress. To be ended by [`Self::wait`] or [`Self::abort`].
pub struct Write {
    wid: u64,
    /// Messages not yet waited for, in order.
    sent: Vec<Sent>,
    /// The first error among answers already taken.
    failed: Option<Errno>,
    /// What the commit was sent to, and the epoch that it named.
    commit: Option<(Target, u64)>,
    /// It is one of those that have something staged.
    staging: bool,
}

impl Write {
    /// Under a wid that no other write of the connection has.
    pub fn begin(mount: &Mount) -> Result<Write, Errno> {
        Ok(Write {
            wid: relief::again(|| mount.new_wid())?,
            sent: Vec::new(),
            failed: None,
            commit: None,
            staging: false,
        })
    }

    /// Its number.
    pub fn wid(&self) -> u64 {
        self.wid
    }

    /// Sends a Tput with `body` as the data of its operations. From the first
    /// that is staged on the writer waits for no other server: few may have
    /// something staged at a time.
    pub fn put(
        &mut self,
        mount: &Mount,
        target: Target,
        stage: Stage,
        ops: &[PutOp],
        body: Vec<Piece>,
    ) -> Result<(), Errno> {
        let (mut flags, mut known) = (0, 0);
        if stage == Stage::Staged && !self.staging {
            mount.begin_staging()?;
            self.staging = true;
        }
        if stage == Stage::Commit {
            flags |= flag::COMMIT;
            known = snapshots::known(mount, target.path);
            self.commit = Some((target, known));
        }
        if target.append {
            flags |= flag::APPEND;
        }
        let into = target.into.map_or(Ok(NOFID), snapshots::snapfid)?;
        let request = Request::Put {
            fid: target.fid,
            wid: self.wid,
            ack: mount.oldest_wid(),
            flags,
            off: target.off,
            into,
            known,
            ops: List::new(ops),
            data: &[],
        };
        let makes = if stage == Stage::Commit { into } else { NOFID };
        self.send_making(mount, &request, body, makes)
    }

    /// Sends a message of the write as it is.
    pub fn send(
        &mut self,
        mount: &Mount,
        request: &Request<'_>,
        body: Vec<Piece>,
    ) -> Result<(), Errno> {
        self.send_making(mount, request, body, NOFID)
    }

    /// The same for one that makes or changes a snapshot. After a part that was
    /// refused or given up none is sent: nothing of the write must take effect.
    fn send_making(
        &mut self,
        mount: &Mount,
        request: &Request<'_>,
        body: Vec<Piece>,
        makes: u32,
    ) -> Result<(), Errno> {
        relief::again(|| self.sent.try_reserve(1).map_err(|_| Errno::ENOMEM))?;
        // Answers keep their tags until they are taken: whoever has some must
        // not wait for one, or all would wait for each other (or itself).
        while !mount.has_tag() && !self.sent.is_empty() {
            let answer = mount.finish(self.sent.remove(0));
            if let Err(errno) = answer.and_then(|a| a.reply().map(drop)) {
                self.failed.get_or_insert(errno);
            }
        }
        self.failed.map_or(Ok(()), Err)?;
        let sent = mount.start_held(request, body, makes)?;
        self.sent.push(sent);
        Ok(())
    }

    /// Waits for all answers: the last one, or the first error. `EINTR`: the
    /// commit was withdrawn, and nothing of the write happens.
    pub fn wait(mut self, mount: &Mount, fid: u32) -> Result<PutReply, Errno> {
        let mut failed = self.failed;
        let Some(last) = self.sent.pop() else {
            self.abort(mount, fid);
            return Err(failed.unwrap_or(Errno::EPROTO));
        };
        for sent in self.sent.drain(..) {
            let answer = mount.finish_before(sent, &last);
            if let Err(errno) = answer.and_then(|a| a.reply().map(drop)) {
                failed.get_or_insert(errno);
            }
        }
        let answer = mount.finish(last);
        let withdrawn = matches!(answer, Err(Errno::EINTR));
        let result = answer.and_then(|answer| self.committed(mount, &answer));
        if withdrawn {
            self.end_at(mount, Some(fid));
            return Err(Errno::EINTR);
        }
        self.end_at(mount, None);
        failed.map_or(result, Err)
    }

    /// What the answer to the last message says.
    fn committed(&self, mount: &Mount, answer: &Answer) -> Result<PutReply, Errno> {
        match answer.reply()? {
            Reply::Put {
                off,
                count,
                epoch,
                assoc,
                changes,
            } => {
                let reply = PutReply { off, count, assoc };
                if let Some((target, known)) = self.commit.filter(|_| epoch != 0) {
                    let news = News {
                        known,
                        epoch,
                        changes: snapshots::told(changes),
                    };
                    learn(mount, &target, reply, &news);
                }
                Ok(reply)
            }
            Reply::Write { count } => Ok(PutReply {
                off: 0,
                count: u64::from(count),
                assoc: false,
            }),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Gives the write up; nothing of it happens.
    pub fn abort(mut self, mount: &Mount, fid: u32) {
        for sent in self.sent.drain(..) {
            // Whatever the answer, the write is given up.
            let _ = mount.finish(sent);
        }
        self.end_at(mount, Some(fid));
    }

    /// It is over; with the fid it was to if the server is to forget it.
    fn end_at(&self, mount: &Mount, given_up: Option<u32>) {
        if self.staging {
            mount.end_staging();
        }
        match given_up.filter(|_| mount.has_snapshots()) {
            Some(fid) => mount.give_up(self.wid, fid),
            None => mount.end_wid(self.wid),
        }
    }
}

/// What the answer to a commit says of the file's past and of the snapshot that
/// has what was written.
fn learn(mount: &Mount, target: &Target, reply: PutReply, news: &News) {
    snapshots::learn(mount, target.path, news);
    let base = if target.append { reply.off } else { target.off };
    if let Some(into) = target.into.filter(|_| reply.assoc) {
        snapshots::is_at(into, base..base.saturating_add(reply.count), news.epoch);
    }
}
