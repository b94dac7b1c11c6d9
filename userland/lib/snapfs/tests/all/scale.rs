//! Many snapshots, and large ones: what is done grows with what was changed,
//! not with how much or how many there are.

use crate::common::*;
use ninep::PutKind;
use ninep::consts::NOFID;

const B: u64 = 4096;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Bytes read and written beneath since `start`.
fn moved(client: &Client, start: (u64, u64)) -> (u64, u64) {
    let now = client.host().traffic();
    (now.0 - start.0, now.1 - start.1)
}

#[test]
fn a_terabyte_of_holes_is_overwritten_without_being_read() {
    let client = Client::new();
    client.host().set_size("a", TIB);
    let fid = client.open("a");
    let first = client.snap(fid, 0, TIB);
    let start = client.host().traffic();
    let zeros = [op(PutKind::Zero, 0, TIB)];
    assert_eq!(client.put(fid, 0, NOFID, &zeros, &[]).unwrap().count, TIB);
    // One block was written to see whether blocks are counted.
    assert_eq!(moved(&client, start), (0, B), "zeros over zeros");
    for n in 0..1024 {
        client.write(fid, n * GIB, &[7; B as usize]).unwrap();
    }
    let second = client.snap(fid, 0, TIB);
    // Zeros over all of it again: only the pages are written, and saved.
    assert_eq!(client.put(fid, 0, NOFID, &zeros, &[]).unwrap().count, TIB);
    assert_eq!(moved(&client, start), (1024 * B, B + 3 * 1024 * B));
    let counters = client.counters();
    assert_eq!((counters.versions, counters.saved), (2048, 1024));
    client.resize(fid, 0).unwrap();
    client.resize(fid, TIB).unwrap();
    client.write(fid, 5 * GIB - 3, b"across").unwrap();
    assert_eq!(
        moved(&client, start).0,
        1024 * B,
        "the file was cut without being read"
    );
    let versions = client.counters().versions;
    println!("{versions} runs for 1024 pages in a terabyte");
    assert!(versions < 1024 * 2 * 20, "{versions} runs");
    for n in (0..1024).step_by(31) {
        let page = client.read_all(second, n * GIB, 2 * B).unwrap();
        assert_eq!(page, [[7; B as usize], [0; B as usize]].concat());
        let hole = client.read(first, n * GIB, B as u32).unwrap();
        assert_eq!(hole, [0; B as usize]);
        let far = (n * GIB + GIB / 2 + 17 * B) % TIB;
        assert_eq!(client.read(first, far, 10), Ok(vec![0; 10]));
        assert_eq!(client.read(second, far, 10), Ok(vec![0; 10]));
    }
    assert_eq!(client.read(fid, 5 * GIB - 3, 6), Ok(b"across".to_vec()));
    client.clunk(second);
    client.clunk(first);
    assert_eq!(client.counters().versions, 0);
    client.end();
}

#[test]
fn a_terabyte_of_holes_is_copied_and_restored_as_holes() {
    let client = Client::new();
    client.host().set_size("a", TIB);
    client.host().set("b", b"b");
    let (from, to) = (client.open("a"), client.open("b"));
    client.write(from, GIB, b"page").unwrap();
    let snap = client.snap(from, 0, TIB);
    let start = client.host().traffic();
    // The holes of a file with blocks are known if it was seen without.
    let copy = [op(keep(snap, 0), 0, TIB)];
    let done = client.put(to, 0, NOFID, &copy, &[]).unwrap();
    assert_eq!(done.count, TIB);
    assert_eq!(client.read(to, GIB - 1, 6), Ok(b"\0page\0".to_vec()));
    let (read, written) = moved(&client, start);
    assert!(read < 1 << 20 && written < 1 << 20, "{read} {written}");
    // Restored in place after somebody cut the file.
    client.resize(from, 0).unwrap();
    let done = client.put(from, 0, snap, &copy, &[]).unwrap();
    assert_eq!((done.count, done.assoc), (TIB, true));
    assert_eq!(client.read(from, GIB - 1, 6), Ok(b"\0page\0".to_vec()));
    assert_eq!(client.attr(from).unwrap().size, TIB);
    let (read, written) = moved(&client, start);
    assert!(read < 2 << 20 && written < 1 << 20, "{read} {written}");
    client.end();
}

#[test]
fn a_server_that_counts_no_blocks_is_not_believed() {
    let client = Client::new();
    client.host().adapt(|manners| manners.counts_blocks = false);
    let old = pattern(3, 2 << 20);
    client.host().set("a", &old);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 2 << 20);
    assert_eq!(client.attr(fid).unwrap().blocks, 0);
    client.write(fid, B, &[1; 100]).unwrap();
    let zeros = [op(PutKind::Zero, 8 * B, B)];
    client.put(fid, 0, NOFID, &zeros, &[]).unwrap();
    assert_eq!(client.read(fid, 8 * B, B as u32), Ok(vec![0; B as usize]));
    client.resize(fid, 0).unwrap();
    assert!(client.read_all(snap, 0, 2 << 20).unwrap() == old);
    client.end();
}

#[test]
fn what_a_stranger_wrote_is_not_taken_for_a_hole() {
    let client = Client::new();
    client.host().set_size("a", 4 << 20);
    let fid = client.open("a");
    let first = client.snap(fid, 0, 4 << 20);
    client.write(fid, 0, b"x").unwrap();
    client.host().set("a", &vec![5; 4 << 20]);
    let second = client.snap(fid, 0, 4 << 20);
    let zeros = [op(PutKind::Zero, 0, 2 << 20)];
    client.put(fid, 0, NOFID, &zeros, &[]).unwrap();
    assert_eq!(client.read(fid, B, 3), Ok(vec![0; 3]));
    client.resize(fid, 0).unwrap();
    assert!(client.read_all(second, 0, 4 << 20).unwrap() == vec![5; 4 << 20]);
    assert_eq!(client.read(first, 0, 3), Ok(vec![0; 3]), "rescued before");
    assert_eq!(client.read(first, B, 3), Err(abi::Errno::ESTALE));
    client.end();
}

const BLOCKS: u64 = 2048;
const SNAPS: u64 = 10_000;

/// Snapshots of one file, each with what it must read at one of its blocks.
struct Many {
    client: Client,
    random: Random,
    fid: u32,
    /// First byte of each block, the newest epoch somebody covers it at, and
    /// the epoch at which it was saved last; epochs counted in writes.
    blocks: Vec<(u8, u64, u64)>,
    snaps: Vec<(u32, u64, u8)>,
    rescues: u64,
}

impl Many {
    fn range(&mut self) -> (u64, u64) {
        let start = self.random.next(BLOCKS);
        (start, 1 + self.random.next((BLOCKS - start).min(64)))
    }

    fn take(&mut self, now: u64) {
        let (start, count) = self.range();
        let snap = self.client.snap(self.fid, start * B, count * B);
        let at = start + self.random.next(count);
        self.snaps.push((snap, at, self.blocks[at as usize].0));
        for block in &mut self.blocks[start as usize..(start + count) as usize] {
            block.1 = now;
        }
    }

    fn write(&mut self, now: u64) {
        let (start, count) = self.range();
        let (count, value) = (count.min(8), self.random.next(255) as u8 + 1);
        let data = vec![value; (count * B) as usize];
        self.client.write(self.fid, start * B, &data).unwrap();
        for block in &mut self.blocks[start as usize..(start + count) as usize] {
            self.rescues += u64::from(block.1 > block.2);
            *block = (value, block.1, now);
        }
    }

    fn check(&self, (snap, at, value): (u32, u64, u8)) {
        let read = self.client.read(snap, at * B, 5);
        assert_eq!(read, Ok(vec![value; 5]), "snapshot {snap}, block {at}");
    }
}

#[test]
fn ten_thousand_snapshots_each_at_an_epoch_and_range_of_its_own() {
    let client = Client::new();
    client.host().set("a", &vec![1; (BLOCKS * B) as usize]);
    let fid = client.open("a");
    let mut many = Many {
        client,
        random: Random(77),
        fid,
        blocks: vec![(1, 0, 0); BLOCKS as usize],
        snaps: Vec::new(),
        rescues: 0,
    };
    for now in 1..=SNAPS {
        many.take(now);
        many.write(now);
    }
    let counters = many.client.counters();
    assert_eq!(
        counters.rescued, many.rescues,
        "one per block and epoch in use"
    );
    assert_eq!(u64::from(counters.saved), many.rescues);
    let taking = counters.lookups / SNAPS;
    for n in (0..SNAPS as usize).step_by(7) {
        many.check(many.snaps[n]);
    }
    let before = many.client.counters().lookups;
    while !many.snaps.is_empty() {
        let n = many.random.next(many.snaps.len() as u64) as usize;
        let gone = many.snaps.swap_remove(n);
        if n.is_multiple_of(16) {
            many.check(gone);
        }
        many.client.clunk(gone.0);
    }
    let releasing = (many.client.counters().lookups - before) / SNAPS;
    println!(
        "{} rescues; look-ups per snapshot: {taking} to take and write, {releasing} to release",
        many.rescues
    );
    assert!(taking < 1500 && releasing < 3000, "{taking} {releasing}");
    let counters = many.client.counters();
    assert_eq!((counters.saved, counters.versions), (0, 0));
    many.client.end();
}
