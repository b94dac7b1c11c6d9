//! Calls on processes.
use super::file::path;
use super::{Arguments, KEEP_REGISTERS, about};
use crate::arch::{TrapFrame, time};
use crate::proc::sched::{self, Wake};
use crate::proc::{self, Process, slots};
use crate::seg::user;
use abi::{Errno, WaitMessage};
use core::sync::atomic::Ordering::Relaxed;

/// Longest text of `exits` and `kill`.
const TEXT_MAX: usize = 240;

pub fn exits(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [status, va, len, ..] = a.0;
    // A process may always end; a text that cannot be read is left out.
    let text = user::text(&process.space, va, len, TEXT_MAX).unwrap_or_default();
    process.end((status & 0xff) as u32, &text);
    Ok(0)
}

pub fn exec(process: &Process, frame: &mut TrapFrame, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, argv, argc, ..] = a.0;
    let path = path(process, va, len)?;
    let arguments = proc::exec::Arguments::from_user(&process.space, argv, argc)?;
    let done = proc::exec::exec(process, frame, &path, &arguments);
    about(process, &path, done)?;
    Ok(KEEP_REGISTERS)
}

pub fn wait(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    const TEXT_AT: usize = 16;
    // A child must not be lost because its message has nowhere to go.
    user::write(&process.space, a.0[0], &[0; size_of::<WaitMessage>()])?;
    let (pid, ending) = proc::wait::wait(process)?;
    let mut message = [0; size_of::<WaitMessage>()];
    let mut len = ending.text.len().min(TEXT_MAX);
    while !ending.text.is_char_boundary(len) {
        len -= 1;
    }
    message[..8].copy_from_slice(&pid.to_le_bytes());
    message[8..12].copy_from_slice(&ending.status.to_le_bytes());
    message[12..16].copy_from_slice(&(len as u32).to_le_bytes());
    message[TEXT_AT..TEXT_AT + len].copy_from_slice(&ending.text.as_bytes()[..len]);
    user::write(&process.space, a.0[0], &message)?;
    Ok(pid)
}

pub fn kill(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [pid, va, len, ..] = a.0;
    let text = user::text(&process.space, va, len, TEXT_MAX)?;
    let victim = proc::find(pid).ok_or(Errno::ESRCH)?;
    // The first process holds up the system; only it may end it.
    if pid == 1 {
        return Err(Errno::EPERM);
    }
    victim.end(abi::STATUS_KILLED, &text);
    Ok(0)
}

pub fn sleep(a: &Arguments) -> Result<u64, Errno> {
    if a.0[0] == 0 {
        sched::give_way();
        return Ok(0);
    }
    let deadline = time::now_ns().saturating_add(a.0[0]);
    loop {
        match sched::park(Some(deadline)) {
            Wake::Woken => {}
            Wake::Timeout => return Ok(0),
            Wake::Ending => return Err(Errno::EINTR),
        }
    }
}

pub fn privilege(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let kept = process.privileges.load(Relaxed) & a.0[0];
    process.privileges.store(kept, Relaxed);
    slots::set_ports(process.slot, process.may(abi::privilege::DEVICE));
    Ok(kept)
}

pub fn errstr(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.0;
    let text = process.error.lock().text.clone();
    let len = text.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    user::write(
        &process.space,
        va,
        text.as_bytes().get(..len).unwrap_or(&[]),
    )?;
    Ok(len as u64)
}
