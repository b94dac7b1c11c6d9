//! Names: remove, rename, and listing the root without the hidden directory.
//!
//! A file that is removed or renamed over while somebody has it open or holds
//! a snapshot of it moves into the hidden directory, where it stays the live
//! file until the last of them is done.

use crate::below::Below;
use crate::conn::{Conn, Entry};
use crate::file::File;
use crate::hidden::{is_no_place, is_reserved, name_text};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use ninep::consts::{qid, unlink};
use ninep::{ByteStr, DirEntries, Qid, Reply, Request};

/// Where a name is: a directory's fid beneath, and the name.
type Name<'a> = (u32, ByteStr<'a>);

/// The files in use among those that a rename is about.
struct Moved {
    /// What has the new name.
    over: Option<Rc<File>>,
    /// What gets it, if it was asked.
    source: Option<Qid>,
    file: Option<Rc<File>>,
}

fn is_dir(qid: &Qid) -> bool {
    qid.kind & qid::DIR != 0
}

/// Errors of one who tries to move a file into the hidden directory, which say
/// that it cannot be there: there is no room, it is on another file system, or
/// not everybody may make names there. Whoever may not remove the file at all is
/// told so by the next try.
fn cannot_hide(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EXDEV) || is_no_place(errno)
}

impl<B: Backing> Snapfs<B> {
    pub(crate) async fn rename_below(&self, old: Name<'_>, new: Name<'_>) -> Result<(), Errno> {
        let _changing = self.hidden.change_of_names().await;
        let request = Request::Renameat {
            olddirfid: old.0,
            oldname: old.1,
            newdirfid: new.0,
            newname: new.1,
        };
        self.call(&request, |reply| {
            matches!(reply, Reply::Renameat).then_some(())
        })
        .await
    }

    /// Renames what a fid beneath refers to.
    async fn rename_fid_below(&self, fid: u32, (dfid, name): Name<'_>) -> Result<(), Errno> {
        let _changing = self.hidden.change_of_names().await;
        let request = Request::Rename { fid, dfid, name };
        self.call(&request, |reply| {
            matches!(reply, Reply::Rename).then_some(())
        })
        .await
    }

    /// What `name` is, if it is anything.
    async fn qid_of(&self, (dir, name): Name<'_>) -> Result<Option<Qid>, Errno> {
        match self.walk_below(dir, &[name]).await {
            Ok((fid, qid)) => {
                self.clunk_below(fid).await;
                Ok(qid)
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The file `name` refers to, if somebody uses it. An error is not taken
    /// for nobody: an open file would lose its name.
    async fn used_file(&self, name: Name<'_>) -> Result<Option<Rc<File>>, Errno> {
        if self.files.borrow().is_empty() {
            return Ok(None);
        }
        let qid = self.qid_of(name).await?.filter(|qid| !is_dir(qid));
        Ok(qid.and_then(|qid| self.known_file(qid.path)))
    }

    /// The files in use among those that a rename of `old` to `new` is about.
    async fn moved_files(&self, old: Name<'_>, new: Name<'_>) -> Result<Moved, Errno> {
        let over = self.used_file(new).await?;
        let mut moved = Moved {
            over,
            source: None,
            file: None,
        };
        // What moves is of interest if it takes a place, or if snapshots need to
        // know why its ctime does.
        if moved.over.is_some() || self.snapshots.get() > 0 {
            match self.qid_of(old).await {
                Ok(source) => moved.source = source,
                Err(errno) => {
                    if let Some(over) = moved.over {
                        self.done_with(over).await;
                    }
                    return Err(errno);
                }
            }
        }
        let source = moved.source.filter(|qid| !is_dir(qid));
        moved.file = source.and_then(|qid| self.known_file(qid.path));
        Ok(moved)
    }

    /// Names of these files are about to be changed. [`Snapfs::names_done`]
    /// must follow.
    fn names_begin<'f>(&self, files: impl IntoIterator<Item = &'f Rc<File>>) {
        files
            .into_iter()
            .for_each(|file| self.change_names_of(file));
    }

    /// The end of a change of names of files in use, when the lock on names is
    /// given back.
    async fn names_done(&self, files: impl IntoIterator<Item = Rc<File>>) {
        for file in files {
            self.names_changed(&file).await;
            self.done_with(file).await;
        }
    }

    /// The hidden directory; `None` if there can be none: who removes a file
    /// must not be refused for that.
    async fn room_to_hide(&self) -> Result<Option<Below>, Errno> {
        match self.hidden_dir().await {
            Ok(dir) => Ok(Some(dir)),
            Err(errno) if cannot_hide(errno) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Moves `name`, which is `file`, into the hidden directory. `None`: it
    /// cannot be moved there (another file system, or a full one).
    async fn hide(&self, file: &File, name: Name<'_>) -> Result<Option<u64>, Errno> {
        let Some(dir) = self.room_to_hide().await? else {
            return Ok(None);
        };
        let number = self.hidden_name();
        let moved = self
            .rename_below(name, (dir, name_text(number).as_byte_str()))
            .await;
        self.note_hidden(file, number, moved).await
    }

    /// As [`Snapfs::hide`] for a name that another file is about to take. The
    /// name stays meanwhile, so that a crash leaves it to one of the two: where
    /// there are no hard links the file is not hidden.
    async fn hide_beside(&self, file: &File, name: Name<'_>) -> Result<Option<u64>, Errno> {
        let Some(dir) = self.room_to_hide().await? else {
            return Ok(None);
        };
        let number = self.hidden_name();
        let hidden = name_text(number);
        let linked = self.link_below(name, (dir, hidden.as_byte_str())).await;
        if linked.is_err() {
            self.leave_hidden_dir().await;
            return Ok(None);
        }
        // Between two names of one file this changes neither, but servers
        // whose fids go by names then know this file by the hidden one.
        let moved = self.rename_below(name, (dir, hidden.as_byte_str())).await;
        if moved.is_err() {
            let _ = self.unlink_below(dir, hidden.as_byte_str(), 0).await;
        }
        self.note_hidden(file, number, moved).await
    }

    /// Gives the file at `old` another name.
    async fn link_below(&self, old: Name<'_>, new: Name<'_>) -> Result<(), Errno> {
        let (fid, _) = self.walk_below(old.0, &[old.1]).await?;
        let (dfid, name) = new;
        let request = Request::Link { dfid, fid, name };
        let _changing = self.hidden.change_of_names().await;
        let linked = self
            .call(&request, |reply| matches!(reply, Reply::Link).then_some(()))
            .await;
        self.clunk_below(fid).await;
        linked
    }

    async fn note_hidden(
        &self,
        file: &File,
        number: u64,
        moved: Result<(), Errno>,
    ) -> Result<Option<u64>, Errno> {
        match moved {
            Ok(()) => {
                file.state.borrow_mut().hidden.push(number);
                Ok(Some(number))
            }
            Err(errno) => {
                self.leave_hidden_dir().await;
                match cannot_hide(errno) {
                    true => Ok(None),
                    false => Err(errno),
                }
            }
        }
    }

    pub(crate) async fn unlink_at(
        &self,
        conn: &Conn,
        dirfid: u32,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Result<Reply<'static>, Errno> {
        let held = conn.hold(dirfid)?;
        let dir = held.back;
        let allowed = self.allowed((dir, held.qid), name).await;
        allowed.map_err(unused)?;
        let names = self.names.exclusive().await;
        let used = match flags & unlink::REMOVEDIR {
            0 => self.used_file((dir, name)).await?,
            _ => None,
        };
        let Some(file) = used else {
            self.unlink_below(dir, name, flags).await?;
            return Ok(Reply::Unlinkat);
        };
        self.names_begin([&file]);
        let done = match self.hide(&file, (dir, name)).await {
            Ok(None) => self.unlink_below(dir, name, flags).await,
            Ok(Some(_)) => Ok(()),
            Err(errno) => Err(errno),
        };
        drop(names);
        self.names_done([file]).await;
        done.map(|()| Reply::Unlinkat)
    }

    /// `Tremove`: the fid is gone whatever happens.
    pub(crate) async fn remove(&self, conn: &Conn, fid: u32) -> Result<Reply<'static>, Errno> {
        let entry = conn.remove(fid)?;
        if let Some(back) = entry.back() {
            conn.wait_until_free(back).await;
        }
        let names = self.names.exclusive().await;
        let removed = match &entry {
            Entry::Snap(_) | Entry::Reserved => Err(Errno::EPERM),
            // A fid that is open cannot be renamed everywhere; its clone can.
            Entry::Open(open) => match self.walk_below(open.back, &[]).await {
                Ok((clone, _)) => {
                    let removed = self.remove_fid(clone, &open.qid).await;
                    self.clunk_below(clone).await;
                    removed
                }
                Err(errno) => Err(errno),
            },
            Entry::Plain { back, qid, .. } => self.remove_fid(*back, qid).await,
        };
        match (removed, entry) {
            (Ok(false), Entry::Plain { back, .. }) => {
                let _changing = self.hidden.change_of_names().await;
                let request = Request::Remove { fid: back };
                let removed = self.call(&request, |reply| {
                    matches!(reply, Reply::Remove).then_some(Reply::Remove)
                });
                let removed = removed.await;
                self.no_fid(back);
                removed
            }
            (removed, entry) => {
                drop(names);
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
    async fn still_named(&self, back: Below, qid: &Qid) -> Result<(), Errno> {
        let hidden = {
            let files = self.files.borrow();
            let file = files.get(&qid.path);
            file.map(|file| file.state.borrow().hidden.len() as u64)
        };
        let Some(hidden) = hidden else { return Ok(()) };
        let attr = self.attr_below(back).await?;
        match attr.qid.path == qid.path && attr.nlink > hidden {
            true => Ok(()),
            false => Err(Errno::ENOENT),
        }
    }

    /// Hides the file of a fid beneath; `false` if it is to be removed there.
    async fn remove_fid(&self, back: u32, qid: &Qid) -> Result<bool, Errno> {
        self.still_named(back, qid).await?;
        let Some(file) = self.known_file(qid.path) else {
            return Ok(false);
        };
        self.names_begin([&file]);
        let hidden = match self.room_to_hide().await {
            Ok(None) => Ok(None),
            Ok(Some(dir)) => {
                let number = self.hidden_name();
                let moved = self
                    .rename_fid_below(back, (dir, name_text(number).as_byte_str()))
                    .await;
                let noted = self.note_hidden(&file, number, moved).await;
                match noted {
                    Ok(Some(number)) => self.was_named(&file, number, dir).await,
                    other => other,
                }
            }
            Err(errno) => Err(errno),
        };
        self.names_done([file]).await;
        hidden.map(|number| number.is_some())
    }

    /// A fid's name has just been hidden as `number`; was it one that clients
    /// could see? The name of a file that has several may have been removed,
    /// and the fid have gone along into the hidden directory.
    ///
    /// # Errors
    /// `ENOENT`: it was hidden before.
    async fn was_named(&self, file: &File, number: u64, dir: Below) -> Result<Option<u64>, Errno> {
        let before: Vec<u64> = {
            let state = file.state.borrow();
            let others = state.hidden.iter().filter(|other| **other != number);
            others.copied().collect()
        };
        for other in before {
            if self.qid_of((dir, name_text(other).as_byte_str())).await == Ok(None) {
                self.forget_hidden(file, other).await;
                return Err(Errno::ENOENT);
            }
        }
        Ok(Some(number))
    }

    /// The file has no such name in the hidden directory any more.
    async fn forget_hidden(&self, file: &File, number: u64) {
        file.state
            .borrow_mut()
            .hidden
            .retain(|other| *other != number);
        self.leave_hidden_dir().await;
    }

    pub(crate) async fn rename_at(
        &self,
        conn: &Conn,
        (olddirfid, oldname): Name<'_>,
        (newdirfid, newname): Name<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let (olddir, newdir) = (conn.hold(olddirfid)?, conn.hold(newdirfid)?);
        let allowed = self.allowed((olddir.back, olddir.qid), oldname).await;
        allowed.map_err(unused)?;
        self.allowed((newdir.back, newdir.qid), newname).await?;
        let names = self.names.exclusive().await;
        let (old, new) = ((olddir.back, oldname), (newdir.back, newname));
        let Moved { over, source, file } = self.moved_files(old, new).await?;
        self.names_begin(over.iter().chain(&file));
        let rename = self.rename_below(old, new);
        let moved = self.replace(over.as_deref(), new, source, rename).await;
        drop(names);
        self.names_done(over.into_iter().chain(file)).await;
        moved.map(|()| Reply::Renameat)
    }

    pub(crate) async fn rename(
        &self,
        conn: &Conn,
        fid: u32,
        (dfid, name): Name<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let (held, dir) = (conn.hold(fid)?, conn.hold(dfid)?);
        self.allowed((dir.back, dir.qid), name).await?;
        let names = self.names.exclusive().await;
        self.still_named(held.back, &held.qid).await?;
        let new = (dir.back, name);
        let over = self.used_file(new).await?;
        let file = match is_dir(&held.qid) {
            true => None,
            false => self.known_file(held.qid.path),
        };
        self.names_begin(over.iter().chain(&file));
        let rename = self.rename_fid_below(held.back, new);
        let source = Some(held.qid);
        let moved = self.replace(over.as_deref(), new, source, rename).await;
        drop(names);
        self.names_done(over.into_iter().chain(file)).await;
        moved.map(|()| Reply::Rename)
    }

    /// Does `rename` of `source` to `name`, which `over` has if it is a file in
    /// use.
    async fn replace(
        &self,
        over: Option<&File>,
        name: Name<'_>,
        source: Option<Qid>,
        rename: impl Future<Output = Result<(), Errno>>,
    ) -> Result<(), Errno> {
        match (over, source) {
            (Some(_), Some(source)) if is_dir(&source) => Err(Errno::ENOTDIR),
            (Some(over), Some(source)) if source.path != over.path => {
                self.replace_with(over, name, rename).await
            }
            // The same file, or nothing: the server knows what to say.
            _ => rename.await,
        }
    }

    /// `Tlink`.
    pub(crate) async fn link(
        &self,
        conn: &Conn,
        (dfid, fid, name): (u32, u32, ByteStr<'_>),
    ) -> Result<Reply<'static>, Errno> {
        let (dir, held) = (conn.hold(dfid)?, conn.hold(fid)?);
        self.allowed((dir.back, dir.qid), name).await?;
        let names = self.names.shared().await;
        self.still_named(held.back, &held.qid).await?;
        let changing = self.hidden.change_of_names().await;
        let file = self.known_file(held.qid.path);
        self.names_begin(&file);
        let (dfid, fid) = (dir.back, held.back);
        let request = Request::Link { dfid, fid, name };
        let linked = self.call(&request, |reply| {
            matches!(reply, Reply::Link).then_some(Reply::Link)
        });
        let linked = linked.await;
        drop((names, changing));
        self.names_done(file).await;
        linked
    }

    /// Hides the file at `name`, then does `rename`, which takes its place; if
    /// that fails the file is put back. Nobody walks meanwhile.
    async fn replace_with(
        &self,
        over: &File,
        name: Name<'_>,
        rename: impl Future<Output = Result<(), Errno>>,
    ) -> Result<(), Errno> {
        let hidden = self.hide_beside(over, name).await?;
        let renamed = rename.await;
        if renamed.is_err()
            && let Some(number) = hidden
            && let Ok(dir) = self.hidden_dir().await
        {
            let hidden = name_text(number);
            let back = self.rename_below((dir, hidden.as_byte_str()), name).await;
            if back.is_ok() {
                // It has both names still, unless it was really moved.
                let _ = self.unlink_below(dir, hidden.as_byte_str(), 0).await;
            }
            self.leave_hidden_dir().await;
            if back.is_ok() {
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
            let buf = self
                .backing
                .rpc(&Request::Readdir {
                    fid: back,
                    offset,
                    count,
                })
                .await?;
            let data = match ninep::decode_reply(buf.as_ref()) {
                Ok((_, Reply::Readdir { data })) => data,
                Ok((_, Reply::Error(errno))) => return Err(errno),
                _ => return Err(Errno::EPROTO),
            };
            if data.is_empty() || !self.hidden.is_home(qid.path) {
                return Ok(data.into());
            }
            let (kept, last) = without_hidden(data)?;
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
