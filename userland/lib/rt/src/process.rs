//! Processes: making them, waiting for them, ending.

use crate::single::{Forked, Single};
use crate::{env, heap, io, large, sys, thread};
use abi::{Call, Errno, ProcessInfo, SegmentInfo, Slice, WaitMessage, exits, rfork};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Ends this process: flushes standard output, then passes `status` (0 is
/// success) and an optional text to the parent.
pub fn exit(status: u8, text: &str) -> ! {
    io::flush_quietly();
    match io::failed() {
        Some(errno) if status == 0 => {
            crate::eprintln!("standard output: {errno}");
            exit_now(1, errno.text())
        }
        _ => exit_now(status, text),
    }
}

/// Ends this process, all its threads, without flushing anything.
pub fn exit_now(status: u8, text: &str) -> ! {
    let (at, len) = sys::of(text.as_bytes());
    // SAFETY: the kernel only reads `text`.
    let _ = unsafe { sys::call3(Call::Exits, u64::from(status) | exits::ALL, at, len) };
    // The call does not return; if it ever did, nothing could go on.
    loop {
        core::hint::spin_loop();
    }
}

/// Which of the two processes after [`fork`] this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fork {
    /// This is the child.
    Child,
    /// The old one, with the new one's number.
    Parent(u64),
}

/// Makes a copy of this process: memory copied, descriptors copied, name space
/// and note group shared.
pub fn fork() -> Result<Fork, Errno> {
    fork_with(0)
}

/// As [`fork`], with more flags of [`abi::rfork`].
pub fn fork_with(flags: u64) -> Result<Fork, Errno> {
    fork_beside(flags, 0)
}

/// As [`fork`], in the note group of another child of this process, which was not waited
/// for.
pub fn fork_into_group_of(child: u64) -> Result<Fork, Errno> {
    fork_beside(rfork::JOIN, child)
}

fn fork_beside(flags: u64, other: u64) -> Result<Fork, Errno> {
    io::flush_quietly();
    let fds = match flags & rfork::CLEAN_FDS {
        0 => rfork::FDS,
        _ => 0,
    };
    match copy((rfork::PROC | fds | flags) & !rfork::MEMORY, other)? {
        0 => {
            // They were its parent's children. A store would give the child a page more.
            if ANY_REMEMBERED.load(Relaxed) {
                REMEMBERED.with(VecDeque::clear);
                ANY_REMEMBERED.store(false, Relaxed);
            }
            Ok(Fork::Child)
        }
        pid => Ok(Fork::Parent(pid)),
    }
}

/// What must not be half changed in the memory that a child gets; what is used within
/// another comes after it.
static FORKED: [&dyn Forked; 6] = [
    &thread::POOL,
    &REMEMBERED,
    &env::ENVIRONMENT,
    &io::OUTPUT,
    &heap::HEAP.0,
    &large::STATE,
];

/// Makes the child. It has the calling thread alone, so no other one may be in the middle of
/// something.
fn copy(flags: u64, other: u64) -> Result<u64, Errno> {
    // SAFETY: the child works on a copy of all memory.
    let fork = || unsafe { sys::call2(Call::RFork, flags, other) };
    if !thread::several() {
        return fork();
    }
    let held = FORKED.map(Forked::hold);
    let made = fork();
    for (state, held) in FORKED.iter().zip(held).rev() {
        if made == Ok(0) {
            state.forget_others();
        }
        if held {
            state.let_go();
        }
    }
    made
}

/// Changes this process itself as [`abi::rfork`] flags without `PROC` say.
pub fn change(flags: u64) -> Result<(), Errno> {
    // SAFETY: without `PROC` no memory is concerned.
    unsafe { sys::call1(Call::RFork, flags & !rfork::PROC) }.map(drop)
}

/// All processes there are, as they are met.
pub fn list() -> impl Iterator<Item = ProcessInfo> {
    let mut index = 0;
    core::iter::from_fn(move || {
        let mut info = ProcessInfo::default();
        // SAFETY: the kernel writes one `ProcessInfo`.
        let next = unsafe { sys::call2(Call::ProcInfo, index, &raw mut info as u64) };
        index = next.ok().filter(|next| *next != 0)?;
        Some(info)
    })
}

/// The segments of a process, as they are met; none if there is no such process.
pub fn segments(pid: u64) -> impl Iterator<Item = SegmentInfo> {
    let mut index = 0;
    core::iter::from_fn(move || {
        let mut info = SegmentInfo::default();
        // SAFETY: the kernel writes one `SegmentInfo`.
        let next = unsafe { sys::call3(Call::MemInfo, pid, index, &raw mut info as u64) };
        index = next.ok().filter(|next| *next != 0)?;
        Some(info)
    })
}

/// Turns this process into the program at `path`; `argv[0]` included. The
/// environment is this one's, see [`mod@env`]. Returns only on failure.
pub fn exec(path: impl AsRef<[u8]>, argv: &[impl AsRef<[u8]>]) -> Errno {
    let mut few = [NO_SLICE; FEW];
    match env::unchanged(&mut few) {
        Some(environment) => exec_slices(path.as_ref(), argv, environment),
        None => exec_with(path, argv, &env::texts()),
    }
}

/// As [`exec`], with an environment of `NAME=value` texts.
pub fn exec_with(
    path: impl AsRef<[u8]>,
    argv: &[impl AsRef<[u8]>],
    environment: &[impl AsRef<[u8]>],
) -> Errno {
    let path = path.as_ref();
    let failed = with_slices(environment, |environment| {
        exec_slices(path, argv, environment)
    });
    failed.unwrap_or_else(|errno| errno)
}

fn exec_slices(path: &[u8], argv: &[impl AsRef<[u8]>], environment: &[Slice]) -> Errno {
    io::flush_quietly();
    let (at, len) = sys::of(path);
    let (envp, envc) = (environment.as_ptr() as u64, environment.len() as u64);
    let called = with_slices(argv, |argv| {
        let (argv, argc) = (argv.as_ptr() as u64, argv.len() as u64);
        // SAFETY: the kernel only reads; on success nothing of us is left.
        unsafe { sys::call6(Call::Exec, at, len, argv, argc, envp, envc) }
    });
    match called {
        Ok(Ok(_)) => Errno::EIO,
        Ok(Err(errno)) | Err(errno) => errno,
    }
}

/// So many texts need no heap, which a process that only becomes another program may
/// not have used yet.
const FEW: usize = 16;
const NO_SLICE: Slice = Slice { address: 0, len: 0 };

/// Calls `f` with the slices of texts.
fn with_slices<R>(texts: &[impl AsRef<[u8]>], f: impl FnOnce(&[Slice]) -> R) -> Result<R, Errno> {
    let slices = texts.iter().map(|text| slice(text.as_ref()));
    let mut few = [NO_SLICE; FEW];
    if let Some(few) = few.get_mut(..texts.len()) {
        few.iter_mut()
            .zip(slices)
            .for_each(|(to, slice)| *to = slice);
        return Ok(f(few));
    }
    let mut all = Vec::new();
    all.try_reserve(texts.len()).map_err(|_| Errno::ENOMEM)?;
    all.extend(slices);
    Ok(f(&all))
}

pub(crate) fn slice(bytes: &[u8]) -> Slice {
    let (address, len) = sys::of(bytes);
    Slice { address, len }
}

/// How a child ended.
#[derive(Clone, Copy)]
pub struct Ended(WaitMessage);

impl Ended {
    /// The process id of the child.
    pub fn pid(&self) -> u64 {
        self.0.pid
    }

    /// 0 is success, [`abi::STATUS_KILLED`] one the kernel ended.
    pub fn status(&self) -> u8 {
        u8::try_from(self.0.status).unwrap_or(u8::MAX)
    }

    /// Why: its own text, or the kernel's.
    pub fn text(&self) -> &str {
        let used = self.0.text.get(..self.0.text_len as usize);
        core::str::from_utf8(used.unwrap_or(&[])).unwrap_or("")
    }
}

/// Endings of children that are remembered at most; the oldest are forgotten.
const REMEMBERED_MAX: usize = abi::PROCESSES_MAX;

/// The threads that waited for another child, by number, and their child that ended
/// meanwhile.
static REMEMBERED: Single<VecDeque<(u64, Ended)>> = Single::new(VecDeque::new());
/// There may be some.
static ANY_REMEMBERED: AtomicBool = AtomicBool::new(false);

/// The first child of this thread that is remembered and `wanted`.
fn remembered(wanted: impl Fn(&Ended) -> bool) -> Option<Ended> {
    if !ANY_REMEMBERED.load(Relaxed) {
        return None;
    }
    let me = thread::number();
    let ended = REMEMBERED.with(|list| {
        let mut all = list.iter();
        let at = all.position(|(of, ended)| *of == me && wanted(ended))?;
        list.remove(at)
    });
    ended.flatten().map(|(_, ended)| ended)
}

/// Waits for the next child that ends. One that ended while another was waited for
/// comes first.
pub fn wait() -> Result<Ended, Errno> {
    match remembered(|_| true) {
        Some(ended) => Ok(ended),
        None => next(),
    }
}

fn next() -> Result<Ended, Errno> {
    let mut message = WaitMessage {
        pid: 0,
        status: 0,
        text_len: 0,
        text: [0; abi::TEXT_MAX],
    };
    // SAFETY: the kernel writes one `WaitMessage`.
    unsafe { sys::call1(Call::Wait, &raw mut message as u64) }?;
    Ok(Ended(message))
}

/// Waits for that child. Others that end meanwhile are remembered for later calls, of
/// [`wait`] too.
pub fn wait_for(pid: u64) -> Result<Ended, Errno> {
    if let Some(ended) = remembered(|ended| ended.pid() == pid) {
        return Ok(ended);
    }
    loop {
        let ended = next()?;
        if ended.pid() == pid {
            return Ok(ended);
        }
        REMEMBERED.with(|list| remember(list, ended));
    }
}

fn remember(list: &mut VecDeque<(u64, Ended)>, ended: Ended) {
    if list.len() == REMEMBERED_MAX {
        list.pop_front();
    }
    // Without memory it counts as waited for.
    if list.try_reserve(1).is_ok() {
        ANY_REMEMBERED.store(true, Relaxed);
        list.push_back((thread::number(), ended));
    }
}

/// Runs `body` in a child; returns the child's number.
pub fn spawn(body: impl FnOnce() -> u8) -> Result<u64, Errno> {
    match fork()? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => exit(body(), ""),
    }
}

/// Ends that process and all others that were started with it, in any note group,
/// with that text; returns their number.
pub fn kill_all(pid: u64, text: &str) -> Result<u64, Errno> {
    let (at, len) = sys::of(text.as_bytes());
    // SAFETY: the kernel only reads `text`.
    unsafe { sys::call3(Call::KillAll, pid, at, len) }
}

/// Ends the other processes of a note group with that text. `EINVAL`: no group can have
/// that number.
pub fn kill_group(group: u64, text: &str) -> Result<(), Errno> {
    kill(name_of_group(group)?, text)
}

/// What Kill and Note take for a group instead of a pid: the negative number.
pub(crate) fn name_of_group(group: u64) -> Result<u64, Errno> {
    match i64::try_from(group) {
        Ok(1..) => Ok(group.wrapping_neg()),
        _ => Err(Errno::EINVAL),
    }
}

/// Ends another process with that text.
pub fn kill(pid: u64, text: &str) -> Result<(), Errno> {
    let (at, len) = sys::of(text.as_bytes());
    // SAFETY: the kernel only reads `text`.
    unsafe { sys::call3(Call::Kill, pid, at, len) }.map(drop)
}
