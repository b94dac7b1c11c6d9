//! The scheduler: a ready queue, parking and waking.
//!
//! Owns the CPU. A process is named by its slot in the process table; all
//! queues are links between slots, so that waking and waiting allocate nothing.
//! The kernel is not preempted, so no event can occur between the test of a
//! condition and the [`park`] that waits for it. A process that is woken tests
//! the condition again ([`Wait::wait`]).
mod queue;
pub mod relief;
mod semaphore;

pub use queue::{Wait, WaitQueue};
pub use semaphore::Semaphore;

use crate::counters;
use abi::Stat64;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use hw::task::{self, NONE, NPROC};

pub use hw::task::Slot;

const FREE: u8 = 0;
const READY: u8 = 1;
const RUNNING: u8 = 2;
const PARKED: u8 = 3;
const ENDED: u8 = 4;

static STATE: [AtomicU8; NPROC] = [const { AtomicU8::new(FREE) }; NPROC];
/// A wake-up that came while the process was not parked.
static WOKEN: [AtomicBool; NPROC] = [const { AtomicBool::new(false) }; NPROC];
/// Pending interruptions of waits: [`ENDING`], [`NOTED`].
static CALLED: [AtomicU8; NPROC] = [const { AtomicU8::new(0) }; NPROC];
/// The process shall end.
const ENDING: u8 = 1;
/// A note can be delivered.
const NOTED: u8 = 2;
/// The reason of a parked process's wait, and its start in nanoseconds.
static REASON: [AtomicU8; NPROC] = [const { AtomicU8::new(0) }; NPROC];
static SINCE: [AtomicU64; NPROC] = [const { AtomicU64::new(0) }; NPROC];
/// Time-stamp ticks that a process ran, without its present turn.
static RAN: [AtomicU64; NPROC] = [const { AtomicU64::new(0) }; NPROC];
/// When the present turn began, in ticks.
static TURN: AtomicU64 = AtomicU64::new(0);
/// When a parked process wants to be woken at the latest, in nanoseconds.
static DEADLINE: [AtomicU64; NPROC] = [const { AtomicU64::new(u64::MAX) }; NPROC];
static NEXT_READY: [AtomicU16; NPROC] = [const { AtomicU16::new(NONE) }; NPROC];

static READY_HEAD: AtomicU16 = AtomicU16::new(NONE);
static READY_TAIL: AtomicU16 = AtomicU16::new(NONE);
static EARLIEST: AtomicU64 = AtomicU64::new(u64::MAX);
/// When idling began; 0 while there is work.
static IDLE_SINCE: AtomicU64 = AtomicU64::new(0);

/// The reason why [`park`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// A wake-up: test the condition again.
    Woken,
    /// The time is up.
    Timeout,
    /// The process is to end: give up.
    Ending,
    /// A note came: give up, if the operation can be left unfinished.
    Noted,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// The reason of a wait.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            const TEXTS: &'static [&'static str] = &[$($text,)*];
        }
    };
}

reasons! {
    /// A child to end.
    Child "child to end",
    /// Time to pass.
    Time "time to pass",
    /// A message on a channel.
    Message "message on a channel",
    /// Room in a channel.
    Room "room in a channel",
    /// Anything at a port.
    Port "message at a port",
    /// A server's reply.
    Reply "reply of a server",
    /// A free tag of a connection.
    Tag "free tag of a server",
    /// A page that another process fills.
    Page "page being filled",
    /// A semaphore.
    Semaphore "semaphore",
    /// Memory that another process gives back.
    Memory "memory",
}

/// The state of a process, for display.
pub struct Status {
    /// [`abi::ProcessInfo::READY`] and so on.
    pub state: u32,
    /// The object that it waits for; empty unless it waits.
    pub waits_for: &'static str,
    /// Since when it waits, in nanoseconds; 0 unless it waits.
    pub since_ns: u64,
    /// Time-stamp ticks it ran.
    pub ticks: u64,
}

/// The state of the process in `slot`.
pub fn status(slot: Slot) -> Status {
    let i = slot as usize;
    let parked = STATE[i].load(Relaxed) == PARKED;
    let reason = Reason::TEXTS.get(REASON[i].load(Relaxed) as usize);
    let mut ticks = RAN[i].load(Relaxed);
    if slot == current_slot() {
        ticks += hw::time::ticks().saturating_sub(TURN.load(Relaxed));
    }
    Status {
        state: match STATE[i].load(Relaxed) {
            READY => abi::ProcessInfo::READY,
            PARKED => abi::ProcessInfo::WAITING,
            ENDED => abi::ProcessInfo::ENDED,
            _ => abi::ProcessInfo::RUNNING,
        },
        waits_for: reason.copied().filter(|_| parked).unwrap_or(""),
        since_ns: if parked { SINCE[i].load(Relaxed) } else { 0 },
        ticks,
    }
}

/// The slot that runs now.
#[inline]
pub fn current_slot() -> Slot {
    task::current()
}

fn push_ready(slot: Slot) {
    STATE[slot as usize].store(READY, Relaxed);
    NEXT_READY[slot as usize].store(NONE, Relaxed);
    match READY_TAIL.load(Relaxed) {
        NONE => READY_HEAD.store(slot, Relaxed),
        tail => NEXT_READY[tail as usize].store(slot, Relaxed),
    }
    READY_TAIL.store(slot, Relaxed);
}

fn pop_ready() -> Option<Slot> {
    let slot = READY_HEAD.load(Relaxed);
    if slot == NONE {
        return None;
    }
    let next = NEXT_READY[slot as usize].load(Relaxed);
    READY_HEAD.store(next, Relaxed);
    if next == NONE {
        READY_TAIL.store(NONE, Relaxed);
    }
    Some(slot)
}

/// Makes a parked process ready, or lets its next [`park`] return at once.
pub fn unpark(slot: Slot) {
    if STATE[slot as usize].load(Relaxed) == PARKED {
        push_ready(slot);
    } else {
        WOKEN[slot as usize].store(true, Relaxed);
    }
}

/// A new process may run. Its context is in place.
pub fn admit(slot: Slot) {
    let i = slot as usize;
    WOKEN[i].store(false, Relaxed);
    CALLED[i].store(0, Relaxed);
    RAN[i].store(0, Relaxed);
    DEADLINE[i].store(u64::MAX, Relaxed);
    push_ready(slot);
}

/// Orders the process in `slot` to end; it gives up its wait.
pub fn set_ending(slot: Slot) {
    CALLED[slot as usize].fetch_or(ENDING, Relaxed);
    unpark(slot);
}

/// A note can be delivered to the process in `slot`: it gives up its wait if
/// possible.
pub fn set_noted(slot: Slot) {
    CALLED[slot as usize].fetch_or(NOTED, Relaxed);
    unpark(slot);
}

/// No note can be delivered to the process in `slot` any more.
pub fn clear_noted(slot: Slot) {
    CALLED[slot as usize].fetch_and(!NOTED, Relaxed);
}

/// Returns true if the running process has a pending note or kill.
#[inline]
pub fn called() -> bool {
    CALLED[current_slot() as usize].load(Relaxed) != 0
}

/// Returns true if the running process has a pending kill.
#[inline]
pub fn ending() -> bool {
    CALLED[current_slot() as usize].load(Relaxed) & ENDING != 0
}

/// The slot may be used again.
pub fn retire(slot: Slot) {
    STATE[slot as usize].store(FREE, Relaxed);
}

/// Gives up the CPU until woken, until `deadline_ns`, until a note comes or
/// the process is to end. No lock may be held.
pub fn park(reason: Reason, deadline_ns: Option<u64>) -> Wake {
    park_unless(ENDING | NOTED, reason, deadline_ns)
}

/// The same, but notes have to wait.
pub fn park_through_notes(reason: Reason) -> Wake {
    park_unless(ENDING, reason, None)
}

/// Why the running process must not park, if it is called for one of `heeds`.
#[inline]
fn interruption(i: usize, heeds: u8) -> Option<Wake> {
    match CALLED[i].load(Relaxed) & heeds {
        0 => None,
        called if called & ENDING != 0 => Some(Wake::Ending),
        _ => Some(Wake::Noted),
    }
}

fn park_unless(heeds: u8, reason: Reason, deadline_ns: Option<u64>) -> Wake {
    hw::lock::assert_none_held();
    let me = current_slot();
    let i = me as usize;
    if let Some(wake) = interruption(i, heeds) {
        return wake;
    }
    if WOKEN[i].swap(false, Relaxed) {
        return Wake::Woken;
    }
    if let Some(deadline) = deadline_ns {
        if hw::time::now_ns() >= deadline {
            return Wake::Timeout;
        }
        DEADLINE[i].store(deadline, Relaxed);
        EARLIEST.fetch_min(deadline, Relaxed);
    }
    REASON[i].store(reason as u8, Relaxed);
    SINCE[i].store(hw::time::now_ns(), Relaxed);
    STATE[i].store(PARKED, Relaxed);
    leave_cpu(me);
    DEADLINE[i].store(u64::MAX, Relaxed);
    WOKEN[i].store(false, Relaxed);
    if let Some(wake) = interruption(i, heeds) {
        wake
    } else if deadline_ns.is_some_and(|d| hw::time::now_ns() >= d) {
        Wake::Timeout
    } else {
        Wake::Woken
    }
}

/// Lets others run first, if any are ready.
pub fn give_way() {
    hw::lock::assert_none_held();
    if READY_HEAD.load(Relaxed) != NONE {
        let me = current_slot();
        push_ready(me);
        leave_cpu(me);
    }
}

/// To be called in the middle of long work, with no lock held, at least every
/// million instructions: the kernel is not preempted. Takes the interrupts that
/// wait and lets others run first, if any are ready.
pub fn breathe() {
    hw::lock::assert_none_held();
    hw::take_interrupts();
    give_way();
}

/// The running process is no more: its slot waits for the parent, its stack
/// is used a last time to find the next process.
pub fn end() -> ! {
    hw::lock::assert_none_held();
    let me = current_slot();
    STATE[me as usize].store(ENDED, Relaxed);
    leave_cpu(me);
    unreachable!("an ended process was scheduled");
}

/// Runs the first process from the boot stack, which is never used again.
pub fn start(first: Slot) -> ! {
    let popped = pop_ready();
    debug_assert_eq!(popped, Some(first));
    STATE[first as usize].store(RUNNING, Relaxed);
    TURN.store(hw::time::ticks(), Relaxed);
    task::start(first)
}

/// Switches to the next ready process, idling on this stack while there is
/// none. Idling here saves two switches whenever the process that just
/// parked is the next one to run, as in every fill.
fn leave_cpu(me: Slot) {
    let mut now = hw::time::ticks();
    let turn = now.saturating_sub(TURN.load(Relaxed));
    RAN[me as usize].fetch_add(turn, Relaxed);
    let next = loop {
        if let Some(slot) = pop_ready() {
            break slot;
        }
        IDLE_SINCE.store(now, Relaxed);
        hw::idle();
        stop_idle_clock();
        now = hw::time::ticks();
    };
    TURN.store(now, Relaxed);
    STATE[next as usize].store(RUNNING, Relaxed);
    if next != me {
        counters::add(Stat64::Switches, 1);
        task::switch(next);
    }
}

/// Ends idle time: all time from now on counts as work. Called first in the
/// trap handler, so that interrupts count as busy.
#[inline]
pub fn stop_idle_clock() {
    let since = IDLE_SINCE.swap(0, Relaxed);
    if since != 0 {
        let spent = hw::time::ticks().saturating_sub(since);
        counters::add(Stat64::IdleTicks, spent);
    }
}

/// The timer: wakes processes whose deadline has passed.
pub fn tick() {
    let now = hw::time::now_ns();
    if now < EARLIEST.load(Relaxed) {
        return;
    }
    let mut earliest = u64::MAX;
    for (slot, deadline_ns) in DEADLINE.iter().enumerate() {
        let deadline = deadline_ns.load(Relaxed);
        if deadline <= now {
            deadline_ns.store(u64::MAX, Relaxed);
            unpark(slot as Slot);
        } else {
            earliest = earliest.min(deadline);
        }
    }
    EARLIEST.store(earliest, Relaxed);
}
