//! Fids: attach, walk, open, create, clunk.

use crate::conn::{Conn, Entry, Open, Plain};
use crate::file::File;
use crate::hidden::check_name;
use crate::lower::{LowerFid, pick};
use crate::options::{self, Check};
use crate::serve::Replied;
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

/// The error of an operation on a fid that was walked to a file and is not open: its name
/// there is gone, but another file may have got the name that was walked to.
pub fn gone(errno: Errno) -> Errno {
    match errno {
        Errno::ENOENT => Errno::ESTALE,
        other => other,
    }
}

/// The new meaning of a fid, and the qid of the file it opened.
type Opened = (Entry, Result<Qid, Errno>);

impl<B: Backing> Snapfs<B> {
    /// Most data bytes in one read or write of this client.
    pub(crate) fn iounit(&self, conn: &Conn) -> u32 {
        conn.msize
            .get()
            .saturating_sub(IOHDRSZ)
            .min(self.backing.iounit())
    }

    pub(crate) async fn attach(&self, conn: &Conn, request: &Request<'_>) -> Replied {
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
        if asked.options.check == Check::Always {
            self.lazy.set(false);
        }
        let options = asked.options;
        if let Some(saving) = asked.saving {
            self.save_at(saving).await?;
        }
        conn.put_new(fid, Entry::Reserved)?;
        let attached = self.attach_at(uname, asked.dir, n_uname).await;
        let attached = attached.map(|(back, qid)| Plain { back, qid, options });
        let qid = conn.fill(fid, attached)?.qid;
        Ok(Reply::Attach { qid })
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
        let names = dir.split(|byte| *byte == b'/');
        for name in names.filter(|name| !name.is_empty()) {
            let mut qids = Vec::new();
            let walked = match check_name(name) {
                Ok(()) => {
                    let _names = self.names.shared().await;
                    let names = [ByteStr(name)];
                    self.walk_to((at, qid), Names::new(&names), &mut qids).await
                }
                Err(errno) => Err(errno),
            };
            self.clunk_lower(at).await;
            let next = walked?.zip(qids.last().copied());
            (at, qid) = next.ok_or(Errno::ENOENT)?;
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
        let (from, same) = (*held, newfid == fid);
        match same {
            true => drop(conn.reserve(fid).map_err(|_| Errno::EBUSY)?),
            false => conn.put_new(newfid, Entry::Reserved)?,
        }
        let locked = self.names.shared().await;
        let walked = self.walk_to((from.back, from.qid), names, qids).await;
        let qid = qids.last().copied().unwrap_or(from.qid);
        match walked {
            Ok(Some(back)) => conn.replace(newfid, Entry::Plain(Plain { back, qid, ..from })),
            _ if same => conn.replace(fid, Entry::Plain(from)),
            _ => drop(conn.fill(newfid, Err(Errno::ENOENT))),
        }
        drop((locked, held));
        if walked?.is_some() && same {
            conn.wait_until_free(from.back).await;
            self.clunk_lower(from.back).await;
        }
        Ok(Reply::Walk {
            qids: Qids::new(qids),
        })
    }

    /// Walks at the lower server, stopping before the hidden directory: a new fid
    /// if it came to the end.
    pub(crate) async fn walk_to(
        &self,
        (fid, from): (LowerFid, Qid),
        names: Names<'_>,
        qids: &mut Vec<Qid>,
    ) -> Result<Option<LowerFid>, Errno> {
        let mut all = names.iter();
        if all.any(|name| check_name(&name) == Err(Errno::ENOENT)) {
            return Err(Errno::ENOENT);
        }
        let newfid = self.new_fid();
        let request = Request::Walk { fid, newfid, names };
        let walked = self.call(&request, |reply| match reply {
            Reply::Walk { qids: walked } if walked.len() <= names.len() => {
                qids.extend(walked.iter());
                Some(())
            }
            _ => None,
        });
        walked.await.inspect_err(|_| self.no_fid(newfid))?;
        let mut arrived = qids.len() == names.len();
        if let Some(at) = self.hidden_among(&from, names, qids).await {
            qids.truncate(at);
            if core::mem::take(&mut arrived) {
                let _ = self.tell(&Request::Clunk { fid: newfid }).await;
            }
        }
        if !arrived {
            self.no_fid(newfid);
        }
        match qids.is_empty() && !names.is_empty() {
            true => Err(Errno::ENOENT),
            false => Ok(arrived.then_some(newfid)),
        }
    }

    pub(crate) async fn open(&self, conn: &Conn, fid: u32, flags: u32) -> Replied {
        let unopened = conn.reserve(fid)?;
        // Another lower fid may take its place.
        conn.wait_until_free(unopened.back).await;
        let (entry, opened) = self.open_plain(unopened, flags).await;
        conn.replace(fid, entry);
        Ok(Reply::Lopen {
            qid: opened?,
            iounit: self.iounit(conn),
        })
    }

    /// Opens a fid; returns its new meaning, and the file's qid.
    pub(crate) async fn open_plain(&self, unopened: Plain, flags: u32) -> Opened {
        let (back, kind) = (unopened.back, unopened.qid.kind);
        let special = kind & qid::DIR != 0;
        // A file that is replaced from now on is in use, and stays itself.
        let names = self.names.shared().await;
        let opened = match special {
            // Clients follow links; a lower server might, out of its tree.
            _ if kind & qid::SYMLINK != 0 => Err(Errno::ELOOP),
            true if flags & open::TRUNC != 0 => Err(Errno::EISDIR),
            true => self.open_lower(back, flags & !OURS).await,
            false => self.open_lower(back, for_lower(flags)).await,
        };
        let opened = opened.map_err(gone);
        let file = opened.ok().filter(|_| !special);
        let file = file.map(|qid| (qid, self.file(qid.path)));
        drop(names);
        match file {
            Some((qid, file)) => self.opened(Plain { qid, ..unopened }, file, flags).await,
            None => (Entry::Plain(unopened), opened),
        }
    }

    pub(crate) async fn create(&self, conn: &Conn, request: &Request<'_>) -> Replied {
        let &Request::Lcreate { fid, .. } = request else {
            return Err(Errno::EPROTO);
        };
        let dir = conn.reserve(fid)?;
        // The lower fid becomes a file, or another one takes its place.
        conn.wait_until_free(dir.back).await;
        let (entry, created) = self.create_in(dir, request).await;
        conn.replace(fid, entry);
        Ok(Reply::Lcreate {
            qid: created?,
            iounit: self.iounit(conn),
        })
    }

    /// Creates and opens a file; returns the new meaning of the directory's
    /// fid, and the file's qid.
    async fn create_in(&self, dir: Plain, request: &Request<'_>) -> Opened {
        let &Request::Lcreate {
            name,
            flags,
            mode,
            gid,
            ..
        } = request
        else {
            return (Entry::Plain(dir), Err(Errno::EPROTO));
        };
        if let Err(errno) = self.allowed(&dir, name).await {
            return (Entry::Plain(dir), Err(errno));
        }
        let request = Request::Lcreate {
            fid: dir.back,
            name,
            flags: flags & !OURS | open::EXCL,
            mode,
            gid,
        };
        self.forget_known_below(dir.back).await;
        let names = self.names.shared().await;
        let changing = self.hidden.change_of_names().await;
        let created = self.create_or_open(&request, flags).await;
        let file = created.map(|(back, qid)| (back, qid, self.file(qid.path)));
        drop((names, changing));
        match file {
            Ok((back, qid, file)) => {
                if back != dir.back {
                    self.clunk_lower(dir.back).await;
                }
                self.opened(Plain { back, qid, ..dir }, file, flags).await
            }
            Err(errno) => (Entry::Plain(dir), Err(errno)),
        }
    }

    /// Makes and opens a new file, or opens the one that has the name. Servers are
    /// never asked to do the second by the first: QEMU gives the file the rights of a new
    /// one then, which looks like an external writer's change besides.
    async fn create_or_open(
        &self,
        request: &Request<'_>,
        flags: u32,
    ) -> Result<(LowerFid, Qid), Errno> {
        let &Request::Lcreate { fid, name, .. } = request else {
            return Err(Errno::EPROTO);
        };
        for _ in 0..REPLACED_MAX {
            let created = self.call(request, pick!(Reply::Lcreate { qid, .. } => qid));
            match created.await {
                Err(Errno::EEXIST) if flags & open::EXCL == 0 => {}
                created => return created.map(|qid| (fid, qid)),
            }
            let opened = match self.walk_lower(fid, &[name]).await {
                Ok((back, found)) => {
                    let opened = match found.map_or(0, |qid| qid.kind) {
                        kind if kind & qid::SYMLINK != 0 => Err(Errno::ELOOP),
                        kind if kind & qid::DIR != 0 => Err(Errno::EISDIR),
                        _ => self.open_lower(back, for_lower(flags)).await,
                    };
                    let kept = self.keep_if(opened, back).await;
                    kept.and_then(|back| Ok((back, opened?)))
                }
                Err(errno) => Err(errno),
            };
            // An external writer has removed it meanwhile.
            if opened != Err(Errno::ENOENT) {
                return opened;
            }
        }
        Err(Errno::ESTALE)
    }

    /// A fid was opened at the lower server: what it is now, an open file if it is a
    /// regular one, and its qid. An external writer may have put another file at its
    /// name between two messages: then that one is opened.
    async fn opened(&self, mut found: Plain, mut file: Rc<File>, flags: u32) -> Opened {
        let mut tries = 0..REPLACED_MAX;
        loop {
            let looked = self.look_at_opened(&file, found.back, flags).await;
            if looked != Err(Errno::ESTALE) || tries.next().is_none() {
                return self.entry_of(found, file, (looked, flags)).await;
            }
            let names = self.names.shared().await;
            let Ok((back, qid)) = self.open_again(found.back, flags).await else {
                drop(names);
                return self.entry_of(found, file, (looked, flags)).await;
            };
            let before = core::mem::replace(&mut file, self.file(qid.path));
            drop(names);
            (found.back, found.qid) = (back, qid);
            self.done_with(before).await;
            if qid.kind & (qid::DIR | qid::SYMLINK) != 0 {
                self.done_with(file).await;
                return (Entry::Plain(found), Ok(qid));
            }
        }
    }

    /// Opens the file that now has the name of an open fid, in place of that.
    async fn open_again(&self, back: LowerFid, flags: u32) -> Result<(LowerFid, Qid), Errno> {
        let (new, _) = self.walk_lower(back, &[]).await?;
        let opened = self.open_lower(new, for_lower(flags)).await;
        let new = self.keep_if(opened, new).await?;
        self.clunk_lower(back).await;
        Ok((new, opened?))
    }

    /// Determines whether a lower fid that was just opened is a regular file. A
    /// file that is to be truncated is.
    ///
    /// # Errors
    /// `ESTALE`: it is not that file. The backing's.
    async fn look_at_opened(&self, file: &File, back: LowerFid, flags: u32) -> Result<bool, Errno> {
        let file = &self.lock(file).await?;
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
        let Plain { back, qid, options } = found;
        if looked == Ok(false) {
            self.done_with(file).await;
            return (Entry::Plain(found), Ok(qid));
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
            Entry::Plain(plain) => return self.close_lower(plain.back).await,
            Entry::Open(open) => return self.close(open).await,
            Entry::Snap(snapshot) => self.release(snapshot).await,
            Entry::Reserved => {}
        }
        Ok(())
    }

    /// An open file's fid is gone. The lower fid lives on while snapshots
    /// read through it.
    pub(crate) async fn close(&self, open: Rc<Open>) -> Result<(), Errno> {
        let (file, back) = (open.file.clone(), open.back);
        let reads = file.state.borrow().reader == Some(back);
        if !reads && Rc::strong_count(&open) == 1 {
            // No request uses it, so the lock's holder does not: it is not waited for,
            // for it may take long.
            drop(open);
            self.unhide(&file).await;
            let closed = self.close_lower(back).await;
            self.done_with(file).await;
            return closed;
        }
        let held = file.lock().await;
        open.closed.set(true);
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
            false => {
                self.unhide(&file).await;
                self.close_lower(back).await
            }
        };
        drop(held);
        self.done_with(file).await;
        closed
    }
}
