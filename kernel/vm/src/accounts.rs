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

use crate::NoMemory;

/// Accounts at most. When there are no more, new ones are their parent's.
pub const ACCOUNTS_MAX: usize = 512;
/// Accounts below one another at most; deeper ones are their parent's.
const DEPTH_MAX: u8 = 8;
/// The number of depths: see [`Accounts::admits`].
pub const TREES: usize = DEPTH_MAX as usize + 1;
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

    /// Frames that kernel objects of all programs together may have, and
    /// processes there may be.
    pub fn set_limits(&mut self, kernel_frames: u32, processes: u32) {
        self.kernel_max = kernel_frames;
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
    fn chain(&self, id: AccountId) -> impl Iterator<Item = AccountId> + '_ {
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

    /// A frame was given back.
    #[inline]
    pub fn uncharge(&mut self, id: AccountId) {
        let account = self.get_mut(id);
        account.frames = account.frames.saturating_sub(1);
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

    /// The depth of the lowest account that both are in or below.
    pub fn common(&self, one: AccountId, other: AccountId) -> u8 {
        let both = |at: &AccountId| self.chain(other).any(|above| above == *at);
        let common = self.chain(one).find(both);
        common.map_or(0, |at| self.get(at).depth)
    }

    /// Returns true if an account may have more of something of which there is `all`:
    /// `trees` is what the trees of it and those above it have, by their depth.
    pub fn admits(&self, id: AccountId, trees: &[u64; TREES], all: u64) -> bool {
        self.chain(id).all(|at| {
            let depth = self.get(at).depth;
            let below = u8::from(at != id && at != AccountId::KERNEL);
            let has = trees.get(usize::from(depth)).copied().unwrap_or(0);
            has < part(all, depth + below)
        })
    }

    /// Places that an account of that depth may have, with all below.
    fn places_limit(&self, depth: u8) -> u32 {
        let kept = PLACES * u32::from(depth.saturating_sub(1));
        self.places_max.saturating_sub(kept)
    }

    /// Charges a frame of a kernel object.
    pub fn charge_kernel(&mut self, id: AccountId) -> Result<(), NoMemory> {
        if id == AccountId::KERNEL {
            self.charge(id);
            return Ok(());
        }
        let own = self.get(id);
        let payer = match own.kernel < FIRST_FRAMES {
            true if own.parent != AccountId::KERNEL => own.parent,
            _ => id,
        };
        let fits = |at: AccountId| {
            let account = self.get(at);
            let below = u8::from(at != payer && at != AccountId::KERNEL);
            account.kernel < self.kernel_limit(account.depth + below)
        };
        if !self.chain(payer).all(fits) {
            return Err(NoMemory);
        }
        self.charge(id);
        self.each(id, |account| account.kernel += 1);
        Ok(())
    }

    /// A frame of a kernel object was given back.
    pub fn uncharge_kernel(&mut self, id: AccountId) {
        if id != AccountId::KERNEL {
            self.each(id, |account| {
                account.kernel = account.kernel.saturating_sub(1)
            });
        }
        self.uncharge(id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Limits of 16,000 kernel frames and 256 processes; init and its shell.
    fn world() -> (Accounts, AccountId, AccountId) {
        let mut accounts = Accounts::new();
        accounts.set_limits(16_000, 256);
        let init = below(&mut accounts, AccountId::KERNEL);
        let shell = below(&mut accounts, init);
        (accounts, init, shell)
    }

    /// A new account with one process, whose slot its parent has charged.
    fn below(accounts: &mut Accounts, parent: AccountId) -> AccountId {
        let id = accounts.open(parent);
        assert!(accounts.charge_place(id, parent));
        id
    }

    /// Nobody has pages in swap.
    fn none(_: AccountId) -> u32 {
        0
    }

    /// Those are candidates, all others are spared.
    fn among(candidates: &[AccountId]) -> impl Fn(AccountId) -> Standing {
        move |id| match candidates.contains(&id) {
            true => Standing::Candidate,
            false => Standing::Spared,
        }
    }

    /// Charges kernel frames until that is refused.
    fn fill(accounts: &mut Accounts, id: AccountId) -> u32 {
        (0..).find(|_| accounts.charge_kernel(id).is_err()).unwrap()
    }

    #[test]
    fn a_tree_that_opens_an_account_for_each_child_leaves_room_for_its_maker() {
        let (mut accounts, _, shell) = world();
        let bomb = below(&mut accounts, shell);
        let mut ids = Vec::from([bomb]);
        // Every one of them makes more, in an account of its own.
        let mut made = 0;
        'grow: loop {
            for parent in ids.clone() {
                let child = accounts.open(parent);
                if !accounts.charge_place(child, parent) {
                    accounts.leave(child);
                    continue;
                }
                ids.push(child);
                made += 1;
                continue 'grow;
            }
            break;
        }
        assert!(made > 200, "{made}");
        let kill = accounts.open(shell);
        for _ in 0..4 {
            assert!(accounts.charge_place(kill, shell));
        }
    }

    #[test]
    fn several_trees_together_leave_room_for_their_maker() {
        let (mut accounts, _, shell) = world();
        for _ in 0..3 {
            let job = below(&mut accounts, shell);
            while accounts.charge_place(job, job) {}
            fill(&mut accounts, job);
        }
        let kill = below(&mut accounts, shell);
        let first = (0..FIRST_FRAMES).all(|_| accounts.charge_kernel(kill).is_ok());
        assert!(first, "no kernel memory for a new program");
        assert!(accounts.charge_kernel(shell).is_ok());
    }

    #[test]
    fn nested_accounts_with_a_little_each_do_not_take_what_their_makers_maker_needs() {
        let (mut accounts, _, shell) = world();
        let job = below(&mut accounts, shell);
        fill(&mut accounts, job);
        for _ in 0..400 {
            let child = accounts.open(job);
            fill(&mut accounts, child);
        }
        let kill = below(&mut accounts, shell);
        assert!((0..FIRST_FRAMES).all(|_| accounts.charge_kernel(kill).is_ok()));
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let (mut accounts, _, shell) = world();
        let job = below(&mut accounts, shell);
        let most = fill(&mut accounts, job);
        assert!(most > 10_000, "{most}");
        for _ in 0..most {
            accounts.uncharge_kernel(job);
        }
        assert_eq!(accounts.frames(job), 0);
        assert_eq!(fill(&mut accounts, job), most);
    }

    #[test]
    fn accounts_are_used_again_once_nothing_is_charged_to_them() {
        let (mut accounts, _, shell) = world();
        let held = accounts.open(shell);
        accounts.charge(held);
        accounts.leave(held);
        for _ in 0..10 * ACCOUNTS_MAX {
            let id = accounts.open(shell);
            assert_ne!(id, shell);
            assert_ne!(id, held);
            accounts.leave(id);
        }
        // All in use: the parent's is as good.
        let mut count = 0;
        loop {
            let id = accounts.open(shell);
            if id == shell {
                break;
            }
            count += 1;
        }
        assert!(count > ACCOUNTS_MAX - 100, "{count}");
    }

    #[test]
    fn accounts_do_not_nest_deeper_than_their_limit() {
        let (mut accounts, _, shell) = world();
        let mut at = shell;
        for _ in 0..100 {
            at = accounts.open(at);
        }
        assert_eq!(accounts.get(at).depth, DEPTH_MAX);
    }

    #[test]
    fn a_branch_is_all_that_one_process_has_started_and_nothing_of_others() {
        let (mut accounts, init, shell) = world();
        let job = below(&mut accounts, shell);
        let part = below(&mut accounts, job);
        let deep = below(&mut accounts, part);
        let kill = below(&mut accounts, shell);
        for id in [job, part, deep] {
            assert_eq!(accounts.branch(id, kill), Some(job));
            assert_eq!(accounts.branch(id, shell), Some(job));
            assert!(accounts.is_within(id, job));
        }
        // One of the tree itself ends what is beside or below it.
        assert_eq!(accounts.branch(deep, job), Some(part));
        assert_eq!(accounts.branch(kill, deep), Some(kill));
        // Nobody's own account, or one that is above it.
        for id in [kill, shell, init, AccountId::KERNEL] {
            assert_eq!(accounts.branch(id, kill), None);
            assert!(!accounts.is_within(id, job));
        }
        // The first of the tree is gone: what it left is still one tree.
        accounts.leave(job);
        assert_eq!(accounts.branch(deep, kill), Some(job));
    }

    #[test]
    fn the_biggest_is_found_by_the_tree_it_is_in() {
        let (mut accounts, _, shell) = world();
        let honest = below(&mut accounts, shell);
        (0..500).for_each(|_| accounts.charge(honest));
        let bomb = below(&mut accounts, shell);
        let mut parts = Vec::new();
        for size in 1..60 {
            let part = below(&mut accounts, bomb);
            (0..size).for_each(|_| accounts.charge(part));
            parts.push(part);
        }
        // None of its parts has as much as the honest one; together they do.
        let mut all = Vec::from([honest, bomb]);
        all.extend(&parts);
        let last = parts.last().map(|id| (*id, 59));
        assert_eq!(accounts.biggest(none, among(&all)), last);
        // A spared account does not count for those above it.
        let found = accounts.biggest(none, among(&[shell, honest]));
        assert_eq!(found, Some((honest, 500)));
        let found = accounts.biggest(none, among(&[shell]));
        assert_eq!(found, Some((shell, 0)));
        assert_eq!(accounts.biggest(none, among(&[])), None);
    }

    #[test]
    fn pages_in_swap_count_as_frames_do() {
        let (mut accounts, _, shell) = world();
        let hog = below(&mut accounts, shell);
        let honest = below(&mut accounts, shell);
        (0..500).for_each(|_| accounts.charge(honest));
        (0..100).for_each(|_| accounts.charge(hog));
        let swapped = |id| if id == hog { 1000 } else { 0 };
        let found = accounts.biggest(swapped, among(&[hog, honest]));
        assert_eq!(found, Some((hog, 1100)));
    }

    #[test]
    fn each_tree_leaves_a_part_of_swap_to_those_above_it() {
        let (mut accounts, init, shell) = world();
        let hog = below(&mut accounts, shell);
        let child = below(&mut accounts, hog);
        let other = below(&mut accounts, init);
        assert_eq!(accounts.common(child, hog), 3);
        assert_eq!(accounts.common(child, child), 4);
        assert_eq!(accounts.common(child, other), 1);
        assert_eq!(accounts.common(AccountId::KERNEL, child), 0);
        // The child has all that was admitted, page by page.
        let (all, mut has) = (16_000, 0);
        let trees = |has: u64| {
            let mut trees = [has; TREES];
            trees[5..].fill(0);
            trees
        };
        while accounts.admits(child, &trees(has), all) {
            has += 1;
        }
        assert_eq!(has, 12_000);
        // Those above it may have more, and others, too.
        let mut above = trees(has);
        above[4] = 0;
        assert!(accounts.admits(hog, &above, all));
        above[2..].fill(0);
        assert!(accounts.admits(other, &above, all));
    }

    #[test]
    fn a_tree_of_accounts_leaves_some_for_others() {
        let (mut accounts, _, shell) = world();
        let bomb = accounts.open(shell);
        let mut at = bomb;
        for _ in 0..10 * ACCOUNTS_MAX {
            // Each leaves something behind.
            let id = accounts.open(at);
            accounts.charge(id);
            accounts.leave(id);
            at = if id == at { bomb } else { id };
        }
        for _ in 0..20 {
            assert_ne!(accounts.open(shell), shell);
        }
    }

    #[test]
    fn memory_of_a_dead_process_counts_for_those_it_left() {
        let (mut accounts, _, shell) = world();
        let hog = below(&mut accounts, shell);
        (0..900).for_each(|_| accounts.charge(hog));
        let heir = below(&mut accounts, hog);
        accounts.leave(hog);
        let honest = below(&mut accounts, shell);
        (0..800).for_each(|_| accounts.charge(honest));
        let found = accounts.biggest(none, |id| match id {
            id if id == heir || id == honest => Standing::Candidate,
            id if id == hog => Standing::Nobody,
            _ => Standing::Spared,
        });
        assert_eq!(found, Some((heir, 0)));
    }
}
