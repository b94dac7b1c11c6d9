//! The VM core's operations in the kernel: a process in a system call or a
//! fault is their [`Host`].
use super::view::View;
use super::{Content, SpaceLock};
use crate::chan::{FrameRef, Piece, room};
use crate::lock::{Lock, Rank};
use crate::mount::remote::Remote;
use crate::mount::rpc::Sent;
use crate::mount::{Mount, snapshots};
use crate::proc::sched::{self, Reason, WaitQueue};
use abi::{Errno, PAGE};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ninep::consts::{NOFID, put as flag};
use ninep::{List, PutKind, PutOp, Reply, Request};
use vm::{Frame, Host, Kind, Limits, Origin, Put, PutReply, Segment, SnapId, Snapped, Ticket};

/// Operations in one Tput: their encoding fits the head of a message.
const OPS: usize = 64;

/// Everybody who waits for somebody else's fill. Rare enough for one queue.
static FILLING: Lock<WaitQueue> = Lock::new(Rank::Process, WaitQueue::new());

/// An open file as an operation sees it.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// The fid.
    pub remote: &'a Remote,
    /// What it is called.
    pub path: &'a Arc<str>,
}

/// An operation on one segment.
pub struct Caller<'a> {
    space: &'a SpaceLock,
    segment: u64,
    /// Messages of the write in progress not yet waited for, in order.
    sent: Vec<Sent>,
    /// The first error among answers taken before the write's end.
    failed: Option<Errno>,
}

impl<'a> Caller<'a> {
    /// On the segment with that id.
    pub fn new(space: &'a SpaceLock, segment: u64) -> Caller<'a> {
        Caller {
            space,
            segment,
            sent: Vec::new(),
            failed: None,
        }
    }
}

/// Sends a Tread of a fid whose data goes to `sink`; bytes that came.
fn read_fid(mount: &Mount, fid: u32, offset: u64, sink: Vec<Piece>) -> Result<usize, Errno> {
    let count: usize = sink.iter().map(|p| p.len).sum();
    let request = Request::Read {
        fid,
        offset,
        count: count.min(mount.iounit() as usize) as u32,
    };
    let sent = mount.start(&request, Vec::new(), sink, NOFID)?;
    mount.finish(sent)?.data_reply()
}

/// Reads into pieces of user memory or of frames, in one message.
pub fn read_remote(file: &Remote, offset: u64, sink: Vec<Piece>) -> Result<usize, Errno> {
    read_fid(&file.mount, file.fid, offset, sink)
}

/// Reads from a snapshot in one message.
pub fn read_snapshot(snap: SnapId, offset: u64, sink: Vec<Piece>) -> Result<usize, Errno> {
    let site = snapshots::site(snap).ok_or(Errno::ESTALE)?;
    read_fid(&site.mount, site.snapfid, offset, sink)
}

impl<'a> Host for Caller<'a> {
    type Memory = View;
    type File = File<'a>;

    #[inline]
    fn with<R>(&mut self, f: impl FnOnce(&mut Segment, &mut View) -> R) -> R {
        let mut space = self.space.lock();
        // Only the process itself removes segments, and it is here.
        match space.by_id(self.segment) {
            Some((view, segment)) => match &mut segment.content {
                Content::Virtual(content) => f(content, view),
                Content::Physical(_) | Content::Shared(_) => {
                    unreachable!("no operation on segments of fixed frames")
                }
            },
            None => unreachable!("segment removed during an operation on it"),
        }
    }

    fn snap(
        &mut self,
        file: File<'a>,
        off: u64,
        count: u64,
        grow: Option<SnapId>,
    ) -> Result<Snapped, Errno> {
        snapshots::take(file.remote, file.path, off, count, grow)
    }

    fn new_snap(&mut self, file: File<'a>) -> Result<SnapId, Errno> {
        snapshots::reserve(file.remote, file.path)
    }

    fn retain_snap(&mut self, snap: SnapId) {
        snapshots::retain(snap);
    }

    fn release_snap(&mut self, snap: SnapId) {
        snapshots::release(snap);
    }

    fn holders(&self, snap: SnapId) -> u32 {
        snapshots::holders(snap)
    }

    fn same_server(&self, snap: SnapId, file: File<'a>) -> bool {
        snapshots::at_server(snap, &file.remote.mount)
    }

    fn same_file(&self, snap: SnapId, file: File<'a>) -> bool {
        snapshots::of_file(snap, file.remote)
    }

    fn read_snap(
        &mut self,
        snap: SnapId,
        soff: u64,
        frame: Frame,
        at: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        let mut sink = room(1)?;
        let frame = FrameRef::retained(frame);
        sink.push(Piece { frame, at, len });
        read_snapshot(snap, soff, sink)
    }

    fn read_run(
        &mut self,
        from: Origin<File<'a>>,
        off: u64,
        frames: &[Frame],
        at: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        let mut sink = room(frames.len())?;
        let (mut at, mut left) = (at, len);
        for frame in frames {
            let len = (PAGE as usize - at).min(left);
            let frame = FrameRef::retained(*frame);
            sink.push(Piece { frame, at, len });
            left -= len;
            at = 0;
        }
        match from {
            Origin::Snap(snap) => read_snapshot(snap, off, sink),
            Origin::Live(file) => read_remote(file.remote, off, sink),
        }
    }

    fn put_begin(&mut self, file: File<'a>) -> Result<u64, Errno> {
        file.remote.mount.new_wid()
    }

    fn put_send(&mut self, put: &Put<'_, File<'a>>) -> Result<(), Errno> {
        self.sent.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let mut body = room(put.data.len())?;
        body.extend(put.data.iter().map(|g| Piece {
            frame: FrameRef::retained(g.frame),
            at: usize::from(g.at),
            len: usize::from(g.len),
        }));
        let mount = &put.file.remote.mount;
        // Answers keep their tags until they are taken: whoever has some must
        // not wait for one, or all would wait for each other (or itself).
        while !mount.has_tag() && !self.sent.is_empty() {
            let answer = mount.finish(self.sent.remove(0));
            if let Err(errno) = answer.and_then(|a| a.reply().map(drop)) {
                self.failed.get_or_insert(errno);
            }
        }
        let sent = if mount.has_snapshots() {
            send_put(mount, put, body)?
        } else {
            let request = Request::Write {
                fid: put.file.remote.fid,
                offset: put.off,
                data: &[],
            };
            mount.start(&request, body, Vec::new(), NOFID)?
        };
        self.sent.push(sent);
        Ok(())
    }

    fn put_wait(&mut self, file: File<'a>, wid: u64) -> Result<PutReply, Errno> {
        let mount = &file.remote.mount;
        let mut result = Err(Errno::EPROTO);
        let mut failed = self.failed.take();
        for sent in core::mem::take(&mut self.sent) {
            let answer = mount.finish(sent);
            result = answer.and_then(|a| match a.reply()? {
                Reply::Put {
                    off, count, assoc, ..
                } => Ok(PutReply { off, count, assoc }),
                Reply::Write { count } => Ok(PutReply {
                    off: 0,
                    count: u64::from(count),
                    assoc: false,
                }),
                _ => Err(Errno::EPROTO),
            });
            if let Err(errno) = result {
                failed.get_or_insert(errno);
            }
        }
        mount.end_wid(wid);
        match failed {
            // The commit's own answer decides if it came: a server may fail
            // a staged message and still say so at the commit.
            Some(errno) => Err(errno),
            None => result,
        }
    }

    fn put_abort(&mut self, file: File<'a>, wid: u64) {
        let mount = &file.remote.mount;
        self.failed = None;
        for sent in core::mem::take(&mut self.sent) {
            // Whatever the answer, the write is given up.
            let _ = mount.finish(sent);
        }
        if mount.has_snapshots() {
            let request = Request::Put {
                fid: file.remote.fid,
                wid,
                ack: 0,
                flags: flag::ABORT,
                off: 0,
                into: NOFID,
                known: 0,
                ops: List::new(&[]),
                data: &[],
            };
            // A server that cannot forget it forgets it with the session.
            let _ = mount.call(&request);
        }
        mount.end_wid(wid);
    }

    fn wait_fill(&mut self, _page: u64, _ticket: Ticket) -> Result<(), Errno> {
        // Nothing has run since the core saw the fill in progress.
        FILLING.lock().join();
        let wake = sched::park(Reason::Page, None);
        FILLING.lock().leave();
        if wake.interrupted() {
            return Err(Errno::EINTR);
        }
        Ok(())
    }

    fn wake_fill(&mut self, _page: u64, _ticket: Ticket) {
        FILLING.lock().wake_all();
    }

    fn deferred(&self) -> bool {
        crate::options::deferred()
    }

    fn limits(&self, file: File<'a>) -> Limits {
        let mount = &file.remote.mount;
        Limits {
            iounit: u64::from(mount.iounit()),
            ops: OPS,
            wmax: u64::from(mount.wmax()),
            snapshots: mount.has_snapshots(),
        }
    }
}

/// Sends a Tput with `body` as the data of its operations.
fn send_put(mount: &Mount, put: &Put<'_, File<'_>>, body: Vec<Piece>) -> Result<Sent, Errno> {
    let mut ops = room(put.ops.len())?;
    for op in put.ops {
        let kind = match op.kind {
            Kind::Data => PutKind::Data,
            Kind::Zero => PutKind::Zero,
            Kind::Keep { snap, soff } => PutKind::Keep {
                snapfid: snapshots::site(snap).ok_or(Errno::ESTALE)?.snapfid,
                soff,
            },
        };
        let (off, len) = (op.off, op.len);
        ops.push(PutOp { kind, off, len });
    }
    let into = match put.into {
        Some(snap) => snapshots::site(snap).ok_or(Errno::ESTALE)?.snapfid,
        None => NOFID,
    };
    let mut flags = 0;
    if put.commit {
        flags |= flag::COMMIT;
    }
    if put.append {
        flags |= flag::APPEND;
    }
    let request = Request::Put {
        fid: put.file.remote.fid,
        wid: put.wid,
        ack: mount.oldest_wid(),
        flags,
        off: put.off,
        into,
        known: 0,
        ops: List::new(&ops),
        data: &[],
    };
    mount.start(&request, body, Vec::new(), NOFID)
}
