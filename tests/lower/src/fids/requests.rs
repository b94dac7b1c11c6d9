//! Requests and their answers.

use super::Fids;
use abi::Errno;
use alloc::vec;
use alloc::vec::Vec;
use ninep::{ByteStr, Qids, Reply, Request, StatFs, encode_reply};
use ramtree::{PAGE, Tree};

impl Fids {
    /// Does a request other than `Tread` and `Twrite`: the reply message.
    pub fn answer(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let (qids, data);
        let reply = match *request {
            Request::Walk { fid, newfid, names } => {
                qids = self.walk(fid, newfid, names)?;
                Reply::Walk {
                    qids: Qids::new(&qids),
                }
            }
            Request::Readdir { fid, offset, count } => {
                data = self.readdir(fid, offset, count)?;
                Reply::Readdir { data: &data }
            }
            Request::Readlink { fid } => {
                let node = self.named(fid)?;
                data = self.nodes.tree.read_link(node)?.to_vec();
                Reply::Readlink {
                    target: ByteStr(&data),
                }
            }
            _ => {
                let reply = match self.make_name(request)? {
                    None => self.move_name(request)?,
                    made => made,
                };
                match reply {
                    None => self.do_one(request)?,
                    Some(reply) => reply,
                }
            }
        };
        let payload = match reply {
            Reply::Readdir { data } => data.len(),
            _ => 0,
        };
        let mut out = vec![0; 8192 + payload];
        let len = encode_reply(0, &reply, &mut out).map_err(|_| Errno::EIO)?;
        out.truncate(len);
        Ok(out)
    }

    /// A request about one fid.
    fn do_one(&mut self, request: &Request<'_>) -> Result<Reply<'static>, Errno> {
        let iounit = 0;
        Ok(match *request {
            Request::Attach {
                fid,
                aname,
                n_uname,
                ..
            } => Reply::Attach {
                qid: self.attach(fid, aname, n_uname)?,
            },
            Request::Lopen { fid, flags } => Reply::Lopen {
                qid: self.open(fid, flags)?,
                iounit,
            },
            Request::Lcreate {
                fid,
                name,
                flags,
                mode,
                ..
            } => Reply::Lcreate {
                qid: self.create(fid, name, flags, mode)?,
                iounit,
            },
            Request::Getattr { fid, .. } => Reply::Getattr(self.attr(fid)?),
            Request::Setattr { fid, attr } => {
                self.set_attr(fid, &attr)?;
                Reply::Setattr
            }
            Request::Clunk { fid } => {
                self.clunk(fid)?;
                Reply::Clunk
            }
            Request::Fsync { fid, .. } => {
                self.fid(fid)?;
                Reply::Fsync
            }
            Request::Statfs { fid } => Reply::Statfs(StatFs {
                kind: 0xef53,
                bsize: PAGE as u32,
                fsid: self.nodes.device(self.at(fid)?.node),
                ..StatFs::default()
            }),
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }

    /// A request that makes something at a name; `None`: it is none.
    fn make_name(&mut self, request: &Request<'_>) -> Result<Option<Reply<'static>>, Errno> {
        Ok(Some(match *request {
            Request::Mkdir {
                dfid, name, mode, ..
            } => {
                let made = self.add_node(dfid, name, |tree, dir, name| tree.mkdir(dir, name, mode));
                Reply::Mkdir {
                    qid: self.qid(made?),
                }
            }
            Request::Symlink {
                dfid, name, target, ..
            } => {
                let make = |tree: &mut Tree, dir, name: &[u8]| tree.symlink(dir, name, &target);
                let made = self.add_node(dfid, name, make)?;
                Reply::Symlink {
                    qid: self.qid(made),
                }
            }
            Request::Mknod {
                dfid, name, mode, ..
            } => {
                let make = |tree: &mut Tree, dir, name: &[u8]| tree.create(dir, name, mode & 0o777);
                let made = self.add_node(dfid, name, make)?;
                self.nodes.set_special(made, mode);
                Reply::Mknod {
                    qid: self.qid(made),
                }
            }
            _ => return Ok(None),
        }))
    }

    /// A request that moves or removes a name, or adds one; `None`: it is none.
    fn move_name(&mut self, request: &Request<'_>) -> Result<Option<Reply<'static>>, Errno> {
        Ok(Some(match *request {
            Request::Link { dfid, fid, name } => {
                self.link(dfid, fid, name)?;
                Reply::Link
            }
            Request::Unlinkat {
                dirfid,
                name,
                flags,
            } => {
                self.unlink(dirfid, name, flags)?;
                Reply::Unlinkat
            }
            Request::Renameat {
                olddirfid,
                oldname,
                newdirfid,
                newname,
            } => {
                let old = self.place(olddirfid, oldname)?;
                let new = self.place(newdirfid, newname)?;
                self.rename(self.fid(olddirfid)?.uid, &old, &new)?;
                Reply::Renameat
            }
            Request::Rename { fid, dfid, name } => {
                let (old, new) = (self.own_place(fid)?, self.place(dfid, name)?);
                self.rename(self.fid(fid)?.uid, &old, &new)?;
                Reply::Rename
            }
            Request::Remove { fid } => {
                self.remove(fid)?;
                Reply::Remove
            }
            _ => return Ok(None),
        }))
    }
}
