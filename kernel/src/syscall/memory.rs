//! Calls on segments.
use super::Arguments;
use crate::proc::Process;
use crate::seg::attach::{self, Wish};
use crate::seg::{Kind, user};
use abi::{Errno, privilege};

/// Longest name of a segment kind.
const KIND_MAX: usize = 16;

pub fn attach(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [name, name_len, va, len, argument, _] = a.0;
    let name = user::text(&process.space, name, name_len, KIND_MAX)?;
    let kind = Kind::from_name(&name)?;
    if matches!(kind, Kind::Device | Kind::Dma) && !process.may(privilege::DEVICE) {
        return Err(Errno::EPERM);
    }
    let wish = Wish {
        kind,
        va,
        len,
        argument,
    };
    attach::attach(&process.space, &wish)
}

pub fn detach(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    attach::detach(&process.space, a.0[0]).map(|()| 0)
}

pub fn free(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    attach::free(&process.space, a.0[0], a.0[1]).map(|()| 0)
}

pub fn physical(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    attach::physical(&process.space, a.0[0])
}
