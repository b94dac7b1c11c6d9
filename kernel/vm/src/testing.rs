//! Frames and translations for this crate's own tests. The model tests have a
//! better machine; this one is enough to look at single steps.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use crate::{Frame, Memory, NoMemory, Owner, PageState, SegmentNumber, SnapId, SwapId};

#[derive(Default)]
pub(crate) struct TestMemory {
    nodes: Vec<Option<Vec<u64>>>,
    /// References to nodes beyond the first.
    shares: BTreeMap<Frame, u32>,
    references: BTreeMap<Frame, u32>,
    next: u32,
    pub map: BTreeMap<u64, (Frame, bool)>,
    /// The owners of nodes and frames, as the overlays told. The names of nodes are those
    /// of frames too.
    pub owners: Vec<(Frame, Owner)>,
    /// The states of pages, as the overlay told.
    pub states: BTreeMap<(SegmentNumber, u64), PageState>,
    /// The frames that were offered to the cache.
    pub published: Vec<(SnapId, u64, Frame)>,
    /// Entries of nodes that were looked at.
    pub seen: Cell<u64>,
    /// The number of allocations of nodes and frames before all others fail.
    pub fail_after: Option<u64>,
    /// Nothing can be mapped.
    pub no_tables: bool,
    /// The servers of all snapshots and swap files are gone.
    pub gone: bool,
}

impl TestMemory {
    pub fn nodes_in_use(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    pub fn references(&self, frame: Frame) -> u32 {
        self.references.get(&frame).copied().unwrap_or(0)
    }

    pub fn frames_in_use(&self) -> usize {
        self.references.values().filter(|count| **count > 0).count()
    }

    fn fails(&mut self) -> bool {
        match &mut self.fail_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

impl Memory for TestMemory {
    fn listens(&self) -> bool {
        true
    }

    fn enters(&mut self, segment: SegmentNumber, page: u64, state: PageState) {
        match state {
            PageState::Absent => self.states.remove(&(segment, page)),
            state => self.states.insert((segment, page), state),
        };
    }

    fn leave(&mut self, segment: SegmentNumber, pages: Range<u64>) {
        let gone = |at: &(SegmentNumber, u64)| at.0 == segment && pages.contains(&at.1);
        self.states.retain(|at, _| !gone(at));
    }

    fn alloc_zeroed(&mut self) -> Option<Frame> {
        if self.fails() {
            return None;
        }
        self.next += 1;
        self.references.insert(Frame(self.next), 1);
        Some(Frame(self.next))
    }

    fn alloc_copy(&mut self, _of: Frame) -> Option<Frame> {
        self.alloc_zeroed()
    }

    fn retain(&mut self, frame: Frame) {
        *self.references.get_mut(&frame).unwrap() += 1;
    }

    fn release(&mut self, frame: Frame) {
        *self.references.get_mut(&frame).unwrap() -= 1;
    }

    fn shared(&self, frame: Frame) -> bool {
        self.references[&frame] > 1
    }

    fn publish(&mut self, snap: SnapId, soff: u64, frame: Frame) -> Option<Frame> {
        self.published.push((snap, soff, frame));
        None
    }

    fn sum(&self, frame: Frame) -> u32 {
        frame.0
    }

    fn copy(&mut self, _from: (Frame, usize), _to: (Frame, usize), _len: usize) {}

    fn zero(&mut self, _frame: Frame, _at: usize, _len: usize) {}

    fn alloc_node(&mut self) -> Option<Frame> {
        if self.fails() {
            return None;
        }
        self.nodes.push(Some(alloc::vec![0; 512]));
        Some(Frame(self.nodes.len() as u32 - 1))
    }

    fn share_node(&mut self, node: Frame) {
        *self.shares.entry(node).or_default() += 1;
    }

    fn is_shared_node(&self, node: Frame) -> bool {
        self.shares.contains_key(&node)
    }

    fn free_node(&mut self, node: Frame) {
        if let Some(shares) = self.shares.get_mut(&node) {
            *shares -= 1;
            if *shares == 0 {
                self.shares.remove(&node);
            }
            return;
        }
        let gone = self.nodes[node.0 as usize].take().unwrap();
        assert!(gone.iter().all(|word| *word == 0), "a node in use");
    }

    fn entry(&self, node: Frame, index: usize) -> u64 {
        self.seen.set(self.seen.get() + 1);
        self.nodes[node.0 as usize].as_ref().unwrap()[index]
    }

    fn set_entry(&mut self, node: Frame, index: usize, value: u64) {
        assert!(!self.is_shared_node(node), "a shared node is changed");
        self.nodes[node.0 as usize].as_mut().unwrap()[index] = value;
    }

    fn can_provide(&self, _snap: SnapId) -> bool {
        !self.gone
    }

    fn has_lost_swap(&self, _file: SwapId) -> bool {
        self.gone
    }

    fn own(&mut self, frame: Frame, owner: Owner) {
        assert!(!self.owners.contains(&(frame, owner)));
        self.owners.push((frame, owner));
    }

    fn disown(&mut self, frame: Frame, owner: Owner) {
        let at = self.owners.iter().position(|it| *it == (frame, owner));
        self.owners.swap_remove(at.unwrap());
    }

    fn map(&mut self, page: u64, frame: Frame, writable: bool) -> Result<(), NoMemory> {
        if self.no_tables {
            return Err(NoMemory);
        }
        self.map.insert(page, (frame, writable));
        Ok(())
    }

    fn unmap(&mut self, pages: Range<u64>) {
        self.map.retain(|page, _| !pages.contains(page));
    }

    fn protect(&mut self, pages: Range<u64>) {
        for (page, (_, writable)) in &mut self.map {
            *writable &= !pages.contains(page);
        }
    }
}
