//! The payer: the account that is charged for memory, and its share of the reserve.
//!
//! The last free frames are a reserve: ordinary processes leave some of it for
//! kernel objects and for file servers, and all of them leave some for the
//! services of the system. Without it a full memory would stop the servers that
//! could empty it.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use vm::AccountId;

use crate::cpu::cpu;

/// How far a process may use up the last free frames: how many steps of the
/// reserve it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Share {
    /// Like any program.
    #[default]
    Ordinary = 3,
    /// It answers as a file server: others wait for it.
    Serving = 2,
    /// Kernel objects of any program: calls go on when a server has taken the
    /// frames that it may.
    Kernel = 1,
    /// The system cannot do without it, or it gives memory back just now.
    Service = 0,
}

/// The account that pays for frames now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Payer {
    /// To which they are charged.
    pub account: AccountId,
    /// How many must be left.
    pub share: Share,
}

/// The terms on which the present payer takes frames.
pub(super) struct Terms {
    pub account: AccountId,
    /// Free frames that the payer must leave, and kernel objects for it.
    pub floor: u32,
    pub kernel_floor: u32,
}

/// A step of the reserve, see [`Share`].
static RESERVE: AtomicU32 = AtomicU32::new(0);

/// At start: sets the step of the reserve, frames.
pub(super) fn set_reserve(reserve: u32) {
    RESERVE.store(reserve, Relaxed);
}

/// The present payer's terms.
#[inline]
pub(super) fn payer() -> Terms {
    let cpu = cpu();
    Terms {
        account: AccountId(cpu.account.load(Relaxed)),
        floor: cpu.floor.load(Relaxed),
        kernel_floor: cpu.kernel_floor.load(Relaxed),
    }
}

/// From now on `payer` takes frames: the running process does.
#[inline]
pub(crate) fn set_payer(payer: Payer) {
    let (cpu, reserve) = (cpu(), RESERVE.load(Relaxed));
    cpu.account.store(payer.account.0, Relaxed);
    cpu.running.store(payer.account.0, Relaxed);
    let floor = payer.share as u32 * reserve;
    cpu.floor.store(floor, Relaxed);
    let for_kernel = floor.min(Share::Kernel as u32 * reserve);
    cpu.kernel_floor.store(for_kernel, Relaxed);
}

/// The account that is charged for memory now.
#[inline]
pub(super) fn account() -> AccountId {
    AccountId(cpu().account.load(Relaxed))
}

/// The account of the running process.
pub fn running() -> AccountId {
    AccountId(cpu().running.load(Relaxed))
}

/// Runs `f` with memory charged to the kernel: for shared tables, whose size
/// follows from objects that accounts are charged for.
#[inline]
pub fn for_all<R>(f: impl FnOnce() -> R) -> R {
    let account = charge_to(AccountId::KERNEL);
    let done = f();
    charge_to(account);
    done
}

/// Runs `f` with what is left for kernel objects, charged to that account.
pub(super) fn from_reserve<R>(account: AccountId, f: impl FnOnce() -> R) -> R {
    let cpu = cpu();
    let account = charge_to(account);
    let floor = cpu.floor.swap(cpu.kernel_floor.load(Relaxed), Relaxed);
    let done = f();
    cpu.floor.store(floor, Relaxed);
    charge_to(account);
    done
}

/// Charges `account` from now on; returns the account before.
#[inline]
fn charge_to(account: AccountId) -> AccountId {
    let payer = &cpu().account;
    let before = AccountId(payer.load(Relaxed));
    payer.store(account.0, Relaxed);
    before
}
