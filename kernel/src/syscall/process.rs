//! Calls on processes.
use super::Arguments;
use crate::counters;
use crate::proc::exec::{self, Failure};
use crate::proc::fork::Given;
use crate::proc::{self, Process, Running, fork, note, protection, semaphore};
use crate::sched::{self, Reason, Wake, relief};
use crate::seg::user;
use crate::text;
use abi::{Errno, NSEG, PAGE, ProcessInfo, STATUS_KILLED, TEXT_MAX, WaitMessage, exits};
use core::sync::atomic::Ordering::Relaxed;
use hw::{task, time};
use vm::Access;
use zerocopy::FromZeros;

pub fn exits(a: &Arguments) -> Result<(), Errno> {
    let [status, va, len, word, ..] = a.words();
    // A process may always end. The readable part of the text is kept, without
    // a last character that was cut.
    let most = len.min(TEXT_MAX as u64);
    let text = (0..4).find_map(|less| {
        let len = most.checked_sub(less)?;
        user::text(a.space(), va, len, TEXT_MAX).ok()
    });
    let (number, text) = ((status & 0xff) as u32, text.unwrap_or_default());
    if status & exits::ALL != 0 {
        a.process.end(number, &text);
        return Ok(());
    }
    if status & exits::RELEASE != 0 {
        release_last(a.process, word);
    }
    a.process.end_alone(number, &text);
    Ok(())
}

/// Releases a semaphore for one that waits until the process has ended, notes or not.
fn release_last(process: &Running, word: u64) {
    loop {
        match relief::again(|| semaphore::release(process, word, 1)) {
            Err(Errno::EINTR) if !sched::ending() => sched::clear_noted(process.slot()),
            Err(Errno::ENOMEM) => {
                // Others would wait for ever.
                return process.end(STATUS_KILLED, "no memory to tell the end of a thread");
            }
            // Where there is no such memory, nobody waits.
            Ok(_) | Err(_) => return,
        }
    }
}

pub fn rfork(a: &Arguments) -> Result<u64, Errno> {
    let [flags, other, stack, base, ..] = a.words();
    let given = Given { other, stack, base };
    let made = fork::rfork(a.process, a.frame, flags, given);
    match made {
        Err(Errno::EAGAIN) => a.about("too many processes", made),
        _ => made,
    }
}

pub fn exec(a: &mut Arguments) -> Result<u64, Errno> {
    let [_, _, argv, argc, envp, envc] = a.words();
    let path = a.path(0)?;
    let arguments = exec::Arguments::from_user(a.space(), (argv, argc), (envp, envc))?;
    match exec::exec(a.process, a.frame, &path, &arguments) {
        // All registers are the new program's, `rax` among them.
        Ok(()) => Ok(a.frame.rax),
        Err(Failure::Error(errno)) => a.about(&path, Err(errno)),
        Err(Failure::Refused(why)) => {
            let errno = Errno::ENOEXEC;
            a.explain(format_args!("{path}: {errno}: {why}"));
            Err(errno)
        }
    }
}

pub fn noted(a: &mut Arguments) -> Result<u64, Errno> {
    let how = a.words()[0];
    note::noted(a.process, a.frame, how)
}

pub fn wait(a: &Arguments) -> Result<u64, Errno> {
    let va = a.words()[0];
    user::within(
        a.space(),
        va,
        size_of::<WaitMessage>() as u64,
        Access::Store,
    )?;
    let (child, message) = {
        let child = proc::wait::wait(a.process)?;
        ((child.slot(), child.pid), describe_end(&child))
    };
    // A child must not be lost because its message has nowhere to go.
    user::put(a.space(), va, &message)?;
    proc::wait::reap(child);
    Ok(message.pid)
}

fn describe_end(child: &Process) -> WaitMessage {
    let mut message = WaitMessage::new_zeroed();
    message.pid = child.pid;
    if let Some(ending) = &*child.ending.lock() {
        message.status = ending.status;
        message.text_len = fill(&mut message.text, note::cut(&ending.text));
    }
    message
}

/// As much of a text as fits; its length.
fn fill(to: &mut [u8], text: &str) -> u32 {
    let part = text::part(text.as_bytes(), 0, to.len() as u64);
    to[..part.len()].copy_from_slice(part);
    part.len() as u32
}

pub fn acquire(a: &Arguments) -> Result<bool, Errno> {
    semaphore::acquire(a.process, a.words()[0], a.words()[1])
}

pub fn release(a: &Arguments) -> Result<u64, Errno> {
    semaphore::release(a.process, a.words()[0], a.words()[1])
}

pub fn kill(a: &Arguments) -> Result<(), Errno> {
    let pid = a.words()[0] as i64;
    let text = a.text(1, TEXT_MAX)?;
    if pid < 0 {
        return note::end_group(a.process, pid.unsigned_abs(), &text);
    }
    let victim = proc::find(a.words()[0]).ok_or(Errno::ESRCH)?;
    protection::check_may_end(a.process, &victim)?;
    victim.end(abi::STATUS_KILLED, &text);
    Ok(())
}

pub fn kill_all(a: &Arguments) -> Result<u64, Errno> {
    let text = a.text(1, TEXT_MAX)?;
    let victim = proc::find(a.words()[0]).ok_or(Errno::ESRCH)?;
    proc::tree::end(a.process, &victim, &text)
}

pub fn note(a: &Arguments) -> Result<(), Errno> {
    let pid = a.words()[0] as i64;
    let text = a.text(1, TEXT_MAX)?;
    if text.is_empty() {
        return Err(Errno::EINVAL);
    }
    if pid < 0 {
        return note::post_group(a.process, pid.unsigned_abs(), &text);
    }
    let victim = proc::find(a.words()[0]).ok_or(Errno::ESRCH)?;
    protection::check_may_end(a.process, &victim)?;
    note::post(&victim, &text)
}

pub fn info(a: &Arguments) -> Result<u64, Errno> {
    let [index, va, ..] = a.words();
    let start = usize::try_from(index).unwrap_or(usize::MAX);
    for slot in start..task::NPROC {
        // The copy may wait: a process held meanwhile would keep its slot in use
        // after its parent has reaped it.
        let info = proc::at(slot).map(|other| describe(&other));
        if let Some(info) = info {
            user::put(a.space(), va, &info)?;
            return Ok(slot as u64 + 1);
        }
    }
    Ok(0)
}

fn describe(process: &Process) -> ProcessInfo {
    let status = sched::status(process.slot());
    let traffic = counters::traffic(process.slot());
    let mut info = ProcessInfo {
        pid: process.pid,
        parent: process.parent.load(Relaxed),
        group: process.group.load(Relaxed),
        ticks: status.ticks,
        waiting_ns: status.waiting_ns,
        state: status.state,
        descriptors: process.descriptors().lock().count() as u32,
        messages: traffic.messages,
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
        ..ProcessInfo::default()
    };
    {
        let space = process.space();
        let space = space.lock();
        let segments = space.table.iter().flatten().take(NSEG);
        info.size = segments.fold(0, |sum, s| sum.saturating_add(s.pages * PAGE));
        info.pages = space.view.pages.mapped();
    }
    info.name_len = fill(&mut info.name, proc::name(&process.program()));
    info.waits_for_len = fill(&mut info.waits_for, status.waits_for);
    info
}

pub fn sleep(a: &Arguments) -> Result<(), Errno> {
    if a.words()[0] == 0 {
        sched::give_way();
        return Ok(());
    }
    let deadline = time::now_ns().saturating_add(a.words()[0]);
    loop {
        match sched::park(Reason::Time, Some(deadline)) {
            Wake::Woken => {}
            Wake::Timeout => return Ok(()),
            Wake::Ending | Wake::Noted => return Err(Errno::EINTR),
        }
    }
}

pub fn privilege(a: &Arguments) -> Result<u64, Errno> {
    let had = a.process.privileges.load(Relaxed);
    let kept = had & a.words()[0];
    a.process.keep_privileges(kept);
    if kept != had {
        a.process.pay_apart();
    }
    task::set_ports(a.process.may(abi::privilege::DEVICE));
    Ok(kept)
}

pub fn errstr(a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.words();
    // A copy on the stack: there may be no memory, and the lock must go before
    // user memory is touched.
    let mut bytes = [0; text::MAX];
    let len = fill(&mut bytes, &a.process.error.lock().text);
    let part = text::part(&bytes, 0, room.min(u64::from(len)));
    user::write(a.space(), va, part)?;
    Ok(part.len() as u64)
}
