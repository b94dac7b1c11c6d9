//! Frames set aside: of objects that nobody has and that are kept for the next who wants
//! one. They are charged to the kernel and count as free.

use spin::Once;
use vm::{AccountId, Frame};

use super::{KERNEL, TABLE, payer};

/// The function that frees what was set aside.
static FREE: Once<fn()> = Once::new();

/// Sets it.
pub(in super::super) fn on_low(free: fn()) {
    FREE.call_once(|| free);
}

/// Frees what was set aside, with no place of an object locked.
pub(super) fn free_all() {
    if TABLE.lock().aside > 0
        && let Some(free) = FREE.get()
    {
        free();
    }
}

/// Sets frames of an object aside that nobody has any more. `false`, and nothing has
/// changed, if memory is low.
pub(in super::super) fn set_aside(frames: &[Frame]) -> bool {
    let mut table = TABLE.lock();
    if !table.has_plenty() {
        return false;
    }
    for frame in frames {
        let owner = table.owner_of(*frame);
        table.uncharge(owner, 1);
        table.accounts.charge(AccountId::KERNEL);
        table.set_owner(*frame, AccountId::KERNEL.0 | KERNEL);
    }
    table.aside += frames.len() as u32;
    true
}

/// Frames that were set aside are charged to the present payer. `false`: it may not have
/// them, or memory is low; they are the kernel's then, to be freed.
pub(in super::super) fn take_over(frames: &[Frame]) -> bool {
    let payer = payer::account();
    let mut table = TABLE.lock();
    table.aside -= frames.len() as u32;
    if !table.has_plenty() {
        return false;
    }
    let count = frames.len() as u32;
    if table.accounts.charge_kernel(payer, count).is_err() {
        return false;
    }
    table.accounts.uncharge_kernel(AccountId::KERNEL, count);
    for frame in frames {
        table.set_owner(*frame, payer.0 | KERNEL);
    }
    true
}

/// Frames that were set aside are about to be freed.
pub(in super::super) fn put_back(frames: u32) {
    TABLE.lock().aside -= frames;
}
