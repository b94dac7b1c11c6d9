//! System calls: from registers to plain functions and back.
//!
//! No argument is trusted. Numbers are checked where they are used, and
//! addresses are used only through `seg::user`.
mod arguments;
mod directory;
mod file;
mod inside;
mod memory;
mod message;
mod process;
mod system;
pub mod trace;

use crate::counters;
use crate::proc::{Process, Running, note};
use crate::sched::relief;
use crate::text;
use abi::{Call, Errno, Stat64, encode};
use arguments::Arguments;
use directory::Bring;
use hw::TrapFrame;

/// The one entry for system calls.
#[inline]
pub fn syscall(process: &Running, frame: &mut TrapFrame) {
    match crate::trace::is_on() {
        false => perform(process, frame),
        true => trace::traced(process, frame),
    }
}

#[inline]
fn perform(process: &Running, frame: &mut TrapFrame) {
    counters::add(Stat64::Calls, 1);
    // Asked for first, it pays nothing for the others.
    if frame.rax == Call::GetPid as u64 {
        frame.rax = encode(Ok(process.pid));
        return;
    }
    let result = match Call::from_number(frame.rax) {
        Some(call) => run(process, call, frame),
        None => Err(Errno::ENOSYS),
    };
    if let Err(errno) = result {
        record(process, errno);
    }
    frame.rax = encode(result);
}

/// Calls that can be repeated after they have failed for lack of memory.
const REPEATABLE: &[Call] = {
    use Call::*;
    &[
        RFork,
        Exec,
        SegAttach,
        SegFree,
        Pipe,
        Port,
        PortAdd,
        Note,
        Open,
        Create,
        Seek,
        ReadDir,
        ReadDirStat,
        Stat,
        LStat,
        FStat,
        FWStat,
        FSync,
        ReadLink,
        SymLink,
        Link,
        Remove,
        Rename,
        ChDir,
        Bind,
        NameInfo,
        Unmount,
        WStat,
        OpenIn,
        CreateIn,
        StatIn,
        ReadLinkIn,
        SymLinkIn,
        RemoveIn,
    ]
};

/// Runs a call.
#[inline]
fn run(process: &Running, call: Call, frame: &mut TrapFrame) -> Result<u64, Errno> {
    if call == Call::Exchange {
        return exchange(process, frame);
    }
    repeat(process, call, frame)
}

// As `dispatch`, and without what a call does about memory.
#[inline(never)]
fn exchange(process: &Running, frame: &mut TrapFrame) -> Result<u64, Errno> {
    message::exchange(&Arguments { process, frame })
}

/// Runs a call, and repeats it if it failed for lack of memory and others have given
/// some back.
#[inline(never)]
fn repeat(process: &Running, call: Call, frame: &mut TrapFrame) -> Result<u64, Errno> {
    let mut tries = relief::Tries::default();
    loop {
        let result = dispatch(process, call, frame);
        if result != Err(Errno::ENOMEM)
            || !REPEATABLE.contains(&call)
            || !relief::relieve(&mut tries)?
        {
            return result;
        }
        process.error.lock().explained = false;
    }
}

// Inlined, it would save the registers of all calls for each.
#[inline(never)]
fn dispatch(process: &Running, call: Call, frame: &mut TrapFrame) -> Result<u64, Errno> {
    let a = &mut Arguments { process, frame };
    match call {
        Call::GetPid => Ok(process.pid),
        Call::Exits => process::exits(a).value(),
        Call::RFork => process::rfork(a),
        Call::Exec => process::exec(a),
        Call::Wait => process::wait(a),
        Call::Kill => process::kill(a).value(),
        Call::KillAll => process::kill_all(a),
        Call::Notify => note::notify(process, a.words()[0]).value(),
        Call::Noted => process::noted(a),
        Call::Note => process::note(a).value(),
        Call::SemAcquire => process::acquire(a).value(),
        Call::SemRelease => process::release(a),
        Call::ProcInfo => process::info(a),
        Call::Sleep => process::sleep(a).value(),
        Call::ThreadBase => hw::task::set_thread_base(a.words()[0]).ok_or(Errno::EINVAL),
        Call::Privilege => process::privilege(a),
        Call::ErrStr => process::errstr(a),
        Call::Open => file::open(a),
        Call::Create => file::create(a),
        Call::Close => a.close(a.words()[0]).value(),
        Call::PRead => file::pread(a),
        Call::PWrite => file::pwrite(a),
        Call::Seek => file::seek(a),
        Call::Stat => file::stat(a).value(),
        Call::LStat => file::lstat(a).value(),
        Call::ReadLink => file::read_link(a),
        Call::SymLink => file::symlink(a).value(),
        Call::Link => file::link(a).value(),
        Call::FStat => file::fstat(a).value(),
        Call::FWStat => file::fwstat(a).value(),
        Call::Remove => file::remove(a).value(),
        Call::Rename => file::rename(a).value(),
        Call::WStat => file::wstat(a).value(),
        Call::OpenIn => inside::open(a),
        Call::CreateIn => inside::create(a),
        Call::StatIn => inside::stat(a).value(),
        Call::ReadLinkIn => inside::read_link(a),
        Call::SymLinkIn => inside::symlink(a).value(),
        Call::RemoveIn => inside::remove(a).value(),
        Call::ReadDir => directory::read(a, Bring::Names),
        Call::ReadDirStat => directory::read(a, Bring::Attributes),
        Call::FSync => file::fsync(a).value(),
        Call::Dup => file::dup(a),
        Call::ChDir => file::chdir(a).value(),
        Call::GetWd => file::getwd(a),
        Call::Bind => file::bind(a).value(),
        Call::Mount => file::mount(a).value(),
        Call::Unmount => file::unmount(a).value(),
        Call::SegAttach => memory::attach(a),
        Call::SegDetach => memory::detach(a).value(),
        Call::SegFree => memory::free(a).value(),
        Call::PageOut => memory::page_out(a),
        Call::MemInfo => memory::info(a),
        Call::Physical => memory::physical(a),
        Call::Pipe => message::pipe(a).value(),
        Call::Port => message::port(a),
        Call::PortAdd => message::port_add(a).value(),
        Call::PortIrq => message::port_irq(a),
        Call::Recv => message::recv(a),
        Call::Send => message::send(a),
        Call::Exchange => message::exchange(a),
        Call::ReplyRecv => message::reply_recv(a),
        Call::ReadLent => message::read_lent(a),
        Call::KStat => system::kstat(a),
        Call::Counters => system::counters(a).value(),
        Call::FailAlloc => system::fail_alloc(a),
        Call::SwapOn => system::swap_on(a).value(),
        Call::Audit => system::audit(a),
        Call::BootOptions => system::boot_options(a),
        Call::NameInfo => file::name_info(a),
        Call::Trace => trace::call(a),
        Call::Log => system::log(a).value(),
        Call::Verdict => system::verdict(a).value(),
        Call::Halt => system::halt(a),
    }
}

/// The value of a call that only succeeds or fails is 0, of one that may do nothing 1
/// or 0.
trait Value {
    fn value(self) -> Result<u64, Errno>;
}

impl Value for Result<(), Errno> {
    #[inline]
    fn value(self) -> Result<u64, Errno> {
        self.map(|()| 0)
    }
}

impl Value for Result<bool, Errno> {
    fn value(self) -> Result<u64, Errno> {
        self.map(u64::from)
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
