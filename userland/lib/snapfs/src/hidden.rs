//! The hidden directory in the root of the served tree, its home: where the
//! temporary store is made, and where files go that were removed while they
//! are still needed. It exists only while something is in it, and its home's
//! time of last change does not show that it comes and goes.
//!
//! Clients are kept out by its identity: a host may find it by other names than
//! its own, and a fid of a file that was moved into it leads there by `..`.

use crate::conn::Plain;
use crate::lower::LowerFid;
use crate::options::Saving;
use crate::sync::{Acquire, Lock};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::format;
use alloc::vec::Vec;
use core::cell::Cell;
use ninep::consts::{NONUNAME, open, qid, setattr, unlink};
use ninep::{ByteStr, ByteString, DirEntries, Names, Qid, Request, SetAttr};

/// Its name, which clients can neither see nor use in its home, in upper or
/// lower case.
pub const HIDDEN: ByteStr<'static> = ByteStr(b".snapfs");

/// A directory: a lower fid of snapfs's own for it, and its qid.path.
type Dir = (LowerFid, u64);

/// One use of the hidden directory, which exists until the last use ends.
#[must_use = "Snapfs::leave_hidden_dir ends it"]
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct InHidden {
    /// The directory.
    pub dir: LowerFid,
}

/// A name in the hidden directory that was never used before.
#[cfg_attr(feature = "duplicate", derive(Clone))]
pub struct HiddenName {
    pub number: u64,
    pub hidden: InHidden,
}

impl HiddenName {
    /// Its text.
    pub fn text(&self) -> ByteString {
        format!("f{}", self.number).into()
    }
}

/// The state of the directory.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct Hidden {
    /// Where it is made.
    home: Cell<Option<Dir>>,
    /// A mount asked for a place where old bytes are saved.
    chosen: Cell<bool>,
    fid: Cell<Option<LowerFid>>,
    /// Its qid.path, while it exists.
    pub(crate) path: Cell<Option<u64>>,
    /// It may have been made by a request that failed, or not have been found then.
    unsure: Cell<bool>,
    users: Cell<u32>,
    names: Cell<u64>,
    changing: Lock,
    /// Held shared while a client's change of a name or of a directory's times is
    /// under way, exclusively while the home's time is put back: that
    /// must not undo what a client's change did to it.
    times: Lock,
}

impl Hidden {
    /// The directory that it is made in.
    pub fn set_home(&self, home: Dir) {
        self.home.set(Some(home));
    }

    /// Returns true if its home is the directory with this qid.path.
    pub fn is_home(&self, path: u64) -> bool {
        self.home.get().is_some_and(|(_, home)| home == path)
    }

    /// A client's change of a name, or of a directory's times, is under way until
    /// this is dropped.
    pub fn change_of_names(&self) -> Acquire<'_> {
        self.times.shared()
    }
}

/// Is `name` one that clients cannot use in the home? A host may fold case, and
/// a client must not be there first.
pub fn is_reserved(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(&HIDDEN)
}

/// Returns true if the error means that there is no space.
pub fn no_room(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT)
}

/// Returns true if the error means that the hidden directory cannot be made in
/// its home, or that nothing may be moved there, regardless of space.
pub fn is_no_place(errno: Errno) -> bool {
    // EEXIST: the name is taken by something else, which is left alone.
    matches!(
        errno,
        Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EEXIST
    )
}

/// Returns true if the error means that there are directories in the hidden one, where
/// the server makes none.
fn is_of_others(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EISDIR | Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::ELOOP
    )
}

/// The error for a name that no file has, from a client: a server that glues
/// names together would take it for another file's.
///
/// # Errors
/// `ENOENT`: it is empty, or more than one. `EINVAL`: a directory's own.
pub fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"." | b".." => Err(Errno::EINVAL),
        _ if name.is_empty() || name.contains(&b'/') => Err(Errno::ENOENT),
        _ => Ok(()),
    }
}

impl<B: Backing> Snapfs<B> {
    /// A use of the directory, which is made if need be.
    pub(crate) async fn hidden_dir(&self) -> Result<InHidden, Errno> {
        let hidden = &self.hidden;
        let _held = hidden.changing.exclusive().await;
        if let Some(dir) = hidden.fid.get() {
            hidden.users.set(hidden.users.get() + 1);
            return Ok(InHidden { dir });
        }
        let (home, _) = hidden.home.get().ok_or(Errno::EPROTO)?;
        match self.unseen(home, self.make_hidden(home)).await {
            Ok(()) => {}
            // An own one that could not be removed.
            Err(Errno::EEXIST) if hidden.path.get().is_some() => {}
            Err(errno) => return Err(errno),
        }
        let (dir, qid) = self.walk_lower(home, &[HIDDEN]).await?;
        hidden.unsure.set(false);
        hidden.fid.set(Some(dir));
        hidden.path.set(qid.map(|qid| qid.path));
        hidden.users.set(1);
        Ok(InHidden { dir })
    }

    /// Makes the directory. Where it is not known whether an earlier attempt made it, an
    /// empty one of its name is that.
    async fn make_hidden(&self, home: LowerFid) -> Result<(), Errno> {
        let request = Request::Mkdir {
            dfid: home,
            name: HIDDEN,
            mode: 0o700,
            gid: 0,
        };
        let hidden = &self.hidden;
        let made = self.tell(&request).await;
        if made == Err(Errno::EEXIST) && hidden.path.get().is_none() && hidden.unsure.get() {
            let remove = Request::Unlinkat {
                dirfid: home,
                name: HIDDEN,
                flags: unlink::REMOVEDIR,
            };
            self.tell(&remove).await?;
            return self.tell(&request).await;
        }
        if made != Err(Errno::EEXIST) {
            hidden.unsure.set(true);
        }
        made
    }

    /// Old bytes are to be saved there from now on, for all clients: the first to
    /// ask decides.
    ///
    /// # Errors
    /// `EBUSY`: they are saved elsewhere already, or another place was
    /// asked for. `ENOTDIR`; the backing's.
    pub(crate) async fn save_at(&self, saving: Saving<'_>) -> Result<(), Errno> {
        let hidden = &self.hidden;
        let (root, qid) = match saving {
            Saving::Memory => return self.save_in_memory(),
            Saving::Dir(_) if self.store.wants_memory.get() => return Err(Errno::EBUSY),
            Saving::Dir(dir) => {
                let tree = self.tree.borrow().clone();
                let root = self
                    .attach_lower(b"".into(), tree.as_byte_str(), NONUNAME)
                    .await?;
                self.walk_down(root, dir).await?
            }
        };
        let held = hidden.changing.exclusive().await;
        let moved = match qid.kind & qid::DIR {
            0 => Err(Errno::ENOTDIR),
            _ if hidden.is_home(qid.path) => Err(Errno::EEXIST),
            _ if hidden.users.get() > 0 || hidden.chosen.get() => Err(Errno::EBUSY),
            _ => self.clean_hidden_dir(root).await,
        };
        let old = match moved {
            Ok(()) => hidden.home.replace(Some((root, qid.path))),
            Err(_) => Some((root, qid.path)),
        };
        drop(held);
        if let Some((fid, _)) = old {
            self.clunk_lower(fid).await;
        }
        match moved {
            Ok(()) | Err(Errno::EEXIST) => {
                hidden.chosen.set(true);
                Ok(())
            }
            other => other,
        }
    }

    fn save_in_memory(&self) -> Result<(), Errno> {
        if self.store.is_open() || self.hidden.chosen.get() && !self.store.wants_memory.get() {
            return Err(Errno::EBUSY);
        }
        self.hidden.chosen.set(true);
        self.store.wants_memory.set(true);
        Ok(())
    }

    /// A use of the directory has ended; the last one removes it.
    pub(crate) async fn leave_hidden_dir(&self, _: InHidden) {
        let hidden = &self.hidden;
        hidden.users.set(hidden.users.get() - 1);
        if hidden.users.get() > 0 {
            return;
        }
        let _held = hidden.changing.exclusive().await;
        if hidden.users.get() == 0
            && let (Some((home, _)), Some(fid)) = (hidden.home.get(), hidden.fid.take())
        {
            let request = Request::Unlinkat {
                dirfid: home,
                name: HIDDEN,
                flags: unlink::REMOVEDIR,
            };
            let removed = self.unseen(home, self.tell(&request)).await;
            if matches!(removed, Ok(()) | Err(Errno::ENOENT)) {
                hidden.path.set(None);
            }
            self.clunk_lower(fid).await;
        }
    }

    /// Performs an internal `change` in the home and restores its time of last
    /// change.
    async fn unseen<T>(&self, home: LowerFid, change: impl Future<Output = T>) -> T {
        let _alone = self.hidden.times.exclusive().await;
        let before = self.attr_lower(home).await;
        let result = change.await;
        if let Ok(attr) = before {
            let attr = SetAttr {
                valid: setattr::MTIME | setattr::MTIME_SET,
                mtime_sec: attr.mtime_sec,
                mtime_nsec: attr.mtime_nsec,
                ..SetAttr::default()
            };
            // The server's user may not own the directory.
            let _ = self.set_attr_lower(home, attr).await;
        }
        result
    }

    /// May clients use `name` in a directory?
    ///
    /// # Errors
    /// `EPERM`: it is the hidden directory's. Those of [`check_name`].
    pub(crate) async fn allowed(&self, dir: &Plain, name: ByteStr<'_>) -> Result<(), Errno> {
        check_name(&name)?;
        if !self.hidden.is_home(dir.qid.path) {
            return Ok(());
        }
        if is_reserved(&name) {
            return Err(Errno::EPERM);
        }
        if name.is_ascii() {
            return Ok(());
        }
        // Hosts fold more than the case of letters; they know how.
        drop(self.hidden.changing.shared().await);
        match self.qid_of((dir.back, name)).await {
            Ok(Some(qid)) if self.is_hidden(&qid) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    /// Returns true for the hidden directory.
    pub(crate) fn is_hidden(&self, qid: &Qid) -> bool {
        self.hidden.path.get() == Some(qid.path)
    }

    /// The index of the hidden directory among the names walked, from `from`
    /// on.
    pub(crate) async fn hidden_among(
        &self,
        from: &Qid,
        names: Names<'_>,
        qids: &[Qid],
    ) -> Option<usize> {
        let home = |qid: &Qid| self.hidden.is_home(qid.path);
        let parents = || core::iter::once(from).chain(qids);
        let named = parents()
            .zip(names.iter())
            .position(|(parent, name)| home(parent) && is_reserved(&name));
        let before = named.unwrap_or(qids.len()).min(qids.len());
        let entered = qids.get(..before).unwrap_or(qids);
        if parents().zip(entered).any(|(parent, _)| home(parent)) {
            // It may be there, and its identity not known yet.
            drop(self.hidden.changing.shared().await);
        }
        let found = entered.iter().position(|qid| self.is_hidden(qid));
        found.or(named.filter(|at| *at < qids.len()))
    }

    /// A name in the directory that was never used before.
    pub(crate) async fn hidden_name(&self) -> Result<HiddenName, Errno> {
        let hidden = self.hidden_dir().await?;
        self.hidden.names.set(self.hidden.names.get() + 1);
        let number = self.hidden.names.get();
        Ok(HiddenName { number, hidden })
    }

    /// Removes the file of that name.
    pub(crate) async fn remove_hidden(&self, name: HiddenName) {
        let _ = self
            .unlink_lower(name.hidden.dir, name.text().as_byte_str(), 0)
            .await;
        self.leave_hidden_dir(name.hidden).await;
    }

    /// The directory that a dead instance has left in `root`, and its qid. Anything else
    /// of its name is of others.
    pub(crate) async fn old_hidden_dir(
        &self,
        root: LowerFid,
    ) -> Result<Option<(LowerFid, Qid)>, Errno> {
        match self.walk_lower(root, &[HIDDEN]).await {
            Ok((fid, Some(qid))) if qid.kind & qid::DIR != 0 => Ok(Some((fid, qid))),
            Ok((fid, _)) => {
                self.clunk_lower(fid).await;
                Ok(None)
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// As [`Snapfs::clean_hidden_dir`], for a start, which nothing in the directory
    /// prevents: one that holds what is not the server's stays as it is, and another is
    /// not made in its place.
    pub(crate) async fn clean_at_start(&self, root: LowerFid) -> Result<(), Errno> {
        match self.clean_hidden_dir(root).await {
            Err(errno) if is_no_place(errno) || is_of_others(errno) => Ok(()),
            cleaned => cleaned,
        }
    }

    /// Removes the files of a dead instance. The caller's lock on the directory
    /// proves that it is dead.
    pub(crate) async fn clean_hidden_dir(&self, root: LowerFid) -> Result<(), Errno> {
        let Some((fid, _)) = self.old_hidden_dir(root).await? else {
            return Ok(());
        };
        let cleaned = self.empty_dir(fid, |_| false).await;
        self.clunk_lower(fid).await;
        cleaned?;
        self.unlink_lower(root, HIDDEN, unlink::REMOVEDIR).await?;
        self.hidden.path.set(None);
        Ok(())
    }

    /// Empties the directory, except for the names `kept`.
    pub(crate) async fn empty_dir(
        &self,
        dir: LowerFid,
        kept: impl Fn(ByteStr<'_>) -> bool,
    ) -> Result<(), Errno> {
        let (list, _) = self.walk_lower(dir, &[]).await?;
        let names = self.names_in(list).await;
        self.clunk_lower(list).await;
        for name in names? {
            let name = name.as_byte_str();
            if !kept(name) {
                // It may be one of the names of a file that the log knows.
                let qid = self.qid_of((dir, name)).await?;
                let old = qid.and_then(|qid| self.files.borrow().get(&qid.path).cloned());
                if let Some(old) = old {
                    old.state.borrow_mut().forget_ctime();
                }
                self.unlink_lower(dir, name, 0).await?;
            }
        }
        Ok(())
    }

    async fn names_in(&self, list: LowerFid) -> Result<Vec<ByteString>, Errno> {
        self.open_lower(list, open::RDONLY).await?;
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let data = self.list_lower(list, offset, self.backing.iounit()).await?;
            if data.is_empty() {
                return Ok(names);
            }
            for entry in DirEntries::new(&data) {
                let entry = entry.map_err(|_| Errno::EPROTO)?;
                offset = entry.offset;
                if entry.name != "." && entry.name != ".." {
                    names.push(entry.name.to_owned());
                }
            }
        }
    }
}
