//! Requests of several clients at once, to a host that answers in any order; and
//! the death of the server in the middle of them.

use super::*;
use dormouse_snapfs::Executor;
use ninep::{Reply, decode_reply};
use std::future::Future;
use std::pin::Pin;

/// A request under way: its number, and the answer.
type Task = Pin<Box<dyn Future<Output = (usize, Vec<u8>)>>>;

/// What was asked of an open file.
enum Asked {
    Write { off: u64, data: Vec<u8> },
    Resize(u64),
    Snap { snapfid: u32, range: Range<u64> },
    Read,
}

struct Going {
    party: usize,
    n: usize,
    file: usize,
    asked: Asked,
}

/// A change of a name under way: the names that it is about, and its files.
pub(super) struct Renaming {
    names: [(usize, &'static str); 2],
    files: Vec<usize>,
}

impl Storm {
    /// Starts what a client asks of one of its open files, if no other request is
    /// about that file; one that reads may be.
    fn start(&mut self, party: usize, all: &mut Vec<Going>) -> Option<Task> {
        let n = self.some_open(party)?;
        let file = self.parties[party].opened[n].file;
        let busy = all.iter().any(|other| other.file == file);
        let (range, bytes) = (self.range(), self.random.next(256) as u8);
        let (off, len) = (range.start, range.end - range.start);
        let asked = match self.random.next(4) {
            _ if busy => Asked::Read,
            0 => Asked::Snap {
                snapfid: self.parties[party].client.fid(),
                range,
            },
            1 => Asked::Resize(self.offset()),
            _ => Asked::Write {
                off,
                data: pattern(bytes, len as usize),
            },
        };
        let client = &self.parties[party].client;
        let fid = self.parties[party].opened[n].fid;
        let request = match &asked {
            Asked::Write { off, data } => message(
                1,
                &Request::Write {
                    fid,
                    offset: *off,
                    data,
                },
            ),
            Asked::Resize(size) => message(
                1,
                &Request::Setattr {
                    fid,
                    attr: SetAttr {
                        valid: ninep::consts::setattr::SIZE,
                        size: *size,
                        ..SetAttr::default()
                    },
                },
            ),
            Asked::Snap { snapfid, .. } => message(
                1,
                &Request::Snap {
                    fid,
                    snapfid: *snapfid,
                    off,
                    count: len,
                    epoch: 0,
                    known: 0,
                },
            ),
            Asked::Read => message(
                1,
                &Request::Read {
                    fid,
                    offset: 0,
                    count: 2 * SPAN as u32,
                },
            ),
        };
        let (fs, conn, number) = (client.fs.clone(), client.conn, all.len());
        all.push(Going {
            party,
            n,
            file,
            asked,
        });
        Some(Box::pin(async move {
            (number, serve(&fs, conn, &request).await)
        }))
    }

    /// Starts some requests at once.
    fn start_some(&mut self, executor: &mut Executor<Task>) -> (Vec<Going>, Vec<(usize, Vec<u8>)>) {
        let (mut all, mut answers) = (Vec::new(), Vec::new());
        self.host().set_manual(true);
        for party in 0..self.parties.len() {
            for _ in 0..1 + self.random.next(2) {
                if let Some(task) = self.start(party, &mut all) {
                    let started = executor.spawn(task).ok().expect("there is room");
                    answers.extend(started);
                }
            }
        }
        (all, answers)
    }

    /// Lets some exchange that waits go on, any of them.
    fn go_on(&mut self, executor: &mut Executor<Task>, answers: &mut Vec<(usize, Vec<u8>)>) {
        let waiting = self.host().waiting();
        let n = self.pick(waiting);
        self.host().release(n);
        executor.run(|answer| answers.push(answer));
    }

    /// Several requests at once, on different files but for reads.
    pub(super) fn together(&mut self) {
        let before: Vec<Bytes> = self.files.clone();
        let mut executor = Executor::default();
        let (all, mut answers) = self.start_some(&mut executor);
        while self.host().waiting() > 0 {
            self.go_on(&mut executor, &mut answers);
        }
        self.host().set_manual(false);
        assert_eq!(answers.len(), all.len(), "seed {}: one hangs", self.seed);
        answers.sort();
        let mut reads = Vec::new();
        for (going, (_, answer)) in all.into_iter().zip(answers) {
            match going.asked {
                Asked::Read => reads.push((going.file, answer)),
                _ => self.done(going, &answer),
            }
        }
        for (file, answer) in reads {
            match decode_reply(&answer).expect("a reply").1 {
                Reply::Error(errno) => self.excused(errno, "read"),
                Reply::Read { data } => {
                    let fits = |bytes: &Bytes| {
                        let byte =
                            |(byte, found): (&Option<u8>, &u8)| byte.is_none_or(|b| b == *found);
                        bytes.len() == data.len() && bytes.iter().zip(data).all(byte)
                    };
                    // What a failed change left in the middle is none of the two.
                    let whole = fits(&before[file]) || fits(&self.files[file]);
                    assert!(
                        whole || self.weather != Weather::Fair,
                        "seed {}: file {file}",
                        self.seed
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The model's part of what was done.
    fn done(&mut self, going: Going, answer: &[u8]) {
        let Going {
            party,
            n,
            file,
            asked,
        } = going;
        let reply = decode_reply(answer).expect("a reply").1;
        let errno = match reply {
            Reply::Error(errno) => Some(errno),
            _ => None,
        };
        match asked {
            Asked::Write { off, data } => {
                let wanted: Bytes = data.into_iter().map(Some).collect();
                let count = match reply {
                    Reply::Write { count } => u64::from(count),
                    _ => 0,
                };
                self.wrote(file, off, &wanted, count);
            }
            Asked::Resize(size) if errno.is_none() => {
                self.files[file].resize(size as usize, Some(0));
            }
            Asked::Resize(size) => {
                self.files[file].truncate(size as usize);
                self.learn(file);
            }
            Asked::Snap { snapfid, range } => {
                let Party { client, opened } = &mut self.parties[party];
                let Reply::Snap { count, .. } = reply else {
                    let _ = client.tell(&Request::Clunk { fid: snapfid });
                    return self.excused(errno.expect("an error"), "snap");
                };
                let bytes = (range.start..range.start + count)
                    .filter_map(|at| Some((at, (*self.files[file].get(at as usize)?)?)))
                    .collect();
                opened[n].snaps.push(Held { snapfid, bytes });
            }
            Asked::Read => {}
        }
        if let Some(errno) = errno {
            self.excused(errno, "a request beside others");
        }
    }

    /// A change of a name beside them, which is not to come to its end.
    fn start_renaming(&mut self, executor: &mut Executor<Task>) -> Option<Renaming> {
        let (old, new) = (self.name(), self.name());
        let (olddir, newdir) = (self.dir(0, old.0)?, self.dir(0, new.0)?);
        let request = match self.random.next(2) {
            0 => message(
                1,
                &Request::Renameat {
                    olddirfid: olddir,
                    oldname: old.1.into(),
                    newdirfid: newdir,
                    newname: new.1.into(),
                },
            ),
            _ => message(
                1,
                &Request::Unlinkat {
                    dirfid: olddir,
                    name: old.1.into(),
                    flags: 0,
                },
            ),
        };
        let fs = self.parties[0].client.fs.clone();
        let task: Task = Box::pin(async move { (usize::MAX, serve(&fs, 0, &request).await) });
        self.host().set_manual(true);
        let _ = executor.spawn(task).ok().expect("there is room");
        let names = [old, new];
        let files = names
            .iter()
            .filter_map(|name| self.names.get(name).copied());
        Some(Renaming {
            names,
            files: files.collect(),
        })
    }

    /// The server dies in the middle of several requests; what a new one finds is
    /// what was acknowledged, and no more than what was under way is unsure.
    pub(super) fn die(mut self) {
        self.host().heal();
        self.host().adapt(|manners| manners.capacity = u64::MAX);
        self.weather = Weather::Failing(1);
        let mut executor = Executor::default();
        let renaming = match self.random.next(2) {
            0 => self.start_renaming(&mut executor),
            _ => None,
        };
        let (all, mut answers) = self.start_some(&mut executor);
        for _ in 0..self.random.next(60) {
            if self.host().waiting() > 0 {
                self.go_on(&mut executor, &mut answers);
            }
        }
        drop(executor);
        self.host().set_manual(false);
        let mut sizes: BTreeMap<usize, Range<u64>> = BTreeMap::new();
        for going in all {
            self.unsure(going, &mut sizes);
        }
        let Storm {
            parties,
            dirs,
            names,
            files,
            seed,
            ..
        } = self;
        let servers = parties.into_iter().map(|party| party.client.fs);
        let last = servers.reduce(|_, last| last).expect("there is one");
        let host = Rc::into_inner(last).expect("nobody else").into_backing();
        host.hang_up();
        let client = Client::of(host);
        assert!(!client.host().names("").contains(&".snapfs".into()));
        for (name, file) in names {
            let path = format!("{}/{}", dirs[name.0], name.1);
            let found = client.host().get(&path);
            let renamed = renaming
                .as_ref()
                .filter(|renaming| renaming.names.contains(&name));
            let candidates = match renamed {
                Some(renaming) => renaming.files.clone(),
                None => vec![file],
            };
            let Some(found) = found else {
                assert!(renamed.is_some(), "seed {seed}: {path} is gone");
                continue;
            };
            let fits = |file: &usize| {
                let sizes = sizes
                    .get(file)
                    .cloned()
                    .unwrap_or(files[*file].len() as u64..files[*file].len() as u64);
                let size = (sizes.start..=sizes.end).contains(&(found.len() as u64));
                let same =
                    |(byte, found): (&Option<u8>, &u8)| byte.is_none_or(|byte| byte == *found);
                size && files[*file].iter().zip(&found).all(same)
            };
            assert!(
                candidates.iter().any(fits),
                "seed {seed}: {path} has other bytes"
            );
            client.clunk(client.open(&path));
        }
        client.end();
    }

    /// What a request that may have been done leaves of what is known.
    fn unsure(&mut self, going: Going, sizes: &mut BTreeMap<usize, Range<u64>>) {
        let bytes = &mut self.files[going.file];
        let size = bytes.len() as u64;
        match going.asked {
            Asked::Write { off, data } => {
                let end = off + data.len() as u64;
                for at in off.min(size)..end.min(size) {
                    bytes[at as usize] = None;
                }
                sizes.insert(going.file, size..size.max(end));
            }
            Asked::Resize(new) => {
                sizes.insert(going.file, size.min(new)..size.max(new));
            }
            Asked::Snap { .. } | Asked::Read => {}
        }
    }
}
