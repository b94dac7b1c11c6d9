//! One write at a server with snapshots: the Tputs of one wid, in flight
//! together, and the answer to the last, which commits them.
use super::Mount;
use super::rpc::{Answer, Sent, unknown};
use super::snapshots::{self, News};
use crate::chan::Piece;
use crate::sched::relief;
use abi::Errno;
use alloc::vec::Vec;
use ninep::client::Failed;
use ninep::consts::{NOFID, put as flag};
use ninep::{List, PutOp, Reply, Request};
use vm::{PutReply, SnapId};

/// Whether a message ends the write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// More messages follow.
    Staged,
    /// All that was staged takes effect.
    Commit,
}

/// The part of a message beside its operations.
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
    /// The snapshot that the written ranges become part of.
    pub into: Option<SnapId>,
}

/// A write in progress. To be ended by [`Self::wait`] or [`Self::abort`].
pub struct Write {
    wid: u64,
    commit: Option<Commit>,
    /// It is one of those that have something staged.
    staging: bool,
}

/// The last message of a write.
struct Commit {
    sent: Sent,
    /// At a server with snapshots: where it writes to, and the epoch that it named.
    target: Option<(Target, u64)>,
}

impl Write {
    /// Under a wid that no other write of the connection has.
    pub fn begin(mount: &Mount) -> Result<Write, Errno> {
        let wid = relief::again(|| mount.state.lock().machine.begin_write())?;
        Ok(Write {
            wid,
            commit: None,
            staging: false,
        })
    }

    /// The write's number.
    pub fn wid(&self) -> u64 {
        self.wid
    }

    /// Sends a Tput with `body` as the data of its operations, unless a part was
    /// refused: then nothing of the write must take effect. From the first
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
        if stage == Stage::Staged && !self.staging {
            mount.begin_staging()?;
            self.staging = true;
        }
        let (mut flags, known) = match stage {
            Stage::Staged => (0, 0),
            Stage::Commit => (flag::COMMIT, snapshots::known(mount, target.path)),
        };
        if target.append {
            flags |= flag::APPEND;
        }
        let into = target.into.map_or(Ok(NOFID), snapshots::snapfid)?;
        let ack = {
            let state = &mut *mount.state.lock();
            state.machine.check_write(self.wid)?;
            state.machine.oldest_write()
        };
        let request = Request::Put {
            fid: target.fid,
            wid: self.wid,
            ack,
            flags,
            off: target.off,
            into,
            known,
            ops: List::new(ops),
            data: &[],
        };
        match stage {
            Stage::Staged => mount.stage(self.wid, &request, body),
            Stage::Commit => self.send(mount, &request, body, Some((target, known))),
        }
    }

    /// Sends all of the write, to a server without snapshots.
    pub fn write(
        &mut self,
        mount: &Mount,
        request: &Request<'_>,
        body: Vec<Piece>,
    ) -> Result<(), Errno> {
        self.send(mount, request, body, None)
    }

    fn send(
        &mut self,
        mount: &Mount,
        request: &Request<'_>,
        body: Vec<Piece>,
        target: Option<(Target, u64)>,
    ) -> Result<(), Errno> {
        let sent = mount.start(request, body)?;
        self.commit = Some(Commit { sent, target });
        Ok(())
    }

    /// Waits for all answers: the last one, or the first error. `EINTR`: the
    /// commit was withdrawn, and nothing of the write happens.
    pub fn wait(mut self, mount: &Mount, fid: u32) -> Result<PutReply, Errno> {
        let Some(Commit { sent, target }) = self.commit.take() else {
            self.abort(mount, fid);
            return Err(Errno::EPROTO);
        };
        let answer = mount.finish(sent);
        let withdrawn = matches!(answer, Err(Failed::Lost(Errno::EINTR)));
        let appends = target.is_some_and(|(target, _)| target.append);
        let result = answer.map_err(match appends {
            true => unknown,
            false => Errno::from,
        });
        let result = result.and_then(|answer| committed(mount, target, &answer));
        let parts = self.finish_parts(mount);
        if withdrawn {
            self.end_at(mount, Some(fid));
            return Err(Errno::EINTR);
        }
        self.end_at(mount, None);
        parts.and(result)
    }

    /// Gives the write up; nothing of it happens.
    pub fn abort(mut self, mount: &Mount, fid: u32) {
        // The write is aborted, whatever the answers.
        if let Some(commit) = self.commit.take() {
            let _ = mount.finish(commit.sent);
        }
        let _ = self.finish_parts(mount);
        self.end_at(mount, Some(fid));
    }

    /// Waits for the answers to what was staged, if anything was.
    fn finish_parts(&self, mount: &Mount) -> Result<(), Errno> {
        match self.staging {
            true => mount.finish_parts(self.wid),
            false => Ok(()),
        }
    }

    /// Ends the write. With the fid of its file, the server is told to discard
    /// what it knows of it.
    fn end_at(&self, mount: &Mount, given_up: Option<u32>) {
        if self.staging {
            mount.end_staging();
        }
        mount.step(|state| {
            match given_up.filter(|_| mount.has_snapshots()) {
                Some(fid) => state.machine.abort_write(self.wid, fid),
                None => state.machine.end_write(self.wid),
            }
            state.end_data();
        });
    }
}

/// Evaluates the answer to the last message.
fn committed(
    mount: &Mount,
    target: Option<(Target, u64)>,
    answer: &Answer,
) -> Result<PutReply, Errno> {
    match answer.reply()? {
        Reply::Put {
            off,
            count,
            epoch,
            assoc,
            changes,
        } => {
            let reply = PutReply { off, count, assoc };
            if let Some((target, known)) = target.filter(|_| epoch != 0) {
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

/// Records the statements of a commit's answer about the file's past and the
/// snapshot with the written ranges.
fn learn(mount: &Mount, target: &Target, reply: PutReply, news: &News) {
    snapshots::learn(mount, target.path, news);
    let base = if target.append { reply.off } else { target.off };
    if let Some(into) = target.into.filter(|_| reply.assoc) {
        snapshots::is_at(into, base..base.saturating_add(reply.count), news.epoch);
    }
}
