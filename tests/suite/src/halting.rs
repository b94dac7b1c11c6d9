//! Servers of which the end of programs asks something when the machine stops. They need the
//! boot option `services=1`: with it the machine stops after them.
//!
//! `suite halting NAME` mounts such a server, and leaves a program that has its file open
//! many times. What the server says goes to the kernel's log, which nobody has to answer.

use crate::liar::{Liar, Next, Turn, close_all_but};
use alloc::format;
use alloc::vec::Vec;
use core::hint::black_box;
use ninep::Request;
use rt::process::{self, Fork};
use rt::{Errno, Failure, File, Named, mode, sys};

/// How often the file is open, which is as often as the server is asked.
const OPEN: usize = 30;
/// The time that the server takes for each.
const EACH_NS: u64 = 100_000_000;
/// Something to do that takes less.
const ROUNDS: u64 = 300_000;
const PLACE: &str = "/tmp/halting";
/// A file of another server.
const OTHER: &str = "/n/host/other";
const FOR_EVER: u64 = u64::MAX >> 1;

/// A server that, asked to close the file, does this.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// It takes its time for each.
    Slow,
    /// It never answers.
    Mute,
    /// It computes, and never answers.
    Spins,
    /// It never answers, and a process of its own has others answer for ever.
    Stalls,
}

fn server(name: &str) -> Result<Server, Failure> {
    match name {
        "slow" => Ok(Server::Slow),
        "mute" => Ok(Server::Mute),
        "spins" => Ok(Server::Spins),
        "stalls" => Ok(Server::Stalls),
        _ => Err(Failure::usage("no such server")),
    }
}

/// `suite halting NAME`.
pub fn begin(name: &str) -> Result<u8, Failure> {
    let server = server(name)?;
    if server == Server::Stalls {
        File::create(OTHER, mode::ORDWR, 0o600).about(OTHER)?;
    }
    let (ours, theirs) = File::pipe().about("channel")?;
    if let Fork::Child = process::fork().about("server")? {
        close_all_but(&[&theirs]);
        process::exit_now(server.serve(&theirs), "");
    }
    drop(theirs);
    File::create(PLACE, mode::ORDWR, 0o600).about(PLACE)?;
    ours.mount(PLACE).about(PLACE)?;
    if let Fork::Child = process::fork().about("program")? {
        process::exit_now(u8::from(hold().is_err()), "");
    }
    while File::open(READY, mode::OREAD).is_err() {
        sys::sleep(EACH_NS).about("time")?;
    }
    Ok(0)
}

/// There once the program has the file open.
const READY: &str = "/tmp/halting.ready";

/// A program, and no service.
fn hold() -> Result<(), Errno> {
    sys::privilege(0)?;
    let open = (0..OPEN).map(|_| File::open(PLACE, mode::OREAD));
    let files: Vec<File> = open.collect::<Result<_, _>>()?;
    File::create(READY, mode::ORDWR, 0o600)?;
    sys::sleep(FOR_EVER)?;
    drop(files);
    Ok(())
}

impl Server {
    fn serve(self, channel: &File) -> u8 {
        let mut closed = 0;
        Liar::default().serve(channel, |turn| match turn.request {
            Request::Clunk { .. } => {
                closed += 1;
                self.close(turn, closed)
            }
            _ => Next::Honest,
        })
    }

    fn close(self, turn: &mut Turn<'_>, closed: usize) -> Next {
        match self {
            Server::Slow => {
                wait(EACH_NS);
                say(&format!("closed {closed}"));
                // The last answer may end the machine.
                match turn.answer() {
                    Ok(()) => Next::Done,
                    Err(_) => Next::End(1),
                }
            }
            Server::Mute => goes_on(|| wait(EACH_NS)),
            Server::Spins => goes_on(|| {
                black_box((0..ROUNDS).map(black_box).sum::<u64>());
            }),
            Server::Stalls => {
                if let Ok(Fork::Child) = process::fork() {
                    has_others_answer();
                }
                goes_on(|| wait(10 * EACH_NS))
            }
        }
    }
}

/// Does something again and again, and says that it is still there.
fn goes_on(mut act: impl FnMut()) -> ! {
    loop {
        say("still here");
        act();
    }
}

fn has_others_answer() -> ! {
    loop {
        if let Ok(file) = File::open(OTHER, mode::OREAD) {
            let _ = file.read(&mut [0; 1]);
        }
        wait(EACH_NS);
    }
}

fn wait(ns: u64) {
    let _ = sys::sleep(ns);
}

fn say(text: &str) {
    let _ = sys::log(text.as_bytes());
}
