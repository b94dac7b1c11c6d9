//! Relief when frames, and swap, run out: the program that asks for most gives its
//! own back.
//!
//! A process that needs a frame waits (`sched::relief`) while a process gets a note:
//! of those that ask for memory the biggest, or, where those have little, the one
//! with most (decision 42). Without a handler it ends by that; if it goes on
//! without giving memory back, it is ended. Services of the system are never
//! chosen, file servers only if they have much more.
use super::{Process, current, note, table};
use crate::client::swap;
use crate::sched::{self, relief::Policy};
use crate::seg::reclaim;
use abi::STATUS_KILLED;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use hw::frames;
use hw::lock::{Lock, Rank};
use hw::task::Slot;
use hw::time;
use vm::{ACCOUNTS_MAX, AccountId, Standing};

/// The text of the note, for a program that asks for memory, and for one that has it.
const ASKS: &str = "sys: out of memory: this program asks for more of it";
const HAS: &str = "sys: out of memory: this program has most of it";
/// Frames and pages in swap, as a part of all frames, from which on a tree of accounts
/// that asks for more answers for that memory is out.
const SHARE: u32 = 16;
/// How long a program has to give memory back before it is ended.
const PATIENCE_NS: u64 = 500_000_000;
/// After that a note is as good as forgotten.
const FORGET_NS: u64 = 10_000_000_000;
/// A file server is chosen if it has more than this many times the memory of
/// any other program: others depend on it, but any program can be one.
const SERVER_COUNTS: u32 = 4;

/// The policy of this kernel.
pub struct BiggestFirst;

impl Policy for BiggestFirst {
    fn reclaim(&self) -> bool {
        reclaim::reclaim()
    }

    fn ease(&self) {
        reclaim::ease();
    }

    fn demand(&self) -> bool {
        let me = current();
        me.asked.store(time::now_ns(), Relaxed);
        match victim() {
            Some((victim, text)) if victim.pid != me.pid => {
                tell(&victim, text);
                true
            }
            _ => false,
        }
    }

    fn count_in_swap(&self) {
        count_in_swap();
    }

    fn futile_after_ns(&self) -> u64 {
        match swap::capacity() {
            0 => FUTILE_NS,
            _ => FUTILE_WITH_SWAP_NS,
        }
    }

    fn may_swap(&self, slot: Slot) -> bool {
        super::at(usize::from(slot)).is_some_and(|process| may_swap(&process))
    }

    fn denied(&self) {
        let me = current();
        if me.is_dispensable() {
            // With eight waiting already it knows.
            let _ = note::post(&me, ASKS);
        }
    }
}

/// Gives a process a note; ends it if that was in vain.
fn tell(victim: &Process, text: &str) {
    let now = time::now_ns();
    let told = victim.told.load(Relaxed);
    let since = now.saturating_sub(told);
    if told == 0 || since > FORGET_NS {
        victim.told.store(now, Relaxed);
        let program = victim.program();
        let name = super::name(&program);
        hw::warn!(
            "{}: {name} {}",
            text.trim_start_matches("sys: "),
            victim.pid
        );
        let _ = note::post(victim, text);
    } else if since > PATIENCE_NS {
        victim.end(STATUS_KILLED, text);
    }
}

/// The process that is to give memory back, and the text of its note.
fn victim() -> Option<(Arc<Process>, &'static str)> {
    let plain = |process: &Process| !process.space().lock().is_resident();
    count_in_swap();
    let (account, all) = biggest(|_| true)?;
    let (hog, fits): (AccountId, &dyn Fn(&Process) -> bool) = match biggest(plain) {
        Some((account, frames)) if frames >= all / SERVER_COUNTS => (account, &plain),
        _ => (account, &|_| true),
    };
    let asks = |process: &Process| plain(process) && asks(process);
    if let Some(account) = asker(hog, asks) {
        return Some((of_account(account, asks)?, ASKS));
    }
    Some((of_account(hog, fits)?, HAS))
}

/// Returns true if a process has found no memory a short time ago, and may have to wait
/// for some.
fn asks(process: &Process) -> bool {
    let asked = process.asked.load(Relaxed);
    asked != 0 && time::now_ns().saturating_sub(asked) < FORGET_NS
}

/// The biggest account with a process that asks for memory, unless it has little.
fn asker(hog: AccountId, asks: impl Fn(&Process) -> bool) -> Option<AccountId> {
    let standing = standings(asks);
    let in_swap = IN_SWAP.lock();
    let share = frames::total() as u32 / SHARE;
    frames::accounts(|accounts| {
        accounts.asker(
            |id| in_swap[usize::from(id.0)].pages,
            |id| standing[usize::from(id.0)],
            hog,
            share,
        )
    })
}

/// Returns true if the process may be chosen.
fn may_end(process: &Process) -> bool {
    process.is_dispensable() && !sched::has_ended(process.slot())
}

/// The account with most frames, of those with a process that will do, and
/// frames of it and below.
fn biggest(fits: impl Fn(&Process) -> bool) -> Option<(AccountId, u32)> {
    let standing = standings(fits);
    let in_swap = IN_SWAP.lock();
    frames::accounts(|accounts| {
        accounts.biggest(
            |id| in_swap[usize::from(id.0)].pages,
            |id| standing[usize::from(id.0)],
        )
    })
}

/// Which accounts have a process that will do.
fn standings(fits: impl Fn(&Process) -> bool) -> [Standing; ACCOUNTS_MAX] {
    let mut standing = [Standing::Nobody; ACCOUNTS_MAX];
    for process in table::all().filter(|process| !sched::has_ended(process.slot())) {
        let of = &mut standing[usize::from(process.seat.account().0) % ACCOUNTS_MAX];
        if may_end(&process) && fits(&process) {
            *of = Standing::Candidate;
        } else if *of == Standing::Nobody {
            *of = Standing::Spared;
        }
    }
    standing
}

/// Without swap only clean pages leave, those of running programs among them, which come
/// back at once: so memory that is full shows itself soon.
const FUTILE_NS: u64 = 100_000_000;
/// Pages that go to swap take longer.
const FUTILE_WITH_SWAP_NS: u64 = 10_000_000_000;

/// What an account has in swap.
#[derive(Clone, Copy)]
struct InSwap {
    /// Pages, of shared ones its part.
    pages: u32,
    /// Swap files.
    files: u32,
    /// The same with all accounts below it.
    tree: (u32, u32),
}

impl InSwap {
    const NOTHING: InSwap = InSwap {
        pages: 0,
        files: 0,
        tree: (0, 0),
    };
}

/// As counted last, by account.
static IN_SWAP: Lock<[InSwap; ACCOUNTS_MAX]> =
    Lock::new(Rank::Process, [InSwap::NOTHING; ACCOUNTS_MAX]);

/// Counts it: once for each search, whose length must not grow with the square of the
/// number of processes.
fn count_in_swap() {
    IN_SWAP.lock().fill(InSwap::NOTHING);
    for process in table::all() {
        let (pages, files) = of_process(&process);
        let of = &mut IN_SWAP.lock()[usize::from(process.seat.account().0) % ACCOUNTS_MAX];
        of.pages = of.pages.saturating_add(pages as u32);
        of.files = of.files.saturating_add(files as u32);
    }
    let mut in_swap = IN_SWAP.lock();
    frames::accounts(|accounts| {
        for id in 0..ACCOUNTS_MAX {
            let InSwap { pages, files, .. } = in_swap[id];
            if files == 0 {
                continue;
            }
            for at in accounts.chain(AccountId(id as u16)) {
                let tree = &mut in_swap[usize::from(at.0)].tree;
                tree.0 = tree.0.saturating_add(pages);
                tree.1 = tree.1.saturating_add(files);
            }
        }
    });
}

/// Pages of a process that are in swap, of shared ones its part, and swap files. Memory
/// that several processes have counts as that of one.
fn of_process(process: &Process) -> (u64, u64) {
    let space = process.space();
    let mut space = space.lock();
    if space.members.first() != Some(process.slot().into()) {
        return (0, 0);
    }
    space.in_swap(|file, pages| pages.div_ceil(u64::from(swap::holders(file).max(1))))
}

/// Returns true if the account of a process may take more room of swap, and more swap
/// files, as they were counted last: a tree of accounts leaves some of both to those above
/// it.
fn may_swap(process: &Process) -> bool {
    let account = process.seat.account();
    let capacity = swap::capacity();
    let in_swap = IN_SWAP.lock();
    let tree = |at: AccountId| in_swap[usize::from(at.0)].tree;
    frames::accounts(|accounts| {
        accounts.admits(account, |at| u64::from(tree(at).0), capacity)
            && accounts.admits(account, |at| u64::from(tree(at).1), swap::FILES_MAX)
    })
}

/// The process of an account that has most pages mapped or in swap.
fn of_account(account: AccountId, fits: impl Fn(&Process) -> bool) -> Option<Arc<Process>> {
    let of_account = |process: &Process| process.seat.account() == account;
    table::all()
        .filter(|process| of_account(process) && may_end(process) && fits(process))
        .max_by_key(|process| {
            let mapped = process.space().lock().view.pages.mapped();
            mapped + of_process(process).0
        })
}
