//! Names: remove, rename, and listing the root without the hidden directory.
//!
//! A file that is removed or renamed over while something has it open or holds
//! a snapshot of it moves into the hidden directory, where it stays the live
//! file until the last of them is done.

use crate::conn::{Conn, Entry, Plain};
use crate::file::File;
use crate::hidden::{is_no_place, is_reserved, no_room};
use crate::lower::LowerFid;
use crate::serve::Replied;
use crate::sync::Held;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use ninep::consts::{qid, unlink};
use ninep::{ByteStr, DirEntries, Qid, Reply, Request};

/// Where a name is: a directory's lower fid, and the name.
type Name<'a> = (LowerFid, ByteStr<'a>);

/// Files in use whose names are being changed.
#[must_use = "Snapfs::names_done ends it"]
struct Renaming(Vec<Rc<File>>);

fn is_dir(qid: &Qid) -> bool {
    qid.kind & qid::DIR != 0
}

/// Errors of an attempt to move a file into the hidden directory which say that
/// it cannot be there: there is no room, it is on another file system, or not
/// each user may make names there. Who may not remove the file at all is told so
/// by the next attempt.
fn cannot_hide(errno: Errno) -> bool {
    errno == Errno::EXDEV || no_room(errno) || is_no_place(errno)
}

impl<B: Backing> Snapfs<B> {
    /// The lock on names, for a change of them.
    async fn change_names(&self) -> Held<'_> {
        let names = self.names.exclusive().await;
        self.forget_known().await;
        names
    }

    pub(crate) async fn rename_lower(&self, old: Name<'_>, new: Name<'_>) -> Result<(), Errno> {
        let request = Request::Renameat {
            olddirfid: old.0,
            oldname: old.1,
            newdirfid: new.0,
            newname: new.1,
        };
        let _changing = self.hidden.change_of_names().await;
        self.tell(&request).await
    }

    /// Renames the file of a lower fid.
    async fn rename_fid_lower(&self, fid: LowerFid, (dfid, name): Name<'_>) -> Result<(), Errno> {
        let _changing = self.hidden.change_of_names().await;
        self.tell(&Request::Rename { fid, dfid, name }).await
    }

    /// Gives the file at `old` another name.
    async fn link_lower(&self, old: Name<'_>, (dfid, name): Name<'_>) -> Result<(), Errno> {
        let (fid, _) = self.walk_lower(old.0, &[old.1]).await?;
        let changing = self.hidden.change_of_names().await;
        let linked = self.tell(&Request::Link { dfid, fid, name }).await;
        drop(changing);
        self.clunk_lower(fid).await;
        linked
    }

    /// The qid of `name`; `None` if it does not exist.
    pub(crate) async fn qid_of(&self, (dir, name): Name<'_>) -> Result<Option<Qid>, Errno> {
        match self.walk_lower(dir, &[name]).await {
            Ok((fid, qid)) => {
                self.clunk_lower(fid).await;
                Ok(qid)
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The file that `qid` is, if that is in use.
    fn file_of(&self, qid: Option<Qid>) -> Option<Rc<File>> {
        let qid = qid.filter(|qid| !is_dir(qid))?;
        self.known_file(qid.path)
    }

    /// The file `name` refers to, if that is in use. An error is not taken for
    /// none: an open file would lose its name.
    async fn used_file(&self, name: Name<'_>) -> Result<Option<Rc<File>>, Errno> {
        if self.files.borrow().is_empty() {
            return Ok(None);
        }
        Ok(self.file_of(self.qid_of(name).await?))
    }

    /// Names of these files are about to be changed.
    async fn names_begin<'f>(&self, files: impl IntoIterator<Item = &'f Rc<File>>) -> Renaming {
        let files: Vec<_> = files.into_iter().cloned().collect();
        for file in &files {
            self.change_names_of(file).await;
        }
        Renaming(files)
    }

    /// The end of a change of names of files in use, when the lock on names is
    /// given back.
    async fn names_done(&self, renaming: Renaming) {
        for file in renaming.0 {
            self.names_changed(&file).await;
            self.done_with(file).await;
        }
    }

    /// Moves a name of `file` into the hidden directory, with `moving`. Returns
    /// its number there, or `None` if it cannot be moved there; that does not
    /// prevent its removal.
    async fn hide(
        &self,
        file: &File,
        moving: impl AsyncFnOnce(Name<'_>) -> Result<(), Errno>,
    ) -> Result<Option<u64>, Errno> {
        let moved = match self.hidden_name().await {
            Ok(name) => {
                let moved = moving((name.hidden.dir, name.text().as_byte_str())).await;
                let number = name.number;
                match moved {
                    Ok(()) => file.state.borrow_mut().hidden.push(name),
                    Err(_) => self.leave_hidden_dir(name.hidden).await,
                }
                moved.map(|()| number)
            }
            Err(errno) => Err(errno),
        };
        match moved {
            Err(errno) if cannot_hide(errno) => Ok(None),
            moved => moved.map(Some),
        }
    }

    /// As [`Snapfs::hide`] for a name that another file is about to take. The
    /// name stays meanwhile, so that a crash leaves it to one of the two: where
    /// there are no hard links the file is not hidden.
    async fn hide_beside(&self, file: &File, name: Name<'_>) -> Result<Option<u64>, Errno> {
        let moving = async |hidden: Name<'_>| {
            let linked = self.link_lower(name, hidden).await;
            linked.map_err(|_| Errno::EXDEV)?;
            // Between two names of one file this changes neither, but servers
            // whose fids go by names then know this file by the hidden one.
            let moved = self.rename_lower(name, hidden).await;
            if moved.is_err() {
                let _ = self.unlink_lower(hidden.0, hidden.1, 0).await;
            }
            moved
        };
        self.hide(file, moving).await
    }

    pub(crate) async fn unlink_at(
        &self,
        conn: &Conn,
        dirfid: u32,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Replied {
        let held = conn.hold(dirfid)?;
        let dir = held.back;
        let allowed = self.allowed(&held, name).await;
        allowed.map_err(unused)?;
        let names = self.change_names().await;
        let used = match flags & unlink::REMOVEDIR {
            0 => self.used_file((dir, name)).await?,
            _ => None,
        };
        let Some(file) = used else {
            self.unlink_lower(dir, name, flags).await?;
            return Ok(Reply::Unlinkat);
        };
        let renaming = self.names_begin([&file]).await;
        let moving = async |hidden: Name<'_>| self.rename_lower((dir, name), hidden).await;
        let done = match self.hide(&file, moving).await {
            Ok(None) => self.unlink_lower(dir, name, flags).await,
            Ok(Some(_)) => Ok(()),
            Err(errno) => Err(errno),
        };
        drop(names);
        self.names_done(renaming).await;
        done.map(|()| Reply::Unlinkat)
    }

    /// `Tremove`: the fid is gone whatever happens.
    pub(crate) async fn remove(&self, conn: &Conn, fid: u32) -> Replied {
        let entry = conn.remove(fid)?;
        if let Some(plain) = entry.plain() {
            conn.wait_until_free(plain.back).await;
        }
        let names = self.change_names().await;
        let mut renaming = Renaming(Vec::new());
        let removed = match &entry {
            Entry::Snap(_) | Entry::Reserved => Err(Errno::EPERM),
            // A fid that is open cannot be renamed everywhere; its clone can.
            Entry::Open(open) => match self.walk_lower(open.back, &[]).await {
                Ok((clone, _)) => {
                    let removed = self.remove_fid(clone, &open.qid, &mut renaming).await;
                    self.clunk_lower(clone).await;
                    removed
                }
                Err(errno) => Err(errno),
            },
            Entry::Plain(plain) => {
                let (back, qid) = (plain.back, &plain.qid);
                self.remove_fid(back, qid, &mut renaming).await
            }
        };
        match (removed, entry) {
            (Ok(false), Entry::Plain(Plain { back: fid, .. })) => {
                let changing = self.hidden.change_of_names().await;
                let removed = self.tell(&Request::Remove { fid }).await;
                self.no_fid(fid);
                drop((changing, names));
                self.names_done(renaming).await;
                removed.map(|()| Reply::Remove)
            }
            (removed, entry) => {
                drop(names);
                self.names_done(renaming).await;
                let _ = self.clunk(entry).await;
                match removed? {
                    true => Ok(Reply::Remove),
                    // An open file that cannot be moved: left where it is.
                    false => Err(Errno::EXDEV),
                }
            }
        }
    }

    /// A file of which clients have removed every name cannot be named again,
    /// nor one whose name another file has by now.
    ///
    /// # Errors
    /// `ENOENT`: it is one.
    async fn still_named(&self, back: LowerFid, qid: &Qid) -> Result<(), Errno> {
        let hidden = {
            let files = self.files.borrow();
            let file = files.get(&qid.path);
            file.map(|file| file.state.borrow().hidden.len() as u64)
        };
        let Some(hidden) = hidden else { return Ok(()) };
        let attr = self.attr_lower(back).await?;
        match attr.qid.path == qid.path && attr.nlink > hidden {
            true => Ok(()),
            false => Err(Errno::ENOENT),
        }
    }

    /// Hides the file of a lower fid; `false` if it is to be removed at the
    /// lower server. Its names are changed up to the end of `renaming`, when the lock
    /// on names is given back.
    async fn remove_fid(
        &self,
        back: LowerFid,
        qid: &Qid,
        renaming: &mut Renaming,
    ) -> Result<bool, Errno> {
        self.still_named(back, qid).await?;
        let Some(file) = self.known_file(qid.path) else {
            return Ok(false);
        };
        *renaming = self.names_begin([&file]).await;
        let moving = async |hidden: Name<'_>| self.rename_fid_lower(back, hidden).await;
        match self.hide(&file, moving).await {
            Ok(Some(number)) => self.was_named(&file, number).await.map(|()| true),
            Ok(None) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Checks that a fid's name, just hidden as `number`, was visible to
    /// clients. A name of a file with several may have been removed, so that
    /// the fid went into the hidden directory with it.
    ///
    /// # Errors
    /// `ENOENT`: it was hidden before.
    async fn was_named(&self, file: &File, number: u64) -> Result<(), Errno> {
        let before: Vec<_> = {
            let state = file.state.borrow();
            let others = state.hidden.iter().filter(|other| other.number != number);
            let others = others.map(|other| (other.number, other.hidden.dir, other.text()));
            others.collect()
        };
        for (other, dir, text) in before {
            if self.qid_of((dir, text.as_byte_str())).await == Ok(None) {
                self.forget_hidden(file, other).await;
                return Err(Errno::ENOENT);
            }
        }
        Ok(())
    }

    /// The file has no such name in the hidden directory any more.
    async fn forget_hidden(&self, file: &File, number: u64) {
        let gone = {
            let hidden = &mut file.state.borrow_mut().hidden;
            let at = hidden.iter().position(|name| name.number == number);
            at.map(|at| hidden.remove(at))
        };
        if let Some(gone) = gone {
            self.leave_hidden_dir(gone.hidden).await;
        }
    }

    pub(crate) async fn rename_at(
        &self,
        conn: &Conn,
        (olddirfid, oldname): Name<'_>,
        (newdirfid, newname): Name<'_>,
    ) -> Replied {
        let (olddir, newdir) = (conn.hold(olddirfid)?, conn.hold(newdirfid)?);
        let allowed = self.allowed(&olddir, oldname).await;
        allowed.map_err(unused)?;
        self.allowed(&newdir, newname).await?;
        let names = self.change_names().await;
        let (old, new) = ((olddir.back, oldname), (newdir.back, newname));
        let over = self.used_file(new).await?;
        // The moving file matters if it replaces another, or if snapshots need
        // the reason for the change of its ctime.
        let source = match over.is_some() || self.snapshots.get() > 0 {
            true => self.qid_of(old).await,
            false => Ok(None),
        };
        let rename = self.rename_lower(old, new);
        let moved = Box::pin(self.replace((over, new), source, rename)).await;
        drop(names);
        self.end_replace(moved).await?;
        Ok(Reply::Renameat)
    }

    pub(crate) async fn rename(&self, conn: &Conn, fid: u32, (dfid, name): Name<'_>) -> Replied {
        let (held, dir) = (conn.hold(fid)?, conn.hold(dfid)?);
        self.allowed(&dir, name).await?;
        let names = self.change_names().await;
        self.still_named(held.back, &held.qid).await?;
        let new = (dir.back, name);
        let over = self.used_file(new).await?;
        let rename = self.rename_fid_lower(held.back, new);
        let moved = Box::pin(self.replace((over, new), Ok(Some(held.qid)), rename)).await;
        drop(names);
        self.end_replace(moved).await?;
        Ok(Reply::Rename)
    }

    /// Does `rename` of `source` to `name`, which `over` has if it is a file in
    /// use. [`Snapfs::end_replace`] must follow when the lock on names is given
    /// back.
    async fn replace(
        &self,
        (over, name): (Option<Rc<File>>, Name<'_>),
        source: Result<Option<Qid>, Errno>,
        rename: impl Future<Output = Result<(), Errno>>,
    ) -> (Renaming, Result<(), Errno>) {
        let file = source.ok().and_then(|source| self.file_of(source));
        let renaming = self.names_begin(over.iter().chain(&file)).await;
        let moved = match (over, source) {
            (_, Err(errno)) => Err(errno),
            (Some(_), Ok(Some(source))) if is_dir(&source) => Err(Errno::ENOTDIR),
            (Some(over), Ok(Some(source))) if source.path != over.path => {
                self.replace_with(&over, name, rename).await
            }
            // The same file, or none: the server has the right answer.
            _ => rename.await,
        };
        (renaming, moved)
    }

    async fn end_replace(&self, moved: (Renaming, Result<(), Errno>)) -> Result<(), Errno> {
        self.names_done(moved.0).await;
        moved.1
    }

    /// `Tlink`.
    pub(crate) async fn link(
        &self,
        conn: &Conn,
        (dfid, fid, name): (u32, u32, ByteStr<'_>),
    ) -> Replied {
        let (dir, held) = (conn.hold(dfid)?, conn.hold(fid)?);
        self.allowed(&dir, name).await?;
        let names = self.names.shared().await;
        self.still_named(held.back, &held.qid).await?;
        let changing = self.hidden.change_of_names().await;
        let renaming = self.names_begin(&self.known_file(held.qid.path)).await;
        let (dfid, fid) = (dir.back, held.back);
        let linked = self.tell(&Request::Link { dfid, fid, name }).await;
        drop((names, changing));
        self.names_done(renaming).await;
        linked.map(|()| Reply::Link)
    }

    /// Hides the file at `name`, then does `rename`, which takes its place; if
    /// that fails the file is put back. Nothing walks meanwhile.
    async fn replace_with(
        &self,
        over: &File,
        name: Name<'_>,
        rename: impl Future<Output = Result<(), Errno>>,
    ) -> Result<(), Errno> {
        let number = self.hide_beside(over, name).await?;
        let renamed = rename.await;
        let hidden = {
            let state = over.state.borrow();
            let mut names = state.hidden.iter();
            let hidden = names.find(|name| Some(name.number) == number);
            hidden.map(|name| (name.number, name.hidden.dir, name.text()))
        };
        if renamed.is_err()
            && let Some((number, dir, text)) = hidden
        {
            let hidden = (dir, text.as_byte_str());
            if self.rename_lower(hidden, name).await.is_ok() {
                // It has both names still, unless it was really moved.
                let _ = self.unlink_lower(hidden.0, hidden.1, 0).await;
                self.forget_hidden(over, number).await;
            }
        }
        renamed
    }

    /// `Treaddir`: the entries, without the hidden directory.
    pub(crate) async fn read_dir(
        &self,
        conn: &Conn,
        fid: u32,
        mut offset: u64,
        count: u32,
    ) -> Result<Vec<u8>, Errno> {
        let held = conn.hold(fid)?;
        let (back, qid) = (held.back, held.qid);
        let count = count.min(self.iounit(conn));
        loop {
            let data = self.list_lower(back, offset, count).await?;
            if data.is_empty() || !self.hidden.is_home(qid.path) {
                return Ok(data);
            }
            let (kept, last) = without_hidden(&data)?;
            if !kept.is_empty() {
                return Ok(kept);
            }
            // Only the hidden directory was in it: nothing would mean the end.
            offset = last;
        }
    }
}

/// For a name that must be there: nothing is where clients may not look.
fn unused(errno: Errno) -> Errno {
    match errno {
        Errno::EPERM => Errno::ENOENT,
        other => other,
    }
}

/// The entries but the hidden directory's, and the offset after the last.
fn without_hidden(data: &[u8]) -> Result<(Vec<u8>, u64), Errno> {
    let mut kept = Vec::with_capacity(data.len());
    let (mut at, mut last) = (0, 0);
    for entry in DirEntries::new(data) {
        let entry = entry.map_err(|_| Errno::EPROTO)?;
        let end = at + entry.wire_len();
        if !is_reserved(&entry.name) {
            kept.extend_from_slice(data.get(at..end).ok_or(Errno::EPROTO)?);
        }
        (at, last) = (end, entry.offset);
    }
    Ok((kept, last))
}
