//! Requests that snapfs only passes on.

use crate::backing::{Answer, Head, Payload};
use crate::conn::{Conn, Entry, Plain};
use crate::lower::pick;
use crate::serve::Replied;
use crate::{Backing, Snapfs};
use abi::Errno;
use ninep::{ByteStr, Qid, Reply, Request};

impl<B: Backing> Snapfs<B> {
    /// Requests that mean the same to the lower server: with our fids, and the answer with
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
                *fid = conn.plain(*fid)?.back;
                None
            }
            Request::Symlink { dfid, name, .. }
            | Request::Mknod { dfid, name, .. }
            | Request::Mkdir { dfid, name, .. } => {
                let dir = held.insert(conn.hold(*dfid)?);
                self.allowed(dir, *name).await?;
                *dfid = dir.back;
                let names = self.names.shared().await;
                Some((names, self.hidden.change_of_names().await))
            }
            _ => return Err(Errno::EOPNOTSUPP),
        };
        let buf = self.backing.rpc(&below).await?;
        relabel(tag, request.kind(), buf.as_ref(), conn.msize.get())
    }

    /// `Txattrwalk`: the new fid is a plain one.
    pub(crate) async fn xattr_walk(
        &self,
        conn: &Conn,
        (fid, newfid): (u32, u32),
        name: ByteStr<'_>,
    ) -> Replied {
        let from = conn.plain(fid)?;
        conn.put_new(newfid, Entry::Reserved)?;
        let back = self.new_fid();
        let request = Request::Xattrwalk {
            fid: from.back,
            newfid: back,
            name,
        };
        let size = self.call(&request, pick!(Reply::Xattrwalk { size } => size));
        let size = size.await.inspect_err(|_| self.no_fid(back));
        let qid = Qid::default();
        conn.fill(newfid, size.map(|_| Plain { back, qid, ..from }))?;
        let size = size?;
        Ok(Reply::Xattrwalk { size })
    }
}

/// A reply of the lower server under the client's tag, if it is one, and one that the
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
