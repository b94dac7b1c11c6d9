//! The world's requests to servers, as messages to snapfs.

use super::*;

impl Servers for Real {
    fn files(&self) -> usize {
        self.files.len()
    }

    fn server_of(&self, file: File) -> usize {
        // A connection without snapshots is another server to the kernel.
        self.files[file].server * 8 + self.files[file].conn as usize
    }

    fn has_snapshots(&self, file: File) -> bool {
        self.files[file].conn == KERNEL
    }

    fn snap(
        &mut self,
        number: File,
        snap: u32,
        range: Range<u64>,
        known: u64,
    ) -> Result<(u64, News), Errno> {
        let file = &self.files[number];
        let request = Request::Snap {
            fid: file.fid,
            snapfid: FIRST_SNAP + snap,
            off: range.start,
            count: range.end - range.start,
            epoch: 0,
            known,
        };
        let taken = self.ask(file.server, KERNEL, &request, |reply| match reply {
            Reply::Snap {
                count,
                epoch,
                changes,
                ..
            } => Some((count, news(known, epoch, changes))),
            _ => None,
        })?;
        let (count, News { epoch, .. }) = taken;
        self.held(snap, number)
            .set(range.start..range.start + count, epoch);
        Ok(taken)
    }

    fn read_snap(&mut self, snap: u32, off: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let held = self.snaps.get(&snap).ok_or(Errno::EBADF)?;
        self.read(
            self.files[held.file].server,
            KERNEL,
            FIRST_SNAP + snap,
            off,
            into,
        )
    }

    fn read_live(&mut self, file: File, off: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let file = &self.files[file];
        self.read(file.server, file.conn, file.fid, off, into)
    }

    fn put(&mut self, staged: &Staged) -> Result<(PutReply, News), Errno> {
        let file = &self.files[staged.file];
        if file.conn == PLAIN {
            return Ok((self.write(staged)?, News::NONE));
        }
        let ops: Vec<PutOp> = staged
            .ops
            .iter()
            .map(|(kind, off, len)| PutOp {
                kind: match kind {
                    StagedKind::Data => PutKind::Data,
                    StagedKind::Zero => PutKind::Zero,
                    StagedKind::Keep { snap, soff } => PutKind::Keep {
                        snapfid: FIRST_SNAP + snap,
                        soff: *soff,
                    },
                },
                off: *off,
                len: *len,
            })
            .collect();
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        let request = Request::Put {
            fid: file.fid,
            wid: staged.wid,
            ack: 0,
            flags: flag(staged.commit, put::COMMIT) | flag(staged.append, put::APPEND),
            off: staged.off,
            into: staged.into.map_or(NOFID, |snap| FIRST_SNAP + snap),
            known: staged.known,
            ops: PutOps::new(&ops),
            data: &staged.data,
        };
        let (reply, said) = self.ask(file.server, KERNEL, &request, |reply| match reply {
            Reply::Put {
                off,
                count,
                epoch,
                assoc,
                changes,
            } => {
                let said = news(staged.known, epoch, changes);
                Some((PutReply { off, count, assoc }, said))
            }
            _ => None,
        })?;
        if let Some(snap) = staged.into.filter(|_| reply.assoc) {
            let bytes = reply.off..reply.off + reply.count;
            self.held(snap, staged.file).set(bytes, said.epoch);
        }
        Ok((reply, said))
    }

    fn abort(&mut self, file: File, wid: u64) {
        let file = &self.files[file];
        if file.conn == PLAIN {
            return;
        }
        let request = Request::Put {
            fid: file.fid,
            wid,
            ack: 0,
            flags: put::ABORT,
            off: 0,
            into: NOFID,
            known: 0,
            ops: PutOps::new(&[]),
            data: &[],
        };
        self.tell(file.server, KERNEL, &request).expect("abort");
    }

    fn trim(&mut self, snap: u32, ranges: &[Range<u64>]) {
        // A snapshot that a write was to make need not have been made.
        let Some(held) = self.snaps.get_mut(&snap) else {
            return;
        };
        ranges.iter().for_each(|range| held.forget(range));
        let server = self.files[held.file].server;
        let ranges: Vec<(u64, u64)> = ranges.iter().map(|r| (r.start, r.end - r.start)).collect();
        let request = Request::Trim {
            snapfid: FIRST_SNAP + snap,
            ranges: List::new(&ranges),
        };
        self.tell(server, KERNEL, &request).expect("trim");
    }

    fn clunk(&mut self, snap: u32) {
        let Some(held) = self.snaps.remove(&snap) else {
            return;
        };
        let server = self.files[held.file].server;
        // The server need not have made one that got nothing.
        let fid = FIRST_SNAP + snap;
        match self.tell(server, KERNEL, &Request::Clunk { fid }) {
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => panic!("clunk: {error:?}"),
        }
    }

    fn foreign_write(&mut self, file: File, off: u64, data: &[u8]) -> Result<usize, Errno> {
        let file = &self.files[file];
        let request = Request::Write {
            fid: file.other,
            offset: off,
            data,
        };
        self.ask(file.server, OTHER, &request, |reply| match reply {
            Reply::Write { count } => Some(count as usize),
            _ => None,
        })
    }

    fn truncate(&mut self, file: File, size: u64) -> Result<(), Errno> {
        let file = &self.files[file];
        let attr = SetAttr {
            valid: setattr::SIZE,
            size,
            ..SetAttr::default()
        };
        let request = Request::Setattr {
            fid: file.other,
            attr,
        };
        self.tell(file.server, OTHER, &request)
    }

    fn remove(&mut self, name: File) -> Result<(), Errno> {
        let of_name = name_of(name);
        let request = Request::Unlinkat {
            dirfid: ROOT,
            name: (&of_name).into(),
            flags: 0,
        };
        self.tell(self.files[name].server, OTHER, &request)
    }

    fn rename(&mut self, from: File, to: File) -> Result<(), Errno> {
        let (old, new) = (name_of(from), name_of(to));
        let request = Request::Renameat {
            olddirfid: ROOT,
            oldname: (&old).into(),
            newdirfid: ROOT,
            newname: (&new).into(),
        };
        self.tell(self.files[from].server, OTHER, &request)
    }

    fn named(&mut self, name: File) -> Option<File> {
        self.file_at(name)
    }

    fn open(&mut self, name: File) -> Result<File, Errno> {
        let OpenFile { server, conn, .. } = self.files[name];
        let (fid, path) = self.open_fid(server, conn, &name_of(name), open::RDWR)?;
        let number = self.number_of(server, path).expect("a known file");
        let file = &mut self.files[number];
        file.opens += 1;
        if file.opens == 1 {
            file.fid = fid;
        } else {
            self.tell(server, conn, &Request::Clunk { fid })?;
        }
        Ok(number)
    }

    fn close(&mut self, file: File) {
        let file = &mut self.files[file];
        file.opens -= 1;
        let OpenFile {
            server, conn, fid, ..
        } = *file;
        if file.opens == 0 {
            self.tell(server, conn, &Request::Clunk { fid })
                .expect("clunk");
        }
    }

    fn set_full(&mut self, full: bool) {
        for server in &self.servers {
            server.backing().set_full(full);
        }
    }

    fn set_disk_full(&mut self, full: bool) {
        for server in &self.servers {
            let limit = if full { vm::PAGE } else { u64::MAX };
            server.backing().set_limit(limit);
        }
    }

    fn fail_store(&mut self, failure: Option<Failure>) {
        let refuse = failure.map(|failure| match failure.for_good {
            true => (failure.at, Refuse::ForGood),
            false => (failure.at, Refuse::Once),
        });
        // Each server has its own: all of them, one after the other, are tried.
        for server in &self.servers {
            server.backing().refuse(refuse);
        }
    }

    fn store_failures(&self) -> u64 {
        let refused = self.servers.iter().map(|server| server.backing().refused());
        refused.sum()
    }

    fn content(&mut self, file: File) -> Vec<u8> {
        let file = &self.files[file];
        let backing = self.servers[file.server].backing();
        backing.content(file.path).expect("the file is there")
    }

    fn lose(&mut self, file: File, off: u64, data: &[u8]) {
        let &OpenFile {
            server, fid, path, ..
        } = &self.files[file];
        self.servers[server].backing().overwrite(path, off, data);
        // It looks when it takes a snapshot.
        let snapfid = LOOK;
        let request = Request::Snap {
            fid,
            snapfid,
            off: 0,
            count: 1,
            epoch: 0,
            known: 0,
        };
        self.tell(server, KERNEL, &request).expect("look");
        self.tell(server, KERNEL, &Request::Clunk { fid: LOOK })
            .expect("looked");
    }

    fn snapshots(&self) -> usize {
        self.servers
            .iter()
            .map(|s| s.counters().snapshots as usize)
            .sum()
    }

    fn check_idle(&mut self) {
        for server in &self.servers {
            let left = server.counters();
            assert_eq!(
                (left.snapshots, left.versions, left.saved),
                (0, 0, 0),
                "left behind"
            );
            let fids = server.backing().fids() as u32;
            assert_eq!(left.fids_lower, fids, "fids left beneath");
        }
    }
}
