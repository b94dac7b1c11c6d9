//! From a machine that works to the first process.
use crate::file::Descriptors;
use crate::name::NameSpace;
use crate::proc::{NOBODY, Parent, Process, Seat, exec, fork, relief, vacancy};
use crate::sched;
use crate::seg::spaces;
use crate::{bundle, options};
use abi::privilege;
use hw::heap::{self, new_arc, new_arc_bytes, new_arc_str};
use hw::lock::{Lock, Rank};
use hw::task::Task;
use hw::{TrapFrame, cache, frames};
use names::Table;
use vm::AccountId;

/// The program that starts all others.
const INIT: &str = "/bin/init";

/// Runs the first process; the caller's stack is not used again.
pub fn start(bundle: &'static [u8]) -> ! {
    if let Err(errno) = bundle::set(bundle) {
        panic!("bundle: {errno}");
    }
    options::init();
    frames::accounts(|accounts| accounts.set_places(options::processes_max() as u32));
    sched::relief::set_policy(&relief::BiggestFirst);
    cache::init();
    hw::info!(
        "{} MiB of memory free",
        frames::free_count() * abi::PAGE / (1 << 20)
    );
    match first_process() {
        Ok(slot) => {
            heap::set_up_done();
            hw::interrupts::timer_init(options::timer());
            sched::set_turn(hw::time::ticks_per_second() / options::timer());
            sched::start(slot)
        }
        Err(errno) => panic!("{INIT}: {errno}"),
    }
}

fn first_process() -> Result<sched::Slot, abi::Errno> {
    let vacancy = vacancy(None)?;
    let slot = vacancy.slot();
    let parent = Parent {
        pid: NOBODY,
        group: None,
        privileges: privilege::ALL,
        names: new_arc(NameSpace::new(Table::new()))?,
        directory: new_arc_bytes(b"/")?,
        program: new_arc_str("init")?,
        space: spaces::create(slot)?,
        descriptors: new_arc(Lock::new(Rank::Descriptors, Descriptors::new()))?,
    };
    let task = Task::new(slot).ok_or(abi::Errno::ENOMEM)?;
    let seat = Seat::below(AccountId::KERNEL).ok_or(abi::Errno::EAGAIN)?;
    let process = new_arc(Process::new(task, &parent, seat))?;
    let mut frame = TrapFrame::user(0, 0);
    let arguments = exec::Arguments::only(INIT)?;
    exec::first(&process, &mut frame, INIT.as_bytes(), &arguments).map_err(exec::Failure::errno)?;
    fork::prepare(&process, frame);
    fork::admit(process, None);
    Ok(slot)
}
