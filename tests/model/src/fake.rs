//! File servers that keep every snapshot as a copy: nothing to get wrong.

use std::collections::HashMap;
use std::ops::Range;

use abi::Errno;
use vm::{Changes, PutReply};

use crate::server::{File, News, Servers, Staged, StagedKind};

/// One file.
#[derive(Clone, Debug)]
pub struct FakeFile {
    /// Its server.
    pub server: usize,
    /// The server has snapshots.
    pub snapshots: bool,
    /// `into` is declined, as for a descriptor that may not read.
    pub declines: bool,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl FakeFile {
    /// A file of the first server, which has snapshots.
    pub fn of(content: Vec<u8>) -> FakeFile {
        FakeFile {
            server: 0,
            snapshots: true,
            declines: false,
            content,
        }
    }
}

/// The servers.
#[derive(Default)]
pub struct Fake {
    files: Vec<FakeFile>,
    /// The file of each name.
    names: Vec<Option<File>>,
    /// File and bytes by offset, those it has, for each snapshot.
    snaps: HashMap<u32, (File, Vec<Option<u8>>)>,
    staged: HashMap<u64, Vec<(u64, Vec<u8>)>>,
    /// The largest number of bytes of a commit.
    short: Option<u64>,
    /// All changes: the file, where, at which epoch. The first epoch is 1.
    changes: Vec<(File, Range<u64>)>,
}

impl Fake {
    /// Servers with these files.
    pub fn new(files: Vec<FakeFile>) -> Fake {
        Fake {
            names: (0..files.len()).map(Some).collect(),
            files,
            ..Fake::default()
        }
    }

    /// Notes a change, which takes the next epoch.
    fn changed(&mut self, file: File, range: Range<u64>) {
        self.changes.push((file, range));
    }

    /// The file's epoch, and its changes since the epoch `known`.
    fn news(&self, file: File, known: u64) -> News {
        let of_file = |(_, (of, _)): &(usize, &(File, Range<u64>))| *of == file;
        let changes = self.changes.iter().enumerate().filter(of_file);
        // The change at place `i` made epoch `i + 2`.
        let epoch = changes.clone().map(|(i, _)| i as u64 + 2).max();
        let mut since = Changes::NONE;
        for (at, (_, range)) in changes {
            if at as u64 + 2 > known {
                since.add(range.clone()).expect("memory");
            }
        }
        News {
            known,
            epoch: epoch.unwrap_or(1),
            changes: (known != 0).then_some(since),
        }
    }

    /// The bytes an operation puts in its range.
    fn bytes_of(
        &self,
        server: usize,
        kind: StagedKind,
        len: u64,
        data: &mut &[u8],
    ) -> Result<Vec<u8>, Errno> {
        Ok(match kind {
            StagedKind::Zero => vec![0; len as usize],
            StagedKind::Data => {
                let (bytes, rest) = data.split_at(len as usize);
                *data = rest;
                bytes.to_vec()
            }
            StagedKind::Keep { snap, soff } => {
                let (of, bytes) = self.snaps.get(&snap).ok_or(Errno::EBADF)?;
                assert_eq!(self.files[*of].server, server, "another server's snapshot");
                (soff..soff + len)
                    .map(|at| byte_at(bytes, at).ok_or(Errno::ESTALE))
                    .collect::<Result<_, _>>()?
            }
        })
    }

    fn commit(&mut self, last: &Staged) -> PutReply {
        let size = self.files[last.file].content.len() as u64;
        let file = &mut self.files[last.file];
        let base = if last.append {
            file.content.len() as u64
        } else {
            last.off
        };
        let assoc = !file.declines && last.into.is_some();
        let mut room = self.short.unwrap_or(u64::MAX);
        let mut count = 0;
        for (off, bytes) in self.staged.remove(&last.wid).unwrap_or_default() {
            assert_eq!(off, count, "operations adjoin");
            let len = room.min(bytes.len() as u64);
            write_bytes(&mut file.content, base + off, &bytes[..len as usize]);
            if let Some(into) = last.into.filter(|_| assoc && len > 0) {
                let (of, content) = self.snaps.entry(into).or_insert((last.file, Vec::new()));
                assert_eq!(*of, last.file, "a snapshot is of one file");
                cover(content, base + off, &bytes[..len as usize]);
            }
            (count, room) = (count + len, room - len);
            if room == 0 {
                break;
            }
        }
        if count > 0 {
            self.changed(last.file, base.min(size)..base + count);
        }
        PutReply {
            off: base,
            count,
            assoc,
        }
    }
}

fn write_bytes(content: &mut Vec<u8>, off: u64, bytes: &[u8]) {
    let (off, end) = (off as usize, off as usize + bytes.len());
    if bytes.is_empty() {
        return;
    }
    if content.len() < end {
        content.resize(end, 0);
    }
    content[off..end].copy_from_slice(bytes);
}

fn byte_at(bytes: &[Option<u8>], at: u64) -> Option<u8> {
    bytes.get(at as usize).copied().flatten()
}

fn cover(bytes: &mut Vec<Option<u8>>, off: u64, new: &[u8]) {
    let (off, end) = (off as usize, off as usize + new.len());
    bytes.resize(bytes.len().max(end), None);
    let new = new.iter().map(|byte| Some(*byte));
    bytes.splice(off..end, new);
}

fn read_bytes(content: &[u8], off: u64, into: &mut [u8]) -> usize {
    let rest = content.get(off as usize..).unwrap_or_default();
    let n = rest.len().min(into.len());
    into[..n].copy_from_slice(&rest[..n]);
    n
}

impl Servers for Fake {
    fn files(&self) -> usize {
        self.files.len()
    }

    fn server_of(&self, file: File) -> usize {
        self.files[file].server
    }

    fn has_snapshots(&self, file: File) -> bool {
        self.files[file].snapshots
    }

    fn snap(
        &mut self,
        file: File,
        snap: u32,
        range: Range<u64>,
        known: u64,
    ) -> Result<(u64, News), Errno> {
        assert!(self.files[file].snapshots);
        let (off, count) = (range.start, range.end - range.start);
        let content = &self.files[file].content;
        let rest = content.get(off as usize..).unwrap_or_default();
        let taken = &rest[..rest.len().min(count as usize)];
        if !taken.is_empty() {
            let (of, bytes) = self.snaps.entry(snap).or_insert((file, Vec::new()));
            assert_eq!(*of, file, "a snapshot is of one file");
            cover(bytes, off, taken);
        }
        let taken = taken.len() as u64;
        Ok((taken, self.news(file, known)))
    }

    fn read_snap(&mut self, snap: u32, off: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let (_, bytes) = self.snaps.get(&snap).ok_or(Errno::EBADF)?;
        if byte_at(bytes, off).is_none() {
            return Err(Errno::ESTALE);
        }
        let there = bytes[off as usize..].iter().map_while(|byte| *byte);
        let mut count = 0;
        for (byte, place) in there.zip(into) {
            *place = byte;
            count += 1;
        }
        Ok(count)
    }

    fn read_live(&mut self, file: File, off: u64, into: &mut [u8]) -> Result<usize, Errno> {
        Ok(read_bytes(&self.files[file].content, off, into))
    }

    fn put(&mut self, put: &Staged) -> Result<(PutReply, News), Errno> {
        let mut data = put.data.as_slice();
        let mut staged = Vec::new();
        for (kind, off, len) in &put.ops {
            staged.push((
                *off,
                self.bytes_of(self.files[put.file].server, *kind, *len, &mut data)?,
            ));
        }
        assert!(data.is_empty(), "data that no operation wants");
        self.staged.entry(put.wid).or_default().extend(staged);
        if put.commit {
            let reply = self.commit(put);
            return Ok((reply, self.news(put.file, put.known)));
        }
        let reply = PutReply {
            off: put.off,
            count: 0,
            assoc: false,
        };
        Ok((reply, News::NONE))
    }

    fn abort(&mut self, _file: File, wid: u64) {
        self.staged.remove(&wid);
    }

    fn trim(&mut self, snap: u32, ranges: &[Range<u64>]) {
        if let Some((_, bytes)) = self.snaps.get_mut(&snap) {
            for range in ranges {
                let len = bytes.len() as u64;
                bytes[range.start.min(len) as usize..range.end.min(len) as usize].fill(None);
            }
        }
    }

    fn clunk(&mut self, snap: u32) {
        self.snaps.remove(&snap);
    }

    fn foreign_write(&mut self, file: File, off: u64, data: &[u8]) -> Result<usize, Errno> {
        let size = self.files[file].content.len() as u64;
        write_bytes(&mut self.files[file].content, off, data);
        self.changed(file, off.min(size)..off + data.len() as u64);
        Ok(data.len())
    }

    fn truncate(&mut self, file: File, size: u64) -> Result<(), Errno> {
        let old = self.files[file].content.len() as u64;
        self.files[file].content.resize(size as usize, 0);
        self.changed(file, old.min(size)..old.max(size));
        Ok(())
    }

    fn remove(&mut self, name: File) -> Result<(), Errno> {
        self.names[name].take().map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn rename(&mut self, from: File, to: File) -> Result<(), Errno> {
        let file = self.names[from].take().ok_or(Errno::ENOENT)?;
        self.names[to] = Some(file);
        Ok(())
    }

    fn named(&mut self, name: File) -> Option<File> {
        self.names[name]
    }

    fn open(&mut self, name: File) -> Result<File, Errno> {
        self.names[name].ok_or(Errno::ENOENT)
    }

    fn close(&mut self, _file: File) {}

    fn content(&mut self, file: File) -> Vec<u8> {
        self.files[file].content.clone()
    }

    fn lose(&mut self, file: File, off: u64, data: &[u8]) {
        write_bytes(&mut self.files[file].content, off, data);
        let lost = off..off + data.len() as u64;
        let snaps = self.snaps.iter();
        let theirs: Vec<u32> = snaps
            .filter(|(_, (of, _))| *of == file)
            .map(|(snap, _)| *snap)
            .collect();
        for snap in theirs {
            self.trim(snap, core::slice::from_ref(&lost));
        }
    }

    fn snapshots(&self) -> usize {
        self.snaps.len()
    }

    fn limit_commits(&mut self, bytes: Option<u64>) {
        self.short = bytes;
    }

    fn check_idle(&mut self) {
        assert!(self.snaps.is_empty(), "snapshots left");
        assert!(self.staged.is_empty(), "staged messages left");
    }
}
