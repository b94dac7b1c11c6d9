//! Lost snapshots (rules 14 and 15): an external writer changed the file.
//! Resident bytes stay, lost bytes are an error, and no byte is ever wrong.

use abi::Errno;
use dormouse_model_tests as model;
use model::fake::{Fake, FakeFile};
use model::real::{Real, RealFile};
use model::server::Servers;
use model::world::{Config, World};

const PAGE: usize = model::PAGE;
const P: u64 = vm::PAGE;
const PAGES: usize = 16;
const N: u64 = PAGES as u64 * P;

const CONFIG: Config = Config {
    trim_worth: 1,
    run: 1,
    ..crate::CONFIG
};

fn content(seed: usize) -> Vec<u8> {
    (0..PAGES * PAGE)
        .map(|i| (i / PAGE * 7 + i % 13 + seed) as u8)
        .collect()
}

/// Runs a test on servers that keep copies and on the real snapfs: two files
/// on one server and one on another, the first read into the segment.
fn on_both(test: fn(&mut dyn Kernel)) {
    let files = [(0, 1), (0, 2), (1, 3)];
    let fake = files.map(|(server, seed)| FakeFile {
        server,
        snapshots: true,
        declines: false,
        content: content(seed),
    });
    let real = files.map(|(server, seed)| RealFile {
        server,
        snapshots: true,
        write_only: false,
        content: content(seed),
    });
    run(Fake::new(fake.to_vec()), test);
    run(Real::new(&real), test);
}

fn run<S: Servers + 'static>(servers: S, test: fn(&mut dyn Kernel)) {
    let mut w = World::new(servers, CONFIG);
    assert_eq!(w.read(0, N, 0, 0), Ok(N));
    test(&mut w);
    for space in 0..w.spaces.len() {
        w.exit(space);
    }
    assert_eq!(w.frames.borrow().used(), 0, "frames left");
    w.servers.check_idle();
}

/// The calls of one process, with any servers.
trait Kernel {
    fn read(&mut self, at: u64, n: u64, file: usize, off: u64) -> Result<u64, Errno>;
    fn write(&mut self, at: u64, n: u64, file: usize, off: u64) -> Result<u64, Errno>;
    fn load(&mut self, at: usize, n: usize) -> Result<Vec<u8>, Errno>;
    fn store(&mut self, at: usize, bytes: &[u8]) -> Result<(), Errno>;
    /// An external writer overwrites pages of a file.
    fn lose(&mut self, pages: std::ops::Range<usize>);
    fn evict(&mut self, page: u64) -> bool;
    fn file(&mut self, file: usize) -> Vec<u8>;
    /// Data bytes sent since the last call.
    fn sent(&mut self) -> u64;
    fn messages(&mut self) -> u64;
}

impl<S: Servers> Kernel for World<S> {
    fn read(&mut self, at: u64, n: u64, file: usize, off: u64) -> Result<u64, Errno> {
        vm::read(&mut self.process(0), at, n, file, off)
    }
    fn write(&mut self, at: u64, n: u64, file: usize, off: u64) -> Result<u64, Errno> {
        vm::write(&mut self.process(0), at, n, file, off)
    }
    fn load(&mut self, at: usize, n: usize) -> Result<Vec<u8>, Errno> {
        World::load(self, 0, at, n)
    }
    fn store(&mut self, at: usize, bytes: &[u8]) -> Result<(), Errno> {
        World::store(self, 0, at, bytes).1
    }
    fn lose(&mut self, pages: std::ops::Range<usize>) {
        let junk = vec![0xee; pages.len() * PAGE];
        self.servers.lose(0, pages.start as u64 * P, &junk);
    }
    fn evict(&mut self, page: u64) -> bool {
        let space = self.space(0);
        space.segment.evict(&mut space.memory, page)
    }
    fn file(&mut self, file: usize) -> Vec<u8> {
        self.servers.content(file)
    }
    fn sent(&mut self) -> u64 {
        std::mem::take(&mut self.bytes_out)
    }
    fn messages(&mut self) -> u64 {
        std::mem::take(&mut self.messages)
    }
}

#[test]
fn lost_bytes_are_an_error_and_never_others() {
    on_both(|w| {
        assert_eq!(w.load(3 * PAGE, 1), Ok(vec![content(1)[3 * PAGE]]));
        w.lose(2..6);
        for page in [2, 4, 5] {
            assert_eq!(w.load(page * PAGE, 1), Err(Errno::ESTALE), "page {page}");
            assert_eq!(w.store(page * PAGE, b"x"), Err(Errno::ESTALE));
        }
        let here = &content(1)[3 * PAGE..4 * PAGE];
        assert!(w.load(3 * PAGE, PAGE).as_deref() == Ok(here));
        // An operation that does not need the old bytes succeeds.
        assert_eq!(w.read(2 * P, 4 * P, 1, 0), Ok(4 * P));
        assert_eq!(
            w.load(4 * PAGE, 3).as_deref(),
            Ok(&content(2)[2 * PAGE..][..3])
        );
    });
}

#[test]
fn what_is_in_memory_of_a_lost_snapshot_is_not_evicted() {
    on_both(|w| {
        for page in 0..4 {
            w.load(page * PAGE, 1).expect("load");
        }
        assert!(w.evict(0), "nothing is known yet");
        w.lose(0..PAGES);
        assert_eq!(w.load(9 * PAGE, 1), Err(Errno::ESTALE));
        for page in 1..4 {
            assert!(!w.evict(page), "page {page}");
            let at = page as usize * PAGE;
            let want = &content(1)[at..at + PAGE];
            assert!(w.load(at, PAGE).as_deref() == Ok(want));
        }
    });
}

#[test]
fn a_write_sends_what_is_in_memory_of_a_lost_snapshot() {
    on_both(|w| {
        for page in 0..PAGES {
            w.load(page * PAGE, 1).expect("load");
        }
        w.lose(3..7);
        w.messages();
        assert_eq!(w.write(0, N, 0, 0), Ok(N));
        // One write that names the lost bytes, and one that sends them: still
        // one moment.
        assert_eq!(w.messages(), 2);
        assert!(w.file(0) == content(1), "the file is not as the buffer");
        // Tied again: the next one sends nothing.
        w.sent();
        assert_eq!(w.write(0, N, 0, 0), Ok(N));
        assert_eq!(w.sent(), 0);
        assert_eq!(w.write(0, N, 1, 0), Ok(N));
        assert!(w.file(1) == content(1));
        assert_eq!(w.sent(), 0);
    });
}

#[test]
fn a_write_that_names_lost_bytes_elsewhere_sends_them() {
    on_both(|w| {
        for page in 0..PAGES {
            w.load(page * PAGE, 1).expect("load");
        }
        w.store(5 * PAGE + 7, b"own").expect("store");
        w.lose(0..PAGES);
        let mut want = content(1);
        want[5 * PAGE + 7..5 * PAGE + 10].copy_from_slice(b"own");
        let rest = want.split_off(100);
        assert_eq!(w.write(100, N - 100, 1, 0), Ok(N - 100));
        assert!(w.file(1)[..rest.len()] == rest);
    });
}

#[test]
fn a_write_ends_where_the_bytes_are_nowhere_any_more() {
    on_both(|w| {
        for page in (0..PAGES).filter(|page| *page != 9) {
            w.load(page * PAGE, 1).expect("load");
        }
        w.lose(0..PAGES);
        assert_eq!(w.write(0, N, 1, 0), Ok(9 * P));
        let want = [&content(1)[..9 * PAGE], &content(2)[9 * PAGE..]].concat();
        assert!(w.file(1) == want, "more or less than was acknowledged");
        // At the lost byte itself: an error, and nothing done.
        let failed = w.write(9 * P + 5, 3 * P, 1, 0);
        assert_eq!(failed, Err(Errno::EIO));
        assert!(w.file(1) == want);
        // Not even to another server.
        assert_eq!(w.write(8 * P, 3 * P, 2, 0), Ok(P));
        assert_eq!(w.write(9 * P, P, 2, 0), Err(Errno::EIO));
        // The rest of the buffer is unchanged.
        assert_eq!(w.write(10 * P, 6 * P, 2, 0), Ok(6 * P));
        assert!(w.file(2)[..6 * PAGE] == content(1)[10 * PAGE..]);
    });
}

#[test]
fn a_write_of_sleeping_bytes_does_not_load_what_was_not_lost() {
    on_both(|w| {
        w.lose(9..10);
        w.messages();
        let Ok(done) = w.write(0, N, 1, 0) else {
            // Another server gives up the whole snapshot.
            assert_eq!(w.write(0, N, 1, 0), Err(Errno::EIO));
            assert!(w.file(1) == content(2));
            return;
        };
        assert_eq!(done, 9 * P);
        assert_eq!(w.sent(), 0);
        assert!(w.messages() < 20, "page by page");
        let want = [&content(1)[..9 * PAGE], &content(2)[9 * PAGE..]].concat();
        assert!(w.file(1) == want);
    });
}

#[test]
fn a_fragment_on_lost_bytes_leaves_the_buffer_as_it_was() {
    on_both(|w| {
        w.store(0, b"own").expect("store");
        w.lose(1..PAGES);
        // The dirty page takes a fragment of the new content; the lost pages
        // are read over.
        assert_eq!(w.read(2, 3 * P, 1, 0), Ok(3 * P));
        let want = [&b"ow"[..], &content(2)[..3 * PAGE - 2]].concat();
        assert!(w.load(0, 3 * PAGE) == Ok(want));
        assert_eq!(w.load(3 * PAGE + 2, 1), Err(Errno::ESTALE));
    });
}
