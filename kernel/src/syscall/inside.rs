//! Calls on names in an open directory: a descriptor and a name.
use super::{Arguments, file};
use crate::file::{OpenFile, inside};
use crate::seg::user;
use abi::Errno;
use alloc::sync::Arc;
use bytestr::ByteString;

/// The directory and the name.
fn place(a: &Arguments) -> Result<(Arc<OpenFile>, ByteString), Errno> {
    Ok((a.file(0)?, a.path(1)?))
}

/// Names the file in the error of `result`.
fn about<T>(
    a: &Arguments,
    (directory, name): &(Arc<OpenFile>, ByteString),
    result: Result<T, Errno>,
) -> Result<T, Errno> {
    a.about(format_args!("{}/{name}", directory.path), result)
}

pub fn open(a: &Arguments) -> Result<u64, Errno> {
    let place = place(a)?;
    let mode = a.number(3)?;
    a.descriptor(|| {
        let opened = inside::open(&a.view(), &place.0, &place.1, mode);
        about(a, &place, opened)
    })
}

pub fn create(a: &Arguments) -> Result<u64, Errno> {
    let place = place(a)?;
    let (mode, permissions) = (a.number(3)?, a.number(4)?);
    a.descriptor(|| {
        let made = inside::create(&a.view(), &place.0, &place.1, mode, permissions);
        about(a, &place, made)
    })
}

pub fn stat(a: &Arguments) -> Result<(), Errno> {
    let place = place(a)?;
    let stat = inside::stat(&a.view(), &place.0, &place.1);
    user::put(a.space(), a.words()[3], &about(a, &place, stat)?)
}

pub fn read_link(a: &Arguments) -> Result<u64, Errno> {
    let place = place(a)?;
    let text = inside::read_link(&a.view(), &place.0, &place.1);
    file::whole(a, 3, &about(a, &place, text)?)
}

pub fn symlink(a: &Arguments) -> Result<(), Errno> {
    let (place, text) = (place(a)?, a.path(3)?);
    let made = inside::make_link(&a.view(), &place.0, &place.1, &text);
    about(a, &place, made)
}

pub fn remove(a: &Arguments) -> Result<(), Errno> {
    let place = place(a)?;
    let removed = inside::remove(&a.view(), &place.0, &place.1);
    about(a, &place, removed)
}
