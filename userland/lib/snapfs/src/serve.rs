//! From a message to its answer.

use crate::backing::{Answer, Head, Payload};
use crate::commit::Put;
use crate::conn::{Conn, Entry, Hold, Open, Turn};
use crate::open::REPLACED_MAX;
use crate::put::{Bytes, Message};
use crate::snap::Take;
use crate::{Backing, ConnId, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::poll_fn;
use ninep::consts::{NOTAG, VERSION_L, VERSION_SNAP, VERSION_UNKNOWN};
use ninep::{ByteStr, PutKind, PutOp, Reply, Request, SetAttr, decode_request, peek};

/// Smallest msize that is of any use.
const MSIZE_MIN: u32 = 512;
/// What msize has above the data of an I/O.
const HEADROOM: u32 = 4096;

/// A whole reply.
pub fn whole<B>(tag: u16, reply: &Reply<'_>) -> Answer<B> {
    let inline = Head::inline(|out| ninep::encode_reply(tag, reply, out).ok());
    let head = inline.unwrap_or_else(|| Head::spilled(encode(tag, reply)));
    Answer {
        head,
        payload: Payload::None,
    }
}

/// A reply that does not fit in place. The longest is a readlink or a list of
/// changes, far below 4 MiB; what is longer is an `EPROTO`.
fn encode(tag: u16, reply: &Reply<'_>) -> Vec<u8> {
    let mut out = vec![0; 512];
    let mut reply = reply;
    loop {
        if let Ok(len) = ninep::encode_reply(tag, reply, &mut out) {
            out.truncate(len);
            return out;
        }
        if out.len() >= 4 << 20 {
            reply = &Reply::Error(Errno::EPROTO);
        } else {
            out.resize(out.len() * 4, 0);
        }
    }
}

/// A reply whose payload travels apart.
#[inline]
fn gathered<B: AsRef<[u8]>>(tag: u16, reply: &Reply<'_>, payload: Payload<B>) -> Answer<B> {
    let len = payload.as_slice().len();
    match Head::inline(|out| ninep::encode_reply_head(tag, reply, len, out).ok()) {
        Some(head) => Answer { head, payload },
        None => whole(tag, &Reply::Error(Errno::EPROTO)),
    }
}

impl<B: Backing> Snapfs<B> {
    /// Serves one message of a connection (one whole 9P message). Messages of
    /// a connection must be first polled in the order they came; the answers
    /// may be sent in any order in which the futures end.
    pub async fn handle(&self, conn: ConnId, msg: &[u8]) -> Answer<B::Buf> {
        let (tag, request) = match decode_request(msg) {
            Ok(decoded) => decoded,
            Err(_) => {
                let tag = peek(msg).map_or(NOTAG, |(_, _, tag)| tag);
                return whole(tag, &Reply::Error(Errno::EPROTO));
            }
        };
        let conn = self.conn(conn);
        let turn = conn.begin(tag);
        let answer = match request {
            // The page-fault path: no allocation.
            Request::Read { fid, offset, count } => {
                match self.read(&conn, fid, offset, count).await {
                    Ok(payload) => gathered(tag, &Reply::Read { data: &[] }, payload),
                    Err(errno) => whole(tag, &Reply::Error(errno)),
                }
            }
            request => {
                let mut served = Box::pin(self.serve(&conn, (tag, turn), &request));
                poll_fn(|context| {
                    self.now_served.set((conn.id.get(), turn));
                    served.as_mut().poll(context)
                })
                .await
            }
        };
        conn.end(turn);
        answer
    }

    /// Does the client of the request that is served now not want it any more?
    /// Long work looks now and then, before it has changed anything.
    pub(crate) fn is_flushed(&self) -> bool {
        let (conn, turn) = self.now_served.get();
        let conns = self.conns.borrow();
        conns.get(&conn).is_some_and(|conn| conn.is_flushed(turn))
    }

    #[inline]
    async fn read(
        &self,
        conn: &Conn,
        fid: u32,
        off: u64,
        count: u32,
    ) -> Result<Payload<B::Buf>, Errno> {
        let count = count.min(self.iounit(conn));
        let back = match conn.get(fid)? {
            Entry::Snap(snapshot) => return self.read_snapshot(&snapshot, off, count).await,
            Entry::Open(open) => return self.read_live(&open, off, count).await,
            Entry::Plain { back, .. } => back,
            Entry::Reserved => return Err(Errno::EBADF),
        };
        let buf = self.backing.read(back, off, count).await?;
        let len = buf.as_ref().len().min(count as usize);
        Ok(Payload::Buf(buf, 0..len))
    }

    /// `Tread` on an open file. It waits for a commit that is under way, so
    /// that it sees all of it or nothing.
    async fn read_live(&self, open: &Open, off: u64, count: u32) -> Result<Payload<B::Buf>, Errno> {
        let _held = open.file.share().await;
        if !open.readable || open.closed.get() {
            return Err(Errno::EBADF);
        }
        let buf = self.backing.read(open.back, off, count).await?;
        let len = buf.as_ref().len().min(count as usize);
        Ok(Payload::Buf(buf, 0..len))
    }

    async fn serve(
        &self,
        conn: &Conn,
        (tag, turn): (u16, Turn),
        request: &Request<'_>,
    ) -> Answer<B::Buf> {
        let answered = match *request {
            Request::Version { msize, version } => {
                conn.wait_for_earlier(turn).await;
                Ok(self.version(conn, tag, msize, version).await)
            }
            _ if conn.msize.get() == 0 => Err(Errno::EPROTO),
            Request::Walk { fid, newfid, names } => {
                let mut qids = Vec::new();
                let walked = self.walk(conn, (fid, newfid), names, &mut qids).await;
                walked.map(|reply| whole(tag, &reply))
            }
            Request::Readdir { fid, offset, count } => {
                let data = self.read_dir(conn, fid, offset, count).await;
                data.map(|data| gathered(tag, &Reply::Readdir { data: &[] }, Payload::Bytes(data)))
            }
            Request::Attach { .. } => self.attach(conn, request).await.map(|r| whole(tag, &r)),
            Request::Lopen { .. }
            | Request::Lcreate { .. }
            | Request::Clunk { .. }
            | Request::Write { .. }
            | Request::Getattr { .. }
            | Request::Setattr { .. }
            | Request::Flush { .. } => self
                .serve_file(conn, turn, request)
                .await
                .map(|reply| whole(tag, &reply)),
            Request::Unlinkat { .. }
            | Request::Remove { .. }
            | Request::Rename { .. }
            | Request::Renameat { .. } => self
                .serve_names(conn, request)
                .await
                .map(|reply| whole(tag, &reply)),
            Request::Session { .. }
            | Request::Snap { .. }
            | Request::Put { .. }
            | Request::Trim { .. } => {
                let mut changed = Vec::new();
                let served = self.serve_snaps(conn, request, &mut changed).await;
                served.map(|reply| whole(tag, &reply))
            }
            _ => self.pass_on(conn, tag, request).await,
        };
        answered.unwrap_or_else(|errno| whole(tag, &Reply::Error(errno)))
    }

    /// `Tversion`: everything the connection held is given back first. What is
    /// in flight has come to its end, so that nothing is added behind it.
    async fn version(
        &self,
        conn: &Conn,
        tag: u16,
        msize: u32,
        version: ByteStr<'_>,
    ) -> Answer<B::Buf> {
        self.give_back_all(conn).await;
        if let Some(session) = conn.take_session() {
            self.end_session(&session).await;
        }
        let msize = msize.min(self.backing.iounit().saturating_add(HEADROOM));
        let version = match version {
            VERSION_SNAP => VERSION_SNAP,
            // As 9P prescribes: what follows a known version and a dot is
            // negotiated down to that version.
            VERSION_L => VERSION_L,
            other if other.starts_with(b"9P2000.L.") => VERSION_L,
            _ => VERSION_UNKNOWN,
        };
        let known = version != VERSION_UNKNOWN && msize >= MSIZE_MIN;
        conn.msize.set(if known { msize } else { 0 });
        conn.snaps.set(known && version == VERSION_SNAP);
        let version = if known { version } else { VERSION_UNKNOWN };
        whole(tag, &Reply::Version { msize, version })
    }

    async fn serve_file(
        &self,
        conn: &Conn,
        turn: Turn,
        request: &Request<'_>,
    ) -> Result<Reply<'static>, Errno> {
        match *request {
            Request::Lopen { fid, flags } => self.open(conn, fid, flags).await,
            Request::Lcreate { .. } => self.create(conn, request).await,
            Request::Clunk { fid } => {
                conn.wait_until_settled(fid).await;
                let entry = conn.remove(fid)?;
                if let Some(back) = entry.back() {
                    conn.wait_until_free(back).await;
                }
                self.clunk(entry).await?;
                Ok(Reply::Clunk)
            }
            Request::Write { fid, offset, data } => {
                let count = self.write(conn, fid, offset, data).await?;
                Ok(Reply::Write { count })
            }
            Request::Getattr { fid, mask } => self.get_attr(conn, fid, mask).await,
            Request::Setattr { fid, attr } => {
                self.set_attr(conn, fid, attr).await?;
                Ok(Reply::Setattr)
            }
            Request::Flush { oldtag } => {
                conn.flush(oldtag, turn);
                conn.wait_for(oldtag, turn).await;
                Ok(Reply::Flush)
            }
            _ => Err(Errno::EPROTO),
        }
    }

    /// `Twrite`: a put of one DATA.
    async fn write(&self, conn: &Conn, fid: u32, off: u64, data: &[u8]) -> Result<u32, Errno> {
        match conn.get(fid)? {
            Entry::Open(open) => {
                let op = PutOp {
                    kind: PutKind::Data,
                    off: 0,
                    len: data.len() as u64,
                };
                let ops: &[PutOp] = if data.is_empty() { &[] } else { &[op] };
                let off = (!open.append).then_some(off);
                let put = Put {
                    off,
                    ops,
                    data: Bytes::one(data),
                    into: None,
                };
                Ok(self.commit(conn, &open, put).await?.count as u32)
            }
            Entry::Plain { .. } => {
                let held = conn.hold(fid)?;
                match self.write_lower(held.back, off, data).await {
                    Ok(()) => Ok(data.len() as u32),
                    Err((0, errno)) => Err(errno),
                    Err((done, _)) => Ok(done as u32),
                }
            }
            Entry::Snap(_) | Entry::Reserved => Err(Errno::EBADF),
        }
    }

    async fn get_attr(&self, conn: &Conn, fid: u32, mask: u64) -> Result<Reply<'static>, Errno> {
        let (back, qid) = conn.below(fid)?;
        let request = Request::Getattr { fid: back, mask };
        let mut attr = self
            .call(&request, |reply| match reply {
                Reply::Getattr(attr) => Some(attr),
                _ => None,
            })
            .await?;
        // Names in the hidden directory are not links to clients.
        if let Some(file) = self.files.borrow().get(&qid.path) {
            attr.nlink = attr
                .nlink
                .saturating_sub(file.state.borrow().hidden.len() as u64);
        }
        // Nor is that directory's link to its parent, the root, where links of
        // directories are counted: each has two there, and one more for each
        // directory in it.
        let in_root = self.hidden.is_home(qid.path) && self.hidden.path.get().is_some();
        if in_root && attr.nlink > 2 {
            attr.nlink -= 1;
        }
        Ok(Reply::Getattr(attr))
    }

    async fn set_attr(&self, conn: &Conn, fid: u32, attr: SetAttr) -> Result<(), Errno> {
        let held = conn.hold(fid)?;
        let is_open = matches!(conn.get(fid), Ok(Entry::Open(_)));
        let mut tries = 0..REPLACED_MAX;
        let mut path = held.qid.path;
        while tries.next().is_some() {
            match self.set_attr_of(&held, path, attr).await {
                // A name that is being replaced all the time: what it stands for
                // now, unless the fid is that one open file.
                Err(Errno::ESTALE) if !is_open => {
                    path = self.attr_lower(held.back).await?.qid.path;
                }
                done => return done,
            }
        }
        Err(Errno::ESTALE)
    }

    /// Sets attributes of what a fid stands for, if that is the file `path`.
    ///
    /// # Errors
    /// `ESTALE`: it is not.
    async fn set_attr_of(&self, held: &Hold<'_>, path: u64, attr: SetAttr) -> Result<(), Errno> {
        let sized = attr.valid & ninep::consts::setattr::SIZE != 0;
        let is_dir = held.qid.kind & ninep::consts::qid::DIR != 0;
        let names = self.names.shared().await;
        let file = match sized && !is_dir {
            true => Some(self.file(path)),
            false => self.known_file(path),
        };
        let Some(file) = file else {
            // Nobody uses it; but others may be in use, and beneath the fid may
            // stand for one of them by now.
            let others = !is_dir && !self.files.borrow().is_empty();
            if others && self.attr_lower(held.back).await?.qid.path != path {
                return Err(Errno::ESTALE);
            }
            let _changing = self.hidden.change_of_names().await;
            return self.set_attr_lower(held.back, attr).await;
        };
        drop(names);
        let locked = file.lock().await;
        let changed = match self.look(&locked, held.back).await {
            Ok(Some(_)) => self.change_attr(&locked, held.back, attr).await,
            // Beneath it would change another file, or none.
            Ok(None) => Err(Errno::ESTALE),
            Err(errno) => Err(errno),
        };
        drop(locked);
        self.done_with(file).await;
        changed
    }

    async fn serve_names(
        &self,
        conn: &Conn,
        request: &Request<'_>,
    ) -> Result<Reply<'static>, Errno> {
        match *request {
            Request::Unlinkat {
                dirfid,
                name,
                flags,
            } => self.unlink_at(conn, dirfid, name, flags).await,
            Request::Remove { fid } => self.remove(conn, fid).await,
            Request::Rename { fid, dfid, name } => self.rename(conn, fid, (dfid, name)).await,
            Request::Renameat {
                olddirfid,
                oldname,
                newdirfid,
                newname,
            } => {
                self.rename_at(conn, (olddirfid, oldname), (newdirfid, newname))
                    .await
            }
            _ => Err(Errno::EPROTO),
        }
    }

    async fn serve_snaps<'r>(
        &self,
        conn: &Conn,
        request: &Request<'_>,
        changed: &'r mut Vec<(u64, u64)>,
    ) -> Result<Reply<'r>, Errno> {
        if !conn.snaps.get() {
            return Err(Errno::EOPNOTSUPP);
        }
        match *request {
            Request::Session { session } => self.session(conn, session).await,
            Request::Snap {
                fid,
                snapfid,
                off,
                count,
                epoch,
                known,
            } => {
                let take = Take {
                    fid,
                    snapfid,
                    off,
                    count,
                    epoch,
                    known,
                };
                self.take_snapshot(conn, &take, changed).await
            }
            Request::Put {
                fid,
                wid,
                ack,
                flags,
                off,
                into,
                known,
                ops,
                data,
            } => {
                let message = Message {
                    fid,
                    wid,
                    ack,
                    flags,
                    off,
                    into,
                    known,
                    ops,
                    data,
                };
                self.put(conn, message, changed).await
            }
            Request::Trim { snapfid, ranges } => {
                let Entry::Snap(snapshot) = conn.get(snapfid)? else {
                    return Err(Errno::EBADF);
                };
                self.trim(&snapshot, ranges.iter()).await;
                Ok(Reply::Trim)
            }
            _ => Err(Errno::EPROTO),
        }
    }

    /// The connection with this number.
    #[inline]
    fn conn(&self, id: ConnId) -> Rc<Conn> {
        let mut conns = self.conns.borrow_mut();
        let conn = conns.entry(id).or_default();
        conn.id.set(id);
        conn.fids_max.set(self.fids_max);
        conn.clone()
    }

    /// Gives back everything a connection holds.
    pub(crate) async fn give_back_all(&self, conn: &Conn) {
        conn.writes.borrow_mut().clear();
        for entry in conn.take_all().into_values() {
            let _ = self.clunk(entry).await;
        }
    }

    /// The connection is gone: everything it held is given back, but what its
    /// session keeps for as long as its lease. Call it when no request of the
    /// connection is in flight any more.
    pub async fn hangup(&self, conn: ConnId) {
        let gone = self.conns.borrow_mut().remove(&conn);
        if let Some(conn) = gone {
            self.leave(&conn).await;
        }
    }
}
