//! Who pays for frames, kernel objects and processes, and who has most.
//!
//! Accounts form a tree. A process pays from one account; its children pay from
//! the same one unless they begin a note group or give up a privilege, which
//! opens an account below. Each frame is charged to one account. Frames of
//! kernel objects and places in the process table are limited: they are counted
//! in the account and in all above it, and what lies below an account may take
//! all of its limit but a part. That part is room for the account's own
//! processes: whoever started a tree of processes can still start one that ends
//! it, however many accounts the tree has opened.

#[cfg(test)]
mod tests;

use crate::NoMemory;

/// Accounts at most. When there are no more, new ones are their parent's.
pub const ACCOUNTS_MAX: usize = 512;
/// Accounts below one another at most; deeper ones are their parent's.
const DEPTH_MAX: u8 = 8;
/// Places in the process table that an account has more than those below it.
const PLACES: u32 = 8;
/// Parts that the limits of kernel frames and swap are taken in: an account has one more
/// than those below it.
const PARTS: u32 = 16;
/// Accounts that an account may have below it more than those below may.
const BELOW: u32 = 32;
/// Kernel frames of an account that count as its parent's own, so that a new
/// account has enough for a program to begin.
const FIRST_FRAMES: u32 = 64;

/// Identifies an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AccountId(pub u16);

impl AccountId {
    /// The kernel's own, above all others, without limits.
    pub const KERNEL: AccountId = AccountId(0);
}

#[derive(Clone, Copy)]
struct Account {
    open: bool,
    parent: AccountId,
    /// The number of accounts above it.
    depth: u8,
    /// Processes that pay from it.
    members: u32,
    /// The number of accounts directly below it.
    below: u32,
    /// Frames charged to it, of all kinds.
    frames: u32,
    /// Frames of kernel objects, of it and of all below.
    kernel: u32,
    /// Places in the process table, of it and of all below.
    places: u32,
    /// Accounts in its tree, itself included.
    accounts: u32,
}

const UNUSED: Account = Account {
    open: false,
    parent: AccountId::KERNEL,
    depth: 0,
    members: 0,
    below: 0,
    frames: 0,
    kernel: 0,
    places: 0,
    accounts: 0,
};

impl Account {
    /// Returns true if it has no members, and nothing is charged to it or
    /// below.
    fn is_idle(&self) -> bool {
        self.members == 0 && self.below == 0 && self.frames == 0 && self.places == 0
    }
}

/// All accounts.
pub struct Accounts {
    list: [Account; ACCOUNTS_MAX],
    /// Where the search for an unused one begins.
    next: u16,
    /// Frames that kernel objects of all programs may have.
    kernel_max: u32,
    /// Processes there may be.
    places_max: u32,
}

impl Accounts {
    /// The kernel's own alone, and no limits yet.
    pub const fn new() -> Accounts {
        let mut list = [UNUSED; ACCOUNTS_MAX];
        list[0].open = true;
        list[0].members = 1;
        Accounts {
            list,
            next: 1,
            kernel_max: 0,
            places_max: 0,
        }
    }

    /// Sets the frames that kernel objects of all programs together may have.
    pub fn set_kernel_frames(&mut self, frames: u32) {
        self.kernel_max = frames;
    }

    /// Sets the number of processes that there may be.
    pub fn set_places(&mut self, processes: u32) {
        self.places_max = processes;
    }

    #[inline]
    fn get(&self, id: AccountId) -> &Account {
        &self.list[usize::from(id.0) % ACCOUNTS_MAX]
    }

    #[inline(always)]
    fn get_mut(&mut self, id: AccountId) -> &mut Account {
        &mut self.list[usize::from(id.0) % ACCOUNTS_MAX]
    }

    /// The account and all above it.
    pub fn chain(&self, id: AccountId) -> impl Iterator<Item = AccountId> + '_ {
        let above = move |id: &AccountId| (*id != AccountId::KERNEL).then(|| self.get(*id).parent);
        core::iter::successors(Some(id), above)
    }

    /// Returns true if the account is `top` or below it.
    pub fn is_within(&self, id: AccountId, top: AccountId) -> bool {
        self.chain(id).any(|at| at == top)
    }

    /// The top of the largest tree with the account in it that `apart` is not in.
    /// `None`: `apart` is the account itself or below it.
    pub fn branch(&self, id: AccountId, apart: AccountId) -> Option<AccountId> {
        let parts = |at: &AccountId| !self.is_within(apart, *at);
        self.chain(id).take_while(parts).last()
    }

    /// Opens an account below `parent`, with one member, who must leave it
    /// later. If there is none to be had, returns `parent` with one more
    /// member. An account is closed when it has no members and nothing is
    /// charged to it.
    pub fn open(&mut self, parent: AccountId) -> AccountId {
        let id = self.unused(parent);
        self.join(id);
        id
    }

    fn unused(&mut self, parent: AccountId) -> AccountId {
        let depth = self.get(parent).depth + 1;
        let fits = |at: AccountId| {
            let account = self.get(at);
            let below = u8::from(at != parent);
            account.accounts < Self::accounts_limit(account.depth + below)
        };
        if depth > DEPTH_MAX || !self.chain(parent).all(fits) {
            return parent;
        }
        for _ in 1..ACCOUNTS_MAX {
            let id = AccountId(self.next);
            self.next = self.next % (ACCOUNTS_MAX as u16 - 1) + 1;
            if self.get(id).open {
                continue;
            }
            *self.get_mut(id) = Account {
                open: true,
                parent,
                depth,
                ..UNUSED
            };
            self.get_mut(parent).below += 1;
            self.each(id, |account| account.accounts += 1);
            return id;
        }
        parent
    }

    /// Accounts that the tree of an account of that depth may have.
    fn accounts_limit(depth: u8) -> u32 {
        ACCOUNTS_MAX as u32 - BELOW * u32::from(depth)
    }

    /// Closes an account that is idle, and those above that were open for it.
    #[cold]
    fn close_idle(&mut self, id: AccountId) {
        let mut at = id;
        while at != AccountId::KERNEL && self.get(at).open && self.get(at).is_idle() {
            let parent = self.get(at).parent;
            self.each(at, |account| account.accounts -= 1);
            self.get_mut(parent).below -= 1;
            *self.get_mut(at) = UNUSED;
            at = parent;
        }
    }

    /// One process more pays from the account.
    pub fn join(&mut self, id: AccountId) {
        self.get_mut(id).members += 1;
    }

    /// One process less; tells whether it was the last.
    pub fn leave(&mut self, id: AccountId) -> bool {
        let account = self.get_mut(id);
        account.members = account.members.saturating_sub(1);
        let last = account.members == 0;
        if last {
            self.close_idle(id);
        }
        last
    }

    /// Processes that pay from it.
    pub fn members(&self, id: AccountId) -> u32 {
        self.get(id).members
    }

    /// Charges a frame.
    #[inline(always)]
    pub fn charge(&mut self, id: AccountId) {
        self.get_mut(id).frames += 1;
    }

    /// Frames were given back.
    #[inline]
    pub fn uncharge(&mut self, id: AccountId, frames: u32) {
        let account = self.get_mut(id);
        account.frames = account.frames.saturating_sub(frames);
        if account.frames == 0 && account.members == 0 {
            self.close_idle(id);
        }
    }

    /// Frames charged to it.
    pub fn frames(&self, id: AccountId) -> u32 {
        self.get(id).frames
    }

    /// Kernel frames that an account of that depth may have, with all below.
    fn kernel_limit(&self, depth: u8) -> u32 {
        part(u64::from(self.kernel_max), depth) as u32
    }

    /// Returns true if an account may have more of something of which there is `all`:
    /// `tree` says what an account and all below it have.
    pub fn admits(&self, id: AccountId, tree: impl Fn(AccountId) -> u64, all: u64) -> bool {
        self.chain(id).all(|at| {
            let depth = self.get(at).depth;
            let below = u8::from(at != id && at != AccountId::KERNEL);
            tree(at) < part(all, depth + below)
        })
    }

    /// Places that an account of that depth may have, with all below.
    fn places_limit(&self, depth: u8) -> u32 {
        let kept = PLACES * u32::from(depth.saturating_sub(1));
        self.places_max.saturating_sub(kept)
    }

    /// Charges that many frames of kernel objects, all or none.
    pub fn charge_kernel(&mut self, id: AccountId, frames: u32) -> Result<(), NoMemory> {
        if id == AccountId::KERNEL {
            self.get_mut(id).frames += frames;
            return Ok(());
        }
        let own = self.get(id);
        let payer = match own.kernel.saturating_add(frames) <= FIRST_FRAMES {
            true if own.parent != AccountId::KERNEL => own.parent,
            _ => id,
        };
        let fits = |at: AccountId| {
            let account = self.get(at);
            let below = u8::from(at != payer && at != AccountId::KERNEL);
            let limit = self.kernel_limit(account.depth + below);
            account.kernel.saturating_add(frames) <= limit
        };
        if !self.chain(payer).all(fits) {
            return Err(NoMemory);
        }
        self.get_mut(id).frames += frames;
        self.each(id, |account| account.kernel += frames);
        Ok(())
    }

    /// Frames of kernel objects were given back.
    pub fn uncharge_kernel(&mut self, id: AccountId, frames: u32) {
        if id != AccountId::KERNEL {
            self.each(id, |account| {
                account.kernel = account.kernel.saturating_sub(frames)
            });
        }
        self.uncharge(id, frames);
    }

    /// Charges a place in the process table to `id`, on behalf of a process that
    /// pays from `maker`: the same account or the one above. `false`: there is
    /// none for it.
    pub fn charge_place(&mut self, id: AccountId, maker: AccountId) -> bool {
        let fits = |at: AccountId| {
            let account = self.get(at);
            let below = u8::from(at != maker && at != AccountId::KERNEL);
            account.places < self.places_limit(account.depth + below)
        };
        if !self.chain(maker).all(fits) {
            return false;
        }
        self.each(id, |account| account.places += 1);
        true
    }

    /// A place is free again.
    pub fn uncharge_place(&mut self, id: AccountId) {
        self.each(id, |account| {
            account.places = account.places.saturating_sub(1)
        });
    }

    /// The process at a place pays from an account below its own from now on.
    pub fn move_place(&mut self, from: AccountId, to: AccountId) {
        self.uncharge_place(from);
        self.each(to, |account| account.places += 1);
    }

    fn each(&mut self, id: AccountId, change: impl Fn(&mut Account)) {
        let mut at = id;
        loop {
            change(self.get_mut(at));
            if at == AccountId::KERNEL {
                return;
            }
            at = self.get(at).parent;
        }
    }

    /// The account that is to give memory back when frames are out: from the top
    /// down into the tree with most frames, as long as that has more than the
    /// account itself. `standing` says of an account whether it may be chosen;
    /// trees without any do not count. `swapped` are the pages of an account that are
    /// in swap, which count as frames do. Also the frames of it and below.
    pub fn biggest(
        &self,
        swapped: impl Fn(AccountId) -> u32,
        standing: impl Fn(AccountId) -> Standing,
    ) -> Option<(AccountId, u32)> {
        let own = |id: AccountId| self.get(id).frames.saturating_add(swapped(id));
        let mut frames = [0u32; ACCOUNTS_MAX];
        let mut leads = [false; ACCOUNTS_MAX];
        for number in 0..ACCOUNTS_MAX as u16 {
            let id = AccountId(number);
            let stands = standing(id);
            if !self.get(id).open || stands == Standing::Spared {
                continue;
            }
            for above in self.chain(id) {
                let at = usize::from(above.0);
                frames[at] = frames[at].saturating_add(own(id));
                leads[at] |= stands == Standing::Candidate;
            }
        }
        if !leads[0] {
            return None;
        }
        let mut at = AccountId::KERNEL;
        // No deeper than accounts are.
        for _ in 0..=DEPTH_MAX {
            let below = (1..ACCOUNTS_MAX as u16)
                .map(AccountId)
                .filter(|id| self.get(*id).open && self.get(*id).parent == at)
                .filter(|id| leads[usize::from(id.0)])
                .max_by_key(|id| frames[usize::from(id.0)]);
            let Some(id) = below else { break };
            let candidate = standing(at) == Standing::Candidate;
            if candidate && frames[usize::from(id.0)] <= own(at) {
                break;
            }
            at = id;
        }
        Some((at, frames[usize::from(at.0)]))
    }

    /// Of the accounts with a process that asks for memory now ([`Standing::Candidate`]
    /// by `asks`) the [`biggest`](Self::biggest), if it is to answer for that memory is
    /// out: the largest tree with it, and without the account `hog` that has most, has
    /// at least `share`; of an account above `hog`, what is its own. Who has less is a
    /// newcomer, who gets a place from `hog`. Whole trees count, so that nobody can store
    /// in many small accounts.
    pub fn asker(
        &self,
        swapped: impl Fn(AccountId) -> u32,
        asks: impl Fn(AccountId) -> Standing,
        hog: AccountId,
        share: u32,
    ) -> Option<AccountId> {
        let (asker, _) = self.biggest(&swapped, asks)?;
        let counts = |id: &AccountId| match self.branch(asker, hog) {
            Some(top) => self.get(*id).open && self.is_within(*id, top),
            None => *id == asker,
        };
        let all = (0..ACCOUNTS_MAX as u16).map(AccountId).filter(counts);
        let has = all.fold(0u32, |sum, id| {
            sum.saturating_add(self.get(id).frames)
                .saturating_add(swapped(id))
        });
        (has >= share).then_some(asker)
    }
}

/// Whether an account may be told to give memory back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has no members: its frames are inherited by those below.
    Nobody,
    /// Its members must not be told.
    Spared,
    /// A member may be told.
    Candidate,
}

/// The part of `all` that an account of that depth may have, with all below.
fn part(all: u64, depth: u8) -> u64 {
    let parts = PARTS.saturating_sub(u32::from(depth));
    (u128::from(all) * u128::from(parts) / u128::from(PARTS)) as u64
}

impl Default for Accounts {
    fn default() -> Self {
        Accounts::new()
    }
}
