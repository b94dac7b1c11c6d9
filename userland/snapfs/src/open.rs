//! Fids: attach, walk, open, create, clunk.

use crate::conn::{Conn, Entry, Open};
use crate::hidden::HIDDEN;
use crate::options::{self, MountOptions};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use ninep::consts::{IOHDRSZ, NOFID, open, qid};
use ninep::{Names, Qid, Qids, Reply, Request};

/// Flags that snapfs acts on itself.
const OURS: u32 = open::TRUNC | open::APPEND;

/// A regular file, in Linux's mode bits.
const fn is_regular(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
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
        let (dir, options) = options::parse(aname)?;
        conn.put_new(fid, Entry::Reserved)?;
        match self.attach_below(uname, dir, n_uname).await {
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

    pub(crate) async fn attach_below(
        &self,
        uname: &str,
        aname: &str,
        n_uname: u32,
    ) -> Result<(u32, Qid), Errno> {
        let fid = self.new_fid();
        let request = Request::Attach {
            fid,
            afid: NOFID,
            uname,
            aname,
            n_uname,
        };
        let attached = self.call(&request, |reply| match reply {
            Reply::Attach { qid } => Some(qid),
            _ => None,
        });
        match attached.await {
            Ok(qid) => Ok((fid, qid)),
            Err(errno) => {
                self.no_fid(fid);
                Err(errno)
            }
        }
    }

    /// `Twalk`. The reply's qids are put into `qids`.
    pub(crate) async fn walk<'q>(
        &self,
        conn: &Conn,
        (fid, newfid): (u32, u32),
        names: Names<'_>,
        qids: &'q mut Vec<Qid>,
    ) -> Result<Reply<'q>, Errno> {
        let (from, from_qid) = conn.below(fid)?;
        let options = conn.options(fid)?;
        if newfid == fid {
            let Entry::Plain { .. } = conn.get(fid)? else {
                return Err(Errno::EBUSY);
            };
        } else {
            conn.put_new(newfid, Entry::Reserved)?;
        }
        let _names = self.names.shared().await;
        let back = self.new_fid();
        let walked = self.walk_to(from, back, names, qids).await;
        let arrived = walked.is_ok() && qids.len() == names.len();
        if !arrived {
            self.no_fid(back);
            if newfid != fid {
                conn.cancel(newfid);
            }
            walked?;
            return Ok(Reply::Walk {
                qids: Qids::new(qids),
            });
        }
        let qid = qids.last().copied().unwrap_or(from_qid);
        conn.replace(newfid, Entry::Plain { back, qid, options });
        if newfid == fid {
            self.clunk_below(from).await;
        }
        Ok(Reply::Walk {
            qids: Qids::new(qids),
        })
    }

    /// Walks beneath, stopping before the hidden directory.
    async fn walk_to(
        &self,
        fid: u32,
        newfid: u32,
        names: Names<'_>,
        qids: &mut Vec<Qid>,
    ) -> Result<(), Errno> {
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
        let hidden = self.hidden.path.get();
        let entered = qids.iter().zip(names.iter());
        let at = hidden.and_then(|path| {
            entered
                .into_iter()
                .position(|(qid, name)| name == HIDDEN && qid.path == path)
        });
        if let Some(at) = at {
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
        let Entry::Plain { back, qid, options } = conn.get(fid)? else {
            return Err(Errno::EINVAL);
        };
        let iounit = self.iounit(conn);
        if qid.kind & (qid::DIR | qid::SYMLINK) != 0 {
            if flags & open::TRUNC != 0 {
                return Err(Errno::EISDIR);
            }
            let qid = self.open_below(back, flags & !OURS).await?;
            return Ok(Reply::Lopen { qid, iounit });
        }
        let qid = self
            .open_below(back, flags & !(OURS | open::CREAT | open::EXCL))
            .await?;
        self.opened(conn, fid, (back, qid, options), flags).await?;
        Ok(Reply::Lopen { qid, iounit })
    }

    pub(crate) async fn create(
        &self,
        conn: &Conn,
        request: &Request<'_>,
    ) -> Result<Reply<'static>, Errno> {
        let &Request::Lcreate {
            fid,
            name,
            flags,
            mode,
            gid,
        } = request
        else {
            return Err(Errno::EPROTO);
        };
        let Entry::Plain { back, qid, options } = conn.get(fid)? else {
            return Err(Errno::EINVAL);
        };
        self.allowed(&qid, name)?;
        let below = Request::Lcreate {
            fid: back,
            name,
            flags: flags & !OURS,
            mode,
            gid,
        };
        let names = self.names.shared().await;
        let created = self.call(&below, |reply| match reply {
            Reply::Lcreate { qid, .. } => Some(qid),
            _ => None,
        });
        let qid = created.await?;
        drop(names);
        conn.replace(fid, Entry::Plain { back, qid, options });
        self.opened(conn, fid, (back, qid, options), flags).await?;
        Ok(Reply::Lcreate {
            qid,
            iounit: self.iounit(conn),
        })
    }

    /// `back` was opened: `fid` becomes an open file, if it is a regular one.
    async fn opened(
        &self,
        conn: &Conn,
        fid: u32,
        (back, qid, options): (u32, Qid, MountOptions),
        flags: u32,
    ) -> Result<(), Errno> {
        let file = self.file(qid.path);
        let held = file.lock.exclusive().await;
        let looked = match self.look(&file, back).await {
            Ok(Some(attr)) if is_regular(attr.mode) && flags & open::TRUNC != 0 => {
                self.resize(&file, back, 0).await.map(|()| true)
            }
            Ok(Some(attr)) => Ok(is_regular(attr.mode)),
            Ok(None) => Err(Errno::ESTALE),
            Err(errno) => Err(errno),
        };
        drop(held);
        if !looked.unwrap_or(false) {
            self.done_with(file).await;
            return looked.map(|_| ());
        }
        let access = flags & open::ACCESS;
        let (readable, writable) = (access != open::WRONLY, access != open::RDONLY);
        let (append, closed) = (flags & open::APPEND != 0, Cell::new(false));
        let open = Open {
            back,
            qid,
            file,
            readable,
            writable,
            append,
            options,
            closed,
        };
        conn.replace(fid, Entry::Open(Rc::new(open)));
        Ok(())
    }

    /// `Tclunk`: whatever happens, the fid is gone.
    pub(crate) async fn clunk(&self, entry: Entry) {
        match entry {
            Entry::Plain { back, .. } => self.clunk_below(back).await,
            Entry::Open(open) => self.close(open).await,
            Entry::Snap(snapshot) => self.release(snapshot).await,
            Entry::Reserved => {}
        }
    }

    /// An open file's fid is gone. The fid beneath lives on while snapshots
    /// read through it.
    pub(crate) async fn close(&self, open: Rc<Open>) {
        let file = open.file.clone();
        let held = file.lock.exclusive().await;
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
        if !kept {
            self.clunk_below(back).await;
        }
        drop(held);
        self.done_with(file).await;
    }

    /// May clients use `name` in this directory?
    pub(crate) fn allowed(&self, dir: &Qid, name: &str) -> Result<(), Errno> {
        let hidden = name == HIDDEN && Some(dir.path) == self.root_path.get();
        if hidden { Err(Errno::EPERM) } else { Ok(()) }
    }
}
