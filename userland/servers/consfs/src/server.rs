//! The 9P side.

use crate::control::{self, Foreground, Order};
use crate::line::{CTRL_C, CTRL_D, Discipline};
use crate::pipe::{self, Pipe};
use crate::tree::{self, Node};
use crate::uart::{Listen, Uart};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::take;
use ninep::consts::{IOHDRSZ, MAXWELEM, VERSION_L, VERSION_UNKNOWN};
use ninep::{ByteStr, List, Names, Qid, Reply, Request, StatFs};
use rt::options::Options;
use rt::{Errno, Replies};
use text::{Question, Window};

/// Largest message accepted: the console needs no large ones.
pub const MSIZE: u32 = 16 * 1024 + IOHDRSZ;
/// Most fids at a time: as many as 256 processes may have descriptors.
const FIDS_MAX: usize = 16 * 1024;
/// Bytes typed ahead of a read; more of them wait in the device.
const AHEAD_MAX: usize = 16 * 1024;
/// Most reads waiting for a line or the terminal: half of the kernel's tags. The others
/// are for writes, which must not wait for a line.
const WAITING_MAX: usize = 32;
/// The outcome of a request: an answer, or none until there is input.
type Handled = Result<Option<Reply<'static>>, Errno>;

/// The time for the terminal to answer, without other messages; and the number of
/// those.
const PATIENCE_NS: u64 = 200_000_000;
const PATIENCE: u32 = 64;

/// A read that waits for a line.
struct Waiting {
    tag: u16,
    fid: u32,
    count: usize,
}

/// A read of `consctl` that waits for the terminal's answer.
struct Asking {
    offset: u64,
    read: Waiting,
}

/// The console and its clients.
pub struct Server {
    replies: Rc<Replies>,
    uart: Uart,
    line: Discipline,
    /// Input without a terminal, in place of typed lines.
    pipe: Option<Pipe>,
    /// Lines from there are shown when they are read: they are for the shell's prompt,
    /// and the output is a record of the session. The input of commands is theirs alone.
    echoes: bool,
    /// Typed, not looked at yet.
    ahead: VecDeque<u8>,
    /// The fid that switched to single keys; the mode ends with it.
    raw_by: Option<u32>,
    foreground: Foreground,
    /// `ROWSxCOLUMNS` if there is a terminal.
    terminal: Option<String>,
    /// Asks the terminal for that.
    question: Question,
    /// Messages until the question is given up.
    patience: u32,
    asking: Vec<Asking>,
    fids: BTreeMap<u32, Node>,
    waiting: VecDeque<Waiting>,
    msize: u32,
}

impl Server {
    pub fn new(replies: Rc<Replies>) -> Self {
        let options = Options::read().unwrap_or_default();
        Server {
            replies,
            uart: Uart::new(),
            line: Discipline::new(),
            pipe: (options.get("input") == Some("pipe")).then(Pipe::default),
            echoes: options.get("command").is_none(),
            ahead: VecDeque::with_capacity(AHEAD_MAX),
            raw_by: None,
            foreground: Foreground::default(),
            terminal: options.get("terminal").map(String::from),
            question: Question::default(),
            patience: 0,
            asking: Vec::new(),
            fids: BTreeMap::new(),
            waiting: VecDeque::new(),
            msize: MSIZE,
        }
    }

    /// Takes input from the device, as far as there is space; the rest waits in
    /// the device.
    pub fn input(&mut self) {
        while !self.is_full() {
            let Some(byte) = self.uart.receive() else {
                break;
            };
            if let Some(pipe) = &mut self.pipe {
                pipe.take(byte);
                continue;
            }
            let mut typed = Vec::new();
            let answer = self.question.take(byte, |byte| typed.push(byte));
            self.typed(&typed);
            if let Some(Window { rows, columns }) = answer {
                self.terminal = Some(format!("{rows}x{columns}"));
                self.serve_asking();
            }
        }
        if self.is_full() {
            self.uart.listen(Listen::Off);
        }
        self.serve_waiting();
    }

    /// Takes typed bytes.
    fn typed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match *byte {
                CTRL_C if self.raw_by.is_none() => self.interrupt(),
                byte => self.ahead.push_back(byte),
            }
        }
    }

    /// How long to wait for the next message: while the terminal is asked, not for
    /// ever.
    pub fn patience_ns(&self) -> u64 {
        match self.question.is_open() {
            true => PATIENCE_NS,
            false => u64::MAX,
        }
    }

    /// The terminal does not answer.
    pub fn stop_asking(&mut self) {
        let mut typed = Vec::new();
        self.question.give_up(|byte| typed.push(byte));
        self.typed(&typed);
        self.serve_asking();
        self.serve_waiting();
    }

    /// Answers the reads that wait for the size of the window.
    fn serve_asking(&mut self) {
        for Asking { offset, read } in take(&mut self.asking) {
            self.describe(read.tag, offset, read.count);
        }
    }

    /// Answers a read of `consctl`.
    fn describe(&self, tag: u16, offset: u64, count: usize) {
        let text = control::describe(self.terminal.as_deref(), self.raw_by.is_some());
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(from..).unwrap_or(&[]);
        let data = rest.get(..count).unwrap_or(rest);
        self.reply(tag, &Reply::Read { data });
    }

    /// Returns true if the device must wait.
    fn is_full(&self) -> bool {
        match &self.pipe {
            Some(pipe) => pipe.is_full(),
            None => self.ahead.len() >= AHEAD_MAX,
        }
    }

    /// Answers waiting reads as long as there is input.
    fn serve_waiting(&mut self) {
        let full = self.is_full();
        match self.pipe {
            Some(_) => self.serve_from_pipe(),
            None => self.serve_lines(),
        }
        if full && !self.is_full() {
            self.uart.listen(Listen::On);
        }
    }

    fn serve_from_pipe(&mut self) {
        while let Some(pipe) = &mut self.pipe
            && let Some(first) = self.waiting.front()
            && let Some(data) = pipe.read(first.count)
        {
            let tag = first.tag;
            self.waiting.pop_front();
            if self.echoes && self.raw_by.is_none() {
                self.uart.transmit_text(&pipe::echo(&data));
            }
            self.reply(tag, &Reply::Read { data: &data });
        }
    }

    /// Answers waiting reads as long as there are lines. Typed bytes are
    /// processed and echoed when a program reads, so that type-ahead appears
    /// after the prompt that it answers.
    fn serve_lines(&mut self) {
        let mut echo = Vec::new();
        while let Some(first) = self.waiting.front() {
            let (tag, count) = (first.tag, first.count);
            let data = match self.raw_by {
                Some(_) => self.take_raw(count),
                None => self.line.read(count),
            };
            if let Some(data) = data {
                self.waiting.pop_front();
                self.uart.transmit(&echo);
                echo.clear();
                self.reply(tag, &Reply::Read { data: &data });
                continue;
            }
            // Raw mode leaves nothing here.
            let Some(byte) = self.ahead.pop_front() else {
                break;
            };
            self.line.typed(byte, &mut echo);
        }
        self.uart.transmit(&echo);
    }

    /// Typed bytes, at most up to the end of a line: the rest belongs to the
    /// next read, in whatever mode that is.
    fn take_raw(&mut self, count: usize) -> Option<Vec<u8>> {
        let ends = |byte: &u8| matches!(*byte, b'\r' | b'\n' | CTRL_C | CTRL_D);
        let end = self.ahead.iter().position(ends).map(|at| at + 1);
        let len = end.unwrap_or(self.ahead.len()).min(count);
        (len > 0).then(|| self.ahead.drain(..len).collect())
    }

    /// Ctrl-C: discards typed input and interrupts the foreground.
    fn interrupt(&mut self) {
        self.ahead.clear();
        self.line.clear();
        self.uart.transmit(b"^C\r\n");
        self.foreground.interrupt();
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
        let handled = match request {
            Request::Walk { fid, newfid, names } => self.walk(tag, fid, newfid, &names),
            Request::Read { fid, count, offset } => self.read(tag, fid, offset, count),
            Request::Readdir { fid, count, offset } => self.list(tag, fid, offset, count),
            _ => self.handle(&request).map(Some),
        };
        match handled {
            Ok(Some(reply)) => self.reply(tag, &reply),
            Ok(None) => {}
            Err(errno) => self.reply(tag, &Reply::Error(errno)),
        }
        self.patience = self.patience.saturating_sub(1);
        if self.question.is_open() && self.patience == 0 {
            self.stop_asking();
        }
        self.serve_waiting();
    }

    fn reply(&self, tag: u16, reply: &Reply<'_>) {
        let mut head = [0; 512];
        let payload: &[u8] = match reply {
            Reply::Read { data } | Reply::Readdir { data } => data,
            _ => &[],
        };
        if let Ok(n) = ninep::encode_reply_head(tag, reply, payload.len(), &mut head) {
            self.replies.send([&head[..n], payload]);
        }
    }

    fn handle(&mut self, request: &Request<'_>) -> Result<Reply<'static>, Errno> {
        Ok(match *request {
            Request::Version { msize, version } => self.version(msize, version),
            Request::Attach { fid, .. } => {
                self.add_fid(fid, Node::Root)?;
                Reply::Attach {
                    qid: Node::Root.qid(),
                }
            }
            Request::Lopen { fid, .. } => Reply::Lopen {
                qid: self.node(fid)?.qid(),
                iounit: self.msize - IOHDRSZ,
            },
            Request::Getattr { fid, .. } => Reply::Getattr(self.node(fid)?.attributes()),
            // Truncating a console or setting its times has no effect.
            Request::Setattr { fid, .. } => {
                self.node(fid)?;
                Reply::Setattr
            }
            Request::Statfs { fid } => {
                self.node(fid)?;
                Reply::Statfs(StatFs::default())
            }
            Request::Fsync { fid, .. } => {
                self.node(fid)?;
                Reply::Fsync
            }
            Request::Write { fid, data, .. } => {
                self.write(fid, data)?;
                Reply::Write {
                    count: data.len() as u32,
                }
            }
            Request::Clunk { fid } => {
                self.node(fid)?;
                self.clunk(fid);
                Reply::Clunk
            }
            Request::Remove { fid } => {
                self.node(fid)?;
                self.clunk(fid);
                return Err(Errno::EPERM);
            }
            Request::Lcreate { .. } | Request::Mkdir { .. } => return Err(Errno::EPERM),
            Request::Flush { oldtag } => {
                self.waiting.retain(|waiting| waiting.tag != oldtag);
                self.asking.retain(|asking| asking.read.tag != oldtag);
                Reply::Flush
            }
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }

    /// Walks as far as the names lead; creates the new fid only if all of them
    /// were found.
    fn walk(&mut self, tag: u16, fid: u32, newfid: u32, names: &Names<'_>) -> Handled {
        let mut node = self.node(fid)?;
        let mut qids = [Qid::default(); MAXWELEM];
        let mut walked = 0;
        for (name, qid) in names.iter().zip(&mut qids) {
            match node.walk(&name) {
                Some(next) => node = next,
                None if walked == 0 && node == Node::Root => return Err(Errno::ENOENT),
                None if walked == 0 => return Err(Errno::ENOTDIR),
                None => break,
            }
            *qid = node.qid();
            walked += 1;
        }
        if walked == names.len() {
            if newfid == fid {
                self.fids.insert(fid, node);
            } else {
                self.add_fid(newfid, node)?;
            }
        }
        let qids = List::new(qids.get(..walked).unwrap_or(&[]));
        self.reply(tag, &Reply::Walk { qids });
        Ok(None)
    }

    fn list(&mut self, tag: u16, fid: u32, offset: u64, count: u32) -> Handled {
        if self.node(fid)? != Node::Root {
            return Err(Errno::ENOTDIR);
        }
        let mut data = vec![0; count.min(self.msize - IOHDRSZ) as usize];
        let used = tree::list(offset, &mut data);
        let data = data.get(..used).unwrap_or(&[]);
        self.reply(tag, &Reply::Readdir { data });
        Ok(None)
    }

    fn write(&mut self, fid: u32, data: &[u8]) -> Result<(), Errno> {
        match self.node(fid)? {
            Node::Root => return Err(Errno::EISDIR),
            Node::Console => self.uart.transmit_text(data),
            Node::Control => {
                for order in control::orders(data)? {
                    self.order(fid, order);
                }
            }
        }
        Ok(())
    }

    fn order(&mut self, fid: u32, order: Order) {
        match order {
            Order::RawOn => {
                self.raw_by = Some(fid);
                // The typed part of a line is read again as keys.
                for byte in self.line.take_typed().into_iter().rev() {
                    self.ahead.push_front(byte);
                }
                // The window may have another size since the last time.
                if self.terminal.is_some()
                    && let Some(ask) = self.question.ask()
                {
                    self.patience = PATIENCE;
                    self.uart.transmit(ask);
                }
            }
            Order::RawOff => self.raw_off(),
            Order::Foreground(group) => self.foreground = Foreground(Some(group)),
        }
    }

    fn raw_off(&mut self) {
        let was_raw = self.raw_by.take().is_some();
        let interrupt = self.ahead.iter().rposition(|byte| *byte == CTRL_C);
        if was_raw && let Some(at) = interrupt {
            let after = self.ahead.split_off(at + 1);
            self.interrupt();
            self.ahead = after;
        }
    }

    fn version(&mut self, msize: u32, version: ByteStr<'_>) -> Reply<'static> {
        self.fids.clear();
        self.waiting.clear();
        self.asking.clear();
        self.raw_off();
        self.msize = msize.clamp(IOHDRSZ + 1, MSIZE);
        // Clients that ask for an extension get the protocol it extends.
        let known = version == VERSION_L
            || version
                .bytes()
                .strip_prefix(VERSION_L.bytes())
                .is_some_and(|rest| rest.starts_with(b"."));
        Reply::Version {
            msize: self.msize,
            version: if known { VERSION_L } else { VERSION_UNKNOWN },
        }
    }

    fn node(&self, fid: u32) -> Result<Node, Errno> {
        self.fids.get(&fid).copied().ok_or(Errno::EBADF)
    }

    fn add_fid(&mut self, fid: u32, node: Node) -> Result<(), Errno> {
        if self.fids.len() >= FIDS_MAX {
            return Err(Errno::ENFILE);
        }
        if self.fids.contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        self.fids.insert(fid, node);
        Ok(())
    }

    /// Removes a fid; reads that wait on it are interrupted.
    fn clunk(&mut self, fid: u32) {
        self.fids.remove(&fid);
        if self.raw_by == Some(fid) {
            self.raw_off();
        }
        let mut ended = Vec::new();
        self.waiting.retain(|waiting| {
            if waiting.fid == fid {
                ended.push(waiting.tag);
            }
            waiting.fid != fid
        });
        self.asking.retain(|asking| {
            if asking.read.fid == fid {
                ended.push(asking.read.tag);
            }
            asking.read.fid != fid
        });
        for tag in ended {
            self.reply(tag, &Reply::Error(Errno::EINTR));
        }
    }

    /// Returns true if another read may wait.
    fn may_wait(&self) -> bool {
        self.waiting.len() + self.asking.len() < WAITING_MAX
    }

    /// Queues a read of the console behind those that wait already.
    fn read(&mut self, tag: u16, fid: u32, offset: u64, count: u32) -> Handled {
        let node = self.node(fid)?;
        let count = count.min(self.msize - IOHDRSZ) as usize;
        match node {
            Node::Root => return Err(Errno::EISDIR),
            Node::Control => {
                if self.question.is_open() && self.may_wait() {
                    let read = Waiting { tag, fid, count };
                    self.asking.push(Asking { offset, read });
                } else {
                    self.describe(tag, offset, count);
                }
                return Ok(None);
            }
            Node::Console => {}
        }
        if count == 0 {
            return Ok(Some(Reply::Read { data: &[] }));
        }
        if !self.may_wait() {
            return Err(Errno::EAGAIN);
        }
        self.waiting.push_back(Waiting { tag, fid, count });
        Ok(None)
    }
}
