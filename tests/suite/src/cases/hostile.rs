//! System calls with arguments that no honest program has: each fails with an
//! error, changes nothing, and the next call works as before.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, fails, same};
use crate::raw;
use alloc::vec::Vec;
use rt::abi::{PAGE, USER_END, mode};
use rt::{Call, Errno, File, Segment, send};

pub const CASES: &[Case] = &[
    Case::new("hostile.pointers", pointers),
    Case::new("hostile.ends", ends),
    Case::new("hostile.lengths", lengths),
    Case::new("hostile.offsets", offsets),
    Case::new("hostile.descriptors", descriptors),
    Case::new("hostile.segments", segments),
    Case::new("hostile.segfree", segfree),
    Case::new("hostile.numbers", numbers),
    Case::new("hostile.paths", paths),
    Case::new("hostile.read-only-buffer", read_only_buffer),
    Case::new("hostile.privileges", privileges),
    Case::new("hostile.mount", mount),
];

/// Addresses at which no program has memory.
pub const NOWHERE: &[u64] = &[
    0,
    1,
    PAGE - 1,
    // Between the addresses of the linker and those of the kernel.
    0x1234_5678_9000,
    USER_END - 1,
    USER_END,
    // Not canonical.
    0x0000_8000_0000_0000,
    0x4141_4141_4141_4141,
    0xffff_7fff_ffff_ffff,
    // The kernel's: physical memory, its own text.
    0xffff_8000_0000_0000,
    0xffff_ffff_8000_0000,
    u64::MAX - 7,
    u64::MAX,
];

/// One argument of a call that would succeed.
#[derive(Clone, Copy)]
enum Arg {
    Is(u64),
    /// A pointer; a bad one takes its place.
    Bad,
}

use Arg::{Bad, Is};

/// Calls that take memory, with arguments that are fine but for the address.
fn calls(scratch: &Scratch, channel: &File, port: u64, memory: &Segment) -> Vec<(Call, Vec<Arg>)> {
    let fd = u64::from(scratch.file.fd());
    let ch = u64::from(channel.fd());
    // "/dev/null" is at the start of `memory`, the rest is zeros.
    let (path, room) = (memory.address(), memory.address() + PAGE);
    let directory = File::open("/n/host", mode::OREAD).map_or(0, File::into_fd);
    [
        (Call::Exec, [Bad, Is(9), Is(0), Is(0)].to_vec()),
        (Call::Exec, [Is(path), Is(9), Bad, Is(1)].to_vec()),
        (Call::Open, [Bad, Is(9), Is(0)].to_vec()),
        (Call::Create, [Bad, Is(9), Is(1), Is(0o644)].to_vec()),
        (Call::PRead, [Is(fd), Bad, Is(64), Is(0)].to_vec()),
        (Call::PRead, [Is(fd), Bad, Is(3 * PAGE), Is(0)].to_vec()),
        (Call::PWrite, [Is(fd), Bad, Is(64), Is(0)].to_vec()),
        (Call::PWrite, [Is(fd), Bad, Is(3 * PAGE), Is(0)].to_vec()),
        (Call::PWrite, [Is(ch), Bad, Is(64), Is(0)].to_vec()),
        (Call::Stat, [Bad, Is(9), Is(room)].to_vec()),
        (Call::Stat, [Is(path), Is(9), Bad].to_vec()),
        (Call::FStat, [Is(fd), Bad].to_vec()),
        (Call::FWStat, [Is(fd), Bad].to_vec()),
        (Call::Remove, [Bad, Is(9)].to_vec()),
        (
            Call::ReadDir,
            [Is(u64::from(directory)), Bad, Is(4096)].to_vec(),
        ),
        (Call::Pipe, [Bad].to_vec()),
        (Call::Mount, [Is(ch), Bad, Is(9)].to_vec()),
        (Call::Unmount, [Bad, Is(9)].to_vec()),
        (
            Call::SegAttach,
            [Bad, Is(6), Is(0), Is(PAGE), Is(0)].to_vec(),
        ),
        (Call::ErrStr, [Bad, Is(64)].to_vec()),
        (Call::KStat, [Bad, Is(8)].to_vec()),
        (
            Call::Recv,
            [Is(port), Bad, Is(64), Is(room + 512), Is(0)].to_vec(),
        ),
        (
            Call::Recv,
            [Is(port), Is(room), Is(64), Bad, Is(0)].to_vec(),
        ),
        (Call::Send, [Is(ch), Bad, Is(1)].to_vec()),
        (Call::ChDir, [Bad, Is(9)].to_vec()),
        (Call::Verdict, [Bad, Is(8)].to_vec()),
        (Call::Log, [Bad, Is(8)].to_vec()),
        (Call::Counters, [Bad].to_vec()),
        (Call::BootOptions, [Bad, Is(4096)].to_vec()),
        (Call::Rename, [Bad, Is(9), Is(room), Is(4)].to_vec()),
        (Call::Rename, [Is(path), Is(9), Bad, Is(4)].to_vec()),
        (Call::Kill, [Is(1), Bad, Is(8)].to_vec()),
        (Call::KillAll, [Is(1), Bad, Is(8)].to_vec()),
        (Call::WStat, [Bad, Is(9), Is(room)].to_vec()),
        (Call::WStat, [Is(path), Is(9), Bad].to_vec()),
        (Call::OpenIn, [Is(fd), Bad, Is(4), Is(0)].to_vec()),
        (Call::CreateIn, [Is(fd), Bad, Is(4), Is(1), Is(0)].to_vec()),
        (Call::StatIn, [Is(fd), Bad, Is(4), Is(room)].to_vec()),
        (
            Call::ReadLinkIn,
            [Is(fd), Bad, Is(4), Is(room), Is(9)].to_vec(),
        ),
        (
            Call::SymLinkIn,
            [Is(fd), Bad, Is(4), Is(path), Is(4)].to_vec(),
        ),
        (Call::RemoveIn, [Is(fd), Bad, Is(4)].to_vec()),
    ]
    .to_vec()
}

fn registers(args: &[Arg], bad: u64) -> [u64; 6] {
    let mut out = [0; 6];
    for (slot, arg) in out.iter_mut().zip(args) {
        *slot = match arg {
            Is(value) => *value,
            Bad => bad,
        };
    }
    out
}

/// The objects that [`calls`] work on.
struct World {
    scratch: Scratch,
    channel: (File, File),
    port: u64,
    memory: Segment,
}

impl World {
    fn new() -> Result<World, Why> {
        let scratch = Scratch::patterned("hostile", 1, 4 * PG)?;
        let channel = File::pipe()?;
        // SAFETY: makes a descriptor, touches no memory.
        let port = unsafe { raw::call(Call::Port, [0; 6]) }?;
        // SAFETY: touches no memory.
        unsafe { raw::call(Call::PortAdd, [port, u64::from(channel.1.fd()), 1, 0, 0, 0]) }?;
        let mut memory = Segment::attach("memory", 4 * PG)?;
        memory.bytes_mut()[..9].copy_from_slice(b"/dev/null");
        Ok(World {
            scratch,
            channel,
            port,
            memory,
        })
    }

    fn calls(&self) -> Vec<(Call, Vec<Arg>)> {
        calls(&self.scratch, &self.channel.0, self.port, &self.memory)
    }

    /// Checks that everything still works.
    fn works(&self) -> Verdict {
        let (a, b) = File::pipe()?;
        send(&a, [b"still here"])?;
        same("a message after all that", b.read(&mut [0; 16])?, 10)?;
        let want = crate::check::patterned(1, 0, 4 * PG);
        crate::check::equal("the file", &self.scratch.content()?, &want)
    }
}

fn pointers() -> Verdict {
    let world = World::new()?;
    // Something to receive.
    send(&world.channel.0, [b"message"])?;
    for (call, args) in world.calls() {
        for bad in NOWHERE {
            // SAFETY: no memory is mapped at `bad`.
            let got = unsafe { raw::call(call, registers(&args, *bad)) };
            ensure!(got.is_err(), "{call:?} with memory at {bad:#x}: {got:?}");
        }
    }
    world.works()
}

/// Memory that ends within the buffer: bytes before the end may change.
fn ends() -> Verdict {
    let world = World::new()?;
    let last = Segment::attach("memory", PG)?;
    let end = last.address() + PAGE;
    let fd = u64::from(world.scratch.file.fd());
    let calls = [
        (Call::PRead, [fd, end - 16, 64, 0, 0, 0]),
        (Call::PRead, [fd, end - 16, 2 * PAGE, 0, 0, 0]),
        (Call::PWrite, [fd, end - 16, 64, 0, 0, 0]),
        (Call::Open, [end - 4, 9, 0, 0, 0, 0]),
        (Call::FStat, [fd, end - 8, 0, 0, 0, 0]),
        (Call::KStat, [end - 8, 4, 0, 0, 0, 0]),
        (Call::Pipe, [end - 4, 0, 0, 0, 0, 0]),
        (Call::Wait, [end - 8, 0, 0, 0, 0, 0]),
    ];
    for (call, args) in calls {
        // SAFETY: at most the end of `last` changes, to which no reference is
        // used.
        let got = unsafe { raw::call(call, args) };
        ensure!(got.is_err(), "{call:?} over the end of a segment: {got:?}");
    }
    drop(last);
    world.works()
}

fn lengths() -> Verdict {
    let world = World::new()?;
    let fd = u64::from(world.scratch.file.fd());
    let ch = u64::from(world.channel.0.fd());
    let at = world.memory.address();
    for long in [1 << 40, 1 << 63, u64::MAX - 4095, u64::MAX] {
        let calls = [
            (Call::PWrite, [fd, at, long, 0, 0, 0]),
            (Call::Open, [at, long, 0, 0, 0, 0]),
            (Call::Stat, [at, long, at, 0, 0, 0]),
            (Call::Remove, [at, long, 0, 0, 0, 0]),
            (Call::Mount, [ch, at, long, 0, 0, 0]),
            (Call::SegAttach, [at, long, 0, PAGE, 0, 0]),
            (Call::Send, [ch, at, long, 0, 0, 0]),
            (Call::Log, [at, long, 0, 0, 0, 0]),
            (Call::Verdict, [at, long, 0, 0, 0, 0]),
            (Call::Exec, [at, 9, at + PAGE, long, 0, 0]),
            (Call::Kill, [1, at, long, 0, 0, 0]),
            (Call::KillAll, [1, at, long, 0, 0, 0]),
            (Call::Rename, [at, 9, at, long, 0, 0]),
        ];
        for (call, args) in calls {
            // SAFETY: these only read.
            let got = unsafe { raw::call(call, args) };
            ensure!(got.is_err(), "{call:?} with a length of {long:#x}: {got:?}");
        }
    }
    // A gathered message whose parts are each fine but too much together.
    let slice = [at, 3 * PAGE].map(u64::to_le_bytes).concat();
    let many = slice.repeat(4096);
    // SAFETY: only reads.
    let got = unsafe { raw::call(Call::Send, [ch, many.as_ptr() as u64, 4096, 0, 0, 0]) };
    ensure!(got.is_err(), "a message of 48 MiB: {got:?}");
    world.works()
}

fn offsets() -> Verdict {
    let world = World::new()?;
    let file = &world.scratch.file;
    // The largest offset a file has is i64::MAX; u64::MAX is "current".
    for far in [1 << 63, u64::MAX - 1, u64::MAX - PAGE] {
        let read = file.read_at(&mut [0; 64], far);
        ensure!(!matches!(read, Ok(1..)), "read at {far:#x}: {read:?}");
        let write = file.write_at(b"far out", far);
        ensure!(write.is_err(), "write at {far:#x}: {write:?}");
    }
    let mut segment = crate::check::snapshot(2)?;
    let read = file.read_at(segment.bytes_mut(), i64::MAX as u64 - 100);
    ensure!(
        !matches!(read, Ok(1..)),
        "read across the largest offset: {read:?}"
    );
    for whence in [0, 1, 2, 3, 77] {
        let seek = file.seek(i64::MIN, whence);
        ensure!(
            seek.is_err(),
            "seek to the smallest offset from {whence}: {seek:?}"
        );
    }
    ensure!(file.set_size(u64::MAX).is_err(), "a size of 2^64 - 1");
    for whence in [0, 1] {
        let by = if whence == 0 { i64::MAX } else { 0 };
        let at = file.seek(by, whence)?;
        same("the largest offset", at, i64::MAX as u64)?;
    }
    world.works()
}

/// Numbers that are no open descriptors.
const NO_DESCRIPTORS: &[u64] = &[
    50,
    63,
    64,
    65,
    1 << 31,
    (1 << 32) + 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

fn descriptors() -> Verdict {
    let world = World::new()?;
    let at = world.memory.address() + PAGE;
    let path = world.memory.address();
    for &bad in NO_DESCRIPTORS {
        let calls = [
            (Call::Close, [bad, 0, 0, 0, 0, 0]),
            (Call::PRead, [bad, at, 8, 0, 0, 0]),
            (Call::PWrite, [bad, at, 8, 0, 0, 0]),
            (Call::Seek, [bad, 0, 0, 0, 0, 0]),
            (Call::FStat, [bad, at, 0, 0, 0, 0]),
            (Call::FWStat, [bad, at, 0, 0, 0, 0]),
            (Call::ReadDir, [bad, at, 512, 0, 0, 0]),
            (Call::Mount, [bad, path, 9, 0, 0, 0]),
            (Call::PortAdd, [bad, 0, 0, 0, 0, 0]),
            (Call::PortAdd, [world.port, bad, 0, 0, 0, 0]),
            (Call::Recv, [bad, at, 8, at + 64, 0, 0]),
            (Call::Send, [bad, at, 0, 0, 0, 0]),
            (Call::Dup, [bad, u64::MAX, 0, 0, 0, 0]),
            (Call::FSync, [bad, 0, 0, 0, 0, 0]),
        ];
        for (call, args) in calls {
            // SAFETY: all writes go to the second page of `memory`.
            let got = unsafe { raw::call(call, args) };
            fails(
                &alloc::format!("{call:?} of descriptor {bad:#x}"),
                got,
                Errno::EBADF,
            )?;
        }
    }
    // Descriptors of the wrong kind.
    let file = u64::from(world.scratch.file.fd());
    let wrong = [
        (Call::Send, [file, at, 0, 0, 0, 0]),
        (Call::Recv, [file, at, 8, at + 64, 0, 0]),
        (Call::PortAdd, [world.port, file, 0, 0, 0, 0]),
        (Call::PortAdd, [world.port, world.port, 0, 0, 0, 0]),
        (Call::Mount, [file, path, 9, 0, 0, 0]),
        (Call::ReadDir, [file, at, 512, 0, 0, 0]),
        (Call::PRead, [world.port, at, 8, 0, 0, 0]),
        (Call::PWrite, [world.port, at, 8, 0, 0, 0]),
    ];
    for (call, args) in wrong {
        // SAFETY: as above.
        let got = unsafe { raw::call(call, args) };
        ensure!(
            got.is_err(),
            "{call:?} of the wrong kind of descriptor: {got:?}"
        );
    }
    let far = world.scratch.file.dup_to(64).map(File::into_fd);
    ensure!(far.is_err(), "a descriptor beyond the table: {far:?}");
    world.works()
}

fn segments() -> Verdict {
    let world = World::new()?;
    for kind in ["memory", "snapshot"] {
        let bad = [
            (0, 0),
            (0, 1 << 47),
            (0, 1 << 63),
            (0, u64::MAX - 4095),
            (0, u64::MAX),
            (0x5000_0000_0001, PAGE),
            (USER_END - PAGE, 2 * PAGE),
            (USER_END, PAGE),
            (0x0000_8000_0000_0000, PAGE),
            (0xffff_8000_0000_0000, PAGE),
            (u64::MAX - 4095, PAGE),
            (u64::MAX - 4095, 2 * PAGE),
        ];
        for (va, len) in bad {
            let text = kind.as_ptr() as u64;
            let args = [text, kind.len() as u64, va, len, 0, 0];
            // SAFETY: a segment at a free address does no harm.
            let got = unsafe { raw::call(Call::SegAttach, args) };
            ensure!(
                got.is_err(),
                "a {kind} segment at {va:#x} of {len:#x} bytes: {got:?}"
            );
        }
    }
    for kind in ["", "nothing", "Memory", "memory\0", "\u{fffd}"] {
        let got = Segment::attach(kind, PG).map(|segment| segment.len());
        ensure!(got.is_err(), "a segment of kind {kind:?}: {got:?}");
    }
    for va in NOWHERE {
        // SAFETY: no memory is mapped there.
        let got = unsafe { raw::call(Call::SegDetach, [*va, 0, 0, 0, 0, 0]) };
        ensure!(got.is_err(), "detaching {va:#x}: {got:?}");
    }
    world.works()
}

fn segfree() -> Verdict {
    let world = World::new()?;
    let segment = Segment::attach("memory", 4 * PG)?;
    let at = segment.address();
    let bad = [
        (at, 5 * PAGE),
        (at - PAGE, 2 * PAGE),
        (at, u64::MAX),
        (at + PAGE, u64::MAX - at),
        (at, u64::MAX - 4095),
        (at, 1 << 63),
        (0, PAGE),
        (0xffff_8000_0000_0000, PAGE),
        (u64::MAX - 4095, PAGE),
    ];
    for (va, len) in bad {
        // SAFETY: at worst `segment` changes, which holds nothing.
        let got = unsafe { raw::call(Call::SegFree, [va, len, 0, 0, 0, 0]) };
        ensure!(got.is_err(), "freeing {len:#x} bytes at {va:#x}: {got:?}");
    }
    // SAFETY: a read-only segment cannot be freed; nothing changes.
    let got = unsafe { raw::call(Call::SegFree, [0x40_0000, PAGE, 0, 0, 0, 0]) };
    ensure!(got.is_err(), "freeing the program's text: {got:?}");
    world.works()
}

fn numbers() -> Verdict {
    let world = World::new()?;
    let largest = Call::ALL.iter().map(|call| *call as u64).max();
    let first = largest.unwrap_or(0) + 1;
    for number in [
        first,
        first + 1,
        255,
        1 << 16,
        1 << 31,
        1 << 32,
        1 << 63,
        u64::MAX,
    ] {
        // SAFETY: there is no such call.
        let got = unsafe { raw::number(number, [1, 2, 3, 4, 5, 6]) };
        fails(&alloc::format!("call {number:#x}"), got, Errno::ENOSYS)?;
    }
    for flags in [2, 1 << 31, 1 << 63, !rt::abi::rfork::PROC] {
        // SAFETY: these flags mean nothing, so nothing happens.
        let got = unsafe { raw::call(Call::RFork, [flags, 0, 0, 0, 0, 0]) };
        fails("rfork with unknown flags", got, Errno::EINVAL)?;
    }
    world.works()
}

fn paths() -> Verdict {
    let world = World::new()?;
    // A name may be of any bytes but zero and the slash.
    let bad: [&[u8]; 5] = [
        b"/n/host/\0",
        b"/dev/nu\0ll",
        b"\xff\xfe\0",
        &[b'a'; 1025],
        &[b'/'; 4096],
    ];
    for path in bad {
        let (at, len) = (path.as_ptr() as u64, path.len() as u64);
        let shown = alloc::string::String::from_utf8_lossy(&path[..path.len().min(20)]);
        for call in [Call::Open, Call::Create, Call::Remove, Call::ChDir] {
            // SAFETY: these only read.
            let got = unsafe { raw::call(call, [at, len, 0, 0o644, 0, 0]) };
            ensure!(got.is_err(), "{call:?} of {shown:?}: {got:?}");
        }
    }
    // Names longer than any file system has, and deeper than one walk takes.
    let long = alloc::format!("/n/host/{}", "x".repeat(300));
    ensure!(File::stat_path(&long).is_err(), "a name of 300 bytes");
    let deep = alloc::format!("/n/host{}", "/a".repeat(100));
    fails(
        "a deep path",
        File::stat_path(&deep).map(|_| ()),
        Errno::ENOENT,
    )?;
    let round = alloc::format!("/n/host{}/suite.tmp", "/suite.tmp/..".repeat(40));
    ensure!(File::stat_path(&round)?.is_dir(), "a long way round");
    let outside = File::stat_path("/n/host/../../../../etc/passwd");
    fails("outside the export", outside.map(|_| ()), Errno::ENOENT)?;
    world.works()
}

/// Reading into memory that may not be stored to.
fn read_only_buffer() -> Verdict {
    let world = World::new()?;
    let fd = u64::from(world.scratch.file.fd());
    let text = pointers as fn() -> Verdict as usize as u64;
    let constant = NOWHERE.as_ptr() as u64;
    for at in [text, constant] {
        for (call, args) in [
            (Call::PRead, [fd, at, 64, 0, 0, 0]),
            (Call::FStat, [fd, at, 0, 0, 0, 0]),
            (Call::KStat, [at, 4, 0, 0, 0, 0]),
        ] {
            // SAFETY: the memory is read-only; the call must fail.
            let got = unsafe { raw::call(call, args) };
            ensure!(got.is_err(), "{call:?} into read-only memory: {got:?}");
        }
    }
    same("a constant", NOWHERE[1], 1)?;
    world.works()
}

/// The calls that a process without privileges may not make.
fn privileges() -> Verdict {
    let world = World::new()?;
    let at = world.memory.address();
    fails(
        "stopping the machine",
        Err::<(), _>(rt::sys::halt(0)),
        Errno::EPERM,
    )?;
    fails("a verdict", rt::sys::verdict(b"@ok forged"), Errno::EPERM)?;
    let device = Segment::attach_with("device", PG, 0, 0xfee0_0000).map(|_| ());
    fails("a device segment", device, Errno::EPERM)?;
    fails(
        "a dma segment",
        Segment::attach("dma", PG).map(|_| ()),
        Errno::EPERM,
    )?;
    for (call, args) in [
        (Call::PortIrq, [world.port, 1, 4, 0, 0, 0]),
        (Call::Counters, [at, 0, 0, 0, 0, 0]),
        (Call::SwapOn, [0; 6]),
        (Call::Audit, [0; 6]),
    ] {
        // SAFETY: the kernel at most reads `memory`.
        let got = unsafe { raw::call(call, args) };
        fails("a privileged call", got, Errno::EPERM)?;
    }
    same("privileges asked back", rt::sys::privilege(u64::MAX)?, 0)?;
    // SAFETY: touches no memory.
    let physical = unsafe { raw::call(Call::Physical, [at, 0, 0, 0, 0, 0]) };
    ensure!(
        physical.is_err(),
        "a physical address of plain memory: {physical:?}"
    );
    world.works()
}

/// A channel without a server, or with a server that talks nonsense.
fn mount() -> Verdict {
    let world = World::new()?;
    let (ours, theirs) = File::pipe()?;
    drop(theirs);
    ensure!(
        ours.mount("/n").is_err(),
        "a closed channel could be mounted"
    );
    for nonsense in [&b""[..], b"x", b"\xff\xff\xff\xff\x65\x00\x00", &[0; 64]] {
        let (ours, theirs) = File::pipe()?;
        let pid = rt::process::spawn(|| {
            let _ = theirs.read(&mut [0; 256]);
            let _ = send(&theirs, [nonsense]);
            0
        })?;
        drop(theirs);
        let got = ours.mount("/n");
        ensure!(got.is_err(), "a server of nonsense could be mounted");
        rt::process::wait_for(pid)?;
    }
    same("the tree", File::stat_path("/n/host")?.is_dir(), true)?;
    world.works()
}
