//! `rfork`: a child with a copy of the parent's memory, shared frame by frame
//! until one of them stores.
use super::{Parent, Process, Seat, find, insert, vacancy};
use crate::file::{self, Descriptors};
use crate::name::NameSpace;
use crate::sched;
use crate::seg::{self, Space, attach};
use abi::{Errno, rfork};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::TrapFrame;
use hw::heap::new_arc;
use hw::task::Task;
use names::Table;

const FLAGS: u64 =
    rfork::PROC | rfork::CLEAN_FDS | rfork::NOTES | rfork::NAMES | rfork::CLEAN_NAMES | rfork::JOIN;
/// The flags that say which note group a process is in, and those of one that joins.
const GROUPS: u64 = rfork::PROC | rfork::NOTES | rfork::JOIN;
const JOINS: u64 = rfork::PROC | rfork::JOIN;

/// Makes a child of `parent` that returns 0 where the parent gets its pid; with
/// [`rfork::JOIN`] in the note group and the account of its child `other`.
pub fn rfork(parent: &Process, frame: &TrapFrame, flags: u64, other: u64) -> Result<u64, Errno> {
    if flags & !FLAGS != 0 || flags & rfork::JOIN != 0 && flags & GROUPS != JOINS {
        return Err(Errno::EINVAL);
    }
    if flags & rfork::PROC == 0 {
        return change_self(parent, flags);
    }
    let joined = match flags & rfork::JOIN {
        0 => None,
        _ => Some(child(parent, other)?),
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
    let inherited = Parent {
        pid: parent.pid,
        group,
        privileges: parent.privileges.load(Relaxed),
        names: names(parent, flags)?,
        directory: parent.directory.lock().clone(),
        program: parent.program(),
    };
    let child = new_arc(Process::new(task, &inherited, Space::new(slot)?, seat))?;
    if let Err(errno) = attach::copy_all(&parent.space, &child.space) {
        seg::clear(&child.space);
        return Err(errno);
    }
    if flags & rfork::CLEAN_FDS == 0 {
        let shared: Descriptors = parent.descriptors.lock().share();
        *child.descriptors.lock() = shared;
    }
    let notes = parent.notes.lock().inherited();
    *child.notes.lock() = notes;
    let mut registers = *frame;
    registers.rax = 0;
    if sched::ending() {
        // Who has ended this process may not know the child.
        seg::clear(&child.space);
        return Err(Errno::EINTR);
    }
    let pid = child.pid;
    prepare(&child, registers);
    child.task.inherit_registers();
    admit(child);
    Ok(pid)
}

/// The child of `parent` with that pid, which may have ended, but was not waited for.
fn child(parent: &Process, pid: u64) -> Result<Arc<Process>, Errno> {
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

/// Applies the flags to the caller itself.
fn change_self(process: &Process, flags: u64) -> Result<u64, Errno> {
    let names = names(process, flags)?;
    // The old one is dropped unlocked: it may be the last that knows a server.
    let old = core::mem::replace(&mut *process.names.lock(), names);
    drop(old);
    if flags & rfork::CLEAN_FDS != 0 {
        file::close_all(&process.descriptors);
    }
    if flags & rfork::NOTES != 0 {
        process.group.store(process.pid, Relaxed);
        process.pay_apart();
    }
    Ok(0)
}

/// How `process` begins: with those registers.
pub fn prepare(process: &Process, registers: TrapFrame) {
    let root = process.space.lock().view.pages.root();
    process.task.prepare(registers, root, process.payer());
    process.task.set_ports(process.may(abi::privilege::DEVICE));
}

/// Makes `process` known and ready.
pub fn admit(process: Arc<Process>) {
    let slot = process.slot();
    insert(process);
    sched::admit(slot);
}
