//! The kernel's plain services: channels, ports, processes, files.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, at_rest, equal, fails, other, patterned, same};
use alloc::format;
use alloc::vec::Vec;
use rt::abi::{FDS_MAX, NSEG, mode, whence};
use rt::process::{self, Fork};
use rt::{Errno, File, Segment, send, sys};

pub const CASES: &[Case] = &[
    Case::new("pipe.boundaries", boundaries),
    Case::new("pipe.hangup", hangup),
    Case::new("pipe.full", full),
    Case::new("process.wait", wait),
    Case::new("process.kill", kill),
    Case::new("process.exec", exec),
    Case::new("process.many", many),
    Case::new("process.preempted", preempted),
    Case::new("descriptors.full", descriptors),
    Case::new("segments.full", segments),
    Case::new("segment.overlap", overlap),
    Case::new("file.offsets", offsets),
    Case::new("file.modes", modes),
    Case::new("file.rename", rename),
    Case::new("directory", directory),
    Case::new("devices", devices),
    Case::new("names", names),
    Case::new("floats", floats),
    Case::asked("sleep.long", || Ok(sys::sleep(20_000_000_000)?)),
];

/// One read, one message; a short buffer does not run two together.
fn boundaries() -> Verdict {
    let (a, b) = File::pipe()?;
    for message in [&b"one"[..], b"three", b""] {
        send(&a, [message])?;
    }
    send(&a, [b"ga", b"", b"thered"])?;
    let mut buffer = [0; 64];
    for want in [&b"one"[..], b"three", b"", b"gathered"] {
        let n = b.read(&mut buffer)?;
        same("a message", &buffer[..n], want)?;
    }
    // Both ways.
    send(&b, [b"back"])?;
    let n = a.read(&mut buffer)?;
    same("the way back", &buffer[..n], &b"back"[..])
}

fn hangup() -> Verdict {
    let (a, b) = File::pipe()?;
    send(&a, [b"last"])?;
    drop(a);
    let mut buffer = [0; 8];
    same("what was sent before", b.read(&mut buffer)?, 4)?;
    same("then", b.read(&mut buffer)?, 0)?;
    fails("sending to nobody", send(&b, [b"x"]), Errno::EPIPE)
}

/// A channel without a reader makes the sender wait, and loses nothing.
fn full() -> Verdict {
    let (a, b) = File::pipe()?;
    let pid = process::spawn(|| {
        let sent = (0..2000u32).all(|n| send(&a, [&n.to_le_bytes()]).is_ok());
        u8::from(!sent)
    })?;
    at_rest()?;
    for n in 0..2000u32 {
        let mut got = [0; 4];
        same("length", b.read(&mut got)?, 4)?;
        same("message", u32::from_le_bytes(got), n)?;
    }
    same("the sender's status", process::wait_for(pid)?.status(), 0)
}

fn wait() -> Verdict {
    fails(
        "no children",
        process::wait().map(|ended| ended.pid()),
        Errno::ECHILD,
    )?;
    let pid = match process::fork()? {
        Fork::Child => process::exit(7, "seven of them"),
        Fork::Parent(pid) => pid,
    };
    let ended = process::wait()?;
    same("pid", ended.pid(), pid)?;
    same("status", ended.status(), 7)?;
    same("text", ended.text(), "seven of them")
}

fn kill() -> Verdict {
    let (a, b) = File::pipe()?;
    let pid = process::spawn(|| {
        // Waits without limit.
        let _ = b.read(&mut [0; 1]);
        3
    })?;
    at_rest()?;
    process::kill(pid, "enough")?;
    let ended = process::wait_for(pid)?;
    drop(a);
    same("status", u32::from(ended.status()), rt::abi::STATUS_KILLED)?;
    ensure!(
        ended.text().contains("enough"),
        "the text is \"{}\"",
        ended.text()
    );
    fails("killing nobody", process::kill(pid, "again"), Errno::ESRCH)
}

/// Runs a program with its output in a pipe.
fn output_of(path: &str, argv: &[&str]) -> Result<(Vec<u8>, u8), Why> {
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        if theirs.dup_to(1).is_ok_and(|file| file.into_fd() == 1) {
            process::exec(path, argv);
        }
        99
    })?;
    drop(theirs);
    let output = ours.read_to_end()?;
    Ok((output, process::wait_for(pid)?.status()))
}

fn exec() -> Verdict {
    let (output, status) = output_of("/bin/echo", &["echo", "a b", "", "c"])?;
    same("output", &output[..], &b"a b  c\n"[..])?;
    same("status", status, 0)?;
    let missing = process::exec("/bin/nothing", &["nothing"]);
    same("a missing program", missing, Errno::ENOENT)?;
    let scratch = Scratch::patterned("not-a-program", 1, PG)?;
    same(
        "no program",
        process::exec(&scratch.path, &["x"]),
        Errno::ENOEXEC,
    )?;
    // An ELF header and nothing after it.
    let mut head = [0; 64];
    File::open("/bin/echo", mode::OREAD)?.read_at(&mut head, 0)?;
    scratch.file.set_size(0)?;
    scratch.file.write_all_at(&head, 0)?;
    same(
        "half a program",
        process::exec(&scratch.path, &["x"]),
        Errno::ENOEXEC,
    )?;
    same(
        "a directory",
        process::exec("/bin", &["x"]).number() > 0,
        true,
    )
}

/// A tree of processes, all of which end.
fn many() -> Verdict {
    for _ in 0..20 {
        let mut children = Vec::new();
        for status in 0..10 {
            children.push(process::spawn(|| {
                let inner = process::spawn(|| 1);
                let ended = inner.and_then(process::wait_for);
                ended.map_or(99, |ended| ended.status() + status)
            })?);
        }
        let mut sum = 0;
        for _ in &children {
            sum += u32::from(process::wait()?.status());
        }
        same("the statuses together", sum, 55)?;
    }
    Ok(())
}

/// A process that never gives way does not keep others from running.
fn preempted() -> Verdict {
    let pid = process::spawn(|| {
        loop {
            core::hint::spin_loop();
        }
    })?;
    for _ in 0..5 {
        sys::sleep(1_000_000)?;
    }
    let (a, b) = File::pipe()?;
    other(|| Ok(send(&a, [b"ran"])?))?;
    same("a message", b.read(&mut [0; 8])?, 3)?;
    process::kill(pid, "enough")?;
    process::wait_for(pid)?;
    Ok(())
}

fn descriptors() -> Verdict {
    let mut open = Vec::new();
    let errno = loop {
        match File::open("/dev/null", mode::OREAD) {
            Ok(file) => open.push(file),
            Err(errno) => break errno,
        }
        ensure!(open.len() <= FDS_MAX, "more than {FDS_MAX} descriptors");
    };
    same("the error", errno, Errno::EMFILE)?;
    fails("a channel", File::pipe().map(|_| ()), Errno::EMFILE)?;
    open.pop();
    open.push(File::open("/dev/null", mode::OREAD)?);
    Ok(())
}

fn segments() -> Verdict {
    let mut all = Vec::new();
    let errno = loop {
        match Segment::attach("memory", PG) {
            Ok(mut segment) => {
                segment.bytes_mut()[0] = 1;
                all.push(segment);
            }
            Err(errno) => break errno,
        }
        ensure!(all.len() <= NSEG, "more than {NSEG} segments");
    };
    ensure!(
        errno == Errno::ENOMEM || errno == Errno::ENFILE,
        "the error is {errno:?}"
    );
    all.pop();
    all.push(Segment::attach("snapshot", PG)?);
    Ok(())
}

fn overlap() -> Verdict {
    let first = Segment::attach("memory", 4 * PG)?;
    let inside = first.address() + PG as u64;
    let second = Segment::attach_with("memory", PG, inside, 0);
    ensure!(second.is_err(), "a segment lies within another");
    let across = first.address() - PG as u64;
    let third = Segment::attach_with("memory", 2 * PG, across, 0);
    ensure!(third.is_err(), "a segment lies across another's start");
    let odd = Segment::attach_with("memory", PG, 0x5000_0000_0123, 0);
    ensure!(odd.is_err(), "a segment begins within a page");
    let fixed = Segment::attach_with("memory", PG, 0x5000_0000_0000, 0)?;
    same("its address", fixed.address(), 0x5000_0000_0000)
}

fn offsets() -> Verdict {
    let scratch = Scratch::patterned("offsets", 1, 10_000)?;
    let file = scratch.again()?;
    same("from the end", file.seek(-10, whence::END)?, 9990)?;
    let mut buffer = [0; 64];
    same("the last bytes", file.read(&mut buffer)?, 10)?;
    equal("them", &buffer[..10], &patterned(1, 9990, 10))?;
    same("at the end", file.read(&mut buffer)?, 0)?;
    same("from here", file.seek(-20, whence::CURRENT)?, 9980)?;
    same("from the start", file.seek(5, whence::SET)?, 5)?;
    file.write_all(b"abc")?;
    same("after writing", file.seek(0, whence::CURRENT)?, 8)?;
    fails(
        "before the start",
        file.seek(-1, whence::SET),
        Errno::EINVAL,
    )?;
    let copy = file.dup()?;
    copy.seek(100, whence::SET)?;
    same(
        "a copy shares the offset",
        file.seek(0, whence::CURRENT)?,
        100,
    )?;
    let (a, _b) = File::pipe()?;
    ensure!(a.seek(0, whence::SET).is_err(), "a channel has an offset");
    // Far beyond the end: a hole.
    file.write_all_at(b"x", 1 << 33)?;
    same("size", file.stat()?.size, (1 << 33) + 1)
}

fn modes() -> Verdict {
    let scratch = Scratch::patterned("modes", 1, 100)?;
    let path = &scratch.path;
    let exclusive = File::create(path, mode::ORDWR | mode::OEXCL, 0o644);
    fails("exclusive", exclusive.map(|_| ()), Errno::EEXIST)?;
    same("untouched", scratch.file.stat()?.size, 100)?;
    drop(File::open(path, mode::ORDWR | mode::OTRUNC)?);
    same("truncated", scratch.file.stat()?.size, 0)?;
    let missing = format!("{path}.missing");
    fails(
        "missing",
        File::open(&missing, mode::OREAD).map(|_| ()),
        Errno::ENOENT,
    )?;
    let below = format!("{path}/below");
    fails(
        "below a file",
        File::open(&below, mode::OREAD).map(|_| ()),
        Errno::ENOTDIR,
    )?;
    let file = File::open(path, mode::OREAD)?;
    ensure!(file.write(b"x").is_err(), "a read-only descriptor writes");
    let file = File::open(path, mode::OWRITE)?;
    ensure!(
        file.read(&mut [0; 4]).is_err(),
        "a write-only descriptor reads"
    );
    fails(
        "a closed one",
        File::borrowed(60).read(&mut [0; 4]),
        Errno::EBADF,
    )
}

fn rename() -> Verdict {
    let scratch = Scratch::patterned("before", 1, 10)?;
    let to = format!("{}.after", scratch.path);
    sys::rename(&scratch.path, &to)?;
    fails(
        "the old name",
        File::stat_path(&scratch.path).map(|_| ()),
        Errno::ENOENT,
    )?;
    same("the new name", File::stat_path(&to)?.size, 10)?;
    scratch.file.write_all_at(b"still open", 0)?;
    sys::remove(&to)?;
    fails("removed", File::stat_path(&to).map(|_| ()), Errno::ENOENT)?;
    let mut got = [0; 10];
    same("open after removal", scratch.file.read_at(&mut got, 0)?, 10)?;
    same("its content", &got, b"still open")
}

fn directory() -> Verdict {
    let parent = "/n/host/suite.tmp";
    let _keeps_the_parent = Scratch::empty("directory-file")?;
    let path = format!("{parent}/directory");
    drop(File::create(&path, mode::OREAD, mode::DMDIR | 0o755)?);
    let result = fill_directory(&path);
    for index in 0..200 {
        let _ = sys::remove(&format!("{path}/file-{index}"));
    }
    sys::remove(&path)?;
    result
}

fn fill_directory(path: &str) -> Verdict {
    ensure!(File::stat_path(path)?.is_dir(), "not a directory");
    let write = File::open(path, mode::ORDWR).map(|_| ());
    ensure!(write.is_err(), "a directory can be opened for writing");
    for index in 0..200 {
        drop(File::create(
            &format!("{path}/file-{index}"),
            mode::OWRITE,
            0o600,
        )?);
    }
    fails("removing it", sys::remove(path), Errno::ENOTEMPTY)?;
    let listed = File::open(path, mode::OREAD)?;
    let mut names = Vec::new();
    for entry in listed.read_dir() {
        let name = entry?.name;
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    same("different names", names.len(), 200)?;
    let root = File::open("/n/host", mode::OREAD)?;
    for entry in root.read_dir() {
        let name = entry?.name;
        ensure!(
            !name.windows(6).any(|part| part == b"snapfs"),
            "the hidden directory {name} shows"
        );
    }
    sys::chdir(path)?;
    same("a relative path", File::stat_path("file-7")?.size, 0)?;
    same(
        "up and down",
        File::stat_path("../directory/./file-8")?.size,
        0,
    )?;
    Ok(sys::chdir("/")?)
}

fn devices() -> Verdict {
    let null = File::open("/dev/null", mode::ORDWR)?;
    same("reading null", null.read(&mut [1; 10])?, 0)?;
    same("writing null", null.write(b"0123456789")?, 10)?;
    let zero = File::open("/dev/zero", mode::ORDWR)?;
    let mut buffer = [1; 5000];
    same("reading zero", zero.read(&mut buffer)?, 5000)?;
    ensure!(buffer.iter().all(|byte| *byte == 0), "zero is not zero");
    same("writing zero", zero.write(b"0123456789")?, 10)
}

fn names() -> Verdict {
    for path in ["/", "/bin", "/dev", "/n", "/n/host"] {
        ensure!(File::stat_path(path)?.is_dir(), "{path} is no directory");
        let directory = File::open(path, mode::OREAD)?;
        for entry in directory.read_dir() {
            entry?;
        }
    }
    for path in ["/../../bin/echo", "//bin//echo", "/bin/../bin/./echo"] {
        ensure!(File::stat_path(path)?.size > 0, "{path} is empty");
    }
    fails("empty", File::stat_path("").map(|_| ()), Errno::ENOENT)?;
    let long = "x".repeat(5000);
    fails(
        "too long",
        File::stat_path(&long).map(|_| ()),
        Errno::ENAMETOOLONG,
    )?;
    let created = File::create("/bin/new", mode::OWRITE, 0o755);
    ensure!(created.is_err(), "a program could be made in /bin");
    ensure!(
        sys::remove("/bin/echo").is_err(),
        "a program could be removed from /bin"
    );
    Ok(())
}

/// Two processes that keep something in a vector register do not see each
/// other's.
fn floats() -> Verdict {
    let pid = process::spawn(|| u8::from(!crate::cases::death::keeps_vector(0x1111, 400)))?;
    ensure!(
        crate::cases::death::keeps_vector(0x2222, 400),
        "a vector register changed"
    );
    same("the other process", process::wait_for(pid)?.status(), 0)
}
