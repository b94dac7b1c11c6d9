//! The 9P side: one file without a directory around it.

use crate::line::Discipline;
use crate::uart::{Listen, Uart};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use ninep::consts::{IOHDRSZ, VERSION_L, VERSION_UNKNOWN, getattr};
use ninep::{Attr, List, Qid, Reply, Request, StatFs};
use rt::{Errno, File, send};

/// Largest message accepted: the console needs no large ones.
pub const MSIZE: u32 = 16 * 1024 + IOHDRSZ;
/// Most fids at a time.
const FIDS_MAX: usize = 4096;
/// Bytes typed ahead of a read; more of them wait in the device.
const AHEAD_MAX: usize = 16 * 1024;
/// Most reads waiting for a line.
const WAITING_MAX: usize = 256;
/// A character device that all may read and write.
const MODE: u32 = 0o020_666;

const QID: Qid = Qid {
    kind: 0,
    version: 0,
    path: 1,
};

/// A read that waits for a line.
struct Waiting {
    tag: u16,
    fid: u32,
    count: usize,
}

/// The console and its clients.
pub struct Server {
    channel: File,
    uart: Uart,
    line: Discipline,
    /// Typed, not looked at yet.
    ahead: VecDeque<u8>,
    fids: BTreeSet<u32>,
    waiting: VecDeque<Waiting>,
    msize: u32,
}

impl Server {
    pub fn new(channel: File) -> Self {
        Server {
            channel,
            uart: Uart::new(),
            line: Discipline::new(),
            ahead: VecDeque::with_capacity(AHEAD_MAX),
            fids: BTreeSet::new(),
            waiting: VecDeque::new(),
            msize: MSIZE,
        }
    }

    /// Takes what was typed from the device. What there is no room for waits
    /// there.
    pub fn input(&mut self) {
        while self.ahead.len() < AHEAD_MAX {
            let Some(byte) = self.uart.receive() else {
                break;
            };
            self.ahead.push_back(byte);
        }
        if self.ahead.len() >= AHEAD_MAX {
            self.uart.listen(Listen::Off);
        }
        self.serve_waiting();
    }

    /// Answers reads that wait, as long as there are lines. Typed bytes are
    /// looked at, and shown, when somebody reads: what is typed ahead appears
    /// after the prompt it answers.
    fn serve_waiting(&mut self) {
        let full = self.ahead.len() >= AHEAD_MAX;
        let mut echo = Vec::new();
        while let Some(first) = self.waiting.front() {
            let (tag, count) = (first.tag, first.count);
            if let Some(data) = self.line.read(count) {
                self.waiting.pop_front();
                self.uart.transmit(&echo);
                echo.clear();
                self.reply(tag, &Reply::Read { data: &data });
                continue;
            }
            let Some(byte) = self.ahead.pop_front() else {
                break;
            };
            self.line.typed(byte, &mut echo);
        }
        self.uart.transmit(&echo);
        if full && self.ahead.len() < AHEAD_MAX {
            self.uart.listen(Listen::On);
        }
    }

    /// Answers one message, now or, for a read, when there is a line.
    pub fn request(&mut self, message: &[u8]) {
        let (tag, request) = match ninep::decode_request(message) {
            Ok(decoded) => decoded,
            Err(_) => {
                if let Some((_, _, tag)) = ninep::peek(message) {
                    self.reply(tag, &Reply::Error(Errno::EPROTO));
                }
                return;
            }
        };
        match self.handle(tag, &request) {
            Ok(Some(reply)) => self.reply(tag, &reply),
            Ok(None) => self.serve_waiting(),
            Err(errno) => self.reply(tag, &Reply::Error(errno)),
        }
    }

    fn reply(&self, tag: u16, reply: &Reply<'_>) {
        let mut head = [0; 256];
        let payload: &[u8] = match reply {
            Reply::Read { data } => data,
            _ => &[],
        };
        if let Ok(n) = ninep::encode_reply_head(tag, reply, payload.len(), &mut head) {
            // A client that is gone is noticed as a hang-up.
            let _ = send(&self.channel, [&head[..n], payload]);
        }
    }

    fn handle(&mut self, tag: u16, request: &Request<'_>) -> Result<Option<Reply<'static>>, Errno> {
        let reply = match *request {
            Request::Version { msize, version } => self.version(msize, version),
            Request::Attach { fid, .. } => {
                self.add_fid(fid)?;
                Reply::Attach { qid: QID }
            }
            Request::Walk { fid, newfid, names } => {
                self.check(fid)?;
                if !names.is_empty() {
                    return Err(Errno::ENOTDIR);
                }
                if newfid != fid {
                    self.add_fid(newfid)?;
                }
                Reply::Walk {
                    qids: List::new(&[]),
                }
            }
            Request::Lopen { fid, .. } => {
                self.check(fid)?;
                Reply::Lopen {
                    qid: QID,
                    iounit: self.msize - IOHDRSZ,
                }
            }
            Request::Getattr { fid, .. } => {
                self.check(fid)?;
                Reply::Getattr(attributes())
            }
            // Truncating or setting times of a console does nothing.
            Request::Setattr { fid, .. } => {
                self.check(fid)?;
                Reply::Setattr
            }
            Request::Statfs { fid } => {
                self.check(fid)?;
                Reply::Statfs(StatFs::default())
            }
            Request::Fsync { fid, .. } => {
                self.check(fid)?;
                Reply::Fsync
            }
            Request::Read { fid, count, .. } => return self.read(tag, fid, count),
            Request::Write { fid, data, .. } => {
                self.check(fid)?;
                self.uart.transmit_text(data);
                Reply::Write {
                    count: data.len() as u32,
                }
            }
            Request::Clunk { fid } => {
                self.check(fid)?;
                self.clunk(fid);
                Reply::Clunk
            }
            Request::Remove { fid } => {
                self.check(fid)?;
                self.clunk(fid);
                return Err(Errno::EPERM);
            }
            Request::Flush { oldtag } => {
                self.waiting.retain(|waiting| waiting.tag != oldtag);
                Reply::Flush
            }
            _ => return Err(Errno::EOPNOTSUPP),
        };
        Ok(Some(reply))
    }

    fn version(&mut self, msize: u32, version: &str) -> Reply<'static> {
        self.fids.clear();
        self.waiting.clear();
        self.msize = msize.clamp(IOHDRSZ + 1, MSIZE);
        // Clients that ask for an extension get the protocol it extends.
        let known = version == VERSION_L
            || version
                .strip_prefix(VERSION_L)
                .is_some_and(|rest| rest.starts_with('.'));
        Reply::Version {
            msize: self.msize,
            version: if known { VERSION_L } else { VERSION_UNKNOWN },
        }
    }

    fn check(&self, fid: u32) -> Result<(), Errno> {
        self.fids.contains(&fid).then_some(()).ok_or(Errno::EBADF)
    }

    fn add_fid(&mut self, fid: u32) -> Result<(), Errno> {
        if self.fids.len() >= FIDS_MAX {
            return Err(Errno::ENFILE);
        }
        self.fids.insert(fid).then_some(()).ok_or(Errno::EBADF)
    }

    /// Forgets a fid; reads that wait on it end as interrupted.
    fn clunk(&mut self, fid: u32) {
        self.fids.remove(&fid);
        let mut ended = Vec::new();
        self.waiting.retain(|waiting| {
            if waiting.fid == fid {
                ended.push(waiting.tag);
            }
            waiting.fid != fid
        });
        for tag in ended {
            self.reply(tag, &Reply::Error(Errno::EINTR));
        }
    }

    /// Queues a read behind those that wait already.
    fn read(&mut self, tag: u16, fid: u32, count: u32) -> Result<Option<Reply<'static>>, Errno> {
        self.check(fid)?;
        let count = count.min(self.msize - IOHDRSZ) as usize;
        if count == 0 {
            return Ok(Some(Reply::Read { data: &[] }));
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(Errno::EAGAIN);
        }
        self.waiting.push_back(Waiting { tag, fid, count });
        Ok(None)
    }
}

fn attributes() -> Attr {
    Attr {
        valid: getattr::BASIC,
        qid: QID,
        mode: MODE,
        nlink: 1,
        blksize: 4096,
        ..Attr::default()
    }
}
