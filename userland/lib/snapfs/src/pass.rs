//! Requests that snapfs only passes on.

use crate::backing::{Answer, Head, Payload};
use crate::conn::{Conn, Entry};
use crate::serve::whole;
use crate::{Backing, Snapfs};
use abi::Errno;
use ninep::{Reply, Request};

impl<B: Backing> Snapfs<B> {
    /// Requests that mean the same beneath: with our fids, and the answer with
    /// the client's tag.
    pub(crate) async fn pass_on(
        &self,
        conn: &Conn,
        tag: u16,
        request: &Request<'_>,
    ) -> Result<Answer<B::Buf>, Errno> {
        let mut below = *request;
        let mut held = None;
        let _names = match &mut below {
            Request::Statfs { fid }
            | Request::Readlink { fid }
            | Request::Fsync { fid, .. }
            | Request::Lock { fid, .. }
            | Request::Getlock { fid, .. }
            | Request::Xattrcreate { fid, .. } => {
                *fid = conn.below(*fid)?.0;
                None
            }
            Request::Symlink { dfid, name, .. }
            | Request::Mknod { dfid, name, .. }
            | Request::Mkdir { dfid, name, .. } => {
                let dir = held.insert(conn.hold(*dfid)?);
                self.allowed((dir.back, dir.qid), *name).await?;
                *dfid = dir.back;
                let names = self.names.shared().await;
                Some((names, self.hidden.change_of_names().await))
            }
            Request::Link { dfid, fid, name } => {
                let linked = self.link(conn, (*dfid, *fid, *name)).await?;
                return Ok(whole(tag, &linked));
            }
            Request::Xattrwalk { .. } => return self.xattr_walk(conn, tag, request).await,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        let buf = self.backing.rpc(&below).await?;
        relabel(tag, request.kind(), buf.as_ref(), conn.msize.get())
    }

    async fn xattr_walk(
        &self,
        conn: &Conn,
        tag: u16,
        request: &Request<'_>,
    ) -> Result<Answer<B::Buf>, Errno> {
        let &Request::Xattrwalk { fid, newfid, name } = request else {
            return Err(Errno::EPROTO);
        };
        let (from, _) = conn.below(fid)?;
        let options = conn.options(fid)?;
        conn.put_new(newfid, Entry::Reserved)?;
        let back = self.new_fid();
        let below = Request::Xattrwalk {
            fid: from,
            newfid: back,
            name,
        };
        let size = self.call(&below, |reply| match reply {
            Reply::Xattrwalk { size } => Some(size),
            _ => None,
        });
        match size.await {
            Ok(size) => {
                conn.replace(
                    newfid,
                    Entry::Plain {
                        back,
                        qid: ninep::Qid::default(),
                        options,
                    },
                );
                Ok(whole(tag, &Reply::Xattrwalk { size }))
            }
            Err(errno) => {
                self.no_fid(back);
                conn.cancel(newfid);
                Err(errno)
            }
        }
    }
}

/// A reply from below under the client's tag, if it is one, and one that the
/// client has room for.
fn relabel<B>(tag: u16, kind: u8, reply: &[u8], msize: u32) -> Result<Answer<B>, Errno> {
    let (_, decoded) = ninep::decode_reply(reply).map_err(|_| Errno::EPROTO)?;
    let replied = decoded.kind();
    if replied != kind + 1 && replied != ninep::consts::RLERROR {
        return Err(Errno::EPROTO);
    }
    if reply.len() > msize as usize {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = reply.to_vec();
    bytes
        .get_mut(5..7)
        .ok_or(Errno::EPROTO)?
        .copy_from_slice(&tag.to_le_bytes());
    Ok(Answer {
        head: Head::spilled(bytes),
        payload: Payload::None,
    })
}
