//! From a message to its answer.

use crate::backing::{Answer, Head, Payload};
use crate::commit::Put;
use crate::conn::{Conn, Entry, Open, Turn};
use crate::file::{File, Locked};
use crate::lent::{Chunk, Lent, LentBytes};
use crate::put::{Bytes, Held, Memory};
use crate::{Backing, ConnId, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use ninep::consts::{NOTAG, TFLUSH, VERSION_L, VERSION_SNAP, VERSION_UNKNOWN};
use ninep::{ByteStr, PutKind, PutOp, Reply, Request, decode_request, decode_request_head, peek};

/// Smallest msize that is of any use.
const MSIZE_MIN: u32 = 512;
/// The part of the msize beyond the data of a read or write.
const HEADROOM: u32 = 4096;

/// What becomes of most requests.
pub type Replied = Result<Reply<'static>, Errno>;

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
/// changes, far below 4 MiB; a longer one becomes `EPROTO`.
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
pub fn gathered<B: AsRef<[u8]>>(tag: u16, reply: &Reply<'_>, payload: Payload<B>) -> Answer<B> {
    let len = payload.len();
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
        self.handle_in(conn, msg, Memory::Passing).await
    }

    /// The same for a message of `len` bytes at the front of memory that can be held:
    /// what is staged of it stays there.
    pub async fn handle_held(&self, conn: ConnId, memory: &Held, len: usize) -> Answer<B::Buf> {
        let msg: &[u8] = (**memory).as_ref();
        let msg = msg.get(..len).unwrap_or(msg);
        self.handle_in(conn, msg, Memory::Held(memory, msg.len()))
            .await
    }

    /// The same for the head of a message whose data is lent: it stays where it is until
    /// the write is over.
    pub async fn handle_lent(&self, conn: ConnId, head: &[u8], data: &Lent) -> Answer<B::Buf> {
        self.handle_in(conn, head, Memory::Lent(data)).await
    }

    async fn handle_in(&self, conn: ConnId, msg: &[u8], memory: Memory<'_>) -> Answer<B::Buf> {
        let decoded = match memory {
            Memory::Lent(parts) => decode_request_head(msg, LentBytes::all(parts).len()),
            Memory::Passing | Memory::Held(..) => decode_request(msg),
        };
        let (tag, request) = match decoded {
            Ok(decoded) => decoded,
            Err(_) => {
                let tag = peek(msg).map_or(NOTAG, |(_, _, tag)| tag);
                return whole(tag, &Reply::Error(Errno::EPROTO));
            }
        };
        let conn = self.conn(conn);
        let turn = conn.begin(tag);
        let is_version = matches!(request, Request::Version { .. });
        let answer = match request {
            _ if conn.versions.get() > 0 && !is_version => whole(tag, &Reply::Error(Errno::EPROTO)),
            // Each in memory of its own: the whole is moved when its task begins.
            Request::Read { fid, offset, count } => {
                Box::pin(self.answer_read(&conn, (tag, turn), (fid, offset, count))).await
            }
            Request::Walkattr { .. } | Request::Walkopen { .. } | Request::Readdirattr { .. } => {
                let served = Box::pin(self.serve_combined(&conn, tag, &request));
                let served = self.watched((conn.id.get(), turn), served).await;
                served.unwrap_or_else(|errno| whole(tag, &Reply::Error(errno)))
            }
            request => {
                let served = Box::pin(self.serve(&conn, (tag, turn), (&request, memory)));
                let served = self.watched((conn.id.get(), turn), served).await;
                served.unwrap_or_else(|errno| whole(tag, &Reply::Error(errno)))
            }
        };
        conn.end(turn);
        answer
    }

    /// Says with each poll of `served` which request that is.
    fn watched<F: Future + Unpin>(
        &self,
        now: (ConnId, Turn),
        mut served: F,
    ) -> impl Future<Output = F::Output> {
        poll_fn(move |context| {
            self.now_served.set(now);
            Pin::new(&mut served).poll(context)
        })
    }

    /// Takes note of a message that just came, before its turn to be served: a Tflush
    /// ends the waits of its request although that may be what keeps it from its turn.
    #[inline]
    pub fn foresee(&self, conn: ConnId, msg: &[u8]) {
        if peek(msg).is_some_and(|(_, kind, _)| kind == TFLUSH)
            && let Ok((_, Request::Flush { oldtag })) = decode_request(msg)
            && let Some(conn) = self.conns.borrow().get(&conn)
        {
            self.flush(conn, oldtag, conn.turns.get());
        }
    }

    /// The client does not want the requests `tag` that came before `own`.
    fn flush(&self, conn: &Conn, tag: u16, own: Turn) {
        conn.flush(tag, own);
        self.flushes.signal();
    }

    /// Waits for a lock. A request that is flushed gives up.
    ///
    /// # Errors
    /// `EINTR`: it was flushed.
    async fn unless_flushed<F: Future + Unpin>(&self, mut wait: F) -> Result<F::Output, Errno> {
        let mut flushed = None;
        poll_fn(|context| {
            if let Poll::Ready(done) = Pin::new(&mut wait).poll(context) {
                return Poll::Ready(Ok(done));
            }
            loop {
                if self.is_flushed() {
                    return Poll::Ready(Err(Errno::EINTR));
                }
                let next = flushed.get_or_insert_with(|| self.flushes.wait());
                if Pin::new(next).poll(context).is_pending() {
                    return Poll::Pending;
                }
                flushed = None;
            }
        })
        .await
    }

    /// Waits until nothing else reads or changes the live file, for the request that is
    /// being served.
    ///
    /// # Errors
    /// `EINTR`: it was flushed.
    pub(crate) async fn lock<'f>(&self, file: &'f File) -> Result<Locked<'f>, Errno> {
        let wait = file.lock.exclusive();
        let held = self.unless_flushed(wait).await?;
        Ok(Locked::new(file, held))
    }

    /// Returns true if the request being served was flushed. Long work checks
    /// this now and then, before it has changed anything.
    pub(crate) fn is_flushed(&self) -> bool {
        let (conn, turn) = self.now_served.get();
        let conns = self.conns.borrow();
        conns.get(&conn).is_some_and(|conn| conn.is_flushed(turn))
    }

    /// The answer to a `Tread`.
    #[inline]
    pub(crate) async fn answer_read(
        &self,
        conn: &Conn,
        (tag, turn): (u16, Turn),
        (fid, off, count): (u32, u64, u32),
    ) -> Answer<B::Buf> {
        let read = pin!(self.read(conn, fid, off, count));
        match self.watched((conn.id.get(), turn), read).await {
            Ok(payload) => gathered(tag, &Reply::Read { data: &[] }, payload),
            Err(errno) => whole(tag, &Reply::Error(errno)),
        }
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
            Entry::Plain(plain) => plain.back,
            Entry::Reserved => return Err(Errno::EBADF),
        };
        let buf = self.backing.read(back, off, count).await?;
        let len = buf.as_ref().len().min(count as usize);
        Ok(Payload::Buf(buf, 0..len))
    }

    /// `Tread` on an open file. It waits for a commit that is under way, so
    /// that it sees all of it or nothing.
    async fn read_live(&self, open: &Open, off: u64, count: u32) -> Result<Payload<B::Buf>, Errno> {
        let _held = self.unless_flushed(open.file.share()).await?;
        if !open.readable || open.closed.get() {
            return Err(Errno::EBADF);
        }
        let buf = self.backing.read(open.back, off, count).await?;
        let len = buf.as_ref().len().min(count as usize);
        Ok(Payload::Buf(buf, 0..len))
    }

    /// Serves one request but a `Tread`.
    async fn serve(
        &self,
        conn: &Conn,
        (tag, turn): (u16, Turn),
        (request, memory): (&Request<'_>, Memory<'_>),
    ) -> Result<Answer<B::Buf>, Errno> {
        let (mut qids, mut changed) = (Vec::new(), Vec::new());
        let reply = match *request {
            Request::Version { msize, version } => {
                conn.versions.set(conn.versions.get() + 1);
                conn.wait_for_earlier(turn).await;
                let agreed = self.version(conn, msize, version).await;
                conn.versions.set(conn.versions.get() - 1);
                agreed
            }
            _ if conn.msize.get() == 0 => Err(Errno::EPROTO),
            Request::Attach { .. } => self.attach(conn, request).await,
            Request::Walk { fid, newfid, names } => {
                self.walk(conn, (fid, newfid), names, &mut qids).await
            }
            Request::Readdir { fid, offset, count } => {
                let data = self.read_dir(conn, fid, offset, count).await?;
                let reply = Reply::Readdir { data: &[] };
                return Ok(gathered(tag, &reply, Payload::Bytes(data)));
            }
            Request::Lopen { fid, flags } => self.open(conn, fid, flags).await,
            Request::Lcreate { .. } => self.create(conn, request).await,
            Request::Clunk { fid } => self.clunk_fid(conn, fid).await,
            Request::Write { fid, offset, data } => self.write(conn, fid, offset, data).await,
            Request::Getattr { fid, mask } => self.get_attr(conn, fid, mask).await,
            Request::Setattr { fid, attr } => self.set_attr(conn, fid, attr).await,
            Request::Flush { oldtag } => {
                self.flush(conn, oldtag, turn);
                conn.wait_for(oldtag, turn).await;
                Ok(Reply::Flush)
            }
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
                let (old, new) = ((olddirfid, oldname), (newdirfid, newname));
                self.rename_at(conn, old, new).await
            }
            Request::Link { dfid, fid, name } => self.link(conn, (dfid, fid, name)).await,
            Request::Xattrwalk { fid, newfid, name } => {
                self.xattr_walk(conn, (fid, newfid), name).await
            }
            Request::Session { .. }
            | Request::Snap { .. }
            | Request::Put { .. }
            | Request::Trim { .. } => {
                self.serve_snaps(conn, (request, memory), &mut changed)
                    .await
            }
            _ => return self.pass_on(conn, tag, request).await,
        };
        Ok(whole(tag, &reply?))
    }

    /// The snapshot messages, for clients that negotiated them.
    async fn serve_snaps<'r>(
        &self,
        conn: &Conn,
        (request, memory): (&Request<'_>, Memory<'_>),
        changed: &'r mut Vec<(u64, u64)>,
    ) -> Result<Reply<'r>, Errno> {
        match *request {
            _ if !conn.snaps.get() => Err(Errno::EOPNOTSUPP),
            Request::Session { session } => self.session(conn, session).await,
            Request::Snap { .. } => self.take_snapshot(conn, request, changed).await,
            Request::Put { .. } => self.put(conn, request, memory, changed).await,
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

    /// `Tversion`: releases all objects of the connection first. Its requests
    /// in flight have ended, so that nothing is added afterwards.
    async fn version<'v>(
        &self,
        conn: &Conn,
        msize: u32,
        version: ByteStr<'v>,
    ) -> Result<Reply<'v>, Errno> {
        self.give_back_all(conn).await;
        if let Some(session) = conn.take_session() {
            self.end_session(&session).await;
        }
        let msize = msize.min(self.backing.iounit().saturating_add(HEADROOM));
        let version = match version {
            _ if msize < MSIZE_MIN => VERSION_UNKNOWN,
            VERSION_SNAP => VERSION_SNAP,
            // As 9P prescribes, a known version with a dot and a suffix is
            // negotiated down to that version.
            VERSION_L => VERSION_L,
            other if other.starts_with(b"9P2000.L.") => VERSION_L,
            _ => VERSION_UNKNOWN,
        };
        let known = version != VERSION_UNKNOWN;
        conn.msize.set(if known { msize } else { 0 });
        conn.snaps.set(version == VERSION_SNAP);
        Ok(Reply::Version { msize, version })
    }

    async fn clunk_fid(&self, conn: &Conn, fid: u32) -> Replied {
        conn.wait_while_reserved(fid).await;
        let entry = conn.remove(fid)?;
        if let Some(plain) = entry.plain() {
            conn.wait_until_free(plain.back).await;
        }
        self.clunk(entry).await.map(|()| Reply::Clunk)
    }

    /// `Twrite`: a put of one DATA.
    async fn write(&self, conn: &Conn, fid: u32, off: u64, data: &[u8]) -> Replied {
        let count = match conn.get(fid)? {
            Entry::Open(open) => {
                let (kind, len) = (PutKind::Data, data.len() as u64);
                let op = PutOp { kind, off: 0, len };
                let put = Put {
                    off: (!open.append).then_some(off),
                    ops: if data.is_empty() { &[] } else { &[op] },
                    data: Bytes::one(Chunk::Here(data)),
                    into: None,
                };
                self.commit(conn, &open, put).await?.count as u32
            }
            Entry::Plain(_) => {
                let held = conn.hold(fid)?;
                match self.write_lower(held.back, off, data).await {
                    Err((0, errno)) => return Err(errno),
                    Err((done, _)) => done as u32,
                    Ok(()) => data.len() as u32,
                }
            }
            Entry::Snap(_) | Entry::Reserved => return Err(Errno::EBADF),
        };
        Ok(Reply::Write { count })
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

    /// Ends a connection: releases all of its objects, except those that its
    /// session keeps until its lease expires. Must be called when no request of
    /// the connection is in flight any more.
    pub async fn hangup(&self, conn: ConnId) {
        let gone = self.conns.borrow_mut().remove(&conn);
        if let Some(conn) = gone {
            self.leave(&conn).await;
        }
    }
}
