//! Notes: texts that interrupt a process.
//!
//! A note without a handler ends the process with its text. A note with a
//! handler interrupts the present wait and is delivered when the process next
//! leaves the kernel: its text and the registers are put on the program's
//! stack, and the handler runs on top of them until it calls `noted`. Meanwhile
//! other notes are queued, and a fault ends the process. The floating-point
//! registers are kept here, because the handler may use them.
use super::protection::check_may_end;
use super::{Process, Running, table};
use crate::sched;
use crate::seg::user;
use abi::{Errno, NOTES_MAX, Registers, STATUS_KILLED, TEXT_MAX, USER_END, noted};
use alloc::collections::VecDeque;
use alloc::string::String;
use core::sync::atomic::Ordering::Relaxed;
use hw::{TrapFrame, task};

/// Below its stack pointer a C program may keep data (System V ABI, 3.2.2).
const RED_ZONE: u64 = 128;
/// Flags that a handler does not inherit: trap, direction, alignment.
const FLAGS_OFF: u64 = 0x4_0500;
const NO_REGISTERS: &str = "no registers where the note handler had them";

/// A note that has not been delivered.
struct Note {
    text: String,
    /// Of a fault: the address that was touched.
    address: u64,
}

/// The note a handler is busy with.
struct Handling {
    /// Where in the program's memory its registers are.
    registers: u64,
    text: String,
}

/// The notes of a process.
#[derive(Default)]
pub struct Notes {
    /// Address of the handler; 0: none.
    handler: u64,
    handling: Option<Handling>,
    waiting: VecDeque<Note>,
}

impl Notes {
    /// The state of a child: the same handler, at the same point of it, and no
    /// notes.
    pub fn inherited(&self) -> Notes {
        Notes {
            handler: self.handler,
            handling: self.handling.as_ref().map(|handling| Handling {
                registers: handling.registers,
                text: crate::text::owned(&handling.text),
            }),
            waiting: VecDeque::new(),
        }
    }

    /// The state of a child that is in no handler: the same handler, and no notes.
    pub fn without_handling(&self) -> Notes {
        Notes {
            handler: self.handler,
            ..Notes::default()
        }
    }

    fn add(&mut self, text: &str) -> Result<(), Errno> {
        if self.waiting.len() >= NOTES_MAX {
            return Err(Errno::EAGAIN);
        }
        let reserved = self.waiting.try_reserve(1);
        reserved.map_err(|_| Errno::ENOMEM)?;
        self.waiting.push_back(Note {
            text: crate::text::owned(text),
            address: 0,
        });
        Ok(())
    }

    /// Returns true if a note can be delivered.
    fn ready(&self) -> bool {
        self.handling.is_none() && !self.waiting.is_empty()
    }
}

/// Gives `process` a note. `EAGAIN`: too many wait already.
pub fn post(process: &Process, text: &str) -> Result<(), Errno> {
    let ready = {
        let mut notes = process.notes.lock();
        if notes.handler == 0 {
            drop(notes);
            process.end(STATUS_KILLED, text);
            return Ok(());
        }
        notes.add(text)?;
        notes.ready()
    };
    if ready {
        sched::set_noted(process.slot());
    }
    Ok(())
}

/// Sends a note from `process` to the others of a group. `ESRCH`: there is none
/// that may get one.
pub fn post_group(process: &Process, group: u64, text: &str) -> Result<(), Errno> {
    each_other(process, group, |victim| {
        // A full queue is no error here.
        let _ = post(victim, text);
    })
}

/// Ends the others of a group. `ESRCH`: there is none that may be ended.
pub fn end_group(process: &Process, group: u64, text: &str) -> Result<(), Errno> {
    each_other(process, group, |victim| victim.end(STATUS_KILLED, text))
}

fn each_other(process: &Process, group: u64, mut tell: impl FnMut(&Process)) -> Result<(), Errno> {
    let mut any = false;
    for victim in table::all() {
        let member = victim.group.load(Relaxed) == group && victim.pid != process.pid;
        if member && check_may_end(process, &victim).is_ok() {
            any = true;
            tell(&victim);
        }
    }
    if any { Ok(()) } else { Err(Errno::ESRCH) }
}

/// A note that the program itself brought about at this instruction, by
/// touching `address` if it was a page fault. Returns `false` if no handler
/// can take it: the process is to end then.
pub fn fault(process: &Process, text: &str, address: u64) -> bool {
    let mut notes = process.notes.lock();
    if notes.handler == 0 || notes.handling.is_some() || notes.waiting.try_reserve(1).is_err() {
        return false;
    }
    notes.waiting.push_front(Note {
        text: crate::text::owned(text),
        address,
    });
    drop(notes);
    sched::set_noted(process.slot());
    true
}

/// From now on notes go to `handler`, also those to others that share the memory in which
/// it is.
pub fn notify(process: &Running, handler: u64) -> Result<(), Errno> {
    if handler >= USER_END {
        return Err(Errno::EINVAL);
    }
    let members = process.space.lock().members;
    for member in members.iter().filter_map(table::at) {
        member.notes.lock().handler = handler;
    }
    Ok(())
}

/// Removes the handler for a new program. A pending note ends it.
pub fn forget_handler(process: &Process) {
    let ready = {
        let mut notes = process.notes.lock();
        notes.handler = 0;
        notes.handling = None;
        notes.ready()
    };
    if ready {
        sched::set_noted(process.slot());
    }
}

/// Makes the running process begin its handler instead of continuing at
/// `frame`.
pub fn deliver(process: &Running, frame: &mut TrapFrame) {
    sched::clear_noted(process.slot());
    let (handler, note) = {
        let mut notes = process.notes.lock();
        if !notes.ready() {
            return;
        }
        let Some(note) = notes.waiting.pop_front() else {
            return;
        };
        // From here on other notes are queued: the stores to the stack may wait,
        // and a note would end that wait and with it the process.
        notes.handling = Some(Handling {
            registers: 0,
            text: String::new(),
        });
        (notes.handler, note)
    };
    if handler == 0 {
        return process.end(STATUS_KILLED, &note.text);
    }
    match push(process, frame, &note) {
        Ok(at) => {
            task::keep_fpu();
            process.notes.lock().handling = Some(Handling {
                registers: at.registers,
                text: note.text,
            });
            begin(frame, handler, &at);
        }
        Err(_) => {
            let text = crate::text::format(format_args!("no stack for note: {}", note.text));
            process.end(STATUS_KILLED, &text);
        }
    }
}

/// The addresses at which [`push`] stored its data.
struct Pushed {
    stack_pointer: u64,
    registers: u64,
    text: u64,
    len: u64,
}

/// Puts the text, the registers and a return address that leads nowhere on
/// the program's stack.
fn push(process: &Running, frame: &TrapFrame, note: &Note) -> Result<Pushed, Errno> {
    let text = cut(&note.text).as_bytes();
    let len = text.len();
    let below = |at: u64, bytes: u64| at.checked_sub(bytes).ok_or(Errno::EFAULT);
    let text_at = below(frame.rsp, RED_ZONE + len as u64 + 1)?;
    let registers = below(text_at, size_of::<Registers>() as u64)? & !15;
    let stack_pointer = below(registers, 8)?;
    user::write(&process.space, text_at, text)?;
    user::write(&process.space, text_at + len as u64, &[0])?;
    user::put(&process.space, registers, &frame.registers(note.address))?;
    user::put(&process.space, stack_pointer, &0u64)?;
    Ok(Pushed {
        stack_pointer,
        registers,
        text: text_at,
        len: len as u64,
    })
}

/// At most [`TEXT_MAX`] bytes of a text, whole characters.
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

/// A call of the handler.
fn begin(frame: &mut TrapFrame, handler: u64, at: &Pushed) {
    frame.rdi = at.registers;
    frame.rsi = at.text;
    frame.rdx = at.len;
    frame.jump(handler);
    frame.rsp = at.stack_pointer;
    frame.rbp = 0;
    frame.set_flags(frame.flags() & !FLAGS_OFF);
}

/// Ends the handler as `how` says, see [`abi::noted`]. Returns the new value of
/// `rax`: 0, or the program's own if it continues at `frame`.
pub fn noted(process: &Running, frame: &mut TrapFrame, how: u64) -> Result<u64, Errno> {
    if how > noted::LEAVE {
        return Err(Errno::EINVAL);
    }
    let at = {
        let notes = process.notes.lock();
        let handling = notes.handling.as_ref().ok_or(Errno::EINVAL)?;
        handling.registers
    };
    // Their page may have to come. As long as the handler is not over, a note ends no wait.
    let registers = match how {
        noted::RESUME => Some(user::get(&process.space, at)),
        _ => None,
    };
    let (handling, ready) = {
        let mut notes = process.notes.lock();
        let handling = notes.handling.take().ok_or(Errno::EINVAL)?;
        (handling, notes.ready())
    };
    if how == noted::DEFAULT {
        process.end(STATUS_KILLED, &handling.text);
        return Ok(0);
    }
    if ready {
        sched::set_noted(process.slot());
    }
    match registers {
        None => return Ok(0),
        Some(Ok(registers)) => *frame = TrapFrame::with_registers(&registers),
        Some(Err(_)) => {
            process.end(STATUS_KILLED, NO_REGISTERS);
            return Ok(0);
        }
    }
    task::restore_fpu();
    Ok(frame.rax)
}
