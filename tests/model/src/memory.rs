//! Frames and translations of a simulated machine.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use vm::{Cache, Count, Epochs, Frame, Kept, Memory, NoMemory, Owner, SnapId};

use crate::PAGE;
use crate::countdown::Countdown;
use crate::footprint::{Object, Trace};
use crate::server::News;

/// The content of unwritten and freed frames: bytes that would be noticed.
const JUNK: u8 = 0xa5;

/// Most idle frames: few, so that tests meet those that are freed.
const IDLE_MAX: usize = 6;

/// All frames of the machine. Copies share contents until one of them writes.
#[derive(Clone)]
pub struct Frames {
    frames: Vec<Entry>,
    free: Vec<u32>,
    zeros: Rc<[u8; PAGE]>,
    junk: Rc<[u8; PAGE]>,
    /// Overlay nodes in use.
    pub nodes: u64,
    /// Allocations that fail.
    pub denied: Countdown,
    /// The record of used objects, step by step.
    pub trace: Trace,
    /// The counts of the core, by [`Count`].
    pub counts: [u64; 11],
    /// The frame cache.
    pub cache: Cache,
    /// The frames in it that nobody has, in the order in which they became so.
    idle: Vec<u32>,
    /// At which epochs the snapshots are, by handle.
    pub epochs: BTreeMap<u32, Epochs>,
    /// The owners of frames and nodes, as the core told.
    pub owners: BTreeSet<(u32, Owner)>,
}

#[derive(Clone)]
struct Entry {
    references: u32,
    /// It is in the cache.
    cached: bool,
    bytes: Rc<[u8; PAGE]>,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            frames: Vec::new(),
            free: Vec::new(),
            zeros: Rc::new([0; PAGE]),
            junk: Rc::new([JUNK; PAGE]),
            nodes: 0,
            denied: Countdown::default(),
            trace: Trace::default(),
            counts: [0; 11],
            cache: Cache::new(),
            idle: Vec::new(),
            epochs: BTreeMap::new(),
            owners: BTreeSet::new(),
        }
    }
}

impl Frames {
    fn alloc(&mut self, content: Rc<[u8; PAGE]>) -> Option<Frame> {
        if self.denied.event().is_some() {
            return None;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.frames.push(Entry {
                references: 0,
                cached: false,
                bytes: self.junk.clone(),
            });
            self.frames.len() as u32 - 1
        });
        let entry = &mut self.frames[number as usize];
        assert_eq!(entry.references, 0);
        self.trace.fresh(Object::Frame(number));
        entry.references = 1;
        entry.bytes = content;
        Some(Frame(number))
    }

    fn entry(&mut self, frame: Frame) -> &mut Entry {
        self.trace.changes(Object::Frame(frame.0));
        let entry = &mut self.frames[frame.0 as usize];
        assert!(entry.references > 0, "{frame:?} is free");
        entry
    }

    /// Adds a reference.
    pub fn retain(&mut self, frame: Frame) {
        self.entry(frame).references += 1;
    }

    /// Drops one.
    pub fn release(&mut self, frame: Frame) {
        let entry = self.entry(frame);
        entry.references -= 1;
        if entry.references > 0 {
            return;
        }
        if !entry.cached {
            return self.free(frame.0);
        }
        self.trace.changes(Object::Cache);
        self.idle.push(frame.0);
        // As in the kernel: none is kept where an allocation is to fail.
        let most = if self.denied.is_set() { 0 } else { IDLE_MAX };
        while self.idle.len() > most {
            self.free_oldest();
        }
    }

    fn free(&mut self, number: u32) {
        self.frames[number as usize].bytes = self.junk.clone();
        self.free.push(number);
    }

    /// Frees the frame that has been idle for the longest time.
    fn free_oldest(&mut self) {
        let oldest = self.idle.remove(0);
        self.trace.changes(Object::Frame(oldest));
        self.frames[oldest as usize].cached = false;
        self.cache.remove(Frame(oldest));
        self.free(oldest);
    }

    /// Frees all idle frames.
    pub fn free_idle(&mut self) {
        while !self.idle.is_empty() {
            self.free_oldest();
        }
    }

    /// Adds a reference to a frame that the cache names.
    fn take_up(&mut self, frame: Frame) {
        if let Some(at) = self.idle.iter().position(|idle| *idle == frame.0) {
            self.trace.changes(Object::Cache);
            self.idle.remove(at);
            self.trace.changes(Object::Frame(frame.0));
            self.frames[frame.0 as usize].references = 1;
        } else {
            self.retain(frame);
        }
    }

    /// Returns true if the only holder of a frame may write it; the cache then
    /// drops it.
    fn make_exclusive(&mut self, frame: Frame) -> bool {
        self.content(frame);
        if self.references(frame) > 1 {
            return false;
        }
        if self.is_cached(frame) {
            self.trace.changes(Object::Cache);
            self.entry(frame).cached = false;
            self.cache.remove(frame);
        }
        true
    }

    fn cached(&mut self, snap: SnapId, soff: u64) -> Option<Frame> {
        self.trace.uses(Object::Cache);
        let frame = self.cache.find(self.epochs.get(&snap.0)?, soff)?;
        assert!(self.is_cached(frame), "{frame:?} is not marked");
        self.take_up(frame);
        Some(frame)
    }

    fn uncached(&mut self, snap: SnapId, soff: u64, pages: u64) -> u64 {
        self.trace.uses(Object::Cache);
        let epochs = self.epochs.get(&snap.0);
        epochs.map_or(pages, |epochs| self.cache.missing(epochs, soff, pages))
    }

    fn publish(&mut self, snap: SnapId, soff: u64, frame: Frame) -> Option<Frame> {
        self.trace.changes(Object::Cache);
        let idle = &self.idle;
        let is_idle = |frame: Frame| idle.contains(&frame.0);
        let epochs = self.epochs.get(&snap.0)?;
        match self.cache.insert(epochs, soff, frame, is_idle) {
            Kept::Yes => self.entry(frame).cached = true,
            Kept::Instead(gone) => {
                self.entry(frame).cached = true;
                self.idle.retain(|idle| *idle != gone.0);
                self.trace.changes(Object::Frame(gone.0));
                self.frames[gone.0 as usize].cached = false;
                self.free(gone.0);
            }
            Kept::No => {}
            Kept::Other(first) => {
                self.take_up(first);
                return Some(first);
            }
        }
        None
    }

    /// Returns true if the frame is in the cache.
    pub fn is_cached(&self, frame: Frame) -> bool {
        self.frames[frame.0 as usize].cached
    }

    /// The newest known epoch of a server's file.
    pub fn known(&self, (server, file): (u32, u64)) -> u64 {
        self.trace.uses(Object::Cache);
        self.cache.known(self.cache.file(server, file))
    }

    /// Records the statements of an answer about a file and a snapshot.
    pub fn learn(
        &mut self,
        (server, file): (u32, u64),
        snap: Option<(u32, Range<u64>)>,
        news: &News,
    ) {
        self.trace.changes(Object::Cache);
        let file = self.cache.file(server, file);
        let News { known, epoch, .. } = *news;
        self.cache.note(file, known, epoch, news.changes.as_ref());
        if let Some((snap, range)) = snap
            && let Some(epochs) = self.epochs.get_mut(&snap)
        {
            self.cache.set(epochs, range, epoch);
        }
    }

    /// References to a frame, 0 if it is free.
    pub fn references(&self, frame: Frame) -> u32 {
        self.frames[frame.0 as usize].references
    }

    /// A frame's bytes, to be changed.
    pub fn bytes(&mut self, frame: Frame) -> &mut [u8; PAGE] {
        assert!(
            !self.is_cached(frame),
            "a frame that others may find is written"
        );
        Rc::make_mut(&mut self.entry(frame).bytes)
    }

    /// A frame's bytes.
    pub fn content(&self, frame: Frame) -> &[u8; PAGE] {
        self.trace.uses(Object::Frame(frame.0));
        let entry = &self.frames[frame.0 as usize];
        assert!(entry.references > 0, "{frame:?} is free");
        &entry.bytes
    }

    /// Frames in use, nodes included, idle ones not.
    pub fn used(&self) -> u64 {
        (self.frames.len() - self.free.len() - self.idle.len()) as u64
    }
}

/// One segment's view of the machine.
pub struct SimMemory {
    /// The machine's frames.
    pub frames: Rc<RefCell<Frames>>,
    /// The hardware translations: frame and write permission by page.
    pub map: BTreeMap<u64, (Frame, bool)>,
}

impl SimMemory {
    /// Nothing is mapped.
    pub fn new(frames: Rc<RefCell<Frames>>) -> SimMemory {
        SimMemory {
            frames,
            map: BTreeMap::new(),
        }
    }
}

impl Memory for SimMemory {
    fn alloc_zeroed(&mut self) -> Option<Frame> {
        let mut frames = self.frames.borrow_mut();
        let zeros = frames.zeros.clone();
        frames.alloc(zeros)
    }

    fn alloc(&mut self) -> Option<Frame> {
        let mut frames = self.frames.borrow_mut();
        let junk = frames.junk.clone();
        frames.alloc(junk)
    }

    fn alloc_copy(&mut self, of: Frame) -> Option<Frame> {
        let mut frames = self.frames.borrow_mut();
        frames.content(of);
        let content = frames.frames[of.0 as usize].bytes.clone();
        frames.alloc(content)
    }

    fn retain(&mut self, frame: Frame) {
        self.frames.borrow_mut().retain(frame);
    }

    fn release(&mut self, frame: Frame) {
        self.frames.borrow_mut().release(frame);
    }

    fn shared(&self, frame: Frame) -> bool {
        let frames = self.frames.borrow();
        frames.content(frame);
        frames.references(frame) > 1
    }

    fn is_held(&self, frame: Frame) -> bool {
        let frames = self.frames.borrow();
        let least = Owner::page(Frame(0), 0);
        let pages = frames.owners.range((frame.0, least)..(frame.0 + 1, least));
        frames.references(frame) as usize > pages.count()
    }

    fn make_exclusive(&mut self, frame: Frame) -> bool {
        self.frames.borrow_mut().make_exclusive(frame)
    }

    fn cached(&mut self, snap: SnapId, soff: u64) -> Option<Frame> {
        self.frames.borrow_mut().cached(snap, soff)
    }

    fn uncached(&mut self, snap: SnapId, soff: u64, pages: u64) -> u64 {
        self.frames.borrow_mut().uncached(snap, soff, pages)
    }

    fn publish(&mut self, snap: SnapId, soff: u64, frame: Frame) -> Option<Frame> {
        self.frames.borrow_mut().publish(snap, soff, frame)
    }

    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), len: usize) {
        let mut frames = self.frames.borrow_mut();
        let source = *frames.content(from.0);
        assert!(frames.references(to.0) == 1, "a shared frame is written");
        frames.bytes(to.0)[to.1..to.1 + len].copy_from_slice(&source[from.1..from.1 + len]);
    }

    fn zero(&mut self, frame: Frame, at: usize, len: usize) {
        let mut frames = self.frames.borrow_mut();
        assert!(frames.references(frame) == 1, "a shared frame is written");
        frames.bytes(frame)[at..at + len].fill(0);
    }

    fn alloc_node(&mut self) -> Option<Frame> {
        let node = self.alloc_zeroed()?;
        self.frames.borrow_mut().nodes += 1;
        Some(node)
    }

    fn share_node(&mut self, node: Frame) {
        self.frames.borrow_mut().retain(node);
    }

    fn is_shared_node(&self, node: Frame) -> bool {
        let frames = self.frames.borrow();
        frames.trace.uses(Object::Frame(node.0));
        frames.references(node) > 1
    }

    fn free_node(&mut self, node: Frame) {
        let mut frames = self.frames.borrow_mut();
        if frames.references(node) > 1 {
            return frames.release(node);
        }
        frames.nodes -= 1;
        assert!(frames.content(node).iter().all(|&b| b == 0), "node in use");
        frames.release(node);
        assert_eq!(frames.references(node), 0);
    }

    fn entry(&self, node: Frame, index: usize) -> u64 {
        let frames = self.frames.borrow();
        let bytes = &frames.content(node)[index * 8..][..8];
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    }

    fn set_entry(&mut self, node: Frame, index: usize, value: u64) {
        let mut frames = self.frames.borrow_mut();
        assert!(frames.references(node) == 1, "a shared node is changed");
        frames.bytes(node)[index * 8..][..8].copy_from_slice(&value.to_le_bytes());
    }

    fn own(&mut self, frame: Frame, owner: Owner) {
        let new = self.frames.borrow_mut().owners.insert((frame.0, owner));
        assert!(new, "{frame:?} has {owner:?} twice");
    }

    fn disown(&mut self, frame: Frame, owner: Owner) {
        let gone = self.frames.borrow_mut().owners.remove(&(frame.0, owner));
        assert!(gone, "{frame:?} does not have {owner:?}");
    }

    fn map(&mut self, page: u64, frame: Frame, writable: bool) -> Result<(), NoMemory> {
        if !self.map.contains_key(&page) && self.frames.borrow_mut().denied.event().is_some() {
            return Err(NoMemory);
        }
        self.map.insert(page, (frame, writable));
        Ok(())
    }

    fn alloc_copy_quickly(&mut self, of: Frame) -> Option<Frame> {
        // As in the kernel: the long way where an allocation is to fail.
        if self.frames.borrow().denied.is_set() {
            return None;
        }
        self.alloc_copy(of)
    }

    fn map_zeroed_quickly(&mut self, page: u64, owner: Owner) -> Option<Frame> {
        // As in the kernel: the long way where an allocation is to fail.
        if self.frames.borrow().denied.is_set() {
            return None;
        }
        let frame = self.alloc_zeroed()?;
        self.map.insert(page, (frame, true));
        self.own(frame, owner);
        Some(frame)
    }

    fn unmap(&mut self, pages: Range<u64>) {
        if !pages.is_empty() {
            let gone: Vec<u64> = self.map.range(pages).map(|(page, _)| *page).collect();
            for page in gone {
                self.map.remove(&page);
            }
        }
    }

    fn protect(&mut self, pages: Range<u64>) {
        if !pages.is_empty() {
            for (_, (_, writable)) in self.map.range_mut(pages) {
                *writable = false;
            }
        }
    }

    fn count(&mut self, what: Count, n: u64) {
        self.frames.borrow_mut().counts[what as usize] += n;
    }
}
