//! `exec`: a new program in the same process.
//!
//! The new memory is built beside the old, from one snapshot of the file
//! (invariant 11); only when all of it is there does the process change over,
//! so a failed exec changes nothing.
use super::elf::{HEADERS, Part, Program};
use super::{Process, slots};
use crate::arch::TrapFrame;
use crate::chan::{FrameRef, Piece, room};
use crate::file::{Node, OpenFile, open};
use crate::lock::{Lock, Rank};
use crate::mount::snapshots;
use crate::name::root::Entry;
use crate::seg::host::{read_remote, read_snapshot};
use crate::seg::{self, Content, Kind, Segment, Space, SpaceLock, attach, user};
use abi::{ARGS_MAX, Errno, PAGE, Slice, USER_END, mode};
use alloc::vec::Vec;
use vm::{Access, SnapId};

/// Bytes of addresses for the stack; pages come when they are touched.
const STACK: u64 = 8 << 20;
/// The stack ends here; above is a page that is never mapped.
const STACK_TOP: u64 = USER_END - PAGE;
/// Most arguments.
const ARGUMENTS: u64 = 256;

/// Arguments as they go to the new program: strings, each ended by a zero.
pub struct Arguments {
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
}

impl Arguments {
    /// Copies the strings that `count` slices at `va` name.
    pub fn from_user(space: &SpaceLock, va: u64, count: u64) -> Result<Arguments, Errno> {
        if count > ARGUMENTS {
            return Err(Errno::E2BIG);
        }
        let mut arguments = Arguments {
            bytes: room(ARGS_MAX)?,
            starts: room(count as usize)?,
        };
        for i in 0..count {
            let at = va
                .checked_add(i * size_of::<Slice>() as u64)
                .ok_or(Errno::EFAULT)?;
            let address = user::read_u64(space, at)?;
            let len = user::read_u64(space, at.checked_add(8).ok_or(Errno::EFAULT)?)?;
            let start = arguments.bytes.len();
            if len as usize >= ARGS_MAX - start || len >= ARGS_MAX as u64 {
                return Err(Errno::E2BIG);
            }
            arguments.starts.push(start);
            arguments.bytes.resize(start + len as usize, 0);
            let slot = arguments.bytes.get_mut(start..).ok_or(Errno::E2BIG)?;
            user::read(space, address, slot)?;
            arguments.bytes.push(0);
        }
        Ok(arguments)
    }

    /// One argument, for the first process.
    pub fn only(name: &str) -> Result<Arguments, Errno> {
        let mut arguments = Arguments {
            bytes: room(name.len() + 1)?,
            starts: room(1)?,
        };
        arguments.bytes.extend_from_slice(name.as_bytes());
        arguments.bytes.push(0);
        arguments.starts.push(0);
        Ok(arguments)
    }

    /// Lays them out at the top of the stack as the System V ABI has it:
    /// argc, argv, NULL, envp NULL, auxv NULL (two words); the stack pointer.
    fn push(&self, space: &SpaceLock) -> Result<u64, Errno> {
        let strings = STACK_TOP - self.bytes.len() as u64;
        user::write(space, strings, &self.bytes)?;
        let words = self.starts.len() + 5;
        let mut table: Vec<u8> = room(words * 8)?;
        table.extend_from_slice(&(self.starts.len() as u64).to_le_bytes());
        for start in &self.starts {
            table.extend_from_slice(&(strings + *start as u64).to_le_bytes());
        }
        table.resize(words * 8, 0);
        let pointer = (strings - table.len() as u64) & !15;
        user::write(space, pointer, &table)?;
        Ok(pointer)
    }
}

/// Where the bytes of a program come from.
enum Image<'a> {
    Bundle(&'static [u8]),
    File(&'a OpenFile),
    Snapshot(SnapId),
}

impl Image<'_> {
    /// Fills `sink`, at most one message's worth, from `offset`; bytes.
    fn read(&self, offset: u64, sink: Vec<Piece>) -> Result<usize, Errno> {
        match self {
            Image::Bundle(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let mut rest = bytes.get(start..).unwrap_or(&[]);
                let mut done = 0;
                for piece in &sink {
                    let (now, later) = rest.split_at(piece.len.min(rest.len()));
                    crate::mem::frames::copy_to(piece.frame.frame(), piece.at, now);
                    done += now.len();
                    rest = later;
                }
                Ok(done)
            }
            Image::File(file) => match &file.node {
                Node::Remote(remote) => read_remote(remote, offset, sink),
                Node::Root(_) | Node::Channel(_) | Node::Port(_) => Err(Errno::ENOEXEC),
            },
            Image::Snapshot(snap) => read_snapshot(*snap, offset, sink),
        }
    }

    fn headers(&self) -> Result<Program, Errno> {
        let piece = Piece::alloc(HEADERS)?;
        let mut sink = room(1)?;
        sink.push(Piece {
            frame: FrameRef::retained(piece.frame.frame()),
            at: 0,
            len: HEADERS,
        });
        let got = self.read(0, sink)?;
        let mut head = room(got)?;
        head.resize(got, 0);
        crate::mem::frames::copy_from(piece.frame.frame(), 0, &mut head);
        Program::parse(&head)
    }
}

/// Loads `path` with `arguments` and lets `frame` begin it.
pub fn exec(
    process: &Process,
    frame: &mut TrapFrame,
    path: &str,
    arguments: &Arguments,
) -> Result<(), Errno> {
    let old = change(process, frame, path, arguments)?;
    let root = process.space.lock().view.pages.root();
    slots::set_root(process.slot, root);
    seg::clear(&Lock::new(Rank::Space, old));
    slots::reset_fpu();
    Ok(())
}

/// The same for a process that has never run.
pub fn first(
    process: &Process,
    frame: &mut TrapFrame,
    path: &str,
    arguments: &Arguments,
) -> Result<(), Errno> {
    change(process, frame, path, arguments).map(drop)
}

/// Builds the new memory and puts it in place of the old, which is returned:
/// nobody can look at half of either.
fn change(
    process: &Process,
    frame: &mut TrapFrame,
    path: &str,
    arguments: &Arguments,
) -> Result<Space, Errno> {
    let file = open::open(process, path, mode::OREAD)?;
    let space = Lock::new(Rank::Space, Space::new()?);
    match with_image(&file, |image| build(&space, image, arguments)) {
        Ok((entry, pointer)) => *frame = TrapFrame::user(entry, pointer),
        Err(errno) => {
            seg::clear(&space);
            return Err(errno);
        }
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    *process.name.lock() = crate::text::owned(name);
    Ok(seg::exchange(&process.space, space.into_inner()))
}

/// Calls `f` with the program's bytes at one moment.
fn with_image<T>(
    file: &OpenFile,
    f: impl FnOnce(&Image<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match &file.node {
        Node::Root(entry @ Entry::Program(..)) => f(&Image::Bundle(entry.content(0))),
        Node::Remote(remote) if remote.is_directory() => Err(Errno::EISDIR),
        Node::Remote(remote) if remote.mount.has_snapshots() => {
            let taken = snapshots::take(remote, &file.path, 0, u64::MAX >> 1, None)?;
            let result = f(&Image::Snapshot(taken.snap));
            snapshots::release(taken.snap);
            result
        }
        Node::Remote(_) => f(&Image::File(file)),
        Node::Root(_) | Node::Channel(_) | Node::Port(_) => Err(Errno::ENOEXEC),
    }
}

/// Builds the memory of the program in `space`; first instruction and stack
/// pointer.
fn build(space: &SpaceLock, image: &Image<'_>, arguments: &Arguments) -> Result<(u64, u64), Errno> {
    let program = image.headers()?;
    for part in program.parts() {
        load(space, image, part)?;
    }
    let stack = vm::Segment::new(STACK / PAGE);
    let stack = Segment::new(
        STACK_TOP - STACK,
        STACK / PAGE,
        Kind::Stack,
        Content::Virtual(stack),
    );
    attach::insert(&mut space.lock(), stack)?;
    let pointer = arguments.push(space)?;
    Ok((program.entry, pointer))
}

fn load(space: &SpaceLock, image: &Image<'_>, part: &Part) -> Result<(), Errno> {
    let base = part.va & !(PAGE - 1);
    let pages = (part.va + part.len - base).div_ceil(PAGE);
    let content = Content::Virtual(vm::Segment::new(pages));
    let mut segment = Segment::new(base, pages, Kind::Program, content);
    segment.execute = part.execute;
    let id = segment.id;
    // Overlapping parts are the file's fault.
    let inserted = attach::insert(&mut space.lock(), segment);
    inserted.map_err(|_| Errno::ENOEXEC)?;
    let mut done = 0;
    while done < part.file_len {
        let want = (part.file_len - done).min(64 * 1024) as usize;
        let sink = user::pin(space, part.va + done, want, Access::Store)?;
        if image.read(part.offset + done, sink)? != want {
            return Err(Errno::ENOEXEC);
        }
        done += want as u64;
    }
    seg::seal(space, id, part.write);
    Ok(())
}
