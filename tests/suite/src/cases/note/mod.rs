//! Notes: their receivers, the abilities of handlers, the calls they interrupt.

mod interrupts;
mod kept;

use super::{Case, server};
use crate::check::{PG, Verdict, Why, at_rest, fails, same, snapshot};
use crate::raw;
use crate::tiny::{Fault, Tiny};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use rt::abi::{NOTES_MAX, Registers, STATUS_KILLED, TEXT_MAX, noted, rfork};
use rt::console::CONTROL;
use rt::note::{self, Then};
use rt::process::{self, Ended, Fork};
use rt::{Call, Errno, File, Shared, mode, sys};

pub const CASES: &[Case] = &[
    Case::new("note.unhandled", unhandled),
    Case::new("note.handled", handled),
    Case::new("note.end", end),
    Case::new("note.errors", errors),
    Case::new("note.waiting", waiting),
    Case::new("note.group", group),
    Case::new("note.group.self", group_self),
    Case::new("note.exec", exec),
    Case::new("note.fork", fork),
    Case::new("note.leave", leave),
    Case::new("note.registers", registers),
    Case::new("note.fault.mended", mended),
    Case::new("note.fault.skipped", skipped),
    Case::dies(
        "note.fault.end",
        fault_end,
        &["sys: trap: fault read addr=0x10 pc=0x", "no segment"],
    ),
    Case::dies(
        "note.fault.nested",
        fault_nested,
        &["sys: trap: fault write addr=0x20 pc=0x"],
    ),
    Case::dies(
        "note.stack.lost",
        stack_lost,
        &["no stack for note", "hello"],
    ),
    Case::deferred("note.stack.asleep", stack_asleep),
    Case::deferred("note.kept.registers", kept::registers),
    Case::deferred("note.kept.line", kept::line),
    Case::new("note.interrupts.sleep", interrupts::sleep),
    Case::new("note.interrupts.wait", interrupts::wait),
    Case::new("note.interrupts.read", interrupts::read),
    Case::new("note.interrupts.send", interrupts::send),
    Case::new("note.interrupts.port", interrupts::port),
    Case::new("note.interrupts.semaphore", interrupts::semaphore),
    Case::new("note.interrupts.server", interrupts::server),
    Case::new("note.interrupts.loop", interrupts::steady),
    Case::new("note.interrupts.files", interrupts::files),
    Case::deferred("note.interrupts.touch", interrupts::touch),
    Case::deferred("note.interrupts.call", interrupts::call),
    Case::deferred("note.interrupts.release", interrupts::release),
    Case::new("note.console", console),
];

/// Long enough for another process to get where it waits.
const A_WHILE_NS: u64 = 20_000_000;

/// Notes that the handler of this process has had.
static HAD: AtomicU32 = AtomicU32::new(0);

fn count(_: &mut Registers, _: &str) -> Then {
    HAD.fetch_add(1, Relaxed);
    Then::Resume
}

fn killed(ended: &Ended, text: &str) -> Verdict {
    same("status", u32::from(ended.status()), STATUS_KILLED)?;
    same("text", ended.text(), text)
}

fn child(body: impl FnOnce() -> Verdict) -> Result<u64, Errno> {
    match process::fork()? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => match body() {
            Ok(()) => process::exit(0, ""),
            Err(Why(why)) => process::exit(1, &why),
        },
    }
}

fn passed(pid: u64) -> Verdict {
    let ended = process::wait_for(pid)?;
    ensure!(ended.status() == 0, "{}", ended.text());
    Ok(())
}

fn unhandled() -> Verdict {
    let pid = child(|| Ok(sys::sleep(u64::MAX / 2)?))?;
    at_rest()?;
    note::send(pid, "interrupt")?;
    killed(&process::wait_for(pid)?, "interrupt")?;
    // One that never calls the kernel.
    let pid = child(|| {
        loop {
            core::hint::spin_loop();
        }
    })?;
    sys::sleep(A_WHILE_NS)?;
    note::send(pid, "hangup")?;
    killed(&process::wait_for(pid)?, "hangup")
}

fn handled() -> Verdict {
    fn check(_: &mut Registers, text: &str) -> Then {
        HAD.store(if text == "a text, größer" { 1 } else { 2 }, Relaxed);
        Then::Resume
    }
    note::handle(check)?;
    note::send(sys::getpid(), "a text, größer")?;
    same("what the handler saw", HAD.load(Relaxed), 1)
}

fn end() -> Verdict {
    let pid = child(|| {
        note::handle(|_, _| Then::End)?;
        Ok(sys::sleep(u64::MAX / 2)?)
    })?;
    at_rest()?;
    note::send(pid, "no thanks")?;
    killed(&process::wait_for(pid)?, "no thanks")
}

fn errors() -> Verdict {
    let me = sys::getpid();
    fails("to nobody", note::send(u64::MAX >> 2, "x"), Errno::ESRCH)?;
    let nobody = note::send_group(u64::MAX >> 2, "x");
    fails("to no group", nobody, Errno::ESRCH)?;
    // The kernel would take the number for a pid.
    for group in [0, me.wrapping_neg()] {
        let sent = note::send_group(group, "x");
        fails("to a number of no group", sent, Errno::EINVAL)?;
        let ended = process::kill_group(group, "x");
        fails("the end of such a group", ended, Errno::EINVAL)?;
    }
    fails("to init", note::send(1, "x"), Errno::EPERM)?;
    fails("nothing", note::send(me, ""), Errno::EINVAL)?;
    let long = "x".repeat(TEXT_MAX + 1);
    fails("too long", note::send(me, &long), Errno::ENAMETOOLONG)?;
    // SAFETY: neither call touches memory.
    let (noted, handler) = unsafe {
        let handler = 1 << 47;
        (
            raw::call(Call::Noted, [0; 6]),
            raw::call(Call::Notify, [handler, 0, 0, 0, 0, 0]),
        )
    };
    fails("noted without a note", noted, Errno::EINVAL)?;
    fails("a handler in the kernel", handler, Errno::EINVAL)?;
    note::handle(count)?;
    note::send(me, &long[1..])?;
    same("notes had", HAD.load(Relaxed), 1)
}

/// Ctrl-C is for no server, and for no single process.
fn console() -> Verdict {
    let control = File::open(CONTROL, mode::OWRITE)?;
    for group in [0, 1, 1 << 63, u64::MAX] {
        let order = alloc::format!("fg {group}");
        fails(&order, control.write(order.as_bytes()), Errno::EINVAL)?;
    }
    Ok(())
}

/// Notes wait while one is handled, up to a limit.
fn waiting() -> Verdict {
    static MEMORY: AtomicU64 = AtomicU64::new(0);
    fn slow(_: &mut Registers, _: &str) -> Then {
        if HAD.fetch_add(1, Relaxed) == 0 {
            // Also: nothing interrupts a handler's own calls.
            // SAFETY: changes the semaphore alone.
            let got = unsafe {
                raw::call(
                    Call::SemAcquire,
                    [MEMORY.load(Relaxed), u64::MAX, 0, 0, 0, 0],
                )
            };
            if got != Ok(1) {
                return Then::End;
            }
        }
        Then::Resume
    }
    let shared = Shared::new(PG)?;
    MEMORY.store(shared.address(), Relaxed);
    let ready = shared.number(4)?;
    let pid = child(|| {
        note::handle(slow)?;
        ready.store(1, Relaxed);
        while HAD.load(Relaxed) < 1 + NOTES_MAX as u32 {
            let _ = sys::sleep(1_000_000);
        }
        Ok(())
    })?;
    while ready.load(Relaxed) == 0 {
        sys::sleep(1_000_000)?;
    }
    note::send(pid, "first")?;
    at_rest()?;
    for _ in 0..NOTES_MAX {
        note::send(pid, "more")?;
    }
    fails("one too many", note::send(pid, "last"), Errno::EAGAIN)?;
    shared.semaphore(0)?.release(1)?;
    passed(pid)
}

fn group() -> Verdict {
    let leader = match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let inner = process::spawn(|| u8::from(sys::sleep(u64::MAX / 2).is_ok()));
            let _ = note::handle(count);
            let ended = inner.and_then(|pid| {
                let interrupted = process::wait_for(pid);
                interrupted.or_else(|_| process::wait_for(pid))
            });
            let inner_died = ended.is_ok_and(|e| e.text() == "everybody");
            process::exit(u8::from(!inner_died || HAD.load(Relaxed) != 1), "");
        }
    };
    let outside = process::spawn(|| u8::from(sys::sleep(10 * A_WHILE_NS).is_err()))?;
    at_rest()?;
    note::send_group(leader, "everybody")?;
    for _ in 0..2 {
        let ended = process::wait()?;
        let known = ended.pid() == leader || ended.pid() == outside;
        ensure!(known, "an unknown process {}", ended.pid());
        same("status", ended.status(), 0)?;
    }
    Ok(())
}

/// A process that leaves its group is no longer interrupted with it, nor is the
/// sender interrupted.
fn group_self() -> Verdict {
    process::change(rfork::NOTES)?;
    let stays = process::spawn(|| u8::from(sys::sleep(u64::MAX / 2).is_ok()))?;
    let leaves = process::spawn(|| {
        let left = process::change(rfork::NOTES);
        u8::from(left.is_err() || sys::sleep(5 * A_WHILE_NS).is_err())
    })?;
    at_rest()?;
    note::send_group(sys::getpid(), "out")?;
    killed(&process::wait_for(stays)?, "out")?;
    same("the other's status", process::wait_for(leaves)?.status(), 0)
}

/// A new program does not have the old one's handler.
fn exec() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let pid = child(|| {
        note::handle(count)?;
        theirs.dup_to(0)?.into_fd();
        Err(process::exec("/bin/cat", &["cat"]).into())
    })?;
    at_rest()?;
    note::send(pid, "stop")?;
    let ended = process::wait_for(pid)?;
    drop(ours);
    killed(&ended, "stop")
}

/// A child has its parent's handler, and a child made by a handler goes on
/// where its parent does.
fn fork() -> Verdict {
    static CHILD: AtomicU64 = AtomicU64::new(0);
    fn forks(_: &mut Registers, _: &str) -> Then {
        if HAD.fetch_add(1, Relaxed) == 0
            && let Ok(Fork::Parent(pid)) = process::fork()
        {
            CHILD.store(pid, Relaxed);
        }
        Then::Resume
    }
    note::handle(forks)?;
    note::send(sys::getpid(), "fork")?;
    if CHILD.load(Relaxed) == 0 {
        note::send(sys::getpid(), "again")?;
        process::exit((4 + HAD.load(Relaxed)) as u8, "");
    }
    let ended = process::wait_for(CHILD.load(Relaxed))?;
    same("the child's status", ended.status(), 6)
}

/// A handler that leaves its stack behind for good can be interrupted again.
fn leave() -> Verdict {
    fn leaves(_: &mut Registers, _: &str) -> Then {
        if HAD.fetch_add(1, Relaxed) == 1 {
            process::exit(0, "");
        }
        // SAFETY: touches no memory.
        let left = unsafe { raw::call(Call::Noted, [noted::LEAVE, 0, 0, 0, 0, 0]) };
        if left == Ok(0) {
            let _ = note::send(sys::getpid(), "second");
        }
        Then::End
    }
    note::handle(leaves)?;
    note::send(sys::getpid(), "first")?;
    Err(Why("it went on".into()))
}

/// A note between any two instructions changes no register and no flag.
fn registers() -> Verdict {
    fn spoils(_: &mut Registers, _: &str) -> Then {
        HAD.fetch_add(1, Relaxed);
        // SAFETY: the direction flag is put back; soft-float code uses no
        // vector register.
        unsafe { asm!("std", "pxor xmm5, xmm5", "pxor xmm6, xmm6", "cld") };
        Then::Resume
    }
    note::handle(spoils)?;
    let (me, ran) = (sys::getpid(), Shared::new(PG)?);
    let sender = process::spawn(|| {
        while ran.number(0).is_ok_and(|n| n.load(Relaxed) == 0) {
            let _ = note::send(me, "now");
            let _ = sys::sleep(300_000);
        }
        0
    })?;
    let mut wrong: u64 = 0;
    while HAD.load(Relaxed) < 50 && wrong == 0 {
        wrong = watch();
    }
    ran.number(0)?.store(1, Relaxed);
    // The last notes may still come while it is waited for.
    while process::wait_for(sender).is_err() {}
    same("registers that changed", wrong, 0)
}

/// Keeps numbers in registers, in flags and below the stack pointer for a
/// while; the bits that did not stay.
fn watch() -> u64 {
    let wrong: u64;
    // SAFETY: all registers used are declared; soft-float code uses no vector
    // register; memory below the stack pointer is unused.
    unsafe {
        asm!(
            "mov r8, 0x1111", "mov r9, 0x2222", "mov r10, 0x3333", "mov r11, 0x4444",
            "mov rcx, 0x5555", "mov rdi, 0x6666", "movq xmm5, r8", "movq xmm6, rdi",
            "mov [rsp - 120], r9", "mov edx, 300000", "stc", "std",
            // `dec` leaves the carry alone.
            "2: dec edx", "jnz 2b",
            "mov rax, [rsp - 120]", "pushfq", "pop rsi", "cld", "xor rax, r9",
            "not rsi", "and esi, 0x401", "or rax, rsi",
            "movq rsi, xmm5", "xor rsi, r8", "or rax, rsi",
            "movq rsi, xmm6", "xor rsi, rdi", "or rax, rsi",
            "xor r8, 0x1111", "xor r9, 0x2222", "xor r10, 0x3333", "xor r11, 0x4444",
            "xor rcx, 0x5555", "xor rdi, 0x6666",
            "or rax, r8", "or rax, r9", "or rax, r10", "or rax, r11", "or rax, rcx", "or rax, rdi",
            out("rax") wrong, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    wrong
}

/// A load from nowhere, of which the handler makes one from somewhere.
fn mended() -> Verdict {
    static GOOD: u64 = 0x600d;
    fn mend(registers: &mut Registers, text: &str) -> Then {
        let expected = text.starts_with("sys: trap: fault read addr=0x18 pc=0x")
            && registers.address == 0x18
            && registers.trap == 14;
        if !expected {
            return Then::End;
        }
        registers.rcx = (&raw const GOOD) as u64;
        Then::Resume
    }
    note::handle(mend)?;
    let got: u64;
    // SAFETY: the address is not valid at first; the handler puts it right.
    unsafe { asm!("mov rax, [rcx]", inlateout("rcx") 0x18u64 => _, lateout("rax") got) };
    same("what was loaded", got, GOOD)
}

/// An instruction that the handler steps over.
fn skipped() -> Verdict {
    fn skip(registers: &mut Registers, text: &str) -> Then {
        if !text.starts_with("sys: trap: invalid instruction pc=0x") {
            return Then::End;
        }
        registers.rip += 2;
        registers.rax = 7;
        Then::Resume
    }
    note::handle(skip)?;
    let got: u64;
    // SAFETY: `ud2` is two bytes long, and the handler steps over it.
    unsafe { asm!("ud2", lateout("rax") got) };
    same("rax", got, 7)
}

fn fault_end() -> Verdict {
    note::handle(|_, _| Then::End)?;
    // SAFETY: not valid on purpose; the process ends here.
    unsafe { asm!("mov al, [rcx]", in("rcx") 0x10u64, out("al") _) };
    Err(Why("it went on".into()))
}

fn fault_nested() -> Verdict {
    fn faults(_: &mut Registers, _: &str) -> Then {
        // SAFETY: not valid on purpose; the process ends here.
        unsafe { asm!("mov byte ptr [rcx], 1", in("rcx") 0x20u64) };
        Then::Resume
    }
    note::handle(faults)?;
    note::send(sys::getpid(), "go")?;
    Err(Why("it went on".into()))
}

/// A note when there is no stack to put it on.
fn stack_lost() -> Verdict {
    note::handle(count)?;
    let text = "hello";
    // SAFETY: the process ends in the call, for lack of a stack.
    unsafe {
        asm!(
            "mov rsp, 0x1000", "syscall", "ud2",
            in("rax") Call::Note as u64, in("rdi") sys::getpid(),
            in("rsi") text.as_ptr(), in("rdx") text.len(),
            options(noreturn),
        )
    }
}

/// While a note waits for the page of the stack that it is put on, another one
/// waits for its turn.
fn stack_asleep() -> Verdict {
    let (snapshots, fault) = (true, Fault::Silent);
    server::with(Tiny { snapshots, fault }, |path| {
        let mut segment = snapshot(1)?;
        let n = File::open(path, mode::OREAD)?.read_at(segment.bytes_mut(), 0)?;
        same("bytes asleep", n, PG)?;
        let stack = segment.address() + PG as u64;
        let pid = child(|| {
            note::handle(count)?;
            // SAFETY: the process never leaves the loop, which needs no stack.
            unsafe {
                asm!(
                    "mov rsp, {stack}",
                    "2:",
                    "mov eax, {sleep}",
                    "mov rdi, r12",
                    "syscall",
                    "jmp 2b",
                    stack = in(reg) stack,
                    sleep = const Call::Sleep as u64,
                    // A call changes rcx and r11.
                    in("r12") u64::MAX / 2,
                    options(noreturn),
                )
            }
        })?;
        for note in ["one", "two"] {
            at_rest()?;
            note::send(pid, note)?;
        }
        at_rest()?;
        process::kill(pid, "enough")?;
        let ended = process::wait_for(pid)?;
        ensure!(ended.text().contains("enough"), "{}", ended.text());
        Ok(())
    })
}
