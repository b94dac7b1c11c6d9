//! Starting servers, and what a server receives.

use crate::process::{self, Fork};
use crate::{Args, ByteStr, ByteString, Failure, File, Named, Port, Replies, eprintln, sys};
use abi::{Errno, Received, SERVICE_FD};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

const SERVICE: u32 = SERVICE_FD as u32;

/// A server that was started.
pub struct Service {
    /// The process that serves.
    pub pid: u64,
    /// The client's end of the channel, to be mounted.
    pub channel: File,
}

/// The path of the program for a name typed by a user: in `/bin` if the name
/// contains no slash.
pub fn path_of(name: ByteStr<'_>) -> ByteString {
    match name.contains(&b'/') {
        true => name.to_owned(),
        false => ByteString([b"/bin/", name.bytes()].concat()),
    }
}

/// In the child of a program `who` that runs a command: becomes the command, or ends with a
/// shell's status.
pub fn become_command(who: &str, name: ByteStr<'_>, command: Args) -> ! {
    let path = path_of(name);
    let argv: Vec<ByteStr<'_>> = command.iter().collect();
    let errno = process::exec(&path, &argv);
    eprintln!("{who}: {path}: {errno}");
    let status = match errno {
        Errno::ENOENT | Errno::ENOTDIR => 127,
        _ => 126,
    };
    process::exit_now(status, errno.text())
}

/// Starts the program at `path` with a channel as [`abi::SERVICE_FD`] and no
/// other privileges than `privileges`.
pub fn start<'a>(
    path: impl Into<ByteStr<'a>>,
    argv: &[impl AsRef<[u8]>],
    privileges: u64,
) -> Result<Service, Failure> {
    let path = path.into();
    let (ours, theirs) = File::pipe().about("channel")?;
    match process::fork().about(path)? {
        Fork::Parent(pid) => Ok(Service { pid, channel: ours }),
        Fork::Child => {
            drop(ours);
            become_server(path, argv, theirs, privileges)
        }
    }
}

/// In the child: moves the channel to its place and runs the program.
fn become_server(
    path: ByteStr<'_>,
    argv: &[impl AsRef<[u8]>],
    channel: File,
    privileges: u64,
) -> ! {
    let moved = match channel.fd() {
        SERVICE => Ok(channel.into_fd()),
        _ => channel.dup_to(SERVICE).map(|moved| {
            drop(channel);
            moved.into_fd()
        }),
    };
    let errno = match moved.and_then(|_| sys::privilege(privileges)) {
        Ok(_) => process::exec(path, argv),
        Err(errno) => errno,
    };
    crate::eprintln!("{path}: {errno}");
    process::exit_now(1, errno.text())
}

/// Keys at the receive port of [`Requests`].
const CLIENT: u64 = 0;
const DEVICE: u64 = 1;

/// What a server of one client receives, one thing at a time.
pub struct Requests {
    port: Port,
    replies: Rc<Replies>,
    message: Vec<u8>,
}

/// The next thing that arrived.
pub enum Arrival<'m> {
    /// A message of the client.
    Message(&'m [u8]),
    /// The interrupt of [`Requests::listen`].
    Interrupt,
    /// Nothing in time.
    Nothing,
    /// The client is gone.
    End,
}

impl Requests {
    /// For the channel at [`abi::SERVICE_FD`], and messages of `most` bytes; and where
    /// the answers go.
    pub fn new(most: u32) -> Result<(Requests, Rc<Replies>), Failure> {
        let channel = File::from_fd(SERVICE);
        let port = Port::new().about("receive port")?;
        port.add(&channel, CLIENT).about("service channel")?;
        let replies = Rc::new(Replies::new(channel));
        let requests = Requests {
            port,
            replies: replies.clone(),
            message: vec![0; most as usize],
        };
        Ok((requests, replies))
    }

    /// Receives the interrupts of that line, too.
    pub fn listen(&self, line: u64) -> Result<(), Failure> {
        let added = self.port.add_interrupt(DEVICE, line);
        added.map(drop).about(format_args!("interrupt {line}"))
    }

    /// Waits that many nanoseconds at most; `u64::MAX`: without a limit.
    pub fn next(&mut self, timeout_ns: u64) -> Result<Arrival<'_>, Failure> {
        let (port, message) = (&self.port, &mut self.message);
        let received = self.replies.receive(port, message, timeout_ns, None);
        self.arrival(received)
    }

    /// Sends an answer of any length, gathered from `parts`, and waits for the next thing
    /// without a limit, in one call.
    pub fn answer<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<Arrival<'_>, Failure> {
        let (port, message) = (&self.port, &mut self.message);
        let received = self.replies.send_and_receive(port, parts, message);
        self.arrival(received)
    }

    fn arrival(&self, received: Result<(Received, usize), Errno>) -> Result<Arrival<'_>, Failure> {
        let (received, _) = match received {
            Err(Errno::ETIMEDOUT) => return Ok(Arrival::Nothing),
            received => received.about("receive port")?,
        };
        Ok(match received.kind {
            Received::MESSAGE => {
                let message = self.message.get(..received.len as usize);
                Arrival::Message(message.unwrap_or(&self.message))
            }
            Received::INTERRUPT => Arrival::Interrupt,
            _ => Arrival::End,
        })
    }
}
