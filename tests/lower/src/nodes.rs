//! The tree of the host, and what of a Linux file system [`ramtree`] has not:
//! numbers that are used again, users, devices, room that runs out.

use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use ninep::ByteStr;
use ramtree::{Id, PAGE, ROOT, Tree};

/// Whose rights are checked, by the user of the attach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// Everybody may do everything.
    Nobodys,
    /// Those of all but user 0.
    Users,
    /// User 0 is a user as others.
    Everybodys,
}

/// The manners of the file system and of the server that exports it.
#[derive(Clone)]
pub struct Manners {
    /// Fids are paths, which follow the renames that the server does itself.
    pub paths: bool,
    /// A file may have several names.
    pub hard_links: bool,
    /// Names that differ in case only are the same.
    pub folds_case: bool,
    /// Names with slashes are paths, as on a server that glues strings together.
    pub slashes: bool,
    /// The name of an attach is a path below the root.
    pub attaches_below: bool,
    /// Whose rights are checked.
    pub rights: Rights,
    /// Directories list themselves and their parents.
    pub lists_dots: bool,
    /// Nothing can be made in the root.
    pub root_is_read_only: bool,
    /// Attributes say how many blocks a file of the root's file system takes.
    pub counts_blocks: bool,
    /// A directory has a link for each directory in it.
    pub counts_directories: bool,
    /// The number of an inode that is gone is given to the next one made.
    pub reuses_numbers: bool,
    /// Blocks there are.
    pub capacity: u64,
    /// A write that runs out of room has written a part, and says only ENOSPC.
    pub hides_short_writes: bool,
    /// A file that is created over gets the rights of a new one.
    pub creates_over: bool,
    /// Times move once in so many changes.
    pub grain: u64,
}

impl Default for Manners {
    /// Those of ext4 behind QEMU.
    fn default() -> Self {
        Manners {
            paths: true,
            hard_links: true,
            folds_case: false,
            slashes: false,
            attaches_below: false,
            rights: Rights::Nobodys,
            lists_dots: true,
            root_is_read_only: false,
            counts_blocks: true,
            counts_directories: true,
            reuses_numbers: true,
            capacity: u64::MAX,
            hides_short_writes: true,
            creates_over: true,
            grain: 1,
        }
    }
}

impl Manners {
    /// Those of a server that has no surprises.
    pub fn plain() -> Manners {
        Manners {
            paths: false,
            rights: Rights::Everybodys,
            lists_dots: false,
            reuses_numbers: false,
            hides_short_writes: false,
            creates_over: false,
            ..Manners::default()
        }
    }
}

/// How many writes to temporary files are to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refuse {
    /// One.
    Once,
    /// That and all after it.
    ForGood,
}

/// What is known of a node besides.
#[derive(Clone)]
struct Extra {
    number: u64,
    uid: u32,
    /// The file system it is on; the root's is 1.
    device: u64,
    /// A device, a pipe or a socket, by its mode bits.
    special: Option<u32>,
    /// Made in the hidden directory, not moved there.
    temporary: bool,
    /// The size that attributes tell, if it is not the real one.
    claimed: Option<u64>,
}

/// The nodes.
#[derive(Clone)]
pub struct Nodes {
    pub tree: Tree,
    pub manners: Manners,
    extra: BTreeMap<Id, Extra>,
    /// Numbers of nodes that are gone.
    free: Vec<u64>,
    clock: u64,
    /// There is no room for temporary files.
    pub full: bool,
    /// Other files find no room for bytes from this offset on.
    pub limit: u64,
    /// Writes to temporary files that succeed before one fails, or all from there
    /// on.
    pub refuse: Option<(u64, Refuse)>,
    /// Writes to them that failed so.
    pub refused: u64,
}

/// A directory, and a name in it.
pub type At<'a> = (Id, &'a [u8]);

impl Nodes {
    pub fn new(manners: Manners) -> Nodes {
        let root = Extra {
            number: ROOT,
            uid: 0,
            device: 1,
            special: None,
            temporary: false,
            claimed: None,
        };
        Nodes {
            tree: Tree::new(u64::MAX),
            manners,
            extra: BTreeMap::from([(ROOT, root)]),
            free: Vec::new(),
            clock: 1,
            full: false,
            limit: u64::MAX,
            refuse: None,
            refused: 0,
        }
    }

    /// The tree at the time of one more change.
    pub fn tree_now(&mut self) -> &mut Tree {
        self.clock += 1;
        self.tree.set_time(self.clock / self.manners.grain);
        &mut self.tree
    }

    fn extra(&self, id: Id) -> Result<&Extra, Errno> {
        self.extra.get(&id).ok_or(Errno::ENOENT)
    }

    pub fn number(&self, id: Id) -> u64 {
        self.extra.get(&id).map_or(id, |extra| extra.number)
    }

    pub fn set_number(&mut self, id: Id, number: u64) {
        if let Some(extra) = self.extra.get_mut(&id) {
            extra.number = number;
        }
    }

    pub fn set_device(&mut self, id: Id, device: u64) {
        if let Some(extra) = self.extra.get_mut(&id) {
            extra.device = device;
        }
    }

    pub fn device(&self, id: Id) -> u64 {
        self.extra.get(&id).map_or(1, |extra| extra.device)
    }

    pub fn special(&self, id: Id) -> Option<u32> {
        self.extra.get(&id)?.special
    }

    pub fn set_special(&mut self, id: Id, mode: u32) {
        if let Some(extra) = self.extra.get_mut(&id) {
            extra.special = Some(mode);
        }
    }

    pub fn claim_size(&mut self, id: Id, size: u64) {
        if let Some(extra) = self.extra.get_mut(&id) {
            extra.claimed = Some(size);
        }
    }

    pub fn claimed(&self, id: Id) -> Option<u64> {
        self.extra.get(&id)?.claimed
    }

    pub fn uid(&self, id: Id) -> u32 {
        self.extra.get(&id).map_or(0, |extra| extra.uid)
    }

    pub fn with_number(&self, number: u64) -> Option<Id> {
        let mut all = self.extra.iter();
        all.find_map(|(id, extra)| (extra.number == number).then_some(*id))
    }

    /// A name as the file system has it.
    pub fn fold(&self, name: &[u8]) -> Vec<u8> {
        match self.manners.folds_case {
            true => name.to_ascii_lowercase(),
            false => name.into(),
        }
    }

    pub fn lookup(&self, dir: Id, name: &[u8]) -> Result<Id, Errno> {
        self.tree.walk(dir, &self.fold(name))
    }

    /// What is at a path of names separated by `/`.
    pub fn at(&self, path: &str) -> Result<Id, Errno> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(ROOT, |dir, name| self.lookup(dir, name.as_bytes()))
    }

    pub fn is_dir(&self, id: Id) -> bool {
        self.tree.facts(id).is_ok_and(|facts| facts.directory)
    }

    /// Some name of a node, with its directory.
    pub fn name_of(&self, node: Id) -> Option<(Id, Vec<u8>)> {
        let mut dirs = Vec::from([ROOT]);
        while let Some(dir) = dirs.pop() {
            for (_, name, id) in self.tree.entries(dir, 0).ok()? {
                if id == node {
                    return Some((dir, name.into()));
                }
                dirs.extend(self.is_dir(id).then_some(id));
            }
        }
        None
    }

    /// Makes a node in `dir`.
    pub fn make(
        &mut self,
        dir: Id,
        uid: u32,
        make: impl FnOnce(&mut Tree) -> Result<Id, Errno>,
    ) -> Result<Id, Errno> {
        let id = make(self.tree_now())?;
        let again = self.free.pop().filter(|_| self.manners.reuses_numbers);
        let extra = Extra {
            number: again.unwrap_or(id),
            uid,
            device: self.device(dir),
            special: None,
            temporary: self.at(".snapfs") == Ok(dir),
            claimed: None,
        };
        self.extra.insert(id, extra);
        Ok(id)
    }

    /// Ends what was known of a node that is gone.
    pub fn forget(&mut self, id: Id) {
        if self.tree.facts(id).is_err()
            && let Some(gone) = self.extra.remove(&id)
        {
            self.free.push(gone.number);
        }
    }

    /// Takes a name away.
    pub fn unlink(&mut self, dir: Id, name: &[u8], directory: bool) -> Result<(), Errno> {
        let (name, id) = (self.fold(name), self.lookup(dir, name)?);
        self.tree_now().unlink(dir, &name, directory)?;
        self.forget(id);
        Ok(())
    }

    /// Moves a name, over another if there is one.
    pub fn rename(&mut self, old: At<'_>, new: At<'_>) -> Result<(), Errno> {
        let id = self.lookup(old.0, old.1)?;
        let over = self.lookup(new.0, new.1);
        if self.device(id) != self.device(new.0) {
            return Err(Errno::EXDEV);
        }
        let names = [old.1, new.1].map(|name| self.fold(name));
        let tree = self.tree_now();
        tree.rename(old.0, &names[0], new.0, &names[1])?;
        if let Ok(over) = over {
            self.forget(over);
        }
        Ok(())
    }

    /// May user `uid` do that (4 read, 2 write, 1 search)?
    pub fn may(&self, id: Id, uid: u32, need: u32) -> Result<(), Errno> {
        if self.manners.root_is_read_only && id == ROOT && need & 2 != 0 {
            return Err(Errno::EACCES);
        }
        match self.manners.rights {
            Rights::Nobodys => return Ok(()),
            Rights::Users if uid == 0 => return Ok(()),
            Rights::Users | Rights::Everybodys => {}
        }
        let mode = self.tree.facts(id)?.mode;
        let bits = match self.extra(id)?.uid == uid {
            true => mode >> 6,
            false => mode,
        };
        match bits & need == need {
            true => Ok(()),
            false => Err(Errno::EACCES),
        }
    }

    pub fn bytes(&self, id: Id) -> Option<Vec<u8>> {
        let size = self.tree.facts(id).ok()?.size;
        self.read(id, 0, usize::try_from(size).ok()?).ok()
    }

    pub fn read(&self, id: Id, off: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let left = self.tree.facts(id)?.size.saturating_sub(off);
        let mut out = alloc::vec![0; len.min(usize::try_from(left).unwrap_or(len))];
        let count = self.tree.read(id, off, &mut out)?;
        out.truncate(count);
        Ok(out)
    }

    /// Writes as far as there is room; how many bytes.
    pub fn write(&mut self, id: Id, off: u64, data: &[u8]) -> Result<usize, Errno> {
        let temporary = self.extra(id)?.temporary;
        let room = match temporary {
            true if self.no_room() => 0,
            true => u64::MAX,
            false => self.limit.saturating_sub(off),
        };
        if room == 0 {
            return Err(Errno::ENOSPC);
        }
        let fits = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if self.manners.capacity < u64::MAX {
            let pages = |id: &Id| self.tree.facts(*id).map_or(0, |facts| facts.pages);
            let used: u64 = self.extra.keys().map(pages).sum();
            let blocks = self.manners.capacity.saturating_sub(used);
            let (_, taken) = self.tree.space();
            self.tree
                .set_limit(taken.saturating_add(blocks.saturating_mul(PAGE)));
        }
        let written = self.tree_now().write(id, Some(off), &data[..fits]);
        self.tree.set_limit(u64::MAX);
        match written {
            Ok(count) if count < data.len() && self.manners.hides_short_writes => {
                Err(Errno::ENOSPC)
            }
            written => written,
        }
    }

    /// Is a write to a temporary file to fail?
    fn no_room(&mut self) -> bool {
        match &mut self.refuse {
            Some((0, refuse)) => {
                if *refuse == Refuse::Once {
                    self.refuse = None;
                }
                self.refused += 1;
                true
            }
            Some((left, _)) => {
                *left -= 1;
                self.full
            }
            None => self.full,
        }
    }
}

/// The bytes of each of the names in `path`.
pub fn parts(path: ByteStr<'_>) -> Vec<&[u8]> {
    path.0.split(|byte| *byte == b'/').collect()
}

/// The directories in a directory.
pub fn directories(nodes: &Nodes, id: Id) -> u64 {
    let entries = nodes.tree.entries(id, 0).ok();
    let inside: BTreeSet<Id> = entries.into_iter().flatten().map(|(_, _, id)| id).collect();
    inside.iter().filter(|id| nodes.is_dir(**id)).count() as u64
}
