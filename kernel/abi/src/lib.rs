//! The interface between the kernel and its programs: system-call numbers,
//! error numbers, structures and flags. No code beyond conversions, no
//! dependencies.
//!
//! A system call takes its number in `rax` and its arguments in `rdi rsi rdx
//! r10 r8 r9`. It returns in `rax`: zero or more on success, minus an [`Errno`]
//! on failure. `rcx` and `r11` are destroyed, all else is preserved.
#![no_std]
#![forbid(unsafe_code)]

mod errno;
mod records;
mod syscall;
pub mod trace;

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
/// Most processes, including zombies, that a kernel can be told to have.
pub const PROCESSES_MAX: usize = 1024;
/// Processes that a note group leaves to others.
pub const OTHERS: usize = 32;
/// Most bytes in a note and in the texts of `exits` and `kill`.
pub const TEXT_MAX: usize = 240;
/// Notes that may be pending for a process.
pub const NOTES_MAX: usize = 8;
/// One past the last address of a program.
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
    /// Keep the content of a file that exists (create only).
    pub const OKEEP: u32 = 0x2000;
    /// It must be a directory, and calls on names in it are possible (open only).
    pub const ODIRECTORY: u32 = 0x8000;
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
    /// The new file hides the old one.
    pub const REPLACE: u64 = 0;
    /// A union with the new member first.
    pub const BEFORE: u64 = 1;
    /// A union with the new member last.
    pub const AFTER: u64 = 2;
    /// Files may be created in this member of the union.
    pub const CREATE: u64 = 4;
    /// `mount` only: reads of the server's files are eager.
    pub const EAGER: u64 = 8;
}

/// `argument` of `segattach` for the kind `snapshot`.
pub mod snapshot {
    /// Reads into it are deferred.
    pub const DEFERRED: u64 = 0;
    /// Reads into it are eager.
    pub const EAGER: u64 = 1;
    /// They are deferred, and the program will use the pages in ascending order: many are
    /// brought at a time.
    pub const SEQUENTIAL: u64 = 2;
    /// They are deferred, and the program will use few pages, in random order: none is
    /// brought that is not touched.
    pub const RANDOM: u64 = 3;
}

/// Flags of `rfork`, Plan 9's. Without them a child gets a copy of memory, and shares
/// descriptors, name space and note group.
pub mod rfork {
    /// A private copy of the name space.
    pub const NAMES: u64 = 1 << 0;
    /// A copy of the descriptors.
    pub const FDS: u64 = 1 << 2;
    /// A new note group, named after the child (without `PROC`: the caller).
    pub const NOTES: u64 = 1 << 3;
    /// Creates a process; without it the flags apply to the caller itself.
    pub const PROC: u64 = 1 << 4;
    /// The child shares all memory, in place of getting a copy, and begins with a stack
    /// pointer and a base of FS of its own: the third and fourth argument.
    pub const MEMORY: u64 = 1 << 5;
    /// Nobody waits for the child: nothing is left of it when it ends.
    pub const NO_WAIT: u64 = 1 << 6;
    /// A name space with nothing bound or mounted.
    pub const CLEAN_NAMES: u64 = 1 << 10;
    /// No descriptors.
    pub const CLEAN_FDS: u64 = 1 << 12;
    /// With `PROC`: the child is in the note group of another child of the caller's, the
    /// second argument.
    pub const JOIN: u64 = 1 << 13;
}

/// Added to the status of `Exits`.
pub mod exits {
    /// All processes that share the caller's memory end, with the same status and text.
    pub const ALL: u64 = 1 << 8;
    /// Adds one to the semaphore at the fourth argument: the caller's stack is not used any
    /// more then.
    pub const RELEASE: u64 = 1 << 9;
}

/// `how` of `Noted`.
pub mod noted {
    /// Continue with the registers that the handler was given and may have
    /// changed.
    pub const RESUME: u64 = 0;
    /// End the process with the note's text, as if there were no handler.
    pub const DEFAULT: u64 = 1;
    /// The handler has left the interrupted stack and continues here.
    pub const LEAVE: u64 = 2;
}

/// Rights to privileged calls. A child inherits the set; a process can only
/// give privileges up.
pub mod privilege {
    /// Device and DMA segments, interrupts, the console's ports.
    pub const DEVICE: u64 = 1;
    /// Write verdicts to the second serial port.
    pub const JUDGE: u64 = 2;
    /// Stop the machine.
    pub const HALT: u64 = 4;
    /// Register device counters.
    pub const COUNTERS: u64 = 8;
    /// The system depends on the process: it may use the last free frames, and
    /// is not ended when memory runs out.
    pub const SERVICE: u64 = 16;
    /// Decide where memory goes that does not fit.
    pub const SWAP: u64 = 32;
    /// All privileges.
    pub const ALL: u64 = 63;
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
