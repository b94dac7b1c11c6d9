//! A process in a system call or fault: what it asks of the simulated kernel,
//! one step at a time.
//!
//! A step is what nothing comes in between: a locked look at the segment, a
//! message's work at its server, a load or store by the hardware. Between two
//! steps the process pauses, and [`Reach`] decides what happens there: usually
//! nothing, one thing that a test has prepared ([`World::interrupt`]), or
//! whatever a scheduler picks ([`crate::schedule`]).

use std::ops::Range;

use abi::Errno;
use vm::{
    Access, Frame, Host, Limits, OpKind, Origin, Put, PutReply, Segment, SegmentNumber, SnapId,
    Snapped, Ticket,
};

use crate::PAGE;
use crate::footprint::Object;
use crate::memory::SimMemory;
use crate::server::{File, Servers, Staged, StagedKind};
use crate::swap::Reclaim;
use crate::world::{Committed, Point, Sent, World, by_page};

/// Pages that are being filled: the process, the fill.
pub type Fill = (usize, Ticket);

/// Access to the kernel, with a hook between two steps.
pub trait Reach {
    /// The file servers.
    type Servers: Servers;

    /// One step.
    fn with<R>(&mut self, f: impl FnOnce(&mut World<Self::Servers>) -> R) -> R;
    /// A look that belongs to the step before.
    fn look<R>(&self, f: impl FnOnce(&World<Self::Servers>) -> R) -> R;
    /// Something else may happen.
    fn pause(&mut self, at: Point);
    /// Waits for a call of [`Reach::wake`].
    fn sleep(&mut self, fill: Fill) -> Result<(), Errno>;
    /// Wakes all processes that wait for the fill.
    fn wake(&mut self, fill: Fill);
}

/// One operation after the other.
impl<S: Servers> Reach for &mut World<S> {
    type Servers = S;

    fn with<R>(&mut self, f: impl FnOnce(&mut World<S>) -> R) -> R {
        f(self)
    }

    fn look<R>(&self, f: impl FnOnce(&World<S>) -> R) -> R {
        f(self)
    }

    fn pause(&mut self, at: Point) {
        self.fire(at);
    }

    fn sleep(&mut self, _fill: Fill) -> Result<(), Errno> {
        // The fill is that of the operation this one interrupts.
        Err(Errno::EINTR)
    }

    fn wake(&mut self, _fill: Fill) {}
}

/// A process.
pub struct Process<R> {
    /// How it gets at the kernel.
    pub reach: R,
    /// Which process.
    pub space: usize,
    /// Deferral is off.
    pub eager: bool,
}

impl<R: Reach> Process<R> {
    /// The bytes that the process's loads return, faults included.
    pub fn load(&mut self, at: usize, n: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        for (page, range) in by_page(at, n) {
            self.access(page, Access::Load, |frame| {
                bytes.extend_from_slice(&frame[range]);
            })?;
        }
        Ok(bytes)
    }

    /// The process stores; how many bytes before a fault failed.
    pub fn store(&mut self, at: usize, bytes: &[u8]) -> (usize, Result<(), Errno>) {
        let mut done = 0;
        for (page, range) in by_page(at, bytes.len()) {
            let part = &bytes[done..done + range.len()];
            let stored = self.access(page, Access::Store, |frame| {
                frame[range].copy_from_slice(part);
            });
            if let Err(error) = stored {
                return (done, Err(error));
            }
            done += part.len();
        }
        (done, Ok(()))
    }

    /// The hardware: a translation that allows the access, or a fault.
    fn access(
        &mut self,
        page: u64,
        access: Access,
        work: impl FnOnce(&mut [u8; PAGE]),
    ) -> Result<(), Errno> {
        let space = self.space;
        for _ in 0..8 {
            self.reach.pause(Point::Access);
            let found = self.reach.with(|world| {
                world.trace(|t| t.uses(Object::Segment(space)));
                let map = &world.space(space).memory.map;
                let found = map.get(&page).copied();
                found.filter(|(_, writable)| access != Access::Store || *writable)
            });
            let Some((frame, _)) = found else {
                vm::fault(self, page, access)?;
                continue;
            };
            self.reach.with(|world| {
                let mut frames = world.frames.borrow_mut();
                match access {
                    Access::Load | Access::Fetch => work(&mut frames.content(frame).clone()),
                    Access::Store => work(frames.bytes(frame)),
                }
            });
            return Ok(());
        }
        panic!("page {page}: the fault comes again and again");
    }

    /// The process `child` becomes a copy.
    pub fn fork(&mut self, child: usize) -> Result<(), Errno> {
        let pages = self.with(|segment, _| segment.pages());
        let mut copy = Segment::new(pages);
        copy.set_number(SegmentNumber::new(child as u32));
        vm::fork(self, &mut copy)?;
        self.reach.with(|world| world.add_space(copy, child));
        Ok(())
    }

    /// Changed pages of the process from `page` on leave memory; how many.
    pub fn page_out(self, page: u64, count: u64) -> Result<u64, Errno> {
        let space = self.space;
        let born = self.reach.look(|world| world.born(space));
        let mut reclaim = Reclaim {
            process: self,
            born,
        };
        vm::page_out(&mut reclaim, page..page + count)
    }

    /// The process ends.
    pub fn exit(&mut self) {
        vm::destroy(self);
        let space = self.space;
        self.reach.with(|world| {
            world.trace(|t| t.changes(Object::Segment(space)));
            assert!(world.space(space).memory.map.is_empty());
            world.spaces[space] = None;
        });
    }

    /// A locked look at the segment.
    pub(crate) fn locked<T>(&mut self, f: impl FnOnce(&mut Segment, &mut SimMemory) -> T) -> T {
        let space = self.space;
        self.reach.with(|world| {
            let traced = world.frames.borrow().trace.on();
            let before = traced.then(|| world.space(space).describe());
            let owner = world.space(space);
            let result = f(&mut owner.segment, &mut owner.memory);
            match before {
                Some(before) if before == world.space(space).describe() => {
                    world.trace(|t| t.uses(Object::Segment(space)));
                }
                _ => world.trace(|t| t.changes(Object::Segment(space))),
            }
            result
        })
    }
}

impl<R: Reach> Host for Process<R> {
    type Memory = SimMemory;
    type File = File;

    fn with<T>(&mut self, f: impl FnOnce(&mut Segment, &mut SimMemory) -> T) -> T {
        self.reach.pause(Point::Look);
        self.locked(f)
    }
    fn pause(&mut self) -> bool {
        self.reach.pause(Point::Pause);
        true
    }

    fn snap(
        &mut self,
        file: File,
        off: u64,
        count: u64,
        grow: Option<SnapId>,
    ) -> Result<Snapped, Errno> {
        self.reach.pause(Point::BeforeSnap);
        let (taken, news) = self
            .reach
            .with(|world| world.snap(file, off, count, grow))?;
        self.reach.pause(Point::AfterSnap);
        self.reach.with(|world| {
            let range = off..off + taken.count;
            world.learn(file, Some((taken.snap.0, range)), &news);
        });
        Ok(taken)
    }

    fn new_snap(&mut self, file: File) -> Result<SnapId, Errno> {
        Ok(self.reach.with(|world| world.new_handle(file)))
    }

    fn retain_snap(&mut self, snap: SnapId) {
        self.reach.with(|world| {
            world.trace(|t| t.changes(Object::Snapshot(snap.0)));
            world.handle(snap).references += 1;
        });
    }

    fn release_snap(&mut self, snap: SnapId) {
        self.reach.pause(Point::Release);
        self.reach.with(|world| world.drop_handle(snap));
    }

    fn trim(&mut self, snap: SnapId, ranges: &[Range<u64>]) -> bool {
        self.reach.pause(Point::Release);
        self.reach.with(|world| world.trim(snap, ranges));
        true
    }

    fn trim_worth(&self) -> u64 {
        self.reach.look(|world| world.config.trim_worth)
    }

    fn holders(&self, snap: SnapId) -> u32 {
        self.reach.look(|world| {
            world.trace(|t| t.uses(Object::Snapshot(snap.0)));
            world.held(snap).references
        })
    }

    fn same_server(&self, snap: SnapId, file: File) -> bool {
        self.reach.look(|world| {
            let of = world.held(snap).file;
            world.servers.server_of(of) == world.servers.server_of(file)
        })
    }

    fn same_file(&self, snap: SnapId, file: File) -> bool {
        self.reach.look(|world| world.held(snap).file == file)
    }

    fn read_snap(
        &mut self,
        snap: SnapId,
        soff: u64,
        frame: Frame,
        at: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        self.read_run(Origin::Snap(snap), soff, &[frame], at, len)
    }

    fn run_max(&self, _snap: SnapId) -> usize {
        let config = self.reach.look(|world| world.config);
        let pages = match config.run {
            0 => (config.iounit / vm::PAGE) as usize,
            run => run,
        };
        pages.clamp(1, vm::RUN_MAX)
    }

    fn read_run(
        &mut self,
        from: Origin<File>,
        off: u64,
        frames: &[Frame],
        at: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        self.reach.pause(Point::Fetch);
        let bytes = self.reach.with(|world| world.fetch(from, off, len))?;
        self.reach.pause(Point::Fill);
        self.reach.with(|world| {
            let mut memory = world.frames.borrow_mut();
            let mut rest = bytes.as_slice();
            for (page, range) in by_page(at, bytes.len()) {
                let (part, after) = rest.split_at(range.len());
                memory.bytes(frames[page as usize])[range].copy_from_slice(part);
                rest = after;
            }
        });
        Ok(bytes.len())
    }

    fn put_begin(&mut self, _file: File) -> Result<u64, Errno> {
        Ok(self.reach.with(World::new_wid))
    }

    fn put_send(&mut self, put: &Put<'_, File>) -> Result<(), Errno> {
        self.reach.pause(Point::Send);
        let message = staged(put);
        self.reach.with(|world| {
            let data: u64 = put.data.iter().map(|g| u64::from(g.len)).sum();
            assert!(data <= world.config.iounit && put.ops.len() <= world.config.ops);
            let frames = put.data.to_vec();
            for gather in &frames {
                world.frames.borrow_mut().retain(gather.frame);
            }
            world.send(Sent {
                staged: message,
                frames,
            });
        });
        Ok(())
    }

    fn put_wait(&mut self, file: File, wid: u64) -> Result<PutReply, Errno> {
        self.reach.pause(Point::BeforeCommit);
        let mut last = None;
        loop {
            self.reach.pause(Point::Deliver);
            match self.reach.with(|world| world.deliver_next(wid)) {
                Some(answer) => last = answer,
                None => break,
            }
        }
        self.reach.pause(Point::AfterCommit);
        let last = last.map(|Committed { reply, into, news }| {
            self.reach.with(|world| world.learn(file, into, &news));
            reply
        });
        match self.reach.with(|world| world.first_error(wid)) {
            Some(error) => Err(error),
            None => last.ok_or(Errno::EPROTO),
        }
    }

    fn put_abort(&mut self, file: File, wid: u64) {
        self.reach.pause(Point::Deliver);
        self.reach.with(|world| world.abort(file, wid));
    }

    fn wait_fill(&mut self, _page: u64, ticket: Ticket) -> Result<(), Errno> {
        self.reach.sleep((self.space, ticket))
    }

    fn wake_fill(&mut self, _page: u64, ticket: Ticket) {
        self.reach.pause(Point::Wake);
        self.reach.wake((self.space, ticket));
    }

    fn deferred(&self, _file: File) -> bool {
        !self.eager
    }

    fn limits(&self, file: File) -> Limits {
        self.reach.look(|world| Limits {
            iounit: world.config.iounit,
            ops: world.config.ops,
            wmax: world.config.wmax,
            snapshots: world.servers.has_snapshots(file),
        })
    }
}

/// A message of a write as its server gets it, without the data.
fn staged(put: &Put<'_, File>) -> Staged {
    let named = put.ops.iter().map(|op| {
        let kind = match op.kind {
            OpKind::Data => StagedKind::Data,
            OpKind::Zero => StagedKind::Zero,
            OpKind::Keep { snap, soff } => StagedKind::Keep { snap: snap.0, soff },
        };
        (kind, op.off, op.len)
    });
    Staged {
        file: put.file,
        wid: put.wid,
        off: put.off,
        append: put.append,
        commit: put.commit,
        into: put.into.map(|snap| snap.0),
        known: 0,
        ops: named.collect(),
        data: Vec::new(),
    }
}
