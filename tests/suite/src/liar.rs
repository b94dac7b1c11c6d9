//! A file server that lies the way a case wants.
//!
//! It serves one file, its own root, as [`Tiny`] does. Before it answers a
//! request it calls a hook, which may answer in its own way: early, twice, under
//! another tag, with any error, with data from any memory, or never.
//!
//! ```text
//! served(
//!     |channel| Liar::default().serve(channel, |turn| match turn.request {
//!         Request::Read { .. } => turn.error(turn.tag, Errno::EINTR),
//!         _ => Next::Honest,
//!     }),
//!     |path| ...,
//! )
//! ```

use crate::check::{PG, Scratch, Verdict, Why, patterned, same};
use crate::raw;
use crate::tiny::{Fault, SEED, Tiny};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ninep::consts::{READ_HEAD, RREAD};
use ninep::{Reply, Request};
use rt::abi::{FDS_MAX, LOAN_MAX, Received, lent};
use rt::{Call, Errno, File, Port, process, send, sys};

/// Longest message of the kernel, and longest answer of a server.
const MESSAGE: usize = 150_000;

/// The fate of a request after the hook has seen it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is answered honestly.
    Honest,
    /// The hook has handled the request.
    Done,
    /// The server ends with this status.
    End(u8),
}

/// A server with one file, honest unless the hook intervenes.
#[derive(Clone, Copy)]
pub struct Liar {
    /// It speaks the snapshot messages. Its file never changes then.
    pub snapshots: bool,
    /// The longest message that it agrees to.
    pub msize: u32,
    /// Bytes in its file, of the pattern [`SEED`].
    pub len: usize,
}

impl Liar {
    const PLAIN: Liar = Liar {
        snapshots: false,
        msize: 132 * 1024,
        len: 4 * PG,
    };
    /// One that speaks the snapshot messages.
    pub const WITH_SNAPSHOTS: Liar = Liar {
        snapshots: true,
        ..Liar::PLAIN
    };
}

impl Default for Liar {
    fn default() -> Liar {
        Liar::PLAIN
    }
}

/// One request, in the hands of the hook.
pub struct Turn<'a> {
    /// Where the client is.
    pub channel: &'a File,
    /// The request's tag.
    pub tag: u16,
    /// The request.
    pub request: &'a Request<'a>,
    /// Bytes of its message.
    pub size: usize,
    honest: Tiny,
    content: &'a mut Vec<u8>,
    out: &'a mut [u8],
}

impl Turn<'_> {
    /// Answers the request honestly, now.
    pub fn answer(&mut self) -> Result<(), Errno> {
        let (tag, request) = (self.tag, self.request);
        let len = self.honest.respond(tag, request, self.content, self.out);
        send(self.channel, [&self.out[..len.ok_or(Errno::EPROTO)?]])
    }

    /// Sends any reply under any tag; returns the kernel's error.
    pub fn reply(&mut self, tag: u16, reply: &Reply<'_>) -> Result<(), Errno> {
        let len = ninep::encode_reply(tag, reply, self.out).map_err(|_| Errno::EPROTO)?;
        send(self.channel, [&self.out[..len]])
    }

    /// Answers with any error, under any tag.
    pub fn error(&mut self, tag: u16, errno: Errno) -> Next {
        // The kernel's answer is irrelevant to this hook.
        let _ = self.reply(tag, &Reply::Error(errno));
        Next::Done
    }

    /// Answers a Tread with a head that counts `len` bytes of data, and no data.
    pub fn head_alone(&mut self, tag: u16, len: usize) -> Result<(), Errno> {
        send(self.channel, [&read_head(tag, len)])
    }

    /// Answers a Tread with the `len` bytes at `address`, mapped or not: the
    /// kernel fetches them.
    pub fn data_at(&mut self, tag: u16, address: u64, len: usize) -> Result<(), Errno> {
        let head = read_head(tag, len);
        let slices = [head.as_ptr() as u64, head.len() as u64, address, len as u64];
        let (fd, at) = (u64::from(self.channel.fd()), slices.as_ptr() as u64);
        // SAFETY: the kernel only reads the slices and what they name.
        unsafe { raw::call(Call::Send, [fd, at, 2, 0, 0, 0]) }.map(drop)
    }
}

/// The head of an Rread.
fn read_head(tag: u16, len: usize) -> [u8; READ_HEAD] {
    let mut head = [0; READ_HEAD];
    head[..4].copy_from_slice(&((READ_HEAD + len) as u32).to_le_bytes());
    head[4] = RREAD;
    head[5..7].copy_from_slice(&tag.to_le_bytes());
    head[7..].copy_from_slice(&(len as u32).to_le_bytes());
    head
}

impl Liar {
    /// Serves as [`Liar::serve`] does, with the privilege of a driver: the hook is told
    /// how many pages are lent for the data of the reply.
    pub fn serve_lent(self, channel: &File, hook: impl FnMut(&mut Turn<'_>, usize) -> Next) -> u8 {
        let Ok(port) = Port::new() else { return 2 };
        if port.add(channel, 0).is_err() {
            return 2;
        }
        let receive = |message: &mut [u8]| {
            let (received, lent) = port
                .receive_with_loan(message, u64::MAX, &mut [0; LOAN_MAX])
                .ok()?;
            let came = received.kind == Received::MESSAGE;
            came.then_some((received.len as usize, lent))
        };
        self.serve_from(channel, receive, hook)
    }

    /// The same with the data of writes left where the client has it: the hook is told
    /// which parts of memory that is, as [`lent`] packs them. The request has a copy.
    pub fn serve_data(
        self,
        channel: &File,
        mut hook: impl FnMut(&mut Turn<'_>, &[u64]) -> Next,
    ) -> u8 {
        let Ok(port) = Port::new() else { return 2 };
        if port.add(channel, 0).is_err() {
            return 2;
        }
        let parts = RefCell::new(Vec::new());
        let receive = |message: &mut [u8]| {
            let mut loan = [0; LOAN_MAX];
            let (received, count) = port.receive_with_loans(message, u64::MAX, &mut loan).ok()?;
            let mut len = received.len as usize;
            parts.borrow_mut().clear();
            match received.kind {
                Received::MESSAGE => Some((len, count)),
                Received::LENT => {
                    for part in &loan[..count] {
                        let (at, part_len) = lent::part(*part);
                        let to = &mut message[len..len + part_len];
                        len += rt::read_lent(channel.fd().into(), to, at).ok()?;
                    }
                    parts.borrow_mut().extend_from_slice(&loan[..count]);
                    Some((len, count))
                }
                _ => None,
            }
        };
        self.serve_from(channel, receive, |turn, _| hook(turn, &parts.borrow()))
    }

    /// Serves until the other end is closed or the hook says so; the status of
    /// the process.
    pub fn serve(self, channel: &File, mut hook: impl FnMut(&mut Turn<'_>) -> Next) -> u8 {
        let receive = |message: &mut [u8]| match channel.read(message) {
            Ok(0) | Err(_) => None,
            Ok(n) => Some((n, 0)),
        };
        self.serve_from(channel, receive, |turn, _| hook(turn))
    }

    fn serve_from(
        self,
        channel: &File,
        mut receive: impl FnMut(&mut [u8]) -> Option<(usize, usize)>,
        mut hook: impl FnMut(&mut Turn<'_>, usize) -> Next,
    ) -> u8 {
        let honest = Tiny {
            snapshots: self.snapshots,
            fault: Fault::None,
        };
        let mut content = patterned(SEED, 0, self.len);
        let (mut message, mut out) = (vec![0; MESSAGE], vec![0; MESSAGE]);
        loop {
            let Some((n, lent)) = receive(&mut message) else {
                return 0;
            };
            let Ok((tag, request)) = ninep::decode_request(&message[..n]) else {
                return 1;
            };
            let mut turn = Turn {
                channel,
                tag,
                request: &request,
                size: n,
                honest,
                content: &mut content,
                out: &mut out,
            };
            match hook(&mut turn, lent) {
                Next::Honest => match self.honestly(&mut turn) {
                    Ok(()) => {}
                    // The client has unmounted the server.
                    Err(Errno::EPIPE) => return 0,
                    Err(_) => return 1,
                },
                Next::Done => {}
                Next::End(status) => return status,
            }
        }
    }

    fn honestly(&self, turn: &mut Turn<'_>) -> Result<(), Errno> {
        let Request::Version { msize, version } = *turn.request else {
            return turn.answer();
        };
        let version = if self.snapshots {
            version
        } else {
            ninep::consts::VERSION_L
        };
        let msize = msize.min(self.msize);
        turn.reply(turn.tag, &Reply::Version { msize, version })
    }
}

static SERVED: AtomicU32 = AtomicU32::new(0);

/// Runs `serve` as a process at one end of a channel, and `body` with the path at
/// which the other end is mounted. The server must end with status 0 when
/// nothing is mounted there and open any more.
pub fn served(serve: impl FnOnce(&File) -> u8, body: impl FnOnce(&str) -> Verdict) -> Verdict {
    // One may be served while another is.
    let number = SERVED.fetch_add(1, Relaxed);
    let place = Scratch::empty(&format!("mounted{number}"))?;
    served_at(&place.path, serve, body)
}

/// The same at a place that the case has: a directory if the server's root is one.
pub fn served_at(
    place: &str,
    serve: impl FnOnce(&File) -> u8,
    body: impl FnOnce(&str) -> Verdict,
) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        close_all_but(&[&theirs]);
        serve(&theirs)
    })?;
    drop(theirs);
    let verdict = match ours.mount(place) {
        Ok(()) => {
            let verdict = body(place);
            sys::unmount(place)?;
            verdict
        }
        Err(errno) => Err(Why(format!("mounting: {errno}"))),
    };
    let ended = process::wait_for(pid)?;
    verdict?;
    same("the server's status", ended.status(), 0)
}

/// Closes every descriptor of the process but those.
pub fn close_all_but(files: &[&File]) {
    for fd in 0..FDS_MAX as u32 {
        if files.iter().all(|file| fd != file.fd()) {
            drop(File::from_fd(fd));
        }
    }
}
