//! Typed calls to the lower server, and the fids that snapfs uses there.

use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use ninep::consts::{NOFID, getattr, open};
use ninep::{Attr, ByteStr, Names, Qid, Reply, Request, SetAttr, StatFs, decode_reply};

/// A fid at the lower server.
pub type LowerFid = u32;

/// Free fids wait in line before they are used again, so that a late reply
/// to the old use never meets the new one.
const REST: usize = 64;

/// Takes what is wanted from a reply, if it is the right one.
macro_rules! pick {
    ($reply:pat => $wanted:expr) => {
        |reply| match reply {
            $reply => Some($wanted),
            _ => None,
        }
    };
}
pub(crate) use pick;

/// Fid numbers of the lower server.
#[cfg_attr(feature = "duplicate", derive(Clone))]
#[derive(Default)]
pub struct FidPool {
    next: LowerFid,
    resting: VecDeque<LowerFid>,
    used: u32,
}

impl FidPool {
    /// A number that is not in use.
    pub fn take(&mut self) -> LowerFid {
        self.used += 1;
        if self.resting.len() > REST
            && let Some(fid) = self.resting.pop_front()
        {
            return fid;
        }
        self.next += 1;
        self.next - 1
    }

    /// `fid` was clunked, or never came to be.
    pub fn give_back(&mut self, fid: LowerFid) {
        self.used -= 1;
        self.resting.push_back(fid);
    }

    /// How many are in use.
    pub fn used(&self) -> u32 {
        self.used
    }
}

impl<B: Backing> Snapfs<B> {
    /// One exchange; `pick` extracts the result from the reply, or returns
    /// `None` for a wrong one.
    pub(crate) async fn call<T>(
        &self,
        request: &Request<'_>,
        pick: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, Errno> {
        let buf = self.backing.rpc(request).await?;
        match decode_reply(buf.as_ref()) {
            Ok((_, Reply::Error(errno))) => Err(errno),
            Ok((_, reply)) => pick(reply).ok_or(Errno::EPROTO),
            Err(_) => Err(Errno::EPROTO),
        }
    }

    /// One exchange of which only matters that it succeeds.
    pub(crate) async fn tell(&self, request: &Request<'_>) -> Result<(), Errno> {
        let wanted = request.kind() + 1;
        self.call(request, |reply| (reply.kind() == wanted).then_some(()))
            .await
    }

    pub(crate) fn new_fid(&self) -> LowerFid {
        self.fids.borrow_mut().take()
    }

    pub(crate) fn no_fid(&self, fid: LowerFid) {
        self.fids.borrow_mut().give_back(fid);
    }

    /// Clunks `fid`. It is gone in any case; an error is about earlier
    /// operations on it.
    pub(crate) async fn close_lower(&self, fid: LowerFid) -> Result<(), Errno> {
        self.forget_known_below(fid).await;
        let clunked = self.tell(&Request::Clunk { fid }).await;
        self.no_fid(fid);
        clunked
    }

    /// The same where errors do not matter.
    pub(crate) async fn clunk_lower(&self, fid: LowerFid) {
        let _ = self.close_lower(fid).await;
    }

    /// Returns `fid` if the operation on it succeeded; otherwise clunks it.
    pub(crate) async fn keep_if<T>(
        &self,
        done: Result<T, Errno>,
        fid: LowerFid,
    ) -> Result<LowerFid, Errno> {
        if done.is_err() {
            self.clunk_lower(fid).await;
        }
        done.map(|_| fid)
    }

    /// A new fid for the attached directory.
    pub(crate) async fn attach_lower(
        &self,
        uname: ByteStr<'_>,
        aname: ByteStr<'_>,
        n_uname: u32,
    ) -> Result<(LowerFid, Qid), Errno> {
        let fid = self.new_fid();
        let request = Request::Attach {
            fid,
            afid: NOFID,
            uname,
            aname,
            n_uname,
        };
        let attached = self.call(&request, pick!(Reply::Attach { qid } => (fid, qid)));
        attached.await.inspect_err(|_| self.no_fid(fid))
    }

    /// A new fid for the file at `names` from `fid`, and the qid of the last
    /// name; `None` for no names.
    pub(crate) async fn walk_lower(
        &self,
        fid: LowerFid,
        names: &[ByteStr<'_>],
    ) -> Result<(LowerFid, Option<Qid>), Errno> {
        let newfid = self.new_fid();
        let request = Request::Walk {
            fid,
            newfid,
            names: Names::new(names),
        };
        let walked = self.call(
            &request,
            pick!(Reply::Walk { qids } => (qids.len(), qids.iter().last())),
        );
        let arrived = walked
            .await
            .and_then(|(count, qid)| match count == names.len() {
                true => Ok((newfid, qid)),
                false => Err(Errno::ENOENT),
            });
        arrived.inspect_err(|_| self.no_fid(newfid))
    }

    pub(crate) async fn attr_lower(&self, fid: LowerFid) -> Result<Attr, Errno> {
        self.attr_lower_of(fid, getattr::BASIC).await
    }

    /// Those attributes that `mask` asks for.
    pub(crate) async fn attr_lower_of(&self, fid: LowerFid, mask: u64) -> Result<Attr, Errno> {
        self.call(
            &Request::Getattr { fid, mask },
            pick!(Reply::Getattr(attr) => attr),
        )
        .await
    }

    pub(crate) async fn statfs_lower(&self, fid: LowerFid) -> Result<StatFs, Errno> {
        self.call(&Request::Statfs { fid }, pick!(Reply::Statfs(stat) => stat))
            .await
    }

    pub(crate) async fn set_attr_lower(&self, fid: LowerFid, attr: SetAttr) -> Result<(), Errno> {
        self.tell(&Request::Setattr { fid, attr }).await
    }

    pub(crate) async fn open_lower(&self, fid: LowerFid, flags: u32) -> Result<Qid, Errno> {
        let request = Request::Lopen { fid, flags };
        self.call(&request, pick!(Reply::Lopen { qid, .. } => qid))
            .await
    }

    /// A new open fid for the file `name` in `dir`.
    pub(crate) async fn open_lower_at(
        &self,
        dir: LowerFid,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Result<LowerFid, Errno> {
        let (fid, _) = self.walk_lower(dir, &[name]).await?;
        let opened = self.open_lower(fid, flags).await;
        self.keep_if(opened, fid).await
    }

    /// A new fid for a file made in `dir`, open for reading and writing.
    pub(crate) async fn create_lower(
        &self,
        dir: LowerFid,
        name: ByteStr<'_>,
    ) -> Result<LowerFid, Errno> {
        let (fid, _) = self.walk_lower(dir, &[]).await?;
        let request = Request::Lcreate {
            fid,
            name,
            flags: open::RDWR | open::EXCL | open::CREAT,
            mode: 0o600,
            gid: 0,
        };
        let created = self.tell(&request).await;
        self.keep_if(created, fid).await
    }

    pub(crate) async fn unlink_lower(
        &self,
        dirfid: LowerFid,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Result<(), Errno> {
        let request = Request::Unlinkat {
            dirfid,
            name,
            flags,
        };
        let _changing = self.hidden.change_of_names().await;
        self.tell(&request).await
    }

    /// Entries of an open directory after `offset`, none at its end.
    pub(crate) async fn list_lower(
        &self,
        fid: LowerFid,
        offset: u64,
        count: u32,
    ) -> Result<Vec<u8>, Errno> {
        let request = Request::Readdir { fid, offset, count };
        self.call(&request, pick!(Reply::Readdir { data } => data.to_vec()))
            .await
    }

    /// Reads up to `len` bytes at `off` to the end of `out`; stops early only
    /// at the end of the file.
    pub(crate) async fn read_lower(
        &self,
        fid: LowerFid,
        mut off: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let end = out.len() + len;
        while out.len() < end {
            let count = (end - out.len()).min(self.backing.iounit() as usize);
            let buf = self.backing.read(fid, off, count as u32).await?;
            let data = buf.as_ref().get(..count).unwrap_or(buf.as_ref());
            if data.is_empty() {
                break;
            }
            out.extend_from_slice(data);
            off += data.len() as u64;
        }
        Ok(())
    }

    /// Writes all of `data` at `off`; on an error says how much got there.
    pub(crate) async fn write_lower(
        &self,
        fid: LowerFid,
        off: u64,
        data: &[u8],
    ) -> Result<(), (usize, Errno)> {
        let mut done = 0;
        while let Some(rest) = data.get(done..)
            && !rest.is_empty()
        {
            let piece = &rest[..rest.len().min(self.backing.iounit() as usize)];
            match self.backing.write(fid, off + done as u64, piece).await {
                Ok(0) => return Err((done, Errno::EIO)),
                Ok(n) => done += (n as usize).min(piece.len()),
                Err(errno) => return Err((done, errno)),
            }
        }
        Ok(())
    }
}
