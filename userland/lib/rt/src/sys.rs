//! Raw system calls: one function per number of arguments. They are unsafe
//! because the kernel writes to the addresses it is given. The rest of this
//! crate wraps them.

use abi::{Call, Errno, decode};
use alloc::vec;
use bytestr::ByteString;
use core::arch::asm;

macro_rules! raw {
    ($(#[$doc:meta])* $name:ident($($arg:ident $register:tt),*)) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The caller may change all memory that the call writes, and holds no
        /// reference to memory that the call unmaps.
        #[inline]
        pub unsafe fn $name(call: Call, $($arg: u64),*) -> Result<u64, Errno> {
            let answer: u64;
            // SAFETY: the kernel keeps all registers but rax, rcx and r11; the
            // caller promises that its effects on memory are permitted.
            unsafe {
                asm!(
                    "syscall",
                    inlateout("rax") call as u64 => answer,
                    $(in($register) $arg,)*
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack),
                );
            }
            decode(answer)
        }
    };
}

raw!(
    /// A call without arguments.
    call0()
);
raw!(
    /// A call with one argument.
    call1(a "rdi")
);
raw!(
    /// A call with two arguments.
    call2(a "rdi", b "rsi")
);
raw!(
    /// A call with three arguments.
    call3(a "rdi", b "rsi", c "rdx")
);
raw!(
    /// A call with four arguments.
    call4(a "rdi", b "rsi", c "rdx", d "r10")
);
raw!(
    /// A call with five arguments.
    call5(a "rdi", b "rsi", c "rdx", d "r10", e "r8")
);
raw!(
    /// A call with six arguments.
    call6(a "rdi", b "rsi", c "rdx", d "r10", e "r8", f "r9")
);

/// Address and length of bytes the kernel reads.
#[inline]
pub(crate) fn of(bytes: &[u8]) -> (u64, u64) {
    (bytes.as_ptr() as u64, bytes.len() as u64)
}

/// Address and length of bytes the kernel writes.
#[inline]
pub(crate) fn of_mut(bytes: &mut [u8]) -> (u64, u64) {
    (bytes.as_mut_ptr() as u64, bytes.len() as u64)
}

/// A call that takes one text.
pub(crate) fn text_call(call: Call, text: &[u8]) -> Result<u64, Errno> {
    let (at, len) = of(text);
    // SAFETY: the kernel only reads `text`.
    unsafe { call2(call, at, len) }
}

/// The process id.
#[inline]
pub fn getpid() -> u64 {
    // SAFETY: touches no memory.
    unsafe { call0(Call::GetPid) }.unwrap_or(0)
}

/// Sets the base of the FS register; the former one.
pub fn thread_base(base: u64) -> Result<u64, Errno> {
    // SAFETY: touches no memory; compiled code does not use the register.
    unsafe { call1(Call::ThreadBase, base) }
}

/// Writes a line to the kernel's log.
pub fn log(text: &[u8]) -> Result<(), Errno> {
    text_call(Call::Log, text).map(drop)
}

/// Writes a line for the judge; needs the privilege `JUDGE`.
pub fn verdict(text: &[u8]) -> Result<(), Errno> {
    text_call(Call::Verdict, text).map(drop)
}

/// Compares the kernel's records of which pages have which frames; the number of such
/// pages. Needs the privilege `JUDGE`.
///
/// # Errors
/// `EIO` if they differ, also for a moment while a process is made.
pub fn audit() -> Result<u64, Errno> {
    // SAFETY: touches no memory.
    unsafe { call0(Call::Audit) }
}

/// Frees the frames that nobody has and that the frame cache names, so that what is left of
/// memory can be compared. Needs the privilege `JUDGE`.
pub fn free_idle() -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call2(Call::FailAlloc, 0, 3) }.map(drop)
}

/// Stops the machine; needs the privilege `HALT`. Returns only on failure.
pub fn halt(status: u8) -> Errno {
    // SAFETY: touches no memory.
    match unsafe { call1(Call::Halt, u64::from(status)) } {
        Ok(_) => Errno::EIO,
        Err(errno) => errno,
    }
}

/// Gives up all privileges that are not in `mask`; returns the rest.
pub fn privilege(mask: u64) -> Result<u64, Errno> {
    // SAFETY: touches no memory.
    unsafe { call1(Call::Privilege, mask) }
}

/// Sleeps; 0 yields to other processes.
pub fn sleep(nanoseconds: u64) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call1(Call::Sleep, nanoseconds) }.map(drop)
}

/// Copies the boot options, `key=value` lines, into `buffer`; returns the byte
/// count.
pub fn boot_options(buffer: &mut [u8]) -> Result<usize, Errno> {
    let (at, len) = of_mut(buffer);
    // SAFETY: the kernel writes within `buffer`.
    let n = unsafe { call2(Call::BootOptions, at, len) }?;
    Ok((n as usize).min(buffer.len()))
}

/// The kernel's text for this process's last error.
pub fn errstr(buffer: &mut [u8]) -> &str {
    let (at, len) = of_mut(buffer);
    // SAFETY: the kernel writes within `buffer`.
    let n = unsafe { call2(Call::ErrStr, at, len) }.unwrap_or(0) as usize;
    core::str::from_utf8(buffer.get(..n).unwrap_or(&[])).unwrap_or("")
}

/// Removes the file at `path`.
pub fn remove(path: impl AsRef<[u8]>) -> Result<(), Errno> {
    text_call(Call::Remove, path.as_ref()).map(drop)
}

/// Renames a file within one server.
pub fn rename(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Errno> {
    let ((a, b), (c, d)) = (of(from.as_ref()), of(to.as_ref()));
    // SAFETY: the kernel only reads the paths.
    unsafe { call4(Call::Rename, a, b, c, d) }.map(drop)
}

/// Makes a symbolic link with that text at `path`.
pub fn symlink(text: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Result<(), Errno> {
    let ((a, b), (c, d)) = (of(text.as_ref()), of(path.as_ref()));
    // SAFETY: the kernel only reads text and path.
    unsafe { call4(Call::SymLink, a, b, c, d) }.map(drop)
}

/// Gives the file `old` one more name on its server.
pub fn link(old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Result<(), Errno> {
    let ((a, b), (c, d)) = (of(old.as_ref()), of(new.as_ref()));
    // SAFETY: the kernel only reads the paths.
    unsafe { call4(Call::Link, a, b, c, d) }.map(drop)
}

/// The text of the symbolic link at `path`.
pub fn read_link(path: impl AsRef<[u8]>) -> Result<ByteString, Errno> {
    let path = of(path.as_ref());
    link_text(|at, len| {
        // SAFETY: the kernel reads `path` and writes within the buffer.
        unsafe { call4(Call::ReadLink, path.0, path.1, at, len) }
    })
}

/// The text that a call puts into a buffer of that address and length.
pub(crate) fn link_text(
    mut read: impl FnMut(u64, u64) -> Result<u64, Errno>,
) -> Result<ByteString, Errno> {
    let mut text = vec![0; abi::PATH_MAX];
    loop {
        let (at, len) = of_mut(&mut text);
        match read(at, len) {
            // No text is longer than a string of 9P.
            Err(Errno::ERANGE) if text.len() < usize::from(u16::MAX) => {
                text.resize(usize::from(u16::MAX), 0);
            }
            n => {
                text.truncate(n? as usize);
                return Ok(text.into());
            }
        }
    }
}

/// Changes the working directory.
pub fn chdir(path: impl AsRef<[u8]>) -> Result<(), Errno> {
    text_call(Call::ChDir, path.as_ref()).map(drop)
}

/// Makes `old` name the file at `new`, alone or in a union with its former
/// content; `flags` as in [`abi::bind`].
pub fn bind(new: impl AsRef<[u8]>, old: impl AsRef<[u8]>, flags: u64) -> Result<(), Errno> {
    let ((a, b), (c, d)) = (of(new.as_ref()), of(old.as_ref()));
    // SAFETY: the kernel only reads the paths.
    unsafe { call5(Call::Bind, a, b, c, d, flags) }.map(drop)
}

/// The working directory.
pub fn getwd() -> Result<ByteString, Errno> {
    let mut path = vec![0; abi::PATH_MAX];
    let (at, len) = of_mut(&mut path);
    // SAFETY: the kernel writes within `path`.
    let n = unsafe { call2(Call::GetWd, at, len) }?;
    path.truncate(n as usize);
    Ok(path.into())
}

/// Undoes all binds and mounts at `path`.
pub fn unmount(path: impl AsRef<[u8]>) -> Result<(), Errno> {
    text_call(Call::Unmount, path.as_ref()).map(drop)
}
