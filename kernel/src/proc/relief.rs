//! Relief when frames run out: the program with most memory gives its own back.
//!
//! A process that needs a frame waits (`sched::relief`) while the process with
//! most memory gets a note. Without a handler it ends by that; if it goes on
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
use hw::task::Slot;
use hw::time;
use vm::{ACCOUNTS_MAX, AccountId, Standing, TREES};

/// The text of the note.
const TEXT: &str = "sys: out of memory: this program has most of it";
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
        match victim() {
            Some(victim) if victim.pid != current().pid => {
                tell(&victim);
                true
            }
            _ => false,
        }
    }

    fn may_swap(&self, slot: Slot) -> bool {
        super::at(usize::from(slot)).is_some_and(|process| may_swap(&process))
    }

    fn denied(&self) {
        let me = current();
        if !me.is_service() {
            // With eight waiting already it knows.
            let _ = note::post(&me, TEXT);
        }
    }
}

/// Gives the process with most memory a note; ends it if that was in vain.
fn tell(victim: &Process) {
    let now = time::now_ns();
    let told = victim.told.load(Relaxed);
    let since = now.saturating_sub(told);
    if told == 0 || since > FORGET_NS {
        victim.told.store(now, Relaxed);
        let program = victim.program();
        let name = super::name(&program);
        hw::warn!("out of memory: {name} {} has most of it", victim.pid);
        let _ = note::post(victim, TEXT);
    } else if since > PATIENCE_NS {
        victim.end(STATUS_KILLED, TEXT);
    }
}

/// The process that is to give memory back.
fn victim() -> Option<Arc<Process>> {
    let plain = |process: &Process| !process.space.lock().is_resident();
    let (account, all) = biggest(|_| true)?;
    match biggest(plain) {
        Some((account, frames)) if frames >= all / SERVER_COUNTS => of_account(account, plain),
        _ => of_account(account, |_| true),
    }
}

/// Returns true if the process may be chosen.
fn may_end(process: &Process) -> bool {
    !process.is_service() && !sched::has_ended(process.slot())
}

/// The account with most frames, of those with a process that will do, and
/// frames of it and below.
fn biggest(fits: impl Fn(&Process) -> bool) -> Option<(AccountId, u32)> {
    let mut standing = [Standing::Nobody; ACCOUNTS_MAX];
    for process in table::all().filter(|process| !sched::has_ended(process.slot())) {
        let of = &mut standing[usize::from(process.seat.account().0) % ACCOUNTS_MAX];
        if may_end(&process) && fits(&process) {
            *of = Standing::Candidate;
        } else if *of == Standing::Nobody {
            *of = Standing::Spared;
        }
    }
    let mut swapped = [0u32; ACCOUNTS_MAX];
    for process in table::all() {
        let of = &mut swapped[usize::from(process.seat.account().0) % ACCOUNTS_MAX];
        *of = of.saturating_add(in_swap(&process).0 as u32);
    }
    frames::accounts(|accounts| {
        accounts.biggest(
            |id| swapped[usize::from(id.0)],
            |id| standing[usize::from(id.0)],
        )
    })
}

/// Pages of a process that are in swap, of shared ones its part, and swap files.
fn in_swap(process: &Process) -> (u64, u64) {
    let mut space = process.space.lock();
    space.in_swap(|file, pages| pages.div_ceil(u64::from(swap::holders(file).max(1))))
}

/// Returns true if the account of a process may take more room of swap, and more swap
/// files: a tree of accounts leaves some of both to those above it.
fn may_swap(process: &Process) -> bool {
    let account = process.seat.account();
    let (mut pages, mut files) = ([0; TREES], [0; TREES]);
    for other in table::all() {
        let (its_pages, its_files) = in_swap(&other);
        if its_files == 0 {
            continue;
        }
        let its = other.seat.account();
        let common = frames::accounts(|accounts| accounts.common(account, its));
        for depth in 0..=usize::from(common).min(TREES - 1) {
            pages[depth] += its_pages;
            files[depth] += its_files;
        }
    }
    frames::accounts(|accounts| {
        accounts.admits(account, &pages, swap::capacity())
            && accounts.admits(account, &files, swap::FILES_MAX)
    })
}

/// The process of an account that has most pages mapped or in swap.
fn of_account(account: AccountId, fits: impl Fn(&Process) -> bool) -> Option<Arc<Process>> {
    let of_account = |process: &Process| process.seat.account() == account;
    table::all()
        .filter(|process| of_account(process) && may_end(process) && fits(process))
        .max_by_key(|process| {
            let mapped = process.space.lock().view.pages.mapped();
            mapped + in_swap(process).0
        })
}
