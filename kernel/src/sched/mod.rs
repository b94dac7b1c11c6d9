//! The scheduler: a ready queue, parking and waking.
//!
//! Owns the CPU. A process is named by its slot in the process table; all
//! queues are links between slots, so that waking and waiting allocate nothing.
//!
//! A process that is woken runs before those that have used up their turn, as long as it
//! has not used up one itself since it was behind them (decision 57). An interrupt takes
//! the processor from a program for it at once.
//! The kernel is not preempted, so no event can occur between the test of a
//! condition and the [`park`] that waits for it. A process that is woken tests
//! the condition again ([`Wait::wait`]).
mod patience;
mod queue;
pub mod relief;
mod semaphore;

pub use patience::{patiently, without_notes};
pub use queue::{Wait, WaitQueue};
pub use semaphore::Semaphore;

use crate::counters;
use crate::trace;
use abi::Stat64;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use hw::pending::{self, Work};
use hw::task::{self, NONE, NPROC};
use patience::Patience;
use ranges::Bits;

pub use hw::task::Slot;

/// A set of processes, by their slots.
pub type Slots = Bits<{ NPROC / 64 }>;

const FREE: u8 = 0;
const READY: u8 = 1;
const RUNNING: u8 = 2;
const PARKED: u8 = 3;
const ENDED: u8 = 4;

/// The scheduler's half of a process.
struct Entry {
    state: AtomicU8,
    /// A wake-up that came while the process was not parked.
    woken: AtomicBool,
    /// Pending interruptions of waits: [`ENDING`], [`NOTED`].
    called: AtomicU8,
    /// The [`Reason`] of a parked process's wait, and its start in ticks.
    reason: AtomicU8,
    since: AtomicU64,
    /// Time-stamp ticks that it ran, without its present turn.
    ran: AtomicU64,
    /// What `ran` was when it was put behind all others last.
    ran_before: AtomicU64,
    /// When it wants to be woken at the latest, in nanoseconds.
    deadline: AtomicU64,
    patience: Patience,
    next_ready: AtomicU16,
    /// The process that waits behind it in the same queue.
    next_waiter: AtomicU16,
}

static ENTRIES: [Entry; NPROC] = [const {
    Entry {
        state: AtomicU8::new(FREE),
        woken: AtomicBool::new(false),
        called: AtomicU8::new(0),
        reason: AtomicU8::new(0),
        since: AtomicU64::new(0),
        ran: AtomicU64::new(0),
        ran_before: AtomicU64::new(0),
        deadline: AtomicU64::new(u64::MAX),
        patience: Patience::new(),
        next_ready: AtomicU16::new(NONE),
        next_waiter: AtomicU16::new(NONE),
    }
}; NPROC];

#[inline]
fn entry(slot: Slot) -> &'static Entry {
    &ENTRIES[slot as usize]
}

/// The process shall end.
const ENDING: u8 = 1;
/// A note can be delivered.
const NOTED: u8 = 2;

/// The scheduler's data of a processor. There is one.
struct Cpu {
    /// When the present turn began, in ticks.
    turn: AtomicU64,
    /// A process that is ready and runs before those in the queues.
    next: AtomicU16,
    /// Those that were woken, and have some of their turn left.
    woken: Ready,
    /// The others that are ready.
    ready: Ready,
    /// Time-stamp ticks of a turn.
    turn_max: AtomicU64,
    /// The earliest deadline, in nanoseconds, or an earlier time.
    earliest: AtomicU64,
    /// The largest slot that a process has had.
    largest: AtomicU16,
    /// When idling began, in ticks; 0 while there is work.
    idle_since: AtomicU64,
}

static CPU: Cpu = Cpu {
    turn: AtomicU64::new(0),
    next: AtomicU16::new(NONE),
    woken: Ready::new(),
    ready: Ready::new(),
    turn_max: AtomicU64::new(u64::MAX),
    earliest: AtomicU64::new(u64::MAX),
    largest: AtomicU16::new(0),
    idle_since: AtomicU64::new(0),
};

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
    /// Nanoseconds since it began to wait; 0 unless it waits.
    pub waiting_ns: u64,
    /// Time-stamp ticks it ran.
    pub ticks: u64,
}

/// The state of the process in `slot`.
pub fn status(slot: Slot) -> Status {
    let entry = entry(slot);
    let state = entry.state.load(Relaxed);
    let mut ticks = entry.ran.load(Relaxed);
    if slot == current_slot() {
        ticks += hw::time::ticks().saturating_sub(CPU.turn.load(Relaxed));
    }
    let waited = hw::time::ticks().saturating_sub(entry.since.load(Relaxed));
    let (waits_for, waiting_ns) = match Reason::TEXTS.get(entry.reason.load(Relaxed) as usize) {
        Some(text) if state == PARKED => (*text, hw::time::ticks_to_ns(waited)),
        _ => ("", 0),
    };
    Status {
        state: match state {
            READY => abi::ProcessInfo::READY,
            PARKED => abi::ProcessInfo::WAITING,
            ENDED => abi::ProcessInfo::ENDED,
            _ => abi::ProcessInfo::RUNNING,
        },
        waits_for,
        waiting_ns,
        ticks,
    }
}

/// Returns true if the process in `slot` has left the CPU for good.
pub fn has_ended(slot: Slot) -> bool {
    entry(slot).state.load(Relaxed) == ENDED
}

/// The slot that runs now.
#[inline]
pub fn current_slot() -> Slot {
    task::current()
}

/// A queue of processes that are ready.
struct Ready {
    head: AtomicU16,
    tail: AtomicU16,
}

impl Ready {
    const fn new() -> Ready {
        Ready {
            head: AtomicU16::new(NONE),
            tail: AtomicU16::new(NONE),
        }
    }

    fn is_empty(&self) -> bool {
        self.head.load(Relaxed) == NONE
    }

    fn push(&self, slot: Slot) {
        let ready = entry(slot);
        ready.state.store(READY, Relaxed);
        ready.next_ready.store(NONE, Relaxed);
        match self.tail.load(Relaxed) {
            NONE => self.head.store(slot, Relaxed),
            tail => entry(tail).next_ready.store(slot, Relaxed),
        }
        self.tail.store(slot, Relaxed);
    }

    fn push_first(&self, slot: Slot) {
        let ready = entry(slot);
        let head = self.head.load(Relaxed);
        ready.state.store(READY, Relaxed);
        ready.next_ready.store(head, Relaxed);
        self.head.store(slot, Relaxed);
        if head == NONE {
            self.tail.store(slot, Relaxed);
        }
    }

    fn pop(&self) -> Option<Slot> {
        let slot = self.head.load(Relaxed);
        if slot == NONE {
            return None;
        }
        let next = entry(slot).next_ready.load(Relaxed);
        self.head.store(next, Relaxed);
        if next == NONE {
            self.tail.store(NONE, Relaxed);
        }
        Some(slot)
    }
}

/// Returns true if the process in `slot` has used up a turn since it was behind all others.
fn is_spent(entry: &Entry) -> bool {
    let ran = entry.ran.load(Relaxed) - entry.ran_before.load(Relaxed);
    ran >= CPU.turn_max.load(Relaxed)
}

/// Puts a process behind all that are ready; it has a whole turn then.
fn push_last(slot: Slot) {
    let entry = entry(slot);
    entry.ran_before.store(entry.ran.load(Relaxed), Relaxed);
    CPU.ready.push(slot);
}

/// A process that waited is ready.
#[inline]
fn push_woken(slot: Slot) {
    match is_spent(entry(slot)) {
        true => push_last(slot),
        false => CPU.woken.push(slot),
    }
}

fn pop_ready() -> Option<Slot> {
    let next = CPU.next.load(Relaxed);
    if next != NONE {
        CPU.next.store(NONE, Relaxed);
        return Some(next);
    }
    CPU.woken.pop().or_else(|| CPU.ready.pop())
}

/// Turns have this length, in time-stamp ticks.
pub fn set_turn(ticks: u64) {
    CPU.turn_max.store(ticks, Relaxed);
}

/// As [`unpark`], for a process that the running one is about to wait for: it runs
/// before all others that are ready, in what is left of the caller's turn. The timer
/// ends that as any other.
#[inline]
pub fn hand_over(slot: Slot) {
    let entry = entry(slot);
    if entry.state.load(Relaxed) != PARKED {
        entry.woken.store(true, Relaxed);
        return;
    }
    entry.state.store(READY, Relaxed);
    let before = CPU.next.load(Relaxed);
    CPU.next.store(slot, Relaxed);
    if before != NONE {
        push_woken(before);
    }
}

/// Makes a parked process ready, or lets its next [`park`] return at once.
pub fn unpark(slot: Slot) {
    let entry = entry(slot);
    if entry.state.load(Relaxed) == PARKED {
        push_woken(slot);
    } else {
        entry.woken.store(true, Relaxed);
    }
}

/// A new process may run. Its context is in place.
pub fn admit(slot: Slot) {
    let entry = entry(slot);
    entry.woken.store(false, Relaxed);
    entry.called.store(0, Relaxed);
    entry.ran.store(0, Relaxed);
    entry.deadline.store(u64::MAX, Relaxed);
    entry.patience.begin();
    CPU.largest.fetch_max(slot, Relaxed);
    push_last(slot);
}

/// Orders the process in `slot` to end; it gives up its wait.
pub fn set_ending(slot: Slot) {
    entry(slot).called.fetch_or(ENDING, Relaxed);
    look_at_calls();
    unpark(slot);
}

/// A note can be delivered to the process in `slot`: it gives up its wait if
/// possible.
pub fn set_noted(slot: Slot) {
    entry(slot).called.fetch_or(NOTED, Relaxed);
    look_at_calls();
    unpark(slot);
}

/// No note can be delivered to the process in `slot` any more.
pub fn clear_noted(slot: Slot) {
    entry(slot).called.fetch_and(!NOTED, Relaxed);
    look_at_calls();
}

/// Returns true if the running process has a pending note or kill.
#[inline]
pub fn called() -> bool {
    pending::is(Work::Called)
}

/// Notes for [`called`] whether the running process has one.
fn look_at_calls() {
    // Before the first process there is none.
    if let Some(entry) = ENTRIES.get(usize::from(current_slot())) {
        note_calls(entry);
    }
}

/// The same for the process that runs next.
#[inline]
fn note_calls(entry: &Entry) {
    pending::set(Work::Called, entry.called.load(Relaxed) != 0);
}

/// Returns true if the running process has a pending kill.
#[inline]
pub fn ending() -> bool {
    entry(current_slot()).called.load(Relaxed) & ENDING != 0
}

/// The slot may be used again.
pub fn retire(slot: Slot) {
    entry(slot).state.store(FREE, Relaxed);
}

/// Gives up the CPU until woken, until `deadline_ns`, until a note comes or
/// the process is to end. No lock may be held.
pub fn park(reason: Reason, deadline_ns: Option<u64>) -> Wake {
    park_unless(ENDING | NOTED, reason, deadline_ns)
}

/// The same, but notes have to wait.
pub fn park_through_notes(reason: Reason, deadline_ns: Option<u64>) -> Wake {
    park_unless(ENDING, reason, deadline_ns)
}

/// Why the running process must not park, if it is called for one of `heeds`.
#[inline]
fn interruption(entry: &Entry, heeds: u8) -> Option<Wake> {
    match entry.called.load(Relaxed) & heeds {
        0 => None,
        called if called & ENDING != 0 => Some(Wake::Ending),
        _ if entry.patience.holds_off().is_some() => None,
        _ => Some(Wake::Noted),
    }
}

fn park_unless(heeds: u8, reason: Reason, deadline_ns: Option<u64>) -> Wake {
    hw::lock::assert_none_held();
    let me = current_slot();
    let entry = entry(me);
    if let Some(wake) = interruption(entry, heeds) {
        return wake;
    }
    if entry.woken.swap(false, Relaxed) {
        return Wake::Woken;
    }
    let mut wake_at = deadline_ns;
    if entry.called.load(Relaxed) & heeds != 0 {
        // The note that has come is looked at again when it is held off no longer.
        let held_off = entry.patience.holds_off();
        wake_at = wake_at.into_iter().chain(held_off).min();
    }
    if let Some(wake_at) = wake_at {
        if hw::time::now_ns() >= wake_at {
            return cause(entry, heeds, deadline_ns);
        }
        entry.deadline.store(wake_at, Relaxed);
        CPU.earliest.fetch_min(wake_at, Relaxed);
    }
    entry.reason.store(reason as u8, Relaxed);
    entry.state.store(PARKED, Relaxed);
    leave_cpu(me);
    entry.woken.store(false, Relaxed);
    if wake_at.is_some() {
        entry.deadline.store(u64::MAX, Relaxed);
    }
    cause(entry, heeds, deadline_ns)
}

/// Why a process that was parked runs again.
fn cause(entry: &Entry, heeds: u8, deadline_ns: Option<u64>) -> Wake {
    match interruption(entry, heeds) {
        Some(wake) => wake,
        None if deadline_ns.is_some_and(|deadline| hw::time::now_ns() >= deadline) => Wake::Timeout,
        None => Wake::Woken,
    }
}

/// Lets others run first, if any are ready.
pub fn give_way() {
    hw::lock::assert_none_held();
    if has_woken() || !CPU.ready.is_empty() {
        let me = current_slot();
        account(me);
        push_last(me);
        leave_cpu(me);
    }
}

/// Lets a process run first that was woken, if there is one; the running one goes on with
/// the rest of its turn afterwards.
pub fn give_way_to_woken() {
    hw::lock::assert_none_held();
    if has_woken() {
        let me = current_slot();
        account(me);
        match is_spent(entry(me)) {
            true => push_last(me),
            false => CPU.ready.push_first(me),
        }
        leave_cpu(me);
    }
}

fn has_woken() -> bool {
    CPU.next.load(Relaxed) != NONE || !CPU.woken.is_empty()
}

/// Adds the present turn to what a process has run; the time.
fn account(me: Slot) -> u64 {
    let now = hw::time::ticks();
    let turn = now.saturating_sub(CPU.turn.load(Relaxed));
    entry(me).ran.fetch_add(turn, Relaxed);
    CPU.turn.store(now, Relaxed);
    now
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
    entry(me).state.store(ENDED, Relaxed);
    leave_cpu(me);
    unreachable!("an ended process was scheduled");
}

/// Runs the first process from the boot stack, which is never used again.
pub fn start(first: Slot) -> ! {
    let popped = pop_ready();
    debug_assert_eq!(popped, Some(first));
    entry(first).state.store(RUNNING, Relaxed);
    note_calls(entry(first));
    CPU.turn.store(hw::time::ticks(), Relaxed);
    trace::switch(first);
    task::start(first)
}

/// Switches to the next ready process, idling on this stack while there is
/// none. Idling here saves two switches whenever the process that just
/// parked is the next one to run, as in every fill.
fn leave_cpu(me: Slot) {
    let mut now = account(me);
    entry(me).since.store(now, Relaxed);
    let next = loop {
        if let Some(slot) = pop_ready() {
            break slot;
        }
        CPU.idle_since.store(now, Relaxed);
        trace::switch(NONE);
        hw::idle();
        stop_idle_clock();
        now = hw::time::ticks();
    };
    CPU.turn.store(now, Relaxed);
    entry(next).state.store(RUNNING, Relaxed);
    note_calls(entry(next));
    trace::switch(next);
    if next != me {
        counters::add(Stat64::Switches, 1);
        task::switch(next);
    }
}

/// Ends idle time: all time from now on counts as work. Called first in the
/// trap handler, so that interrupts count as busy.
#[inline]
pub fn stop_idle_clock() {
    let since = CPU.idle_since.swap(0, Relaxed);
    if since != 0 {
        let spent = hw::time::ticks().saturating_sub(since);
        counters::add(Stat64::IdleTicks, spent);
    }
}

/// The timer: wakes processes whose deadline has passed.
pub fn tick() {
    let now = hw::time::now_ns();
    if now < CPU.earliest.load(Relaxed) {
        return;
    }
    let mut earliest = u64::MAX;
    let largest = usize::from(CPU.largest.load(Relaxed));
    for (slot, entry) in ENTRIES.iter().enumerate().take(largest + 1) {
        let deadline = entry.deadline.load(Relaxed);
        if deadline <= now {
            entry.deadline.store(u64::MAX, Relaxed);
            unpark(slot as Slot);
        } else {
            earliest = earliest.min(deadline);
        }
    }
    CPU.earliest.store(earliest, Relaxed);
}
