//! The loop of a process on its kernel stack: run the program, handle the event
//! that stops it, and repeat.
use crate::chan;
use crate::proc::{self, Running, note};
use crate::sched::{self, relief};
use crate::{syscall, trace, trap};
use abi::trace::Event as Traced;
use hw::{Event, PageFault, Program, TrapFrame, pending};

/// The life of the running process.
pub fn run(mut program: Program) -> ! {
    let mut process = Running::new();
    loop {
        let event = program.run();
        let frame = program.registers();
        match event {
            Event::Syscall => syscall::syscall(&process, frame),
            Event::PageFault(fault) if trace::is_on() => traced_fault(&process, frame, fault),
            Event::PageFault(fault) => {
                if !trap::quick_fault(&process, fault) {
                    trap::page_fault(&process, frame, fault);
                }
            }
            Event::Exception(vector) => trap::exception(&process, frame, vector),
            Event::Interrupt(vector) => {
                trap::interrupt(vector);
                trap::turn_over(vector);
            }
        }
        if !pending::any() {
            continue;
        }
        // An interrupt took no frames. However many come, the program goes on between them.
        if !matches!(event, Event::Interrupt(_)) {
            relief::ease();
        }
        chan::remove_unread();
        proc::remove_dead();
        // Before the program goes on: a note is delivered, and a process that was
        // ordered to end does so.
        if sched::called() {
            process = Running::new();
            if !sched::ending() {
                note::deliver(&process, frame);
            }
            if sched::ending() {
                proc::wait::finish(process);
            }
        }
    }
}

/// Handles a page fault while somebody listens.
#[cold]
fn traced_fault(process: &Running, frame: &TrapFrame, fault: PageFault) {
    let at = [fault.address, frame.rip(), 0];
    trace::note(Traced::Fault, trap::access(fault) as u16, at);
    let resolved = trap::page_fault(process, frame, fault);
    trace::note(Traced::Resolved, (!resolved).into(), [fault.address, 0, 0]);
    syscall::trace::hurry();
}
