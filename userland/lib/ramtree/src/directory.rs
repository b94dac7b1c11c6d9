//! Directories: entries in order of creation.

use crate::tree::{Id, NAME_MAX};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;

/// Checks that a name is valid for a new entry.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"." | b".." => Err(Errno::EEXIST),
        b"" => Err(Errno::EINVAL),
        _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        _ if name.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// Names with their files. Each entry has a position that never changes and is
/// never reused, so that a listing can continue whatever happens in between.
#[derive(Clone)]
pub(crate) struct Directory {
    pub parent: Id,
    last: u64,
    names: BTreeMap<Rc<[u8]>, u64>,
    entries: BTreeMap<u64, (Rc<[u8]>, Id)>,
}

impl Directory {
    pub fn new(parent: Id) -> Directory {
        Directory {
            parent,
            last: 0,
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn get(&self, name: &[u8]) -> Option<Id> {
        let (_, id) = self.entries.get(self.names.get(name)?)?;
        Some(*id)
    }

    /// Adds a name that is not present.
    pub fn insert(&mut self, name: &[u8], id: Id) {
        let name: Rc<[u8]> = Rc::from(name);
        self.last += 1;
        self.names.insert(Rc::clone(&name), self.last);
        self.entries.insert(self.last, (name, id));
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Id> {
        let (_, id) = self.entries.remove(&self.names.remove(name)?)?;
        Some(id)
    }

    /// Position, name and file of the entries after a position.
    pub fn after(&self, position: u64) -> impl Iterator<Item = (u64, &[u8], Id)> {
        // No entry has the last of all positions.
        let from = position.saturating_add(1);
        let entries = self.entries.range(from..);
        entries.map(|(at, (name, id))| (*at, &**name, *id))
    }
}
