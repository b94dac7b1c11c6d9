//! The name space: binds, unions, mounts, and the meaning of names at servers.

use super::Case;
use crate::check::{Scratch, Verdict, Why, fails, other, rounds, same};
use crate::raw;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rt::abi::{DirEntry, PATH_MAX, StatChange, bind, mode, rfork};
use rt::process::{self, Fork};
use rt::{Call, Errno, File, sys};

pub const CASES: &[Case] = &[
    Case::new("names.bind-file", bind_file),
    Case::new("names.bind-directory", bind_directory),
    Case::new("names.union", union),
    Case::new("names.bind-wrong", bind_wrong),
    Case::new("names.private", private),
    Case::new("names.working-directory", working_directory),
    Case::new("names.devices", devices),
    Case::new("names.hundreds-of-parts", hundreds_of_parts),
    Case::new("names.replaced-while-opened", replaced_while_opened),
    Case::new("names.listed-bit-by-bit", listed_bit_by_bit),
];

/// Undoes a bind when dropped, for the name space is shared.
struct Bound(&'static str);

impl Bound {
    fn new(new: &str, old: &'static str, flags: u64) -> Result<Bound, Errno> {
        sys::bind(new, old, flags)?;
        Ok(Bound(old))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = sys::unmount(self.0);
    }
}

/// All names in a directory, sorted, without `.` and `..`.
fn names(path: &str) -> Result<Vec<String>, Why> {
    let directory = File::open(path, mode::OREAD)?;
    let mut names = Vec::new();
    for entry in directory.read_dir() {
        names.push(entry?.name.to_string());
    }
    names.retain(|name| name != "." && name != "..");
    names.sort_unstable();
    Ok(names)
}

fn content(path: &str) -> Result<Vec<u8>, Errno> {
    File::open(path, mode::OREAD)?.read_to_end()
}

fn write(path: &str, bytes: &[u8]) -> Result<(), Errno> {
    File::create(path, mode::OWRITE, 0o644)?.write_all(bytes)
}

fn bind_file() -> Verdict {
    let scratch = Scratch::patterned("bound", 1, 100)?;
    let before = File::stat_path("/dev/time")?;
    {
        let _bound = Bound::new(&scratch.path, "/dev/time", bind::REPLACE)?;
        same("what is read", content("/dev/time")?.len(), 100)?;
        write("/dev/time", b"through")?;
        same("what is written", &scratch.content()?[..], &b"through"[..])?;
        let stat = File::stat_path("/dev/time")?;
        same("size", stat.size, 7)?;
        same("identity", stat.qid_path, scratch.file.stat()?.qid_path)?;
        fails("removing it", sys::remove("/dev/time"), Errno::EBUSY)?;
        fails(
            "renaming it",
            sys::rename("/dev/time", "/dev/other"),
            Errno::EBUSY,
        )?;
        let made = File::create("/dev/time", mode::OWRITE | mode::OEXCL, 0o644);
        fails("making it", made, Errno::EEXIST)?;
        // A device of the kernel's, over that.
        sys::bind("/dev/null", "/dev/time", bind::REPLACE)?;
        write("/dev/time", b"nowhere")?;
        same("as null", content("/dev/time")?.len(), 0)?;
    }
    same("afterwards", File::stat_path("/dev/time")?, before)?;
    same("the file", &scratch.content()?[..], &b"through"[..])?;
    fails("undoing it again", sys::unmount("/dev/time"), Errno::EINVAL)
}

/// A scratch directory with some files, removed when dropped.
struct Folder(String);

impl Folder {
    fn new(parent: &str, name: &str, files: &[&str]) -> Result<Folder, Errno> {
        let path = format!("{parent}/{name}");
        File::create(&path, mode::OREAD, mode::DMDIR | 0o755)?;
        let folder = Folder(path);
        for file in files {
            write(&folder.at(file), format!("{name} {file}").as_bytes())?;
        }
        Ok(folder)
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for name in names(&self.0).unwrap_or_default() {
            let _ = sys::remove(&self.at(&name));
        }
        let _ = sys::remove(&self.0);
    }
}

fn bind_directory() -> Verdict {
    let keeper = Scratch::empty("keeper")?;
    let parent = keeper.path.trim_end_matches("/keeper");
    let folder = Folder::new(parent, "folder", &["a", "b"])?;
    let _bound = Bound::new(&folder.0, "/mnt", bind::REPLACE)?;
    same("names", names("/mnt")?, names(&folder.0)?)?;
    same("a file", &content("/mnt/a")?[..], &b"folder a"[..])?;
    write("/mnt/made", b"new")?;
    same("made below", &content(&folder.at("made"))?[..], &b"new"[..])?;
    sys::rename("/mnt/made", "/mnt/renamed")?;
    sys::rename("/mnt/renamed", &folder.at("back"))?;
    sys::remove("/mnt/back")?;
    fails("removed", content(&folder.at("back")), Errno::ENOENT)?;
    // `..` is resolved by text.
    sys::chdir("/mnt")?;
    same("relative", &content("b")?[..], &b"folder b"[..])?;
    sys::chdir("..")?;
    same("above", sys::getwd()?, "/".into())?;
    // The place was bound, not its name.
    let _over = Bound::new("/bin", "/mnt", bind::REPLACE)?;
    ensure!(File::stat_path("/mnt/echo")?.size > 0, "no /mnt/echo");
    Ok(())
}

fn union() -> Verdict {
    // Removing the binds at /tmp would unmount the server there as well.
    process::change(rfork::NAMES)?;
    let keeper = Scratch::empty("keeper")?;
    let parent = keeper.path.trim_end_matches("/keeper");
    let one = Folder::new(parent, "one", &["a", "both"])?;
    let two = Folder::new(parent, "two", &["b", "both"])?;
    let _bound = Bound::new(&one.0, "/mnt", bind::REPLACE)?;
    sys::bind(&two.0, "/mnt", bind::AFTER)?;
    same("names", names("/mnt")?.join(" "), "a b both both".into())?;
    same("of the first", &content("/mnt/both")?[..], &b"one both"[..])?;
    same("of the last", &content("/mnt/b")?[..], &b"two b"[..])?;
    fails("of neither", content("/mnt/c"), Errno::ENOENT)?;
    // Read from the start again, in small pieces.
    let directory = File::open("/mnt", mode::OREAD)?;
    same(
        "once",
        directory.read_dir().count(),
        directory_len(&directory)?,
    )?;
    // Nothing says where new files go.
    fails("making a file", write("/mnt/c", b"c"), Errno::EPERM)?;
    write("/mnt/b", b"changed")?;
    same("written", &content(&two.at("b"))?[..], &b"changed"[..])?;
    // A third, in front, that takes new files.
    let three = Folder::new(parent, "three", &["both"])?;
    sys::bind(&three.0, "/mnt", bind::BEFORE | bind::CREATE)?;
    same("in front", &content("/mnt/both")?[..], &b"three both"[..])?;
    write("/mnt/c", b"c")?;
    same("made in it", &content(&three.at("c"))?[..], &b"c"[..])?;
    sys::rename("/mnt/a", "/mnt/d")?;
    same("renamed", &content(&three.at("d"))?[..], &b"one a"[..])?;
    sys::remove("/mnt/both")?;
    same("removed", &content("/mnt/both")?[..], &b"one both"[..])?;
    // As a whole onto another.
    let _other = Bound::new("/mnt", "/tmp", bind::BEFORE)?;
    same("both members", &content("/tmp/both")?[..], &b"one both"[..])?;
    same("the last", &content("/tmp/b")?[..], &b"changed"[..])
}

fn directory_len(directory: &File) -> Result<usize, Why> {
    directory.seek(0, rt::abi::whence::SET)?;
    Ok(directory.read_dir().count())
}

fn bind_wrong() -> Verdict {
    let file = Scratch::empty("file")?;
    let path = &file.path;
    fails(
        "a file on a directory",
        sys::bind(path, "/mnt", bind::REPLACE),
        Errno::EISDIR,
    )?;
    fails(
        "a directory on a file",
        sys::bind("/mnt", path, bind::REPLACE),
        Errno::ENOTDIR,
    )?;
    fails(
        "a union of files",
        sys::bind("/dev/null", path, bind::BEFORE),
        Errno::ENOTDIR,
    )?;
    for flags in [3, 8, u64::MAX] {
        fails(
            "unknown flags",
            sys::bind("/bin", "/mnt", flags),
            Errno::EINVAL,
        )?;
    }
    let missing = format!("{path}.missing");
    fails("nothing", sys::bind(&missing, "/mnt", 0), Errno::ENOENT)?;
    fails("on nothing", sys::bind("/bin", &missing, 0), Errno::ENOENT)?;
    fails("nothing bound", sys::unmount("/mnt"), Errno::EINVAL)?;
    // A name space has an end.
    let _bound = Bound::new("/bin", "/mnt", bind::REPLACE)?;
    let full = (0..300).find_map(|_| sys::bind("/bin", "/mnt", bind::AFTER).err());
    same("too many", full, Some(Errno::ENFILE))
}

/// A child's binds are its parent's as well, unless either asked for a name
/// space of its own.
fn private() -> Verdict {
    let bound = || Ok(sys::bind("/bin", "/mnt", bind::REPLACE)?);
    let seen = || File::stat_path("/mnt/echo").is_ok();
    same("at first", seen(), false)?;
    other(bound)?;
    same("bound by a child", seen(), true)?;
    sys::unmount("/mnt")?;
    other(|| {
        process::change(rfork::NAMES)?;
        bound()?;
        same("in its own", seen(), true)?;
        // Its children share it.
        other(|| same("in its child's", seen(), true))
    })?;
    same("bound by a child in its own", seen(), false)?;
    bound()?;
    let pid = match process::fork_with(rfork::CLEAN_NAMES)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let host = File::open("/n/host", mode::OREAD);
            let empty = host.is_ok_and(|host| host.read_dir().count() == 0);
            let echo = File::stat_path("/bin/echo").is_ok();
            process::exit(u8::from(seen() || !empty || !echo), "")
        }
    };
    let status = process::wait_for(pid)?.status();
    sys::unmount("/mnt")?;
    same("status in an empty name space", status, 0)
}

fn working_directory() -> Verdict {
    same("at first", sys::getwd()?, "/".into())?;
    for (to, want) in [
        ("/n/host", "/n/host"),
        ("..", "/n"),
        ("./host/..", "/n"),
        ("../bin", "/bin"),
        ("/../..", "/"),
    ] {
        sys::chdir(to)?;
        same(to, sys::getwd()?, want.into())?;
    }
    fails("a file", sys::chdir("/bin/echo"), Errno::ENOTDIR)?;
    fails("nothing", sys::chdir("/bin/nothing"), Errno::ENOENT)?;
    fails(
        "below a file",
        File::stat_path("/dev/null/x"),
        Errno::ENOTDIR,
    )?;
    same("still", sys::getwd()?, "/".into())
}

fn devices() -> Verdict {
    let random = File::open("/dev/random", mode::OREAD)?;
    let (mut one, mut two) = ([0u8; 1000], [0u8; 1000]);
    same("random bytes", random.read(&mut one)?, 1000)?;
    same("random bytes", random.read(&mut two)?, 1000)?;
    ensure!(one != two, "random repeats itself");
    let ones: u32 = one.iter().chain(&two).map(|byte| byte.count_ones()).sum();
    // 16000 bits: 20 standard deviations.
    ensure!((6735..9265).contains(&ones), "{ones} bits of 16000 are set");
    let write = File::open("/dev/random", mode::OWRITE).map(|_| ());
    fails("writing random", write, Errno::EACCES)?;

    let time = |at: &File| -> Result<Vec<u64>, Why> {
        at.seek(0, rt::abi::whence::SET)?;
        let text = String::from_utf8(at.read_to_end()?).unwrap_or_default();
        let numbers: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
        same("numbers", numbers.len(), 4)?;
        Ok(numbers)
    };
    let file = File::open("/dev/time", mode::OREAD)?;
    let before = time(&file)?;
    ensure!(
        (1_700_000_000..4_200_000_000).contains(&before[0]),
        "the time is {}",
        before[0]
    );
    same("nanoseconds", before[1] / 1_000_000_000, before[0])?;
    sys::sleep(20_000_000)?;
    let after = time(&file)?;
    ensure!(
        after[1] - before[1] >= 20_000_000 && after[2] > before[2],
        "time stands still"
    );
    same("ticks per second", after[3], before[3])?;
    // A file written on the host has the same time, within a minute.
    let written = Scratch::patterned("time", 1, 10)?.file.stat()?.mtime_ns;
    ensure!(
        written.abs_diff(after[1]) < 60_000_000_000,
        "the host's time is {written}, ours {}",
        after[1]
    );
    Ok(())
}

/// A name of 511 parts costs no stack, in all calls and from all starting
/// points.
fn hundreds_of_parts() -> Verdict {
    let deep = |start: &str| {
        let mut path = String::from(start);
        while path.len() + 2 <= PATH_MAX - 2 {
            path.push_str("/a");
        }
        path
    };
    // At a server of files names are as long as its host lets them be.
    let places = [("", Errno::ENOENT), ("/bin/cat", Errno::ENOTDIR)];
    for (start, want) in places {
        let path = deep(start);
        fails("open", File::open(&path, mode::OREAD).map(drop), want)?;
        fails("stat", File::stat_path(&path).map(drop), want)?;
        fails("chdir", sys::chdir(&path), want)?;
        fails("remove", sys::remove(&path), want)?;
        fails("rename", sys::rename(&path, "/mnt"), want)?;
        fails("bind", sys::bind(&path, "/mnt", bind::REPLACE), want)?;
        fails("bind on", sys::bind("/mnt", &path, bind::REPLACE), want)?;
        fails("exec", Err::<(), _>(process::exec(&path, &["deep"])), want)?;
        let made = File::create(&path, mode::OWRITE, 0o644).map(drop);
        ensure!(made.is_err(), "{start}: made");
    }
    for start in ["/n/host", "/tmp"] {
        let path = deep(start);
        fails(
            "open",
            File::open(&path, mode::OREAD).map(drop),
            Errno::ENOENT,
        )?;
        fails("remove", sys::remove(&path), Errno::ENOENT)?;
    }
    Ok(())
}

type Operation<'a> = &'a dyn Fn() -> Result<(), Errno>;

/// A name that another process gives to one file after the other always leads
/// to one of them, in all operations.
fn replaced_while_opened() -> Verdict {
    let rounds = rounds(150)?;
    let scratch = Scratch::empty("replaced")?;
    let (path, new) = (scratch.path.as_str(), format!("{}.new", scratch.path));
    let replace = || -> Result<(), Errno> {
        let file = File::create(&new, mode::OWRITE, 0o755)?;
        file.write_all(b"neither")?;
        sys::rename(&new, path)
    };
    let pid = process::spawn(|| {
        loop {
            if replace().is_err() {
                return 1;
            }
        }
    })?;
    let change = || {
        let file = File::open(path, mode::OREAD)?;
        file.change(&StatChange {
            valid: 0,
            ..StatChange::default()
        })
    };
    let operations: [(&str, Operation<'_>); 6] = [
        ("open to read", &|| File::open(path, mode::OREAD).map(drop)),
        ("open to write", &|| {
            File::open(path, mode::OWRITE).map(drop)
        }),
        ("truncate", &|| {
            File::open(path, mode::OWRITE | mode::OTRUNC).map(drop)
        }),
        ("create", &|| {
            File::create(path, mode::OWRITE, 0o644).map(drop)
        }),
        ("stat", &|| File::stat_path(path).map(drop)),
        ("change", &change),
    ];
    let mut verdict = Ok(());
    for _ in 0..rounds {
        for (what, operation) in &operations {
            verdict = verdict.and_then(|()| match operation() {
                Ok(()) => Ok(()),
                Err(errno) => Err(Why(format!("{what}: {errno}"))),
            });
        }
        let ran = process::exec(path, &["replaced"]);
        verdict = verdict.and_then(|()| match ran {
            // As it should be refused: text, or a file not written yet.
            Errno::ENOEXEC => Ok(()),
            errno => Err(Why(format!("exec: {errno}"))),
        });
    }
    process::kill(pid, "enough")?;
    process::wait_for(pid)?;
    let _ = sys::remove(&new);
    verdict
}

/// The lengths of the names in a directory that a buffer of `n` bytes lists,
/// with buffers large enough where one is refused; those refused are checked.
fn lengths(path: &str, n: usize) -> Result<Vec<usize>, Why> {
    const HEAD: usize = size_of::<DirEntry>();
    let directory = File::open(path, mode::OREAD)?;
    let read = |room: usize| -> Result<Vec<u8>, Errno> {
        let mut buffer = alloc::vec![0xee; room + 8];
        let (fd, at) = (u64::from(directory.fd()), buffer.as_mut_ptr() as u64);
        // SAFETY: the kernel writes `room` bytes of the buffer at most.
        let got = unsafe { raw::call(Call::ReadDir, [fd, at, room as u64, 0, 0, 0]) }?;
        let beyond = buffer.split_off(room);
        buffer.truncate(got as usize);
        match beyond.iter().all(|byte| *byte == 0xee) {
            true => Ok(buffer),
            false => Err(Errno::EFAULT),
        }
    };
    let mut lengths = Vec::new();
    loop {
        let (records, refused) = match read(n) {
            Err(Errno::EINVAL) => (read(1024)?, true),
            records => (records?, false),
        };
        let mut rest = records.as_slice();
        ensure!(!refused || !rest.is_empty(), "n = {n}: refused at the end");
        if rest.is_empty() {
            break;
        }
        while let Some(bytes) = rest.get(HEAD - 4..HEAD) {
            let len = bytes.try_into().map_or(0, u32::from_le_bytes) as usize;
            let record = (HEAD + len).next_multiple_of(8);
            let first = rest.len() == records.len();
            ensure!(!(refused && first) || record > n, "n = {n}: {record} fit");
            lengths.push(len);
            rest = rest.get(record..).unwrap_or(&[]);
        }
    }
    Ok(lengths)
}

/// With a buffer of any size, each name is listed once, or the buffer is
/// refused because the next name does not fit.
fn listed_bit_by_bit() -> Verdict {
    const LENGTHS: [usize; 8] = [3, 7, 8, 9, 67, 88, 200, 255];
    for folder in ["/n/host/listed", "/tmp/listed"] {
        drop(File::create(folder, mode::OREAD, mode::DMDIR | 0o755)?);
        let paths = LENGTHS.map(|len| format!("{folder}/{}", "n".repeat(len)));
        for path in &paths {
            drop(File::create(path, mode::OREAD, 0o644)?);
        }
        let listed = (16..=300).step_by(4).try_for_each(|n| {
            let mut found = lengths(folder, n)?;
            found.retain(|len| *len > 2);
            found.sort_unstable();
            same(&format!("{folder}, n = {n}"), found, LENGTHS.to_vec())
        });
        for path in &paths {
            sys::remove(path)?;
        }
        sys::remove(folder)?;
        listed?;
    }
    Ok(())
}
