//! Calls on processes.
use super::file::path;
use super::{Arguments, about, explain};
use crate::proc::exec::Failure;
use crate::proc::{self, Process};
use crate::proc::{note, semaphore};
use crate::sched::{self, Reason, Wake};
use crate::seg::user;
use crate::text;
use abi::{Errno, NSEG, PAGE, ProcessInfo, TEXT_MAX, WaitMessage};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::{TrapFrame, task, time};

pub fn exits(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [status, va, len, ..] = a.0;
    // A process may always end. The readable part of the text is kept, without
    // a last character that was cut.
    let most = len.min(TEXT_MAX as u64);
    let text = (0..4).find_map(|less| {
        let len = most.checked_sub(less)?;
        user::text(&process.space, va, len, TEXT_MAX).ok()
    });
    process.end((status & 0xff) as u32, &text.unwrap_or_default());
    Ok(0)
}

pub fn rfork(process: &Process, frame: &TrapFrame, a: &Arguments) -> Result<u64, Errno> {
    let made = proc::fork::rfork(process, frame, a.0[0]);
    match made {
        Err(Errno::EAGAIN) => about(process, "too many processes", made),
        _ => made,
    }
}

pub fn exec(process: &Process, frame: &mut TrapFrame, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, argv, argc, envp, envc] = a.0;
    let path = path(process, va, len)?;
    let arguments = proc::exec::Arguments::from_user(&process.space, (argv, argc), (envp, envc))?;
    match proc::exec::exec(process, frame, &path, &arguments) {
        Ok(()) => {}
        Err(Failure::Error(errno)) => return about(process, &path, Err(errno)),
        Err(Failure::Refused(why)) => {
            let errno = Errno::ENOEXEC;
            explain(process, format_args!("{path}: {errno}: {why}"));
            return Err(errno);
        }
    }
    // All registers are the new program's, `rax` among them.
    Ok(frame.rax)
}

pub fn wait(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    const TEXT_AT: usize = 16;
    // A child must not be lost because its message has nowhere to go.
    user::write(&process.space, a.0[0], &[0; size_of::<WaitMessage>()])?;
    let (pid, ending) = proc::wait::wait(process)?;
    let mut message = [0; size_of::<WaitMessage>()];
    let text = note::cut(&ending.text).as_bytes();
    let len = text.len();
    message[..8].copy_from_slice(&pid.to_le_bytes());
    message[8..12].copy_from_slice(&ending.status.to_le_bytes());
    message[12..16].copy_from_slice(&(len as u32).to_le_bytes());
    message[TEXT_AT..TEXT_AT + len].copy_from_slice(text);
    user::write(&process.space, a.0[0], &message)?;
    Ok(pid)
}

pub fn acquire(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, block, ..] = a.0;
    match block {
        0 => semaphore::try_acquire(process, va).map(|taken| u64::from(taken.is_some())),
        _ => semaphore::acquire(process, va).map(|()| 1),
    }
}

pub fn kill(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [pid, va, len, ..] = a.0;
    let text = user::text(&process.space, va, len, TEXT_MAX)?;
    let victim = proc::find(pid).ok_or(Errno::ESRCH)?;
    note::check_may_end(process, &victim)?;
    victim.end(abi::STATUS_KILLED, &text);
    Ok(0)
}

pub fn note(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [pid, va, len, ..] = a.0;
    let text = user::text(&process.space, va, len, TEXT_MAX)?;
    if text.is_empty() {
        return Err(Errno::EINVAL);
    }
    if (pid as i64) < 0 {
        let group = (pid as i64).unsigned_abs();
        note::post_group(process, group, &text)?;
        return Ok(0);
    }
    let victim = proc::find(pid).ok_or(Errno::ESRCH)?;
    note::check_may_end(process, &victim)?;
    note::post(&victim, &text)?;
    Ok(0)
}

pub fn info(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [index, va, ..] = a.0;
    let start = usize::try_from(index).unwrap_or(usize::MAX);
    for slot in start..task::NPROC {
        if let Some(other) = proc::at(slot) {
            user::write(&process.space, va, &describe(&other))?;
            return Ok(slot as u64 + 1);
        }
    }
    Ok(0)
}

/// The bytes of a [`ProcessInfo`].
fn describe(process: &Arc<Process>) -> [u8; size_of::<ProcessInfo>()] {
    const NAME: usize = 32;
    let status = sched::status(process.slot);
    let waiting_ns = match status.since_ns {
        0 => 0,
        since => time::now_ns().saturating_sub(since),
    };
    let (size, pages) = {
        let space = process.space.lock();
        let segments = space.table.iter().flatten().take(NSEG);
        let size = segments.fold(0u64, |sum, s| sum.saturating_add(s.pages * PAGE));
        (size, space.view.pages.mapped())
    };
    let program = process.program();
    let descriptors = process.descriptors.lock().count() as u32;
    let (name, waits) = (proc::name(&program).as_bytes(), status.waits_for.as_bytes());
    let (name_len, waits_len) = (name.len().min(NAME), waits.len().min(NAME));
    let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let words = [
        process.pid,
        process.parent.load(Relaxed),
        process.group.load(Relaxed),
        size,
        pages,
        status.ticks,
        waiting_ns,
        pair(status.state, name_len as u32),
        0,
        0,
        0,
        0,
        pair(waits_len as u32, descriptors),
    ];
    let mut bytes = [0; size_of::<ProcessInfo>()];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes[64..64 + name_len].copy_from_slice(&name[..name_len]);
    bytes[104..104 + waits_len].copy_from_slice(&waits[..waits_len]);
    bytes
}

pub fn sleep(a: &Arguments) -> Result<u64, Errno> {
    if a.0[0] == 0 {
        sched::give_way();
        return Ok(0);
    }
    let deadline = time::now_ns().saturating_add(a.0[0]);
    loop {
        match sched::park(Reason::Time, Some(deadline)) {
            Wake::Woken => {}
            Wake::Timeout => return Ok(0),
            Wake::Ending | Wake::Noted => return Err(Errno::EINTR),
        }
    }
}

pub fn privilege(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let had = process.privileges.load(Relaxed);
    let kept = had & a.0[0];
    process.privileges.store(kept, Relaxed);
    if kept != had {
        process.pay_apart();
    }
    task::set_ports(process.may(abi::privilege::DEVICE));
    Ok(kept)
}

pub fn errstr(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.0;
    // A copy on the stack: there may be no memory, and the lock must go before
    // user memory is touched.
    let mut bytes = [0; text::MAX];
    let len = {
        let error = process.error.lock();
        let part = text::part(error.text.as_bytes(), 0, room.min(text::MAX as u64));
        bytes[..part.len()].copy_from_slice(part);
        part.len()
    };
    user::write(&process.space, va, &bytes[..len])?;
    Ok(len as u64)
}
