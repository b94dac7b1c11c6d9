//! A message and the wait for the next in one call: between two programs, and in a
//! server; with arguments that are wrong, other sides that are full, closed or silent,
//! notes and kills in between.

use super::Case;
use crate::check::{PG, Verdict, Why, at_rest, equal, fails, patterned, same, snapshot};
use crate::liar::{Liar, served};
use crate::raw;
use crate::tiny::{Fault, SEED, Tiny};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use ninep::Reply;
use ninep::consts::NOTAG;
use rt::abi::{LOAN_MAX, Outgoing, Received, Replying, mode};
use rt::note::{self, Then};
use rt::{Call, Errno, File, Port, Shared, exchange, process, send, sys};

pub const CASES: &[Case] = &[
    Case::new("exchange.sizes", sizes),
    Case::new("exchange.rest", rest),
    Case::new("exchange.asleep", asleep),
    Case::new("exchange.wrong", wrong),
    Case::new("exchange.full", full),
    Case::new("exchange.closed", closed),
    Case::new("exchange.noted", noted),
    Case::new("exchange.killed", killed),
    Case::new("exchange.turns", turns),
    Case::new("reply.both", both),
    Case::new("reply.wrong", wrong_reply),
    Case::new("reply.closed", closed_reply),
    Case::new("reply.late", late),
    Case::new("reply.long", long),
    Case::new("reply.served", served_by_calls),
];

const A_WHILE_NS: u64 = 10_000_000;
/// Longest message that these cases send.
const LONG: usize = 3 * PG;

/// A process at the other end of a channel that answers each message with the same, one
/// more in each byte, until the channel is closed.
fn with_echo(body: impl FnOnce(&File) -> Verdict) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        drop(File::from_fd(ours.fd()));
        let mut message = vec![0; LONG];
        let mut got = theirs.read(&mut message);
        while let Ok(n @ 1..) = got {
            let answer: Vec<u8> = message[..n].iter().map(|b| b.wrapping_add(1)).collect();
            got = exchange(&theirs, &answer, &mut message);
        }
        u8::from(got.is_err())
    })?;
    drop(theirs);
    let verdict = body(&ours);
    drop(ours);
    let ended = process::wait_for(pid)?;
    verdict?;
    same("status of the other", ended.status(), 0)
}

/// Messages of any size go and come back.
fn sizes() -> Verdict {
    with_echo(|ours| {
        for len in [1, 7, 8, 127, 128, 129, 2048, 2049, PG, LONG - 1, LONG] {
            let message = patterned(7, len as u64, len);
            let expected: Vec<u8> = message.iter().map(|b| b.wrapping_add(1)).collect();
            let mut answer = vec![0; LONG];
            let got = exchange(ours, &message, &mut answer)?;
            same("bytes", got, len)?;
            equal("the answer", &answer[..got], &expected)?;
        }
        Ok(())
    })
}

/// What the buffer has no room for is read next.
fn rest() -> Verdict {
    with_echo(|ours| {
        let mut answer = [0; 100];
        same("bytes", exchange(ours, &[4; 100], &mut answer[..30])?, 30)?;
        same("the rest", ours.read(&mut answer[30..])?, 70)?;
        equal("the answer", &answer, &[5; 100])?;
        same("none", exchange(ours, &[4; 100], &mut [])?, 0)?;
        same("all", ours.read(&mut answer)?, 100)
    })
}

/// Both buffers sleep, at a server that is asked for them in the middle of the call.
fn asleep() -> Verdict {
    let liar = Liar {
        snapshots: true,
        ..Liar::default()
    };
    let serve = |channel: &File| liar.serve(channel, |_| crate::liar::Next::Honest);
    served(serve, |path| {
        with_echo(|ours| {
            let (mut from, mut to) = (snapshot(4)?, snapshot(4)?);
            for segment in [&mut from, &mut to] {
                File::open(path, mode::OREAD)?.read_at(segment.bytes_mut(), 0)?;
            }
            let message = &from.bytes()[PG - 50..2 * PG + 50];
            let got = exchange(ours, message, &mut to.bytes_mut()[10..4 * PG - 10])?;
            same("bytes", got, PG + 100)?;
            let file = patterned(SEED, 0, 4 * PG);
            let mut expected = file.clone();
            for (to, from) in expected[10..].iter_mut().zip(&file[PG - 50..2 * PG + 50]) {
                *to = from.wrapping_add(1);
            }
            equal("the buffer", to.bytes(), &expected)
        })
    })
}

/// The arguments of an `Exchange`.
fn exchange_raw(fd: &File, out: (u64, u64), into: (u64, u64)) -> Result<u64, Errno> {
    let fd = u64::from(fd.fd());
    // SAFETY: the callers name no memory that Rust code uses but their own buffers.
    unsafe { raw::call(Call::Exchange, [fd, out.0, out.1, into.0, into.1, 0]) }
}

const NOWHERE: u64 = 0x1234_5678_0000;
const KERNEL: u64 = 0xffff_8000_0000_0000;

/// With a wrong argument nothing is sent.
fn wrong() -> Verdict {
    static TEXT: [u8; 16] = [1; 16];
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 1)?;
    let mut buffer = [0u8; 16];
    let (at, text) = (buffer.as_mut_ptr() as u64, TEXT.as_ptr() as u64);
    let cases = [
        ("nowhere", (NOWHERE, 8), (at, 16), Errno::EFAULT),
        ("the kernel's", (KERNEL, 8), (at, 16), Errno::EFAULT),
        ("round the end", (u64::MAX - 3, 8), (at, 16), Errno::EFAULT),
        ("long, nowhere", (NOWHERE, 5000), (at, 16), Errno::EFAULT),
        ("too long", (text, (1 << 20) + 1), (at, 16), Errno::EMSGSIZE),
        ("endless", (text, u64::MAX), (at, 16), Errno::EFAULT),
        ("to nowhere", (text, 8), (NOWHERE, 16), Errno::EFAULT),
        ("to the kernel", (text, 8), (KERNEL, 16), Errno::EFAULT),
        ("to constants", (text, 8), (text, 16), Errno::EFAULT),
        (
            "to an endless buffer",
            (text, 8),
            (at, u64::MAX),
            Errno::EFAULT,
        ),
    ];
    for (what, out, into, errno) in cases {
        fails(what, exchange_raw(&ours, out, into), errno)?;
        fails(what, port.receive(&mut [0; 16], 0), Errno::ETIMEDOUT)?;
    }
    let good = |fd: &File| exchange_raw(fd, (text, 8), (at, 16));
    let (port_fd, closed) = (File::from_fd(port.fd()), File::from_fd(60));
    fails("a port", good(&port_fd), Errno::EINVAL)?;
    fails("no descriptor", good(&closed), Errno::EBADF)?;
    fails("a file", good(&File::open("/dev/zero", 0)?), Errno::EINVAL)?;
    // They are others' to close.
    port_fd.into_fd();
    closed.into_fd();
    Ok(())
}

/// An exchange does not wait for room, and sends nothing where there is none.
fn full() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    // As many as wait at one side.
    for number in 0..64u8 {
        send(&ours, [&[number]])?;
    }
    send(&theirs, [b"an answer"])?;
    let mut buffer = [0; 16];
    fails("full", exchange(&ours, b"x", &mut buffer), Errno::EAGAIN)?;
    same("the answer", ours.read(&mut buffer)?, 9)?;
    for number in 0..64u8 {
        same("read", theirs.read(&mut buffer)?, 1)?;
        same("in order", buffer[0], number)?;
    }
    drop(ours);
    same("nothing else", theirs.read(&mut buffer)?, 0)
}

/// The other side is closed before, or without an answer.
fn closed() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    drop(theirs);
    fails("closed", exchange(&ours, b"x", &mut [0; 8]), Errno::EPIPE)?;
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        drop(File::from_fd(ours.fd()));
        u8::from(theirs.read(&mut [0; 8]) != Ok(1))
    })?;
    drop(theirs);
    same("at the end", exchange(&ours, b"x", &mut [0; 8])?, 0)?;
    same("status", process::wait_for(pid)?.status(), 0)
}

/// A note ends the wait: the message was sent, and its answer is read later.
fn noted() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        let inside = || {
            note::handle(|_, _| Then::Resume)?;
            let got = exchange(&ours, b"question", &mut [0; 8]);
            fails("the exchange", got, Errno::EINTR)?;
            same("the answer", ours.read(&mut [0; 8])?, 6)
        };
        u8::from(inside().is_err())
    })?;
    at_rest()?;
    note::send(pid, "wake up")?;
    let mut buffer = [0; 16];
    same("the question", theirs.read(&mut buffer)?, 8)?;
    send(&theirs, [b"answer"])?;
    same("status", process::wait_for(pid)?.status(), 0)?;
    drop(ours);
    same("nothing else", theirs.read(&mut buffer)?, 0)
}

/// One that is killed while it waits has sent its message once.
fn killed() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        drop(File::from_fd(theirs.fd()));
        let _ = exchange(&ours, b"last words", &mut [0; 8]);
        0
    })?;
    drop(ours);
    at_rest()?;
    process::kill(pid, "in the middle")?;
    let mut buffer = [0; 16];
    same("the message", theirs.read(&mut buffer)?, 10)?;
    same("the end", theirs.read(&mut buffer)?, 0)?;
    process::wait_for(pid)?;
    fails("nobody", send(&theirs, [b"x"]), Errno::EPIPE)
}

/// Two that run each other keep nobody else from running.
fn turns() -> Verdict {
    let shared = Shared::new(PG)?;
    let others = process::spawn(|| {
        let Ok(done) = shared.number(0) else { return 1 };
        let play = |ours: &File| {
            while done.load(Relaxed) == 0 {
                exchange(ours, &[1], &mut [0; 8])?;
            }
            Ok(())
        };
        u8::from(with_echo(play).is_err())
    })?;
    sys::sleep(A_WHILE_NS)?;
    // They run; this one is readied by the clock, and does not sleep again.
    for _ in 0..100 {
        sys::sleep(0)?;
    }
    shared.number(0)?.store(1, Relaxed);
    same("status", process::wait_for(others)?.status(), 0)
}

/// A server that replies and waits, and a client that asks and waits.
fn both() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        drop(File::from_fd(ours.fd()));
        let serve = || {
            let port = Port::new()?;
            port.add(&theirs, 9)?;
            let mut message = vec![0; LONG];
            let mut received = port.receive(&mut message, u64::MAX)?;
            while received.kind == Received::MESSAGE {
                same("key", received.key, 9)?;
                let asked = message[..received.len as usize].to_vec();
                let parts = [asked.as_slice(), b"!"];
                let (sent, next) =
                    port.reply_and_receive((&theirs, parts), &mut message, u64::MAX, None);
                sent?;
                (received, _) = next?;
            }
            same("the end", received.kind, Received::HANGUP)
        };
        u8::from(serve().is_err())
    })?;
    drop(theirs);
    for len in [1, 100, 127, 128, 2000, PG, LONG] {
        let mut message = patterned(3, 0, len);
        let mut answer = vec![0; LONG + 1];
        let got = exchange(&ours, &message, &mut answer)?;
        message.push(b'!');
        equal("the answer", &answer[..got], &message)?;
    }
    drop(ours);
    same("status", process::wait_for(pid)?.status(), 0)
}

/// A `ReplyRecv` with any arguments.
fn reply_raw(port: u64, message: (u64, u64), record: u64, loan: u64) -> Result<u64, Errno> {
    let (va, room) = message;
    // SAFETY: the callers name no memory that Rust code uses but their own buffers.
    unsafe { raw::call(Call::ReplyRecv, [port, va, room, record, 0, loan]) }
}

/// With a wrong argument nothing is sent, and nothing is received.
fn wrong_reply() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 1)?;
    send(&ours, [b"request"])?;
    let (bytes, mut buffer) = ([7u8; 4], [0u8; 16]);
    let slice = [bytes.as_ptr() as u64, 4];
    let good = Outgoing {
        fd: theirs.fd().into(),
        slices: slice.as_ptr() as u64,
        count: 1,
    };
    let nothing = |what: &str| same(what, ours_has(&ours), Ok(false));
    let to = (buffer.as_mut_ptr() as u64, 16);
    let port_fd = u64::from(port.fd());
    let outgoing = [
        (
            "a port",
            Outgoing {
                fd: port_fd,
                ..good
            },
            Errno::EINVAL,
        ),
        ("no descriptor", Outgoing { fd: 60, ..good }, Errno::EBADF),
        (
            "slices nowhere",
            Outgoing {
                slices: NOWHERE,
                ..good
            },
            Errno::EFAULT,
        ),
        (
            "slices of the kernel",
            Outgoing {
                slices: KERNEL,
                ..good
            },
            Errno::EFAULT,
        ),
        ("nine slices", Outgoing { count: 9, ..good }, Errno::E2BIG),
        (
            "endless slices",
            Outgoing {
                count: u64::MAX,
                ..good
            },
            Errno::E2BIG,
        ),
    ];
    for (what, reply, errno) in outgoing {
        let mut record = Replying {
            reply,
            ..Replying::default()
        };
        let at = &raw mut record as u64;
        fails(what, reply_raw(port_fd, to, at, 0), errno)?;
        same(what, record.received, Received::default())?;
        nothing(what)?;
    }
    let mut record = Replying {
        reply: good,
        ..Replying::default()
    };
    let at = &raw mut record as u64;
    let calls = [
        ("not a port", good.fd, to, at, 0, Errno::EINVAL),
        ("no port", 60, to, at, 0, Errno::EBADF),
        ("to nowhere", port_fd, (NOWHERE, 16), at, 0, Errno::EFAULT),
        ("to the kernel", port_fd, (KERNEL, 16), at, 0, Errno::EFAULT),
        ("record nowhere", port_fd, to, NOWHERE, 0, Errno::EFAULT),
        (
            "record at the end",
            port_fd,
            to,
            u64::MAX - 8,
            0,
            Errno::EFAULT,
        ),
        ("a loan", port_fd, to, at, to.0, Errno::EPERM),
    ];
    for (what, port, to, record, loan, errno) in calls {
        fails(what, reply_raw(port, to, record, loan), errno)?;
        nothing(what)?;
    }
    reply_raw(port_fd, to, at, 0)?;
    same(
        "received",
        (record.received.kind, record.received.len),
        (Received::MESSAGE, 7),
    )?;
    let mut got = [0; 8];
    same("sent", ours.read(&mut got)?, 4)?;
    // Nobody is told a physical address without the privilege.
    let mut loan = [0; LOAN_MAX];
    let (_, received) = port.reply_and_receive((&theirs, [b"x"]), &mut got, 0, Some(&mut loan));
    fails("a loan", received.map(drop), Errno::EPERM)
}

/// Returns true if a message waits at this end, which then has one less.
fn ours_has(end: &File) -> Result<bool, Errno> {
    let port = Port::new()?;
    // A port is a channel's only one as long as it lives.
    port.add(end, 0)?;
    match port.receive(&mut [0; 64], 0) {
        Ok(_) => Ok(true),
        Err(Errno::ETIMEDOUT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The client is gone: the server hears of it once, and then that it has hung up.
fn closed_reply() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 3)?;
    send(&ours, [b"last"])?;
    drop(ours);
    let mut buffer = [0; 16];
    let (sent, next) = port.reply_and_receive((&theirs, [b"x"]), &mut buffer, 0, None);
    fails("sending", sent, Errno::EPIPE)?;
    same("what was sent", next?.0.len, 4)?;
    let (sent, next) = port.reply_and_receive((&theirs, [b"x"]), &mut buffer, 0, None);
    fails("sending", sent, Errno::EPIPE)?;
    same("hung up", next?.0.kind, Received::HANGUP)
}

/// Nothing comes in time: the reply was sent, once.
fn late() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 3)?;
    let mut buffer = [0; 16];
    for patience in [0, A_WHILE_NS] {
        let reply = (&theirs, [b"reply".as_slice()]);
        let (sent, next) = port.reply_and_receive(reply, &mut buffer, patience, None);
        sent?;
        fails("receiving", next.map(drop), Errno::ETIMEDOUT)?;
    }
    for _ in 0..2 {
        same("read", ours.read(&mut buffer)?, 5)?;
    }
    drop((theirs, port));
    same("nothing else", ours.read(&mut buffer)?, 0)
}

/// The next message is too long, and lost as ever: the reply was sent, once.
fn long() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 3)?;
    send(&ours, [&[0; 17]])?;
    let mut buffer = [0; 16];
    let (sent, next) = port.reply_and_receive((&theirs, [b"reply"]), &mut buffer, 0, None);
    sent?;
    fails("receiving", next.map(drop), Errno::EMSGSIZE)?;
    fails("lost", port.receive(&mut buffer, 0), Errno::ETIMEDOUT)?;
    same("read", ours.read(&mut buffer)?, 5)?;
    drop((theirs, port));
    same("nothing else", ours.read(&mut buffer)?, 0)
}

/// A file server of these calls. It answers before it has received the request, or all
/// of it, and requests that are gone: the kernel refuses what is no reply, and the
/// server receives the next request all the same.
fn served_by_calls() -> Verdict {
    let honest = Tiny {
        snapshots: false,
        fault: Fault::None,
    };
    let serve = |channel: &File| {
        let inside = || {
            let port = Port::new()?;
            port.add(channel, 0)?;
            let (mut message, mut out) = (vec![0; 150_000], vec![0; 150_000]);
            let mut content = patterned(SEED, 0, 4 * PG);
            let strange = Reply::Error(Errno::EIO);
            // The kernel has sent its first request, and one byte of it is received.
            let mut start = [0; 1];
            channel.read(&mut start)?;
            let early = ninep::encode_reply(NOTAG, &strange, &mut out);
            let mut len = early.map_err(|_| Errno::EPROTO)?;
            let mut refused = true;
            loop {
                let reply = (channel, [&out[..1], &out[1..len]]);
                let (sent, next) = port.reply_and_receive(reply, &mut message, u64::MAX, None);
                match sent {
                    Err(Errno::EPROTO) if refused => {}
                    // The client has gone.
                    Err(Errno::EPIPE) => {}
                    sent => sent?,
                }
                let (received, _) = next?;
                if received.kind != Received::MESSAGE {
                    return Ok(());
                }
                let came = message.get(..received.len as usize).unwrap_or(&[]);
                let first: &[u8] = if refused { &start } else { &[] };
                let came = &[first, came].concat();
                let (tag, request) = ninep::decode_request(came).map_err(|_| Errno::EPROTO)?;
                // One for a tag that is gone.
                let gone = ninep::encode_reply(tag ^ 0x4000, &strange, &mut out);
                let gone = gone.map_err(|_| Errno::EPROTO)?;
                match send(channel, [&out[..gone]]) {
                    // The last request is that of a client that goes.
                    Err(Errno::EPROTO | Errno::EPIPE) => {}
                    _ => return Err(Why("a reply for a tag that is gone".into())),
                }
                let answer = honest.respond(tag, &request, &mut content, &mut out);
                len = answer.ok_or(Errno::EPROTO)?;
                refused = false;
            }
        };
        match inside() {
            Ok(()) => 0,
            Err(Why(_)) => 1,
        }
    };
    served(serve, |path| {
        let file = File::open(path, mode::OREAD)?;
        let mut got = vec![0; 100];
        same("read", file.read_at(&mut got, 0)?, 100)?;
        equal("the file", &got, &patterned(SEED, 0, 100))
    })
}
