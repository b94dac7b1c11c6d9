//! A client and a device of a tree, for tests.
#![allow(dead_code, reason = "each test uses some of it")]

use abi::Errno;
use dormouse_swaptree::{Answer, Direction, Id, MSIZE, PAGE, Place, Step, Tree};
use ninep::consts::{NOFID, NONUNAME, VERSION_L, open};
use ninep::{ByteStr, List, Reply, Request};
use std::collections::BTreeMap;

pub const ROOT: u32 = 1;

/// The number of bytes in a page.
pub const LEN: usize = PAGE as usize;

/// A page whose words are all `word`.
pub fn page(word: u64) -> Vec<u8> {
    word.to_le_bytes().repeat(LEN / 8)
}

/// A tree, its device, and the data of the transfers under way.
pub struct Disk {
    pub tree: Tree,
    pub blocks: Vec<Vec<u8>>,
    /// Transfers under way: data to be written, or that was read.
    pub flying: Vec<(Id, Vec<u8>)>,
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    Answered(Answer),
    /// A transfer is under way.
    Begun,
    /// It has to wait for one.
    Blocked,
}

impl Disk {
    /// With the directory attached as [`ROOT`].
    pub fn new(blocks: u32) -> Disk {
        let mut disk = Disk {
            tree: Tree::new(blocks).unwrap(),
            // Whatever an earlier use has left.
            blocks: vec![page(0xbad); blocks as usize],
            flying: Vec::new(),
        };
        let version = Request::Version {
            msize: MSIZE,
            version: VERSION_L,
        };
        disk.now(0, &version).unwrap();
        let attach = Request::Attach {
            fid: ROOT,
            afid: NOFID,
            uname: ByteStr(b"test"),
            aname: ByteStr(b""),
            n_uname: NONUNAME,
        };
        disk.now(0, &attach).unwrap();
        disk
    }

    pub fn request(&mut self, tag: u16, request: &Request<'_>) -> Result<Outcome, Errno> {
        let data = match request {
            Request::Write { data, .. } => data.to_vec(),
            _ => Vec::new(),
        };
        Ok(match self.tree.request(tag, request, &mut [0; 8192])? {
            Step::Answer(answer) => Outcome::Answered(answer),
            Step::Wait => Outcome::Blocked,
            Step::Transfer(id) => {
                self.flying.push((id, data));
                Outcome::Begun
            }
        })
    }

    /// Does one of the transfers under way with the device, which fails if `result`
    /// says so; tag, answer and data read.
    pub fn finish(&mut self, at: usize, result: Result<(), Errno>) -> (u16, Answer, Vec<u8>) {
        let (id, mut data) = self.flying.swap_remove(at);
        let transfer = self.tree.transfer(id).unwrap();
        let mut from = 0;
        for part in transfer.parts() {
            for page in 0..part.pages as usize {
                let range = from..from + LEN;
                match (transfer.direction, part.place) {
                    (Direction::Read, Place::Zeros) => data.extend([0; LEN]),
                    (Direction::Read, Place::Blocks(first)) => {
                        data.extend(&self.blocks[first as usize + page]);
                    }
                    (Direction::Read, Place::Fresh(_)) => panic!("a read of a free block"),
                    (Direction::Write, Place::Zeros) => {
                        assert!(data[range].iter().all(|byte| *byte == 0));
                    }
                    (Direction::Write, Place::Blocks(first) | Place::Fresh(first)) => {
                        let block = &mut self.blocks[first as usize + page];
                        match result {
                            Ok(()) => block.copy_from_slice(&data[range]),
                            Err(_) => block.fill(0xee),
                        }
                    }
                }
                from += LEN;
            }
        }
        let (tag, answer) = self.tree.finish(id, result).unwrap();
        (tag, answer, data)
    }

    /// A request that nothing under way is in the way of; its answer and data.
    pub fn now(&mut self, tag: u16, request: &Request<'_>) -> Result<(Answer, Vec<u8>), Errno> {
        match self.request(tag, request)? {
            Outcome::Answered(answer) => Ok((answer, Vec::new())),
            Outcome::Blocked => panic!("{request:?} has to wait"),
            Outcome::Begun => match self.finish(self.flying.len() - 1, Ok(())) {
                (_, Answer::Reply(Reply::Error(errno)), _) => Err(errno),
                (_, answer, data) => Ok((answer, data)),
            },
        }
    }

    /// Makes and opens a file, as `fid`.
    pub fn create(&mut self, fid: u32, name: &str) -> Result<(), Errno> {
        let walk = Request::Walk {
            fid: ROOT,
            newfid: fid,
            names: List::new(&[]),
        };
        self.now(0, &walk)?;
        let create = Request::Lcreate {
            fid,
            name: ByteStr(name.as_bytes()),
            flags: open::RDWR | open::CREAT | open::EXCL,
            mode: 0o600,
            gid: 0,
        };
        self.now(0, &create).map(drop)
    }

    pub fn unlink(&mut self, name: &str) -> Result<(), Errno> {
        let unlink = Request::Unlinkat {
            dirfid: ROOT,
            name: ByteStr(name.as_bytes()),
            flags: 0,
        };
        self.now(0, &unlink).map(drop)
    }

    pub fn clunk(&mut self, fid: u32) {
        self.now(0, &Request::Clunk { fid }).unwrap();
    }

    /// Writes pages; how many.
    pub fn write(&mut self, fid: u32, at: u64, data: &[u8]) -> Result<u64, Errno> {
        let offset = at * PAGE;
        match self.now(0, &Request::Write { fid, offset, data })?.0 {
            Answer::Reply(Reply::Write { count }) => Ok(u64::from(count) / PAGE),
            answer => panic!("{answer:?}"),
        }
    }

    pub fn read(&mut self, fid: u32, at: u64, pages: u32) -> Result<Vec<u8>, Errno> {
        let (offset, count) = (at * PAGE, pages * PAGE as u32);
        let (_, data) = self.now(0, &Request::Read { fid, offset, count })?;
        Ok(data)
    }

    /// Free blocks.
    pub fn free(&mut self) -> u64 {
        match self.now(0, &Request::Statfs { fid: ROOT }).unwrap().0 {
            Answer::Reply(Reply::Statfs(space)) => space.bfree,
            answer => panic!("{answer:?}"),
        }
    }
}

/// The pages of a file, as they must be.
pub type Pages = BTreeMap<u64, u64>;
