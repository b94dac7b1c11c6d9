//! Who is whose child, among things with small numbers.

/// No number.
const NONE: u16 = u16::MAX;

/// Children in the order in which they came.
#[derive(Clone, Copy)]
struct List {
    first: u16,
    last: u16,
}

const EMPTY: List = List {
    first: NONE,
    last: NONE,
};

#[derive(Clone, Copy)]
struct Links {
    parent: u16,
    /// The neighbours in the parent's list that it is in.
    next: u16,
    previous: u16,
    has_ended: bool,
    living: List,
    ended: List,
}

const ALONE: Links = Links {
    parent: NONE,
    next: NONE,
    previous: NONE,
    has_ended: false,
    living: EMPTY,
    ended: EMPTY,
};

/// The families of the numbers below `MOST`, at most 65,535. Each may have a parent, and
/// children that live or have ended. Every step but [`Family::adopt`] costs the same
/// however many there are. What does not hold for the arguments changes nothing.
pub struct Family<const MOST: usize>([Links; MOST]);

impl<const MOST: usize> Default for Family<MOST> {
    fn default() -> Family<MOST> {
        Family::NONE
    }
}

impl<const MOST: usize> Family<MOST> {
    /// Nobody is a child.
    pub const NONE: Family<MOST> = Family([ALONE; MOST]);

    fn of(&self, number: u16) -> &Links {
        self.0.get(usize::from(number)).unwrap_or(&ALONE)
    }

    fn change(&mut self, number: u16, change: impl FnOnce(&mut Links)) {
        if let Some(links) = self.0.get_mut(usize::from(number)) {
            change(links);
        }
    }

    /// The parent of a child.
    pub fn parent(&self, child: u16) -> Option<u16> {
        let parent = self.of(child).parent;
        (parent != NONE).then_some(parent)
    }

    /// Makes a number without a parent the youngest child of another.
    pub fn add(&mut self, child: u16, parent: u16) {
        let both = usize::from(child.max(parent)) < MOST;
        if both && child != parent && self.parent(child).is_none() {
            self.change(child, |links| {
                (links.parent, links.has_ended) = (parent, false);
            });
            self.append(child);
        }
    }

    /// The child has ended: it comes behind those that ended before.
    pub fn end(&mut self, child: u16) {
        if self.parent(child).is_some() && !self.of(child).has_ended {
            self.unlink(child);
            self.change(child, |links| links.has_ended = true);
            self.append(child);
        }
    }

    /// It is nobody's child any more.
    pub fn remove(&mut self, child: u16) {
        if self.parent(child).is_some() {
            self.unlink(child);
            self.change(child, |links| links.parent = NONE);
        }
    }

    /// The child that has ended first of those that have; `None`: none has.
    pub fn first_ended(&self, parent: u16) -> Option<u16> {
        let first = self.of(parent).ended.first;
        (first != NONE).then_some(first)
    }

    /// Returns true if it has children.
    pub fn has_children(&self, parent: u16) -> bool {
        let links = self.of(parent);
        links.living.first != NONE || links.ended.first != NONE
    }

    /// Makes all children of `parent` those of `heir`, as its youngest, and tells of each.
    pub fn adopt(&mut self, parent: u16, heir: u16, mut tell: impl FnMut(u16)) {
        if parent == heir || usize::from(heir) >= MOST {
            return;
        }
        loop {
            let Links { living, ended, .. } = *self.of(parent);
            let child = if living.first != NONE {
                living.first
            } else {
                ended.first
            };
            if child == NONE {
                return;
            }
            self.unlink(child);
            self.change(child, |links| links.parent = heir);
            // The heir may be one of them, and is nobody's child then.
            match child == heir {
                true => self.change(child, |links| links.parent = NONE),
                false => self.append(child),
            }
            tell(child);
        }
    }

    /// The list of its parent that a child is in.
    fn list(&mut self, child: u16) -> Option<&mut List> {
        let Links {
            parent, has_ended, ..
        } = *self.of(child);
        let parent = self.0.get_mut(usize::from(parent))?;
        Some(match has_ended {
            true => &mut parent.ended,
            false => &mut parent.living,
        })
    }

    fn append(&mut self, child: u16) {
        let Some(list) = self.list(child) else { return };
        let last = core::mem::replace(&mut list.last, child);
        if last == NONE {
            list.first = child;
        }
        self.change(last, |links| links.next = child);
        self.change(child, |links| (links.previous, links.next) = (last, NONE));
    }

    fn unlink(&mut self, child: u16) {
        let Links { next, previous, .. } = *self.of(child);
        let Some(list) = self.list(child) else { return };
        if next == NONE {
            list.last = previous;
        }
        if previous == NONE {
            list.first = next;
        }
        self.change(next, |links| links.previous = previous);
        self.change(previous, |links| links.next = next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const MOST: usize = 12;

    /// The same as lists of pairs: a child that lives or has ended, and its parent.
    #[derive(Default)]
    struct Model {
        living: Vec<(u16, u16)>,
        ended: Vec<(u16, u16)>,
    }

    impl Model {
        fn parent(&self, child: u16) -> Option<u16> {
            let mut all = self.living.iter().chain(&self.ended);
            all.find(|(of, _)| *of == child).map(|(_, parent)| *parent)
        }

        fn remove(&mut self, child: u16) {
            self.living.retain(|(of, _)| *of != child);
            self.ended.retain(|(of, _)| *of != child);
        }
    }

    fn compare(family: &Family<MOST>, model: &Model, step: u32) {
        for number in 0..MOST as u16 {
            let is_of = |(_, parent): &&(u16, u16)| *parent == number;
            assert_eq!(family.parent(number), model.parent(number), "{step}");
            let ended = model.ended.iter().find(is_of).map(|(child, _)| *child);
            assert_eq!(family.first_ended(number), ended, "{step}");
            let any = model.living.iter().chain(&model.ended).any(|of| is_of(&of));
            assert_eq!(family.has_children(number), any, "{step}");
        }
    }

    #[test]
    fn it_is_as_lists_of_children_and_parents() {
        let (mut family, mut model) = (Family::<MOST>::NONE, Model::default());
        let mut state: u64 = 0x9e37_79b9;
        for step in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let number = |shift: u32| (state >> shift) as u16 % MOST as u16;
            let (one, other) = (number(20), number(30));
            match state >> 40 & 7 {
                0..=2 => {
                    family.add(one, other);
                    if one != other && model.parent(one).is_none() {
                        model.living.push((one, other));
                    }
                }
                3 | 4 => {
                    family.end(one);
                    if let Some(at) = model.living.iter().position(|(of, _)| *of == one) {
                        let ended = model.living.remove(at);
                        model.ended.push(ended);
                    }
                }
                5 | 6 => {
                    family.remove(one);
                    model.remove(one);
                }
                _ => {
                    let mut told = Vec::new();
                    family.adopt(one, other, |child| told.push(child));
                    let mut adopted = Vec::new();
                    for list in [&mut model.living, &mut model.ended] {
                        let (of, mut rest): (Vec<_>, Vec<_>) = list
                            .iter()
                            .partition(|(_, parent)| *parent == one && one != other);
                        adopted.extend(of.iter().map(|(child, _)| *child));
                        let own = of.iter().filter(|(child, _)| *child != other);
                        rest.extend(own.map(|(child, _)| (*child, other)));
                        *list = rest;
                    }
                    assert_eq!(told, adopted, "{step}");
                }
            }
            compare(&family, &model, step);
        }
    }
}
