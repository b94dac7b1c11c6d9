//! `rfork`: a child with a copy of the parent's memory, shared frame by frame
//! until one of them stores, or with the same memory.
use super::{NOBODY, Parent, Process, Running, Seat, find, insert, vacancy};
use crate::file::{self, Descriptors};
use crate::name::NameSpace;
use crate::sched::{self, Slot};
use crate::seg::{self, SpaceLock, attach, spaces};
use crate::trace;
use abi::{Errno, USER_END, rfork};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::TrapFrame;
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use hw::task::Task;
use names::Table;

const FLAGS: u64 = rfork::PROC
    | rfork::MEMORY
    | rfork::FDS
    | rfork::CLEAN_FDS
    | rfork::NOTES
    | rfork::NAMES
    | rfork::CLEAN_NAMES
    | rfork::NO_WAIT
    | rfork::JOIN;
/// Those that concern a child alone.
const OF_CHILD: u64 = rfork::MEMORY | rfork::NO_WAIT | rfork::JOIN;

/// What else a child is given.
#[derive(Clone, Copy)]
pub struct Given {
    /// With [`rfork::JOIN`] the child of the caller whose note group and account it gets.
    pub other: u64,
    /// With [`rfork::MEMORY`] its stack pointer.
    pub stack: u64,
    /// With [`rfork::MEMORY`] its base of FS.
    pub base: u64,
}

impl Given {
    /// Whether flags and addresses go together.
    fn fits(self, flags: u64) -> bool {
        let both = |flags_of: u64| flags & flags_of == flags_of;
        let is_child = flags & rfork::PROC != 0;
        flags & !FLAGS == 0
            && (is_child || flags & OF_CHILD == 0)
            && !both(rfork::FDS | rfork::CLEAN_FDS)
            && !both(rfork::NOTES | rfork::JOIN)
            && (flags & rfork::MEMORY == 0 || self.stack < USER_END && self.base < USER_END)
    }
}

/// Makes a child of `parent` that returns 0 where the parent gets its pid.
pub fn rfork(parent: &Running, frame: &TrapFrame, flags: u64, given: Given) -> Result<u64, Errno> {
    if !given.fits(flags) {
        return Err(Errno::EINVAL);
    }
    if flags & rfork::PROC == 0 {
        return change_self(parent, flags);
    }
    let joined = match flags & rfork::JOIN {
        0 => None,
        _ => Some(child_of(parent, given.other)?),
    };
    let of = joined.as_deref().unwrap_or(parent);
    let group = (flags & rfork::NOTES == 0).then(|| of.group.load(Relaxed));
    let vacancy = vacancy(group)?;
    let slot = vacancy.slot();
    let account = of.seat.account();
    let seat = match group {
        Some(_) => Seat::beside(account),
        None => Seat::below(account),
    };
    let seat = seat.ok_or(Errno::EAGAIN)?;
    let task = Task::new(slot).ok_or(Errno::ENOMEM)?;
    let shares = flags & rfork::MEMORY != 0;
    let space = match shares {
        true => parent.space.clone(),
        false => copy_memory(parent, slot)?,
    };
    // From here on an error gives the memory back.
    let made = child(parent, (flags, group), (task, seat), space.clone());
    let thread = shares.then_some(given);
    let pid = made.and_then(|child| begin(parent, child, frame, thread));
    if pid.is_err() && !shares {
        seg::leave(&space, slot);
    }
    pid
}

/// A copy of the parent's memory, for the child in that slot.
fn copy_memory(parent: &Running, slot: Slot) -> Result<Arc<SpaceLock>, Errno> {
    let space = spaces::create(slot)?;
    if let Err(errno) = attach::copy_all(&parent.space, &space) {
        seg::leave(&space, slot);
        return Err(errno);
    }
    Ok(space)
}

/// The child, which has not begun.
fn child(
    parent: &Running,
    (flags, group): (u64, Option<u64>),
    (task, seat): (Task, Seat),
    space: Arc<SpaceLock>,
) -> Result<Arc<Process>, Errno> {
    let inherited = Parent {
        pid: match flags & rfork::NO_WAIT {
            0 => parent.pid,
            _ => NOBODY,
        },
        group,
        privileges: parent.privileges.load(Relaxed),
        names: names(parent, flags)?,
        directory: parent.directory.lock().clone(),
        program: parent.program(),
        space,
        descriptors: descriptors(parent, flags)?,
    };
    Ok(new_arc(Process::new(task, &inherited, seat))?)
}

/// Lets a child begin as a copy of the running process, its parent, or beside it in the
/// same memory; its pid.
fn begin(
    parent: &Running,
    child: Arc<Process>,
    frame: &TrapFrame,
    thread: Option<Given>,
) -> Result<u64, Errno> {
    let notes = match thread {
        // It is in no handler, for it is on another stack.
        Some(_) => parent.notes.lock().without_handling(),
        None => parent.notes.lock().inherited(),
    };
    *child.notes.lock() = notes;
    if sched::ending() {
        // Who has ended this process may not know the child.
        return Err(Errno::EINTR);
    }
    let mut registers = *frame;
    registers.rax = 0;
    if let Some(thread) = thread {
        registers.rsp = thread.stack;
    }
    let pid = child.pid;
    prepare(&child, registers);
    child.task.inherit_registers();
    if let Some(thread) = thread {
        child.task.set_thread_base(thread.base);
    }
    let waits = child.parent.load(Relaxed) != NOBODY;
    admit(child, waits.then_some(parent.slot()));
    Ok(pid)
}

/// The child of `parent` with that pid, which may have ended, but was not waited for.
fn child_of(parent: &Process, pid: u64) -> Result<Arc<Process>, Errno> {
    let child = find(pid).filter(|child| child.parent.load(Relaxed) == parent.pid);
    child.ok_or(Errno::ECHILD)
}

/// The name space that the flags give to a child of `parent`, or to itself.
fn names(parent: &Process, flags: u64) -> Result<Arc<NameSpace>, Errno> {
    let names = parent.names.lock().clone();
    match flags & (rfork::NAMES | rfork::CLEAN_NAMES) {
        0 => Ok(names),
        rfork::NAMES => Ok(new_arc(names.copy()?)?),
        _ => Ok(new_arc(NameSpace::new(Table::new()))?),
    }
}

/// The descriptors that the flags give to a child of `parent`, or to itself.
fn descriptors(parent: &Running, flags: u64) -> Result<Arc<Lock<Descriptors>>, Errno> {
    let descriptors = match flags & (rfork::FDS | rfork::CLEAN_FDS) {
        0 => return Ok(parent.descriptors.clone()),
        rfork::FDS => parent.descriptors.lock().copy()?,
        _ => Descriptors::new(),
    };
    Ok(new_arc(Lock::new(Rank::Descriptors, descriptors))?)
}

/// Applies the flags to the caller itself.
fn change_self(process: &Running, flags: u64) -> Result<u64, Errno> {
    let names = names(process, flags)?;
    let descriptors = descriptors(process, flags)?;
    // The old one is dropped unlocked: it may be the last that knows a server.
    let old = core::mem::replace(&mut *process.names.lock(), names);
    drop(old);
    if !Arc::ptr_eq(&descriptors, &process.descriptors) {
        file::join(&descriptors);
        process.set_descriptors(descriptors);
        file::leave(&process.descriptors);
        // It looks for them again.
        sched::set_noted(process.slot());
    }
    if flags & rfork::NOTES != 0 {
        process.group.store(process.pid, Relaxed);
        process.pay_apart();
    }
    Ok(0)
}

/// How `process` begins: with those registers.
pub fn prepare(process: &Process, registers: TrapFrame) {
    let space = process.space();
    spaces::join(&space, process.slot());
    file::join(&process.descriptors());
    let root = space.lock().view.pages.root();
    process.task.prepare(registers, root, process.payer());
    process.task.set_ports(process.may(abi::privilege::DEVICE));
}

/// Makes `process` known and ready.
pub fn admit(process: Arc<Process>, parent: Option<Slot>) {
    let slot = process.slot();
    if trace::is_on() {
        let pids = (process.pid, process.parent.load(Relaxed));
        let space = process.space().lock().number();
        trace::begin(slot, pids, &process.program(), space);
    }
    insert(process, parent);
    sched::admit(slot);
}
