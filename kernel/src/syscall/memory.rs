//! Calls on segments.
use super::Arguments;
use crate::proc::{self, semaphore};
use crate::seg::attach::{self, Wish};
use crate::seg::{SegmentKind, info, swap, user};
use abi::{Errno, privilege};

/// Longest name of a segment kind.
const KIND_MAX: usize = 16;

pub fn attach(a: &Arguments) -> Result<u64, Errno> {
    let [_, _, va, len, argument, _] = a.words();
    let kind = SegmentKind::from_name(&a.text(0, KIND_MAX)?)?;
    if matches!(kind, SegmentKind::Device | SegmentKind::Dma) {
        a.check(privilege::DEVICE)?;
    }
    let wish = Wish {
        kind,
        va,
        len,
        argument,
    };
    attach::attach(a.space(), &wish)
}

pub fn detach(a: &Arguments) -> Result<(), Errno> {
    let gone = |addresses: &_| semaphore::detached(a.process, addresses);
    attach::detach(a.space(), a.words()[0], gone)
}

pub fn free(a: &Arguments) -> Result<(), Errno> {
    attach::free(a.space(), a.words()[0], a.words()[1])
}

pub fn page_out(a: &Arguments) -> Result<u64, Errno> {
    swap::page_out(a.space(), a.words()[0], a.words()[1])
}

pub fn info(a: &Arguments) -> Result<u64, Errno> {
    let [pid, index, va, ..] = a.words();
    // The process may end meanwhile, and is not held.
    let space = proc::find(pid).ok_or(Errno::ESRCH)?.space();
    let from = usize::try_from(index).unwrap_or(usize::MAX);
    match info::describe(&space, from) {
        None => Ok(0),
        Some((next, segment)) => user::put(a.space(), va, &segment).map(|()| next as u64),
    }
}

pub fn physical(a: &Arguments) -> Result<u64, Errno> {
    attach::physical(a.space(), a.words()[0])
}
