//! The VM core's host: processes, snapshot handles and messages of a simulated
//! kernel. Everything is one thread; where a real kernel would wait, another
//! thing can be made to happen ([`World::interrupt`]) or the message to fail.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use abi::Errno;
use vm::{
    Access, Frame, Host, Kind, Limits, Origin, Put, PutReply, Segment, SnapId, Snapped, Ticket,
};

use crate::PAGE;
use crate::memory::{Frames, SimMemory};
use crate::server::{File, Servers, Staged, StagedKind};

/// What differs from one simulated kernel to another.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most data bytes in a message.
    pub iounit: u64,
    /// Most operations in a message.
    pub ops: usize,
    /// Most bytes in a commit.
    pub wmax: u64,
    /// Pages in a segment.
    pub pages: u64,
    /// The kernel keeps the frames of a message instead of copying them, until
    /// the server takes the message.
    pub keeps_frames: bool,
}

/// Where in an operation something else happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// The request for a snapshot is not yet at the server.
    BeforeSnap,
    /// The snapshot is taken, nothing else has been done.
    AfterSnap,
    /// Bytes of a snapshot have been read and not yet arrived.
    Fill,
    /// All of a write is staged, the commit is not yet at the server.
    BeforeCommit,
    /// The commit is done, its answer has not yet arrived.
    AfterCommit,
}

/// What happens there.
pub type Interrupt<S> = Box<dyn FnOnce(&mut World<S>)>;

/// A process's segment and what it has of the machine.
pub struct Space {
    /// The real thing.
    pub segment: Segment,
    /// Its view of the machine.
    pub memory: SimMemory,
}

/// A snapshot handle.
struct Handle {
    references: u32,
    file: File,
}

/// The simulated kernel.
pub struct World<S> {
    /// The file servers.
    pub servers: S,
    /// The machine's frames.
    pub frames: Rc<RefCell<Frames>>,
    /// Processes.
    pub spaces: Vec<Option<Space>>,
    /// How it is made.
    pub config: Config,
    /// Messages with an answer.
    pub messages: u64,
    /// Data bytes from servers.
    pub bytes_in: u64,
    /// Data bytes to servers.
    pub bytes_out: u64,
    /// Fail the message after so many.
    pub fail_after: Option<u64>,
    /// Happens once, at that point.
    pub interrupt: Option<(Point, Interrupt<S>)>,
    handles: BTreeMap<u32, Handle>,
    last_handle: u32,
    last_wid: u64,
    /// Messages on their way, by wid, and the first error of those answered.
    sent: HashMap<u64, (Vec<Sent>, Option<Errno>)>,
    /// Handles whose clunk is queued behind messages of a write.
    clunks: Vec<u32>,
}

/// A message on its way, and the frames with its data if they were not copied.
struct Sent {
    staged: Staged,
    frames: Vec<vm::Gather>,
}

impl<S: Servers> World<S> {
    /// One process with a segment of zeros.
    pub fn new(servers: S, config: Config) -> World<S> {
        let frames = Rc::new(RefCell::new(Frames::default()));
        let mut world = World {
            servers,
            frames,
            spaces: Vec::new(),
            config,
            messages: 0,
            bytes_in: 0,
            bytes_out: 0,
            fail_after: None,
            interrupt: None,
            handles: BTreeMap::new(),
            last_handle: 0,
            last_wid: 0,
            sent: HashMap::new(),
            clunks: Vec::new(),
        };
        world.add_space(Segment::new(config.pages), 0);
        world
    }

    fn add_space(&mut self, segment: Segment, at: usize) {
        if self.spaces.len() <= at {
            self.spaces.resize_with(at + 1, || None);
        }
        let memory = SimMemory::new(self.frames.clone());
        self.spaces[at] = Some(Space { segment, memory });
    }

    /// A process of the world in an operation.
    pub fn process(&mut self, space: usize) -> Process<'_, S> {
        Process {
            world: self,
            space,
            eager: false,
        }
    }

    /// The process's segment and memory.
    pub fn space(&mut self, space: usize) -> &mut Space {
        self.spaces[space].as_mut().expect("the process exists")
    }

    /// The process `child` becomes a copy.
    pub fn fork(&mut self, space: usize, child: usize) -> Result<(), Errno> {
        let copy = vm::fork(&mut self.process(space))?;
        self.add_space(copy, child);
        Ok(())
    }

    /// The process ends.
    pub fn exit(&mut self, space: usize) {
        vm::destroy(&mut self.process(space));
        assert!(self.space(space).memory.map.is_empty());
        self.spaces[space] = None;
    }

    /// What the process's loads find, faults included.
    pub fn load(&mut self, space: usize, at: usize, n: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        for (page, range) in by_page(at, n) {
            let (frame, _) = self.translate(space, page, Access::Load)?;
            bytes.extend_from_slice(&self.frames.borrow_mut().bytes(frame)[range]);
        }
        Ok(bytes)
    }

    /// The process stores; how many bytes before a fault failed.
    pub fn store(&mut self, space: usize, at: usize, bytes: &[u8]) -> (usize, Result<(), Errno>) {
        let mut done = 0;
        for (page, range) in by_page(at, bytes.len()) {
            let frame = match self.translate(space, page, Access::Store) {
                Ok((frame, _)) => frame,
                Err(error) => return (done, Err(error)),
            };
            let len = range.len();
            self.frames.borrow_mut().bytes(frame)[range].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        (done, Ok(()))
    }

    /// The hardware: a translation that allows the access, or a fault.
    fn translate(
        &mut self,
        space: usize,
        page: u64,
        access: Access,
    ) -> Result<(Frame, bool), Errno> {
        for _ in 0..4 {
            match self.space(space).memory.map.get(&page) {
                Some(found) if access == Access::Load || found.1 => return Ok(*found),
                _ => vm::fault(&mut self.process(space), page, access)?,
            }
        }
        panic!("page {page}: the fault comes again and again");
    }

    /// Snapshot handles and their references.
    pub fn handles(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.handles
            .iter()
            .map(|(id, handle)| (*id, handle.references))
    }

    fn fire(&mut self, point: Point) {
        if self.interrupt.as_ref().is_some_and(|(at, _)| *at == point)
            && let Some((_, interrupt)) = self.interrupt.take()
        {
            interrupt(self);
        }
    }

    /// Counts a message; fails it if its time has come.
    fn message(&mut self) -> Result<(), Errno> {
        self.messages += 1;
        match &mut self.fail_after {
            Some(0) => {
                self.fail_after = None;
                Err(Errno::EIO)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn new_handle(&mut self, file: File) -> SnapId {
        self.last_handle += 1;
        let handle = Handle {
            references: 1,
            file,
        };
        self.handles.insert(self.last_handle, handle);
        SnapId(self.last_handle)
    }

    fn handle(&mut self, snap: SnapId) -> &mut Handle {
        self.handles.get_mut(&snap.0).expect("the snapshot is held")
    }

    fn drop_handle(&mut self, snap: SnapId) {
        let handle = self.handle(snap);
        handle.references -= 1;
        if handle.references == 0 {
            self.handles.remove(&snap.0);
            self.clunks.push(snap.0);
            self.send_clunks();
        }
    }

    /// A clunk does not overtake what was sent before it.
    fn send_clunks(&mut self) {
        if self.sent.values().all(|(waiting, _)| waiting.is_empty()) {
            for snap in std::mem::take(&mut self.clunks) {
                self.servers.clunk(snap);
            }
        }
    }

    /// Hands a message to its server.
    fn deliver(&mut self, wid: u64, mut sent: Sent) -> Option<PutReply> {
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
            Ok(reply) => return Some(reply),
            Err(error) => entry.1 = entry.1.or(Some(error)),
        }
        None
    }

    /// Copies what was kept in frames into the message, and lets them go.
    fn copy_data(&mut self, sent: &mut Sent) {
        let mut frames = self.frames.borrow_mut();
        for gather in sent.frames.drain(..) {
            let range = gather.at as usize..(gather.at + gather.len) as usize;
            sent.staged
                .data
                .extend_from_slice(&frames.bytes(gather.frame)[range]);
            frames.release(gather.frame);
        }
    }
}

/// The pages of a range and the bytes of each.
fn by_page(at: usize, n: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let end = at + n;
    (at / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let start = page * PAGE;
        (
            page as u64,
            at.max(start) - start..end.min(start + PAGE) - start,
        )
    })
}

/// A process in a system call or fault.
pub struct Process<'w, S> {
    /// The kernel.
    pub world: &'w mut World<S>,
    /// Which process.
    pub space: usize,
    /// Deferral is off.
    pub eager: bool,
}

impl<S: Servers> Host for Process<'_, S> {
    type Memory = SimMemory;
    type File = File;

    fn with<R>(&mut self, f: impl FnOnce(&mut Segment, &mut SimMemory) -> R) -> R {
        let space = self.world.space(self.space);
        f(&mut space.segment, &mut space.memory)
    }

    fn snap(
        &mut self,
        file: File,
        off: u64,
        count: u64,
        grow: Option<SnapId>,
    ) -> Result<Snapped, Errno> {
        self.world.fire(Point::BeforeSnap);
        self.world.message()?;
        let snap = match grow {
            Some(snap) => {
                assert_eq!(self.world.handle(snap).file, file);
                snap
            }
            None => self.world.new_handle(file),
        };
        let taken = self.world.servers.snap(file, snap.0, off, count);
        let count = match taken {
            Ok(count) => count,
            Err(error) => {
                if grow.is_none() {
                    self.world.drop_handle(snap);
                }
                return Err(error);
            }
        };
        self.world.fire(Point::AfterSnap);
        Ok(Snapped { snap, count })
    }

    fn new_snap(&mut self, file: File) -> Result<SnapId, Errno> {
        Ok(self.world.new_handle(file))
    }

    fn retain_snap(&mut self, snap: SnapId) {
        self.world.handle(snap).references += 1;
    }

    fn release_snap(&mut self, snap: SnapId) {
        self.world.drop_handle(snap);
    }

    fn holders(&self, snap: SnapId) -> u32 {
        self.world.handles[&snap.0].references
    }

    fn same_server(&self, snap: SnapId, file: File) -> bool {
        let servers = &self.world.servers;
        servers.server_of(self.world.handles[&snap.0].file) == servers.server_of(file)
    }

    fn same_file(&self, snap: SnapId, file: File) -> bool {
        self.world.handles[&snap.0].file == file
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

    fn read_run(
        &mut self,
        from: Origin<File>,
        off: u64,
        frames: &[Frame],
        at: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        self.world.message()?;
        assert!(len as u64 <= self.world.config.iounit.max(vm::PAGE));
        let mut bytes = vec![0; len];
        let got = match from {
            Origin::Snap(snap) => self.world.servers.read_snap(snap.0, off, &mut bytes)?,
            Origin::Live(file) => self.world.servers.read_live(file, off, &mut bytes)?,
        };
        self.world.bytes_in += got as u64;
        self.world.fire(Point::Fill);
        let mut memory = self.world.frames.borrow_mut();
        for (i, byte) in bytes[..got].iter().enumerate() {
            memory.bytes(frames[(at + i) / PAGE])[(at + i) % PAGE] = *byte;
        }
        Ok(got)
    }

    fn put_begin(&mut self, _file: File) -> Result<u64, Errno> {
        self.world.last_wid += 1;
        Ok(self.world.last_wid)
    }

    fn put_send(&mut self, put: &Put<'_, File>) -> Result<(), Errno> {
        let data: u64 = put.data.iter().map(|g| u64::from(g.len)).sum();
        assert!(data <= self.world.config.iounit && put.ops.len() <= self.world.config.ops);
        let named = put.ops.iter().map(|op| {
            let kind = match op.kind {
                Kind::Data => StagedKind::Data,
                Kind::Zero => StagedKind::Zero,
                Kind::Keep { snap, soff } => StagedKind::Keep { snap: snap.0, soff },
            };
            (kind, op.off, op.len)
        });
        let staged = Staged {
            file: put.file,
            wid: put.wid,
            off: put.off,
            append: put.append,
            commit: put.commit,
            into: put.into.map(|snap| snap.0),
            ops: named.collect(),
            data: Vec::new(),
        };
        let frames = put.data.to_vec();
        for gather in &frames {
            self.world.frames.borrow_mut().retain(gather.frame);
        }
        let mut sent = Sent { staged, frames };
        if !self.world.config.keeps_frames {
            self.world.copy_data(&mut sent);
            if !put.commit {
                self.world.deliver(put.wid, sent);
                return Ok(());
            }
        }
        self.world.sent.entry(put.wid).or_default().0.push(sent);
        Ok(())
    }

    fn put_wait(&mut self, _file: File, wid: u64) -> Result<PutReply, Errno> {
        self.world.fire(Point::BeforeCommit);
        let waiting = std::mem::take(&mut self.world.sent.entry(wid).or_default().0);
        let mut last = None;
        for sent in waiting {
            last = self.world.deliver(wid, sent);
        }
        self.world.send_clunks();
        self.world.fire(Point::AfterCommit);
        match self.world.sent.remove(&wid) {
            Some((_, Some(error))) => Err(error),
            _ => last.ok_or(Errno::EPROTO),
        }
    }

    fn put_abort(&mut self, file: File, wid: u64) {
        for mut sent in self.world.sent.remove(&wid).unwrap_or_default().0 {
            self.world.copy_data(&mut sent);
        }
        self.world.servers.abort(file, wid);
        self.world.send_clunks();
    }

    fn wait_fill(&mut self, _page: u64, _ticket: Ticket) -> Result<(), Errno> {
        // The fill is that of the operation this one interrupts.
        Err(Errno::EINTR)
    }

    fn wake_fill(&mut self, _page: u64, _ticket: Ticket) {}

    fn deferred(&self) -> bool {
        !self.eager
    }

    fn limits(&self, file: File) -> Limits {
        Limits {
            iounit: self.world.config.iounit,
            ops: self.world.config.ops,
            wmax: self.world.config.wmax,
            snapshots: self.world.servers.has_snapshots(file),
        }
    }
}
