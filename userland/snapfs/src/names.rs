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
use ninep::consts::unlink;
use ninep::{ByteStr, DirEntries, Qid, Reply, Request};

/// Where a name is: a directory's fid beneath, and the name.
type Name<'a> = (u32, ByteStr<'a>);

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
    async fn qid_of(&self, (dir, name): Name<'_>) -> Option<Qid> {
        let (fid, qid) = self.walk_below(dir, &[name]).await.ok()?;
        self.clunk_below(fid).await;
        qid
    }

    /// The file `name` refers to, if somebody uses it.
    async fn used_file(&self, name: Name<'_>) -> Option<Rc<File>> {
        if self.files.borrow().is_empty() {
            return None;
        }
        let qid = self.qid_of(name).await?;
        self.known_file(qid.path)
    }

    /// The hidden directory; `None` if there is no room for it, or it may not be
    /// made: who removes a file, to get some room or because it is in a directory
    /// of their own, must not be refused for that.
    async fn room_to_hide(&self) -> Result<Option<Below>, Errno> {
        match self.hidden_dir().await {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::ENOSPC | Errno::EDQUOT) => Ok(None),
            Err(errno) if is_no_place(errno) => Ok(None),
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

    /// As [`Snapfs::hide`] for a name that another file is about to take. Where
    /// there are hard links the name stays meanwhile, so that a crash leaves it
    /// to one of the two.
    async fn hide_beside(&self, file: &File, name: Name<'_>) -> Result<Option<u64>, Errno> {
        let Some(dir) = self.room_to_hide().await? else {
            return Ok(None);
        };
        let number = self.hidden_name();
        let hidden = name_text(number);
        let linked = self.link_below(name, (dir, hidden.as_byte_str())).await;
        // Between two names of one file this changes neither, but servers
        // whose fids go by names then know this file by the hidden one.
        let moved = self.rename_below(name, (dir, hidden.as_byte_str())).await;
        if moved.is_err() && linked.is_ok() {
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
                return Ok(Some(number));
            }
            Err(Errno::EXDEV | Errno::ENOSPC | Errno::EDQUOT) => self.leave_hidden_dir().await,
            // Whoever may not remove the file at all is told so by the next try.
            Err(errno) if is_no_place(errno) => self.leave_hidden_dir().await,
            Err(errno) => {
                self.leave_hidden_dir().await;
                return Err(errno);
            }
        }
        Ok(None)
    }

    pub(crate) async fn unlink_at(
        &self,
        conn: &Conn,
        dirfid: u32,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Result<Reply<'static>, Errno> {
        let (dir, qid) = conn.below(dirfid)?;
        let allowed = self.allowed((dir, qid), name).await;
        allowed.map_err(unused)?;
        let _names = self.names.exclusive().await;
        let used = match flags & unlink::REMOVEDIR {
            0 => self.used_file((dir, name)).await,
            _ => None,
        };
        let Some(file) = used else {
            self.unlink_below(dir, name, flags).await?;
            return Ok(Reply::Unlinkat);
        };
        let hidden = self.hide(&file, (dir, name)).await;
        let done = match hidden {
            Ok(None) => self.unlink_below(dir, name, flags).await,
            Ok(Some(_)) => Ok(()),
            Err(errno) => Err(errno),
        };
        self.done_with(file).await;
        done.map(|()| Reply::Unlinkat)
    }

    /// `Tremove`: the fid is gone whatever happens.
    pub(crate) async fn remove(&self, conn: &Conn, fid: u32) -> Result<Reply<'static>, Errno> {
        let _names = self.names.exclusive().await;
        let entry = conn.remove(fid)?;
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
                let _ = self.clunk(entry).await;
                match removed? {
                    true => Ok(Reply::Remove),
                    // An open file that cannot be moved: left where it is.
                    false => Err(Errno::EXDEV),
                }
            }
        }
    }

    /// A file of which clients have removed every name cannot be named again.
    ///
    /// # Errors
    /// `ENOENT`: it is one.
    pub(crate) async fn still_named(&self, back: Below, qid: &Qid) -> Result<(), Errno> {
        let hidden = {
            let files = self.files.borrow();
            let file = files.get(&qid.path);
            file.map_or(0, |file| file.state.borrow().hidden.len() as u64)
        };
        if hidden > 0 && self.attr_below(back).await?.nlink <= hidden {
            return Err(Errno::ENOENT);
        }
        Ok(())
    }

    /// Hides the file of a fid beneath; `false` if it is to be removed there.
    async fn remove_fid(&self, back: u32, qid: &Qid) -> Result<bool, Errno> {
        self.still_named(back, qid).await?;
        let Some(file) = self.known_file(qid.path) else {
            return Ok(false);
        };
        let hidden = match self.room_to_hide().await {
            Ok(None) => Ok(None),
            Ok(Some(dir)) => {
                let number = self.hidden_name();
                let moved = self
                    .rename_fid_below(back, (dir, name_text(number).as_byte_str()))
                    .await;
                self.note_hidden(&file, number, moved).await
            }
            Err(errno) => Err(errno),
        };
        self.done_with(file).await;
        hidden.map(|number| number.is_some())
    }

    pub(crate) async fn rename_at(
        &self,
        conn: &Conn,
        (olddirfid, oldname): Name<'_>,
        (newdirfid, newname): Name<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let (olddir, oldqid) = conn.below(olddirfid)?;
        let (newdir, newqid) = conn.below(newdirfid)?;
        let allowed = self.allowed((olddir, oldqid), oldname).await;
        allowed.map_err(unused)?;
        self.allowed((newdir, newqid), newname).await?;
        let _names = self.names.exclusive().await;
        let (old, new) = ((olddir, oldname), (newdir, newname));
        let moved = match self.used_file(new).await {
            None => self.rename_below(old, new).await,
            Some(over) => {
                let source = self.qid_of(old).await;
                let same = source.is_none_or(|qid| qid.path == over.path);
                let moved = if same {
                    self.rename_below(old, new).await
                } else {
                    self.replace_with(&over, new, self.rename_below(old, new))
                        .await
                };
                self.done_with(over).await;
                moved
            }
        };
        moved.map(|()| Reply::Renameat)
    }

    pub(crate) async fn rename(
        &self,
        conn: &Conn,
        fid: u32,
        (dfid, name): Name<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let (back, qid) = conn.below(fid)?;
        let (dir, dirqid) = conn.below(dfid)?;
        self.allowed((dir, dirqid), name).await?;
        let _names = self.names.exclusive().await;
        self.still_named(back, &qid).await?;
        let rename = self.rename_fid_below(back, (dir, name));
        let moved = match self.used_file((dir, name)).await {
            Some(over) if over.path != qid.path => {
                let moved = self.replace_with(&over, (dir, name), rename).await;
                self.done_with(over).await;
                moved
            }
            Some(same) => {
                self.done_with(same).await;
                rename.await
            }
            None => rename.await,
        };
        moved.map(|()| Reply::Rename)
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
                over.state
                    .borrow_mut()
                    .hidden
                    .retain(|other| *other != number);
                self.leave_hidden_dir().await;
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
        let (back, qid) = conn.below(fid)?;
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
