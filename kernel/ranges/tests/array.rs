//! The map against an array with a value for each number.

use std::ops::Range;

use dormouse_ranges::{RangeMap, Span, Value};

/// A place in one of some files.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Source {
    file: u64,
    offset: u64,
}

impl Value for Source {
    fn advance(self, by: u64) -> Source {
        Source {
            file: self.file,
            offset: self.offset.wrapping_add(by),
        }
    }
}

struct Random(u64);

impl Random {
    /// `DORMOUSE_SEED` is another seed.
    fn new() -> Random {
        let seed = std::env::var("DORMOUSE_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("DORMOUSE_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.0 >> 33) % n
    }

    /// A range below `n`; half of them are short.
    fn range(&mut self, n: u64) -> Range<u64> {
        let start = self.below(n + 1);
        let most = if self.below(2) == 0 { 4 } else { n };
        start..(start + self.below(most)).min(n)
    }
}

/// The spans that an array is, clipped to `range`.
fn spans<V: Value>(array: &[Option<V>], range: Range<u64>) -> Vec<Span<V>> {
    let mut spans: Vec<Span<V>> = Vec::new();
    for start in range {
        let Some(value) = array[start as usize] else {
            continue;
        };
        let end = start + 1;
        match spans.last_mut() {
            Some(last) if last.end == start && last.value.advance(last.len()) == value => {
                last.end = end;
            }
            _ => spans.push(Span { start, end, value }),
        }
    }
    spans
}

/// Sets the spans of a range aside, and takes them; all that are in no range any more are
/// among these.
fn set_aside<V: Value + std::fmt::Debug>(map: &mut RangeMap<V>, range: &Range<u64>) {
    let before: Vec<_> = map.iter().collect();
    map.set_aside(range);
    let mut all: Vec<_> = map.iter().collect();
    let over = map.over(range.clone()).count();
    assert!(over <= 6 * 64, "{over} spans are left");
    while map.take_aside(|span| all.push(span)) {}
    all.sort_by_key(|span| span.start);
    assert_eq!(all, before);
}

/// Random changes of a map and an array, and all questions after each.
fn equals<V: Value + std::fmt::Debug>(
    random: &mut Random,
    (size, turns): (u64, u32),
    mut value: impl FnMut(&mut Random, u64) -> V,
) {
    let (mut map, mut array) = (RangeMap::new(), vec![None; size as usize]);
    for turn in 0..turns {
        let range = random.range(size);
        // Mostly holes for a while, then mostly values, so that the map has few
        // spans and many.
        let holes = if turn / 500 % 2 == 0 { 5 } else { 1 };
        let new = (random.below(6) >= holes).then(|| value(random, range.start));
        map.reserve().unwrap();
        if random.below(2) == 0 {
            map.reserve_aside().unwrap();
            set_aside(&mut map, &range);
        }
        map.replace(range.clone(), new);
        map.check();
        for at in range.clone() {
            array[at as usize] = new.map(|new| new.advance(at - range.start));
        }
        let all = spans(&array, 0..size);
        assert_eq!(map.iter().collect::<Vec<_>>(), all);
        assert_eq!((map.len(), map.is_empty()), (all.len(), all.is_empty()));
        let asked = random.range(size);
        let over = spans(&array, asked.clone());
        assert_eq!(map.over(asked.clone()).collect::<Vec<_>>(), over);
        assert_eq!(map.first(asked.clone()), over.first().copied());
        let most = random.below(4) as usize;
        let step = over.get(most).map_or(asked.end, |beyond| beyond.start);
        assert!(asked.is_empty() || map.step(&asked, most) == step);
        let touch = |span: &&Span<V>| span.start <= asked.end && asked.start <= span.end;
        let touching: Vec<_> = all.iter().filter(touch).copied().collect();
        assert_eq!(map.touching(asked.clone()).collect::<Vec<_>>(), touching);
        let at = asked.start;
        let holds = all.iter().find(|span| span.range().contains(&at));
        assert_eq!(map.at(at), holds.copied());
        let before = all.iter().rfind(|span| span.end <= at);
        assert_eq!(map.before(at), before.copied());
        let shortest = all.iter().min_by_key(|span| span.len());
        assert_eq!(map.shortest(), shortest.copied());
        if turn % 100 == 0 {
            let (mut some, most) = (RangeMap::new(), random.below(300) as usize);
            while !map.copy_some(&mut some, most).unwrap() {}
            for copy in [map.try_clone().unwrap(), some] {
                copy.check();
                assert!(copy.iter().eq(map.iter()));
            }
        }
    }
    assert!(map.reserve().is_ok());
    map.replace(0..u64::MAX, None);
    map.check();
    assert!(map.is_empty());
}

#[test]
fn values_that_are_the_same_everywhere() {
    let mut random = Random::new();
    for size in [1, 10, 200] {
        equals(&mut random, (size, 3000), |_, _| ());
        equals(&mut random, (size, 3000), |random, _| random.below(3));
    }
    // Enough spans for many chunks.
    equals(&mut random, (1500, 6000), |random, _| random.below(1 << 40));
}

#[test]
fn values_that_shift() {
    let mut random = Random::new();
    let source = |random: &mut Random, start| {
        let file = random.below(3);
        // One distance a file, so that neighbours may join; it may be negative.
        let offset = [0u64, 1000, u64::MAX - 9][file as usize].wrapping_add(start);
        Source { file, offset }
    };
    for size in [10, 200, 900] {
        equals(&mut random, (size, 4000), source);
    }
}

#[test]
fn a_coarser_map_says_no_less() {
    let mut random = Random::new();
    for most in [1, 5, 40, 200] {
        let (mut map, mut array) = (RangeMap::new(), vec![0; 1000]);
        for epoch in 1..400 {
            let range = random.range(1000);
            map.set(range.clone(), epoch).unwrap();
            array[range.start as usize..range.end as usize].fill(epoch);
        }
        let gap = |a: &Span<u64>, b: &Span<u64>| b.start - a.end;
        map.coarsen(most, gap, u64::max);
        map.check();
        assert!(map.len() <= most);
        for (at, epoch) in array.into_iter().enumerate() {
            let said = map.at(at as u64).map_or(0, |span| span.value);
            assert!(said >= epoch, "{at}: {said} < {epoch}");
        }
    }
}

#[test]
fn the_cheapest_neighbours_are_joined_first() {
    let mut map = RangeMap::new();
    for start in [0, 10, 20, 30, 32, 50] {
        map.set(start..start + 1, ()).unwrap();
    }
    map.coarsen(5, |a, b| b.start - a.end, |_, _| ());
    let starts: Vec<_> = map.iter().map(|span| (span.start, span.end)).collect();
    assert_eq!(starts, [(0, 1), (10, 11), (20, 21), (30, 33), (50, 51)]);
}

#[test]
fn a_map_is_shortened_a_part_at_a_time() {
    let mut map = RangeMap::new();
    for n in 0..1000 {
        map.set(n * 2..n * 2 + 1, ()).unwrap();
    }
    map.reserve_aside().unwrap();
    map.set_aside(&(500..1500));
    let (mut left, mut turns) = (map.len() + map.aside().count(), 0);
    assert_eq!(left, 1000);
    while map.shorten(100) {
        let now = map.len() + map.aside().count();
        assert!((100..164).contains(&(left - now)), "{left} to {now}");
        (left, turns) = (now, turns + 1);
    }
    assert!(map.is_empty() && turns > 5);
    assert_eq!(map.aside().count(), 0);
}
