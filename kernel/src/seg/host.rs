//! The VM core's operations in the kernel: a process in a system call or a
//! fault is their [`Host`].
use super::view::View;
use super::{Content, Residence, SpaceLock};
use crate::chan::{Piece, room};
use crate::client::put::{Stage, Target, Write};
use crate::client::remote::Remote;
use crate::client::sink::Sink;
use crate::client::snapshots;
use crate::sched::{self, Reason, Wait, WaitQueue, patiently, relief};
use abi::{Errno, PAGE};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use hw::lock::{Lock, Rank};
use hw::named;
use hw::task::Slot;
use ninep::{PutKind, PutOp, Request};
use vm::{
    Frame, Host, Limits, Op, OpKind, Origin, Put, PutReply, Segment, SnapId, Snapped, Ticket,
};

/// Operations in one Tput: their encoding fits the head of a message.
const OPS: usize = vm::OPS_MAX;

/// Processes that wait for a fill by another process. Rare enough for one
/// queue.
static FILLING: Lock<WaitQueue> = Lock::new(Rank::Process, WaitQueue::new());

/// An open file as an operation sees it.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// The fid.
    pub remote: &'a Remote,
    /// The name of the file.
    pub path: &'a Arc<str>,
}

/// An operation on one segment. While there is one, the segment stays in the table, also
/// if it is detached.
pub struct Operation<'a> {
    space: &'a SpaceLock,
    segment: u64,
    /// Whether it counts as a user of the segment.
    counted: bool,
    /// The write in progress: one at a time.
    write: Option<Write>,
    /// Where the last one ended.
    end: Option<u64>,
}

impl<'a> Operation<'a> {
    /// On the segment with that id.
    ///
    /// # Errors
    /// `EFAULT`: it has been detached.
    #[inline]
    pub fn begin(space: &'a SpaceLock, segment: u64) -> Result<Operation<'a>, Errno> {
        let mut locked = space.lock();
        match locked.by_id(segment) {
            Some((_, found)) if !found.is_detached() => found.users += 1,
            _ => return Err(Errno::EFAULT),
        }
        drop(locked);
        let mut operation = Operation::last(space, segment);
        operation.counted = true;
        Ok(operation)
    }

    /// The last one on a segment, which no other operation is on.
    pub(super) fn last(space: &'a SpaceLock, segment: u64) -> Operation<'a> {
        Operation {
            space,
            segment,
            counted: false,
            write: None,
            end: None,
        }
    }

    /// Copies the segment: until the operation is over, those of other processes that
    /// have it too wait, so that its associations and its pages are of one moment.
    pub(super) fn copying(self) -> Operation<'a> {
        // One at a time: the end of another one would let the others go on too early.
        self.wait_for_copy();
        let copier = Some(sched::current_slot());
        if let Some((_, segment)) = self.space.lock().by_id(self.segment) {
            segment.copier = copier;
        }
        self
    }

    /// Waits while another process copies the segment, which waits for none.
    #[cold]
    fn wait_for_copy(&self) {
        let me = sched::current_slot();
        let copied = |copier: Option<Slot>| copier.is_some_and(|copier| copier != me);
        while let Some(segment) = self.space.lock().get(self.segment)
            && copied(segment.copier)
        {
            sched::breathe();
        }
    }

    /// Where in the file the last commit ended.
    pub fn written_to(&self) -> Option<u64> {
        self.end
    }
}

impl Drop for Operation<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let last = {
            let mut space = self.space.lock();
            space.by_id(self.segment).is_some_and(|(_, segment)| {
                segment.users -= 1;
                if segment.copier == Some(sched::current_slot()) {
                    segment.copier = None;
                }
                segment.users == 0 && segment.is_detached()
            })
        };
        if last {
            give_back(self.space, self.segment);
        }
    }
}

/// Removes a detached segment after the last operation on it.
#[cold]
fn give_back(space: &SpaceLock, segment: u64) {
    vm::destroy(&mut Operation::last(space, segment));
    space.lock().take(segment);
}

/// Reads into pieces of user memory or of frames, in one message.
pub fn read_remote(file: &Remote, offset: u64, sink: impl Into<Sink>) -> Result<usize, Errno> {
    file.mount.read(file.fid, offset, sink)
}

impl<'a> Host for Operation<'a> {
    type Memory = View;
    type File = File<'a>;

    #[inline]
    fn with<R>(&mut self, f: impl FnOnce(&mut Segment, &mut View) -> R) -> R {
        let mut space = self.space.lock();
        let copier = space.get(self.segment).and_then(|segment| segment.copier);
        if copier.is_some_and(|copier| copier != sched::current_slot()) {
            drop(space);
            self.wait_for_copy();
            space = self.space.lock();
        }
        // It stays in the table while it has users.
        match space.by_id(self.segment) {
            Some((view, segment)) => match &mut segment.content {
                Content::Virtual(content) => f(content, view),
                Content::Device(_) | Content::Dma(_) | Content::Shared(_) => {
                    unreachable!("no operation on segments of fixed frames")
                }
            },
            None => unreachable!("segment removed during an operation on it"),
        }
    }

    fn pause(&mut self) -> bool {
        relief::ease();
        sched::breathe();
        !sched::ending()
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

    fn trim(&mut self, snap: SnapId, ranges: &[Range<u64>]) -> bool {
        snapshots::trim(snap, ranges)
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
        let frame = named::hold(frame);
        sink.push(Piece { frame, at, len });
        patiently(|| snapshots::read(snap, soff, Sink::lendable(sink)))
    }

    fn run_max(&self, snap: SnapId) -> usize {
        let pages = snapshots::iounit(snap) as usize / PAGE as usize;
        pages.clamp(1, vm::RUN_MAX)
    }

    fn read_run(
        &mut self,
        from: Origin<File<'a>>,
        off: u64,
        frames: &[Frame],
        at: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        relief::ease();
        let mut sink = room(frames.len())?;
        let (mut at, mut left) = (at, len);
        for frame in frames {
            let len = (PAGE as usize - at).min(left);
            let frame = named::hold(*frame);
            sink.push(Piece { frame, at, len });
            left -= len;
            at = 0;
        }
        let sink = Sink::lendable(sink);
        match from {
            Origin::Snap(snap) => patiently(|| snapshots::read(snap, off, sink)),
            Origin::Live(file) => read_remote(file.remote, off, sink),
        }
    }

    fn put_begin(&mut self, file: File<'a>) -> Result<u64, Errno> {
        let write = Write::begin(&file.remote.mount)?;
        Ok(self.write.insert(write).wid())
    }

    fn put_send(&mut self, put: &Put<'_, File<'a>>) -> Result<(), Errno> {
        put.into.map_or(Ok(()), snapshots::finish_trims)?;
        let write = self.write.as_mut().ok_or(Errno::EINVAL)?;
        let mut body = room(put.data.len())?;
        body.extend(put.data.iter().map(|g| Piece {
            frame: named::hold(g.frame),
            at: usize::from(g.at),
            len: usize::from(g.len),
        }));
        let remote = put.file.remote;
        if !remote.mount.has_snapshots() {
            let request = Request::Write {
                fid: remote.fid,
                offset: put.off,
                data: &[],
            };
            return write.write(&remote.mount, &request, body);
        }
        let stage = if put.commit {
            Stage::Commit
        } else {
            Stage::Staged
        };
        let target = Target {
            fid: remote.fid,
            path: remote.qid.path,
            off: put.off,
            append: put.append,
            into: put.into,
        };
        write.put(&remote.mount, target, stage, &wire_ops(put.ops)?, body)
    }

    fn put_wait(&mut self, file: File<'a>, _wid: u64) -> Result<PutReply, Errno> {
        let write = self.write.take().ok_or(Errno::EINVAL)?;
        let reply = write.wait(&file.remote.mount, file.remote.fid)?;
        self.end = Some(reply.off.saturating_add(reply.count));
        Ok(reply)
    }

    fn put_abort(&mut self, file: File<'a>, _wid: u64) {
        if let Some(write) = self.write.take() {
            write.abort(&file.remote.mount, file.remote.fid);
        }
    }

    fn wait_fill(&mut self, _page: u64, _ticket: Ticket) -> Result<(), Errno> {
        // Nothing has run since the core saw the fill in progress, and it looks again
        // whichever fill has ended.
        let mut woken = false;
        patiently(|| {
            FILLING.wait(
                |queue| queue,
                Reason::Page,
                |_| core::mem::replace(&mut woken, true).then_some(()),
            )
        })
    }

    fn wake_fill(&mut self, _page: u64, _ticket: Ticket) {
        FILLING.lock().wake_all();
    }

    fn deferred(&self, file: File<'a>) -> bool {
        if !crate::options::deferred() || !file.remote.mount.deferred() {
            return false;
        }
        let space = self.space.lock();
        let segment = space.get(self.segment);
        space.residence == Residence::Pageable && segment.is_some_and(|s| !s.eager)
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

/// The VM core's operations as the protocol has them.
fn wire_ops(ops: &[Op]) -> Result<Vec<PutOp>, Errno> {
    let mut wire = room(ops.len())?;
    for op in ops {
        let kind = match op.kind {
            OpKind::Data => PutKind::Data,
            OpKind::Zero => PutKind::Zero,
            OpKind::Keep { snap, soff } => PutKind::Keep {
                snapfid: snapshots::snapfid(snap)?,
                soff,
            },
        };
        let (off, len) = (op.off, op.len);
        wire.push(PutOp { kind, off, len });
    }
    Ok(wire)
}
