//! Which pages have a frame: the way back from a frame to its pages, for
//! eviction.
//!
//! The owner of a frame is the entry of an overlay's leaf that names it. The owner of
//! a node is the entry of the node above, and that of a root is a segment. So the way
//! from a frame to its pages goes up through the nodes, and a node that several
//! segments share refers to its frames once.
//!
//! One word a frame, or node, names the usual single owner, or two of a kind in the
//! lowest memory, as after a fork. One with several (found in the frame cache, say) has a
//! chain of them ([`Chains`]). An
//! overlay keeps both right: it calls [`Memory::own`] and [`Memory::disown`]
//! wherever an entry changes, so that the two views cannot differ.
//!
//! A chain has at most [`OWNERS_MAX`] links, so that no change of one costs
//! more. A frame with more owners, or one whose link found no memory, is
//! *unlisted*: it has owners that the table does not know, and is not evicted
//! until it has been free once.
//!
//! [`Memory::own`]: crate::Memory::own
//! [`Memory::disown`]: crate::Memory::disown

use alloc::vec::Vec;

use crate::Frame;

/// Most owners in a chain.
pub const OWNERS_MAX: usize = 64;

/// The index of an entry of a node.
const INDEX_BITS: u32 = 9;
/// The owner of a node, and not of a page's frame.
const OF_NODE: u64 = 1 << 60;
/// A segment, and not an entry of a node.
const SEGMENT: u64 = 1 << 61;

/// The number of a segment, of [`SegmentNumber::BITS`]: the host's own way to find it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SegmentNumber(u32);

impl SegmentNumber {
    /// Bits of a number; one fits into half of a pair.
    pub const BITS: u32 = 28;

    /// The lowest bits of a number.
    pub const fn new(number: u32) -> SegmentNumber {
        SegmentNumber(number & ((1 << Self::BITS) - 1))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The owner of a frame or of a node of an overlay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owner(u64);

impl Owner {
    /// Entry `index` (below 512) of a leaf, as the owner of a page's frame.
    #[inline]
    pub const fn page(leaf: Frame, index: usize) -> Owner {
        let index = index as u64 & ((1 << INDEX_BITS) - 1);
        Owner((leaf.0 as u64) << INDEX_BITS | index)
    }

    /// Entry `index` (below 512) of an inner node, as the owner of the node below it.
    pub const fn entry(node: Frame, index: usize) -> Owner {
        Owner(Owner::page(node, index).0 | OF_NODE)
    }

    /// A segment, as the owner of a root.
    pub const fn segment(number: SegmentNumber) -> Owner {
        Owner(SEGMENT | OF_NODE | number.0 as u64)
    }

    /// Returns true for the owner of a node, and not of a frame of data.
    #[inline]
    pub const fn is_of_node(self) -> bool {
        self.0 & OF_NODE != 0
    }

    /// The next step on the way up.
    #[inline]
    pub const fn above(self) -> Above {
        match self.0 & SEGMENT {
            0 => Above::Node(
                Frame((self.0 >> INDEX_BITS) as u32),
                self.0 & ((1 << INDEX_BITS) - 1),
            ),
            _ => Above::Segment(SegmentNumber::new(self.0 as u32)),
        }
    }
}

/// Where an owner is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Above {
    /// That entry of that node.
    Node(Frame, u64),
    /// A segment: the way ends.
    Segment(SegmentNumber),
}

/// The owners of one frame, as a word: none, one, a pair, a chain, or unlisted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnerWord(u64);

const TAG_BITS: u32 = 2;
const ONE: u64 = 1;
const CHAIN: u64 = 2;
const UNLISTED: u64 = 3;
/// A chain's word with this bit is a pair instead: kind, and the rest of both.
const PAIR: u64 = 1 << 63;
/// The kind of an owner: its bits from here on.
const KIND_SHIFT: u32 = 60;
/// Bits of an owner in a pair: an index and a frame below 4 GiB, or a segment.
const HALF_BITS: u32 = 29;
const HALF: u64 = (1 << HALF_BITS) - 1;

impl OwnerWord {
    /// No page has the frame.
    pub const NOBODY: OwnerWord = OwnerWord(0);
    /// The table does not know all pages that have the frame.
    pub const UNLISTED: OwnerWord = OwnerWord(UNLISTED);

    /// That page alone.
    #[inline]
    pub const fn one(owner: Owner) -> OwnerWord {
        OwnerWord(owner.0 << TAG_BITS | ONE)
    }

    /// As a number; no owner is 0.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`OwnerWord::bits`].
    #[inline]
    pub const fn from_bits(bits: u64) -> OwnerWord {
        OwnerWord(bits)
    }

    /// Those two, if they fit.
    const fn pair(one: Owner, other: Owner) -> Option<OwnerWord> {
        let kind = one.0 >> KIND_SHIFT;
        let halves = [one.0 & !(kind << KIND_SHIFT), other.0 ^ kind << KIND_SHIFT];
        if halves[0] > HALF || halves[1] > HALF {
            return None;
        }
        let both = halves[0] | halves[1] << HALF_BITS | kind << (2 * HALF_BITS);
        Some(OwnerWord(PAIR | both << TAG_BITS | CHAIN))
    }

    /// The two of a pair.
    const fn both(self) -> Option<[Owner; 2]> {
        if self.0 & (PAIR | UNLISTED) != PAIR | CHAIN {
            return None;
        }
        let both = (self.0 & !PAIR) >> TAG_BITS;
        let kind = both >> (2 * HALF_BITS) << KIND_SHIFT;
        Some([
            Owner(kind | both & HALF),
            Owner(kind | both >> HALF_BITS & HALF),
        ])
    }

    const fn chain(first: u32, len: usize) -> OwnerWord {
        OwnerWord((first as u64) << TAG_BITS | (len as u64) << 34 | CHAIN)
    }

    /// The first link of a chain and its length.
    const fn parts(self) -> (u32, usize) {
        ((self.0 >> TAG_BITS) as u32, (self.0 >> 34) as usize)
    }

    /// The only owner, if there is one.
    #[inline]
    pub const fn only(self) -> Option<Owner> {
        match self.0 & UNLISTED {
            ONE => Some(Owner(self.0 >> TAG_BITS)),
            _ => None,
        }
    }

    /// The number of owners; `None`: unlisted.
    pub const fn count(self) -> Option<usize> {
        match self.0 & UNLISTED {
            ONE => Some(1),
            CHAIN if self.0 & PAIR != 0 => Some(2),
            CHAIN => Some(self.parts().1),
            UNLISTED => None,
            _ => Some(0),
        }
    }
}

#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
struct Link {
    owner: Owner,
    /// The next of the chain, or of the free ones of its span.
    next: u32,
}

const NONE: u32 = u32::MAX;
/// Links come and go in spans of this many: half a page.
const SPAN: u32 = 128;

#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
struct Span {
    /// Empty, or [`SPAN`] links.
    links: Vec<Link>,
    used: u32,
    /// First free link.
    free: u32,
    /// The next span with free links, if this one has some.
    next: u32,
}

/// The links of all chains.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Debug)]
pub struct Chains {
    spans: Vec<Span>,
    /// First span with free links.
    open: u32,
    /// Links in use.
    used: usize,
}

impl Default for Chains {
    fn default() -> Chains {
        Chains::new()
    }
}

impl Chains {
    /// None.
    pub const fn new() -> Chains {
        Chains {
            spans: Vec::new(),
            open: NONE,
            used: 0,
        }
    }

    /// Adds an owner to those of a frame; the frame's word as it then is.
    pub fn add(&mut self, word: OwnerWord, owner: Owner) -> OwnerWord {
        if let Some([one, other]) = word.both() {
            return self.new_chain([one, other, owner].into_iter());
        }
        match word.0 & UNLISTED {
            0 => OwnerWord::one(owner),
            ONE => {
                let single = Owner(word.0 >> TAG_BITS);
                let pair = OwnerWord::pair(single, owner);
                pair.unwrap_or_else(|| self.new_chain([single, owner].into_iter()))
            }
            CHAIN => {
                let (first, len) = word.parts();
                let more = (len < OWNERS_MAX).then(|| self.take(owner, first));
                match more.flatten() {
                    Some(first) => OwnerWord::chain(first, len + 1),
                    None => self.unlist(word),
                }
            }
            _ => word,
        }
    }

    /// A chain of these owners.
    fn new_chain(&mut self, owners: impl Iterator<Item = Owner>) -> OwnerWord {
        let (mut first, mut len) = (NONE, 0);
        for owner in owners {
            let Some(link) = self.take(owner, first) else {
                return self.unlist(OwnerWord::chain(first, len));
            };
            (first, len) = (link, len + 1);
        }
        OwnerWord::chain(first, len)
    }

    /// Removes an owner from those of a frame; the frame's word as it then is. An
    /// owner that is not among them, such as one of an unlisted frame, is ignored.
    pub fn remove(&mut self, word: OwnerWord, owner: Owner) -> OwnerWord {
        if word == OwnerWord::one(owner) {
            return OwnerWord::NOBODY;
        }
        if let Some([one, other]) = word.both() {
            return match owner {
                _ if owner == one => OwnerWord::one(other),
                _ if owner == other => OwnerWord::one(one),
                _ => word,
            };
        }
        if word.0 & UNLISTED != CHAIN {
            return word;
        }
        let (first, len) = word.parts();
        let (mut before, mut at) = (NONE, first);
        while let Some(link) = self.link(at) {
            let next = link.next;
            if link.owner == owner {
                let first = match self.link(before) {
                    Some(link) => {
                        link.next = next;
                        first
                    }
                    None => next,
                };
                self.give(at);
                return self.shorter(first, len - 1);
            }
            (before, at) = (at, next);
        }
        word
    }

    /// A chain of `len` links; one owner needs none.
    fn shorter(&mut self, first: u32, len: usize) -> OwnerWord {
        match self.link(first) {
            Some(link) if len == 1 => {
                let owner = link.owner;
                self.give(first);
                OwnerWord::one(owner)
            }
            _ => OwnerWord::chain(first, len),
        }
    }

    /// Gives up a chain whose frame has more owners than it can name.
    fn unlist(&mut self, word: OwnerWord) -> OwnerWord {
        let (mut at, _) = word.parts();
        while let Some(link) = self.link(at) {
            let next = link.next;
            self.give(at);
            at = next;
        }
        OwnerWord::UNLISTED
    }

    /// Copies the owners of a frame to `list`; how many there are. `None`: unlisted.
    pub fn list(&self, word: OwnerWord, list: &mut [Owner; OWNERS_MAX]) -> Option<usize> {
        if let Some([one, other]) = word.both() {
            (list[0], list[1]) = (one, other);
            return Some(2);
        }
        match word.0 & UNLISTED {
            0 => Some(0),
            ONE => {
                list[0] = Owner(word.0 >> TAG_BITS);
                Some(1)
            }
            CHAIN => {
                let (mut at, len) = word.parts();
                for place in list.iter_mut().take(len) {
                    let link = self.get(at)?;
                    *place = link.owner;
                    at = link.next;
                }
                Some(len)
            }
            _ => None,
        }
    }

    /// Links in use.
    pub const fn len(&self) -> usize {
        self.used
    }

    /// Returns true if there is no chain.
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn get(&self, at: u32) -> Option<&Link> {
        let span = self.spans.get((at / SPAN) as usize)?;
        span.links.get((at % SPAN) as usize)
    }

    fn link(&mut self, at: u32) -> Option<&mut Link> {
        let span = self.spans.get_mut((at / SPAN) as usize)?;
        span.links.get_mut((at % SPAN) as usize)
    }

    /// A link before `next`.
    fn take(&mut self, owner: Owner, next: u32) -> Option<u32> {
        if self.open == NONE {
            self.open = self.new_span()?;
        }
        let number = self.open;
        let span = self.spans.get_mut(number as usize)?;
        span.furnish()?;
        let at = span.free;
        let link = span.links.get_mut(at as usize)?;
        span.free = link.next;
        *link = Link { owner, next };
        span.used += 1;
        self.used += 1;
        if span.free == NONE {
            self.open = span.next;
        }
        Some(number * SPAN + at)
    }

    fn new_span(&mut self) -> Option<u32> {
        let number = u32::try_from(self.spans.len()).ok()?;
        if number >= NONE / SPAN {
            return None;
        }
        self.spans.try_reserve(1).ok()?;
        self.spans.push(Span {
            links: Vec::new(),
            used: 0,
            free: 0,
            next: NONE,
        });
        Some(number)
    }

    fn give(&mut self, at: u32) {
        let number = at / SPAN;
        let Some(span) = self.spans.get_mut(number as usize) else {
            return;
        };
        if span.free == NONE {
            span.next = core::mem::replace(&mut self.open, number);
        }
        if let Some(link) = span.links.get_mut((at % SPAN) as usize) {
            link.next = core::mem::replace(&mut span.free, at % SPAN);
        }
        span.used -= 1;
        self.used -= 1;
        if span.used == 0 {
            span.links = Vec::new();
            span.free = 0;
        }
        if self.used == 0 {
            *self = Chains::new();
        }
    }
}

impl Span {
    /// Gives it its links, if it has none; `None` without memory.
    fn furnish(&mut self) -> Option<()> {
        if self.links.is_empty() {
            self.links.try_reserve_exact(SPAN as usize).ok()?;
            self.links.extend((0..SPAN).map(|at| Link {
                owner: Owner(0),
                next: if at + 1 < SPAN { at + 1 } else { NONE },
            }));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn listed(chains: &Chains, word: OwnerWord) -> Option<BTreeSet<u64>> {
        let mut list = [Owner(0); OWNERS_MAX];
        let count = chains.list(word, &mut list)?;
        assert_eq!(word.count(), Some(count));
        let set: BTreeSet<u64> = list.iter().take(count).map(|owner| owner.0).collect();
        assert_eq!(set.len(), count, "an owner is listed twice");
        Some(set)
    }

    #[test]
    fn an_owner_keeps_its_largest_parts() {
        let (segment, node) = (SegmentNumber::new(u32::MAX), Frame(u32::MAX));
        let last = (1 << INDEX_BITS) - 1;
        for (owner, above, of_node) in [
            (Owner::segment(segment), Above::Segment(segment), true),
            (Owner::entry(node, 511), Above::Node(node, last), true),
            (Owner::page(node, 511), Above::Node(node, last), false),
            (Owner::page(Frame(0), 0), Above::Node(Frame(0), 0), false),
        ] {
            assert_eq!((owner.above(), owner.is_of_node()), (above, of_node));
            let word = OwnerWord::one(owner);
            assert_eq!(OwnerWord::from_bits(word.bits()), word);
            assert_eq!((word.count(), word.only()), (Some(1), Some(owner)));
        }
        assert_eq!(OwnerWord::NOBODY.only(), None);
    }

    #[test]
    fn chains_equal_sets_and_give_everything_back() {
        let mut chains = Chains::new();
        let mut frames = alloc::vec![(OwnerWord::NOBODY, BTreeSet::new()); 40];
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..50_000 {
            let (word, model) = &mut frames[random(40) as usize];
            // Every other one is too high for a pair.
            let node = Frame((random(2) as u32) << 20 | random(2) as u32);
            let owner = Owner::page(node, random(20) as usize);
            if model.contains(&owner.0) || random(3) == 0 {
                *word = chains.remove(*word, owner);
                model.remove(&owner.0);
            } else {
                *word = chains.add(*word, owner);
                model.insert(owner.0);
            }
            if *word == OwnerWord::UNLISTED {
                assert!(model.len() > OWNERS_MAX);
                (*word, *model) = (OwnerWord::NOBODY, BTreeSet::new());
            }
            assert_eq!(listed(&chains, *word).as_ref(), Some(&*model));
        }
        for (word, model) in &mut frames {
            for owner in core::mem::take(model) {
                *word = chains.remove(*word, Owner(owner));
            }
            assert_eq!(*word, OwnerWord::NOBODY);
        }
        assert!(chains.is_empty() && chains.spans.is_empty());
    }

    #[test]
    fn two_owners_of_a_kind_in_low_memory_need_no_chain() {
        let (low, high) = (Frame((1 << 20) - 1), Frame(1 << 20));
        let number = SegmentNumber::new(u32::MAX);
        let kinds = [
            [Owner::page(low, 511), Owner::page(Frame(0), 0)],
            [Owner::entry(low, 511), Owner::entry(Frame(0), 0)],
            [
                Owner::segment(number),
                Owner::segment(SegmentNumber::new(0)),
            ],
        ];
        for [one, other] in kinds {
            let mut chains = Chains::new();
            let word = chains.add(OwnerWord::one(one), other);
            assert_eq!((word.count(), word.only()), (Some(2), None));
            assert_eq!(OwnerWord::from_bits(word.bits()).both(), Some([one, other]));
            assert!(chains.is_empty());
            assert_eq!(chains.remove(word, one), OwnerWord::one(other));
            assert_eq!(chains.remove(word, other), OwnerWord::one(one));
            assert_eq!(chains.remove(word, Owner::page(low, 1)), word);
        }
        let [page, entry, segment] = kinds.map(|[one, _]| one);
        for (one, other) in [
            (page, entry),
            (entry, segment),
            (page, Owner::page(high, 0)),
        ] {
            let mut chains = Chains::new();
            let word = chains.add(OwnerWord::one(one), other);
            assert_eq!((word.count(), chains.len()), (Some(2), 2));
            assert_eq!(chains.remove(word, one), OwnerWord::one(other));
        }
    }

    #[test]
    fn a_frame_with_too_many_owners_is_unlisted_and_holds_no_links() {
        let (mut chains, mut word) = (Chains::new(), OwnerWord::NOBODY);
        let owner = |page| Owner::page(Frame(7), page);
        for page in 0..OWNERS_MAX {
            word = chains.add(word, owner(page));
        }
        assert_eq!(word.count(), Some(OWNERS_MAX));
        word = chains.add(word, owner(500));
        assert_eq!((word, chains.len()), (OwnerWord::UNLISTED, 0));
        // What is not known is not removed either.
        assert_eq!(chains.remove(word, owner(3)), OwnerWord::UNLISTED);
        assert_eq!(listed(&chains, word), None);
    }
}
