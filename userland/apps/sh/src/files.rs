//! The file tests of `test`.

use bytestr::text::to_bytes;
use rt::{File, Stat, mode};
use shell::condition::{self, Access, Facts, FileType};

/// The files there are.
pub struct Files;

fn facts(stat: &Stat) -> Facts {
    let kind = match stat.mode & 0o170_000 {
        0o040_000 => FileType::Directory,
        0o120_000 => FileType::Link,
        0o020_000 => FileType::CharacterDevice,
        0o060_000 => FileType::BlockDevice,
        0o010_000 => FileType::Pipe,
        0o140_000 => FileType::Socket,
        _ => FileType::Ordinary,
    };
    Facts {
        kind,
        size: stat.size,
        changed: stat.mtime_ns,
        identity: (stat.server, stat.qid_path),
    }
}

impl condition::Files for Files {
    fn facts(&self, path: &str) -> Option<Facts> {
        let stat = File::stat_path(to_bytes(path)).ok()?;
        Some(facts(&stat))
    }

    fn link_facts(&self, path: &str) -> Option<Facts> {
        let stat = File::lstat_path(to_bytes(path)).ok()?;
        Some(facts(&stat))
    }

    /// Asks the file server, which knows the rights, by opening the file where
    /// that has no effects; for devices and the like, reads the mode.
    fn may(&self, path: &str, access: Access) -> bool {
        let Ok(stat) = File::stat_path(to_bytes(path)) else {
            return false;
        };
        let bits = match access {
            Access::Read => 0o444,
            Access::Write => 0o222,
            Access::Run => 0o111,
        };
        let opened = match (access, facts(&stat).kind) {
            (Access::Read, FileType::Ordinary | FileType::Directory) => mode::OREAD,
            (Access::Write, FileType::Ordinary) => mode::OWRITE,
            _ => return stat.mode & bits != 0,
        };
        File::open(to_bytes(path), opened).is_ok()
    }

    fn is_terminal(&self, fd: u32) -> bool {
        rt::console::is(fd)
    }
}
