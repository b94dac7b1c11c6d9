//! The hidden directory in the root of the served tree: where the temporary
//! store is made, and where files go that were removed while somebody still
//! needs them. It exists only while something is in it, and the root's time of
//! last change does not show that it comes and goes.

use crate::below::Below;
use crate::sync::Lock;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use ninep::consts::{open, setattr, unlink};
use ninep::{DirEntries, Reply, Request, SetAttr};

/// Its name, which clients can neither see nor use in the root.
pub const HIDDEN: &str = ".snapfs";

/// The directory's state.
#[cfg_attr(feature = "memory", derive(Clone))]
#[derive(Default)]
pub struct Hidden {
    fid: Cell<Option<Below>>,
    /// Its qid.path, while it exists.
    pub(crate) path: Cell<Option<u64>>,
    users: Cell<u32>,
    names: Cell<u64>,
    changing: Lock,
}

impl<B: Backing> Snapfs<B> {
    /// The directory, made if need be. Each success needs one
    /// [`Snapfs::leave_hidden_dir`] when what was put there is gone.
    pub(crate) async fn hidden_dir(&self) -> Result<Below, Errno> {
        let hidden = &self.hidden;
        let _held = hidden.changing.exclusive().await;
        if let Some(fid) = hidden.fid.get() {
            hidden.users.set(hidden.users.get() + 1);
            return Ok(fid);
        }
        let root = self.root.get().ok_or(Errno::EPROTO)?;
        match self.unseen(root, self.mkdir_below(root, HIDDEN)).await {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let (fid, qid) = self.walk_below(root, &[HIDDEN]).await?;
        hidden.fid.set(Some(fid));
        hidden.path.set(qid.map(|qid| qid.path));
        hidden.users.set(1);
        Ok(fid)
    }

    /// One use of the directory has ended; the last one removes it.
    pub(crate) async fn leave_hidden_dir(&self) {
        let hidden = &self.hidden;
        hidden.users.set(hidden.users.get() - 1);
        if hidden.users.get() > 0 {
            return;
        }
        let _held = hidden.changing.exclusive().await;
        if hidden.users.get() == 0
            && let (Some(root), Some(fid)) = (self.root.get(), hidden.fid.take())
        {
            let remove = self.unlink_below(root, HIDDEN, unlink::REMOVEDIR);
            let _ = self.unseen(root, remove).await;
            hidden.path.set(None);
            self.clunk_below(fid).await;
        }
    }

    /// Does `change`, which is no client's affair, in the root and puts back its
    /// time of last change.
    async fn unseen<T>(&self, root: Below, change: impl Future<Output = T>) -> T {
        let before = self.attr_below(root).await;
        let result = change.await;
        if let Ok(attr) = before {
            let attr = SetAttr {
                valid: setattr::MTIME | setattr::MTIME_SET,
                mtime_sec: attr.mtime_sec,
                mtime_nsec: attr.mtime_nsec,
                ..SetAttr::default()
            };
            // Who serves a directory of somebody else's may not.
            let _ = self.set_attr_below(root, attr).await;
        }
        result
    }

    /// A name in the directory that was never used.
    pub(crate) fn hidden_name(&self) -> u64 {
        self.hidden.names.set(self.hidden.names.get() + 1);
        self.hidden.names.get()
    }

    /// Removes what a dead instance left. The caller's lock on the directory
    /// proves that it is dead.
    pub(crate) async fn clean_hidden_dir(&self, root: Below) -> Result<(), Errno> {
        let fid = match self.walk_below(root, &[HIDDEN]).await {
            Ok((fid, _)) => fid,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let cleaned = self.empty_dir(fid, |_| false).await;
        self.clunk_below(fid).await;
        cleaned?;
        self.unlink_below(root, HIDDEN, unlink::REMOVEDIR).await
    }

    /// Removes what is in the directory, but for the names `kept`.
    pub(crate) async fn empty_dir(
        &self,
        dir: Below,
        kept: impl Fn(&str) -> bool,
    ) -> Result<(), Errno> {
        let (list, _) = self.walk_below(dir, &[]).await?;
        let names = self.names_in(list).await;
        self.clunk_below(list).await;
        for name in names?.into_iter().filter(|name| !kept(name)) {
            self.unlink_below(dir, &name, 0).await?;
        }
        Ok(())
    }

    async fn names_in(&self, list: Below) -> Result<Vec<String>, Errno> {
        self.open_below(list, open::RDONLY).await?;
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let request = Request::Readdir {
                fid: list,
                offset,
                count: self.backing.iounit(),
            };
            let buf = self.backing.rpc(&request).await?;
            let data = match ninep::decode_reply(buf.as_ref()) {
                Ok((_, Reply::Readdir { data })) if !data.is_empty() => data,
                Ok((_, Reply::Readdir { .. })) => return Ok(names),
                Ok((_, Reply::Error(errno))) => return Err(errno),
                _ => return Err(Errno::EPROTO),
            };
            for entry in DirEntries::new(data) {
                let entry = entry.map_err(|_| Errno::EPROTO)?;
                offset = entry.offset;
                if let Ok(name) = str::from_utf8(entry.name)
                    && name != "."
                    && name != ".."
                {
                    names.push(name.into());
                }
            }
        }
    }
}

/// The text of a [`Snapfs::hidden_name`].
pub fn name_text(number: u64) -> String {
    format!("f{number}")
}
