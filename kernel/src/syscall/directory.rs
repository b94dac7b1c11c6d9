//! Reading directories.
use super::Arguments;
use crate::client::remote::{Listed, Remote};
use crate::file::{Node, OpenFile};
use crate::name::root::Entry;
use crate::seg::{SpaceLock, user};
use abi::{DirEntry, Errno, Stat};
use ninep::Attr;
use zerocopy::IntoBytes;

/// Bytes of the longest directory record of 9P: qid, offset, kind, a name of 255 bytes,
/// and attributes.
const RECORD_MAX: u64 = 13 + 8 + 1 + 2 + 255 + Attr::WIRE_LEN as u64;

/// Bytes of directory records that a server is asked for at once: each costs the
/// kernel some hundred instructions.
const LISTED_MAX: u64 = 32 * 1024;

/// What a record has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bring {
    /// The name.
    Names,
    /// The attributes too.
    Attributes,
}

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
    bring: Bring,
    /// One did not fit.
    full: bool,
    failed: Option<Errno>,
}

impl Records<'_> {
    /// False if there is no room for it.
    fn put(&mut self, next: u64, listed: Listed<'_>) -> bool {
        const HEAD: usize = size_of::<DirEntry>();
        const STAT: usize = size_of::<Stat>();
        let Listed { head, name, stat } = listed;
        let start = match self.bring {
            Bring::Names => HEAD,
            Bring::Attributes => HEAD + STAT,
        };
        let len = (start + name.len()).next_multiple_of(8);
        let mut record = [0; HEAD + STAT + 256 + 8];
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
        record[start..start + name.len()].copy_from_slice(name);
        if start > HEAD {
            record[HEAD..start].copy_from_slice(stat.unwrap_or_default().as_bytes());
        }
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
    fn list(&mut self, node: &Node, names: Option<&Remote>) -> Result<bool, Errno> {
        let from = self.next;
        match node {
            Node::Root(entry @ Entry::Directory(_)) => {
                let mut any = false;
                entry.list(from, |next, name, kind| {
                    any = true;
                    let head = DirEntry {
                        qid_path: 0,
                        kind,
                        name_len: name.len() as u32,
                    };
                    let (name, stat) = (name.as_bytes(), None);
                    self.put(next, Listed { head, name, stat })
                });
                Ok(any)
            }
            Node::Remote(remote) if remote.is_directory() => {
                // A server stops at a record that does not fit, so the end is
                // certain only where any record fits. No record of a server is
                // shorter than ours of the same name.
                let ask = self.room.clamp(RECORD_MAX, LISTED_MAX) as u32;
                if let (Bring::Attributes, Some(names)) = (self.bring, names) {
                    let put = |next, listed: Listed<'_>| self.put(next, listed);
                    if let Some(any) = remote.list_with_attributes(names, from, ask, put)? {
                        return Ok(any);
                    }
                }
                remote.list(from, ask, |next, listed| self.put(next, listed))
            }
            _ => Err(Errno::ENOTDIR),
        }
    }
}

/// The fid that names in the directory are walked to from, if all of them are: nothing
/// is bound to one.
fn names_of<'f>(a: &Arguments, file: &'f OpenFile) -> Option<&'f Remote> {
    let base = file.base.as_deref()?;
    let path = base.path.as_deref()?;
    let bound = a.view().names.has_below(path);
    base.remote.as_ref().filter(|_| !bound)
}

pub fn read(a: &Arguments, bring: Bring) -> Result<u64, Errno> {
    let [_, va, room, ..] = a.words();
    user::check(va, room)?;
    let file = a.file(0)?;
    let from = file.offset();
    let member = *file.member.lock();
    let names = match bring {
        Bring::Names => None,
        Bring::Attributes => names_of(a, &file),
    };
    let mut records = Records {
        space: a.space(),
        va,
        room,
        done: 0,
        next: from,
        no_dots: member > 0,
        bring,
        full: false,
        failed: None,
    };
    while let Some(node) = file.listed() {
        let any = records.list(node, names)?;
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
