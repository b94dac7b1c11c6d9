//! The simulated kernel: processes, snapshot handles and messages. It is
//! single-threaded; where a real kernel would wait, a test can inject another
//! operation ([`World::interrupt`]) or make the message fail.

mod failures;
mod messages;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use abi::Errno;
use vm::{Hint, Segment, SegmentNumber, SnapId};

use crate::PAGE;
use crate::countdown::Countdown;
use crate::footprint::{Object, Trace};
use crate::memory::{Frames, SimMemory};
use crate::process::Process;
use crate::server::{File, News, Servers};
use crate::swap::SwapServer;
pub(crate) use messages::{Committed, Sent};

/// The parameters of a simulated kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Most data bytes in a message.
    pub iounit: u64,
    /// Most operations in a message.
    pub ops: usize,
    /// Most bytes in a commit.
    pub wmax: u64,
    /// Pages in a segment.
    pub pages: u64,
    /// Bytes that are worth telling a server that nobody needs them.
    pub trim_worth: u64,
    /// The kernel keeps the frames of a message instead of copying them, until
    /// the server takes the message.
    pub keeps_frames: bool,
    /// Pages that come with each fault, from the first on; 0: as read-ahead learns.
    pub run: usize,
}

/// Where in an operation something else happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// The program is about to load or store.
    Access,
    /// Before a locked look at the segment.
    Look,
    /// Between two steps of long work.
    Pause,
    /// A snapshot's handle is not yet given back.
    Release,
    /// Processes that wait for a fill have not been told of its end.
    Wake,
    /// The request for a snapshot is not yet at the server.
    BeforeSnap,
    /// The snapshot is taken, nothing else has been done.
    AfterSnap,
    /// The request for bytes of a snapshot is not yet at the server.
    Fetch,
    /// Bytes of a snapshot have been read and not yet arrived.
    Fill,
    /// A message of a write has not left yet.
    Send,
    /// A message of a write is not yet at the server.
    Deliver,
    /// All of a write is staged, the commit is not yet at the server.
    BeforeCommit,
    /// The commit is done, its answer has not yet arrived.
    AfterCommit,
    /// A request is not yet at the swap server.
    Swap,
    /// The swap server has done it, its answer has not yet arrived.
    Swapped,
}

/// An operation injected there.
pub type Interrupt<S> = Box<dyn FnOnce(&mut World<S>)>;

/// A process's segment and what it has of the machine.
pub struct Space {
    /// The real thing.
    pub segment: Segment,
    /// Its view of the machine.
    pub memory: SimMemory,
    /// Its number among all there ever were.
    pub born: u64,
}

impl Space {
    /// A description in which every change shows, except of the overlay's
    /// nodes.
    pub(crate) fn describe(&self) -> String {
        format!("{:?} {:?}", self.segment, self.memory.map)
    }
}

/// A snapshot handle.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) references: u32,
    pub(crate) file: File,
}

/// The simulated kernel.
pub struct World<S> {
    /// The file servers.
    pub servers: S,
    /// The machine's frames.
    pub frames: Rc<RefCell<Frames>>,
    /// The swap server.
    pub swap: SwapServer,
    /// Processes.
    pub spaces: Vec<Option<Space>>,
    /// How it is made.
    pub config: Config,
    /// Messages with an answer.
    pub messages: u64,
    /// The number of trims among them.
    pub trims: u64,
    /// Data bytes from servers.
    pub bytes_in: u64,
    /// Data bytes to servers.
    pub bytes_out: u64,
    /// Messages that fail.
    pub lost: Countdown,
    /// Requests for snapshots for which the server has no room.
    pub refused: Countdown,
    /// The only files whose snapshots may be lost.
    pub may_be_lost: Vec<File>,
    /// Happens once, at that point.
    pub interrupt: Option<(Point, Interrupt<S>)>,
    handles: BTreeMap<u32, Handle>,
    last_handle: u32,
    last_wid: u64,
    last_born: u64,
    /// Messages on their way, by wid, and the first error of those answered.
    sent: HashMap<u64, (VecDeque<Sent>, Option<Errno>)>,
}

impl<S: Servers> World<S> {
    /// One process with a segment of zeros.
    pub fn new(servers: S, config: Config) -> World<S> {
        let frames = Rc::new(RefCell::new(Frames::default()));
        let mut world = World {
            servers,
            frames,
            swap: SwapServer::default(),
            spaces: Vec::new(),
            config,
            messages: 0,
            trims: 0,
            bytes_in: 0,
            bytes_out: 0,
            lost: Countdown::default(),
            refused: Countdown::default(),
            may_be_lost: Vec::new(),
            interrupt: None,
            handles: BTreeMap::new(),
            last_handle: 0,
            last_wid: 0,
            last_born: 0,
            sent: HashMap::new(),
        };
        world.spawn(0);
        world
    }

    /// A copy of everything; both go on on their own. `servers` is the copy of
    /// [`World::servers`]. Nothing may be under way.
    pub fn duplicate(&self, servers: S) -> World<S> {
        assert!(self.sent.is_empty() && self.interrupt.is_none());
        let frames = Rc::new(RefCell::new(self.frames.borrow().clone()));
        let space = |space: &Space| Space {
            segment: space.segment.clone(),
            memory: SimMemory {
                frames: frames.clone(),
                map: space.memory.map.clone(),
            },
            born: space.born,
        };
        let spaces = self.spaces.iter().map(|at| at.as_ref().map(space));
        World {
            servers,
            spaces: spaces.collect(),
            frames: frames.clone(),
            swap: self.swap.clone(),
            handles: self.handles.clone(),
            sent: HashMap::new(),
            interrupt: None,
            may_be_lost: self.may_be_lost.clone(),
            ..*self
        }
    }

    pub(crate) fn add_space(&mut self, segment: Segment, at: usize) {
        self.trace(|t| t.changes(Object::Segment(at)));
        if self.spaces.len() <= at {
            self.spaces.resize_with(at + 1, || None);
        }
        let memory = SimMemory::new(self.frames.clone());
        self.last_born += 1;
        self.spaces[at] = Some(Space {
            segment,
            memory,
            born: self.last_born,
        });
    }

    /// The number of a process's segment among all there ever were.
    pub(crate) fn born(&self, space: usize) -> u64 {
        self.spaces[space]
            .as_ref()
            .expect("the process exists")
            .born
    }

    /// A process of the world in an operation.
    pub fn process(&mut self, space: usize) -> Process<&mut World<S>> {
        Process {
            reach: self,
            space,
            eager: false,
        }
    }

    /// The process's segment and memory.
    pub fn space(&mut self, space: usize) -> &mut Space {
        self.spaces[space].as_mut().expect("the process exists")
    }

    /// The process `new` comes into being, with a segment of zeros.
    pub fn spawn(&mut self, new: usize) {
        let mut segment = Segment::new(self.config.pages);
        segment.set_number(SegmentNumber::new(new as u32));
        segment.set_hint(match self.config.run {
            0 => Hint::None,
            _ => Hint::Sequential,
        });
        self.add_space(segment, new);
    }

    /// The process `child` becomes a copy.
    pub fn fork(&mut self, space: usize, child: usize) -> Result<(), Errno> {
        self.process(space).fork(child)
    }

    /// The process ends.
    pub fn exit(&mut self, space: usize) {
        self.process(space).exit();
    }

    /// The bytes that the process's loads return, faults included.
    pub fn load(&mut self, space: usize, at: usize, n: usize) -> Result<Vec<u8>, Errno> {
        self.process(space).load(at, n)
    }

    /// The process stores; how many bytes before a fault failed.
    pub fn store(&mut self, space: usize, at: usize, bytes: &[u8]) -> (usize, Result<(), Errno>) {
        self.process(space).store(at, bytes)
    }

    /// Snapshot handles and their references.
    pub fn handles(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.handles
            .iter()
            .map(|(id, handle)| (*id, handle.references))
    }

    pub(crate) fn fire(&mut self, point: Point) {
        if self.interrupt.as_ref().is_some_and(|(at, _)| *at == point)
            && let Some((_, interrupt)) = self.interrupt.take()
        {
            interrupt(self);
        }
    }

    /// The key of a file in the frame cache: each server numbers its own.
    fn key(&self, file: File) -> (u32, u64) {
        let server = self.servers.server_of(file);
        let before = (0..file).filter(|other| self.servers.server_of(*other) == server);
        (server as u32, before.count() as u64)
    }

    /// An answer about a file has arrived, and the range of a snapshot that it
    /// is about.
    pub(crate) fn learn(&mut self, file: File, snap: Option<(u32, Range<u64>)>, news: &News) {
        let key = self.key(file);
        self.frames.borrow_mut().learn(key, snap, news);
    }

    pub(crate) fn new_handle(&mut self, file: File) -> SnapId {
        self.last_handle += 1;
        let handle = Handle {
            references: 1,
            file,
        };
        self.handles.insert(self.last_handle, handle);
        let (server, path) = self.key(file);
        self.trace(|t| t.changes(Object::Cache));
        let frames = &mut *self.frames.borrow_mut();
        let epochs = frames.cache.open(server, path);
        frames.epochs.insert(self.last_handle, epochs);
        SnapId(self.last_handle)
    }

    /// For changes of the references.
    pub(crate) fn handle(&mut self, snap: SnapId) -> &mut Handle {
        self.handles.get_mut(&snap.0).expect("the snapshot is held")
    }

    pub(crate) fn held(&self, snap: SnapId) -> &Handle {
        &self.handles[&snap.0]
    }

    pub(crate) fn drop_handle(&mut self, snap: SnapId) {
        self.trace(|t| t.changes(Object::Snapshot(snap.0)));
        let handle = self.handle(snap);
        handle.references -= 1;
        if handle.references == 0 {
            self.handles.remove(&snap.0);
            self.trace(|t| t.changes(Object::Cache));
            let mut frames = self.frames.borrow_mut();
            if let Some(epochs) = frames.epochs.remove(&snap.0) {
                frames.cache.close(epochs);
            }
            drop(frames);
            // It may overtake the messages of a write that are on their way: a
            // server may do them in any order.
            self.trace(|t| t.changes(Object::Server));
            self.servers.clunk(snap.0);
        }
    }

    /// Records the objects of a step.
    pub(crate) fn trace(&self, note: impl FnOnce(&Trace)) {
        note(&self.frames.borrow().trace);
    }

    /// A number no other write has.
    pub(crate) fn new_wid(&mut self) -> u64 {
        self.last_wid += 1;
        self.last_wid
    }
}

/// The pages of a range and the bytes of each.
pub(crate) fn by_page(at: usize, n: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let end = at + n;
    (at / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let start = page * PAGE;
        (
            page as u64,
            at.max(start) - start..end.min(start + PAGE) - start,
        )
    })
}
