//! Conversion of attributes between the tree and the protocol.

use ninep::consts::{getattr, qid, setattr};
use ninep::{Attr, Qid, SetAttr, StatFs};
use ramtree::{Change, Facts, Id, NAME_MAX, PAGE, Tree};

const SECOND: u64 = 1_000_000_000;
/// Linux's number of a file system in memory.
const TMPFS: u32 = 0x0102_1994;

pub fn qid(id: Id, facts: &Facts) -> Qid {
    Qid {
        kind: match (facts.directory, facts.link) {
            (true, _) => qid::DIR,
            (_, true) => qid::SYMLINK,
            _ => qid::FILE,
        },
        version: facts.version,
        path: id,
    }
}

pub fn attributes(id: Id, facts: &Facts) -> Attr {
    let kind = match (facts.directory, facts.link) {
        (true, _) => 0o040_000,
        (_, true) => 0o120_000,
        _ => 0o100_000,
    };
    Attr {
        valid: getattr::BASIC,
        qid: qid(id, facts),
        mode: kind | facts.mode,
        nlink: facts.names,
        size: facts.size,
        blksize: PAGE,
        blocks: facts.pages * (PAGE / 512),
        atime_sec: facts.accessed / SECOND,
        atime_nsec: facts.accessed % SECOND,
        mtime_sec: facts.modified / SECOND,
        mtime_nsec: facts.modified % SECOND,
        ctime_sec: facts.changed / SECOND,
        ctime_nsec: facts.changed % SECOND,
        ..Attr::default()
    }
}

/// The change that a Tsetattr asks for. Files have no owners.
pub fn change(attr: &SetAttr, now: u64) -> Change {
    let asked = |bit| attr.valid & bit != 0;
    let time = |bit, set, seconds: u64, nanoseconds| {
        let given = seconds.saturating_mul(SECOND).saturating_add(nanoseconds);
        asked(bit).then(|| if asked(set) { given } else { now })
    };
    Change {
        mode: asked(setattr::MODE).then_some(attr.mode),
        size: asked(setattr::SIZE).then_some(attr.size),
        accessed: time(
            setattr::ATIME,
            setattr::ATIME_SET,
            attr.atime_sec,
            attr.atime_nsec,
        ),
        modified: time(
            setattr::MTIME,
            setattr::MTIME_SET,
            attr.mtime_sec,
            attr.mtime_nsec,
        ),
    }
}

/// The type of a file as Linux's `d_type`.
pub fn directory_type(facts: &Facts) -> u8 {
    match (facts.directory, facts.link) {
        (true, _) => 4,
        (_, true) => 10,
        _ => 8,
    }
}

pub fn statfs(tree: &Tree) -> StatFs {
    let (limit, used) = tree.space();
    let free = limit.saturating_sub(used) / PAGE;
    StatFs {
        kind: TMPFS,
        bsize: PAGE as u32,
        blocks: limit / PAGE,
        bfree: free,
        bavail: free,
        files: tree.len(),
        ffree: free,
        fsid: 0,
        namelen: NAME_MAX as u32,
    }
}
