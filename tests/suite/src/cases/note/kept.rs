//! A note that comes while a call waits for a page takes nothing away.

use super::{A_WHILE_NS, HAD, count, passed};
use crate::check::{PG, Verdict, Why, equal, patterned, same, snapshot};
use crate::liar::{Liar, Next, served};
use crate::raw;
use crate::tiny::{LEN, SEED};
use crate::unhurried;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use ninep::{Reply, Request};
use rt::abi::Registers;
use rt::note::{self, Then};
use rt::process;
use rt::{Call, File, Segment, mode, sys};

/// A child that sends this process a note after a while.
fn note_in_a_while() -> Result<u64, Why> {
    let me = sys::getpid();
    let sender = process::spawn(|| {
        let slept = sys::sleep(A_WHILE_NS);
        u8::from(slept.and_then(|()| note::send(me, "b")).is_err())
    })?;
    Ok(sender)
}

/// The file that [`put_asleep`] uses, and the process that sends the second note.
static FILE: AtomicU64 = AtomicU64::new(0);
static SENDER: AtomicU64 = AtomicU64::new(0);

/// Has the page of its registers filled from a file, and a note come meanwhile.
fn put_asleep(registers: &mut Registers, text: &str) -> Then {
    if text == "a" {
        let (fd, page) = (FILE.load(Relaxed), (&raw const *registers) as u64);
        let args = [fd, page, PG as u64, 0, 0, 0];
        // SAFETY: the page gets the content that it has.
        let moved = unsafe {
            let written = raw::call(Call::PWrite, args);
            (written, raw::call(Call::PRead, args))
        };
        let sender = note_in_a_while().unwrap_or(0);
        SENDER.store(sender, Relaxed);
        if moved != (Ok(PG as u64), Ok(PG as u64)) {
            return Then::End;
        }
    }
    count(registers, text)
}

/// The registers under a handler are asleep when it ends.
pub(super) fn registers() -> Verdict {
    const PAGES: usize = 16;
    served(unhurried::serve, |path| {
        let file = File::open(path, mode::ORDWR)?;
        FILE.store(file.fd().into(), Relaxed);
        note::handle(put_asleep)?;
        let segment = snapshot(PAGES)?;
        // The registers lie at the start of the last page, the stack of the handler in
        // those before it.
        let page = segment.address() + ((PAGES - 1) * PG) as u64;
        let red_zone_and_text = 128 + 2;
        let stack = page + (size_of::<Registers>() + red_zone_and_text) as u64;
        // SAFETY: while the stack is elsewhere, only the handler uses it.
        unsafe {
            asm!(
                "mov r13, rsp", "mov rsp, r12", "syscall", "mov rsp, r13",
                in("r12") stack, out("r13") _,
                inlateout("rax") Call::Note as u64 => _, in("rdi") sys::getpid(),
                in("rsi") b"a".as_ptr(), in("rdx") 1,
                out("rcx") _, out("r11") _,
            );
        }
        passed(SENDER.load(Relaxed))?;
        same("notes had", HAD.load(Relaxed), 2)
    })
}

/// A server has given a line away when the page that it is for has still to come.
pub(super) fn line() -> Verdict {
    let line = b"a line\n";
    let gives = |channel: &File| {
        Liar::default().serve(channel, |turn| match turn.request {
            Request::Read { .. } => match turn.reply(turn.tag, &Reply::Read { data: line }) {
                Ok(()) => Next::Done,
                Err(_) => Next::End(3),
            },
            _ => Next::Honest,
        })
    };
    let reads = |asleep: &str, path: &str| {
        note::handle(count)?;
        let (pages, lines) = (
            File::open(asleep, mode::OREAD)?,
            File::open(path, mode::OREAD)?,
        );
        let hint = rt::abi::snapshot::RANDOM;
        let mut segment = Segment::attach_with("snapshot", 4 * PG, 0, hint)?;
        same("bytes asleep", pages.read_at(segment.bytes_mut(), 0)?, LEN)?;
        let sender = note_in_a_while()?;
        let got = lines.read_at(&mut segment.bytes_mut()[..3 * PG], 0)?;
        same("bytes of the line", got, line.len())?;
        passed(sender)?;
        same("notes had", HAD.load(Relaxed), 1)?;
        let mut want = patterned(SEED, 0, LEN);
        want[..line.len()].copy_from_slice(line);
        equal("the buffer", &segment.bytes()[..LEN], &want)
    };
    served(unhurried::serve, |asleep| {
        served(gives, |path| reads(asleep, path))
    })
}
