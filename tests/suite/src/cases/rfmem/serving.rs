//! One of several that share memory begins to serve files, while others use that memory.

use super::races::{gated, open, wait_at};
use super::{at, attach, call, detach};
use crate::check::{PG, Scratch, Verdict, Why, at_rest, counts, pattern, same, snapshot};
use crate::judge::counters;
use crate::liar::{Liar, Next};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use rt::thread::{self, JoinHandle};
use rt::{Call, Errno, File, Segment, Shared, Stat64, sys};

/// The first answer as a file server while another's call on a buffer of four pages waits
/// for its server: `begin` begins that call, which waits at the gate, and `look` looks at
/// the buffer after it. The answer does not wait for that call, whose server might wait for
/// the answer.
fn first_answer(
    begin: fn(&Segment, u64) -> JoinHandle<Result<u64, Errno>>,
    look: fn(u64) -> Verdict,
) -> Verdict {
    let gate = Shared::new(PG)?;
    gated(&gate, |file| {
        let segment = snapshot(4)?;
        let other = begin(&segment, file.fd().into());
        wait_at(&gate)?;
        let place = Scratch::empty("serving")?;
        let (ours, theirs) = File::pipe()?;
        let serves = thread::spawn(move || Liar::default().serve(&theirs, |_| Next::Honest));
        let (path, is_mounted) = (place.path.clone(), Arc::new(AtomicU32::new(0)));
        let mounted = is_mounted.clone();
        let mounts = thread::spawn(move || {
            let result = ours.mount(&path);
            mounted.store(1, Relaxed);
            result
        });
        at_rest()?;
        let answered = is_mounted.load(Relaxed);
        open(&gate, 16)?;
        same("bytes", other.join(), Ok(3 * PG as u64))?;
        mounts.join()?;
        same("answered in the middle of the call", answered, 1)?;
        // Nothing sleeps, so nothing is to come.
        let fills = counters()?.get(Stat64::Fills);
        look(segment.address())?;
        counts("fills", counters()?.get(Stat64::Fills), fills)?;
        sys::unmount(&place.path)?;
        same("the server's end", serves.join(), 0)
    })
}

/// A read of which a part goes to a page that cannot sleep: it waits for that part.
pub(super) fn reads() -> Verdict {
    let begin = |segment: &Segment, fd| {
        let address = segment.address();
        at(address).store(1, Relaxed);
        thread::spawn(move || call(Call::PRead, [fd, address + 8, 3 * PG as u64, 0, 0, 0]))
    };
    first_answer(begin, |address| {
        for word in [0, PG as u64, 3 * PG as u64 - 8] {
            let want = u64::from_le_bytes(core::array::from_fn(|i| pattern(9, word + i as u64)));
            same("what was read", at(address + 8 + word).load(Relaxed), want)?;
        }
        Ok(())
    })
}

/// A write of zeros that no page holds: they would become sleeping bytes of the file.
pub(super) fn writes() -> Verdict {
    let begin = |segment: &Segment, fd| {
        let address = segment.address();
        thread::spawn(move || call(Call::PWrite, [fd, address, 3 * PG as u64, 0, 0, 0]))
    };
    first_answer(begin, |address| {
        for page in 0..3 {
            same("a zero", at(address + page * PG as u64).load(Relaxed), 0)?;
        }
        Ok(())
    })
}

/// A first answer as a file server that a note cuts short, while another attaches memory:
/// that memory may leave as before, where there is swap.
pub(super) fn refused() -> Verdict {
    if counters()?.get(Stat64::Eager) == 1 {
        // Its answer waits for no page.
        return Ok(());
    }
    let gate = Shared::new(PG)?;
    rt::note::handle(|_, _| rt::note::Then::Resume)?;
    gated(&gate, |file| {
        let mut segment = snapshot(4)?;
        file.read_at(segment.bytes_mut(), 0)?;
        let place = Scratch::empty("refused")?;
        let (ours, theirs) = File::pipe()?;
        let (to, pids) = rt::sync::channel();
        let serves = thread::spawn(move || {
            let _ = to.send(sys::getpid());
            Liar::default().serve(&theirs, |_| Next::Honest)
        });
        let path = place.path.clone();
        let mounts = thread::spawn(move || ours.mount(&path));
        let pid = pids.recv().map_err(|_| Why("no pid".into()))?;
        // The answer needs the page.
        wait_at(&gate)?;
        let address = attach(0, 4 * PG)?;
        for page in 0..4 {
            at(address + page * PG as u64).store(page, Relaxed);
        }
        rt::note::send(pid, "enough")?;
        // The note cuts the wait for the page short once it was held off for a while
        // (decision 47); the server then owes the answer to a flush.
        sys::sleep(100_000_000)?;
        open(&gate, 2)?;
        let status = serves.join();
        let mounted = mounts.join();
        ensure!(mounted.is_err(), "mounted, {status}");
        let out = call(Call::PageOut, [address, 4 * PG as u64, 0, 0, 0, 0]);
        counts("pages that left", out, Ok(4))?;
        detach(address)?;
        Ok(())
    })
}
