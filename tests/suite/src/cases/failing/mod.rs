//! Every allocation that a call makes fails once, of kernel memory and of frames:
//! the call works all the same or fails with `ENOMEM`, and nothing of it stays.

mod answers;

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, patterned, same, snapshot};
use crate::raw;
use crate::tiny::{Fault, Tiny};
use alloc::format;
use rt::abi::{SegmentInfo, StatChange, bind, mode, rfork};
use rt::process::{self, Fork};
use rt::{ByteStr, Call, Directory, Errno, File, Port, Segment, send, sys, thread};

pub const CASES: &[Case] = &[
    Case::unpressed("failing.names", names),
    Case::unpressed("failing.inside", inside),
    Case::unpressed("failing.channels", channels),
    Case::unpressed("failing.processes", processes),
    Case::unpressed("failing.exec", exec),
    Case::unpressed("failing.memory", memory),
    Case::unpressed("failing.transfers", transfers),
    Case::unpressed("failing.mount", mount),
    Case::unpressed("failing.answers", answers::taken),
    Case::unpressed("failing.flush", answers::flush),
];

/// More than any call makes.
const MOST: u64 = 2_000;

/// The kinds of failure, as the call numbers them: blocks of kernel memory,
/// frames, the content of a frame that a program comes to see.
const BLOCKS: u64 = 0;
const FRAMES: u64 = 1;
pub const CONTENT: u64 = 2;

/// Makes the `count`th allocation from now on fail; returns the rest of the
/// previous count.
pub fn fail(what: u64, count: u64) -> Result<u64, Errno> {
    // SAFETY: touches no memory of this process.
    unsafe { raw::call(Call::FailAlloc, [count, what, 0, 0, 0, 0]) }
}

/// Calls again and again, with another allocation failing each time, until none
/// is left that could.
fn each(name: &str, mut call: impl FnMut() -> Result<(), Errno>) -> Verdict {
    // From now on its own memory is allocated.
    call()?;
    each_of(BLOCKS, name, &mut call)?;
    each_of(FRAMES, name, &mut call)
}

/// Touches every page of the program: the code for an error may run for the first time
/// while an allocation is to fail, and to load it takes some.
fn load_program() {
    let program = process::segments(sys::getpid()).filter(|s| s.kind.starts_with(b"program"));
    for at in program.flat_map(|s| (s.base..s.base + s.size).step_by(PG)) {
        // SAFETY: a byte of the program's own, read and not used.
        unsafe { (at as *const u8).read_volatile() };
    }
}

fn each_of(what: u64, name: &str, mut call: impl FnMut() -> Result<(), Errno>) -> Verdict {
    load_program();
    for count in 1..MOST {
        fail(what, count)?;
        let done = call();
        let left = fail(what, 0)?;
        match done {
            Ok(()) if left > 0 => return Ok(()),
            Ok(()) => {}
            Err(Errno::ENOMEM) if left == 0 => {}
            Err(errno) => {
                let what = if what == FRAMES { "frame" } else { "block" };
                return Err(Why(format!("{name}: {what} {count}: {errno:?}")));
            }
        }
    }
    Err(Why(format!("{name}: it never ends")))
}

/// Makes `path`, which does not exist, and removes it, while another allocation fails each
/// time. A call that failed has done nothing. In the end `path` exists.
fn again_and_again(name: &str, path: &str, make: impl Fn() -> Result<(), Errno>) -> Verdict {
    let mut made = false;
    each(name, || {
        if made {
            sys::remove(path)?;
            made = false;
        }
        make()?;
        made = true;
        Ok(())
    })
}

fn names() -> Verdict {
    let scratch = Scratch::patterned("failing", 1, PG)?;
    let path = &scratch.path;
    let name = |end: &str| format!("{path}.{end}");
    let (new, renamed) = (name("new"), name("renamed"));
    let (linked, symbolic) = (name("linked"), name("symbolic"));
    each("open", || File::open(path, mode::OREAD).map(drop))?;
    each("open of a program", || {
        File::open("/bin/echo", mode::OREAD).map(drop)
    })?;
    each("stat", || File::stat_path(path).map(drop))?;
    let mut entries = [0; 2048];
    let folder = File::open("/n/host", mode::OREAD)?;
    each("readdir", || {
        folder.seek(0, rt::abi::whence::SET)?;
        let (at, len) = (entries.as_mut_ptr() as u64, entries.len() as u64);
        // SAFETY: the kernel writes within `entries`.
        unsafe { raw::call(Call::ReadDir, [u64::from(folder.fd()), at, len, 0, 0, 0]) }.map(drop)
    })?;
    again_and_again("create", &new, || {
        File::create(&new, mode::OWRITE | mode::OEXCL, 0o600).map(drop)
    })?;
    each("create of one that exists", || {
        File::create(&new, mode::OWRITE, 0o600).map(drop)
    })?;
    let mut moved = false;
    each("rename", || {
        match moved {
            false => sys::rename(&new, &renamed)?,
            true => sys::rename(&renamed, &new)?,
        }
        moved = !moved;
        Ok(())
    })?;
    if moved {
        sys::rename(&renamed, &new)?;
    }
    again_and_again("link", &linked, || sys::link(path, &linked))?;
    again_and_again("symlink", &symbolic, || sys::symlink("text", &symbolic))?;
    let mut folder = false;
    each("mkdir", || {
        if folder {
            sys::remove(&renamed)?;
            folder = false;
        }
        match answers::make_directory(&renamed) {
            // It is there, but could not be opened.
            Err(Errno::EIO) => {
                folder = true;
                Err(Errno::ENOMEM)
            }
            made => {
                folder = made.is_ok();
                made
            }
        }
    })?;
    each("readlink", || sys::read_link(&symbolic).map(drop))?;
    sys::remove(&linked)?;
    sys::remove(&symbolic)?;
    sys::remove(&renamed)?;
    each("chdir", || sys::chdir("/n/host"))?;
    each("getwd", || sys::getwd().map(drop))?;
    each("what is bound", || rt::names::bound().map(drop))?;
    sys::chdir("/")?;
    each("own names", || process::change(rfork::NAMES))?;
    each("bind", || sys::bind("/n", "/mnt", bind::REPLACE))?;
    each("unmount", || match sys::unmount("/mnt") {
        // The one before did it.
        Err(Errno::EINVAL) => Ok(()),
        other => other,
    })?;
    sys::remove(&new)?;
    match File::stat_path(&new) {
        Err(Errno::ENOENT) => Ok(()),
        other => Err(Why(format!("after all of it: {:?}", other.map(|_| ())))),
    }
}

/// The same in an open directory.
fn inside() -> Verdict {
    let scratch = Scratch::patterned("failing", 1, PG)?;
    let path = ByteStr::from(&scratch.path);
    let name = rt::copy::last_part(path);
    let folder = path.bytes().len() - name.bytes().len();
    let folder = ByteStr(path.bytes().get(..folder).unwrap_or_default());
    each("directory", || Directory::open(folder).map(drop))?;
    each("directory in one", || {
        Directory::open("/n")?.inside("host").map(drop)
    })?;
    let at = Directory::open(folder)?;
    each("open", || at.open_file(name, mode::OREAD).map(drop))?;
    each("stat", || at.stat_of(name).map(drop))?;
    let (mut made, mut linked) = (false, false);
    each("create and remove", || {
        if made {
            at.remove("made")?;
            made = false;
        }
        at.create("made", mode::OWRITE | mode::OEXCL, 0o600)?;
        made = true;
        Ok(())
    })?;
    each("symlink and remove", || {
        if linked {
            at.remove("link")?;
            linked = false;
        }
        at.symlink("link", "text")?;
        linked = true;
        Ok(())
    })?;
    each("readlink", || at.read_link("link").map(drop))?;
    at.remove("made")?;
    at.remove("link")?;
    let change = StatChange {
        valid: StatChange::MODE,
        mode: 0o644,
        ..StatChange::default()
    };
    each("change", || File::change_path(path, &change))
}

fn channels() -> Verdict {
    each("pipe", || File::pipe().map(drop))?;
    each("port", || Port::new().map(drop))?;
    let (ours, theirs) = File::pipe()?;
    for len in [10, 2_000, 9_000, 300_000] {
        let message = patterned(3, 0, len);
        let mut back = patterned(4, 0, len);
        each("message", || {
            send(&ours, [&message[..]])?;
            theirs.read_full(&mut back[..]).map(drop)
        })?;
        same("what came", &back[..], &message[..])?;
        each("exchange", || {
            let (ours, theirs) = File::pipe()?;
            theirs.write(&message)?;
            rt::exchange(&ours, b"a question", &mut back).map(drop)
        })?;
        each("reply and receive", || {
            let (ours, theirs) = File::pipe()?;
            let port = Port::new()?;
            port.add(&ours, 1)?;
            theirs.write(&message)?;
            let reply = (&ours, [&message[..]]);
            let (sent, received) = port.reply_and_receive(reply, &mut back, 0, None);
            sent.and(received.map(drop))
        })?;
        same("what came then", &back[..], &message[..])?;
    }
    each("note", || match rt::note::send(u64::MAX >> 1, "a text") {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    })
}

fn processes() -> Verdict {
    let mut info = SegmentInfo::default();
    each("segments", || {
        let args = [sys::getpid(), 0, &raw mut info as u64, 0, 0, 0];
        // SAFETY: the kernel writes within `info`.
        unsafe { raw::call(Call::MemInfo, args) }.map(drop)
    })?;
    each_of(BLOCKS, "thread", || {
        thread::Builder::new().spawn(|| ())?.join();
        Ok(())
    })?;
    for flags in [0, rfork::NOTES, rfork::NAMES, rfork::CLEAN_NAMES] {
        // Afterwards each store of this program needs a frame: only blocks.
        each_of(BLOCKS, "fork", || match process::fork_with(flags)? {
            Fork::Child => process::exit_now(0, ""),
            Fork::Parent(pid) => process::wait_for(pid).map(drop),
        })?;
    }
    Ok(())
}

/// Later allocations by the program itself may fail too, so its status counts
/// only when nothing failed.
fn exec() -> Verdict {
    exec_failing(BLOCKS)?;
    exec_failing(FRAMES)
}

fn exec_failing(what: u64) -> Verdict {
    for count in 1..MOST {
        let pid = match process::fork()? {
            Fork::Parent(pid) => pid,
            Fork::Child => {
                let errno = match fail(what, count) {
                    Ok(_) => process::exec("/bin/true", &["true", "argument"]),
                    Err(errno) => errno,
                };
                process::exit_now(if errno == Errno::ENOMEM { 77 } else { 78 }, "")
            }
        };
        let status = process::wait_for(pid)?.status();
        ensure!(status != 78, "allocation {count}: not out of memory");
        if fail(what, 0)? > 0 {
            return same("a program's status", status, 0);
        }
    }
    Err(Why("it never ends".into()))
}

fn memory() -> Verdict {
    for kind in ["memory", "snapshot", "shared"] {
        each(kind, || {
            let mut segment = Segment::attach(kind, 64 * PG)?;
            // A store by a call: one of the program's own could only end it.
            let at = segment.address() + PG as u64;
            // SAFETY: writes 8 bytes of a segment that is used for nothing else.
            unsafe { raw::call(Call::KStat, [at, 1, 0, 0, 0, 0]) }?;
            segment.free(0, 64 * PG)
        })?;
    }
    Ok(())
}

/// Reads and writes, deferred or not: bytes that were read are right, and a
/// failed write is right after the next one.
fn transfers() -> Verdict {
    let scratch = Scratch::patterned("failing", 1, 40 * PG + 100)?;
    let want = patterned(1, 0, 40 * PG + 100);
    let mut plain = patterned(2, 0, 40 * PG + 100);
    each("read", || {
        scratch.file.read_full_at(&mut plain, 0).map(drop)
    })?;
    same("what was read", &plain[..], &want[..])?;
    let mut segment = snapshot(41)?;
    let len = want.len();
    each("read into a snapshot segment", || {
        let buffer = &mut segment.bytes_mut()[..len];
        scratch.file.read_full_at(buffer, 0).map(drop)
    })?;
    same("what is there", &segment.bytes()[..len], &want[..])?;
    each_of(BLOCKS, "write", || {
        // Pages that were changed, others that were not.
        segment.bytes_mut()[5 * PG] = 0;
        scratch.file.write_all_at(&segment.bytes()[..len], 0)
    })?;
    segment.bytes_mut()[7 * PG] = 0;
    each_of(FRAMES, "write", || {
        scratch.file.write_all_at(&segment.bytes()[..len], 0)
    })?;
    each("write elsewhere", || {
        scratch
            .file
            .write_all_at(&segment.bytes()[PG..9 * PG + 7], 100)
    })?;
    scratch.file.read_full_at(&mut plain, 0)?;
    let source = &segment.bytes()[PG..9 * PG + 7];
    same("the file", &plain[100..8 * PG + 107], source)
}

fn mount() -> Verdict {
    let server = Tiny {
        snapshots: true,
        fault: Fault::None,
    };
    // Its root is a file. Each attempt needs a server of its own.
    let place = Scratch::empty("mounted")?;
    for count in 1..MOST {
        let mut left = 0;
        let mut mounted = Ok(());
        let attempt = (&mut left, &mut mounted);
        let verdict = mount_once(server, &place.path, count, attempt);
        match mounted {
            Ok(()) if left > 0 => return verdict,
            Ok(()) | Err(Errno::ENOMEM) => {}
            Err(errno) => return Err(Why(format!("allocation {count}: {errno:?}"))),
        }
    }
    Err(Why("it never ends".into()))
}

/// Mounts a server while an allocation fails.
fn mount_once(
    server: Tiny,
    place: &str,
    count: u64,
    (left, mounted): (&mut u64, &mut Result<(), Errno>),
) -> Verdict {
    let (ours, theirs) = File::pipe()?;
    // Nothing is to fail there: an account of its own.
    let pid = match process::fork_with(rfork::NOTES)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop(File::from_fd(ours.fd()));
            process::exit_now(server.serve(&theirs), "")
        }
    };
    drop(theirs);
    fail(BLOCKS, count)?;
    *mounted = ours.mount(place);
    *left = fail(BLOCKS, 0)?;
    if mounted.is_ok() {
        sys::unmount(place)?;
    }
    process::wait_for(pid)?;
    Ok(())
}
