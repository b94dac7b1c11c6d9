//! Calls on files and names.
use super::{Arguments, about};
use crate::chan::End;
use crate::file::{Node, OpenFile, open, read, write};
use crate::name::root::Entry;
use crate::proc::Process;
use crate::seg::user;
use abi::{DirEntry, Errno, PATH_MAX, Stat, StatChange, whence};
use alloc::sync::Arc;
use bytestr::ByteString;
use hw::heap::new_arc;
use links::Last;

/// The path that two arguments name: any bytes but zero, which ends a string
/// elsewhere.
pub fn path(process: &Process, va: u64, len: u64) -> Result<ByteString, Errno> {
    let path = user::bytes(&process.space, va, len, PATH_MAX)?;
    match path.contains(&0) {
        true => Err(Errno::EINVAL),
        false => Ok(ByteString(path)),
    }
}

fn number(value: u64) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

/// A new descriptor for an open file.
pub fn descriptor(process: &Process, file: OpenFile) -> Result<u64, Errno> {
    let file = new_arc(file)?;
    let kept = file.clone();
    // Should the table be full, the file is closed here, unlocked.
    let added = process.descriptors.lock().add(kept);
    drop(file);
    added
}

fn get(process: &Process, fd: u64) -> Result<Arc<OpenFile>, Errno> {
    process.descriptors.lock().get(fd)
}

pub fn open(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, mode, ..] = a.0;
    let path = path(process, va, len)?;
    let file = about(
        process,
        &path,
        open::open(&process.view(), &path, number(mode)?),
    )?;
    descriptor(process, file)
}

pub fn create(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, mode, permissions, ..] = a.0;
    let path = path(process, va, len)?;
    let made = open::create(&process.view(), &path, number(mode)?, number(permissions)?);
    descriptor(process, about(process, &path, made)?)
}

pub fn close(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    // The file is dropped after the table is unlocked: it may say goodbye to
    // a server.
    let closed = process.descriptors.lock().set(a.0[0], None)?;
    closed.map(|_| 0).ok_or(Errno::EBADF)
}

pub fn pread(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, va, n, offset, ..] = a.0;
    let file = get(process, fd)?;
    read::pread(&process.space, &file, va, n, offset)
}

pub fn pwrite(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, va, n, offset, ..] = a.0;
    let file = get(process, fd)?;
    write::pwrite(&process.space, &file, va, n, offset)
}

pub fn seek(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, offset, from, ..] = a.0;
    let file = get(process, fd)?;
    let base = match number(from)? {
        whence::SET => 0,
        whence::CURRENT => file.offset(),
        whence::END => open::stat_open(&file)?.size,
        _ => return Err(Errno::EINVAL),
    };
    if matches!(file.node, Node::Channel(_) | Node::Port(_)) {
        return Err(Errno::ESPIPE);
    }
    let target = base
        .checked_add_signed(offset as i64)
        .ok_or(Errno::EINVAL)?;
    // The top is taken: it means "the descriptor's own offset", and errors.
    if target > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    file.set_offset(target);
    if target == 0 {
        // A union directory is listed from its first member again.
        *file.member.lock() = 0;
    }
    Ok(target)
}

fn put_stat(process: &Process, va: u64, stat: &Stat) -> Result<u64, Errno> {
    let mut bytes = [0; size_of::<Stat>()];
    let words = [
        stat.qid_path,
        stat.size,
        u64::from(stat.links) << 32 | u64::from(stat.mode),
        u64::from(stat.gid) << 32 | u64::from(stat.uid),
        stat.mtime_ns,
        stat.atime_ns,
        stat.server,
    ];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    user::write(&process.space, va, &bytes)?;
    Ok(0)
}

pub fn stat(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, to, ..] = a.0;
    let path = path(process, va, len)?;
    let stat = about(
        process,
        &path,
        open::stat(&process.view(), &path, Last::Follow),
    )?;
    put_stat(process, to, &stat)
}

pub fn lstat(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, to, ..] = a.0;
    let path = path(process, va, len)?;
    let stat = about(
        process,
        &path,
        open::stat(&process.view(), &path, Last::Keep),
    )?;
    put_stat(process, to, &stat)
}

pub fn read_link(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, len, to, room, ..] = a.0;
    let path = path(process, va, len)?;
    let text = about(process, &path, open::read_link(&process.view(), &path))?;
    if text.len() as u64 > room {
        return Err(Errno::ERANGE);
    }
    user::write(&process.space, to, &text)?;
    Ok(text.len() as u64)
}

pub fn symlink(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [text, text_len, va, len, ..] = a.0;
    let (text, path) = (path(process, text, text_len)?, path(process, va, len)?);
    about(
        process,
        &path,
        open::make_link(&process.view(), &text, &path),
    )?;
    Ok(0)
}

pub fn link(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [old, old_len, new, new_len, ..] = a.0;
    let (old, new) = (path(process, old, old_len)?, path(process, new, new_len)?);
    let what = format_args!("{new} to {old}");
    about(process, what, open::link(&process.view(), &old, &new))?;
    Ok(0)
}

pub fn fstat(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let stat = open::stat_open(&*get(process, a.0[0])?)?;
    put_stat(process, a.0[1], &stat)
}

pub fn fwstat(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let file = get(process, a.0[0])?;
    let word = |i: u64| {
        let at = a.0[1].checked_add(i * 8).ok_or(Errno::EFAULT)?;
        user::read_u64(&process.space, at)
    };
    let change = StatChange {
        valid: word(0)?,
        size: word(1)?,
        mode: word(2)?,
        mtime_ns: word(3)?,
    };
    match &file.node {
        Node::Remote(remote) => about(process, &file.path, remote.change(&change))?,
        Node::Root(_) | Node::Channel(_) | Node::Port(_) => return Err(Errno::EPERM),
    }
    Ok(0)
}

pub fn remove(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let path = path(process, a.0[0], a.0[1])?;
    about(process, &path, open::remove(&process.view(), &path))?;
    Ok(0)
}

pub fn rename(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [old, old_len, new, new_len, ..] = a.0;
    let (old, new) = (path(process, old, old_len)?, path(process, new, new_len)?);
    about(process, &old, open::rename(&process.view(), &old, &new))?;
    Ok(0)
}

pub fn fsync(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    match &get(process, a.0[0])?.node {
        Node::Remote(remote) => remote.sync()?,
        Node::Root(_) => {}
        Node::Channel(_) | Node::Port(_) => return Err(Errno::EINVAL),
    }
    Ok(0)
}

pub fn dup(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, new, ..] = a.0;
    let file = get(process, fd)?;
    if new == u64::MAX {
        return process.descriptors.lock().add(file);
    }
    let before = process.descriptors.lock().set(new, Some(file))?;
    drop(before);
    Ok(new)
}

pub fn chdir(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let path = path(process, a.0[0], a.0[1])?;
    let directory = about(process, &path, open::directory(&process.view(), &path))?;
    *process.directory.lock() = directory;
    Ok(0)
}

pub fn getwd(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [va, room, ..] = a.0;
    let directory = process.directory.lock().clone();
    if directory.len() as u64 > room {
        return Err(Errno::ERANGE);
    }
    user::write(&process.space, va, &directory)?;
    Ok(directory.len() as u64)
}

pub fn bind(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [new, new_len, old, old_len, flags, _] = a.0;
    let (new, old) = (path(process, new, new_len)?, path(process, old, old_len)?);
    let what = format_args!("{new} on {old}");
    about(
        process,
        what,
        open::bind(&process.view(), &new, &old, flags),
    )?;
    Ok(0)
}

pub fn mount(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, va, len, flags, name, name_len] = a.0;
    let (path, name) = (path(process, va, len)?, path(process, name, name_len)?);
    let take_end = || take_end(process, fd);
    let mounted = open::mount(&process.view(), take_end, &path, flags, &name);
    about(process, &path, mounted)?;
    Ok(0)
}

/// The end of a channel that `fd` refers to, which is closed.
fn take_end(process: &Process, fd: u64) -> Result<Arc<End>, Errno> {
    let file = get(process, fd)?;
    let Node::Channel(end) = &file.node else {
        return Err(Errno::EINVAL);
    };
    let closed = process.descriptors.lock().set(fd, None)?;
    drop(closed);
    Ok(end.clone())
}

pub fn unmount(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let path = path(process, a.0[0], a.0[1])?;
    about(process, &path, open::unmount(&process.view(), &path))?;
    Ok(0)
}

/// Bytes of the longest directory record of 9P: qid, offset, kind, and a name of
/// 255 bytes.
const RECORD_MAX: u64 = 13 + 8 + 1 + 2 + 255;

/// Bytes of directory records that a server is asked for at once: each costs the
/// kernel some hundred instructions.
const LISTED_MAX: u64 = 32 * 1024;

/// Puts records into the caller's memory until one does not fit any more.
struct Records<'a> {
    process: &'a Process,
    va: u64,
    room: u64,
    done: u64,
    /// Position after the last record taken.
    next: u64,
    /// Leave out `.` and `..`: the first member of a union has them.
    no_dots: bool,
    /// One did not fit.
    full: bool,
    failed: Option<Errno>,
}

impl Records<'_> {
    /// False if there is no room for it.
    fn put(&mut self, next: u64, head: DirEntry, name: &[u8]) -> bool {
        const HEAD: usize = size_of::<DirEntry>();
        let len = (HEAD + name.len()).next_multiple_of(8);
        let mut record = [0; HEAD + 256 + 8];
        let record = match record.get_mut(..len) {
            Some(record) if !(self.no_dots && matches!(name, b"." | b"..")) => record,
            // A name longer than any host's is left out too.
            _ => {
                self.next = next;
                return true;
            }
        };
        if len as u64 > self.room - self.done {
            self.full = true;
            return false;
        }
        let head_words = u64::from(head.name_len) << 32 | u64::from(head.kind);
        record[..8].copy_from_slice(&head.qid_path.to_le_bytes());
        record[8..HEAD].copy_from_slice(&head_words.to_le_bytes());
        record[HEAD..HEAD + name.len()].copy_from_slice(name);
        if let Err(errno) = user::write(&self.process.space, self.va + self.done, record) {
            self.failed = Some(errno);
            return false;
        }
        self.done += len as u64;
        self.next = next;
        true
    }

    /// Appends the entries of `node` from the present position on; returns true
    /// if there were any.
    fn list(&mut self, node: &Node) -> Result<bool, Errno> {
        let from = self.next;
        match node {
            Node::Root(entry @ Entry::Directory(_)) => {
                let mut any = false;
                entry.list(from, |next, name, directory| {
                    any = true;
                    let head = DirEntry {
                        qid_path: 0,
                        kind: if directory { 4 } else { 8 },
                        name_len: name.len() as u32,
                    };
                    self.put(next, head, name.as_bytes())
                });
                Ok(any)
            }
            Node::Remote(remote) if remote.is_directory() => {
                // A server stops at a record that does not fit, so the end is
                // certain only where any record fits. No record of a server is
                // shorter than ours of the same name.
                let ask = self.room.clamp(RECORD_MAX, LISTED_MAX) as u32;
                remote.list(from, ask, |next, head, name| self.put(next, head, name))
            }
            _ => Err(Errno::ENOTDIR),
        }
    }
}

pub fn readdir(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, va, room, ..] = a.0;
    user::check(va, room)?;
    let file = get(process, fd)?;
    let from = file.offset();
    let member = *file.member.lock();
    let mut records = Records {
        process,
        va,
        room,
        done: 0,
        next: from,
        no_dots: member > 0,
        full: false,
        failed: None,
    };
    while let Some(node) = file.listed() {
        let any = records.list(node)?;
        if let Some(errno) = records.failed {
            return Err(errno);
        }
        if records.full && records.done == 0 {
            return Err(Errno::EINVAL);
        }
        file.set_offset(records.next);
        if records.done > 0 {
            break;
        }
        if any {
            continue;
        }
        if file.others.is_empty() {
            break;
        }
        // The next member of the union, from its start.
        *file.member.lock() += 1;
        file.set_offset(0);
        (records.next, records.no_dots) = (0, true);
    }
    Ok(records.done)
}
