//! A process's place in the table, and the account that it pays from.
use super::Process;
use abi::privilege;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use hw::frames::{self, Payer, Share};
use hw::{heap, task};
use vm::{AccountId, Accounts};

/// A charged place; given back when it is dropped.
pub struct Seat {
    account: AtomicU16,
    /// It gives back all it has: that may need a little memory.
    leaving: AtomicBool,
}

impl Seat {
    /// A place for a child of a process that pays from `maker`, in that account.
    /// `None`: no more are allowed.
    pub fn beside(maker: AccountId) -> Option<Seat> {
        Self::take(maker, |accounts| {
            accounts.join(maker);
            maker
        })
    }

    /// The same in a new account below.
    pub fn below(maker: AccountId) -> Option<Seat> {
        Self::take(maker, |accounts| accounts.open(maker))
    }

    fn take(maker: AccountId, enter: impl FnOnce(&mut Accounts) -> AccountId) -> Option<Seat> {
        let account = frames::accounts(|accounts| {
            let id = enter(accounts);
            if accounts.charge_place(id, maker) {
                return Some(id);
            }
            accounts.leave(id);
            None
        })?;
        Some(Seat {
            account: AtomicU16::new(account.0),
            leaving: AtomicBool::new(false),
        })
    }

    /// The account.
    #[inline]
    pub fn account(&self) -> AccountId {
        AccountId(self.account.load(Relaxed))
    }

    /// Gives the process a new account below its own. One that is alone in its
    /// account keeps it.
    fn move_below(&self) {
        let old = self.account();
        let new = frames::accounts(|accounts| {
            if accounts.members(old) == 1 {
                return old;
            }
            let new = accounts.open(old);
            accounts.move_place(old, new);
            accounts.leave(old);
            new
        });
        self.account.store(new.0, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let account = self.account();
        let last = frames::accounts(|accounts| {
            accounts.uncharge_place(account);
            accounts.leave(account)
        });
        if last {
            heap::close_account(account);
        }
    }
}

impl Process {
    /// Returns true if the system depends on the process. It may then use the
    /// last frames, and is not ended when there are none.
    pub fn is_service(&self) -> bool {
        self.has_any(privilege::DEVICE | privilege::SERVICE)
    }

    /// How it pays for frames.
    pub fn payer(&self) -> Payer {
        let share = if self.is_service() || self.seat.leaving.load(Relaxed) {
            Share::Service
        } else if self.space().lock().is_resident() {
            Share::Serving
        } else {
            Share::Ordinary
        };
        let account = self.seat.account();
        Payer { account, share }
    }

    /// Updates the payer of the running process after a change of the state
    /// that [`Process::payer`] derives it from.
    pub fn pay_so(&self) {
        task::set_payer(self.payer());
    }

    /// Opens an account for the running process: from now on it and its
    /// children are charged apart from its parent.
    pub fn pay_apart(&self) {
        self.seat.move_below();
        self.pay_so();
    }

    /// Lets the ending process use the last frames, for the little memory that
    /// giving back needs.
    pub fn pay_last(&self) {
        self.seat.leaving.store(true, Relaxed);
        self.pay_so();
    }
}
