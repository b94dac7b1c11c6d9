//! A file server of one file, its own root, with faults on demand.

use crate::check::{PG, Scratch, Verdict, Why, counts, patterned, same};
use crate::judge::counters;
use crate::kills::Kills;
use crate::liar::close_all_but;
use alloc::vec;
use alloc::vec::Vec;
use ninep::consts::{VERSION_L, VERSION_SNAP, VERSION_UNKNOWN, getattr, put};
use ninep::{Attr, ByteStr, Changes, List, PutKind, PutOps, Qid, Reply, Request};
use rt::abi::{SERVICE_FD, mode};
use rt::{Errno, Failure, File, Stat64, process, send, sys};

/// Bytes in the file.
pub const LEN: usize = 3 * PG + 100;
/// The pattern in it.
pub const SEED: u8 = 9;
const MSIZE: u32 = 64 * 1024;
/// More bytes than fit in a message.
const HUGE: usize = 150_000;
/// How long a slow one takes for a write.
const SLOW_NS: u64 = 20_000_000;

/// The fault of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Answers reads with at most that many bytes.
    Short(usize),
    /// Answers reads, and reads of snapshots, with an error.
    ReadError(Errno),
    /// Answers writes with an error.
    WriteError(Errno),
    /// Serves the program `true`, and refuses snapshots of it with an error.
    NoRoom(Errno),
    /// Answers that many reads, and then no requests for snapshots.
    Loses(u32),
    /// Is gone instead of answering the request with that number.
    HangUp(u32),
    /// Never answers a read.
    Silent,
    /// Answers reads with more bytes than were asked for.
    TooMuch,
    /// Answers reads with more than fits in any message.
    Huge,
    /// Never answers.
    Mute,
    /// Claims to have written more than it was given, and to have snapshots
    /// longer than the file.
    Boasts,
    /// Answers reads under another tag.
    WrongTag,
    /// Answers reads with a message of another kind.
    WrongKind,
    /// Answers reads, and Tfsync, with a message whose length is wrong.
    WrongSize,
    /// Answers a request for a snapshot only when that is flushed, just before
    /// the answer to the flush; minds that the snapshot is given back.
    Late,
    /// Takes its time for writes; minds that all fids but one are given back.
    Slow,
    /// Kills clients that take a snapshot or write in many messages (the offset
    /// is the process id), and checks that all of their resources are given
    /// back.
    Kills,
    /// Refuses a third write while two are staged.
    Crowded,
    /// Serves the program `true`, a few bytes at a time.
    Program,
    /// Knows no version of the protocol.
    NoVersion,
}

/// A server, and whether it has snapshots (its file never changes then).
#[derive(Clone, Copy)]
pub struct Tiny {
    pub snapshots: bool,
    pub fault: Fault,
}

/// Serves a program's own channel with the fault of that name; a number is a
/// request that is not answered any more.
pub fn serve_with(fault: &str) -> Result<u8, Failure> {
    let fault = match fault {
        "none" => Fault::None,
        "short" => Fault::Short(100),
        "much" => Fault::TooMuch,
        "kind" => Fault::WrongKind,
        "size" => Fault::WrongSize,
        "tag" => Fault::WrongTag,
        "slow" => Fault::Slow,
        "huge" => Fault::Huge,
        "mute" => Fault::Mute,
        "version" => Fault::NoVersion,
        number => match number.parse() {
            Ok(number) => Fault::HangUp(number),
            Err(_) => return Err(Failure::usage("no such fault")),
        },
    };
    let snapshots = false;
    let status = Tiny { snapshots, fault }.serve(&File::from_fd(SERVICE_FD as u32));
    Ok(status)
}

/// Runs a process that becomes a file server, and ends once its only client is gone.
/// `before` is done before that; `after` looks at what it has given, afterwards.
pub fn becomes_a_server<T>(
    source: &Scratch,
    before: impl FnOnce() -> Result<T, Why>,
    after: impl FnOnce(&T) -> Verdict,
) -> Verdict {
    let place = Scratch::empty("mounted")?;
    let (ours, theirs) = File::pipe()?;
    let serve = || {
        let content = before()?;
        close_all_but(&[&theirs, &source.file]);
        let tiny = Tiny {
            snapshots: false,
            fault: Fault::None,
        };
        same("status", tiny.serve(&theirs), 0)?;
        after(&content)
    };
    let pid = process::spawn(|| match serve() {
        Ok(()) => 0,
        Err(why) => process::exit(1, &why.0),
    })?;
    drop(theirs);
    ours.mount(&place.path)?;
    same("the size", File::stat_path(&place.path)?.size, LEN as u64)?;
    sys::unmount(&place.path)?;
    let ended = process::wait_for(pid)?;
    ensure!(ended.status() == 0, "the server: {}", ended.text());
    Ok(())
}

/// Fails unless `body` has file servers send that many bytes.
pub fn moves<T>(bytes: usize, body: impl FnOnce() -> Result<T, Why>) -> Result<T, Why> {
    let before = counters()?;
    let result = body()?;
    let moved = counters()?.since(&before, Stat64::BytesIn);
    counts("bytes moved", moved, bytes as u64)?;
    Ok(result)
}

/// The fids of the client.
#[derive(Default)]
struct Fids {
    open: i32,
    snapfids: Vec<u32>,
    /// Reads of snapfids.
    reads: u32,
}

impl Fids {
    fn count(&mut self, request: &Request<'_>) {
        match *request {
            Request::Snap { snapfid, .. } => self.snapfids.push(snapfid),
            Request::Attach { .. } => self.open += 1,
            // To the same file only: there are no names.
            Request::Walk { names, .. } if names.is_empty() => self.open += 1,
            Request::Clunk { .. } => self.open -= 1,
            Request::Read { fid, .. } if self.snapfids.contains(&fid) => self.reads += 1,
            _ => {}
        }
    }
}

const QID: Qid = Qid {
    kind: 0,
    version: 1,
    path: 77,
};

impl Tiny {
    /// Serves until the other end is closed, or the fault says otherwise.
    pub fn serve(self, channel: &File) -> u8 {
        let Ok(mut content) = self.content() else {
            return 1;
        };
        let mut message = vec![0; MSIZE as usize + 4096];
        let mut out = vec![0; 2 * HUGE];
        let (mut late, mut kills, mut fids) = (Late::default(), Kills::default(), Fids::default());
        let mut crowd = Crowd::default();
        for number in 0.. {
            let n = match channel.read(&mut message) {
                Ok(0) | Err(_) if self.fault == Fault::Slow => return u8::from(fids.open != 1),
                Ok(0) | Err(_) => break,
                Ok(n) => n,
            };
            match self.fault {
                Fault::HangUp(gone) if gone == number => return 0,
                Fault::Mute => continue,
                _ => {}
            }
            let Ok((tag, request)) = ninep::decode_request(&message[..n]) else {
                return 1;
            };
            if self.fault == Fault::Late {
                match late.meet(tag, &request, content.len() as u64, &mut out) {
                    Some(0) => continue,
                    Some(len) if send(channel, [&out[..len]]).is_err() => break,
                    _ => {}
                }
            }
            if self.fault == Fault::Kills && kills.meet(channel, tag, &request) {
                continue;
            }
            let crowded = self.fault == Fault::Crowded && crowd.has_no_room_for(&request);
            let spoils = match request {
                Request::Read { .. } => true,
                Request::Fsync { .. } => self.fault == Fault::WrongSize,
                _ => false,
            };
            fids.count(&request);
            if self.fault == Fault::Slow && matches!(request, Request::Write { .. }) {
                let _ = sys::sleep(SLOW_NS);
            }
            let answer = match self.answer(&request, &mut content) {
                _ if crowded => Err(Errno::EAGAIN),
                _ if self.has_lost(&request, &fids) => Err(Errno::ESTALE),
                Ok(Answer::Nothing) => continue,
                answer => answer,
            };
            let Some(len) = encode(tag, &answer, &mut out) else {
                return 1;
            };
            if spoils {
                self.spoil(&mut out);
            }
            if send(channel, [&out[..len]]).is_err() {
                break;
            }
        }
        u8::from(late.live > 0 || !kills.has_all_back())
    }

    fn content(&self) -> Result<Vec<u8>, Errno> {
        match self.fault {
            Fault::Program | Fault::NoRoom(_) => {
                File::open("/bin/true", mode::OREAD)?.read_to_end()
            }
            _ => Ok(patterned(SEED, 0, LEN)),
        }
    }

    fn spoil(&self, message: &mut [u8]) {
        match self.fault {
            Fault::WrongSize => message[0] ^= 16,
            Fault::WrongKind => message[4] = ninep::consts::RCLUNK,
            Fault::WrongTag => message[5] ^= 0x55,
            _ => {}
        }
    }

    /// Returns true if the request concerns a snapshot that this server has
    /// lost.
    fn has_lost(&self, request: &Request<'_>, fids: &Fids) -> bool {
        let Fault::Loses(after) = self.fault else {
            return false;
        };
        match request {
            Request::Read { fid, .. } => fids.reads > after && fids.snapfids.contains(fid),
            Request::Put { ops, .. } => {
                ops.iter().any(|op| matches!(op.kind, PutKind::Keep { .. }))
            }
            _ => false,
        }
    }

    fn version(&self, msize: u32, asked: ByteStr<'_>) -> Reply<'static> {
        let version = match asked {
            _ if self.fault == Fault::NoVersion => VERSION_UNKNOWN,
            VERSION_SNAP if self.snapshots => VERSION_SNAP,
            _ => VERSION_L,
        };
        Reply::Version {
            msize: msize.min(MSIZE),
            version,
        }
    }

    /// Encodes the answer to a request; its length.
    pub fn respond(
        &self,
        tag: u16,
        request: &Request<'_>,
        content: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Option<usize> {
        encode(tag, &self.answer(request, content), out)
    }

    fn answer(&self, request: &Request<'_>, content: &mut Vec<u8>) -> Result<Answer, Errno> {
        let size = content.len() as u64;
        let boast = if self.fault == Fault::Boasts {
            1 << 40
        } else {
            0
        };
        let reply = match *request {
            Request::Version { msize, version } => self.version(msize, version),
            Request::Session { .. } => Reply::Session {
                known: false,
                lease: 0,
                wmax: 8 << 20,
                epoch: 1,
            },
            Request::Attach { .. } => Reply::Attach { qid: QID },
            Request::Walk { .. } => Reply::Walk {
                qids: List::new(&[]),
            },
            Request::Lopen { .. } => Reply::Lopen {
                qid: QID,
                iounit: 0,
            },
            Request::Getattr { .. } => Reply::Getattr(attributes(size)),
            Request::Read { offset, count, .. } => return self.read(offset, count, content),
            Request::Write { offset, data, .. } => {
                store(content, offset, data)?;
                self.wrote()?;
                Reply::Write {
                    count: (data.len() as u64 + boast) as u32 | boast as u32,
                }
            }
            Request::Snap { off, count, .. } => {
                self.has_room()?;
                Reply::Snap {
                    qid: QID,
                    epoch: 1,
                    count: count.min(size.saturating_sub(off)) + boast,
                    size,
                    changes: Changes::NONE,
                }
            }
            Request::Put { off, ops, data, .. } => {
                self.wrote()?;
                Reply::Put {
                    off,
                    count: apply(content, off, &ops, data)? + boast,
                    epoch: 2,
                    assoc: false,
                    changes: Changes::NONE,
                }
            }
            Request::Trim { .. } => Reply::Trim,
            Request::Setattr { .. } => Reply::Setattr,
            Request::Fsync { .. } => Reply::Fsync,
            Request::Clunk { .. } => Reply::Clunk,
            Request::Flush { .. } => Reply::Flush,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        Ok(Answer::Reply(reply))
    }

    fn has_room(&self) -> Result<(), Errno> {
        match self.fault {
            Fault::NoRoom(errno) => Err(errno),
            _ => Ok(()),
        }
    }

    fn wrote(&self) -> Result<(), Errno> {
        match self.fault {
            Fault::WriteError(errno) => Err(errno),
            _ => Ok(()),
        }
    }

    fn read(&self, offset: u64, count: u32, content: &[u8]) -> Result<Answer, Errno> {
        let count = match self.fault {
            Fault::ReadError(errno) => return Err(errno),
            Fault::Silent => return Ok(Answer::Nothing),
            Fault::Short(most) => most.min(count as usize),
            Fault::Huge => return Ok(Answer::Data(vec![0xdd; HUGE])),
            Fault::Program => (count as usize).min(1000),
            Fault::TooMuch => return Ok(Answer::Data(vec![0xdd; count as usize + 10])),
            _ => count as usize,
        };
        let start = (offset as usize).min(content.len());
        let end = (start + count).min(content.len());
        Ok(Answer::Data(content[start..end].to_vec()))
    }
}

/// Attributes of the file.
fn attributes(size: u64) -> Attr {
    Attr {
        valid: getattr::BASIC,
        qid: QID,
        mode: 0o100_666,
        nlink: 1,
        size,
        ..Attr::default()
    }
}

/// Applies the DATA operations of a write; returns the length of the write.
fn apply(content: &mut Vec<u8>, off: u64, ops: &PutOps<'_>, data: &[u8]) -> Result<u64, Errno> {
    let mut rest = data;
    let mut end = 0;
    for op in ops.iter() {
        end = op.off + op.len;
        if let PutKind::Data = op.kind {
            let (now, later) = rest.split_at(op.len as usize);
            store(content, off + op.off, now)?;
            rest = later;
        }
    }
    Ok(end)
}

/// The state of [`Fault::Crowded`]: the staged writes.
#[derive(Default)]
struct Crowd(Vec<u64>);

impl Crowd {
    fn has_no_room_for(&mut self, request: &Request<'_>) -> bool {
        let Request::Put { wid, flags, .. } = *request else {
            return false;
        };
        if flags & (put::COMMIT | put::ABORT) != 0 {
            self.0.retain(|staged| *staged != wid);
            return false;
        }
        if !self.0.contains(&wid) {
            self.0.push(wid);
        }
        self.0.len() > 2
    }
}

/// The state of [`Fault::Late`].
#[derive(Default)]
struct Late {
    /// Tag and bytes of the request for a snapshot that has no answer yet.
    held: Option<(u16, u64)>,
    snapfid: u32,
    /// Snapshots made and not given back.
    live: u32,
}

impl Late {
    /// The length of the message to send before the request is answered; 0: it
    /// is not to be answered.
    fn meet(
        &mut self,
        tag: u16,
        request: &Request<'_>,
        size: u64,
        out: &mut [u8],
    ) -> Option<usize> {
        match *request {
            Request::Snap { snapfid, count, .. } => {
                self.held = Some((tag, count.min(size)));
                self.snapfid = snapfid;
                self.live += 1;
                Some(0)
            }
            Request::Flush { .. } => {
                let (tag, count) = self.held.take()?;
                let reply = Reply::Snap {
                    qid: QID,
                    epoch: 1,
                    count,
                    size,
                    changes: Changes::NONE,
                };
                ninep::encode_reply(tag, &reply, out).ok()
            }
            Request::Clunk { fid } if fid == self.snapfid && self.live > 0 => {
                self.live -= 1;
                None
            }
            _ => None,
        }
    }
}

/// The answer to a request.
enum Answer {
    Reply(Reply<'static>),
    Data(Vec<u8>),
    Nothing,
}

/// Encodes an answer; its length.
fn encode(tag: u16, answer: &Result<Answer, Errno>, out: &mut [u8]) -> Option<usize> {
    let reply = match answer {
        Ok(Answer::Reply(reply)) => ninep::encode_reply(tag, reply, out),
        Ok(Answer::Data(data)) => ninep::encode_reply(tag, &Reply::Read { data }, out),
        Ok(Answer::Nothing) => return Some(0),
        Err(errno) => ninep::encode_reply(tag, &Reply::Error(*errno), out),
    };
    reply.ok()
}

fn store(content: &mut Vec<u8>, offset: u64, data: &[u8]) -> Result<(), Errno> {
    let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
    let end = start.checked_add(data.len()).ok_or(Errno::EFBIG)?;
    if end > 1 << 20 {
        return Err(Errno::ENOSPC);
    }
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(data);
    Ok(())
}
