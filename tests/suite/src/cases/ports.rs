//! Receive ports: several channels at once, what a read leaves of a message, ports
//! that are full. Some need the privileges of a driver, which the suite has when
//! the boot option `drivers=1` says so.

use super::Case;
use crate::check::{PG, Verdict, equal, fails, patterned, same, snapshot};
use crate::liar::{Liar, Next, served};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use rt::abi::{Received, mode};
use rt::{Errno, File, Port, Shared, process, send, sys};

pub const CASES: &[Case] = &[
    Case::new("port.several", several),
    Case::new("port.timeout", timeout),
    Case::new("port.rest", rest),
    Case::new("port.rest.asleep", rest_asleep),
    Case::new("port.full", full),
    Case::driver("drivers.interrupts", interrupts),
];

fn several() -> Verdict {
    let port = Port::new()?;
    let mut ends = Vec::new();
    for key in 10..14u64 {
        let (ours, theirs) = File::pipe()?;
        port.add(&theirs, key)?;
        ends.push((key, ours, theirs));
    }
    let pid = process::spawn(|| {
        let sent = ends.iter().rev();
        let sent = sent.map(|(key, ours, _)| send(ours, [&key.to_le_bytes()]));
        u8::from(sent.into_iter().any(|result| result.is_err()))
    })?;
    let mut buffer = [0; 16];
    let mut keys = Vec::new();
    for _ in 0..4 {
        let received = port.receive(&mut buffer, 5_000_000_000)?;
        same("kind", received.kind, Received::MESSAGE)?;
        same("length", received.len, 8)?;
        same(
            "message and key",
            &buffer[..8],
            &received.key.to_le_bytes()[..],
        )?;
        keys.push(received.key);
    }
    keys.sort_unstable();
    same("keys", &keys[..], &[10, 11, 12, 13])?;
    process::wait_for(pid)?;
    let (_, ours, _) = ends.swap_remove(0);
    drop(ours);
    let received = port.receive(&mut buffer, 5_000_000_000)?;
    same("after closing", received.kind, Received::HANGUP)
}

fn timeout() -> Verdict {
    let port = Port::new()?;
    let (_ours, theirs) = File::pipe()?;
    port.add(&theirs, 1)?;
    let mut buffer = [0; 16];
    fails(
        "nothing came",
        port.receive(&mut buffer, 1_000_000),
        Errno::ETIMEDOUT,
    )?;
    fails("no wait", port.receive(&mut buffer, 0), Errno::ETIMEDOUT)
}

/// What a short read leaves of a message is received by the port.
fn rest() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let port = Port::new()?;
    port.add(&theirs, 7)?;
    let text = patterned(2, 0, 100);
    ours.write_all(&text)?;
    let mut buffer = [0; 100];
    same("a short read", theirs.read(&mut buffer[..10])?, 10)?;
    let received = port.receive(&mut buffer[10..], 0)?;
    same("the rest", (received.key, received.len), (7, 90))?;
    equal("the message", &buffer, &text)
}

/// Also where somebody waits at the port already, and the reader's own buffer
/// sleeps: each byte is received once, and nobody waits for what is there.
fn rest_asleep() -> Verdict {
    /// How long the server takes to wake the buffer, and a message to come.
    const SLOW_NS: u64 = 10_000_000;
    let liar = Liar {
        snapshots: true,
        ..Liar::default()
    };
    let serve = |channel: &File| {
        liar.serve(channel, |turn| {
            if matches!(turn.request, ninep::Request::Read { .. }) {
                // It takes so long if it is interrupted.
                let _ = sys::sleep(SLOW_NS);
            }
            Next::Honest
        })
    };
    served(serve, |path| {
        let (ours, theirs) = File::pipe()?;
        let port = Port::new()?;
        port.add(&theirs, 7)?;
        let shared = Shared::new(PG)?;
        process::spawn(|| {
            // The sender's end is to be closed with the sender.
            drop(File::from_fd(ours.fd()));
            let mut buffer = [0; 100];
            while let (Ok(received), Ok(sum)) =
                (port.receive(&mut buffer, u64::MAX), shared.number(0))
            {
                match received.kind {
                    Received::MESSAGE => sum.fetch_add(received.len, Relaxed),
                    _ => return 0,
                };
            }
            1
        })?;
        process::spawn(|| {
            let sent = (0..2).map(|_| sys::sleep(SLOW_NS).and_then(|()| send(&ours, [&[1; 100]])));
            u8::from(sent.into_iter().any(|sent| sent.is_err()))
        })?;
        drop(ours);
        let mut segment = snapshot(1)?;
        File::open(path, mode::OREAD)?.read_at(segment.bytes_mut(), 0)?;
        let read = theirs.read(&mut segment.bytes_mut()[100..110])?;
        // In whatever order.
        for _ in 0..2 {
            same("status", process::wait()?.status(), 0)?;
        }
        let received = shared.number(0)?.load(Relaxed);
        // The port may have been first each time.
        ensure!(read == 0 || read == 10, "{read} bytes read");
        same("bytes", read + received as usize, 200)
    })
}

/// A port that is full refuses a channel, which is as it was.
fn full() -> Verdict {
    let port = Port::new()?;
    let fill = |port: &Port| {
        let mut ends = Vec::new();
        loop {
            let (ours, theirs) = File::pipe()?;
            match port.add(&theirs, ends.len() as u64) {
                Ok(()) => ends.push((ours, theirs)),
                Err(Errno::ENFILE) => return Ok::<_, Errno>((ends, (ours, theirs))),
                Err(errno) => return Err(errno),
            }
            // A source stays when its channel has gone.
            ends.pop();
        }
    };
    let (_, (ours, theirs)) = fill(&port)?;
    let other = Port::new()?;
    other.add(&theirs, 5)?;
    ours.write_all(b"here")?;
    let mut buffer = [0; 8];
    same("its key", other.receive(&mut buffer, 0)?.key, 5)?;
    fails("at both", port.add(&theirs, 6), Errno::EBUSY)?;
    drop((other, theirs));
    same("left by a reader", ours.write(b"x"), Err(Errno::EPIPE))
}

/// Nor does one that is full take an interrupt from those who have room.
fn interrupts() -> Verdict {
    /// The ISA line of the second serial port, which no driver uses.
    const LINE: u64 = 3;
    let port = Port::new()?;
    let mut sources = 0;
    while port.add(&File::pipe()?.1, sources).is_ok() {
        sources += 1;
    }
    fails("no room", port.add_interrupt(1, LINE), Errno::ENFILE)?;
    let other = Port::new()?;
    other.add_interrupt(1, LINE)?;
    fails("taken", Port::new()?.add_interrupt(1, LINE), Errno::EBUSY)
}
