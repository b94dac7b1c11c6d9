//! `exec`: a new program in the same process.
//!
//! The new memory is built beside the old: each part of the program is a segment that
//! is tied to one snapshot of the file (invariant 11), whose pages come when they are
//! touched and are shared with all who run the same file. The process changes over only
//! when all is in place, so a failed exec changes nothing.
use super::{Process, Running, note};
use crate::chan::{Piece, room};
use crate::client::sink::Sink;
use crate::file::moment::{Moment, Taken};
use crate::file::{Node, OpenFile, open};
use crate::name::root::Entry;
use crate::options;
use crate::sched;
use crate::seg::{self, Content, Segment, SegmentKind, SpaceLock, attach, spaces, user};
use crate::trace;
use abi::trace::Event;
use abi::{ARGS_MAX, Errno, PAGE, Slice, USER_END, mode};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use hw::heap::new_box;
use hw::{TrapFrame, task, time};
use image::stack::{self, Stack, Strings};
use image::{HEADERS, Part, Program, Refused, Shown};
use vm::{Access, Hint};

/// Bytes of addresses for the stack; pages come when they are touched.
const STACK: u64 = 8 << 20;
/// The stack ends here; above is a page that is never mapped.
const STACK_TOP: u64 = USER_END - PAGE;
/// Where parts of programs may be: the first page stays empty, so that a null
/// pointer is a fault.
const PARTS: Range<u64> = PAGE..STACK_TOP - STACK;
/// Most arguments and most texts of the environment.
const TEXTS: u64 = 512;
/// Texts that are copied in one step.
const TEXTS_AT_ONCE: u64 = 64;
/// The first bytes of a file in which nearly all programs have their headers.
const FIRST: usize = 1024;

/// Why there is no new program.
pub enum Failure {
    /// The file breaks a rule of program files: `ENOEXEC`.
    Refused(Refused),
    /// Any other error.
    Error(Errno),
}

impl Failure {
    /// The error number.
    pub fn errno(self) -> Errno {
        match self {
            Failure::Refused(_) => Errno::ENOEXEC,
            Failure::Error(errno) => errno,
        }
    }
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Failure {
        Failure::Refused(why)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Error(errno)
    }
}

/// Arguments and environment as they go to the new program: strings, each
/// ended by a zero.
pub struct Arguments {
    bytes: Vec<u8>,
    /// Where each argument begins.
    starts: Vec<usize>,
    /// Where each text of the environment begins.
    environment: Vec<usize>,
}

impl Arguments {
    /// Copies the strings that `argc` slices at `argv` and `envc` slices at
    /// `envp` name.
    pub fn from_user(
        space: &SpaceLock,
        (argv, argc): (u64, u64),
        (envp, envc): (u64, u64),
    ) -> Result<Arguments, Errno> {
        if argc > TEXTS || envc > TEXTS {
            return Err(Errno::E2BIG);
        }
        let mut arguments = Arguments {
            bytes: Vec::new(),
            starts: room(argc as usize)?,
            environment: room(envc as usize)?,
        };
        arguments.take(space, argv, argc, |a| &mut a.starts)?;
        arguments.take(space, envp, envc, |a| &mut a.environment)?;
        Ok(arguments)
    }

    fn take(
        &mut self,
        space: &SpaceLock,
        va: u64,
        count: u64,
        list: impl Fn(&mut Self) -> &mut Vec<usize>,
    ) -> Result<(), Errno> {
        for i in 0..count {
            if i % TEXTS_AT_ONCE == TEXTS_AT_ONCE - 1 {
                sched::breathe();
            }
            let at = va.checked_add(i * size_of::<Slice>() as u64);
            let Slice { address, len } = user::get(space, at.ok_or(Errno::EFAULT)?)?;
            let start = self.bytes.len();
            if len as usize >= ARGS_MAX - start || len >= ARGS_MAX as u64 {
                return Err(Errno::E2BIG);
            }
            list(self).push(start);
            let more = self.bytes.try_reserve(len as usize + 1);
            more.map_err(|_| Errno::ENOMEM)?;
            self.bytes.resize(start + len as usize, 0);
            let slot = self.bytes.get_mut(start..).ok_or(Errno::E2BIG)?;
            user::read(space, address, slot)?;
            self.bytes.push(0);
        }
        Ok(())
    }

    /// One argument, for the first process.
    pub fn only(name: &str) -> Result<Arguments, Errno> {
        let mut arguments = Arguments {
            bytes: room(name.len() + 1)?,
            starts: room(1)?,
            environment: Vec::new(),
        };
        arguments.bytes.extend_from_slice(name.as_bytes());
        arguments.bytes.push(0);
        arguments.starts.push(0);
        Ok(arguments)
    }

    /// Puts them at the top of the stack. Returns the stack pointer.
    fn push(&self, space: &SpaceLock, program: &Program, path: &[u8]) -> Result<u64, Errno> {
        let strings = Strings {
            bytes: &self.bytes,
            arguments: &self.starts,
            environment: &self.environment,
        };
        let stack = Stack::new(STACK_TOP, path.len(), &strings);
        let seed = time::ticks() ^ time::now_ns().rotate_left(32);
        let mut bytes: Vec<u8> = room((STACK_TOP - stack.pointer) as usize)?;
        for word in stack.words(program, &strings) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        // All of it lies together, with gaps of zeros.
        let parts = [
            (stack.strings, self.bytes.as_slice()),
            (stack.path, path),
            (stack.random, &stack::random(seed)),
        ];
        for (va, part) in parts {
            bytes.resize((va - stack.pointer) as usize, 0);
            bytes.extend_from_slice(part);
        }
        store(space, stack.pointer, &bytes)?;
        Ok(stack.pointer)
    }
}

/// Copies bytes into memory that is not the running process's yet.
fn store(space: &SpaceLock, va: u64, bytes: &[u8]) -> Result<(), Errno> {
    let sink = user::pin(space, va, bytes.len(), Access::Store)?;
    Sink::from(sink).fill(bytes);
    Ok(())
}

/// The headers of the program that a file is.
fn headers(file: &OpenFile, image: &Moment<'_>) -> Result<Program, Failure> {
    if let Node::Root(Entry::Program(file)) = &file.node {
        // They are in memory.
        let len = file.content.len().min(HEADERS);
        return Ok(Program::parse(&file.content[..len], PARTS)?);
    }
    let piece = Piece::alloc(HEADERS)?;
    let mut got = fetch(image, &piece, 0..FIRST)?;
    if let Ok(program) = parse(&piece, got) {
        return Ok(program);
    }
    if got == FIRST {
        got = fetch(image, &piece, FIRST..HEADERS)?;
    }
    parse(&piece, got)
}

/// The program with these first bytes.
fn parse(piece: &Piece, len: usize) -> Result<Program, Failure> {
    let mut head = room(len)?;
    head.resize(len, 0);
    piece.frame.read(0, &mut head);
    Ok(Program::parse(&head, PARTS)?)
}

/// Brings these bytes of a file into a frame, at the same place; where they end, at the
/// end of the range or of the file.
fn fetch(image: &Moment<'_>, piece: &Piece, range: Range<usize>) -> Result<usize, Failure> {
    let mut got = range.start;
    while got < range.end {
        let mut sink = room(1)?;
        sink.push(Piece {
            frame: piece.frame.again(),
            at: got,
            len: range.end - got,
        });
        match image.read(got as u64, sink)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

/// Loads `path` with `arguments` and lets `frame` begin it.
pub fn exec(
    process: &Running,
    frame: &mut TrapFrame,
    path: &[u8],
    arguments: &Arguments,
) -> Result<(), Failure> {
    let new = change(process, frame, path, arguments)?;
    let root = new.lock().view.pages.root();
    task::set_root(root);
    // Others that share it keep it.
    seg::leave(&process.space, process.slot());
    process.pay_so();
    task::reset_registers();
    note::forget_handler(process);
    // It looks for its memory again.
    sched::set_noted(process.slot());
    Ok(())
}

/// The same for a process that has never run.
pub fn first(
    process: &Process,
    frame: &mut TrapFrame,
    path: &[u8],
    arguments: &Arguments,
) -> Result<(), Failure> {
    let empty = process.space();
    change(process, frame, path, arguments)?;
    seg::leave(&empty, process.slot());
    Ok(())
}

/// Builds the new memory, which the process has from then on. No other process sees half
/// of it.
fn change(
    process: &Process,
    frame: &mut TrapFrame,
    path: &[u8],
    arguments: &Arguments,
) -> Result<Arc<SpaceLock>, Failure> {
    let file = open::open(&process.view(), path, mode::OREAD)?;
    let space = spaces::create(process.slot())?;
    let built = image(&file).and_then(|image| build(&space, (&file, &image), arguments, path));
    match built {
        Ok((entry, pointer)) => *frame = TrapFrame::user(entry, pointer),
        Err(failure) => {
            seg::leave(&space, process.slot());
            return Err(failure);
        }
    }
    if trace::is_on() {
        let words = [space.lock().number().into(), process.pid, 0];
        trace::note_about(file.path.as_bytes(), Event::Exec, 0, words);
    }
    *process.program.lock() = file.path.clone();
    spaces::join(&space, process.slot());
    *process.space.lock() = space.clone();
    Ok(space)
}

/// The program's bytes at one moment.
fn image(file: &OpenFile) -> Result<Moment<'_>, Failure> {
    match &file.node {
        Node::Root(Entry::Program(file)) => Ok(Moment::of_bundle(file)?),
        Node::Remote(remote) if remote.is_directory() => Err(Errno::EISDIR.into()),
        Node::Remote(remote) => Ok(Moment::take(remote, &file.path, 0, u64::MAX >> 1)?),
        Node::Root(_) | Node::Channel(_) | Node::Port(_) => Err(Refused::NotElf.into()),
    }
}

/// Builds the memory of the program in `space`; first instruction and stack
/// pointer.
fn build(
    space: &SpaceLock,
    (file, image): (&OpenFile, &Moment<'_>),
    arguments: &Arguments,
    path: &[u8],
) -> Result<(u64, u64), Failure> {
    let program = headers(file, image)?;
    for part in program.parts() {
        match image {
            Moment::Snapshot(taken) => tie(space, (taken, &file.path), part)?,
            Moment::Live(_) => load(space, image, part)?,
        }
    }
    let stack = Segment::new(
        STACK_TOP - STACK,
        STACK / PAGE,
        SegmentKind::Stack,
        Content::zeros(STACK / PAGE)?,
    );
    attach::insert(&mut space.lock(), stack)?;
    let pointer = arguments.push(space, &program, path)?;
    Ok((program.entry, pointer))
}

/// The zeros that a part begins as.
fn zeros(part: &Part) -> Result<Box<vm::Segment>, Errno> {
    let Range { start, end } = part.pages();
    let mut content = new_box(vm::Segment::new((end - start) / PAGE))?;
    content.set_hint(Hint::Program);
    Ok(content)
}

/// A new segment for a part.
fn enter(
    space: &SpaceLock,
    part: &Part,
    write: bool,
    content: Box<vm::Segment>,
) -> Result<u64, Errno> {
    let (base, pages) = (part.pages().start, content.pages());
    let content = Content::Virtual(content);
    let mut segment = Segment::new(base, pages, SegmentKind::Program, content);
    (segment.write, segment.execute) = (write, part.execute);
    attach::insert(&mut space.lock(), segment)
}

/// A part whose pages come from a snapshot when they are touched, the first of them now
/// if an option says so.
fn tie(space: &SpaceLock, (image, path): (&Taken, &str), part: &Part) -> Result<(), Failure> {
    let Shown { at, offset, len } = part.shown(image.end())?;
    let mut content = zeros(part)?;
    let tied = (len > 0).then(|| image.again());
    if let Some(tied) = &tied {
        content.tie(at, len, tied.snap(), offset)?;
    }
    enter(space, part, part.write, content)?;
    let Some(tied) = tied else { return Ok(()) };
    let va = part.pages().start + at;
    trace::note_about(path.as_bytes(), Event::Read, 1, [va, len, offset]);
    tied.hand_over();
    let pages = (at + len).div_ceil(PAGE).min(options::prepage());
    for page in 0..pages {
        user::hold(space, part.pages().start + page * PAGE, Access::Load)?;
        sched::breathe();
    }
    Ok(())
}

/// A part of a file without snapshots: its bytes are copied now.
fn load(space: &SpaceLock, image: &Moment<'_>, part: &Part) -> Result<(), Failure> {
    let id = enter(space, part, true, zeros(part)?)?;
    let mut done = 0;
    while done < part.file_len {
        let (va, left) = (part.va + done, part.file_len - done);
        // A server may give it in parts.
        match image.copy(space, va, left, part.offset + done)? {
            0 => return Err(Refused::Cut.into()),
            got => done += got,
        }
    }
    if !part.write {
        seg::seal(space, id);
    }
    Ok(())
}
