//! No memory for the answer of a server, or to ask it to forget a request.

use super::{BLOCKS, MOST, fail};
use crate::cases::server;
use crate::check::{PG, Verdict, at_rest, fails, same};
use crate::liar::{Liar, Next, Turn, served_at};
use crate::tiny::{Fault, Tiny};
use core::sync::atomic::Ordering::Relaxed;
use ninep::consts::{MAXWELEM, qid};
use ninep::{List, Qid, Reply, Request};
use rt::abi::rfork;
use rt::note::{self, Then};
use rt::process::{self, Fork};
use rt::{Errno, File, Shared, mode, send, sys};

/// Makes a directory.
pub(super) fn make_directory(path: &str) -> Result<(), Errno> {
    File::create(path, mode::OREAD, mode::DMDIR | 0o700).map(drop)
}

/// Makes every allocation fail, as a count.
const EVERY: u64 = u32::MAX as u64;

const PLACE: &str = "/mnt";
const FOLDER: Qid = Qid {
    kind: qid::DIR,
    version: 0,
    path: 1,
};
const FILE: Qid = Qid {
    kind: 0,
    version: 0,
    path: 2,
};

/// A call that changes something at the server.
type Change<'a> = dyn Fn() -> Result<(), Errno> + 'a;

/// The answer to a request, and whether the request changes something.
fn answer<'a>(request: &Request<'_>, qids: &'a [Qid; MAXWELEM]) -> Option<(Reply<'a>, bool)> {
    Some(match request {
        Request::Attach { .. } => (Reply::Attach { qid: FOLDER }, false),
        Request::Walk { names, .. } => {
            let qids = List::new(qids.get(..names.len())?);
            (Reply::Walk { qids }, false)
        }
        Request::Lcreate { .. } => {
            let (qid, iounit) = (FILE, 0);
            (Reply::Lcreate { qid, iounit }, true)
        }
        Request::Mkdir { .. } => (Reply::Mkdir { qid: FOLDER }, true),
        Request::Symlink { .. } => (Reply::Symlink { qid: FILE }, true),
        Request::Link { .. } => (Reply::Link, true),
        Request::Renameat { .. } => (Reply::Renameat, true),
        Request::Unlinkat { .. } => (Reply::Unlinkat, true),
        Request::Setattr { .. } => (Reply::Setattr, true),
        _ => return None,
    })
}

/// Answers while the kernel finds no memory for it, until the answer is taken.
fn answer_without_memory(turn: &mut Turn<'_>, reply: &Reply<'_>) -> Result<(), Errno> {
    for count in 1..MOST {
        fail(BLOCKS, count)?;
        let sent = turn.reply(turn.tag, reply);
        fail(BLOCKS, 0)?;
        match sent {
            Err(Errno::ENOMEM) => {}
            sent => return sent,
        }
    }
    Err(Errno::ENOMEM)
}

/// Of a change that a server has made the program hears, and the kernel asks for it once.
pub(super) fn taken() -> Verdict {
    let asked = Shared::new(PG)?;
    let serve = |channel: &File| {
        Liar::default().serve(channel, |turn| {
            let Some((reply, changes)) = answer(turn.request, &[FILE; MAXWELEM]) else {
                return Next::Honest;
            };
            let sent = match changes {
                false => turn.reply(turn.tag, &reply),
                true => {
                    if let Ok(asked) = asked.number(0) {
                        asked.fetch_add(1, Relaxed);
                    }
                    answer_without_memory(turn, &reply)
                }
            };
            match sent {
                Ok(()) => Next::Done,
                Err(_) => Next::End(3),
            }
        })
    };
    let alone = mode::OWRITE | mode::OEXCL;
    served_at(PLACE, serve, |_| {
        let (old, new) = ("/mnt/old", "/mnt/new");
        let changes: [(&str, &Change<'_>); 6] = [
            ("create", &|| File::create(new, alone, 0o600).map(drop)),
            ("mkdir", &|| make_directory(new)),
            ("symlink", &|| sys::symlink("text", new)),
            ("link", &|| sys::link(old, new)),
            ("rename", &|| sys::rename(old, new)),
            ("remove", &|| sys::remove(old)),
        ];
        for (name, change) in changes {
            asked.number(0)?.store(0, Relaxed);
            same(name, change(), Ok(()))?;
            same(name, asked.number(0)?.load(Relaxed), 1)?;
        }
        Ok(())
    })
}

/// A request that a note interrupts is over soon although its account has no memory for the
/// message that the server is to forget it.
pub(super) fn flush() -> Verdict {
    /// More than there are blocks for messages that need no memory.
    const MESSAGES: usize = 40;
    const A_WHILE_NS: u64 = 20_000_000;
    const LOOKS: usize = 100;
    let silent = Tiny {
        snapshots: false,
        fault: Fault::Silent,
    };
    let (ours, _theirs) = File::pipe()?;
    for _ in 0..MESSAGES {
        send(&ours, [b"x"])?;
    }
    let (me, shared) = (sys::getpid(), Shared::new(PG)?);
    let (over, noted) = (shared.number(0)?, shared.semaphore(8)?);
    // Has the account of the reader and its own no memory from when the reader waits until
    // it does no longer.
    let withhold = || -> Verdict {
        at_rest()?;
        fail(BLOCKS, EVERY)?;
        noted.release(1)?;
        for _ in 0..LOOKS {
            sys::sleep(A_WHILE_NS)?;
            if over.load(Relaxed) == 1 {
                break;
            }
        }
        fail(BLOCKS, 0)?;
        match over.swap(1, Relaxed) {
            1 => Ok(()),
            _ => Ok(process::kill(me, "it waits for ever")?),
        }
    };
    // In an account that has memory, and runs while the others wait.
    let interrupt = || -> Result<(), Errno> {
        noted.acquire()?;
        note::send(me, "enough")?;
        while over.load(Relaxed) == 0 {
            core::hint::spin_loop();
        }
        Ok(())
    };
    note::handle(|_, _| Then::Resume)?;
    server::with(silent, |path| {
        let file = File::open(path, mode::OREAD)?;
        let withholds = process::spawn(|| u8::from(withhold().is_err()))?;
        let sends = match process::fork_with(rfork::NOTES)? {
            Fork::Parent(pid) => pid,
            Fork::Child => process::exit_now(u8::from(interrupt().is_err()), ""),
        };
        let read = file.read_at(&mut [0; 8], 0);
        over.store(1, Relaxed);
        for pid in [withholds, sends] {
            same("a status", process::wait_for(pid)?.status(), 0)?;
        }
        fails("the read", read, Errno::EINTR)
    })
}
