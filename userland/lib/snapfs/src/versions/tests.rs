use super::*;

fn slot(index: u64) -> Place {
    let index = index as u32;
    let generation = index;
    Place::Saved(Slot { index, generation })
}

fn index_of(place: Result<(Place, u64), Errno>) -> u64 {
    match place {
        Ok((Place::Saved(slot), _)) => u64::from(slot.index),
        other => panic!("not saved: {other:?}"),
    }
}

fn at(versions: &Versions, block: u64, epoch: Epoch) -> Result<Place, Errno> {
    let found = versions.find(block..block + 1, epoch);
    found.map(|(place, _)| place)
}

fn nothing(_: Slot, _: u64) {}

fn give_up(
    versions: &mut Versions,
    blocks: Range<u64>,
    epoch: Epoch,
    freed: impl FnMut(Slot, u64),
) {
    versions.unrefer(&blocks, epoch);
    versions.sweep(core::iter::once((blocks, epoch)), freed);
}

#[test]
fn a_reference_sees_the_first_version_at_or_after_its_epoch() {
    let mut versions = Versions::default();
    versions.refer(&(0..9), 3);
    versions.save(5..6, slot(1));
    versions.refer(&(0..9), 7);
    versions.save(5..6, Place::Zero);
    assert_eq!(at(&versions, 5, 2), Ok(slot(1)));
    assert_eq!(at(&versions, 5, 3), Ok(slot(1)));
    assert_eq!(at(&versions, 5, 4), Ok(Place::Zero));
    assert_eq!(at(&versions, 5, 8), Ok(Place::Live));
    assert_eq!(at(&versions, 4, 2), Ok(Place::Live));
    assert_eq!(versions.find(0..9, 4), Ok((Place::Live, 5)));
    assert_eq!(versions.find(0..9, 8), Ok((Place::Live, 9)));
}

#[test]
fn a_break_loses_what_was_live_and_nothing_else() {
    let mut versions = Versions::default();
    versions.refer(&(0..9), 3);
    versions.save(5..6, slot(1));
    versions.break_at(4);
    versions.refer(&(0..9), 9);
    versions.save(5..6, Place::Zero);
    assert_eq!(at(&versions, 5, 2), Ok(slot(1)));
    assert_eq!(at(&versions, 5, 4), Err(Errno::ESTALE));
    assert_eq!(at(&versions, 5, 5), Ok(Place::Zero));
    assert_eq!(at(&versions, 6, 4), Err(Errno::ESTALE));
    assert_eq!(at(&versions, 6, 5), Ok(Place::Live));
}

#[test]
fn only_what_nothing_else_reaches_is_forgotten() {
    let mut versions = Versions::default();
    versions.refer(&(0..8), 2);
    versions.refer(&(0..8), 3);
    versions.save(1..2, slot(1));
    let mut freed = 0;
    give_up(&mut versions, 0..8, 3, |_, _| freed += 1);
    assert_eq!(at(&versions, 1, 2), Ok(slot(1)), "epoch 2 still reaches it");
    assert_eq!(freed, 0);
    give_up(&mut versions, 0..8, 2, |_, _| freed += 1);
    assert_eq!((freed, versions.len()), (1, 0));
}

#[test]
fn a_block_is_saved_once_per_epoch_in_use() {
    let mut versions = Versions::default();
    assert!(!versions.must_save(0), "nothing refers to it");
    versions.refer(&(0..1), 4);
    assert!(versions.must_save(0));
    versions.save(0..1, slot(1));
    assert!(!versions.must_save(0), "saved already");
    versions.refer(&(0..1), 7);
    assert!(versions.must_save(0), "a newer epoch");
    versions.set_aside(&(0..1), 7);
    versions.unrefer(&(0..1), 7);
    assert!(!versions.must_save(0), "about to be replaced");
    versions.refer(&(0..1), 7);
    versions.take_back(&(0..1), 7);
    assert!(versions.must_save(0));
}

#[test]
fn blocks_saved_one_by_one_side_by_side_are_one_run() {
    let mut versions = Versions::default();
    let all = 0..1 << 12;
    versions.refer(&all, 3);
    for block in all.clone().rev() {
        versions.save(block..block + 1, slot(7 + block));
        assert_eq!(versions.len(), 1);
    }
    assert_eq!(versions.saved.len(), 1);
    assert_eq!(index_of(versions.find(1234..1 << 12, 3)), 7 + 1234);
    // All but one are given up: their places are free, and only they.
    versions.refer(&(1234..1235), 3);
    let mut freed: Vec<(u32, u64)> = Vec::new();
    give_up(&mut versions, all, 3, |slot, count| {
        freed.push((slot.index, count))
    });
    assert_eq!(freed, [(7, 1234), (7 + 1235, (1 << 12) - 1235)]);
    assert_eq!(index_of(versions.find(1234..1235, 3)), 7 + 1234);
    give_up(&mut versions, 1234..1235, 3, nothing);
    assert!(versions.saved.is_empty() && versions.weight() == size_of::<News>() * (1 << 12));
}

#[test]
fn blocks_saved_in_any_order_know_the_places_that_join_them() {
    let mut versions = Versions::default();
    versions.refer(&(0..1 << 12), 3);
    assert_eq!(versions.place_beside(5), None);
    versions.save(5..6, slot(1005));
    for block in [20, 3, 60, 63, 4] {
        assert_eq!(versions.place_beside(block), Some(1000 + block as u32));
        versions.save(block..block + 1, slot(1000 + block));
    }
    versions.note(6..20, Place::Zero);
    assert_eq!(versions.place_beside(19), Some(1019), "past the zeros");
    assert_eq!(versions.place_beside(WINDOW), None, "another window");
    versions.refer(&(7..8), 4);
    assert_eq!(versions.place_beside(7), None, "of another epoch");
}

#[test]
fn a_terabyte_of_zeros_is_one_run_and_is_forgotten_in_parts() {
    let mut versions = Versions::default();
    let all = 0..1 << 28;
    versions.refer(&all, 3);
    assert_eq!(versions.note(all.clone(), Place::Zero), 1 << 28);
    assert_eq!(versions.note(all.clone(), Place::Zero), 0, "noted already");
    assert_eq!(versions.len(), 1);
    assert_eq!(
        versions.find(12345..1 << 28, 3),
        Ok((Place::Zero, (1 << 28) - 12345))
    );
    assert_eq!(at(&versions, 12345, 6), Ok(Place::Live));
    assert_eq!(versions.next_unsaved(all.clone(), 32), None);
    // All but the blocks 1000 to 2000 are given up.
    versions.refer(&(1000..2000), 3);
    give_up(&mut versions, all, 3, nothing);
    assert_eq!(versions.len(), 1);
    assert_eq!(at(&versions, 999, 3), Ok(Place::Live));
    assert_eq!(versions.find(1000..3000, 3), Ok((Place::Zero, 1000)));
    assert_eq!(at(&versions, 2000, 3), Ok(Place::Live));
    give_up(&mut versions, 1000..2000, 3, nothing);
    assert_eq!(versions.len(), 0);
}

const BLOCKS: u64 = 64;

/// The content of a reference's block.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Known {
    Live,
    /// A number, 0 for zeros.
    Was(u64),
    Lost,
}

/// A naive model: every reference has a copy of each of its blocks from the
/// moment that it is overwritten.
struct Model {
    references: Vec<Reference>,
    content: Vec<u64>,
    epoch: Epoch,
}

struct Reference {
    blocks: Range<u64>,
    epoch: Epoch,
    known: Vec<Known>,
    aside: bool,
}

impl Reference {
    fn over(&mut self, block: u64) -> Option<&mut Known> {
        let n = block.checked_sub(self.blocks.start)?;
        self.known.get_mut(n as usize)
    }
}

impl Model {
    fn must_save(&mut self, block: u64) -> bool {
        let references = self.references.iter_mut().filter(|one| !one.aside);
        let mut known = references.filter_map(|one| one.over(block));
        known.any(|known| *known == Known::Live)
    }

    /// The content that a new reference to `block` finds: that of a reference
    /// at the same epoch. It may be saved already, for a write that failed.
    fn known(&self, block: u64) -> Known {
        let now = |one: &&Reference| one.epoch == self.epoch && one.blocks.contains(&block);
        let same = self.references.iter().find(now);
        same.map_or(Known::Live, |one| {
            one.known[(block - one.blocks.start) as usize]
        })
    }

    /// `block` is overwritten, or lost.
    fn settle(&mut self, block: u64, as_what: Known) {
        for known in self.references.iter_mut().filter_map(|one| one.over(block)) {
            if *known == Known::Live {
                *known = as_what;
            }
        }
    }
}

/// The versions, the model, and the content of each place in the store.
struct World {
    random: u64,
    versions: Versions,
    model: Model,
    store: BTreeMap<u32, u64>,
    next_slot: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let model = Model {
            references: Vec::new(),
            content: alloc::vec![0; BLOCKS as usize],
            epoch: 1,
        };
        World {
            random: seed,
            versions: Versions::default(),
            model,
            store: BTreeMap::new(),
            next_slot: 0,
        }
    }

    fn next(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.random >> 33) % below
    }

    fn range(&mut self) -> Range<u64> {
        let start = self.next(BLOCKS - 1);
        start..start + 1 + self.next(BLOCKS - start)
    }

    fn refer(&mut self) {
        let (blocks, epoch) = (self.range(), self.model.epoch);
        self.versions.refer(&blocks, epoch);
        self.model.references.push(Reference {
            known: blocks
                .clone()
                .map(|block| self.model.known(block))
                .collect(),
            blocks,
            epoch,
            aside: false,
        });
    }

    /// A reference is cut in two, or a part of it is given up, as a trim does it.
    fn part(&mut self) {
        let count = self.model.references.len() as u64;
        if count == 0 {
            return;
        }
        let n = self.next(count) as usize;
        let mut whole = self.model.references.swap_remove(n);
        let middle = whole.blocks.start + self.next(whole.blocks.end - whole.blocks.start + 1);
        let (before, after) = (whole.blocks.start..middle, middle..whole.blocks.end);
        for part in [&before, &after] {
            self.versions.refer(part, whole.epoch);
        }
        self.versions.unrefer(&whole.blocks, whole.epoch);
        let known = whole
            .known
            .split_off((middle - whole.blocks.start) as usize);
        let epoch = whole.epoch;
        let make = |blocks, known| Reference {
            blocks,
            epoch,
            known,
            aside: false,
        };
        let parts = [make(before, whole.known), make(after, known)];
        let gone = self.next(3) as usize;
        for (at, part) in parts.into_iter().enumerate() {
            if at == gone {
                self.unrefer(&part.blocks, epoch);
            } else if !part.blocks.is_empty() {
                self.model.references.push(part);
            }
        }
    }

    fn unrefer(&mut self, blocks: &Range<u64>, epoch: Epoch) {
        let store = &mut self.store;
        give_up(&mut self.versions, blocks.clone(), epoch, |slot, count| {
            for index in slot.index..slot.index + count as u32 {
                assert!(store.remove(&index).is_some(), "freed twice: {index}");
            }
        });
    }

    /// Saves the blocks that must be, in runs of zeros and of others; sometimes
    /// fails in the middle, as a store without space does.
    fn save(&mut self, blocks: Range<u64>) -> bool {
        let mut left = blocks;
        while let Some(run) = self.versions.next_unsaved(left.clone(), 1 + left.end % 9) {
            if self.next(20) == 0 {
                return false;
            }
            assert!(run.clone().all(|block| self.model.must_save(block)));
            left.start = run.start;
            let content = |block: u64| self.model.content[block as usize];
            let zero = content(run.start) == 0;
            let same = |block: &u64| (content(*block) == 0) == zero;
            let count = run.clone().take_while(same).count() as u64;
            let part = run.start..run.start + count;
            let lost = self.next(12) == 0;
            if lost {
                assert_eq!(self.versions.note(part.clone(), Place::Lost), count);
            } else if zero {
                assert_eq!(self.versions.note(part.clone(), Place::Zero), count);
            } else {
                self.save_in_store(part.clone());
            }
            for block in part.clone() {
                let known = match lost {
                    true => Known::Lost,
                    false => Known::Was(self.model.content[block as usize]),
                };
                self.model.settle(block, known);
            }
            left.start = part.end;
        }
        true
    }

    fn save_in_store(&mut self, part: Range<u64>) {
        let count = (part.end - part.start) as u32;
        let wanted = self.versions.place_beside(part.start);
        let free = |from: &u32| self.store.range(*from..*from + count).next().is_none();
        let index = wanted.filter(free).unwrap_or_else(|| {
            self.next_slot += 1000;
            self.next_slot
        });
        for (index, block) in (index..).zip(part.clone()) {
            self.store.insert(index, self.model.content[block as usize]);
        }
        self.versions.save(part, slot(u64::from(index)));
    }

    fn write(&mut self) {
        let blocks = self.range();
        // A snapshot of the writer's own may be replaced by the written blocks.
        let count = self.model.references.len() as u64;
        let own = (count > 0 && self.next(2) == 0).then(|| self.next(count) as usize);
        if let Some(own) = own.map(|n| &mut self.model.references[n]) {
            self.versions.set_aside(&own.blocks, own.epoch);
            self.versions.unrefer(&own.blocks, own.epoch);
            own.aside = true;
        }
        let saved = self.save(blocks.clone());
        if saved {
            self.model.epoch += 1;
            let value = self.next(3) * (self.model.epoch * BLOCKS);
            for block in blocks.clone() {
                // Where only the writer's own refers to it, it is not saved.
                self.model.settle(block, Known::Lost);
                self.model.content[block as usize] = value + block * u64::from(value > 0);
            }
        }
        if let Some(n) = own {
            let own = self.model.references.swap_remove(n);
            self.versions.refer(&own.blocks, own.epoch);
            self.versions.take_back(&own.blocks, own.epoch);
            self.unrefer(&own.blocks.clone(), own.epoch);
        }
    }

    fn step(&mut self) {
        match self.next(8) {
            0..3 => self.refer(),
            3 => self.part(),
            4 => {
                let epoch = self.model.epoch;
                self.versions.break_at(epoch);
                (0..BLOCKS).for_each(|block| self.model.settle(block, Known::Lost));
                self.model.epoch += 1;
            }
            _ => self.write(),
        }
    }

    fn check(&mut self) {
        for block in 0..BLOCKS {
            let must = self.model.must_save(block);
            assert_eq!(self.versions.must_save(block), must, "block {block}");
        }
        for one in &self.model.references {
            let mut at = one.blocks.start;
            while at < one.blocks.end {
                let found = self.versions.find(at..one.blocks.end, one.epoch);
                let count = found.map_or(1, |(_, count)| count);
                for block in at..at + count {
                    let known = one.known[(block - one.blocks.start) as usize];
                    let right = match found {
                        Ok((Place::Live, _)) => known == Known::Live,
                        Ok((Place::Zero, _)) => known == Known::Was(0),
                        Ok((Place::Saved(slot), _)) => {
                            let index = slot.index + (block - at) as u32;
                            known == Known::Was(self.store[&index])
                        }
                        _ => known == Known::Lost,
                    };
                    assert!(
                        right,
                        "block {block} at {}: {found:?}, {known:?}",
                        one.epoch
                    );
                }
                at += count;
            }
        }
        let places: u64 = self
            .versions
            .all()
            .map(|noted| match noted {
                Noted::Saved(blocks, _, Place::Saved(_)) => blocks.end - blocks.start,
                _ => 0,
            })
            .sum();
        assert_eq!(places, self.store.len() as u64, "places leaked");
        self.nothing_is_kept_in_vain();
    }

    /// Every version is at an epoch that something refers to its blocks at, and
    /// no two runs could be one.
    fn nothing_is_kept_in_vain(&self) {
        let mut last: Option<(Range<u64>, Epoch, Place)> = None;
        for noted in self.versions.all() {
            let Noted::Saved(blocks, epoch, place) = noted else {
                continue;
            };
            for block in blocks.clone() {
                let refers = |one: &Reference| one.epoch == epoch && one.blocks.contains(&block);
                assert!(
                    self.model.references.iter().any(refers),
                    "{block} at {epoch}"
                );
            }
            if let Some((before, of, at)) = last
                && (before.end, of) == (blocks.start, epoch)
            {
                assert!(
                    At(at).advance(before.end - before.start) != At(place),
                    "{before:?}"
                );
            }
            last = Some((blocks, epoch, place));
        }
    }

    /// The same versions as a log has them.
    fn restart(&mut self) {
        let mut restored = Versions::default();
        self.versions
            .all()
            .for_each(|noted| restored.restore(noted));
        restored.begin_grace(self.model.epoch);
        for one in &self.model.references {
            restored.refer(&one.blocks, one.epoch);
        }
        self.model.epoch += 1;
        self.versions = restored;
    }

    fn end_grace(&mut self) {
        let store = &mut self.store;
        self.versions.end_grace(|slot, count| {
            for index in slot.index..slot.index + count as u32 {
                assert!(store.remove(&index).is_some(), "freed twice: {index}");
            }
        });
    }
}

/// References are added, removed and cut while blocks are overwritten, lost and
/// broken; every reference finds its content, and no other version is kept.
#[test]
fn every_reference_finds_what_was_there_at_its_epoch() {
    for seed in 1..300 {
        std::println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..80 {
            world.step();
            world.check();
        }
        if seed % 2 == 0 {
            world.restart();
            // Some are given up before the period ends.
            for _ in 0..world.model.references.len() / 2 {
                let gone = world.model.references.pop().expect("there are more");
                world.unrefer(&gone.blocks, gone.epoch);
            }
            world.end_grace();
            world.check();
        }
        while let Some(gone) = world.model.references.pop() {
            world.unrefer(&gone.blocks, gone.epoch);
            world.check();
        }
        assert_eq!(
            (world.versions.len(), world.store.len()),
            (0, 0),
            "seed {seed}"
        );
    }
}

/// The news contain everything that a log needs.
#[test]
fn the_news_add_up_to_everything() {
    for seed in 1..100 {
        let mut world = World::new(seed);
        let mut log: BTreeMap<u64, BTreeMap<Epoch, Place>> = BTreeMap::new();
        for _ in 0..60 {
            world.step();
            let told: Vec<Noted> = world.versions.news().collect();
            for noted in told {
                if let Noted::Saved(blocks, epoch, place) = noted {
                    for (n, block) in blocks.enumerate() {
                        log.entry(block)
                            .or_default()
                            .insert(epoch, place.after(n as u64));
                    }
                }
            }
            world.versions.forget_news(world.versions.news_len());
            for one in &world.model.references {
                for block in one.blocks.clone() {
                    let versions = log.get(&block).and_then(|of| of.range(one.epoch..).next());
                    if let Ok(place) = at(&world.versions, block, one.epoch)
                        && place != Place::Live
                    {
                        let (_, logged) = versions.expect("it was told");
                        assert!(At(*logged) == At(place), "seed {seed} block {block}");
                    }
                }
            }
        }
    }
}
