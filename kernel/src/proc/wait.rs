//! How processes end and how parents hear of it.
use super::{NOBODY, Process, Running, table};
use crate::sched::{self, Reason, Slot, Wait};
use crate::trace;
use crate::{file, seg};
use abi::Errno;
use abi::trace::Event;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// The process that adopts orphans.
pub const INIT: u64 = 1;

/// Ends the running process, which was ordered to. Everything it holds is
/// given back here, on its own stack, except that stack and its table entry.
pub fn finish(process: Running) -> ! {
    process.pay_last();
    file::leave(&process.descriptors);
    seg::leave(&process.space, process.slot());
    let pid = process.pid;
    if trace::is_on() {
        tell_end(&process);
    }
    if pid == INIT {
        let ending = process.ending.lock().clone();
        let text = ending.map(|e| e.text).unwrap_or_default();
        panic!("init ended: {text}");
    }
    let init = table::find(INIT).filter(|init| table::adopt(process.slot(), init));
    if process.parent.load(Relaxed) == NOBODY {
        table::bury(process.slot());
    }
    let parent = table::end(process.slot());
    // They run when this process has left the CPU, a zombie. Some of the children that
    // init has adopted may be zombies already.
    for waits in [&parent, &init].into_iter().flatten() {
        waits.children.lock().wake_all();
    }
    drop(parent);
    drop(init);
    drop(process);
    sched::end()
}

#[cold]
fn tell_end(process: &Running) {
    let status = process.ending.lock().as_ref().map_or(0, |e| e.status);
    trace::note(Event::End, 0, [status.into(), 0, 0]);
    if let Some(watcher) = trace::end(process.slot()) {
        sched::unpark(watcher);
    }
}

/// Waits until a child has ended, which stays known until [`reap`]. `ECHILD` if there is
/// none.
pub fn wait(process: &Process) -> Result<Arc<Process>, Errno> {
    process.children.wait(
        |queue| queue,
        Reason::Child,
        |_| match table::ended_child(process.slot()) {
            Some(ended) => ended.map(Ok),
            None => Some(Err(Errno::ECHILD)),
        },
    )?
}

/// Forgets a child of the running process that has ended, by its slot and number.
pub fn reap((slot, pid): (Slot, u64)) {
    // Only its parent reaps it, so that it is there; nothing of it was held meanwhile.
    if table::at(slot.into()).is_some_and(|child| child.pid == pid) {
        table::remove(slot);
    }
}
