//! The objects that a step uses and changes. Two steps with no common object
//! that either of them changes have the same result in both orders.

use std::cell::RefCell;

/// Something that steps share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// A process's segment, its overlay and translations.
    Segment(usize),
    /// A frame's content and references.
    Frame(u32),
    /// The references to a snapshot.
    Snapshot(u32),
    /// Everything at file servers.
    Server,
    /// Everything at the swap server.
    Swap,
    /// The cache index and the epochs of files.
    Cache,
    /// The processes that wait for a fill of a process.
    Sleepers(usize, u32),
}

/// The objects that a step uses, and whether it changes them.
#[derive(Clone, Default, Debug)]
pub struct Footprint(Vec<(Object, bool)>);

impl Footprint {
    fn note(&mut self, object: Object, changed: bool) {
        match self.0.iter_mut().find(|(known, _)| *known == object) {
            Some((_, known)) => *known |= changed,
            None => self.0.push((object, changed)),
        }
    }

    /// Returns true if both orders have the same result.
    pub fn independent(&self, other: &Footprint) -> bool {
        self.0.iter().all(|(object, changed)| {
            let theirs = other.0.iter().find(|(known, _)| known == object);
            theirs.is_none_or(|(_, theirs)| !changed && !theirs)
        })
    }
}

/// Records the objects of a step, on request.
#[derive(Clone, Default, Debug)]
pub struct Trace(RefCell<Option<Step>>);

#[derive(Clone, Default, Debug)]
struct Step {
    footprint: Footprint,
    /// Frames that the step itself allocated, which no other step uses.
    fresh: Vec<Object>,
}

impl Trace {
    /// Begins to record a step.
    pub fn begin(&self) {
        self.0.replace(Some(Step::default()));
    }

    /// Ends the step; returns its objects.
    pub fn end(&self) -> Footprint {
        self.0.take().unwrap_or_default().footprint
    }

    /// Returns true while a step is recorded.
    pub fn on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// The step looks at it.
    pub fn uses(&self, object: Object) {
        self.note(object, false);
    }

    /// The step may change it.
    pub fn changes(&self, object: Object) {
        self.note(object, true);
    }

    /// The step made it.
    pub fn fresh(&self, object: Object) {
        if let Some(step) = &mut *self.0.borrow_mut() {
            step.fresh.push(object);
        }
    }

    fn note(&self, object: Object, changed: bool) {
        if let Some(step) = &mut *self.0.borrow_mut()
            && !step.fresh.contains(&object)
        {
            step.footprint.note(object, changed);
        }
    }
}
