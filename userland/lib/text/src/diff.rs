//! The difference between two texts: which lines go and which come, so that few do.
//!
//! Myers' algorithm in linear space ("An O(ND) difference algorithm and its variations",
//! 1986), from both ends at once. Texts that have little in common are not compared to
//! the end: the parts in question then go and come as a whole.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Lines `old` of the first text that become lines `new` of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// May be empty, as a place between two lines.
    pub old: Range<usize>,
    /// May be empty.
    pub new: Range<usize>,
}

/// Steps after which a part counts as different throughout.
const STEPS: i64 = 2000;

/// A place in both texts.
type At = (usize, usize);
/// A part of both texts: from there, to there.
type Part = (At, At);

/// The changes that lead from one text to the other, in order, with equal lines between
/// any two of them. Lines are equal if their numbers are.
pub fn changes(old: &[u32], new: &[u32]) -> Vec<Change> {
    let (mut goes, mut comes) = (vec![false; old.len()], vec![false; new.len()]);
    let mut parts: Vec<Part> = Vec::from([((0, 0), (old.len(), new.len()))]);
    while let Some(((mut a, mut b), (mut c, mut d))) = parts.pop() {
        while a < c && b < d && old[a] == new[b] {
            (a, b) = (a + 1, b + 1);
        }
        while a < c && b < d && old[c - 1] == new[d - 1] {
            (c, d) = (c - 1, d - 1);
        }
        let middle = match a < c && b < d {
            true => middle(&old[a..c], &new[b..d]),
            false => None,
        };
        match middle {
            Some(((x, y), (u, v))) => {
                parts.push(((a + u, b + v), (c, d)));
                parts.push(((a, b), (a + x, b + y)));
            }
            None => {
                goes[a..c].fill(true);
                comes[b..d].fill(true);
            }
        }
    }
    collected(&goes, &comes)
}

fn collected(goes: &[bool], comes: &[bool]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut a, mut b) = (0, 0);
    let marked = |marks: &[bool], from: usize| {
        let rest = marks.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|mark| **mark).count()
    };
    while a < goes.len() || b < comes.len() {
        let (c, d) = (marked(goes, a), marked(comes, b));
        if (c, d) != (a, b) {
            changes.push(Change {
                old: a..c,
                new: b..d,
            });
        }
        // A line that stays.
        (a, b) = (c + 1, d + 1);
    }
    changes
}

/// The farthest places on the diagonals of a search from one end.
struct Front {
    places: Vec<i64>,
    zero: i64,
}

impl Front {
    /// Farther than none.
    const NONE: i64 = -1;

    fn new(n: i64, m: i64) -> Front {
        let mut front = Front {
            places: vec![Front::NONE; (n + m + 3) as usize],
            zero: m + 1,
        };
        front.set(1, 0);
        front
    }

    fn get(&self, diagonal: i64) -> i64 {
        let at = usize::try_from(diagonal + self.zero);
        let place = at.ok().and_then(|at| self.places.get(at));
        place.copied().unwrap_or(Front::NONE)
    }

    fn set(&mut self, diagonal: i64, place: i64) {
        let at = usize::try_from(diagonal + self.zero);
        if let Some(at) = at.ok().and_then(|at| self.places.get_mut(at)) {
            *at = place;
        }
    }

    /// Goes one line and then as far as `equal` says on a diagonal; where that began and
    /// ended. `None`: it cannot be reached.
    fn step(
        &mut self,
        diagonal: i64,
        (n, m): (i64, i64),
        equal: impl Fn(usize, usize) -> bool,
    ) -> Option<(i64, i64)> {
        let (below, above) = (self.get(diagonal - 1), self.get(diagonal + 1));
        let right = (below != Front::NONE && below < n).then(|| below + 1);
        let down = (above != Front::NONE && above - diagonal <= m).then_some(above);
        let Some(start) = right.max(down) else {
            self.set(diagonal, Front::NONE);
            return None;
        };
        let mut x = start;
        while x < n && x - diagonal < m && equal(x as usize, (x - diagonal) as usize) {
            x += 1;
        }
        self.set(diagonal, x);
        Some((start, x))
    }
}

/// A run of equal lines, perhaps empty, in the middle of a shortest way from one end of both
/// texts to the other. `None`: there is none, or the search takes too long.
fn middle(old: &[u32], new: &[u32]) -> Option<Part> {
    let (n, m) = (old.len() as i64, new.len() as i64);
    let delta = n - m;
    let (mut forth, mut back) = (Front::new(n, m), Front::new(n, m));
    let place = |x: i64, y: i64| (x as usize, y as usize);
    for d in 0..=((n + m + 1) / 2).min(STEPS) {
        let diagonals = || (-d..=d).step_by(2).filter(|k| (-m..=n).contains(k));
        for k in diagonals() {
            let Some((from, to)) = forth.step(k, (n, m), |x, y| old[x] == new[y]) else {
                continue;
            };
            let other = back.get(delta - k);
            let is_met = delta % 2 != 0 && (delta - k).abs() < d && other != Front::NONE;
            if is_met && to + other >= n {
                return split((place(from, from - k), place(to, to - k)), (n, m));
            }
        }
        for k in diagonals() {
            let equal = |x: usize, y: usize| old[old.len() - 1 - x] == new[new.len() - 1 - y];
            let Some((from, to)) = back.step(k, (n, m), equal) else {
                continue;
            };
            let other = forth.get(delta - k);
            let is_met = delta % 2 == 0 && (delta - k).abs() <= d && other != Front::NONE;
            if is_met && to + other >= n {
                let start = place(n - to, m - (to - k));
                return split((start, place(n - from, m - (from - k))), (n, m));
            }
        }
    }
    None
}

/// A part, unless it is no help: both sides of it must be less than all.
fn split(((x, y), (u, v)): Part, (n, m): (i64, i64)) -> Option<Part> {
    let (n, m) = (n as usize, m as usize);
    let whole = (x, y) == (n, m) || (u, v) == (0, 0);
    (!whole).then_some(((x, y), (u, v)))
}

/// Changes that are shown together, with the lines around them that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Lines of the first text.
    pub old: Range<usize>,
    /// Lines of the second.
    pub new: Range<usize>,
    /// The changes.
    pub changes: Vec<Change>,
}

/// Puts changes together whose lines around them, `around` on each side, touch.
pub fn hunks(changes: &[Change], around: usize, (old, new): (usize, usize)) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for change in changes {
        let before = around.min(change.old.start).min(change.new.start);
        let after = around.min(old - change.old.end).min(new - change.new.end);
        let start = (change.old.start - before, change.new.start - before);
        let end = (change.old.end + after, change.new.end + after);
        match hunks.last_mut() {
            Some(last) if start.0 <= last.old.end => {
                (last.old.end, last.new.end) = end;
                last.changes.push(change.clone());
            }
            _ => hunks.push(Hunk {
                old: start.0..end.0,
                new: start.1..end.1,
                changes: Vec::from([change.clone()]),
            }),
        }
    }
    hunks
}
