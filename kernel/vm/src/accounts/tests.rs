use super::*;
use alloc::vec::Vec;

/// Limits of 16,000 kernel frames and 256 processes; init and its shell.
fn world() -> (Accounts, AccountId, AccountId) {
    let mut accounts = Accounts::new();
    accounts.set_kernel_frames(16_000);
    accounts.set_places(256);
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

/// A new account with one process that has so many frames.
fn with_frames(accounts: &mut Accounts, parent: AccountId, frames: u32) -> AccountId {
    let id = below(accounts, parent);
    (0..frames).for_each(|_| accounts.charge(id));
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
    (0..)
        .find(|_| accounts.charge_kernel(id, 1).is_err())
        .unwrap()
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
    let first = (0..FIRST_FRAMES).all(|_| accounts.charge_kernel(kill, 1).is_ok());
    assert!(first, "no kernel memory for a new program");
    assert!(accounts.charge_kernel(shell, 1).is_ok());
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
    assert!((0..FIRST_FRAMES).all(|_| accounts.charge_kernel(kill, 1).is_ok()));
}

#[test]
fn what_is_given_back_can_be_had_again() {
    let (mut accounts, _, shell) = world();
    let job = below(&mut accounts, shell);
    let most = fill(&mut accounts, job);
    assert!(most > 10_000, "{most}");
    for _ in 0..most {
        accounts.uncharge_kernel(job, 1);
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
    let honest = with_frames(&mut accounts, shell, 500);
    let bomb = below(&mut accounts, shell);
    let sizes = 1..60;
    let parts: Vec<_> = sizes
        .map(|size| with_frames(&mut accounts, bomb, size))
        .collect();
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
fn who_asks_answers_for_what_it_has_and_a_newcomer_does_not() {
    let (mut accounts, _, shell) = world();
    let idle = with_frames(&mut accounts, shell, 5000);
    let storer = with_frames(&mut accounts, shell, 800);
    let other = with_frames(&mut accounts, shell, 900);
    let newcomer = with_frames(&mut accounts, shell, 99);
    let asker = |asks: &[AccountId]| accounts.asker(none, among(asks), idle, 100);
    assert_eq!(asker(&[storer]), Some(storer));
    assert_eq!(asker(&[storer, other, newcomer]), Some(other));
    assert_eq!(asker(&[newcomer]), None);
    // The one with most may be the one that asks, and share its account with another.
    assert_eq!(asker(&[idle]), Some(idle));
    // A shell does not answer for its jobs.
    assert_eq!(asker(&[shell]), None);
    let swapped = |id| if id == newcomer { 1 } else { 0 };
    let asker = accounts.asker(swapped, among(&[newcomer]), idle, 100);
    assert_eq!(asker, Some(newcomer));
}

#[test]
fn a_tree_of_small_accounts_that_ask_is_no_newcomer() {
    let (mut accounts, _, shell) = world();
    let idle = with_frames(&mut accounts, shell, 5000);
    let bomb = below(&mut accounts, shell);
    let parts: Vec<_> = (1..60)
        .map(|size| with_frames(&mut accounts, bomb, size))
        .collect();
    let one = parts.first().copied().unwrap_or_default();
    let asker = |share| accounts.asker(none, among(&[one]), idle, share);
    assert_eq!(asker(1000), Some(one));
    assert_eq!(asker(2000), None);
}

#[test]
fn pages_in_swap_count_as_frames_do() {
    let (mut accounts, _, shell) = world();
    let hog = with_frames(&mut accounts, shell, 100);
    let honest = with_frames(&mut accounts, shell, 500);
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
    assert_eq!(accounts.chain(child).count(), 5);
    assert!(accounts.chain(other).eq([other, init, AccountId::KERNEL]));
    // The child has all that was admitted, page by page.
    let (all, mut has) = (16_000, 0);
    let tree = |has: u64| move |_| has;
    while accounts.admits(child, tree(has), all) {
        has += 1;
    }
    assert_eq!(has, 12_000);
    // Those above it may have more, and others, too.
    let of_child = |at| {
        if accounts.is_within(child, at) {
            has
        } else {
            0
        }
    };
    assert!(accounts.admits(hog, of_child, all));
    assert!(accounts.admits(other, of_child, all));
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
    let hog = with_frames(&mut accounts, shell, 900);
    let heir = below(&mut accounts, hog);
    accounts.leave(hog);
    let honest = with_frames(&mut accounts, shell, 800);
    let found = accounts.biggest(none, |id| match id {
        id if id == heir || id == honest => Standing::Candidate,
        id if id == hog => Standing::Nobody,
        _ => Standing::Spared,
    });
    assert_eq!(found, Some((heir, 0)));
}

#[test]
fn frames_that_are_charged_together_are_as_many_as_one_by_one() {
    let (mut accounts, _, shell) = world();
    let job = below(&mut accounts, shell);
    let most = fill(&mut accounts, job);
    accounts.uncharge_kernel(job, most);
    assert!(accounts.charge_kernel(job, most + 1).is_err());
    assert_eq!(accounts.frames(job), 0);
    assert!(accounts.charge_kernel(job, most).is_ok());
    assert_eq!(accounts.frames(job), most);
    assert!(accounts.charge_kernel(job, 1).is_err());
}
