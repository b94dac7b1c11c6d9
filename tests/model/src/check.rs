//! Conditions that must hold between any two operations of every program.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use abi::Errno;
use vm::{Extent, Frame, Owner, PageState, Source, SwapId, Tally};

use crate::PAGE;
use crate::server::Servers;
use crate::world::{Space, World};

impl<S: Servers> World<S> {
    /// The content of a sleeping page by its extents, read from the servers,
    /// and the lost parts of it. Panics if that may not be.
    fn asleep(&mut self, space: usize, page: u64) -> ([u8; PAGE], Vec<Range<usize>>) {
        let start = page * vm::PAGE;
        let over = self.space(space).segment.extents();
        let extents: Vec<Extent> = over.over(start..start + vm::PAGE).collect();
        let (mut content, mut lost) = ([0; PAGE], Vec::new());
        for extent in extents {
            let range = (extent.start - start) as usize..(extent.end - start) as usize;
            let (snap, mut soff) = (extent.source.snap.0, extent.source.soff);
            let may_be_lost = self
                .may_be_lost
                .contains(&self.held(extent.source.snap).file);
            let mut at = range.start;
            while at < range.end {
                // Another block may be there.
                let block = range.end.min(at + PAGE - soff as usize % PAGE);
                match self.servers.read_snap(snap, soff, &mut content[at..block]) {
                    Ok(got) if got > 0 => (at, soff) = (at + got, soff + got as u64),
                    Err(Errno::ESTALE) if may_be_lost => {
                        lost.push(at..block);
                        (at, soff) = (block, soff + (block - at) as u64);
                    }
                    got => panic!("snapshot {snap} lost {soff}: {got:?}"),
                }
            }
        }
        (content, lost)
    }

    /// The bytes of pages `[first, end)` as the process would find them, without
    /// any fault.
    pub fn peek(&mut self, space: usize, first: u64, end: u64) -> Vec<u8> {
        self.peek_left(space, first, end).0
    }

    /// The same, and which bytes are lost ([`World::may_be_lost`]).
    pub fn peek_left(
        &mut self,
        space: usize,
        first: u64,
        end: u64,
    ) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut lost) = (Vec::new(), Vec::new());
        for page in first..end {
            let owner = self.space(space);
            let state = owner.segment.state(&owner.memory, page);
            let file = owner.segment.swap_of(&owner.memory, page);
            let content = match (state.frame(), file) {
                (Some(frame), _) => *self.frames.borrow().content(frame),
                (None, Some(file)) => self.in_swap(file, page, state),
                (None, None) => {
                    let (content, gone) = self.asleep(space, page);
                    let shift =
                        |range: Range<usize>| range.start + bytes.len()..range.end + bytes.len();
                    lost.extend(gone.into_iter().map(shift));
                    content
                }
            };
            bytes.extend_from_slice(&content);
        }
        (bytes, lost)
    }

    /// The content of a page in swap.
    fn in_swap(&self, file: SwapId, page: u64, state: PageState) -> [u8; PAGE] {
        let content = self.swap.content(file, page);
        let words = content.as_chunks::<8>().0.as_chunks::<8>().0.iter();
        let sum = vm::checksum(words.map(|words| words.map(u64::from_le_bytes)));
        let kept = state.place().map(|place| place.sum());
        assert_eq!(kept, Some(sum), "page {page} is another in swap");
        content
    }

    /// Panics unless all books are in order: frames, nodes, translations,
    /// associations, snapshots, swap.
    pub fn check(&mut self) {
        let mut snaps: HashMap<u32, u32> = HashMap::new();
        let mut owners = BTreeSet::new();
        for space in 0..self.spaces.len() {
            if self.spaces[space].is_some() {
                self.check_space(space, &mut snaps);
                self.check_shared(space);
                self.add_owners(space, &mut owners);
            }
        }
        let all = self.frames.borrow();
        assert_eq!(all.owners, owners, "owners of frames");
        let (mut frames, mut nodes) = (HashMap::new(), HashMap::new());
        for (frame, owner) in owners {
            let held = match owner.is_of_node() {
                true => &mut nodes,
                false => &mut frames,
            };
            *held.entry(frame).or_insert(0) += 1;
        }
        for (frame, references) in frames.iter().chain(&nodes) {
            let held = all.references(Frame(*frame));
            assert_eq!(held, *references, "references to {frame:?}");
        }
        assert_eq!(all.nodes, nodes.len() as u64, "nodes in use");
        assert_eq!(all.used(), frames.len() as u64 + all.nodes, "frames in use");
        let mut files: HashMap<u32, u32> = HashMap::new();
        for space in self.spaces.iter().flatten() {
            for file in space.segment.swap_files() {
                *files.entry(file.0).or_default() += 1;
            }
        }
        let held: HashMap<u32, u32> = self.swap.handles().collect();
        assert_eq!(held, files, "references to swap files");
        let held: HashMap<u32, u32> = self.handles().collect();
        assert_eq!(held, snaps, "references to snapshots");
        assert_eq!(self.servers.snapshots(), held.len(), "snapshots at servers");
    }

    /// Adds the nodes and frames of a space. A node that several have is added once.
    fn add_owners(&mut self, space: usize, owners: &mut BTreeSet<(u32, Owner)>) {
        let Space {
            segment, memory, ..
        } = self.space(space);
        segment.owners(memory, |frame, owner| {
            owners.insert((frame.0, owner));
        });
    }

    /// Of the frames that are one page of a file at one epoch, the cache has a
    /// single one, which all readers share. (A clean page made of pieces, or
    /// restored by a write, is not in the cache at its epoch.)
    fn check_shared(&mut self, space: usize) {
        let owner = self.space(space);
        let mut at = 0;
        let mut clean = Vec::new();
        while let Some((page, state)) = owner.segment.next_populated(&owner.memory, at..u64::MAX) {
            at = page + 1;
            let start = page * vm::PAGE;
            let first = owner.segment.extents().first(start..start + vm::PAGE);
            if let (PageState::Resident(frame), Some(extent)) = (state, first)
                && extent.len() == vm::PAGE
                && extent.source.soff.is_multiple_of(vm::PAGE)
            {
                clean.push((frame, extent.source));
            }
        }
        let frames = &mut *self.frames.borrow_mut();
        for (frame, Source { snap, soff }) in clean {
            let epochs = &frames.epochs[&snap.0];
            if epochs.at(soff / vm::PAGE).is_none() {
                continue;
            }
            let found = frames.cache.find(epochs, soff);
            let good = frames.cache.is_good(frame, epochs, soff);
            assert_eq!(
                found == Some(frame),
                good,
                "{frame:?} is there, {found:?} is found"
            );
        }
    }

    fn check_space(&mut self, space: usize, snaps: &mut HashMap<u32, u32>) {
        let owner = self.space(space);
        owner.segment.check(&owner.memory);
        for snap in owner.segment.extents().snapshots() {
            *snaps.entry(snap.0).or_default() += 1;
        }
        let mut states = HashMap::new();
        let mut page = 0;
        let end = owner.segment.pages();
        while let Some((found, state)) = owner.segment.next_populated(&owner.memory, page..end) {
            states.insert(found, state);
            page = found + 1;
        }
        check_tally(owner, &states);
        for (page, (frame, writable)) in &owner.memory.map {
            let state = states.get(page).copied();
            assert_eq!(
                state.and_then(PageState::frame),
                Some(*frame),
                "page {page} maps another frame"
            );
            let own = state == Some(PageState::Dirty(*frame));
            let alone = owner.memory.frames.borrow().references(*frame) == 1
                && !owner.segment.is_shared(&owner.memory, *page);
            assert!(
                !writable || own && alone,
                "page {page} must not be writable"
            );
        }
        for (page, state) in states {
            match state {
                PageState::Resident(frame) => {
                    let content = *self.frames.borrow().content(frame);
                    let (mut asleep, lost) = self.asleep(space, page);
                    for range in lost {
                        asleep[range.clone()].copy_from_slice(&content[range]);
                    }
                    assert!(asleep == content, "page {page} is not clean");
                }
                PageState::Backed(frame, _) => {
                    let content = *self.frames.borrow().content(frame);
                    let owner = self.space(space);
                    let file = owner.segment.swap_of(&owner.memory, page).expect("a file");
                    let there = self.swap.content(file, page);
                    assert!(there == content, "page {page} is another in swap");
                }
                PageState::Dirty(_) | PageState::Swapped(_) => {}
                other => panic!("page {page} is left {other:?}"),
            }
        }
    }
}

/// Panics unless what the core says of a segment's pages is what they are.
fn check_tally(owner: &Space, states: &HashMap<u64, PageState>) {
    let (segment, m) = (&owner.segment, &owner.memory);
    let (mut tally, mut at) = (Tally::default(), 0);
    while at < segment.pages() {
        at = segment.tally(m, at, &mut tally);
    }
    let count = |of: fn(&PageState) -> bool| states.values().filter(|s| of(s)).count() as u64;
    let all = m.frames.borrow();
    let is_shared = |(page, state): &(&u64, &PageState)| {
        let frame = state.frame();
        frame.is_some_and(|frame| all.references(frame) > 1 || segment.is_shared(m, **page))
    };
    let shared = states.iter().filter(is_shared).count();
    let bytes = |page: u64| page * vm::PAGE..(page + 1) * vm::PAGE;
    let asleep =
        |page: &u64| segment.extents().first(bytes(*page)).is_some() && !states.contains_key(page);
    let want = Tally {
        asleep: match segment.pages() {
            pages @ 0..=64 => (0..pages).filter(asleep).count() as u64,
            // That would take too long.
            _ => tally.asleep,
        },
        clean: count(|state| matches!(state, PageState::Resident(_))),
        dirty: count(|state| matches!(state, PageState::Dirty(_))),
        backed: count(|state| matches!(state, PageState::Backed(..))),
        swapped: count(|state| matches!(state, PageState::Swapped(_))),
        shared: shared as u64,
    };
    assert_eq!(tally, want);
}
