//! System calls: from registers to plain functions and back.
//!
//! No argument is trusted. Numbers are checked where they are used, and
//! addresses are used only through `seg::user`.
mod file;
mod memory;
mod message;
mod process;
mod system;

use crate::proc::{self, Process};
use crate::sched::relief;
use crate::text;
use abi::{Call, Errno, encode};
use core::fmt::{self, Display};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::TrapFrame;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// System calls so far.
pub fn count() -> u64 {
    CALLS.load(Relaxed)
}

/// The arguments of a call, in register order.
struct Arguments([u64; 6]);

impl Arguments {
    #[inline]
    fn of(frame: &TrapFrame) -> Arguments {
        Arguments([
            frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9,
        ])
    }
}

/// The one entry for system calls.
#[inline]
pub fn syscall(process: &Process, frame: &mut TrapFrame) {
    CALLS.store(CALLS.load(Relaxed) + 1, Relaxed);
    let result = match Call::from_number(frame.rax) {
        Some(call) => run(process, call, frame),
        None => Err(Errno::ENOSYS),
    };
    if let Err(errno) = result {
        record(process, errno);
    }
    frame.rax = encode(result);
}

/// Returns true if the call can be repeated after it has failed for lack of
/// memory.
fn repeatable(call: Call) -> bool {
    use Call::*;
    matches!(
        call,
        RFork
            | Exec
            | Open
            | Create
            | Seek
            | Stat
            | LStat
            | ReadLink
            | SymLink
            | Link
            | FStat
            | FWStat
            | Remove
            | Rename
            | ReadDir
            | FSync
            | ChDir
            | Bind
            | Unmount
            | SegAttach
            | SegFree
            | Pipe
            | Port
            | PortAdd
            | Note
    )
}

/// Runs a call; again if it failed for want of memory and others have given some
/// back.
#[inline]
fn run(process: &Process, call: Call, frame: &mut TrapFrame) -> Result<u64, Errno> {
    loop {
        let result = dispatch(process, call, frame);
        if result != Err(Errno::ENOMEM) || !repeatable(call) || !relief::relieve()? {
            return result;
        }
        process.error.lock().explained = false;
    }
}

fn dispatch(process: &Process, call: Call, frame: &mut TrapFrame) -> Result<u64, Errno> {
    let a = Arguments::of(frame);
    if call == Call::GetPid {
        return Ok(process.pid);
    }
    match call {
        Call::GetPid => Ok(process.pid),
        Call::Exits => process::exits(process, &a),
        Call::RFork => process::rfork(process, frame, &a),
        Call::Exec => process::exec(process, frame, &a),
        Call::Wait => process::wait(process, &a),
        Call::Kill => process::kill(process, &a),
        Call::Notify => proc::note::notify(process, a.0[0]).map(|()| 0),
        Call::Noted => proc::note::noted(process, frame, a.0[0]),
        Call::Note => process::note(process, &a),
        Call::SemAcquire => process::acquire(process, &a),
        Call::SemRelease => proc::semaphore::release(process, a.0[0], a.0[1]),
        Call::ProcInfo => process::info(process, &a),
        Call::Sleep => process::sleep(&a),
        Call::Privilege => process::privilege(process, &a),
        Call::ErrStr => process::errstr(process, &a),
        Call::Open => file::open(process, &a),
        Call::Create => file::create(process, &a),
        Call::Close => file::close(process, &a),
        Call::PRead => file::pread(process, &a),
        Call::PWrite => file::pwrite(process, &a),
        Call::Seek => file::seek(process, &a),
        Call::Stat => file::stat(process, &a),
        Call::LStat => file::lstat(process, &a),
        Call::ReadLink => file::read_link(process, &a),
        Call::SymLink => file::symlink(process, &a),
        Call::Link => file::link(process, &a),
        Call::FStat => file::fstat(process, &a),
        Call::FWStat => file::fwstat(process, &a),
        Call::Remove => file::remove(process, &a),
        Call::Rename => file::rename(process, &a),
        Call::ReadDir => file::readdir(process, &a),
        Call::FSync => file::fsync(process, &a),
        Call::Dup => file::dup(process, &a),
        Call::ChDir => file::chdir(process, &a),
        Call::GetWd => file::getwd(process, &a),
        Call::Bind => file::bind(process, &a),
        Call::Mount => file::mount(process, &a),
        Call::Unmount => file::unmount(process, &a),
        Call::SegAttach => memory::attach(process, &a),
        Call::SegDetach => memory::detach(process, &a),
        Call::SegFree => memory::free(process, &a),
        Call::Physical => memory::physical(process, &a),
        Call::Pipe => message::pipe(process, &a),
        Call::Port => message::port(process),
        Call::PortAdd => message::port_add(process, &a),
        Call::PortIrq => message::port_irq(process, &a),
        Call::Recv => message::recv(process, &a),
        Call::Send => message::send(process, &a),
        Call::KStat => system::kstat(process, &a),
        Call::Counters => system::counters(process, &a),
        Call::FailAlloc => system::fail_alloc(process, &a),
        Call::BootOptions => system::boot_options(process, &a),
        Call::Log => system::log(process, &a),
        Call::Verdict => system::verdict(process, &a),
        Call::Halt => system::halt(process, &a),
    }
}

/// Remembers the text of an error for `errstr`.
#[cold]
fn record(process: &Process, errno: Errno) {
    let mut error = process.error.lock();
    if !core::mem::take(&mut error.explained) {
        error.text = text::owned(errno.text());
    }
}

/// Gives the error of `result` a text that names its object.
fn about<T>(process: &Process, what: impl Display, result: Result<T, Errno>) -> Result<T, Errno> {
    if let Err(errno) = &result {
        explain(process, format_args!("{what}: {errno}"));
    }
    result
}

/// The error of the call in progress has this text.
#[cold]
fn explain(process: &Process, why: fmt::Arguments<'_>) {
    let mut error = process.error.lock();
    error.text = text::format(why);
    error.explained = true;
}
