//! Attributes of files: what clients see of them, and changes.

use crate::conn::{Conn, Entry, Hold, Plain};
use crate::file::{File, Locked, SIZE_MAX};
use crate::open::{REPLACED_MAX, gone};
use crate::serve::Replied;
use crate::{Backing, Snapfs};
use abi::Errno;
use core::iter::once;
use ninep::consts::{qid, setattr};
use ninep::{Attr, Qid, Reply, SetAttr};

impl<B: Backing> Snapfs<B> {
    pub(crate) async fn get_attr(&self, conn: &Conn, fid: u32, mask: u64) -> Replied {
        let Plain { back, qid, .. } = conn.plain(fid)?;
        let got = self.attr_lower_of(back, mask).await;
        let attr = match conn.get(fid) {
            Ok(Entry::Plain(_)) => got.map_err(gone)?,
            _ => got?,
        };
        Ok(Reply::Getattr(self.shown(&qid, attr)))
    }

    /// The attributes of the file with that qid as clients see them.
    pub(crate) fn shown(&self, qid: &Qid, mut attr: Attr) -> Attr {
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
        attr
    }

    pub(crate) async fn set_attr(&self, conn: &Conn, fid: u32, attr: SetAttr) -> Replied {
        let held = conn.hold(fid)?;
        let is_open = matches!(conn.get(fid), Ok(Entry::Open(_)));
        let mut tries = 0..REPLACED_MAX;
        let mut path = held.qid.path;
        while tries.next().is_some() {
            match self.set_attr_of(&held, path, attr).await {
                // A name that is being replaced all the time: what it stands for
                // now, unless the fid is that one open file.
                Err(Errno::ESTALE) if !is_open => {
                    let attr = self.attr_lower(held.back).await;
                    path = attr.map_err(gone)?.qid.path;
                }
                done if is_open => return done.map(|()| Reply::Setattr),
                done => return done.map(|()| Reply::Setattr).map_err(gone),
            }
        }
        Err(Errno::ESTALE)
    }

    /// Sets attributes of a fid's file, if that is the file `path`.
    ///
    /// # Errors
    /// `ESTALE`: it is another file.
    async fn set_attr_of(&self, held: &Hold<'_>, path: u64, attr: SetAttr) -> Result<(), Errno> {
        let sized = attr.valid & setattr::SIZE != 0;
        let is_dir = held.qid.kind & qid::DIR != 0;
        let names = self.names.shared().await;
        let file = match sized && !is_dir {
            true => Some(self.file(path)),
            false => self.known_file(path),
        };
        let Some(file) = file else {
            // It is not in use; but others may be, and at the lower server the fid may
            // stand for one of them by now.
            let others = !is_dir && !self.files.borrow().is_empty();
            if others && self.attr_lower(held.back).await?.qid.path != path {
                return Err(Errno::ESTALE);
            }
            let _changing = self.hidden.change_of_names().await;
            return self.set_attr_lower(held.back, attr).await;
        };
        drop(names);
        let changed = self.change_locked(held, &file, attr).await;
        self.done_with(file).await;
        changed
    }

    async fn change_locked(
        &self,
        held: &Hold<'_>,
        file: &File,
        attr: SetAttr,
    ) -> Result<(), Errno> {
        let locked = self.lock(file).await?;
        match self.revalidate(&locked, held.back).await? {
            Some(_) => self.change_attr(&locked, held.back, attr).await,
            // The lower server would change another file, or none.
            None => Err(Errno::ESTALE),
        }
    }

    /// Sets the size, with the rescues that takes.
    pub(crate) async fn resize(&self, file: &Locked<'_>, fid: u32, size: u64) -> Result<(), Errno> {
        let attr = SetAttr {
            valid: setattr::SIZE,
            size,
            ..SetAttr::default()
        };
        self.change_attr(file, fid, attr).await
    }

    /// `Tsetattr`, with the rescues it takes. [`Snapfs::revalidate`] comes first.
    pub(crate) async fn change_attr(
        &self,
        file: &Locked<'_>,
        fid: u32,
        attr: SetAttr,
    ) -> Result<(), Errno> {
        let sized = attr.valid & setattr::SIZE != 0;
        if sized && attr.size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.need_reader(file, fid).await?;
        if sized {
            let changed = once(attr.size..u64::MAX);
            self.resolve_doubt_before(file, changed).await?;
            self.rescue(file, attr.size..u64::MAX).await?;
        }
        self.log_begin(file).await?;
        file.state.borrow_mut().changing += 1;
        let changed = self.set_attr_lower(fid, attr).await;
        if sized {
            let mut state = file.state.borrow_mut();
            let size = state.size;
            // Including the rest of the old last block. After a failure any
            // size is possible.
            let bytes = match changed {
                Ok(()) => size.min(attr.size)..size.max(attr.size),
                Err(_) => size.min(attr.size)..u64::MAX,
            };
            state.zeros.remove(bytes.clone());
            if changed.is_ok() {
                if attr.size > size {
                    state.zeros.add(size..attr.size);
                }
                state.size = attr.size;
            }
            if !bytes.is_empty() {
                state.changed(once(bytes), self.next_epoch());
            }
        }
        self.learn_change(file, fid, changed.err()).await;
        changed
    }
}
