//! Operations on names: create, move, remove.

use super::{Id, Kind, LINK_MAX, NAME_COST, NODE_COST, Node, Tree};
use crate::directory::{Directory, check_name};
use crate::pages::Pages;
use abi::Errno;

impl Tree {
    /// Checks that the directory can take another entry of that name.
    fn room_for(&self, id: Id, name: &[u8]) -> Result<(), Errno> {
        let directory = self.directory(id)?;
        check_name(name)?;
        if self.get(id)?.names == 0 {
            return Err(Errno::ENOENT);
        }
        match directory.get(name) {
            Some(_) => Err(Errno::EEXIST),
            None => Ok(()),
        }
    }

    /// Adds an entry whose space is already taken.
    fn enter(&mut self, parent: Id, name: &[u8], id: Id) {
        let Some(Node {
            kind: Kind::Directory(directory),
            ..
        }) = self.nodes.get_mut(&parent)
        else {
            return;
        };
        directory.insert(name, id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.names += 1;
            node.changed = self.now;
            if let Kind::Directory(directory) = &mut node.kind {
                directory.parent = parent;
            }
        }
        self.touch(parent);
    }

    /// Removes an entry without giving back its space.
    fn leave(&mut self, parent: Id, name: &[u8]) {
        let Some(Node {
            kind: Kind::Directory(directory),
            ..
        }) = self.nodes.get_mut(&parent)
        else {
            return;
        };
        if let Some(id) = directory.remove(name) {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.names = node.names.saturating_sub(1);
                node.changed = self.now;
            }
            self.touch(parent);
            self.forget_unused(id);
        }
    }

    fn make(&mut self, parent: Id, name: &[u8], kind: Kind, mode: u32) -> Result<Id, Errno> {
        self.room_for(parent, name)?;
        self.space.take(NODE_COST + NAME_COST)?;
        self.last += 1;
        let node = self.node(kind, mode);
        self.nodes.insert(self.last, node);
        self.enter(parent, name, self.last);
        Ok(self.last)
    }

    /// Creates an empty file.
    pub fn create(&mut self, parent: Id, name: &[u8], mode: u32) -> Result<Id, Errno> {
        self.make(parent, name, Kind::File(Pages::default()), mode)
    }

    /// Creates a directory.
    pub fn mkdir(&mut self, parent: Id, name: &[u8], mode: u32) -> Result<Id, Errno> {
        let directory = Directory::new(parent);
        self.make(parent, name, Kind::Directory(directory), mode)
    }

    /// Creates a symbolic link with that text, which is not checked.
    pub fn symlink(&mut self, parent: Id, name: &[u8], text: &[u8]) -> Result<Id, Errno> {
        match text.len() {
            0 => return Err(Errno::ENOENT),
            1..=LINK_MAX => {}
            _ => return Err(Errno::ENAMETOOLONG),
        }
        self.room_for(parent, name)?;
        self.space.take(text.len() as u64)?;
        let made = self.make(parent, name, Kind::Link(text.into()), 0o777);
        if made.is_err() {
            self.space.give(text.len() as u64);
        }
        made
    }

    /// Adds a name for a file.
    pub fn link(&mut self, parent: Id, name: &[u8], id: Id) -> Result<(), Errno> {
        let node = self.get(id)?;
        match node.kind {
            Kind::Directory(_) => return Err(Errno::EPERM),
            Kind::File(_) | Kind::Link(_) if node.names == 0 => return Err(Errno::ENOENT),
            Kind::File(_) | Kind::Link(_) => {}
        }
        self.room_for(parent, name)?;
        self.space.take(NAME_COST)?;
        self.enter(parent, name, id);
        Ok(())
    }

    /// Looks up an entry; `.` and `..` are refused.
    fn entry(&self, parent: Id, name: &[u8]) -> Result<Id, Errno> {
        let directory = self.directory(parent)?;
        match name {
            b"." | b".." => Err(Errno::EINVAL),
            name => directory.get(name).ok_or(Errno::ENOENT),
        }
    }

    /// Removes a name; `directory` says whether it must be a directory's.
    pub fn unlink(&mut self, parent: Id, name: &[u8], directory: bool) -> Result<(), Errno> {
        let id = self.entry(parent, name)?;
        match &self.get(id)?.kind {
            Kind::File(_) | Kind::Link(_) if directory => return Err(Errno::ENOTDIR),
            Kind::Directory(_) if !directory => return Err(Errno::EISDIR),
            Kind::Directory(entries) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.leave(parent, name);
        self.space.give(NAME_COST);
        Ok(())
    }

    /// Moves an entry, replacing an existing one. A directory cannot move into
    /// itself.
    pub fn rename(&mut self, from: Id, old: &[u8], to: Id, new: &[u8]) -> Result<(), Errno> {
        let id = self.entry(from, old)?;
        let directory = self.facts(id)?.directory;
        if directory && self.is_within(to, id) {
            return Err(Errno::EINVAL);
        }
        match self.room_for(to, new) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                let target = self.entry(to, new)?;
                if target == id {
                    return Ok(());
                }
                if !directory && self.facts(target)?.directory {
                    return Err(Errno::EISDIR);
                }
                self.unlink(to, new, directory)?;
            }
            Err(errno) => return Err(errno),
        }
        // Held, because it has no name for a moment.
        self.hold(id);
        self.leave(from, old);
        self.enter(to, new, id);
        self.release(id);
        Ok(())
    }

    /// Returns true if the directory `id` is `above` or lies below it.
    fn is_within(&self, mut id: Id, above: Id) -> bool {
        while id != above {
            match self.directory(id) {
                Ok(directory) if directory.parent != id => id = directory.parent,
                _ => return false,
            }
        }
        true
    }
}
