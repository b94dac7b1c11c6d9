//! Requests that stand for several: a walk and what is done at its end, and a list
//! with the attributes of what is in it.

use crate::backing::{Answer, Payload};
use crate::conn::{Conn, Entry, Plain};
use crate::hidden::check_name;
use crate::serve::{gathered, whole};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use ninep::consts::{open, qid};
use ninep::{Attr, DirEntries, DirEntry, Names, Qid, Qids, Reply, Request};

/// Entries of a directory that are looked at together.
const TOGETHER: usize = 16;
/// The longest entry of a directory: a name of 255 bytes.
const ENTRY_MAX: u32 = 24 + 255;

/// The error of an operation on a fid that was just walked to, and is not open: what it
/// stood for is gone, or out of reach.
fn vanished(errno: Errno) -> Errno {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Errno::ESTALE,
        other => other,
    }
}

impl<B: Backing> Snapfs<B> {
    /// The answer to one of these requests.
    pub(crate) async fn serve_combined(
        &self,
        conn: &Conn,
        tag: u16,
        request: &Request<'_>,
    ) -> Result<Answer<B::Buf>, Errno> {
        let mut qids = Vec::new();
        match *request {
            _ if !conn.snaps.get() => Err(Errno::EOPNOTSUPP),
            Request::Walkattr { fid, mask, names } => {
                let attr = self.walk_attr(conn, (fid, mask), names, &mut qids).await?;
                let qids = Qids::new(&qids);
                Ok(whole(tag, &Reply::Walkattr { qids, attr }))
            }
            Request::Walkopen {
                fid,
                newfid,
                flags,
                names,
            } => {
                let fids = (fid, newfid);
                self.walk_open(conn, fids, flags, (names, &mut qids))
                    .await?;
                let qids = Qids::new(&qids);
                Ok(whole(tag, &Reply::Walkopen { qids }))
            }
            Request::Readdirattr {
                fid,
                dfid,
                offset,
                count,
                mask,
            } => {
                let listed = self.read_dir_attr(conn, (fid, dfid), offset, (count, mask));
                let reply = Reply::Readdirattr { data: &[] };
                Ok(gathered(tag, &reply, Payload::Bytes(listed.await?)))
            }
            _ => Err(Errno::EPROTO),
        }
    }

    /// `Twalkattr`. The qids of the names walked are put into `qids`.
    async fn walk_attr(
        &self,
        conn: &Conn,
        (fid, mask): (u32, u64),
        names: Names<'_>,
        qids: &mut Vec<Qid>,
    ) -> Result<Attr, Errno> {
        if names.is_empty() {
            return match self.get_attr(conn, fid, mask).await? {
                Reply::Getattr(attr) => Ok(attr),
                _ => Err(Errno::EPROTO),
            };
        }
        // What is known is found by the names with a `/` after each.
        if names
            .iter()
            .any(|name| check_name(&name) == Err(Errno::ENOENT))
        {
            return Err(Errno::ENOENT);
        }
        let held = conn.hold(fid)?;
        let _names = self.names.shared().await;
        let attr = self.attr_at(&held, mask, names, qids).await?;
        Ok(attr.unwrap_or_default())
    }

    /// The attributes of the file at `names` from a lower fid; `None` if the walk stops
    /// before. The caller holds the lock on names.
    async fn attr_at(
        &self,
        from: &Plain,
        mask: u64,
        names: Names<'_>,
        qids: &mut Vec<Qid>,
    ) -> Result<Option<Attr>, Errno> {
        if let Some(known) = self.take_known(from.back, names) {
            match self.attr_lower_of(known.fid, mask).await {
                Ok(attr) if !self.is_hidden(&attr.qid) => {
                    qids.extend(&known.passed);
                    qids.push(attr.qid);
                    self.keep_known(known).await;
                    return Ok(Some(self.shown(&attr.qid, attr)));
                }
                // Whatever it is: a walk says what is there now.
                _ => self.clunk_lower(known.fid).await,
            }
        }
        let walked = self.walk_to((from.back, from.qid), names, qids).await?;
        let Some(back) = walked else { return Ok(None) };
        let got = self.attr_lower_of(back, mask).await.map_err(vanished);
        let got = got.and_then(|attr| match self.is_hidden(&attr.qid) {
            true => Err(Errno::ESTALE),
            false => Ok(attr),
        });
        let known = match got.is_ok() {
            true => self.make_known((from.back, back), names, qids),
            false => None,
        };
        match known {
            Some(known) => self.keep_known(known).await,
            None => self.clunk_lower(back).await,
        }
        let attr = got?;
        if let Some(last) = qids.last_mut() {
            *last = attr.qid;
        }
        Ok(Some(self.shown(&attr.qid, attr)))
    }

    /// `Twalkopen`. The qids of the names walked are put into `qids`.
    async fn walk_open(
        &self,
        conn: &Conn,
        (fid, newfid): (u32, u32),
        flags: u32,
        (names, qids): (Names<'_>, &mut Vec<Qid>),
    ) -> Result<(), Errno> {
        let held = conn.hold(fid)?;
        conn.put_new(newfid, Entry::Reserved)?;
        match self.open_at(&held, flags, names, qids).await {
            Ok(Some(entry)) => {
                conn.replace(newfid, entry);
                Ok(())
            }
            none => {
                let _ = conn.fill(newfid, Err(Errno::ENOENT));
                none.map(drop)
            }
        }
    }

    /// Opens the file at `names` from a lower fid; `None` if the walk stops before, or
    /// leads to a symbolic link.
    async fn open_at(
        &self,
        from: &Plain,
        flags: u32,
        names: Names<'_>,
        qids: &mut Vec<Qid>,
    ) -> Result<Option<Entry>, Errno> {
        let locked = self.names.shared().await;
        let walked = self.walk_to((from.back, from.qid), names, qids).await;
        drop(locked);
        let Some(back) = walked? else { return Ok(None) };
        let qid = qids.last().copied().unwrap_or(from.qid);
        let changes = flags & (open::ACCESS | open::TRUNC) != open::RDONLY;
        if qid.kind & qid::SYMLINK != 0 || qid.kind & qid::DIR != 0 && changes {
            self.clunk_lower(back).await;
            return match qid.kind & qid::DIR {
                0 => Ok(None),
                _ => Err(Errno::EISDIR),
            };
        }
        let (entry, opened) = self.open_plain(Plain { back, qid, ..*from }, flags).await;
        let opened = opened.and_then(|qid| match qid.kind & qid::SYMLINK {
            0 => Ok(qid),
            _ => Err(Errno::ESTALE),
        });
        match opened {
            Ok(qid) => {
                if let Some(last) = qids.last_mut() {
                    *last = qid;
                }
                Ok(Some(entry))
            }
            Err(errno) => {
                let _ = self.clunk(entry).await;
                Err(vanished(errno))
            }
        }
    }

    /// `Treaddirattr`: entries, each with its attributes or, where these cannot be had,
    /// with none.
    async fn read_dir_attr(
        &self,
        conn: &Conn,
        (fid, dfid): (u32, u32),
        offset: u64,
        (count, mask): (u32, u64),
    ) -> Result<Vec<u8>, Errno> {
        let held = conn.hold(dfid)?;
        let count = count.min(self.iounit(conn));
        // An entry of the shortest name takes seven times as many bytes with attributes.
        let ask = (count / 7).max(ENTRY_MAX);
        let data = self.read_dir(conn, fid, offset, ask).await?;
        let mut room = count as usize;
        let mut entries = Vec::new();
        for entry in DirEntries::new(&data) {
            let entry = entry.map_err(|_| Errno::EPROTO)?;
            let len = entry.wire_len() + Attr::WIRE_LEN;
            let Some(rest) = room.checked_sub(len) else {
                break;
            };
            room = rest;
            entries.push((entry, Attr::default()));
        }
        if entries.is_empty() && !data.is_empty() {
            return Err(Errno::EINVAL);
        }
        for together in entries.chunks_mut(TOGETHER) {
            self.look_at(&held, mask, together).await;
        }
        let mut out = vec![0; count as usize - room];
        let mut at = 0;
        for (entry, attr) in &entries {
            let free = out.get_mut(at..).unwrap_or_default();
            at += entry.encode_with(attr, free).map_err(|_| Errno::EPROTO)?;
        }
        Ok(out)
    }

    /// Looks at entries of a directory, all together.
    async fn look_at(&self, dir: &Plain, mask: u64, entries: &mut [(DirEntry<'_>, Attr)]) {
        let _names = self.names.shared().await;
        let look = |(entry, attr)| Some(Box::pin(self.look_at_one(dir, mask, entry, attr)));
        let entries = entries.iter_mut().map(|(entry, attr)| (&*entry, attr));
        let mut looks: Vec<Option<Pin<Box<_>>>> = entries.map(look).collect();
        poll_fn(|context| {
            let mut left = false;
            for place in &mut looks {
                if let Some(look) = place {
                    match look.as_mut().poll(context) {
                        Poll::Ready(()) => *place = None,
                        Poll::Pending => left = true,
                    }
                }
            }
            match left {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    async fn look_at_one(&self, dir: &Plain, mask: u64, entry: &DirEntry<'_>, attr: &mut Attr) {
        // The list has no name of the hidden directory; `.` and `..` are not walked to.
        if check_name(&entry.name).is_err() {
            return;
        }
        let (names, mut qids) = ([entry.name], Vec::new());
        let walked = self.walk_to((dir.back, dir.qid), Names::new(&names), &mut qids);
        let Ok(Some(back)) = walked.await else { return };
        let got = self.attr_lower_of(back, mask).await;
        if let Ok(got) = got
            && !self.is_hidden(&got.qid)
        {
            *attr = self.shown(&got.qid, got);
        }
        self.clunk_lower(back).await;
    }
}
