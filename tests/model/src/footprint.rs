//! What one step uses and changes. Two steps with nothing in common that either
//! of them changes come to the same in both orders.

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
    /// Which frames strangers may find, and what is known of files.
    Cache,
    /// Those who wait for a fill of a process's page.
    Sleepers(usize, u64),
}

/// What a step uses, and whether it changes it.
#[derive(Clone, Default, Debug)]
pub struct Footprint(Vec<(Object, bool)>);

impl Footprint {
    fn note(&mut self, object: Object, changed: bool) {
        match self.0.iter_mut().find(|(known, _)| *known == object) {
            Some((_, known)) => *known |= changed,
            None => self.0.push((object, changed)),
        }
    }

    /// Do both orders come to the same?
    pub fn independent(&self, other: &Footprint) -> bool {
        self.0.iter().all(|(object, changed)| {
            let theirs = other.0.iter().find(|(known, _)| known == object);
            theirs.is_none_or(|(_, theirs)| !changed && !theirs)
        })
    }
}

/// Notes what a step uses, if that is wanted.
#[derive(Clone, Default, Debug)]
pub struct Trace(RefCell<Option<Step>>);

#[derive(Clone, Default, Debug)]
struct Step {
    footprint: Footprint,
    /// Frames that the step itself allocated: nobody else's business.
    fresh: Vec<Object>,
}

impl Trace {
    /// A step begins.
    pub fn begin(&self) {
        self.0.replace(Some(Step::default()));
    }

    /// The step is over: what it used.
    pub fn end(&self) -> Footprint {
        self.0.take().unwrap_or_default().footprint
    }

    /// Is a step noted?
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
