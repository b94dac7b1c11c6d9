/// The reason why a call failed: Linux's error numbers, as 9P2000.L carries
/// them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! errors {
    ($($name:ident $number:literal $text:literal)*) => {
        impl Errno {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Errno = Errno($number);)*

            /// A lower-case text for users.
            pub const fn text(self) -> &'static str {
                match self.0 { $($number => $text,)* _ => "unknown error" }
            }
        }
        impl core::fmt::Debug for Errno {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.0 {
                    $($number => f.write_str(stringify!($name)),)*
                    n => write!(f, "E{n}"),
                }
            }
        }
    };
}

errors! {
    EPERM 1 "operation not permitted"
    ENOENT 2 "file does not exist"
    ESRCH 3 "no such process"
    EINTR 4 "interrupted"
    EIO 5 "input/output error"
    ENXIO 6 "no such device"
    E2BIG 7 "argument list too long"
    ENOEXEC 8 "not an executable for this system"
    EBADF 9 "bad file descriptor"
    ECHILD 10 "no children"
    EAGAIN 11 "try again"
    ENOMEM 12 "out of memory"
    EACCES 13 "permission denied"
    EFAULT 14 "bad address"
    EBUSY 16 "in use"
    EEXIST 17 "file exists"
    EXDEV 18 "not on the same file server"
    ENODEV 19 "no such device"
    ENOTDIR 20 "not a directory"
    EISDIR 21 "is a directory"
    EINVAL 22 "invalid argument"
    ENFILE 23 "too many open files in the system"
    EMFILE 24 "too many open files"
    EFBIG 27 "file too large"
    ENOSPC 28 "no space left on device"
    ESPIPE 29 "illegal seek"
    EROFS 30 "read-only file system"
    EMLINK 31 "too many links"
    EPIPE 32 "channel closed"
    ERANGE 34 "out of range"
    ENAMETOOLONG 36 "name too long"
    ENOSYS 38 "not implemented"
    ENOTEMPTY 39 "directory not empty"
    ELOOP 40 "too many symbolic links"
    EPROTO 71 "protocol error"
    EBADMSG 74 "damaged data"
    EOVERFLOW 75 "value too large"
    EMSGSIZE 90 "message too long"
    EOPNOTSUPP 95 "operation not supported"
    ETIMEDOUT 110 "timed out"
    ESTALE 116 "snapshot or file no longer there"
    EDQUOT 122 "disk quota exceeded"
}

impl Errno {
    /// The largest number an error can have.
    pub const MAX: u16 = 4095;

    /// From a number on the wire; out of range becomes `EIO`.
    pub const fn from_wire(number: u32) -> Errno {
        if number == 0 || number > Self::MAX as u32 {
            Errno::EIO
        } else {
            Errno(number as u16)
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Errno {}

/// The value of `rax` for the result of a system call.
pub const fn encode(result: Result<u64, Errno>) -> u64 {
    match result {
        Ok(value) => value,
        Err(errno) => (-(errno.number() as i64)) as u64,
    }
}

/// The inverse of [`encode`].
pub const fn decode(rax: u64) -> Result<u64, Errno> {
    if rax > u64::MAX - Errno::MAX as u64 {
        Err(Errno((rax as i64).unsigned_abs() as u16))
    } else {
        Ok(rax)
    }
}
