//! Typed calls to the server beneath, and the fids snapfs uses there.

use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use ninep::consts::{getattr, open};
use ninep::{Attr, ByteStr, Names, Qid, Reply, Request, SetAttr, StatFs, decode_reply};

/// A fid at the server beneath.
pub type Below = u32;

/// Free fids wait in line before they are used again, so that a late reply
/// to the old use never meets the new one.
const REST: usize = 64;

/// Fid numbers beneath.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct FidPool {
    next: Below,
    resting: VecDeque<Below>,
    used: u32,
}

impl FidPool {
    /// A number nobody uses.
    pub fn take(&mut self) -> Below {
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
    pub fn give_back(&mut self, fid: Below) {
        self.used -= 1;
        self.resting.push_back(fid);
    }

    /// How many are in use.
    pub fn used(&self) -> u32 {
        self.used
    }
}

impl<B: Backing> Snapfs<B> {
    /// One exchange; `pick` takes what is wanted from the reply, or `None` if
    /// it is not the right one.
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

    pub(crate) fn new_fid(&self) -> Below {
        self.fids.borrow_mut().take()
    }

    pub(crate) fn no_fid(&self, fid: Below) {
        self.fids.borrow_mut().give_back(fid);
    }

    /// Gives `fid` back beneath. It is gone in any case; an error is about what
    /// was done with it.
    pub(crate) async fn close_below(&self, fid: Below) -> Result<(), Errno> {
        let request = Request::Clunk { fid };
        let clunked = self.call(&request, |reply| {
            matches!(reply, Reply::Clunk).then_some(())
        });
        let clunked = clunked.await;
        self.no_fid(fid);
        clunked
    }

    /// The same for a fid of which nobody wants to hear.
    pub(crate) async fn clunk_below(&self, fid: Below) {
        let _ = self.close_below(fid).await;
    }

    /// A new fid for what is at `names` from `fid`; qid of the last name, or
    /// `None` for no names.
    pub(crate) async fn walk_below(
        &self,
        fid: Below,
        names: &[ByteStr<'_>],
    ) -> Result<(Below, Option<Qid>), Errno> {
        let newfid = self.new_fid();
        let request = Request::Walk {
            fid,
            newfid,
            names: Names::new(names),
        };
        let walked = self.call(&request, |reply| match reply {
            Reply::Walk { qids } => Some((qids.len(), qids.iter().last())),
            _ => None,
        });
        match walked.await {
            Ok((n, qid)) if n == names.len() => Ok((newfid, qid)),
            Ok(_) => {
                self.no_fid(newfid);
                Err(Errno::ENOENT)
            }
            Err(errno) => {
                self.no_fid(newfid);
                Err(errno)
            }
        }
    }

    pub(crate) async fn attr_below(&self, fid: Below) -> Result<Attr, Errno> {
        let request = Request::Getattr {
            fid,
            mask: getattr::BASIC,
        };
        self.call(&request, |reply| match reply {
            Reply::Getattr(attr) => Some(attr),
            _ => None,
        })
        .await
    }

    pub(crate) async fn statfs_below(&self, fid: Below) -> Result<StatFs, Errno> {
        self.call(&Request::Statfs { fid }, |reply| match reply {
            Reply::Statfs(stat) => Some(stat),
            _ => None,
        })
        .await
    }

    pub(crate) async fn set_attr_below(&self, fid: Below, attr: SetAttr) -> Result<(), Errno> {
        let request = Request::Setattr { fid, attr };
        self.call(&request, |reply| {
            matches!(reply, Reply::Setattr).then_some(())
        })
        .await
    }

    pub(crate) async fn open_below(&self, fid: Below, flags: u32) -> Result<Qid, Errno> {
        let request = Request::Lopen { fid, flags };
        self.call(&request, |reply| match reply {
            Reply::Lopen { qid, .. } => Some(qid),
            _ => None,
        })
        .await
    }

    pub(crate) async fn mkdir_below(&self, dfid: Below, name: ByteStr<'_>) -> Result<(), Errno> {
        let request = Request::Mkdir {
            dfid,
            name,
            mode: 0o700,
            gid: 0,
        };
        self.call(&request, |reply| {
            matches!(reply, Reply::Mkdir { .. }).then_some(())
        })
        .await
    }

    /// Creates a file for reading and writing; `dfid` becomes it.
    pub(crate) async fn create_below(&self, dfid: Below, name: ByteStr<'_>) -> Result<(), Errno> {
        let flags = open::RDWR | open::EXCL | open::CREAT;
        let request = Request::Lcreate {
            fid: dfid,
            name,
            flags,
            mode: 0o600,
            gid: 0,
        };
        self.call(&request, |reply| {
            matches!(reply, Reply::Lcreate { .. }).then_some(())
        })
        .await
    }

    pub(crate) async fn unlink_below(
        &self,
        dirfid: Below,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Result<(), Errno> {
        let _changing = self.hidden.change_of_names().await;
        self.send_unlink(dirfid, name, flags).await
    }

    /// The same for one who sees to the directory's times.
    pub(crate) async fn send_unlink(
        &self,
        dirfid: Below,
        name: ByteStr<'_>,
        flags: u32,
    ) -> Result<(), Errno> {
        let request = Request::Unlinkat {
            dirfid,
            name,
            flags,
        };
        self.call(&request, |reply| {
            matches!(reply, Reply::Unlinkat).then_some(())
        })
        .await
    }

    /// Reads up to `len` bytes at `off` to the end of `out`; stops early only
    /// at the end of the file.
    pub(crate) async fn read_below(
        &self,
        fid: Below,
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
    pub(crate) async fn write_below(
        &self,
        fid: Below,
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
