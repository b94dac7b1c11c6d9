//! Random programs against a model: a file is its bytes, a snapshot is the
//! bytes it had. `DORMOUSE_SEED` runs one seed alone.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Options;
use lower::Host;
use ninep::consts::NOFID;
use ninep::{PutKind, PutOp};

/// Offsets and lengths stay below this: some blocks, with ragged ends.
const SPAN: u64 = 10 * 4096;

/// One snapshot: what each byte was, if it is covered.
struct Snapshot {
    fid: u32,
    bytes: Vec<Option<u8>>,
}

struct World {
    client: Client,
    random: Random,
    fid: u32,
    file: Vec<u8>,
    snaps: Vec<Snapshot>,
}

impl World {
    fn new(seed: u64) -> World {
        // Half of them learn times later.
        let options = Options {
            lazy: seed.is_multiple_of(2),
            ..Options::default()
        };
        let client = Client::with(Host::default(), options);
        let file = pattern(seed as u8, 5 * 4096 + 123);
        client.host().set("a", &file);
        let fid = client.open("a");
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        World {
            client,
            random,
            fid,
            file,
            snaps: Vec::new(),
        }
    }

    /// An offset, often at a block's border.
    fn offset(&mut self) -> u64 {
        match self.random.next(3) {
            0 => self.random.next(SPAN),
            1 => self.random.next(SPAN / 4096) * 4096,
            _ => (self.random.next(SPAN / 4096) * 4096).saturating_sub(self.random.next(3)),
        }
    }

    fn range(&mut self) -> (u64, u64) {
        let (a, b) = (self.offset(), self.offset());
        (a.min(b), a.max(b) - a.min(b))
    }

    fn data(&mut self, len: u64) -> Vec<u8> {
        let seed = self.random.next(256) as u8;
        if self.random.next(5) == 0 {
            vec![0; len as usize]
        } else {
            pattern(seed, len as usize)
        }
    }

    fn set(file: &mut Vec<u8>, off: u64, data: &[u8]) {
        let end = off as usize + data.len();
        if !data.is_empty() && file.len() < end {
            file.resize(end, 0);
        }
        if !data.is_empty() {
            file[off as usize..end].copy_from_slice(data);
        }
    }

    fn write(&mut self) {
        let (off, len) = self.range();
        let data = self.data(len);
        assert_eq!(self.client.write(self.fid, off, &data), Ok(len as u32));
        Self::set(&mut self.file, off, &data);
    }

    fn resize(&mut self) {
        let size = self.offset();
        self.client.resize(self.fid, size).unwrap();
        self.file.resize(size as usize, 0);
    }

    fn some_snap(&mut self) -> Option<usize> {
        let len = self.snaps.len() as u64;
        (len > 0).then(|| self.random.next(len) as usize)
    }

    fn snap(&mut self) {
        let (off, len) = self.range();
        let old = if self.random.next(3) == 0 {
            self.some_snap()
        } else {
            None
        };
        let n = old.unwrap_or_else(|| {
            self.snaps.push(Snapshot {
                fid: self.client.fid(),
                bytes: vec![None; SPAN as usize],
            });
            self.snaps.len() - 1
        });
        let snap = &mut self.snaps[n];
        let count = self.client.snap_into(self.fid, snap.fid, off, len).unwrap();
        assert_eq!(count, (self.file.len() as u64).saturating_sub(off).min(len));
        for at in off as usize..(off + count) as usize {
            snap.bytes[at] = Some(self.file[at]);
        }
    }

    fn trim(&mut self) {
        let Some(n) = self.some_snap() else { return };
        let range = self.range();
        let snap = &mut self.snaps[n];
        self.client.trim(snap.fid, &[range]);
        snap.bytes[range.0 as usize..(range.0 + range.1) as usize].fill(None);
    }

    fn release(&mut self) {
        let Some(n) = self.some_snap() else { return };
        let snap = self.snaps.swap_remove(n);
        self.client.clunk(snap.fid);
    }

    /// A put of several operations; what each leaves is known before.
    fn put(&mut self) {
        let base = self.random.next(3) * self.random.next(9000);
        let (mut at, mut ops, mut data, mut result) = (0, vec![], vec![], Some(vec![]));
        for _ in 0..1 + self.random.next(4) {
            let len = 1 + self.random.next(3 * 4096);
            if base + at + len > SPAN {
                break;
            }
            let (kind, bytes) = self.operation(base + at, len, &mut data);
            ops.push(op(kind, at, len));
            at += len;
            match (&mut result, bytes) {
                (Some(result), Some(bytes)) => result.extend(bytes),
                // A source that is not covered: short from here on, and how
                // short exactly is for the reply to say.
                (result, _) => *result = None,
            }
            if result.is_none() {
                break;
            }
        }
        let complete = result.is_some();
        if complete && !ops.is_empty() {
            self.put_complete(base, &ops, &data, &result.unwrap_or_default());
        }
    }

    fn operation(&mut self, off: u64, len: u64, data: &mut Vec<u8>) -> (PutKind, Option<Vec<u8>>) {
        let snap = self.some_snap();
        match (self.random.next(4), snap) {
            (0, _) | (_, None) => {
                let bytes = self.data(len);
                data.extend_from_slice(&bytes);
                (PutKind::Data, Some(bytes))
            }
            (1, _) => (PutKind::Zero, Some(vec![0; len as usize])),
            (kind, Some(n)) => {
                let soff = if kind == 2 {
                    off
                } else {
                    self.random.next(SPAN - len + 1)
                };
                let source = &self.snaps[n];
                let bytes = &source.bytes[soff as usize..(soff + len) as usize];
                (keep(source.fid, soff), bytes.iter().copied().collect())
            }
        }
    }

    fn put_complete(&mut self, base: u64, ops: &[PutOp], data: &[u8], result: &[u8]) {
        let into = if self.random.next(2) == 0 {
            self.some_snap()
        } else {
            None
        };
        let intofid = into.map_or(NOFID, |n| self.snaps[n].fid);
        let done = self.client.put(self.fid, base, intofid, ops, data).unwrap();
        assert_eq!(
            (done.count, done.assoc),
            (result.len() as u64, into.is_some())
        );
        Self::set(&mut self.file, base, result);
        if let Some(n) = into {
            let bytes = &mut self.snaps[n].bytes[base as usize..][..result.len()];
            bytes
                .iter_mut()
                .zip(result)
                .for_each(|(byte, new)| *byte = Some(*new));
        }
    }

    fn step(&mut self) {
        match self.random.next(12) {
            0..3 => self.write(),
            3 => self.resize(),
            4..6 => self.snap(),
            6..9 => self.put(),
            9 => self.trim(),
            _ => self.release(),
        }
    }

    fn check(&mut self) {
        self.client.learn_times(&mut self.random);
        assert_eq!(self.client.host().get("a").as_deref(), Some(&self.file[..]));
        for snap in &self.snaps {
            let mut at = 0;
            while at < SPAN as usize {
                let covered = snap.bytes[at..]
                    .iter()
                    .take_while(|byte| byte.is_some())
                    .count();
                if covered == 0 {
                    let read = self.client.read(snap.fid, at as u64, 1);
                    assert_eq!(read, Err(Errno::ESTALE), "at {at}");
                    at += snap.bytes[at..]
                        .iter()
                        .take_while(|byte| byte.is_none())
                        .count();
                    continue;
                }
                let expected: Vec<u8> = snap.bytes[at..at + covered]
                    .iter()
                    .flatten()
                    .copied()
                    .collect();
                let read = self
                    .client
                    .read_all(snap.fid, at as u64, covered as u64)
                    .unwrap();
                assert!(read == expected, "snapshot {} differs after {at}", snap.fid);
                at += covered;
            }
        }
    }
}

#[test]
fn random_programs_agree_with_the_model() {
    for seed in seeds(40) {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.step();
            world.check();
        }
        world.client.end();
    }
}
