//! Trees of accounts: all processes that one has started, in whatever note groups.
use super::protection::check_may_end;
use super::{Process, table};
use crate::sched;
use abi::{Errno, STATUS_KILLED};
use hw::frames;
use vm::AccountId;

/// Ends the processes of the largest tree of accounts that has `victim` in it and
/// `process` not: a job as a whole, however many groups it has made, and whether its
/// first process still exists or not. Returns their number.
///
/// One pass is enough: a process that is to end makes no others
/// ([`fork::rfork`](super::fork::rfork)).
///
/// # Errors
/// `EPERM`: `process` is in each of these trees, or may not end the victim.
pub fn end(process: &Process, victim: &Process, text: &str) -> Result<u64, Errno> {
    check_may_end(process, victim)?;
    let (of, apart) = (victim.seat.account(), process.seat.account());
    let top = frames::accounts(|accounts| accounts.branch(of, apart)).ok_or(Errno::EPERM)?;
    let mut ended = 0;
    for member in table::all().filter(|member| is_within(member, top)) {
        let over = sched::has_ended(member.slot());
        if !over && check_may_end(process, &member).is_ok() {
            member.end(STATUS_KILLED, text);
            ended += 1;
        }
    }
    Ok(ended)
}

fn is_within(process: &Process, top: AccountId) -> bool {
    let account = process.seat.account();
    frames::accounts(|accounts| accounts.is_within(account, top))
}
