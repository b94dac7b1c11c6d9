macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The system calls. Arguments are listed in register order; a
        /// `path` or `text` is a pointer and a length, two registers.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u64)]
        pub enum Call { $($(#[$doc])* $name = $number,)* }

        impl Call {
            /// All calls, for fuzzers and tables.
            pub const ALL: &'static [Call] = &[$(Call::$name,)*];

            /// The call with that number.
            #[inline]
            pub const fn from_number(number: u64) -> Option<Call> {
                match number { $($number => Some(Call::$name),)* _ => None }
            }
        }
    };
}

calls! {
    /// `() -> pid`. Also the null call that is measured.
    GetPid = 0,
    /// `(status, text, len, va)`: end; 0 to 255 and an optional text. See [`crate::exits`].
    Exits = 1,
    /// `(flags, other, stack, base) -> pid`, 0 in the child. See [`crate::rfork`].
    RFork = 2,
    /// `(path, len, argv: *const Slice, argc, envp: *const Slice, envc)`.
    /// `argv[0]` is given too; the environment is `NAME=value` texts.
    Exec = 3,
    /// `(*mut WaitMessage) -> pid`: the next child that ended.
    Wait = 4,
    /// `(path, len, mode) -> fd`
    Open = 5,
    /// `(path, len, mode, permissions) -> fd`
    Create = 6,
    /// `(fd)`
    Close = 7,
    /// `(fd, buf, n, offset) -> n`
    PRead = 8,
    /// `(fd, buf, n, offset) -> n`
    PWrite = 9,
    /// `(fd, offset: i64, whence) -> offset`
    Seek = 10,
    /// `(path, len, *mut Stat)`
    Stat = 11,
    /// `(fd, *mut Stat)`
    FStat = 12,
    /// `(fd, *const StatChange)`
    FWStat = 13,
    /// `(path, len)`
    Remove = 14,
    /// `(fd, buf, n) -> n`: whole [`crate::DirEntry`] records, 0 at the end.
    ReadDir = 15,
    /// `(*mut [u32; 2])`: a two-way channel that keeps message boundaries.
    Pipe = 16,
    /// `(fd, path, len, flags, name, len)`: speaks 9P on a channel and mounts
    /// the server's tree `name` at `path`. See [`crate::bind`].
    Mount = 17,
    /// `(path, len)`: removes all binds and mounts at `path`.
    Unmount = 18,
    /// `(kind, len, va, length, argument) -> va`. `va` 0: kernel's choice.
    SegAttach = 19,
    /// `(va)`
    SegDetach = 20,
    /// `(va, length)`: frees the range, which then reads as zeros.
    SegFree = 21,
    /// `(nanoseconds)`; 0 yields to other processes.
    Sleep = 22,
    /// `(buf, n) -> n`: the text of this process's last error.
    ErrStr = 23,
    /// `(*mut u64, n) -> n`: the counters, in the order of [`crate::Stat64`].
    KStat = 24,
    /// `() -> fd`: a receive port.
    Port = 25,
    /// `(port, fd, key)`: messages for `fd` arrive at `port` under `key`.
    PortAdd = 26,
    /// `(port, key, line) -> data`: an interrupt as messages. `line`: an ISA
    /// line, or [`crate::IRQ_MSI`] for a message-signalled one, whose data
    /// is returned (the address is [`crate::MSI_ADDRESS`]).
    PortIrq = 27,
    /// `(port, buf, n, *mut Received, timeout_ns, *mut [u64; LOAN_MAX]) -> n`;
    /// `u64::MAX`: no limit; null, or where the pages that are lent for the data of
    /// the reply are named.
    Recv = 28,
    /// `(fd, *const Slice, count)`: one message, gathered.
    Send = 29,
    /// `(fd, new) -> fd`; `new` `u64::MAX`: the lowest free one.
    Dup = 30,
    /// `(path, len)`: change the working directory.
    ChDir = 31,
    /// `(fd)`: returns when all writes have reached the medium.
    FSync = 32,
    /// `(pid, text, len)`: end another process with that text.
    Kill = 33,
    /// `(mask) -> mask`: keep only these privileges.
    Privilege = 34,
    /// `(status)`: stop the machine; `status` is the runner's exit status.
    Halt = 35,
    /// `(text, len)`: a line for the judge.
    Verdict = 36,
    /// `(text, len)`: a line in the kernel's log.
    Log = 37,
    /// `(*const DeviceCounters)`: read by the kernel at each `KStat`.
    Counters = 38,
    /// `(va) -> physical address` of a byte of a `dma` or `device` segment.
    Physical = 39,
    /// `(buf, n) -> n`: the boot options, `key=value` lines.
    BootOptions = 40,
    /// `(path, len, new, new_len)`
    Rename = 41,
    /// `(handler)`: notes go to the function at that address; 0: to none. See
    /// [`crate::Registers`].
    Notify = 42,
    /// `(how)`: the handler is done. See [`crate::noted`].
    Noted = 43,
    /// `(pid, text, len)`: a note for a process, or for the note group -pid.
    Note = 44,
    /// `(new, len, old, len, flags)`: makes `old` name the file at `new`. See
    /// [`crate::bind`].
    Bind = 45,
    /// `(va, timeout_ns) -> 1`: takes one from the semaphore at `va`, a `u32` in memory; 0
    /// if it is zero for that long. `u64::MAX`: no limit.
    SemAcquire = 46,
    /// `(va, count) -> value`: adds to a semaphore.
    SemRelease = 47,
    /// `(buf, n) -> n`: the working directory.
    GetWd = 48,
    /// `(index, *mut ProcessInfo) -> next`: the first process from `index`
    /// on; 0 if there is none.
    ProcInfo = 49,
    /// `(path, len, *mut Stat)`: as `Stat`, but of a symbolic link itself.
    LStat = 50,
    /// `(path, len, buf, n) -> n`: the text of a symbolic link.
    ReadLink = 51,
    /// `(text, len, path, len)`: a symbolic link with that text.
    SymLink = 52,
    /// `(path, len, new, new_len)`: one more name for a file.
    Link = 53,
    /// `(count, what) -> left`: makes the `count`th allocation from now on
    /// fail, of blocks of kernel memory (`what` 0) or of frames (1), among
    /// those charged to the account of this process; `count` 0: none. Returns
    /// the rest of the previous count. For tests.
    FailAlloc = 54,
    /// `(fd)`: memory that does not fit goes to temporary files in that directory, or
    /// in the top directory of the server at that channel. It has no snapshots.
    SwapOn = 55,
    /// `(va, length) -> pages`: moves changed pages of the range to swap.
    PageOut = 56,
    /// `() -> pages`: compares the owners of frames with the pages that have them. For
    /// the judge of tests.
    Audit = 57,
    /// `(pid, text, len) -> ended`: ends that process, and all others that were started
    /// with it in any note group, with that text.
    KillAll = 58,
    /// `(path, len, *const StatChange)`: as `FWStat`; symbolic links are followed.
    WStat = 59,
    /// `(fd, name, len, mode) -> fd`: opens a file by its name in a directory that was
    /// opened with `ODIRECTORY`. Here and in the next five, symbolic links are not
    /// followed.
    OpenIn = 60,
    /// `(fd, name, len, mode, permissions) -> fd`
    CreateIn = 61,
    /// `(fd, name, len, *mut Stat)`
    StatIn = 62,
    /// `(fd, name, len, buf, n) -> n`
    ReadLinkIn = 63,
    /// `(fd, name, len, text, len)`
    SymLinkIn = 64,
    /// `(fd, name, len)`
    RemoveIn = 65,
    /// `(fd, out, n, in, room) -> n`: sends `n` bytes at `out` as one message into a
    /// channel, and reads from it what `PRead` would.
    Exchange = 66,
    /// `(port, buf, n, *mut Replying, timeout_ns, *mut [u64; LOAN_MAX]) -> n`: sends
    /// the message that the record names, then does what `Recv` does.
    ReplyRecv = 67,
    /// `(fd, buf, n, address) -> n`: copies from the part of lent data ([`crate::lent`])
    /// that begins there, from memory that the client at the channel has lent.
    ReadLent = 68,
    /// `(fd, buf, n) -> n`: as `ReadDir`, with a [`crate::Stat`] between the head and the
    /// name of each record, as `StatIn` gives it; of `mode` 0 if it has to be asked for.
    ReadDirStat = 69,
    /// `(pid, index, *mut SegmentInfo) -> next`: the first segment of a process from
    /// `index` on; 0 if there is none.
    MemInfo = 70,
    /// `(base) -> base`: sets the base of the FS register, where a thread has its own
    /// data; returns the former one.
    ThreadBase = 71,
    /// `(index, *mut BindInfo, buf, n) -> next`: the bind or mount of the process's name
    /// space with that index, and its names; 0 if there is none.
    NameInfo = 72,
    /// `(op, buf, n) -> n`: 0: the caller watches the children that it makes from now on,
    /// until it ends; 1: waits for records of them ([`crate::trace`]) and copies as many as
    /// fit; 0 bytes when all have ended.
    Trace = 73,
}
