//! Names: a process's name space and how a path becomes a file at a server. The
//! rules are in the crate `names`.
pub mod root;
pub mod walk;

use crate::chan::room;
use crate::client::Mount;
use abi::{BindInfo, Errno, bind};
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::lock::{Lock, Rank};
use names::{Order, Path, Table};

/// Somewhere a file may be.
pub type Place = names::Place<Arc<Mount>>;
/// A directory or file that is bound somewhere.
pub type Member = names::Member<Arc<Mount>>;
/// Where a path leads.
pub type Trail<'p> = names::Trail<'p, Arc<Mount>>;

/// Where names lead; shared by processes.
pub struct NameSpace {
    table: Lock<Table<Arc<Mount>>>,
}

impl NameSpace {
    /// With these binds and mounts.
    pub fn new(table: Table<Arc<Mount>>) -> NameSpace {
        NameSpace {
            table: Lock::new(Rank::Names, table),
        }
    }

    /// Another one that leads to the same places, until either is changed.
    pub fn copy(&self) -> Result<NameSpace, Errno> {
        self.table.lock().copy().map(NameSpace::new)
    }

    /// Where `path` leads.
    pub fn resolve<'p>(&self, path: &'p Path) -> Result<Trail<'p>, Errno> {
        self.table.lock().resolve(path)
    }

    /// Returns true if every server in it has answered all that it was asked.
    pub fn is_quiet(&self) -> bool {
        self.table.lock().servers().all(|mount| mount.is_quiet())
    }

    /// Returns true if something is bound to a name in the directory `path` (clean).
    pub fn has_below(&self, path: &[u8]) -> bool {
        self.table.lock().has_below(path)
    }

    /// The path at `mount` for an absolute `path` that begins with a name at
    /// which a file of that server is bound; absolute too.
    pub fn path_at(&self, mount: &Arc<Mount>, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let table = self.table.lock();
        table.path_at(|of| Arc::ptr_eq(of, mount), path)
    }

    /// The bind or mount with that index: its description, the name, and the path.
    pub fn describe(&self, index: usize) -> Result<Option<(BindInfo, Vec<u8>)>, Errno> {
        let table = self.table.lock();
        let Some((name, member, first)) = table.member(index) else {
            return Ok(None);
        };
        let (path, server) = (member.place.path(), member.place.server());
        let eager = server.is_some_and(|mount| !mount.deferred());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let info = BindInfo {
            server: server.map_or(0, |mount| mount.id.into()),
            flags: flag(!first, bind::AFTER)
                | flag(member.create, bind::CREATE)
                | flag(eager, bind::EAGER),
            name_len: name.len() as u32,
            path_len: path.len() as u32,
        };
        let mut names = room(name.len() + path.len())?;
        names.extend_from_slice(name);
        names.extend_from_slice(path);
        Ok(Some((info, names)))
    }

    /// Binds `members` at `at` (clean). `under` is the file there without the
    /// bind; a union keeps it.
    pub fn bind(
        &self,
        at: &[u8],
        under: Place,
        members: Vec<Member>,
        order: Order,
    ) -> Result<(), Errno> {
        // Dropped after the table is unlocked, because it may be the last
        // reference to a server.
        let replaced = self.table.lock().bind(at, under, members, order)?;
        drop(replaced);
        Ok(())
    }

    /// Removes all binds at `path`, which uncovers the file below.
    pub fn unbind(&self, path: &[u8]) -> Result<(), Errno> {
        let removed = self.table.lock().unbind(path)?;
        drop(removed);
        Ok(())
    }
}

/// From where names are seen.
pub struct Viewpoint {
    /// The name space that resolves them.
    pub names: Arc<NameSpace>,
    /// Where those begin that do not begin with a `/`; absolute and clean.
    pub directory: Arc<[u8]>,
}

impl Viewpoint {
    /// A path without `.`, `..` and empty parts.
    pub fn clean(&self, path: &[u8]) -> Result<Path, Errno> {
        Path::clean(&self.directory, path)
    }
}
