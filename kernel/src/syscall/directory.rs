//! Reading directories.
use super::Arguments;
use crate::file::Node;
use crate::name::root::Entry;
use crate::seg::{SpaceLock, user};
use abi::{DirEntry, Errno};
use zerocopy::IntoBytes;

/// Bytes of the longest directory record of 9P: qid, offset, kind, and a name of
/// 255 bytes.
const RECORD_MAX: u64 = 13 + 8 + 1 + 2 + 255;

/// Bytes of directory records that a server is asked for at once: each costs the
/// kernel some hundred instructions.
const LISTED_MAX: u64 = 32 * 1024;

/// Puts records into the caller's memory until one does not fit any more.
struct Records<'a> {
    space: &'a SpaceLock,
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
        record[..HEAD].copy_from_slice(head.as_bytes());
        record[HEAD..HEAD + name.len()].copy_from_slice(name);
        if let Err(errno) = user::write(self.space, self.va + self.done, record) {
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

pub fn read(a: &Arguments) -> Result<u64, Errno> {
    let [_, va, room, ..] = a.words();
    user::check(va, room)?;
    let file = a.file(0)?;
    let from = file.offset();
    let member = *file.member.lock();
    let mut records = Records {
        space: a.space(),
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
