//! Calls on files and names.
use super::Arguments;
use crate::file::{Node, let_go, open, read, write};
use crate::seg::user;
use abi::{Errno, StatChange, whence};
use names::Last;

pub fn open(a: &Arguments) -> Result<u64, Errno> {
    let path = a.path(0)?;
    let mode = a.number(2)?;
    a.descriptor(|| a.about(&path, open::open(&a.view(), &path, mode)))
}

pub fn create(a: &Arguments) -> Result<u64, Errno> {
    let path = a.path(0)?;
    let (mode, permissions) = (a.number(2)?, a.number(3)?);
    a.descriptor(|| a.about(&path, open::create(&a.view(), &path, mode, permissions)))
}

pub fn pread(a: &Arguments) -> Result<u64, Errno> {
    let [_, va, n, offset, ..] = a.words();
    read::pread(a.space(), &*a.file(0)?, va, n, offset)
}

pub fn pwrite(a: &Arguments) -> Result<u64, Errno> {
    let [_, va, n, offset, ..] = a.words();
    write::pwrite(a.space(), &*a.file(0)?, va, n, offset)
}

pub fn seek(a: &Arguments) -> Result<u64, Errno> {
    let file = a.file(0)?;
    let base = match a.number(2)? {
        whence::SET => 0,
        whence::CURRENT => file.offset(),
        whence::END => file.node.stat()?.size,
        _ => return Err(Errno::EINVAL),
    };
    if matches!(file.node, Node::Channel(_) | Node::Port(_)) {
        return Err(Errno::ESPIPE);
    }
    let target = base.checked_add_signed(a.words()[1] as i64);
    // The top is taken: it means "the descriptor's own offset", and errors.
    let target = target.filter(|to| *to <= i64::MAX as u64);
    let target = target.ok_or(Errno::EINVAL)?;
    file.set_offset(target);
    if target == 0 {
        // A union directory is listed from its first member again.
        *file.member.lock() = 0;
    }
    Ok(target)
}

pub fn stat(a: &Arguments) -> Result<(), Errno> {
    stat_of(a, Last::Follow)
}

pub fn lstat(a: &Arguments) -> Result<(), Errno> {
    stat_of(a, Last::Keep)
}

fn stat_of(a: &Arguments, last: Last) -> Result<(), Errno> {
    let path = a.path(0)?;
    let stat = a.about(&path, open::stat(&a.view(), &path, last))?;
    user::put(a.space(), a.words()[2], &stat)
}

pub fn fstat(a: &Arguments) -> Result<(), Errno> {
    let stat = a.file(0)?.node.stat()?;
    user::put(a.space(), a.words()[1], &stat)
}

pub fn fwstat(a: &Arguments) -> Result<(), Errno> {
    let file = a.file(0)?;
    let change: StatChange = user::get(a.space(), a.words()[1])?;
    match &file.node {
        Node::Remote(remote) => a.about(&file.path, remote.change(&change)),
        Node::Root(_) | Node::Channel(_) | Node::Port(_) => Err(Errno::EPERM),
    }
}

pub fn wstat(a: &Arguments) -> Result<(), Errno> {
    let path = a.path(0)?;
    let change: StatChange = user::get(a.space(), a.words()[2])?;
    a.about(&path, open::change(&a.view(), &path, &change))
}

pub fn read_link(a: &Arguments) -> Result<u64, Errno> {
    let path = a.path(0)?;
    let text = a.about(&path, open::read_link(&a.view(), &path))?;
    whole(a, 2, &text)
}

/// Puts all of `bytes` into the caller's buffer, two arguments. `ERANGE`: it is too
/// small.
pub fn whole(a: &Arguments, at: usize, bytes: &[u8]) -> Result<u64, Errno> {
    if bytes.len() as u64 > a.words()[at + 1] {
        return Err(Errno::ERANGE);
    }
    user::write(a.space(), a.words()[at], bytes)?;
    Ok(bytes.len() as u64)
}

pub fn symlink(a: &Arguments) -> Result<(), Errno> {
    let (text, path) = (a.path(0)?, a.path(2)?);
    a.about(&path, open::make_link(&a.view(), &text, &path))
}

pub fn link(a: &Arguments) -> Result<(), Errno> {
    let (old, new) = (a.path(0)?, a.path(2)?);
    let linked = open::link(&a.view(), &old, &new);
    a.about(format_args!("{new} to {old}"), linked)
}

pub fn remove(a: &Arguments) -> Result<(), Errno> {
    let path = a.path(0)?;
    a.about(&path, open::remove(&a.view(), &path))
}

pub fn rename(a: &Arguments) -> Result<(), Errno> {
    let (old, new) = (a.path(0)?, a.path(2)?);
    a.about(&old, open::rename(&a.view(), &old, &new))
}

pub fn fsync(a: &Arguments) -> Result<(), Errno> {
    match &a.file(0)?.node {
        Node::Remote(remote) => remote.sync(),
        Node::Root(_) => Ok(()),
        Node::Channel(_) | Node::Port(_) => Err(Errno::EINVAL),
    }
}

pub fn dup(a: &Arguments) -> Result<u64, Errno> {
    let (file, new) = (a.file(0)?, a.words()[1]);
    let descriptors = &a.process.descriptors;
    if new == u64::MAX {
        return descriptors.lock().add(file);
    }
    let before = descriptors.lock().set(new, Some(file))?;
    before.into_iter().for_each(let_go);
    Ok(new)
}

pub fn chdir(a: &Arguments) -> Result<(), Errno> {
    let path = a.path(0)?;
    let directory = a.about(&path, open::directory(&a.view(), &path))?;
    *a.process.directory.lock() = directory;
    Ok(())
}

pub fn getwd(a: &Arguments) -> Result<u64, Errno> {
    let directory = a.process.directory.lock().clone();
    whole(a, 0, &directory)
}

pub fn bind(a: &Arguments) -> Result<(), Errno> {
    let (new, old) = (a.path(0)?, a.path(2)?);
    let bound = open::bind(&a.view(), &new, &old, a.words()[4]);
    a.about(format_args!("{new} on {old}"), bound)
}

pub fn mount(a: &Arguments) -> Result<(), Errno> {
    let [fd, _, _, flags, ..] = a.words();
    let (path, name) = (a.path(1)?, a.path(4)?);
    let take_end = || {
        let end = a.end(0)?;
        a.close(fd).map(|()| end)
    };
    let mounted = open::mount(&a.view(), take_end, &path, flags, &name);
    a.about(&path, mounted)
}

pub fn unmount(a: &Arguments) -> Result<(), Errno> {
    let path = a.path(0)?;
    a.about(&path, open::unmount(&a.view(), &path))
}

pub fn name_info(a: &Arguments) -> Result<u64, Errno> {
    let [index, va, buffer, n, ..] = a.words();
    let next = index.checked_add(1).ok_or(Errno::EINVAL)?;
    let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
    let Some((info, names)) = a.view().names.describe(index)? else {
        return Ok(0);
    };
    if names.len() as u64 > n {
        return Err(Errno::EINVAL);
    }
    user::write(a.space(), buffer, &names)?;
    user::put(a.space(), va, &info)?;
    Ok(next)
}
