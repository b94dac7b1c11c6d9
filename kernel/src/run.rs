//! The loop of a process on its kernel stack: run the program, handle the event
//! that stops it, and repeat.
use crate::chan;
use crate::proc::{self, Running, note};
use crate::sched::{self, relief};
use crate::{syscall, trap};
use hw::{Event, Program, pending};

/// The life of the running process.
pub fn run(mut program: Program) -> ! {
    let mut process = Running::new();
    loop {
        let event = program.run();
        let frame = program.registers();
        match event {
            Event::Syscall => syscall::syscall(&process, frame),
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
