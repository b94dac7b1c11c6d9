//! What clients make the server hold is bounded: whoever asks for more is told,
//! and everybody else carries on.

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::{Executor, Options};
use lower::{Host, Manners};
use ninep::consts::NOFID;
use ninep::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

const B: u64 = 4096;
const MIB: u64 = 1 << 20;

/// Counts what each thread, which is one test, has allocated.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let now = NOW.get() + bytes;
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: all of it is the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A client of a server that has so much memory.
fn limited(memory: usize) -> Client {
    let options = Options {
        memory,
        ..Options::default()
    };
    let client = Client::on(start(Host::default(), options), 0);
    client.hello();
    client.attach();
    client
}

#[test]
fn copies_at_the_same_time_are_not_held_in_memory() {
    const COPIES: u64 = 6;
    const LEN: u64 = 8 * MIB;
    let client = Client::new();
    client.host().set("from", &pattern(1, LEN as usize));
    let from = client.open("from");
    let snap = client.snap(from, 0, LEN);
    let mut executor = Executor::default();
    client.host().set_manual(true);
    PEAK.set(NOW.get());
    for n in 0..COPIES {
        client.host().set_manual(false);
        let name = format!("to{n}");
        client.host().set(&name, b"");
        let fid = client.open(&name);
        client.host().set_manual(true);
        let ops = [op(keep(snap, 0), 0, LEN)];
        let put = Request::Put {
            fid,
            wid: n + 1,
            ack: 0,
            flags: ninep::consts::put::COMMIT,
            off: 0,
            into: NOFID,
            known: 0,
            ops: PutOps::new(&ops),
            data: &[],
        };
        let (fs, bytes) = (client.fs.clone(), message(n as u16, &put));
        let task = async move { serve(&fs, 0, &bytes).await };
        assert!(matches!(executor.spawn(task), Ok(None)));
    }
    let mut done = 0;
    while client.host().waiting() > 0 {
        client.host().release(0);
        executor.run(|_| done += 1);
    }
    client.host().set_manual(false);
    assert_eq!(done, COPIES);
    // What is left are the copies themselves, in the server beneath.
    let held = PEAK.get() - NOW.get();
    assert!(held < 2 * MIB as isize, "{held} bytes held meanwhile");
    let right = client.host().get("from");
    assert_eq!(client.host().get("to3"), right);
    drop(executor);
    client.end();
}

#[test]
fn a_copy_over_its_own_source_is_what_was_there_before() {
    for (to, len) in [(5 * B, 20 * MIB), (3, 9 * MIB), (MIB + 7, 3 * MIB)] {
        let client = Client::new();
        let old = pattern(1, 24 * MIB as usize);
        client.host().set("a", &old);
        let fid = client.open("a");
        let snap = client.snap(fid, 0, 24 * MIB);
        for into in [NOFID, snap] {
            let ops = [op(keep(snap, 0), 0, len)];
            let done = client.put(fid, to, into, &ops, &[]).unwrap();
            assert!(
                done.count == len.min(8 * MIB),
                "all, or as much as there may be"
            );
            let mut right = old.clone();
            let copied = &old[..done.count as usize];
            right[to as usize..(to + done.count) as usize].copy_from_slice(copied);
            assert!(client.host().get("a") == Some(right), "to {to}");
        }
        client.end();
    }
}

/// Overwrites every other block of a file under a snapshot: up to which one it
/// was refused, and how.
fn comb(client: &Client, name: &str, blocks: u64) -> (u32, u32, Option<(u64, Errno)>) {
    client.host().set_size(name, 2 * blocks * B);
    let fid = client.open(name);
    client.write(fid, 0, &[3; 4096]).unwrap();
    let snap = client.snap(fid, 0, 2 * blocks * B);
    let failed = (0..blocks).find_map(|n| {
        let wrote = client.write(fid, 2 * n * B, &[1; 4096]);
        wrote.err().map(|errno| (n, errno))
    });
    (fid, snap, failed)
}

#[test]
fn a_snapshot_that_takes_too_much_memory_refuses_its_writers_and_nobody_else() {
    let client = limited(MIB as usize);
    let (fid, snap, failed) = comb(&client, "a", 20_000);
    let (n, errno) = failed.expect("that is more than there is");
    assert_eq!(errno, Errno::ENOMEM);
    assert!(
        client.counters().memory <= MIB as usize,
        "{:?}",
        client.counters()
    );
    assert_eq!(client.read(snap, 0, 4096).unwrap(), [3; 4096]);
    assert_eq!(client.read(snap, 2 * (n - 1) * B, 4096).unwrap(), [0; 4096]);
    // Whoever writes what nobody sleeps on needs none.
    client.host().set("b", b"");
    let other = client.open("b");
    assert_eq!(client.write(other, 0, b"fine"), Ok(4));
    // As much as the one has is left for others, to sleep and to write.
    let (_, _, failed) = comb(&client, "c", 20_000);
    let (also, _) = failed.expect("that is more than there is");
    assert!(also >= n / 3, "{also} blocks after {n}");
    let asleep = client.snap(other, 0, B);
    assert_eq!(client.write(other, 0, b"more"), Ok(4));
    assert_eq!(client.read(asleep, 0, 4).unwrap(), b"fine");
    // It is there again when the snapshot is given back.
    let memory = client.counters().memory;
    client.clunk(snap);
    // Where the file has its holes is known as long as it is open.
    assert!(client.counters().memory < memory - MIB as usize / 8);
    assert_eq!(client.write(fid, 2 * n * B, &[1; 4096]), Ok(4096));
    client.end();
}

#[test]
fn however_many_snapshots_take_all_they_may_others_can_be_taken() {
    let client = limited(MIB as usize);
    for n in 0..12 {
        let (_, _, failed) = comb(&client, &format!("a{n}"), 20_000);
        assert_eq!(failed.map(|(_, errno)| errno), Some(Errno::ENOMEM));
    }
    client.host().set("b", b"some");
    let other = client.open("b");
    for _ in 0..100 {
        let snap = client.snap(other, 0, B);
        assert_eq!(client.read(snap, 0, 4).unwrap(), b"some");
    }
    client.end();
}

#[test]
fn a_snapshot_of_as_many_parts_as_there_is_memory_for_refuses_nobody_else() {
    let client = limited(MIB as usize);
    client.host().set_size("a", 1 << 40);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, B);
    let refused = (1..20_000).find_map(|n| client.snap_into(fid, snap, 2 * n * B, B).err());
    assert_eq!(refused, Some(Errno::ENOMEM));
    client.host().set("b", b"some");
    let other = client.open("b");
    let asleep = client.snap(other, 0, B);
    assert_eq!(client.write(other, 0, b"more"), Ok(4));
    assert_eq!(client.read(asleep, 0, 4).unwrap(), b"some");
    client.end();
}

#[test]
fn a_snapshot_trimmed_to_a_comb_takes_no_more_memory_than_there_is() {
    let client = limited(MIB as usize);
    client.host().set_size("a", 40_000 * B);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 40_000 * B);
    for first in (0..20_000).step_by(100) {
        let ranges: Vec<_> = (first..first + 100).map(|n| (2 * n * B, B)).collect();
        client.trim(snap, &ranges);
    }
    let memory = client.counters().memory;
    assert!(memory <= MIB as usize, "{memory} bytes");
    // The whole takes none, and is given back all the same.
    client.trim(snap, &[(0, 40_000 * B)]);
    assert_eq!(client.read(snap, 0, 1), Err(Errno::ESTALE));
    assert!(client.counters().memory < MIB as usize / 4);
    client.end();
}

#[test]
fn what_is_only_good_to_know_of_files_does_not_keep_others_from_snapshots() {
    let client = limited(MIB as usize);
    for n in 0..200 {
        // Full of holes, and changed here and there.
        let name = format!("f{n}");
        client.host().set(&name, b"");
        let fid = client.open(&name);
        for block in 0..100 {
            client.write(fid, block * 3 * B, b"x").unwrap();
        }
    }
    let memory = client.counters().memory;
    assert!(memory <= MIB as usize / 8 * 3 + 20_000, "{memory} bytes");
    client.host().set("other", b"some");
    let other = client.open("other");
    let snap = client.snap(other, 0, B);
    client.write(other, 0, b"none").unwrap();
    assert_eq!(client.read(snap, 0, 4).unwrap(), b"some");
    client.end();
}

#[test]
fn with_break_the_write_is_done_and_what_is_not_saved_is_lost() {
    let options = Options {
        memory: MIB as usize,
        ..Options::default()
    };
    let client = Client::on(start(Host::default(), options), 0);
    client.hello();
    client.attach_as(ROOT, "?break").unwrap();
    let (fid, snap, failed) = comb(&client, "a", 20_000);
    assert_eq!(failed, None);
    assert!(client.counters().memory <= MIB as usize);
    assert_eq!(client.read(snap, 0, 4096).unwrap(), [3; 4096], "was saved");
    let last = 2 * 19_999 * B;
    assert_eq!(client.read(snap, last, 4096), Err(Errno::ESTALE));
    assert_eq!(client.read(fid, last, 4096).unwrap(), [1; 4096]);
    client.end();
}

#[test]
fn a_long_file_rescued_from_end_to_end_takes_next_to_no_memory() {
    let client = limited(MIB as usize);
    let blocks = 1 << 15;
    client.host().set("a", &vec![7; (blocks * B) as usize]);
    let fid = client.open("a");
    let snap = client.snap(fid, 0, blocks * B);
    for n in 0..blocks / 32 {
        let wrote = client.write(fid, n * 32 * B, &[1; 32 * 4096]);
        assert_eq!(wrote, Ok(32 * 4096));
    }
    assert_eq!(client.counters().saved as u64, blocks);
    let counters = client.counters();
    assert!(counters.versions as u64 <= blocks / 32, "{counters:?}");
    assert!(counters.memory < 200 << 10, "{counters:?}");
    assert_eq!(client.read(snap, 12_345 * B, 8192).unwrap(), [7; 8192]);
    client.end();
}

/// The blocks of two files of that many, in an order.
type Order = fn(u64) -> Vec<(usize, u64)>;

fn shuffled(blocks: u64) -> Vec<(usize, u64)> {
    let (mut order, mut random) = (in_turn(blocks), Random(4711));
    for n in (1..order.len()).rev() {
        order.swap(n, random.next(n as u64 + 1) as usize);
    }
    order
}

fn in_turn(blocks: u64) -> Vec<(usize, u64)> {
    (0..2 * blocks).map(|n| ((n % 2) as usize, n / 2)).collect()
}

#[test]
fn a_file_overwritten_page_by_page_takes_memory_by_runs_not_by_pages() {
    let backwards: Order = |blocks| in_turn(blocks).into_iter().rev().collect();
    for (order, most) in [(in_turn as Order, 600), (backwards, 600), (shuffled, 600)] {
        let client = limited(3 * MIB as usize);
        // Entries for each of these would be more than there is.
        let blocks = 1 << 13;
        let old = pattern(5, (blocks * B) as usize);
        let files = ["a", "b"].map(|name| {
            client.host().set(name, &old);
            let fid = client.open(name);
            (fid, client.snap(fid, 0, blocks * B))
        });
        for (file, block) in order(blocks) {
            let wrote = client.write(files[file].0, block * B, &[1; 4096]);
            assert_eq!(wrote, Ok(4096), "block {block} of {file}");
        }
        let counters = client.counters();
        assert_eq!(u64::from(counters.saved), 2 * blocks);
        assert!(counters.versions <= most, "{counters:?}");
        for (_, snap) in files {
            assert!(client.read_all(snap, 0, blocks * B).unwrap() == old);
            client.clunk(snap);
        }
        client.end();
    }
}

#[test]
fn a_hole_that_must_be_read_is_few_entries() {
    let client = limited(MIB as usize);
    client.host().set("a", &[7; 4096]);
    let fid = client.open("a");
    // Somebody else made it long: nobody knows that these are zeros.
    client.host().set_size("a", 1 << 30);
    let number = client.host().find("a").unwrap();
    client.host().overwrite(number, 12_345, b"some");
    let snap = client.snap(fid, 0, 1 << 30);
    assert_eq!(client.resize(fid, 0), Ok(()));
    assert!(client.counters().versions < 100, "{:?}", client.counters());
    assert_eq!(client.read(snap, 12_344, 6).unwrap(), b"\0some\0");
    assert_eq!(client.read(snap, 1 << 29, 6).unwrap(), [0; 6]);
    client.end();
}

#[test]
fn a_long_cut_that_nobody_wants_any_more_ends_soon_and_changes_nothing() {
    let client = Client::new();
    client.host().set("a", &[7; 4096]);
    client.host().set("b", b"");
    let (fid, other) = (client.open("a"), client.open("b"));
    client.host().set_size("a", 1 << 30);
    let number = client.host().find("a").unwrap();
    client.host().overwrite(number, 12_345, b"some");
    let snap = client.snap(fid, 0, 1 << 30);
    client.host().set_manual(true);
    let mut executor = Executor::default();
    let task = |tag: u16, request: &Request<'_>| {
        let (fs, bytes) = (client.fs.clone(), message(tag, request));
        async move { serve(&fs, 0, &bytes).await }
    };
    let attr = SetAttr {
        valid: ninep::consts::setattr::SIZE,
        size: 0,
        ..SetAttr::default()
    };
    let cut = Request::Setattr { fid, attr };
    assert!(matches!(executor.spawn(task(1, &cut)), Ok(None)));
    let mut answers = Vec::new();
    for _ in 0..1000 {
        client.host().release(0);
        executor.run(|answer| answers.push(answer));
    }
    assert!(answers.is_empty(), "it takes longer");
    // Others are served meanwhile.
    let write = Request::Write {
        fid: other,
        offset: 0,
        data: b"mine",
    };
    assert!(matches!(executor.spawn(task(2, &write)), Ok(None)));
    while answers.is_empty() {
        client.host().release(client.host().waiting() - 1);
        executor.run(|answer| answers.push(answer));
    }
    assert!(matches!(
        decode_reply(&answers[0]),
        Ok((2, Reply::Write { count: 4 }))
    ));
    assert!(matches!(
        executor.spawn(task(3, &Request::Flush { oldtag: 1 })),
        Ok(None)
    ));
    let mut exchanges = 0;
    while client.host().waiting() > 0 {
        client.host().release(0);
        exchanges += 1;
        executor.run(|answer| answers.push(answer));
    }
    assert!(exchanges < 10, "{exchanges} more");
    let ended = answers[1..]
        .iter()
        .map(|answer| decode_reply(answer).unwrap());
    let ended: Vec<_> = ended.collect();
    assert!(
        matches!(
            ended[..],
            [(1, Reply::Error(Errno::EINTR)), (3, Reply::Flush)]
        ),
        "{ended:?}"
    );
    client.host().set_manual(false);
    assert_eq!(client.attr(fid).unwrap().size, 1 << 30);
    // The next one goes to its end.
    assert_eq!(client.resize(fid, 0), Ok(()));
    assert_eq!(client.read(snap, 1 << 29, 4).unwrap(), [0; 4]);
    drop(executor);
    client.end();
}

#[test]
fn fids_of_a_connection_are_bounded() {
    let client = limited(MIB as usize);
    let refused = (0..100_000).find_map(|_| client.walk("").err());
    assert_eq!(refused, Some(Errno::EMFILE));
    client.end();
}

#[test]
fn as_many_snapshots_as_there_may_be_leave_fids_for_files() {
    let client = limited(MIB as usize);
    client.host().set("a", b"some");
    let fid = client.open("a");
    let snap = client.snap(fid, 0, B);
    let mut snaps = 1;
    let refused = loop {
        match client.snap_into(fid, 10_000 + snaps, 0, B) {
            Ok(_) => snaps += 1,
            Err(errno) => break errno,
        }
    };
    assert_eq!(refused, Errno::EMFILE);
    let files = (0..100_000).find(|_| client.walk("a").is_err());
    assert!(
        files > Some(3 * snaps / 2),
        "{snaps} snapshots, {files:?} files"
    );
    // One that is given back is there again, and counts once.
    client.clunk(10_001);
    client.clunk(10_002);
    assert!(client.snap_into(fid, 10_001, 0, B).is_ok());
    assert!(client.snap_into(fid, snap, 0, B).is_ok(), "no new one");
    client.end();
}

// ------------------------------------------------------------ where it is saved

/// A share whose root nobody may write to, and a directory in it.
fn home_of_others(aname: &str) -> Client {
    let host = Host::new(Manners::default());
    host.make_dir("alice");
    for name in ["f", "g", "new"] {
        host.set(&format!("alice/{name}"), &pattern(1, 3 * B as usize));
    }
    host.adapt(|manners| manners.root_is_read_only = true);
    let client = Client::on(start(host, Options::default()), 0);
    client.hello();
    client.attach_as(ROOT, aname).expect("attach");
    client
}

#[test]
fn a_root_that_may_not_be_written_refuses_nobody() {
    for (aname, place) in [
        ("", ""),
        ("?store=memory", ""),
        ("?store=/alice", "alice/.snapfs"),
    ] {
        let client = home_of_others(aname);
        let (f, g) = (client.open("alice/f"), client.open("alice/g"));
        let old = pattern(1, 3 * B as usize);
        let snap = client.snap(f, 0, 3 * B);
        assert_eq!(client.write(f, B / 2, &[9; 2 * 4096]), Ok(2 * 4096));
        assert_eq!(client.counters().saved, 3);
        assert!(
            client.read_all(snap, 0, 3 * B) == Ok(old.clone()),
            "{aname}"
        );
        assert_eq!(client.read(snap, B + 5, 10).unwrap(), old[4101..4111]);
        let dir = client.walk("alice").unwrap();
        let rename = Request::Renameat {
            olddirfid: dir,
            oldname: "new".into(),
            newdirfid: dir,
            newname: "f".into(),
        };
        assert_eq!(client.tell(&rename), Ok(()), "{aname}");
        let unlink = Request::Unlinkat {
            dirfid: dir,
            name: "g".into(),
            flags: 0,
        };
        assert_eq!(client.tell(&unlink), Ok(()), "{aname}");
        if !place.is_empty() {
            assert!(!client.host().names(place).is_empty());
        }
        assert!(client.read_all(snap, 0, 3 * B) == Ok(old), "{aname}");
        if !place.is_empty() {
            let hidden = client.walk("alice/.snapfs");
            assert_eq!(hidden, Err(Errno::ENOENT));
        }
        client.clunk(g);
        client.end();
    }
}

#[test]
fn what_is_saved_in_memory_is_bounded_and_given_back() {
    let options = Options {
        memory: MIB as usize,
        ..Options::default()
    };
    let client = Client::on(start(Host::default(), options), 0);
    client.hello();
    client.attach_as(ROOT, "?store=memory").unwrap();
    client.host().set("a", &pattern(1, 4 * MIB as usize));
    let fid = client.open("a");
    let snap = client.snap(fid, 0, 4 * MIB);
    let failed = (0..1024).find_map(|n| client.write(fid, n * B, &[1; 4096]).err());
    assert_eq!(failed, Some(Errno::ENOSPC));
    assert!(client.counters().memory <= MIB as usize);
    assert!(client.read_all(snap, 0, 4 * MIB) == Ok(pattern(1, 4 * MIB as usize)));
    client.clunk(snap);
    // What changed when is known as long as the file is open.
    assert!(client.counters().memory < 16 << 10);
    client.clunk(fid);
    assert_eq!(client.counters().memory, 0);
    client.end();
}

#[test]
fn the_first_mount_to_say_where_old_bytes_are_saved_decides() {
    let client = Client::new();
    client.host().make_dir("x");
    client.host().make_dir("y");
    client.host().set("f", b"file");
    assert_eq!(client.attach_as(9, "?store=z"), Err(Errno::ENOENT));
    assert_eq!(client.attach_as(9, "?store=f"), Err(Errno::ENOTDIR));
    assert_eq!(client.attach_as(9, "?store=x/../y"), Err(Errno::EINVAL));
    assert_eq!(client.attach_as(9, "?store=x"), Ok(()));
    assert_eq!(client.attach_as(10, "?store=/x,break"), Ok(()), "the same");
    assert_eq!(client.attach_as(11, "?store=y"), Err(Errno::EBUSY));
    assert_eq!(client.attach_as(11, "?store=memory"), Err(Errno::EBUSY));
    client.end();
}
