//! What the clients do, and what the model makes of it.

use super::*;
use ninep::consts::open;

impl Storm {
    pub(super) fn pick(&mut self, of: usize) -> usize {
        self.random.next(of as u64) as usize
    }

    pub(super) fn name(&mut self) -> (usize, &'static str) {
        (self.pick(2), NAMES[self.pick(NAMES.len())])
    }

    /// An offset, often at a block's border.
    pub(super) fn offset(&mut self) -> u64 {
        match self.random.next(2) {
            0 => self.random.next(SPAN),
            _ => self.random.next(SPAN / B) * B,
        }
    }

    pub(super) fn range(&mut self) -> Range<u64> {
        let (a, b) = (self.offset(), self.offset());
        a.min(b)..a.max(b)
    }

    pub(super) fn party(&mut self) -> usize {
        self.pick(self.parties.len())
    }

    /// Some open file of that client.
    pub(super) fn some_open(&mut self, party: usize) -> Option<usize> {
        let count = self.parties[party].opened.len();
        (count > 0).then(|| self.pick(count))
    }

    pub(super) fn dir(&self, party: usize, dir: usize) -> Option<u32> {
        self.parties[party].client.walk(&self.dirs[dir]).ok()
    }

    /// Opens a file, or creates it, also over one that is there.
    pub(super) fn open(&mut self, party: usize) {
        let (dir, name) = self.name();
        let path = format!("{}/{name}", self.dirs[dir]);
        let creates = self.random.next(4) == 0;
        let client = &self.parties[party].client;
        let opened = match creates {
            true => self.create(party, dir, name),
            false => client.open_with(&path, open::RDWR),
        };
        if creates && !self.names.contains_key(&(dir, name)) && self.host().get(&path).is_some() {
            self.names.insert((dir, name), self.files.len());
            self.files.push(Bytes::new());
        }
        let file = self.names.get(&(dir, name)).copied();
        match (opened, file) {
            (Ok(fid), Some(file)) => {
                let snaps = Vec::new();
                self.parties[party].opened.push(Opened { fid, file, snaps });
            }
            (Ok(_), None) => panic!("seed {}: a file that nobody made", self.seed),
            (Err(Errno::ENOENT), None) => {}
            (Err(errno), _) => self.excused(errno, "open"),
        }
    }

    fn create(&self, party: usize, dir: usize, name: &str) -> Result<u32, Errno> {
        let client = &self.parties[party].client;
        let fid = client.walk(&self.dirs[dir])?;
        let request = Request::Lcreate {
            fid,
            name: name.into(),
            flags: open::RDWR | open::CREAT,
            mode: 0o600,
            gid: 0,
        };
        let created = client.tell(&request);
        if created.is_err() {
            client.clunk(fid);
        }
        created.map(|()| fid)
    }

    /// Does the weather explain this error?
    pub(super) fn excused(&self, errno: Errno, what: &str) {
        let excused = match self.weather {
            Weather::Fair => false,
            Weather::Crowded(_) => errno == Errno::ENOSPC,
            Weather::Failing(_) => true,
        };
        // A file that was replaced is not hidden where there are no hard links, and its
        // attributes are asked for and changed by a name that another has by then.
        let replaced = errno == Errno::ESTALE && self.seed.is_multiple_of(5);
        assert!(excused || replaced, "seed {}: {what}: {errno:?}", self.seed);
    }

    pub(super) fn close(&mut self, party: usize) {
        let Some(n) = self.some_open(party) else {
            return;
        };
        let Party { client, opened } = &mut self.parties[party];
        let gone = opened.swap_remove(n);
        gone.snaps
            .iter()
            .for_each(|held| client.clunk(held.snapfid));
        client.clunk(gone.fid);
    }

    pub(super) fn snap(&mut self, party: usize) {
        let (Some(n), range) = (self.some_open(party), self.range()) else {
            return;
        };
        let again = self.random.next(3) == 0;
        let Party { client, opened } = &mut self.parties[party];
        let Opened { fid, file, snaps } = &mut opened[n];
        if !again || snaps.is_empty() {
            let (snapfid, bytes) = (client.fid(), BTreeMap::new());
            snaps.push(Held { snapfid, bytes });
        }
        let held = snaps.last_mut().expect("there is one");
        let len = range.end - range.start;
        match client.snap_into(*fid, held.snapfid, range.start, len) {
            Ok(count) => {
                let bytes = &self.files[*file];
                held.bytes
                    .retain(|at, _| !(range.start..range.start + count).contains(at));
                for at in range.start..range.start + count {
                    if let Some(Some(byte)) = bytes.get(at as usize) {
                        held.bytes.insert(at, *byte);
                    }
                }
            }
            Err(errno) => {
                // It may be there or not, with some of the bytes.
                let _ = client.tell(&Request::Clunk { fid: held.snapfid });
                snaps.pop();
                self.excused(errno, "snap");
            }
        }
    }

    pub(super) fn trim(&mut self, party: usize) {
        let (Some(n), range) = (self.some_open(party), self.range()) else {
            return;
        };
        let Party { client, opened } = &mut self.parties[party];
        let Some(held) = opened[n].snaps.last_mut() else {
            return;
        };
        let ranges = [(range.start, range.end - range.start)];
        let (snapfid, ranges) = (held.snapfid, Ranges::new(&ranges));
        client
            .tell(&Request::Trim { snapfid, ranges })
            .expect("trim");
        held.bytes.retain(|at, _| !range.contains(at));
    }

    /// The model's part of a write: `done` is certain, the rest of `wanted` may
    /// have been done or not if the write failed.
    pub(super) fn wrote(&mut self, file: usize, off: u64, wanted: &[Option<u8>], done: u64) {
        let failing = matches!(self.weather, Weather::Failing(_) | Weather::Crowded(_));
        let bytes = &mut self.files[file];
        for (n, byte) in wanted.iter().enumerate() {
            let at = off as usize + n;
            if (n as u64) < done {
                if bytes.len() <= at {
                    bytes.resize(at, Some(0));
                    bytes.push(*byte);
                } else {
                    bytes[at] = *byte;
                }
            } else if failing && at < bytes.len() {
                bytes[at] = None;
            }
        }
        // What a failed write left behind the end is learnt by asking.
        if failing && done < wanted.len() as u64 {
            self.learn(file);
        }
    }

    /// Takes the file's size and its unknown bytes from the host.
    pub(super) fn learn(&mut self, file: usize) {
        let party = (0..self.parties.len()).find_map(|party| {
            let opened = &self.parties[party].opened;
            let n = opened.iter().position(|opened| opened.file == file)?;
            Some((party, n))
        });
        let Some((party, n)) = party else { return };
        self.host().heal();
        let Party { client, opened } = &self.parties[party];
        let now = client.read_all(opened[n].fid, 0, 2 * SPAN).expect("read");
        self.set_weather();
        let bytes = &mut self.files[file];
        for (at, (byte, found)) in bytes.iter().zip(&now).enumerate() {
            assert!(
                byte.is_none_or(|byte| byte == *found),
                "seed {}: byte {at}",
                self.seed
            );
        }
        *bytes = now.into_iter().map(Some).collect();
    }

    pub(super) fn write(&mut self, party: usize) {
        let (Some(n), range) = (self.some_open(party), self.range()) else {
            return;
        };
        let data = pattern(
            self.random.next(256) as u8,
            (range.end - range.start) as usize,
        );
        let Party { client, opened } = &self.parties[party];
        let (fid, file) = (opened[n].fid, opened[n].file);
        let done = client.write(fid, range.start, &data);
        let wanted: Bytes = data.into_iter().map(Some).collect();
        let count = u64::from(done.unwrap_or(0));
        self.wrote(file, range.start, &wanted, count);
        if let Err(errno) = done {
            self.excused(errno, "write");
        }
    }

    /// A write of many operations in several messages, into an own snapshot or
    /// none, with parts kept from an own snapshot of the same file or another.
    pub(super) fn put(&mut self, party: usize) {
        let Some(n) = self.some_open(party) else {
            return;
        };
        let base = self.offset() / 2;
        let (mut ops, mut data, mut wanted) = (Vec::new(), Vec::new(), Bytes::new());
        for _ in 0..1 + self.random.next(6) {
            let (at, mut len) = (wanted.len() as u64, 1 + self.random.next(2 * B));
            if self.random.next(2) == 0 {
                len = len.next_multiple_of(B);
            }
            let kind = match self.random.next(3) {
                0 => PutKind::Zero,
                1 => match self.kept(party, &mut len) {
                    Some((kind, bytes)) => {
                        wanted.extend(bytes);
                        kind
                    }
                    None => continue,
                },
                _ => PutKind::Data,
            };
            let bytes = pattern(self.random.next(256) as u8, len as usize);
            match kind {
                PutKind::Data => wanted.extend(bytes.iter().copied().map(Some)),
                PutKind::Zero => wanted.extend((0..len).map(|_| Some(0))),
                PutKind::Keep { .. } => {}
            }
            data.push(if kind == PutKind::Data {
                bytes
            } else {
                Vec::new()
            });
            ops.push(op(kind, at, len));
        }
        let into = match self.parties[party].opened[n].snaps.last() {
            Some(held) if self.random.next(2) == 0 => held.snapfid,
            _ => NOFID,
        };
        let done = self.send(party, n, (base, into), &ops, &data);
        let file = self.parties[party].opened[n].file;
        let count = done.map_or(0, |done| done.count);
        let held = self.parties[party].opened[n].snaps.last_mut();
        if let Some(held) = held.filter(|held| held.snapfid == into) {
            let written = base..base + wanted.len() as u64;
            let failed = count < wanted.len() as u64;
            // After a failure the rest may be lost to the snapshot.
            held.bytes
                .retain(|at, _| !written.contains(at) || failed && *at >= base + count);
            if done.is_ok_and(|done| done.assoc) {
                for (at, byte) in (base..base + count).zip(&wanted) {
                    byte.map(|byte| held.bytes.insert(at, byte));
                }
            }
        }
        self.wrote(file, base, &wanted, count);
        if let Err(errno) = done {
            // What was kept may have been lost by an earlier failure.
            let lost = errno == Errno::ESTALE && self.weather != Weather::Fair;
            if !lost {
                self.excused(errno, "put");
            }
        }
    }

    /// Something to keep: from a snapshot of this client, as much of `len` as it
    /// covers.
    pub(super) fn kept(&mut self, party: usize, len: &mut u64) -> Option<(PutKind, Bytes)> {
        let n = self.some_open(party)?;
        let skip = self.random.next(SPAN);
        let held = self.parties[party].opened[n].snaps.last()?;
        let (soff, _) = held.bytes.range(skip..).next()?;
        let run = (*soff..).take_while(|at| held.bytes.contains_key(at));
        *len = (run.count() as u64).min(*len);
        let bytes = held.bytes.range(*soff..*soff + *len);
        let bytes = bytes.map(|(_, byte)| Some(*byte)).collect();
        Some((keep(held.snapfid, *soff), bytes))
    }

    /// Sends a write, in one message or several.
    pub(super) fn send(
        &mut self,
        party: usize,
        n: usize,
        (off, into): (u64, u32),
        ops: &[PutOp],
        data: &[Vec<u8>],
    ) -> Result<PutDone, Errno> {
        let per = 1 + self.pick(ops.len().max(1));
        let Party { client, opened } = &self.parties[party];
        let (fid, wid) = (opened[n].fid, u64::from(client.fid()));
        let nothing = [(&ops[..0], &data[..0])];
        let pieces = ops.chunks(per).zip(data.chunks(per));
        let pieces: Vec<_> = match ops.is_empty() {
            true => nothing.to_vec(),
            false => pieces.collect(),
        };
        let mut last = Err(Errno::EIO);
        for (piece, (ops, data)) in pieces.iter().enumerate() {
            let flags = match piece + 1 == pieces.len() {
                true => put::COMMIT,
                false => 0,
            };
            last = client.put_with(&Request::Put {
                fid,
                wid,
                ack: 0,
                flags,
                off,
                into,
                known: 0,
                ops: PutOps::new(ops),
                data: &data.concat(),
            });
        }
        last
    }

    pub(super) fn resize(&mut self, party: usize) {
        let (Some(n), size) = (self.some_open(party), self.offset()) else {
            return;
        };
        let Party { client, opened } = &self.parties[party];
        let (fid, file) = (opened[n].fid, opened[n].file);
        match client.resize(fid, size) {
            Ok(()) => self.files[file].resize(size as usize, Some(0)),
            Err(errno) => {
                self.excused(errno, "resize");
                self.files[file].truncate(size as usize);
                self.learn(file);
            }
        }
    }

    pub(super) fn chmod(&mut self, party: usize) {
        let Some(n) = self.some_open(party) else {
            return;
        };
        let Party { client, opened } = &self.parties[party];
        let attr = SetAttr {
            valid: ninep::consts::setattr::MODE,
            mode: 0o600,
            ..SetAttr::default()
        };
        let fid = opened[n].fid;
        if let Err(errno) = client.tell(&Request::Setattr { fid, attr }) {
            self.excused(errno, "chmod");
        }
    }

    /// Renames, links or removes.
    pub(super) fn change_name(&mut self, party: usize) {
        let (old, new) = (self.name(), self.name());
        let (Some(olddir), Some(newdir)) = (self.dir(party, old.0), self.dir(party, new.0)) else {
            return;
        };
        let client = &self.parties[party].client;
        let (source, how) = (self.names.get(&old).copied(), self.random.next(3));
        let done = match how {
            0 => client.tell(&Request::Renameat {
                olddirfid: olddir,
                oldname: old.1.into(),
                newdirfid: newdir,
                newname: new.1.into(),
            }),
            1 => client.tell(&Request::Unlinkat {
                dirfid: olddir,
                name: old.1.into(),
                flags: 0,
            }),
            _ => match client.walk(&format!("{}/{}", self.dirs[old.0], old.1)) {
                Ok(fid) => {
                    let linked = client.tell(&Request::Link {
                        dfid: newdir,
                        fid,
                        name: new.1.into(),
                    });
                    client.clunk(fid);
                    linked
                }
                Err(errno) => Err(errno),
            },
        };
        client.clunk(olddir);
        client.clunk(newdir);
        match (done, source, how) {
            // Two names of one file both stay.
            (Ok(()), Some(file), 0) if self.names.get(&new) == Some(&file) => {}
            (Ok(()), Some(file), 0) => {
                self.names.remove(&old);
                self.names.insert(new, file);
            }
            (Ok(()), Some(_), 1) => drop(self.names.remove(&old)),
            (Ok(()), Some(file), _) => drop(self.names.insert(new, file)),
            (Ok(()), None, _) => panic!("seed {}: nothing was there", self.seed),
            (Err(Errno::ENOENT), None, _) => {}
            (Err(Errno::EEXIST), _, 2) if self.names.contains_key(&new) => {}
            (Err(Errno::EPERM), _, 2) if self.seed.is_multiple_of(5) => {}
            (Err(errno), ..) => self.excused(errno, "a change of names"),
        }
    }

    /// Gives a directory another name; open files in it stay what they are.
    pub(super) fn move_dir(&mut self, party: usize) {
        let dir = self.pick(2);
        let name = format!("dir{}", self.random.next(1000));
        if self.dirs.contains(&name) {
            return;
        }
        let client = &self.parties[party].client;
        match client.rename(&self.dirs[dir], &name) {
            Ok(()) => self.dirs[dir] = name,
            Err(errno) => self.excused(errno, "a rename of a directory"),
        }
    }

    pub(super) fn step(&mut self) {
        let party = self.party();
        match self.random.next(24) {
            0..3 => self.open(party),
            3 => self.close(party),
            4..8 => self.snap(party),
            8 => self.trim(party),
            9..12 => self.write(party),
            12..16 => self.put(party),
            16 => self.resize(party),
            17 => self.chmod(party),
            18 => self.change_name(party),
            19 => self.move_dir(party),
            _ => self.together(),
        }
    }
}
