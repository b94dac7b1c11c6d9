//! Random work of several clients on a host with QEMU's manners: hard links,
//! renames over files in use, directories that are renamed, writes of many
//! operations in several messages, no room in the middle, numbers of files used
//! again, errors at any exchange (whether it was done or not, but for changes of
//! names), several requests at once, and death in the middle of them.
//!
//! Every byte is compared with a model: each file is its bytes, each snapshot
//! the bytes it had. `DORMOUSE_SEED` runs one seed alone.

mod together;
mod work;

use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Options;
use lower::{Fault, Host, Manners};
use ninep::consts::{
    NOFID, TCLUNK, TLCREATE, TLINK, TMKDIR, TREMOVE, TRENAMEAT, TUNLINKAT, TWALK, put,
};
use ninep::{PutKind, PutOp, PutOps, Ranges, Request, SetAttr};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

const B: u64 = 4096;
/// Files are no longer than this.
const SPAN: u64 = 12 * B;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const CLIENTS: u32 = 3;

/// What happens to the exchanges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Weather {
    /// Nothing goes wrong.
    Fair,
    /// There is room for so many blocks.
    Crowded(u64),
    /// One exchange in so many fails, done or not.
    Failing(u64),
}

/// A file of the model, by the inode's number at the host: its bytes, or `None`
/// where a change failed and any is possible.
type Bytes = Vec<Option<u8>>;

struct Held {
    snapfid: u32,
    /// What each byte was, where it is covered.
    bytes: BTreeMap<u64, u8>,
}

struct Opened {
    fid: u32,
    file: usize,
    snaps: Vec<Held>,
}

/// One client, and what it holds.
struct Party {
    client: Client,
    opened: Vec<Opened>,
}

struct Storm {
    parties: Vec<Party>,
    random: Random,
    weather: Weather,
    /// Every file that ever was.
    files: Vec<Bytes>,
    /// Directory and name -> file.
    names: BTreeMap<(usize, &'static str), usize>,
    /// The two directories' names, which change.
    dirs: [String; 2],
    seed: u64,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let weather = match seed % 3 {
            0 => Weather::Fair,
            1 => Weather::Crowded(20 + seed % 60),
            _ => Weather::Failing(20 + seed % 80),
        };
        let host = Host::new(Manners {
            hard_links: !seed.is_multiple_of(5),
            ..Manners::default()
        });
        let dirs = ["one".to_string(), "two".to_string()];
        for dir in &dirs {
            host.make_dir(dir);
        }
        // Half of them learn times later.
        let options = Options {
            lazy: seed.is_multiple_of(2),
            ..Options::default()
        };
        let first = Client::with(host, options);
        let others: Vec<_> = (1..CLIENTS).map(|conn| first.beside(conn, 0)).collect();
        let party = |client| Party {
            client,
            opened: Vec::new(),
        };
        let mut storm = Storm {
            parties: std::iter::once(first).chain(others).map(party).collect(),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            weather,
            files: Vec::new(),
            names: BTreeMap::new(),
            dirs,
            seed,
        };
        for (n, name) in NAMES.iter().enumerate().take(3) {
            let content = pattern((n as u8).wrapping_add(seed as u8), (3 * B + 77) as usize);
            storm.host().set(&format!("one/{name}"), &content);
            storm.files.push(content.into_iter().map(Some).collect());
            storm.names.insert((0, name), n);
        }
        storm.set_weather();
        storm
    }

    fn host(&self) -> &Host {
        self.parties[0].client.host()
    }

    fn set_weather(&self) {
        match self.weather {
            Weather::Fair => {}
            Weather::Crowded(blocks) => self.host().adapt(|manners| manners.capacity = blocks),
            Weather::Failing(one_in) => {
                let mut random = Random(self.seed + 77);
                self.host().inject(move |call| {
                    // These end a fid also when they fail.
                    let ends = [TCLUNK, TREMOVE].contains(&call.kind);
                    if ends || random.next(one_in) > 0 {
                        return Fault::No;
                    }
                    let names = [TRENAMEAT, TUNLINKAT, TLINK, TMKDIR, TWALK, TLCREATE];
                    let names = names.contains(&call.kind);
                    match random.next(4) {
                        // What a name stands for must be known afterwards, and a walk
                        // that fails makes no fid.
                        _ if names => Fault::Before(Errno::EIO),
                        0 => Fault::Before(Errno::EIO),
                        1 => Fault::After(Errno::EINTR),
                        2 => Fault::Partial(random.next(3 * B) as usize, Errno::ENOSPC),
                        _ => Fault::Short(1 + random.next(3 * B) as usize),
                    }
                });
            }
        }
    }

    /// What everybody holds is what it was.
    fn check(&mut self, step: u64) {
        self.host().heal();
        self.parties[0].client.learn_times(&mut self.random);
        let what = format!("seed {} step {step}", self.seed);
        for party in &self.parties {
            for opened in &party.opened {
                let live = party
                    .client
                    .read_all(opened.fid, 0, 2 * SPAN)
                    .expect("read");
                let bytes = &self.files[opened.file];
                assert_eq!(
                    live.len(),
                    bytes.len(),
                    "{what}: size of file {}",
                    opened.file
                );
                let wrong = live
                    .iter()
                    .zip(bytes)
                    .position(|(a, b)| b.is_some_and(|b| *a != b));
                assert_eq!(wrong, None, "{what}: file {}", opened.file);
                for held in &opened.snaps {
                    self.check_snapshot(&party.client, held, &what);
                }
            }
        }
        self.set_weather();
    }

    fn check_snapshot(&self, client: &Client, held: &Held, what: &str) {
        let mut at = 0;
        while let Some((&from, _)) = held.bytes.range(at..).next() {
            let len = (from..)
                .take_while(|at| held.bytes.contains_key(at))
                .count();
            match client.read(held.snapfid, from, len as u32) {
                Ok(data) => {
                    assert!(!data.is_empty(), "{what}: nothing at {from}");
                    let wrong = (from..)
                        .zip(&data)
                        .find(|(at, byte)| held.bytes[at] != **byte);
                    assert_eq!(wrong, None, "{what}: snapshot {}", held.snapfid);
                    at = from + data.len() as u64;
                }
                // Only a write of its own that failed in the middle loses bytes.
                Err(errno) => {
                    let lost = errno == Errno::ESTALE && self.weather != Weather::Fair;
                    assert!(
                        lost,
                        "{what}: snapshot {} at {from}: {errno:?}",
                        held.snapfid
                    );
                    at = (from / B + 1) * B;
                }
            }
        }
    }

    /// Everybody leaves; nothing may be left.
    fn end(self) {
        self.host().heal();
        self.host().adapt(|manners| manners.capacity = u64::MAX);
        let mut parties = self.parties.into_iter();
        let Party { client, opened } = parties.next().expect("there is one");
        let (first, held) = (client, opened);
        parties.for_each(|party| party.client.hang_up());
        for opened in held {
            opened
                .snaps
                .iter()
                .for_each(|held| first.clunk(held.snapfid));
            first.clunk(opened.fid);
        }
        // A hidden directory whose removal failed goes with its next use: there is no
        // store any more, so the next one to be saved needs one.
        first.host().set("last", b"some");
        let fid = first.open("last");
        let snap = first.snap(fid, 0, 4);
        first.write(fid, 0, b"none").expect("write");
        first.clunk(snap);
        first.end();
    }
}

fn run(seeds: std::ops::Range<u64>, steps: u64) {
    for seed in seeds {
        println!("seed {seed}");
        let mut storm = Storm::new(seed);
        for step in 0..steps {
            storm.step();
            storm.check(step);
        }
        match seed % 4 {
            0 => storm.die(),
            _ => storm.end(),
        }
    }
}

#[test]
fn random_work_on_a_host_like_qemus_is_as_the_model_says() {
    run(seeds(24), 60);
}

#[test]
#[ignore = "long"]
fn much_random_work_on_a_host_like_qemus_is_as_the_model_says() {
    run(seeds(2000), 200);
}
