//! What the kernel and its programs agree on: system-call numbers, error
//! numbers, structures and flags. No code beyond conversions, no dependencies.
//!
//! A system call puts its number in `rax` and its arguments in `rdi rsi rdx
//! r10 r8 r9`; the answer comes back in `rax`: zero or more on success, minus
//! an [`Errno`] on failure. `rcx` and `r11` are lost, all else is kept.
#![no_std]
#![forbid(unsafe_code)]

mod errno;
mod records;
mod syscall;

pub use errno::{Errno, decode, encode};
pub use records::*;
pub use syscall::Call;

/// Bytes in a page; also the block size of snapshots.
pub const PAGE: u64 = 4096;
/// Entries in a process's segment table.
pub const NSEG: usize = 10;
/// Most bytes in a path given to a system call.
pub const PATH_MAX: usize = 1024;
/// Most bytes of all arguments of one `exec` together.
pub const ARGS_MAX: usize = 16 * 1024;
/// Descriptors a process may have open.
pub const FDS_MAX: usize = 64;
/// Most processes, those not yet waited for included.
pub const PROCESSES_MAX: usize = 256;
/// Most processes in one note group.
pub const GROUP_MAX: usize = 224;
/// Most bytes in a note and in the texts of `exits` and `kill`.
pub const TEXT_MAX: usize = 240;
/// Notes that may wait for a process.
pub const NOTES_MAX: usize = 8;
/// One past the last address a program may use.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
/// The descriptor on which a server program finds the channel it serves.
pub const SERVICE_FD: usize = 3;

/// `offset` of `pread` and `pwrite`: use and advance the descriptor's own.
pub const OFFSET_CURRENT: u64 = u64::MAX;

/// Open modes, Plan 9's names and numbers.
pub mod mode {
    /// Open for reading.
    pub const OREAD: u32 = 0;
    /// Open for writing.
    pub const OWRITE: u32 = 1;
    /// Open for reading and writing.
    pub const ORDWR: u32 = 2;
    /// Truncate on open.
    pub const OTRUNC: u32 = 16;
    /// Fail if the file exists (create only).
    pub const OEXCL: u32 = 0x1000;
    /// Every write goes to the end of the file.
    pub const OAPPEND: u32 = 0x4000;
    /// In `create`'s permissions: make a directory.
    pub const DMDIR: u32 = 0x8000_0000;
}

/// `whence` of `seek`.
pub mod whence {
    /// From the start.
    pub const SET: u32 = 0;
    /// From the current offset.
    pub const CURRENT: u32 = 1;
    /// From the end of the file.
    pub const END: u32 = 2;
}

/// Flags of `bind` and `mount`: one of the first three, perhaps others.
pub mod bind {
    /// The new hides the old.
    pub const REPLACE: u64 = 0;
    /// A union, the new first.
    pub const BEFORE: u64 = 1;
    /// A union, the new last.
    pub const AFTER: u64 = 2;
    /// Files made in the union may be made here.
    pub const CREATE: u64 = 4;
    /// `mount` only: no read of the server's files is deferred.
    pub const EAGER: u64 = 8;
}

/// `argument` of `segattach` for the kind `snapshot`.
pub mod snapshot {
    /// Reads into it are deferred.
    pub const DEFERRED: u64 = 0;
    /// No read into it is deferred.
    pub const EAGER: u64 = 1;
}

/// Flags of `rfork`. Memory is copied, descriptors are copied, the name space
/// and the note group are shared unless a flag says otherwise.
pub mod rfork {
    /// A copy of the name space, whose changes nobody else sees.
    pub const NAMES: u64 = 1 << 0;
    /// A new note group, named after the child (without `PROC`: the caller).
    pub const NOTES: u64 = 1 << 3;
    /// Make a new process; without it the flags are for the caller itself.
    pub const PROC: u64 = 1 << 4;
    /// A name space with nothing bound or mounted.
    pub const CLEAN_NAMES: u64 = 1 << 10;
    /// Give the child no descriptors.
    pub const CLEAN_FDS: u64 = 1 << 12;
}

/// `how` of `Noted`.
pub mod noted {
    /// Go on with the registers at the address the handler was given, as it
    /// left them.
    pub const RESUME: u64 = 0;
    /// As if there were no handler: the process ends with the note's text.
    pub const DEFAULT: u64 = 1;
    /// The handler has left its stack behind; go on here.
    pub const LEAVE: u64 = 2;
}

/// What only some processes may do. A child inherits the set; a process can
/// only ever give privileges up.
pub mod privilege {
    /// Device and DMA segments, interrupts, the console's ports.
    pub const DEVICE: u64 = 1;
    /// Write verdicts to the second serial port.
    pub const JUDGE: u64 = 2;
    /// Stop the machine.
    pub const HALT: u64 = 4;
    /// Register device counters.
    pub const COUNTERS: u64 = 8;
    /// The system depends on it: its share of memory is kept free, and it is not
    /// ended when memory is out.
    pub const SERVICE: u64 = 16;
    /// All of them.
    pub const ALL: u64 = 31;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_result_decodes_to_itself() {
        for result in [Ok(0), Ok(1 << 47), Err(Errno::EPERM), Err(Errno::EDQUOT)] {
            assert_eq!(decode(encode(result)), result);
        }
    }

    #[test]
    fn every_call_is_found_by_its_number() {
        for call in Call::ALL {
            assert_eq!(Call::from_number(*call as u64), Some(*call));
        }
        assert_eq!(Call::from_number(u64::MAX), None);
    }
}
