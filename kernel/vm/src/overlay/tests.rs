use super::*;
use crate::Ticket;
use crate::testing::TestMemory;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Numbers below a bound, from a seed.
fn random(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        (seed >> 33) % below
    }
}

/// A state that is not absent; one in four is the segment's own.
fn some_state(number: u64, turn: u32) -> PageState {
    match number {
        0 => PageState::Dirty(Frame(turn)),
        1 => PageState::Sending(Frame(turn), Ticket(turn)),
        2 | 3 => PageState::Filling(Ticket(turn)),
        _ => PageState::Resident(Frame(turn)),
    }
}

/// Panics unless the marks of all nodes below say what their entries are.
fn check_marks(m: &TestMemory, child: Child, shift: u32) {
    let mut exact = Child::new(child.node);
    for at in 0..FAN {
        let word = m.entry(child.node, at);
        if let Some(below) = Child::decode(word).filter(|_| shift > 0) {
            check_marks(m, below, shift - FAN_BITS);
        }
        exact = exact.with_marks_of(shift, at, word);
    }
    assert_eq!(child, exact);
}

/// Panics unless the owners are those of these overlays.
fn check_owners(m: &TestMemory, overlays: &[&Overlay]) {
    let mut owners = Vec::new();
    for overlay in overlays {
        overlay.owners(m, |frame, owner| owners.push((frame.0, owner)));
    }
    owners.sort_unstable();
    // Those of a shared node were told once.
    owners.dedup();
    let mut told: Vec<_> = m
        .owners
        .iter()
        .map(|(frame, owner)| (frame.0, *owner))
        .collect();
    told.sort_unstable();
    assert!(told == owners, "the owners that were told are others");
}

/// Panics unless the states that were told of a segment's pages are these.
fn check_told(
    m: &TestMemory,
    segment: SegmentNumber,
    model: &BTreeMap<u64, PageState>,
    range: Range<u64>,
) {
    let told = m.states.range((segment, range.start)..(segment, range.end));
    let told = told.map(|((_, page), state)| (page, state));
    assert!(told.eq(model.range(range)), "other states were told");
}

/// The present pages, by a map, and the overlay that should equal it.
struct Pair {
    m: TestMemory,
    overlay: Overlay,
    model: BTreeMap<u64, PageState>,
}

impl Pair {
    /// Gives some pages of `range` other states, in steps.
    fn update(&mut self, which: Pages, range: Range<u64>, odd: bool, turn: u32) {
        let changed = |page: u64, state: PageState| match (page % 2 == 1, state) {
            (is_odd, state) if is_odd != odd => state,
            (_, PageState::Sending(frame, _)) => PageState::Resident(frame),
            (_, PageState::Dirty(frame)) => PageState::Sending(frame, Ticket(turn)),
            _ => PageState::Absent,
        };
        let own = |state: &PageState| which == Pages::Present || state.is_own();
        let mut at = range.start;
        while at < range.end {
            let rest = at..range.end;
            let end = self
                .overlay
                .update(&mut self.m, which, rest, |_, page, state| {
                    assert!(own(&state), "{state:?} was not asked for");
                    changed(page, state)
                });
            assert!(end > at, "no progress");
            at = end;
        }
        for (page, state) in self.model.range_mut(range) {
            if own(state) {
                *state = changed(*page, *state);
            }
        }
        self.model.retain(|_, state| *state != PageState::Absent);
    }

    /// Gives own pages of a leaf other states of own pages, up to one that is not
    /// present.
    fn turn_own(&mut self, range: Range<u64>, turn: u32) {
        let turned = |state| match state {
            PageState::Absent => None,
            PageState::Dirty(frame) => Some(PageState::Sending(frame, Ticket(turn))),
            PageState::Sending(frame, _) => Some(PageState::Dirty(frame)),
            other => Some(other),
        };
        let state = |page: u64| self.model.get(&page).copied();
        let leaf = Overlay::leaf_of(range.start).end.min(range.end);
        let mut pages = range.start..leaf;
        let end = pages.find(|page| state(*page).is_none()).unwrap_or(leaf);
        let changed = |_: &mut _, _, state| turned(state);
        let stopped = self.overlay.turn_own(&mut self.m, range.clone(), changed);
        assert_eq!(stopped, end);
        for (_, state) in self.model.range_mut(range.start..end) {
            *state = turned(*state).unwrap();
        }
    }

    fn check(&self, range: Range<u64>) {
        check_told(&self.m, self.overlay.number, &self.model, range.clone());
        let first = |which: Pages| {
            let mut rest = self.model.range(range.clone());
            rest.find(|(_, state)| which == Pages::Present || state.is_own())
                .map(|(page, state)| (*page, *state))
        };
        for which in [Pages::Present, Pages::Own] {
            let next = self.overlay.next(&self.m, which, range.clone());
            assert_eq!(next, first(which), "{which:?}");
        }
        let tickets = self
            .model
            .values()
            .filter(|state| PageState::has_ticket(state.encode()));
        assert_eq!(self.overlay.busy, tickets.count() as u64);
    }

    /// The owners of frames, and the marks.
    fn check_others(&self) {
        check_owners(&self.m, &[&self.overlay]);
        let last = self.overlay.last.get();
        if last.number != u64::MAX {
            let page = last.number << FAN_BITS;
            self.overlay.last.set(Leaf::NONE);
            let found = self.overlay.leaf(&self.m, page).unwrap();
            assert_eq!((found.child, found.above), (last.child, last.above));
        }
        if let Some(root) = self.overlay.root {
            check_marks(&self.m, root, self.overlay.top_shift());
        }
    }
}

#[test]
fn the_tree_equals_a_map_and_gives_everything_back() {
    for pages in [1, 512, 513, 1 << 20, 1 << 30] {
        let mut random = random(pages);
        let mut pair = Pair {
            m: TestMemory::default(),
            overlay: Overlay::new(pages),
            model: BTreeMap::new(),
        };
        pair.overlay.set_number(SegmentNumber::new(5));
        for turn in 0..2000 {
            // Many pages share leaves and groups.
            let near = random(pages).min(random(700));
            let page = [random(pages), near, near][random(3) as usize];
            let range = page..(page + random(2000)).min(pages);
            match random(9) {
                0 => {
                    pair.overlay
                        .set(&mut pair.m, page, PageState::Absent)
                        .unwrap();
                    pair.model.remove(&page);
                }
                1 => pair.update(Pages::Present, range.clone(), random(2) == 0, turn),
                2 => pair.update(Pages::Own, range.clone(), random(2) == 0, turn),
                3 => pair.turn_own(range.clone(), turn),
                _ => {
                    let state = some_state(random(8), turn);
                    pair.overlay.set(&mut pair.m, page, state).unwrap();
                    pair.model.insert(page, state);
                }
            }
            assert_eq!(
                pair.overlay.get(&pair.m, page),
                pair.model.get(&page).copied().unwrap_or(PageState::Absent)
            );
            pair.check(random(pages)..pages);
            pair.check(range);
            if turn % 16 == 0 {
                pair.check_others();
            }
        }
        let Pair { m, overlay, .. } = &mut pair;
        let mut at = 0;
        while at < pages {
            at = overlay.update(m, Pages::Present, at..u64::MAX, |_, _, _| PageState::Absent);
        }
        assert!(m.nodes_in_use() == 0 && overlay.is_empty());
        assert_eq!(m.owners, []);
    }
}

#[test]
fn without_memory_nothing_changes() {
    let mut m = TestMemory::default();
    let mut overlay = Overlay::new(1 << 20);
    for nodes in 0..3 {
        m.fail_after = Some(nodes);
        assert_eq!(
            overlay.set(&mut m, 77, PageState::Resident(Frame(1))),
            Err(NoMemory)
        );
        assert!(m.nodes_in_use() == 0 && overlay.is_empty());
    }
    m.fail_after = None;
    overlay
        .set(&mut m, 77, PageState::Resident(Frame(1)))
        .unwrap();
    m.fail_after = Some(1);
    let mut copy = Overlay::new(1 << 20);
    copy.set_number(SegmentNumber::new(1));
    let copied = overlay.copy_to(&mut m, 0..100, &mut copy, |_, state| state, |_, _, _| ());
    assert_eq!(copied, (100, Err(NoMemory)));
    assert!(m.nodes_in_use() == 3 && copy.is_empty());
}

#[test]
fn steps_reach_the_end_with_little_work_each() {
    for (pages, stride) in [(5000u64, 1), (300, 512), (300, 1 << 18), (3000, 3)] {
        let mut m = TestMemory::default();
        let all = pages * stride;
        let mut overlay = Overlay::new(all);
        for page in 0..pages {
            let state = PageState::Dirty(Frame(page as u32));
            overlay
                .set(&mut m, page * stride + stride - 1, state)
                .unwrap();
        }
        let mut copy = Overlay::new(all);
        copy.set_number(SegmentNumber::new(1));
        let (mut at, mut steps) = (3, 0);
        while at < all {
            let end = overlay.step(&m, at..all);
            assert!(end > at, "no progress");
            let before = copy.populated(&m);
            let copied =
                overlay.copy_to(&mut m, at..all, &mut copy, |_, state| state, |_, _, _| ());
            assert_eq!(copied, (end, Ok(())));
            assert!(copy.populated(&m) - before <= u64::from(Step::ONE.pages));
            (at, steps) = (end, steps + 1);
        }
        let outside = u64::from(stride <= 3) * 3 / stride;
        assert_eq!(copy.populated(&m), pages - outside);
        let nodes = pages.div_ceil(512 / stride.min(512)) * 2;
        let most = pages / u64::from(Step::ONE.pages) + nodes / u64::from(Step::ONE.nodes) + 2;
        assert!(steps <= most, "{steps} steps of {most}");
    }
}

#[test]
fn a_walk_over_own_pages_does_not_see_the_others() {
    // 1 GiB, of which every 64th page is clean, and 5 are changed.
    let (mut m, pages) = (TestMemory::default(), 1 << 18);
    let mut overlay = Overlay::new(pages);
    for page in (0..pages).step_by(64) {
        let state = PageState::Resident(Frame(page as u32));
        overlay.set(&mut m, page, state).unwrap();
    }
    let own: Vec<u64> = (0..5).map(|n| n * 50_000 + 7).collect();
    for page in &own {
        overlay
            .set(&mut m, *page, PageState::Dirty(Frame(1)))
            .unwrap();
    }
    let before = m.seen.get();
    let (mut at, mut found) = (0, Vec::new());
    while let Some((page, _)) = overlay.next(&m, Pages::Own, at..pages) {
        found.push(page);
        at = page + 1;
    }
    let mut sent = Vec::new();
    let end = overlay.update(&mut m, Pages::Own, 0..pages, |_, page, _| {
        sent.push(page);
        PageState::Resident(Frame(1))
    });
    assert_eq!((&found, &sent, end), (&own, &own, pages));
    let seen = m.seen.get() - before;
    assert!(seen < 2000, "{seen} entries of {} leaves", pages / 512);
    assert_eq!(overlay.next(&m, Pages::Own, 0..pages), None);
}

#[test]
fn pages_of_a_leaf_turn_from_one_state_and_no_other() {
    let (mut m, mut overlay) = (TestMemory::default(), Overlay::new(2048));
    let mut random = random(3);
    for page in 0..1024 {
        let state = match random(4) {
            0 => continue,
            1 => PageState::Filling(Ticket(7)),
            2 => PageState::Filling(Ticket(8)),
            _ => some_state(random(6), 9),
        };
        overlay.set(&mut m, page, state).unwrap();
    }
    let from = PageState::Filling(Ticket(7));
    let before: Vec<PageState> = (0..1024).map(|page| overlay.get(&m, page)).collect();
    overlay.turn(&mut m, 520..560, from, |page| {
        (page != 530).then_some(PageState::Resident(Frame(page as u32)))
    });
    for (page, before) in (0..).zip(before) {
        let turned = (520..560).contains(&page) && page != 530 && before == from;
        let wanted = match turned {
            true => PageState::Resident(Frame(page as u32)),
            false => before,
        };
        assert_eq!(overlay.get(&m, page), wanted, "page {page}");
    }
    check_marks(&m, overlay.root.unwrap(), overlay.top_shift());
    // A leaf that is not there has no such page.
    overlay.turn(&mut m, 1536..1540, from, |_| panic!("no page"));
}

/// Overlays that share nodes, each with the map that it should equal. Frames are held as
/// a segment holds them.
struct Family {
    m: TestMemory,
    pages: u64,
    members: Vec<(Overlay, BTreeMap<u64, PageState>)>,
    /// Nodes that were taken out, and the pages below each that are to be counted.
    asides: Vec<(Aside, BTreeSet<u64>)>,
    born: u32,
}

impl Family {
    /// A child of a member, unless that is busy.
    fn fork(&mut self, parent: usize) {
        let (overlay, model) = &mut self.members[parent];
        if overlay.is_busy() {
            return;
        }
        let mut child = Overlay::new(self.pages);
        self.born += 1;
        child.set_number(SegmentNumber::new(self.born));
        overlay.share(&mut self.m, &mut child);
        let model = model.clone();
        // A copy is told as a whole.
        let pages = model
            .iter()
            .map(|(page, state)| ((child.number, *page), *state));
        self.m.states.extend(pages);
        self.members.push((child, model));
    }

    /// Changes a page, as a store, a fill or an eviction do.
    fn set(&mut self, member: usize, page: u64, kind: u64) {
        let (overlay, model) = &mut self.members[member];
        let m = &mut self.m;
        let frame = match kind {
            0 | 1 => None,
            _ => m.alloc_zeroed(),
        };
        let state = match (kind, frame) {
            (0, _) => PageState::Absent,
            (1, _) => PageState::Filling(Ticket(3)),
            (2, Some(frame)) => PageState::Resident(frame),
            (_, Some(frame)) => PageState::Dirty(frame),
            (_, None) => return,
        };
        let old = model.get(&page).copied().unwrap_or(PageState::Absent);
        let done = overlay.set(m, page, state);
        let gone = match done {
            Ok(()) => old.frame(),
            Err(NoMemory) => frame,
        };
        gone.into_iter().for_each(|frame| m.release(frame));
        if done.is_ok() {
            match state {
                PageState::Absent => model.remove(&page),
                state => model.insert(page, state),
            };
        }
    }

    /// Drops a range, which may need nodes at its edges and none after that.
    fn clear(&mut self, member: usize, range: Range<u64>, counts: bool) {
        let (overlay, model) = &mut self.members[member];
        if overlay.open(&mut self.m, range.clone()).is_err() {
            return;
        }
        let mut own: BTreeSet<u64> = model
            .iter()
            .filter(|(page, state)| range.contains(page) && state.is_own())
            .map(|(page, _)| *page)
            .collect();
        let before = self.m.fail_after.replace(0);
        let mut at = range.start;
        while at < range.end {
            let end = overlay.step_to_clear(&self.m, at..range.end, counts);
            let release = |m: &mut TestMemory, page, state: PageState| {
                assert_eq!(own.remove(&page), state.is_own());
                state.frame().into_iter().for_each(|frame| m.release(frame));
            };
            let (end, aside) = match counts {
                true => overlay.clear_counted(&mut self.m, at..end, release),
                false => (overlay.clear(&mut self.m, at..end, release), None),
            };
            let rest = own.split_off(&end);
            match aside {
                Some(aside) => self.asides.push((aside, own)),
                None => assert!(!counts || own.is_empty(), "pages are not counted"),
            }
            own = rest;
            assert!(end > at, "no progress");
            at = end;
        }
        self.m.fail_after = before;
        model.retain(|page, _| !range.contains(page));
    }

    /// Goes on with a node that was taken out.
    fn count_some(&mut self, which: usize) {
        let Some((aside, own)) = self.asides.get_mut(which) else {
            return;
        };
        let before = (self.m.fail_after.replace(0), self.m.seen.get());
        let more = aside.let_go_some(&mut self.m, |_, page, state| {
            assert!(own.remove(&page) && state.frame().is_none());
        });
        self.m.fail_after = before.0;
        let seen = self.m.seen.get() - before.1;
        assert!(seen < 20_000, "{seen} entries in one step");
        if !more {
            assert!(own.is_empty(), "pages are not counted");
            self.asides.swap_remove(which);
        }
    }

    fn check(&self) {
        let asides = self.asides.iter().map(|(aside, _)| aside.overlay());
        let members = self.members.iter().map(|(overlay, _)| overlay);
        let overlays: Vec<_> = members.chain(asides).collect();
        check_owners(&self.m, &overlays);
        let mut held = BTreeMap::new();
        for (frame, owner) in &self.m.owners {
            if !owner.is_of_node() {
                *held.entry(*frame).or_insert(0) += 1;
            }
        }
        for (frame, count) in held {
            assert_eq!(self.m.references(frame), count, "{frame:?}");
        }
        for (overlay, model) in &self.members {
            check_told(&self.m, overlay.number, model, 0..u64::MAX);
            let (mut at, mut pages) = (0, model.iter());
            while let Some((page, state)) = overlay.next(&self.m, Pages::Present, at..u64::MAX) {
                assert_eq!(pages.next(), Some((&page, &state)));
                at = page + 1;
            }
            assert_eq!(pages.next(), None);
            if let Some(root) = overlay.root {
                check_marks(&self.m, root, overlay.top_shift());
            }
        }
    }
}

#[test]
fn overlays_that_share_nodes_equal_maps_and_give_everything_back() {
    for (seed, pages) in [(1, 7), (2, 512), (3, 1300), (4, 1 << 20), (5, 1 << 30)] {
        let mut random = random(seed);
        let mut family = Family {
            m: TestMemory::default(),
            pages,
            members: alloc::vec![(Overlay::new(pages), BTreeMap::new())],
            asides: Vec::new(),
            born: 0,
        };
        for turn in 0..3000 {
            let member = random(family.members.len() as u64) as usize;
            let near = random(pages.min(1200));
            let page = [near, near, random(pages)][random(3) as usize];
            // Now and then there is no memory for one of the next nodes.
            family.m.fail_after = (random(4) == 0).then(|| random(4));
            match random(10) {
                0 if family.members.len() < 5 => family.fork(member),
                1 => {
                    let end = match random(3) {
                        0 => u64::MAX,
                        1 => (page | 511) + 1,
                        _ => page + random(1500) + 1,
                    };
                    let start = [page, page & !511, 0][random(3) as usize];
                    family.clear(member, start..end, random(2) == 0);
                }
                2 if family.members.len() > 1 => {
                    family.clear(member, 0..u64::MAX, false);
                    let (overlay, _) = family.members.swap_remove(member);
                    assert!(overlay.is_empty() && !overlay.is_busy());
                }
                3 | 4 => family.count_some(random(4) as usize),
                _ => family.set(member, page, random(6).min(3)),
            }
            family.m.fail_after = None;
            if turn % 8 == 0 {
                family.check();
            }
        }
        for member in 0..family.members.len() {
            family.clear(member, 0..u64::MAX, true);
        }
        while !family.asides.is_empty() {
            family.count_some(0);
        }
        assert_eq!((family.m.nodes_in_use(), family.m.frames_in_use()), (0, 0));
        assert_eq!(family.m.owners, []);
    }
}

#[test]
fn a_fork_and_its_end_do_not_follow_the_pages() {
    let (mut m, pages) = (TestMemory::default(), 1 << 18);
    let mut parent = Overlay::new(pages);
    for page in (0..pages).step_by(100) {
        let state = PageState::Dirty(m.alloc_zeroed().unwrap());
        parent.set(&mut m, page, state).unwrap();
    }
    let (before, nodes) = (m.seen.get(), m.nodes_in_use());
    let mut child = Overlay::new(pages);
    child.set_number(SegmentNumber::new(1));
    parent.share(&mut m, &mut child);
    assert_eq!(child.step_to_clear(&m, 0..u64::MAX, false), u64::MAX);
    child.clear(&mut m, 0..u64::MAX, |_, _, _| panic!("a page is looked at"));
    assert!(child.is_empty() && m.nodes_in_use() == nodes);
    assert_eq!(m.seen.get(), before, "entries were looked at");
    // Alone again: nothing is copied for a change.
    m.fail_after = Some(0);
    let state = PageState::Dirty(Frame(1));
    parent.set(&mut m, 100, state).unwrap();
}

#[test]
fn pages_below_a_shared_node_are_counted_in_steps() {
    for alone in [false, true] {
        let (pages, born) = (1 << 18, 0);
        let mut family = Family {
            m: TestMemory::default(),
            pages,
            members: alloc::vec![(Overlay::new(pages), BTreeMap::new())],
            asides: Vec::new(),
            born,
        };
        for page in (0..pages).step_by(7) {
            family.set(0, page, 3);
        }
        family.fork(0);
        family.clear(0, 0..u64::MAX, true);
        assert!(family.members[0].0.is_empty());
        let mut steps = 0;
        while !family.asides.is_empty() {
            family.count_some(0);
            steps += 1;
            if alone && steps == 5 {
                // The other one ends: nobody else has the node any more.
                family.clear(1, 0..u64::MAX, false);
            }
        }
        assert!(steps > 70, "{steps} steps");
        family.check();
        family.clear(1, 0..u64::MAX, false);
        assert_eq!((family.m.nodes_in_use(), family.m.frames_in_use()), (0, 0));
    }
}
