//! Fids: attach, walk, open, create, clunk.

use crate::conn::{Conn, Entry, Open, Plain};
use crate::file::{File, Locked};
use crate::hidden::check_name;
use crate::lower::LowerFid;
use crate::options;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use ninep::consts::{IOHDRSZ, NOFID, open, qid};
use ninep::{ByteStr, Names, Qid, Qids, Reply, Request};

/// How often something is tried again because its name was given to another
/// file in the middle of it.
pub const REPLACED_MAX: usize = 8;

/// Flags that snapfs acts on itself.
const OURS: u32 = open::TRUNC | open::APPEND;

/// A regular file, in Linux's mode bits.
const fn is_regular(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
}

/// The flags that are passed down when a regular file is opened.
const fn for_lower(flags: u32) -> u32 {
    flags & !(OURS | open::CREAT | open::EXCL)
}

/// What a fid is after it was opened, and the qid of what it opened.
type Opened = (Entry, Result<Qid, Errno>);

/// A fid that is not open, or not a regular file.
fn plain((back, qid, options): Plain) -> Entry {
    Entry::Plain { back, qid, options }
}

impl<B: Backing> Snapfs<B> {
    /// Most data bytes in one read or write of this client.
    pub(crate) fn iounit(&self, conn: &Conn) -> u32 {
        conn.msize
            .get()
            .saturating_sub(IOHDRSZ)
            .min(self.backing.iounit())
    }

    pub(crate) async fn attach(
        &self,
        conn: &Conn,
        request: &Request<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let &Request::Attach {
            fid,
            afid,
            uname,
            aname,
            n_uname,
        } = request
        else {
            return Err(Errno::EPROTO);
        };
        if afid != NOFID {
            return Err(Errno::EOPNOTSUPP);
        }
        let asked = options::parse(aname)?;
        let options = asked.options;
        if let Some(saving) = asked.saving {
            self.save_at(saving).await?;
        }
        conn.put_new(fid, Entry::Reserved)?;
        match self.attach_at(uname, asked.dir, n_uname).await {
            Ok((back, qid)) => {
                conn.replace(fid, Entry::Plain { back, qid, options });
                Ok(Reply::Attach { qid })
            }
            Err(errno) => {
                conn.cancel(fid);
                Err(errno)
            }
        }
    }

    /// Attaches to the tree served and walks to `dir` in it. The lower server
    /// may go by the name of an attach, and does not know what is hidden.
    async fn attach_at(
        &self,
        uname: ByteStr<'_>,
        dir: ByteStr<'_>,
        n_uname: u32,
    ) -> Result<(LowerFid, Qid), Errno> {
        let tree = self.tree.borrow().clone();
        let tree = tree.as_byte_str();
        let root = self.attach_lower(uname, tree, n_uname).await?;
        self.walk_down(root, dir).await
    }

    /// Walks from a lower fid, which is gone then, to `dir`.
    pub(crate) async fn walk_down(
        &self,
        (mut at, mut qid): (LowerFid, Qid),
        dir: ByteStr<'_>,
    ) -> Result<(LowerFid, Qid), Errno> {
        for name in dir
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            let mut qids = Vec::new();
            let next = self.new_fid();
            let names = [ByteStr(name)];
            let walked = match check_name(name) {
                Ok(()) => {
                    let _names = self.names.shared().await;
                    self.walk_to((at, qid), next, Names::new(&names), &mut qids)
                        .await
                }
                Err(errno) => Err(errno),
            };
            let arrived = walked.and(qids.last().copied().ok_or(Errno::ENOENT));
            match arrived {
                Ok(found) => qid = found,
                Err(_) => self.no_fid(next),
            }
            self.clunk_lower(at).await;
            arrived?;
            at = next;
        }
        Ok((at, qid))
    }

    /// `Twalk`. The reply's qids are put into `qids`.
    pub(crate) async fn walk<'q>(
        &self,
        conn: &Conn,
        (fid, newfid): (u32, u32),
        names: Names<'_>,
        qids: &'q mut Vec<Qid>,
    ) -> Result<Reply<'q>, Errno> {
        let held = conn.hold(fid)?;
        let (from, from_qid) = (held.back, held.qid);
        let options = conn.options(fid)?;
        if newfid == fid {
            conn.reserve(fid).map_err(|_| Errno::EBUSY)?;
        } else {
            conn.put_new(newfid, Entry::Reserved)?;
        }
        let locked = self.names.shared().await;
        let back = self.new_fid();
        let walked = self.walk_to((from, from_qid), back, names, qids).await;
        let arrived = walked.is_ok() && qids.len() == names.len();
        if !arrived {
            self.no_fid(back);
            match newfid == fid {
                true => conn.replace(fid, plain((from, from_qid, options))),
                false => conn.cancel(newfid),
            }
            walked?;
            return Ok(Reply::Walk {
                qids: Qids::new(qids),
            });
        }
        let qid = qids.last().copied().unwrap_or(from_qid);
        conn.replace(newfid, plain((back, qid, options)));
        drop((locked, held));
        if newfid == fid {
            conn.wait_until_free(from).await;
            self.clunk_lower(from).await;
        }
        Ok(Reply::Walk {
            qids: Qids::new(qids),
        })
    }

    /// Walks at the lower server, stopping before the hidden directory.
    async fn walk_to(
        &self,
        (fid, from): (u32, Qid),
        newfid: u32,
        names: Names<'_>,
        qids: &mut Vec<Qid>,
    ) -> Result<(), Errno> {
        if names
            .iter()
            .any(|name| check_name(&name) == Err(Errno::ENOENT))
        {
            return Err(Errno::ENOENT);
        }
        let request = Request::Walk { fid, newfid, names };
        self.call(&request, |reply| match reply {
            Reply::Walk { qids: walked } => {
                qids.extend(walked.iter());
                Some(())
            }
            _ => None,
        })
        .await?;
        if qids.len() > names.len() {
            return Err(Errno::EPROTO);
        }
        let arrived = qids.len() == names.len();
        if let Some(at) = self.hidden_among(&from, names, qids).await {
            if arrived {
                let _ = self.backing.rpc(&Request::Clunk { fid: newfid }).await;
            }
            qids.truncate(at);
        }
        if qids.is_empty() && !names.is_empty() {
            Err(Errno::ENOENT)
        } else {
            Ok(())
        }
    }

    pub(crate) async fn open(
        &self,
        conn: &Conn,
        fid: u32,
        flags: u32,
    ) -> Result<Reply<'static>, Errno> {
        let unopened = conn.reserve(fid)?;
        let (entry, opened) = self.open_plain(unopened, flags).await;
        conn.replace(fid, entry);
        Ok(Reply::Lopen {
            qid: opened?,
            iounit: self.iounit(conn),
        })
    }

    /// Opens a fid: what it is then, and the file's qid.
    async fn open_plain(&self, unopened: Plain, flags: u32) -> Opened {
        let (back, kind, options) = (unopened.0, unopened.1.kind, unopened.2);
        // Clients follow links; a lower server might, out of its tree.
        if kind & qid::SYMLINK != 0 {
            return (plain(unopened), Err(Errno::ELOOP));
        }
        let special = kind & qid::DIR != 0;
        if special && flags & open::TRUNC != 0 {
            return (plain(unopened), Err(Errno::EISDIR));
        }
        if special {
            let opened = self.open_lower(back, flags & !OURS).await;
            return (plain(unopened), opened);
        }
        // A file that is replaced from now on is in use, and stays itself.
        let names = self.names.shared().await;
        let opened = self.open_lower(back, for_lower(flags)).await;
        let file = opened.map(|qid| (qid, self.file(qid.path)));
        drop(names);
        match file {
            Ok((qid, file)) => self.opened((back, qid, options), file, flags).await,
            Err(errno) => (plain(unopened), Err(errno)),
        }
    }

    pub(crate) async fn create(
        &self,
        conn: &Conn,
        request: &Request<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let &Request::Lcreate { fid, .. } = request else {
            return Err(Errno::EPROTO);
        };
        let dir = conn.reserve(fid)?;
        let (entry, created) = self.create_in(dir, request).await;
        conn.replace(fid, entry);
        Ok(Reply::Lcreate {
            qid: created?,
            iounit: self.iounit(conn),
        })
    }

    /// Creates and opens a file: what the directory's fid is then, and the
    /// file's qid.
    async fn create_in(&self, dir: Plain, request: &Request<'_>) -> Opened {
        let &Request::Lcreate {
            name,
            flags,
            mode,
            gid,
            ..
        } = request
        else {
            return (plain(dir), Err(Errno::EPROTO));
        };
        if let Err(errno) = self.allowed((dir.0, dir.1), name).await {
            return (plain(dir), Err(errno));
        }
        let (back, options) = (dir.0, dir.2);
        let below = Request::Lcreate {
            fid: back,
            name,
            flags: flags & !OURS,
            mode,
            gid,
        };
        let names = self.names.shared().await;
        let changing = self.hidden.change_of_names().await;
        let created = self.call(&below, |reply| match reply {
            Reply::Lcreate { qid, .. } => Some(qid),
            _ => None,
        });
        let created = created.await;
        let file = created.map(|qid| (qid, self.file(qid.path)));
        drop((names, changing));
        match file {
            Ok((qid, file)) => self.opened((back, qid, options), file, flags).await,
            Err(errno) => (plain(dir), Err(errno)),
        }
    }

    /// A fid was opened at the lower server: what it is now, an open file if it is a
    /// regular one, and its qid. An external writer may have put another file at its
    /// name between two messages: then that one is opened.
    async fn opened(&self, mut found: Plain, mut file: Rc<File>, flags: u32) -> Opened {
        let mut tries = 0..REPLACED_MAX;
        loop {
            let locked = file.lock().await;
            let looked = self.look_at_opened(&locked, found.0, flags).await;
            drop(locked);
            if looked != Err(Errno::ESTALE) || tries.next().is_none() {
                return self.entry_of(found, file, (looked, flags)).await;
            }
            let names = self.names.shared().await;
            let Ok((back, qid)) = self.open_again(found.0, flags).await else {
                drop(names);
                return self.entry_of(found, file, (looked, flags)).await;
            };
            let before = core::mem::replace(&mut file, self.file(qid.path));
            drop(names);
            found = (back, qid, found.2);
            self.done_with(before).await;
            if qid.kind & (qid::DIR | qid::SYMLINK) != 0 {
                self.done_with(file).await;
                return (plain(found), Ok(qid));
            }
        }
    }

    /// Opens what the name of an open fid stands for now, in place of it.
    async fn open_again(&self, back: LowerFid, flags: u32) -> Result<(LowerFid, Qid), Errno> {
        let (new, _) = self.walk_lower(back, &[]).await?;
        match self.open_lower(new, for_lower(flags)).await {
            Ok(qid) => {
                self.clunk_lower(back).await;
                Ok((new, qid))
            }
            Err(errno) => {
                self.clunk_lower(new).await;
                Err(errno)
            }
        }
    }

    /// Is a fid that was just opened a regular file? One that is to be cut is.
    ///
    /// # Errors
    /// `ESTALE`: it is not that file. The backing's.
    async fn look_at_opened(
        &self,
        file: &Locked<'_>,
        back: LowerFid,
        flags: u32,
    ) -> Result<bool, Errno> {
        let attr = self.revalidate(file, back).await?.ok_or(Errno::ESTALE)?;
        let regular = is_regular(attr.mode);
        if regular && flags & open::TRUNC != 0 {
            self.resize(file, back, 0).await?;
        }
        Ok(regular)
    }

    /// What a fid that was opened at the lower server is now, after `looked`.
    async fn entry_of(
        &self,
        found: Plain,
        file: Rc<File>,
        (looked, flags): (Result<bool, Errno>, u32),
    ) -> Opened {
        let (back, qid, options) = found;
        if looked == Ok(false) {
            self.done_with(file).await;
            return (plain(found), Ok(qid));
        }
        // Where that failed the fid is open there all the same: it must not be
        // a way past the snapshots, so nothing can be done with its bytes.
        let access = looked.map(|_| flags & open::ACCESS);
        let same_as = file.state.borrow().reader;
        let is_for = |wanted| access == Ok(wanted) || access == Ok(open::RDWR);
        let open = Open {
            back,
            qid,
            file,
            // Linux has a fourth way to open, for neither.
            readable: is_for(open::RDONLY),
            writable: is_for(open::WRONLY),
            append: flags & open::APPEND != 0,
            options,
            same_as: Cell::new(same_as),
            closed: Cell::new(false),
        };
        (Entry::Open(Rc::new(open)), access.map(|_| qid))
    }

    /// `Tclunk`: whatever happens, the fid is gone.
    ///
    /// # Errors
    /// What the lower server says of all that was done with the fid.
    pub(crate) async fn clunk(&self, entry: Entry) -> Result<(), Errno> {
        match entry {
            Entry::Plain { back, .. } => return self.close_lower(back).await,
            Entry::Open(open) => return self.close(open).await,
            Entry::Snap(snapshot) => self.release(snapshot).await,
            Entry::Reserved => {}
        }
        Ok(())
    }

    /// An open file's fid is gone. The lower fid lives on while snapshots
    /// read through it.
    pub(crate) async fn close(&self, open: Rc<Open>) -> Result<(), Errno> {
        let file = open.file.clone();
        let held = file.lock().await;
        open.closed.set(true);
        let back = open.back;
        drop(open);
        let kept = {
            let mut state = file.state.borrow_mut();
            let reads = state.reader == Some(back);
            state.orphan |= reads && state.snaps > 0;
            if reads && !state.orphan {
                state.reader = None;
            }
            reads && state.orphan
        };
        let closed = match kept {
            true => Ok(()),
            false => self.close_lower(back).await,
        };
        drop(held);
        self.done_with(file).await;
        closed
    }
}
