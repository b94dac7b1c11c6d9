//! The simulated swap server, and what a process asks of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use abi::Errno;
use vm::{Frame, Pager, Segment, Swap, SwapId};

use crate::PAGE;
use crate::countdown::Countdown;
use crate::footprint::Object;
use crate::memory::SimMemory;
use crate::process::{Process, Reach};
use crate::run::Failure;
use crate::server::Servers;
use crate::world::{Point, World};

/// A swap file.
#[derive(Clone, Default)]
struct SwapFile {
    references: u32,
    pages: BTreeMap<u64, Rc<[u8; PAGE]>>,
}

/// How a request fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// With an error of the server.
    Error,
    /// A page-out finds no room, a page-in gets one bit wrong.
    FullOrFlipped,
}

/// The swap server.
#[derive(Clone, Default)]
pub struct SwapServer {
    files: BTreeMap<u32, SwapFile>,
    last: u32,
    /// Requests so far.
    pub requests: u64,
    /// Requests that fail.
    pub failures: Countdown<Harm>,
    /// There is no room for more pages.
    pub full: bool,
}

impl SwapServer {
    /// Injects a failure.
    pub fn fail(&mut self, failure: Failure, harm: Harm) {
        self.failures.begin(failure, harm);
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        self.failures.heal();
        self.full = false;
    }

    /// How this request fails, if it does.
    fn fails(&mut self) -> Option<Harm> {
        self.requests += 1;
        self.failures.event()
    }

    /// Handles and their references.
    pub fn handles(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.files.iter().map(|(id, file)| (*id, file.references))
    }

    /// Pages that take room, in all files.
    pub fn pages(&self) -> usize {
        self.files.values().map(|file| file.pages.len()).sum()
    }

    /// The content of a place. Zeros, if nothing was written there.
    pub fn content(&self, file: SwapId, page: u64) -> [u8; PAGE] {
        let file = self.files.get(&file.0);
        file.and_then(|file| file.pages.get(&page))
            .map_or([0; PAGE], |bytes| **bytes)
    }

    /// Changes a bit of a place for good.
    pub fn flip(&mut self, file: SwapId, page: u64, bit: usize) {
        let file = self.files.get_mut(&file.0).expect("the file exists");
        let bytes = file.pages.get_mut(&page).expect("the page is there");
        Rc::make_mut(bytes)[bit / 8] ^= 1 << (bit % 8);
    }

    fn file(&mut self, file: SwapId) -> &mut SwapFile {
        self.files.get_mut(&file.0).expect("the swap file is held")
    }
}

impl<S: Servers> World<S> {
    /// Panics if a process is in one of these places.
    fn nobody_in(&mut self, file: SwapId, pages: Range<u64>) {
        for space in self.spaces.iter().flatten() {
            for page in pages.clone() {
                let used = space.segment.swap_of(&space.memory, page);
                assert_ne!(used, Some(file), "page {page} in swap is overwritten");
            }
        }
    }

    fn new_swap(&mut self) -> Result<SwapId, Errno> {
        if let Some(harm) = self.swap.fails() {
            return Err(match harm {
                Harm::Error => Errno::EIO,
                Harm::FullOrFlipped => Errno::ENOSPC,
            });
        }
        self.swap.last += 1;
        let file = SwapFile {
            references: 1,
            ..SwapFile::default()
        };
        self.swap.files.insert(self.swap.last, file);
        Ok(SwapId(self.swap.last))
    }

    fn swap_out(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
        assert!(!frames.is_empty() && frames.len() <= vm::RUN_MAX);
        self.nobody_in(file, page..page + frames.len() as u64);
        let harm = self.swap.fails();
        let full = self.swap.full || harm == Some(Harm::FullOrFlipped);
        let memory = self.frames.borrow();
        let file = self.swap.file(file);
        for (page, frame) in (page..).zip(frames) {
            let bytes = Rc::new(*memory.content(*frame));
            if !full || file.pages.contains_key(&page) {
                file.pages.insert(page, bytes);
            }
        }
        match (full, harm) {
            (true, _) => Err(Errno::ENOSPC),
            // Something of it may have been done.
            (false, Some(_)) => Err(Errno::EIO),
            (false, None) => Ok(()),
        }
    }

    /// The bytes of pages, as the server sends them.
    fn swap_read(
        &mut self,
        file: SwapId,
        page: u64,
        count: usize,
    ) -> Result<Vec<[u8; PAGE]>, Errno> {
        let harm = self.swap.fails();
        if harm == Some(Harm::Error) {
            return Err(Errno::EIO);
        }
        let pages = (page..).take(count);
        let mut bytes: Vec<_> = pages.map(|page| self.swap.content(file, page)).collect();
        if harm.is_some() {
            bytes[0][77] ^= 4;
        }
        Ok(bytes)
    }

    fn drop_swap(&mut self, file: SwapId) {
        let held = self.swap.file(file);
        held.references -= 1;
        if held.references == 0 {
            self.swap.files.remove(&file.0);
        }
    }

    fn discard(&mut self, file: SwapId, pages: &[Range<u64>]) -> Result<(), Errno> {
        assert!(!pages.is_empty() && pages.len() <= vm::TRIM_MAX);
        assert!(pages.iter().all(|r| r.start < r.end));
        assert!(pages.is_sorted_by(|a, b| a.end <= b.start));
        for range in pages {
            self.nobody_in(file, range.clone());
            self.swap
                .file(file)
                .pages
                .retain(|page, _| !range.contains(page));
        }
        self.swap.fails().map_or(Ok(()), |_| Err(Errno::EIO))
    }
}

/// One step at the swap server.
fn at_server<R: Reach, T>(reach: &mut R, f: impl FnOnce(&mut World<R::Servers>) -> T) -> T {
    reach.pause(Point::Swap);
    let result = reach.with(|world| {
        world.trace(|t| t.changes(Object::Swap));
        f(world)
    });
    reach.pause(Point::Swapped);
    result
}

fn retain<R: Reach>(reach: &mut R, file: SwapId) {
    reach.with(|world| {
        world.trace(|t| t.changes(Object::Swap));
        world.swap.file(file).references += 1;
    });
}

fn release<R: Reach>(reach: &mut R, file: SwapId) {
    reach.with(|world| {
        world.trace(|t| t.changes(Object::Swap));
        world.drop_swap(file);
    });
}

impl<R: Reach> Swap for Process<R> {
    fn new_swap(&mut self) -> Result<SwapId, Errno> {
        at_server(&mut self.reach, World::new_swap)
    }

    fn retain_swap(&mut self, file: SwapId) {
        retain(&mut self.reach, file);
    }

    fn release_swap(&mut self, file: SwapId) {
        release(&mut self.reach, file);
    }

    fn swap_holders(&self, file: SwapId) -> u32 {
        self.reach.look(|world| {
            world.trace(|t| t.uses(Object::Swap));
            world.swap.files.get(&file.0).map_or(0, |f| f.references)
        })
    }

    fn swap_out(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
        at_server(&mut self.reach, |world| world.swap_out(file, page, frames))
    }

    fn swap_in(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
        let count = frames.len();
        let bytes = at_server(&mut self.reach, |world| world.swap_read(file, page, count))?;
        self.reach.with(|world| {
            let mut memory = world.frames.borrow_mut();
            for (frame, bytes) in frames.iter().zip(bytes) {
                *memory.bytes(*frame) = bytes;
            }
        });
        Ok(())
    }

    fn discard_swap(&mut self, file: SwapId, pages: &[Range<u64>]) -> Result<(), Errno> {
        at_server(&mut self.reach, |world| world.discard(file, pages))
    }

    fn discard_worth(&self) -> u64 {
        // One page is worth it where bytes of snapshots are.
        self.reach
            .look(|world| world.config.trim_worth.div_ceil(vm::PAGE))
    }
}

/// A process that makes pages of a segment leave memory, which may be gone when it
/// looks again.
pub struct Reclaim<R> {
    /// Its swap server.
    pub process: Process<R>,
    /// Which segment, of all that ever were.
    pub born: u64,
}

impl<R: Reach> Swap for Reclaim<R> {
    fn new_swap(&mut self) -> Result<SwapId, Errno> {
        self.process.new_swap()
    }

    fn retain_swap(&mut self, file: SwapId) {
        self.process.retain_swap(file);
    }

    fn release_swap(&mut self, file: SwapId) {
        self.process.release_swap(file);
    }

    fn swap_holders(&self, file: SwapId) -> u32 {
        self.process.swap_holders(file)
    }

    fn swap_out(&mut self, file: SwapId, page: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.process.swap_out(file, page, frames)
    }
}

impl<R: Reach> Pager for Reclaim<R> {
    type Memory = SimMemory;

    fn with<T>(&mut self, f: impl FnOnce(&mut Segment, &mut SimMemory) -> T) -> Option<T> {
        let (space, born) = (self.process.space, self.born);
        self.process.reach.pause(Point::Look);
        let lives = self.process.reach.look(|world| {
            world.trace(|t| t.uses(Object::Segment(space)));
            let owner = world.spaces.get(space).and_then(Option::as_ref);
            owner.is_some_and(|owner| owner.born == born)
        });
        lives.then(|| self.process.locked(f))
    }

    fn release(&mut self, frame: Frame) {
        self.process
            .reach
            .with(|world| world.frames.borrow_mut().release(frame));
    }
}
